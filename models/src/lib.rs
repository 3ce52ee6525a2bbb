//! Segment Anything, Depth Anything V2 and Qwen2.5-VL on candle.
//!
//! Every model is sized by the `config.json` of its checkpoint, keeps its batch dimension, and is compared
//! stage by stage with PyTorch in `tests/parity.rs`.

pub mod bundled;
pub mod checkpoint;
pub mod depth_anything;
pub mod depth_map;
pub mod device;
pub mod error;
mod graphs;
pub mod image;
pub mod mask;
pub mod nn;
pub mod observer;
pub mod qwen_vl;
pub mod resample;
pub mod sam;
pub mod space;
pub mod weights;

pub use depth_map::{MetricDepth, RelativeDisparity};
pub use error::ModelError;
pub use image::RgbImage;
pub use mask::Mask;
pub use qwen_vl::QwenVl;
pub use space::{ImagePx, Point, Rect};

pub type Result<T, E = ModelError> = std::result::Result<T, E>;
