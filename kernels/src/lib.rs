//! Fused ops for dragunov's models: each with a CPU kernel, what runs on CUDA, and a plain f64 reference.
//!
//! | room | holds |
//! |---|---|
//! | `ops/<op>/mod.rs` | the public function: shapes checked once, the device chosen ([`candle_core::CustomOp2`] and its like) |
//! | `ops/<op>/cpu.rs` | the CPU kernel, `cpu_fwd` |
//! | `ops/<op>/cuda.rs` | what runs on CUDA: a kernel of `cu/`, and candle's own ops put together |
//! | `ops/<op>/reference.rs` | plain loops in f64 |
//! | `cpu/` | what CPU kernels share: the inner loop of products, packing, vectors, threads, working memory |
//! | `cuda/` | what the CUDA side of several ops shares |
//! | `graph.rs` | work of a GPU that is queued once and launched again and again |
//!
//! Element types f32, bf16 and f16 in and out; sums are always f32.

mod backend;
mod cpu;
mod cuda;
mod epilogue;
pub mod graph;
mod ops;
mod products;
pub mod reference;
#[cfg(test)]
mod testing;
mod tf32;

pub use backend::works_in_pieces;
pub use epilogue::Epilogue;
pub use ops::activation::{Activation, activation};
pub use ops::argmax::{TokenRules, argmax_tokens};
pub use ops::attention::ragged::{CachedSequence, attention_ragged, attention_ragged_behind};
pub use ops::attention::{AttentionMask, Segments, attention};
pub use ops::best_tokens::{AllowedRow, TokenSet, best_tokens};
pub use ops::channels_last::to_channels_last;
pub use ops::conv_transpose2d::conv_transpose2d;
pub use ops::conv2d::{ConvWeight, conv2d};
pub use ops::decoding::{StepInputs, StepRules, StepStart, StepState};
pub use ops::drawn_masks::{MaskAt, MaskBits, MaskGrid, MaskThresholds, draw_masks};
pub use ops::join_rows::join_rows;
pub use ops::linear::{LinearWeight, linear};
pub use ops::linear_gated::{GatedWeight, linear_gated};
pub use ops::linear_normed::linear_normed;
pub use ops::linear_rotated::linear_rotated;
pub use ops::mask_facts::{MaskFacts, MaskRules, mask_facts};
pub use ops::mix::Mix;
pub use ops::norm::{layer_norm, rms_norm};
pub use ops::pairwise::{add, silu_mul};
pub use ops::picture::{
    ByteMix, ByteResize, Levels, Normal, Picture, PixelOrder, byte_pixels, float_pixels, resize_floats,
};
pub use ops::relative::relative_positions;
pub use ops::rotary::rotary;
pub use ops::take_rows::take_rows;
pub use ops::top_tokens::top_tokens;
pub use ops::upsample_bilinear::upsample_bilinear;
pub use products::Products;
pub use tf32::with_tf32;
