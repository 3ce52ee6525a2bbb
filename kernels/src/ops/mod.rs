//! The ops, one room each.

pub(crate) mod activation;
pub(crate) mod argmax;
pub(crate) mod attention;
pub(crate) mod best_tokens;
pub(crate) mod channels_last;
pub(crate) mod conv2d;
pub(crate) mod conv_transpose2d;
pub(crate) mod decoding;
mod depthwise;
pub(crate) mod drawn_masks;
pub(crate) mod join_rows;
pub(crate) mod linear;
pub(crate) mod linear_gated;
pub(crate) mod linear_normed;
pub(crate) mod linear_rotated;
pub(crate) mod mask_facts;
pub(crate) mod mix;
pub(crate) mod norm;
pub(crate) mod pairwise;
pub(crate) mod picture;
pub(crate) mod relative;
pub(crate) mod rotary;
pub(crate) mod take_rows;
pub(crate) mod top_tokens;
pub(crate) mod upsample_bilinear;
