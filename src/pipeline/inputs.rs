//! What may take the place of the networks' work in one scan.

use dragunov_models::depth_anything::Depth;

use super::calibration::NetworkErrors;
use super::networks::PhotoEncoding;
use crate::perceive::{Detections, Regions};

/// Everything that a scan can be given beside photo and request.
#[derive(Debug, Default)]
pub struct ScanInputs {
    /// Parts of the truth, for evaluation.
    pub oracle: OracleInputs,
    /// What the networks said of this photo before.
    pub outputs: Option<NetworkOutputs>,
    /// What was worked out of this photo together with others.
    pub encoding: Option<PhotoEncoding>,
    /// Errors of the networks, in place of the set's own.
    pub errors: Option<NetworkErrors>,
}

/// Truth in place of what the networks would say; it is taken to be without error.
#[derive(Debug, Default)]
pub struct OracleInputs {
    pub depth: Option<Depth>,
    /// Masks must be at the measured size.
    pub regions: Option<Regions>,
    /// Let the identifier name the given regions.
    pub name_regions: bool,
}

/// All that the networks say of one photo; the rest of a scan is arithmetic.
#[derive(Debug, Clone)]
pub struct NetworkOutputs {
    pub depth: Depth,
    pub detections: Detections,
}
