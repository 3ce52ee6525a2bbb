//! What goes in and what comes out: the job contract, shared by every front, and its words.

pub mod bounds;
pub mod camera_hint;
pub mod control;
pub mod depth_map;
pub mod error;
pub mod estimate;
pub mod flag;
pub mod image_source;
pub mod kinds;
pub mod model_answer;
pub mod photos;
pub mod quote;
pub mod recompute;
pub mod request;
pub mod reshoot;
pub mod result;
pub mod source;
pub mod stage;
pub(crate) mod vocabulary;
pub mod warning;

pub use control::Control;
pub use depth_map::{DepthFormat, DepthMapUnit, DepthSource};
pub use error::{ErrorCode, Fault, ScanError};
pub use estimate::Estimated;
pub use flag::ItemFlag;
pub use kinds::{DishKind, Kind, ReferenceKind};
pub use model_answer::ModelAnswer;
pub use request::{MaskFormat, ScanRequest};
pub use reshoot::{Reshoot, ReshootAction};
pub use result::{ScanResult, ScanStatus};
pub use source::{FoodSourceKind, FovSource, GravitySource, ScaleSource, TiltSource};
pub use stage::{Stage, StageUpdate, Timings};
pub use warning::{Warning, WarningCode};
