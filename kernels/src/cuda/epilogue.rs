use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};

use super::launch::{self, Argument, ELEMENTWISE, Held, Queue};
use crate::Epilogue;

/// `residual + f(y + bias)` in one pass over `y` (..., channels), fresh from a product: nothing else holds its memory.
pub(super) fn in_place(y: Tensor, epilogue: &Epilogue) -> Result<Tensor> {
    let epilogue = epilogue.fitting(y.dtype())?;
    if y.elem_count() > 0 && !epilogue.is_empty() {
        y.inplace_op1(&InPlace(epilogue))?;
    }
    Ok(y)
}

struct InPlace(Epilogue);

impl InplaceOp1 for InPlace {
    fn name(&self) -> &'static str {
        "epilogue"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("the CPU's products have their epilogues inside")
    }

    fn cuda_fwd(&self, y: &mut CudaStorage, layout: &Layout) -> Result<()> {
        if !layout.is_contiguous() || layout.start_offset() != 0 {
            candle_core::bail!("an epilogue of a part of a product: {layout:?}")
        }
        let queue = Queue::of(y);
        let columns = layout.dims().last().copied().unwrap_or(1);
        let rows = layout.shape().elem_count() / columns;
        let epilogue = &self.0;
        let repeat = epilogue
            .residual
            .as_ref()
            .map_or(rows, |r| r.elem_count() / columns);
        let held = [&epilogue.bias, &epilogue.residual].map(|t| t.as_ref().map(Held::new));
        let [bias, residual] = held.each_ref().map(Option::as_ref);
        let (bias, residual) = (
            launch::optional(bias, &queue)?,
            launch::optional(residual, &queue)?,
        );
        let y = queue.writes(y)?;
        queue.launch(
            &ELEMENTWISE,
            "epilogue",
            launch::tiles(columns, rows),
            &[
                y.at(),
                launch::at(bias.as_ref()),
                launch::at(residual.as_ref()),
                Argument::size(rows)?,
                Argument::size(columns)?,
                Argument::size(repeat)?,
                Argument::Int(epilogue.activation.code()),
            ],
        )
    }
}
