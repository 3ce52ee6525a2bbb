//! Who answers: the seam between the evaluation and whatever measures a photo.

use std::path::Path;

use dragunov_models::Mask;

use super::amounts::EstimatedAmounts;
use super::manifest::{DataError, Sample};
use super::oracle::{Damage, Oracle};
use super::scale_group::ScaleGroup;
use super::truth::{Perturb, Truth};
use crate::contract::{ErrorCode, ItemFlag, ScanError, WarningCode};
use crate::food_store::FoodStore;
use crate::geometry::measure;

/// One item as answered.
#[derive(Debug, Clone)]
pub struct PredictedItem {
    pub label: String,
    /// Stated probability of the label; none where it was told.
    pub confidence: Option<f64>,
    pub amounts: EstimatedAmounts,
    pub mask: Option<Mask>,
    /// Index of the true item where the oracle of masks decided it; otherwise they are matched by overlap.
    pub truth: Option<usize>,
    pub flags: Vec<ItemFlag>,
}

/// The answer to one photo.
#[derive(Debug, Clone, Default)]
pub struct Predicted {
    pub items: Vec<PredictedItem>,
    /// Of all items together.
    pub totals: EstimatedAmounts,
    /// Angle from straight down that was used.
    pub tilt_deg: Option<f64>,
    pub camera_height_cm: Option<f64>,
    pub scale: Option<ScaleGroup>,
    pub warnings: Vec<WarningCode>,
}

/// Anything that turns a sample into items with volumes.
pub trait Predictor {
    /// # Errors
    /// Any coded refusal; it is counted, and compared with what the manifest expects.
    fn predict(&self, root: &Path, sample: &Sample) -> Result<Predicted, ScanError>;
}

impl From<DataError> for ScanError {
    fn from(error: DataError) -> Self {
        ScanError::new(ErrorCode::BadRequest, error.to_string()).source(error)
    }
}

/// Geometry alone on true masks and true (or disguised) depth.
#[derive(Debug, Clone, Default)]
pub struct GeometryOnly {
    pub oracles: Vec<Oracle>,
    /// For the disparity oracle.
    pub damage: Damage,
    pub perturb: Perturb,
    /// Whether usual portions of the labels count.
    pub portions: bool,
    /// Shapes and usual portions of the labels.
    pub foods: FoodStore,
}

impl GeometryOnly {
    pub(super) fn truth(&self, root: &Path, sample: &Sample) -> Result<Truth, ScanError> {
        let damage = self.oracles.contains(&Oracle::Disparity).then_some(self.damage);
        Ok(Truth::load(root, sample, damage)?)
    }

    /// The answer with the camera off by `perturb`.
    pub(super) fn answer(
        &self,
        truth: &Truth,
        sample: &Sample,
        perturb: Perturb,
    ) -> Result<Predicted, ScanError> {
        let scene = truth.scene(
            sample,
            &self.oracles,
            perturb,
            self.portions,
            &self.foods.current().table,
        );
        let measured = measure(&scene)?;
        let labels = self.oracles.contains(&Oracle::Labels);
        let items = measured
            .items
            .into_iter()
            .zip(&sample.items)
            .zip(&truth.items)
            .enumerate()
            .map(|(i, ((item, true_item), mask))| PredictedItem {
                label: if labels {
                    true_item.label.clone()
                } else {
                    "unknown".to_owned()
                },
                confidence: None,
                amounts: EstimatedAmounts {
                    volume_cm3: Some(item.volume_cm3),
                    ..EstimatedAmounts::default()
                },
                mask: Some(mask.clone()),
                truth: Some(i),
                flags: item.flags,
            })
            .collect();
        Ok(Predicted {
            items,
            tilt_deg: Some(measured.camera.gravity.tilt_deg()),
            camera_height_cm: Some(measured.scale.camera_height_cm.p50),
            scale: Some(ScaleGroup::of(measured.scale.source, &measured.scale.candidates)),
            totals: EstimatedAmounts::default(),
            warnings: measured.warnings.into_iter().map(|w| w.code).collect(),
        })
    }
}

impl Predictor for GeometryOnly {
    fn predict(&self, root: &Path, sample: &Sample) -> Result<Predicted, ScanError> {
        self.answer(&self.truth(root, sample)?, sample, self.perturb)
    }
}
