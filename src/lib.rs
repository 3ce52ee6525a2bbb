//! Meal photo in; per item mask, volume, grams, kcal and macros out, each with an interval.
//!
//! ```no_run
//! use dragunov::{ImageSource, ScanRequest, Scanner};
//!
//! let mut scanner = Scanner::bundled()?;
//! let mut request = ScanRequest::new(ImageSource::Bytes(std::fs::read("meal.jpg")?));
//! request.pitch_deg = Some(40.0);
//! let result = scanner.scan_request(&request)?;
//! println!("{:.0} kcal", result.totals.kcal.p50);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Scanner`] is the pipeline; [`ScanRequest`], [`ScanResult`] and [`ScanError`] are its contract, the same as that of
//! the HTTP service and the RunPod worker. [`ModelSet`] and [`ScannerConfig`] choose the networks, an
//! [`identify::Identifier`] may replace the one that names foods, and [`food_store::FoodStore`] the food table.
//!
//! All other modules belong to the program `dragunov` and its tests. They are hidden here and may change at any time.

pub mod contract;
pub mod food_store;
pub mod identify;
pub mod nutrition;
pub mod pipeline;
pub mod recompute;

#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod egress;
#[doc(hidden)]
pub mod eval;
#[doc(hidden)]
pub mod geometry;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod intake;
#[doc(hidden)]
pub mod jobs;
#[doc(hidden)]
pub mod overlay;
#[doc(hidden)]
pub mod perceive;
#[doc(hidden)]
pub mod runpod;
#[doc(hidden)]
pub mod runtime;
#[doc(hidden)]
pub mod s3;
#[doc(hidden)]
pub mod telemetry;
#[doc(hidden)]
pub mod weights_pull;
#[doc(hidden)]
pub mod worker;

pub use contract::request::ImageSource;
pub use contract::{ErrorCode, Estimated, ScanError, ScanRequest, ScanResult};
pub use pipeline::{ModelSet, Scanner, ScannerConfig};
