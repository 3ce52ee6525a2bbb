//! The scan from a decoded photo to the answer: owns the models, runs depth itself, lends masks and names to `perceive`.
//! Lives on the device's thread.

mod answer;
mod calibration;
mod clock;
mod config;
mod engine;
mod inputs;
mod library;
mod meal;
mod meal_scan;
mod measure;
mod model_set;
mod networks;
mod reshoot;
mod scan;
mod scanner;
mod single_model;
mod working;

pub use crate::perceive::{Search, Strategy};
pub use calibration::{CALIBRATION_FILE, CALIBRATION_FORMAT, Calibration, MaskGrid, NetworkErrors};
pub use config::ScannerConfig;
pub use inputs::{NetworkOutputs, OracleInputs, ScanInputs};
pub(crate) use measure::CLIENT_HEIGHT_SIGMA_LN;
pub use model_set::ModelSet;
pub use networks::PhotoEncoding;
pub use scan::Pictures;
pub use scanner::Scanner;
