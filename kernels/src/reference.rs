//! The same ops as plain loops in f64: slow, obviously right, what the kernels are tested against.
//!
//! Tensors are slices in row-major order with their sizes beside them.

pub use crate::ops::activation::reference::{gelu, silu};
pub use crate::ops::argmax::reference::argmax_tokens;
pub use crate::ops::attention::reference::{AttentionDims, attention};
pub use crate::ops::conv_transpose2d::reference::conv_transpose2d;
pub use crate::ops::conv2d::reference::{ConvDims, conv2d};
pub use crate::ops::drawn_masks::reference::drawn_mask;
pub use crate::ops::linear::reference::matmul_nt;
pub use crate::ops::norm::reference::{layer_norm, rms_norm};
pub use crate::ops::picture::reference::{mixed_level, resized_byte};
pub use crate::ops::rotary::reference::rotary;
pub use crate::ops::top_tokens::reference::larger_than;
pub use crate::ops::upsample_bilinear::reference::upsample_bilinear;
