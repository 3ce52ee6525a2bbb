//! What goes in and what comes out: the job contract, shared by every front.

pub mod error;
pub mod estimate;
pub mod request;
pub mod result;

pub use error::{ErrorCode, Fault, ScanError};
pub use estimate::Estimated;
pub use request::ScanRequest;
pub use result::ScanResult;
