//! A convolution's weight, arranged once for the kernel that will read it.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::backend::Backend;
use crate::cpu::packed::PackedWeight;
use crate::cpu::tiles::weight::TiledWeight;

/// A weight (out, in / groups, kh, kw) as PyTorch stores it, laid out for the device that it is on.
#[derive(Debug, Clone)]
pub struct ConvWeight {
    arranged: Arranged,
    out_channels: usize,
    in_channels: usize,
    kernel: (usize, usize),
    groups: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Arranged {
    /// (out, kh, kw, in), for the kernels of one group.
    ChannelsLast(Tensor),
    /// The same as (out, kh kw in) of a product, where the CPU multiplies tiles that are laid out once.
    Tiled(Arc<TiledWeight>),
    /// The same in the panels of the inner loop.
    Packed(Arc<PackedWeight>),
    /// (kh, kw, channels): one input and one output channel a group.
    Depthwise(Tensor),
    /// (out, in / groups, kh, kw), for candle's own convolution.
    Planes(Tensor),
}

impl ConvWeight {
    /// `weight` (out, in / groups, kh, kw).
    ///
    /// # Errors
    /// Another rank, or channels that `groups` does not divide.
    pub fn new(weight: &Tensor, groups: usize) -> Result<Self> {
        let (out, per_group, kh, kw) = weight.dims4()?;
        if groups == 0 || !out.is_multiple_of(groups) {
            candle_core::bail!("conv2d: {groups} groups of a weight {:?}", weight.shape())
        }
        let arranged = if groups > 1 && groups == out && per_group == 1 {
            let taps = weight.reshape((out, kh, kw))?;
            Arranged::Depthwise(taps.permute((1, 2, 0))?.contiguous()?)
        } else if groups == 1 && Backend::of(weight.device(), cfg!(feature = "cuda")) == Backend::Kernel {
            let weight = weight.permute((0, 2, 3, 1))?.contiguous()?;
            match (TiledWeight::of(&weight)?, PackedWeight::of(&weight)?) {
                (Some(tiled), _) => Arranged::Tiled(Arc::new(tiled)),
                (None, Some(packed)) => Arranged::Packed(Arc::new(packed)),
                (None, None) => Arranged::ChannelsLast(weight),
            }
        } else {
            Arranged::Planes(weight.contiguous()?)
        };
        Ok(Self {
            arranged,
            out_channels: out,
            in_channels: per_group * groups,
            kernel: (kh, kw),
            groups,
        })
    }

    pub(super) fn arranged(&self) -> &Arranged {
        &self.arranged
    }

    pub(super) fn out_channels(&self) -> usize {
        self.out_channels
    }

    pub(super) fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// (kh, kw)
    pub(super) fn kernel(&self) -> (usize, usize) {
        self.kernel
    }

    pub(super) fn groups(&self) -> usize {
        self.groups
    }
}
