use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::{MaskFacts, MaskRules};
use crate::cuda::launch::{Argument, Held, MASKS, Queue};

pub(super) fn takes(logits: &Tensor, rules: &MaskRules) -> bool {
    let typed = matches!(logits.dtype(), DType::F32 | DType::BF16 | DType::F16);
    typed && logits.is_contiguous() && !rules.columns.is_empty() && !rules.rows.is_empty()
}

/// By `cu/masks.cu`.
pub(super) fn mask_facts(logits: &Tensor, which: &[u32], rules: &MaskRules) -> Result<Vec<MaskFacts>> {
    let op = Op {
        which: Tensor::new(which, logits.device())?,
        rules: rules.clone(),
    };
    let rows = logits.apply_op1_no_bwd(&op)?.to_vec2::<u32>()?;
    let facts = rows.into_iter().map(|row| match row.as_slice() {
        &[above_high, above_low, x0, x1, y0, y1] => Ok(MaskFacts {
            above_high,
            above_low,
            bounds: (x0 != u32::MAX).then_some([x0, x1, y0, y1]),
        }),
        other => candle_core::bail!("facts of a mask: {other:?}"),
    });
    facts.collect()
}

struct Op {
    which: Tensor,
    rules: MaskRules,
}

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "mask_facts"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU counts in place")
    }

    fn cuda_fwd(&self, logits: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (queue, counts) = (Queue::of(logits), Queue::of(logits).with_type(DType::U32));
        let n = self.which.elem_count();
        let mut out = counts.output(6 * n)?;
        {
            let which = Held::new(&self.which);
            let (which, from) = (which.operand(&counts)?, queue.reads(logits, layout)?);
            let to = counts.writes(&mut out)?;
            let rules = &self.rules;
            let arguments = [
                from.at(),
                which.at(),
                to.at(),
                Argument::size(layout.dims()[1])?,
                Argument::size(rules.columns.start)?,
                Argument::size(rules.columns.end)?,
                Argument::size(rules.rows.start)?,
                Argument::size(rules.rows.end)?,
                Argument::Float(rules.threshold),
                Argument::Float(rules.high),
                Argument::Float(rules.low),
            ];
            queue.launch(&MASKS, "mask_facts", ((n as u32, 1), (256, 1)), &arguments)?;
        }
        Ok((out, Shape::from((n, 6))))
    }
}
