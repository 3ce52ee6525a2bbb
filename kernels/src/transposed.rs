//! Transposed convolution whose stride equals its kernel: every input pixel owns a kh x kw patch of the output, so it is
//! one matrix product per kernel row, written where it belongs.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::after::After;
use crate::block::{Block, Dense, Epilogue};
use crate::panels::Panels;
use crate::storage::{F32Input, TensorInput, same_type};
use crate::{scratch, simd};

#[derive(Debug, Clone)]
struct Transposed {
    after: After,
}

/// `x` (B, H, W, in) and `weight` (kh, kw, out, in) to (B, H kh, W kw, out); bias (out) through `after`, whose residual
/// is not used.
///
/// # Errors
/// Shapes that do not fit, another device than the CPU, another element type than f32, bf16 or f16.
pub fn conv_transpose2d(x: &Tensor, weight: &Tensor, after: After) -> Result<Tensor> {
    x.contiguous()?
        .apply_op2_no_bwd(&weight.contiguous()?, &Transposed { after })
}

impl CustomOp2 for Transposed {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, height, width, k) = xl.shape().dims4()?;
        let (kh, kw, n, wk) = wl.shape().dims4()?;
        if wk != k || self.after.residual.is_some() {
            candle_core::bail!(
                "conv_transpose2d: input {:?}, weight {:?}",
                xl.shape(),
                wl.shape()
            )
        }
        let bias = self.after.bias.as_ref();
        let bias = bias.map(|b| TensorInput::new(b, &[n])).transpose()?;
        let bias = bias.as_ref().map(TensorInput::view).transpose()?;
        // Once per kernel column, as a row of the product has them side by side.
        let bias = bias.map(|b| b.repeat(kw));
        let (data, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
        let shape = Shape::from((b, height * kh, width * kw, n));
        let mut out = vec![0f32; shape.elem_count()];
        if out.is_empty() {
            return Ok((same_type(x, out)?, shape));
        }
        let panels = Panels::new(k, kw * n);
        let line = width * kw * n;
        scratch::with(kh * panels.len(), |packed| {
            for (ky, packed) in packed.chunks_exact_mut(panels.len().max(1)).enumerate() {
                let w = &w[ky * kw * n * k..(ky + 1) * kw * n * k];
                packed
                    .par_chunks_mut(panels.stride().max(1))
                    .enumerate()
                    .for_each(|(p, panel)| panels.pack_transposed(p, panel, w, k));
            }
            let packed = &*packed;
            out.par_chunks_mut(line).enumerate().for_each(|(row, out)| {
                let (y, ky) = (row / kh, row % kh);
                simd::dispatch(Block {
                    a: Dense::new(&data[y * width * k..(y + 1) * width * k], k),
                    rows: width,
                    shape: panels,
                    packed: &packed[ky * panels.len()..(ky + 1) * panels.len()],
                    out,
                    stride: kw * n,
                    column: 0,
                    accumulate: false,
                    epilogue: Epilogue {
                        bias: bias.as_deref(),
                        activation: self.after.activation,
                        residual: None,
                    },
                });
            });
        });
        Ok((same_type(x, out)?, shape))
    }
}
