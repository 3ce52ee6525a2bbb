//! What kernels take by value, laid out as in `cu/attention.cuh`.
#![allow(unsafe_code)]

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;

/// Strides (batch, head, token) of a tensor whose last dimension is dense, in elements.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Strides {
    pub(crate) batch: i64,
    pub(crate) head: i64,
    pub(crate) token: i64,
}

/// Sizes and strides of one attention.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Shape {
    pub(crate) q: Strides,
    pub(crate) k: Strides,
    pub(crate) v: Strides,
    pub(crate) bias: Strides,
    pub(crate) bias_key: i64,
    pub(crate) heads: i32,
    pub(crate) kv_heads: i32,
    pub(crate) pack: i32,
    pub(crate) queries: i32,
    pub(crate) keys: i32,
    pub(crate) d: i32,
    pub(crate) offset: i32,
    pub(crate) tiles: i32,
    pub(crate) grid_rows: i32,
    pub(crate) grid_columns: i32,
    pub(crate) scale: f32,
    pub(crate) aligned: i32,
}

pub(crate) const MOST_SEQUENCES: usize = 64;

/// Caches of sequences, and which of the new tokens are theirs.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Sequences {
    pub(crate) k: [u64; MOST_SEQUENCES],
    pub(crate) v: [u64; MOST_SEQUENCES],
    pub(crate) first: [i32; MOST_SEQUENCES],
    pub(crate) queries: [i32; MOST_SEQUENCES],
    pub(crate) keys: [i32; MOST_SEQUENCES],
    pub(crate) room: [i32; MOST_SEQUENCES],
}

// SAFETY: plain numbers without padding, in C's order; the sizes are compared below with those of `cu/attention.cuh`.
unsafe impl DeviceRepr for Shape {}
// SAFETY: as above.
unsafe impl DeviceRepr for Sequences {}

const _: () = assert!(size_of::<Shape>() == 13 * 8 + 12 * 4);
const _: () = assert!(size_of::<Sequences>() == MOST_SEQUENCES * 32);
