//! Element-wise activations in one parallel pass: exact GELU, SiLU, ReLU and the gated SiLU of Qwen2.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::{self, Map, MapSlice};
use crate::storage::{F32Input, same_type};

/// Elements that one task handles: 128 KiB in, 128 KiB out.
const CHUNK: usize = 32 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    #[default]
    Identity,
    /// `x Phi(x)` with the exact normal distribution (erf, not tanh); error below 2.5e-7 max(1, |x|).
    Gelu,
    /// `x / (1 + e^-x)`.
    Silu,
    Relu,
}

impl Map for Activation {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::Identity => x,
            Self::Gelu => simd::gelu(simd, x),
            Self::Silu => simd::silu(simd, x),
            Self::Relu => simd.max_f32s(x, simd.splat_f32s(0.)),
        }
    }
}

/// Applies `f` to every element of a contiguous tensor of any shape.
///
/// # Errors
/// On a device other than the CPU, or an element type other than f32, bf16 and f16.
pub fn activation(x: &Tensor, f: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&f)
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = F32Input::contiguous(storage, layout)?;
        let mut y = vec![0f32; x.len()];
        y.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(dst, src)| simd::dispatch(MapSlice { f: *self, src, dst }));
        Ok((same_type(storage, y)?, layout.shape().clone()))
    }
}

/// `silu(gate) * up`, both contiguous and of one shape.
///
/// # Errors
/// Shapes that differ, and what [`activation`] refuses.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.dims() != up.dims() {
        candle_core::bail!("silu_mul: gate {:?}, up {:?}", gate.shape(), up.shape())
    }
    gate.contiguous()?
        .apply_op2_no_bwd(&up.contiguous()?, &Pairwise::SiluMul)
}

/// `a + b`, both contiguous and of one shape.
///
/// # Errors
/// Shapes that differ, and what [`activation`] refuses.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        candle_core::bail!("add: {:?} and {:?}", a.shape(), b.shape())
    }
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Pairwise::Add)
}

#[derive(Debug, Clone, Copy)]
enum Pairwise {
    Add,
    SiluMul,
}

impl CustomOp2 for Pairwise {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::SiluMul => "silu_mul",
        }
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, y) = (
            F32Input::contiguous(a, a_layout)?,
            F32Input::contiguous(b, b_layout)?,
        );
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)))
            .for_each(|(dst, (a, b))| simd::dispatch(Pairs { f: *self, a, b, dst }));
        Ok((same_type(a, out)?, a_layout.shape().clone()))
    }
}

struct Pairs<'a> {
    f: Pairwise,
    a: &'a [f32],
    b: &'a [f32],
    dst: &'a mut [f32],
}

impl Pairwise {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        match self {
            Self::Add => simd.add_f32s(a, b),
            Self::SiluMul => simd.mul_f32s(simd::silu(simd, a), b),
        }
    }
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (a, a_tail) = S::as_simd_f32s(self.a);
        let (b, b_tail) = S::as_simd_f32s(self.b);
        let (dst, dst_tail) = S::as_mut_simd_f32s(self.dst);
        for (y, (&a, &b)) in dst.iter_mut().zip(a.iter().zip(b)) {
            *y = self.f.apply(simd, a, b);
        }
        if !dst_tail.is_empty() {
            let (a, b) = (simd.partial_load_f32s(a_tail), simd.partial_load_f32s(b_tail));
            simd.partial_store_f32s(dst_tail, self.f.apply(simd, a, b));
        }
    }
}
