//! Work on the device: one OS thread owns the models, a bounded queue feeds it, answers come back on oneshots.
//!
//! Async code never holds a model. Photos are fetched and decoded ahead of the device, a bounded number at a time. A
//! full queue is refused ([`Admission::Refuse`]), never a longer silent wait; work whose asker has gone is skipped. The HTTP service and the worker go through [`Executor`]; the command line
//! calls the scanner itself.

pub mod context;
pub mod device;
pub mod engine;
pub mod executor;
pub mod input;
pub mod json;
pub mod memory;
pub mod no_models;
mod photos;
pub mod stub;

pub use context::{Event, JobContext};
pub use device::{Device, DeviceOptions, EngineState};
pub use engine::{Engine, EngineFactory, EngineInfo, MemoryInfo};
pub use executor::{Admission, Executor};
pub use input::{JobInput, ModelRequest, ModelTask};
pub use no_models::NoModels;
pub use stub::StubEngine;
