//! The whole pipeline under evaluation, with as much of the truth given as the oracles say.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use dragunov_models::depth_anything::Depth;
use dragunov_models::{Mask, RelativeDisparity};

use super::amounts::EstimatedAmounts;
use super::cache::PredictionCache;
use super::label_oracle;
use super::load;
use super::manifest::{DataError, Sample, Support};
use super::oracle::{Damage, Oracle, disparity, phone};
use super::predictor::{Predicted, PredictedItem, Predictor};
use super::scale_group::ScaleGroup;
use super::truth::TrueMasks;
use crate::contract::photos::MealPhoto;
use crate::contract::request::{ImageSource, Reference};
use crate::contract::result::{Item, MaskData, Totals};
use crate::contract::{DishKind, ErrorCode, ReferenceKind, ScanError, ScanRequest, ScanResult};
use crate::identify::{Identified, Kind};
use crate::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};
use crate::perceive::{FoodRegion, Regions};
use crate::pipeline::{OracleInputs, ScanInputs, Scanner};
use crate::runtime::JobContext;

/// Runs a scan of every photo.
#[derive(Debug)]
pub struct FullPipeline {
    scanner: Mutex<Scanner>,
    oracles: Vec<Oracle>,
    damage: Damage,
    known_size: KnownSize,
    cache: Option<PredictionCache>,
}

/// Which size the scale oracle tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum KnownSize {
    /// The plate's, else the coin's, else that a card lies there.
    #[default]
    Any,
    Plate,
    Coin,
}

impl FullPipeline {
    /// `cache`: keeps what the networks say, so that a second run is arithmetic only.
    pub fn new(
        scanner: Scanner,
        oracles: Vec<Oracle>,
        damage: Damage,
        known_size: KnownSize,
        cache: Option<PredictionCache>,
    ) -> Self {
        Self {
            scanner: Mutex::new(scanner),
            oracles,
            damage,
            known_size,
            cache,
        }
    }

    fn has(&self, oracle: Oracle) -> bool {
        self.oracles.contains(&oracle)
    }

    fn request(&self, sample: &Sample) -> ScanRequest {
        let mut request = ScanRequest::new(ImageSource::Bytes(Vec::new()));
        request.pitch_deg = sample.pitch_deg;
        if self.has(Oracle::Camera) {
            request.camera.focal_px = sample.camera.focal_px;
            request.roll_deg = sample.roll_deg;
        }
        if self.has(Oracle::Height) {
            request.camera.height_cm = sample.camera.height_cm;
        }
        if self.has(Oracle::Scale) {
            request.reference = reference(sample, self.known_size);
        }
        request
    }

    fn oracle_inputs(&self, root: &Path, sample: &Sample) -> Result<OracleInputs, DataError> {
        let mut inputs = OracleInputs::default();
        if self.has(Oracle::Masks) {
            let masks = TrueMasks::load(root, sample)?;
            inputs.name_regions = !self.has(Oracle::Labels);
            inputs.regions = Some(regions(masks, sample));
        }
        if let Some(at) = sample
            .depth
            .as_ref()
            .filter(|_| self.has(Oracle::Depth) || self.has(Oracle::Disparity))
        {
            let depth = load::depth(root, at)?;
            let seed = seed_of(sample);
            let relative: Option<RelativeDisparity> = self
                .has(Oracle::Disparity)
                .then(|| disparity(&depth, seed, self.damage))
                .flatten();
            inputs.depth = Some(relative.map_or(Depth::Metric(depth), Depth::Relative));
        }
        Ok(inputs)
    }
}

/// A photo with what is said of it and what is given.
struct Prepared {
    photo: Photo,
    request: ScanRequest,
    inputs: ScanInputs,
}

impl FullPipeline {
    fn prepare(&self, scanner: &mut Scanner, root: &Path, sample: &Sample) -> Result<Prepared, ScanError> {
        let path = root.join(&sample.image);
        let bytes = std::fs::read(&path).map_err(|e| {
            ScanError::new(ErrorCode::NotFound, format!("cannot read {}", path.display())).source(e)
        })?;
        let request = self.request(sample);
        let shot = Shot::from_request(&request);
        let mut photo = read_photo(&bytes, &shot, &SourceMeta::default(), &DecodeLimits::default())?;
        if let Some(at) = sample.depth.as_ref().filter(|_| self.has(Oracle::Phone)) {
            photo.depth = phone(&load::depth(root, at)?, seed_of(sample), self.damage)?;
        }
        let mut inputs = ScanInputs {
            oracle: self.oracle_inputs(root, sample)?,
            ..ScanInputs::default()
        };
        let true_labels = self.has(Oracle::Labels) && inputs.oracle.regions.is_none();
        if true_labels || self.cache.is_some() {
            let mut run = || scanner.network_outputs(&photo, &request, &JobContext::detached());
            let mut outputs = match &self.cache {
                Some(cache) => cache.get_or_insert(&sample.id, &bytes, &request.hints, run)?,
                None => run()?,
            };
            if true_labels {
                label_oracle::apply_true_labels(root, sample, &mut outputs.detections.candidates)?;
            }
            inputs.outputs = Some(outputs);
        }
        Ok(Prepared {
            photo,
            request,
            inputs,
        })
    }

    /// The answer to several photos of one meal.
    ///
    /// # Errors
    /// Any coded refusal.
    pub fn predict_meal(&self, root: &Path, samples: &[&Sample]) -> Result<ScanResult, ScanError> {
        let mut scanner = self.scanner.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut photos, mut inputs, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for sample in samples {
            let prepared = self.prepare(&mut scanner, root, sample)?;
            photos.push(Ok(prepared.photo));
            inputs.push(prepared.inputs);
            requests.push(prepared.request);
        }
        let mut requests = requests.into_iter();
        let mut request = requests
            .next()
            .ok_or_else(|| ScanError::new(ErrorCode::BadRequest, "a meal without photos"))?;
        request.more = requests
            .map(|other| MealPhoto {
                pitch_deg: other.pitch_deg,
                roll_deg: other.roll_deg,
                camera: other.camera,
                ..MealPhoto::new(other.image)
            })
            .collect();
        let (result, _) = scanner.scan_meal_with(photos, &request, &JobContext::detached(), inputs)?;
        Ok(result)
    }
}

impl Predictor for FullPipeline {
    fn predict(&self, root: &Path, sample: &Sample) -> Result<Predicted, ScanError> {
        let mut scanner = self.scanner.lock().unwrap_or_else(PoisonError::into_inner);
        let Prepared {
            photo,
            request,
            inputs,
        } = self.prepare(&mut scanner, root, sample)?;
        let (matched, told) = (inputs.oracle.regions.is_some(), self.has(Oracle::Labels));
        let (result, _) = scanner.scan_with(&photo, &request, &JobContext::detached(), inputs)?;
        let items = result
            .items
            .into_iter()
            .enumerate()
            .map(|(i, item)| PredictedItem {
                mask: item.mask.as_ref().and_then(mask_of),
                truth: matched.then_some(i),
                confidence: (!told).then_some(item.confidence),
                amounts: amounts_of(&item),
                label: item.label,
                flags: item.flags,
            })
            .collect();
        Ok(Predicted {
            items,
            totals: totals_of(&result.totals),
            tilt_deg: Some(result.camera.tilt_deg),
            camera_height_cm: Some(result.scale.camera_height_cm.p50),
            scale: Some(ScaleGroup::of(result.scale.source, &result.scale.candidates)),
            warnings: result.warnings.into_iter().map(|w| w.code).collect(),
        })
    }
}

pub(super) fn amounts_of(item: &Item) -> EstimatedAmounts {
    EstimatedAmounts {
        volume_cm3: Some(item.volume_cm3),
        mass_g: Some(item.mass_g),
        kcal: Some(item.kcal),
        protein_g: Some(item.protein_g),
        carbs_g: Some(item.carbs_g),
        fat_g: Some(item.fat_g),
    }
}

/// A scan sums no volumes.
fn totals_of(totals: &Totals) -> EstimatedAmounts {
    EstimatedAmounts {
        volume_cm3: None,
        mass_g: Some(totals.mass_g),
        kcal: Some(totals.kcal),
        protein_g: Some(totals.protein_g),
        carbs_g: Some(totals.carbs_g),
        fat_g: Some(totals.fat_g),
    }
}

/// Of what is drawn at random for a photo.
fn seed_of(sample: &Sample) -> u64 {
    let bytes = sample.id.bytes();
    bytes.fold(7u64, |h, b| h.wrapping_mul(131).wrapping_add(u64::from(b)))
}

/// The reference that a user would state: the plate's size, else a coin's, else a card.
pub(super) fn reference(sample: &Sample, known_size: KnownSize) -> Option<Reference> {
    let plate = sample
        .dishes
        .iter()
        .find(|d| d.kind == Support::Dish(DishKind::Plate) && d.diameter_cm.is_some());
    if let Some(dish) = plate.filter(|_| known_size != KnownSize::Coin) {
        return Some(Reference {
            kind: ReferenceKind::Plate,
            diameter_cm: dish.diameter_cm,
        });
    }
    if known_size == KnownSize::Plate {
        return None;
    }
    let of = |kind| sample.references.iter().find(|r| r.kind == kind);
    of(ReferenceKind::Coin)
        .filter(|r| r.diameter_cm.is_some())
        .or_else(|| of(ReferenceKind::Card))
        .map(|r| Reference {
            kind: r.kind,
            diameter_cm: r.diameter_cm,
        })
}

/// The true masks as if they had been found; every item stays one region of its own.
pub(super) fn regions(masks: TrueMasks, sample: &Sample) -> Regions {
    let label = |i: usize| {
        sample
            .items
            .get(i)
            .map_or(Identified::UNKNOWN, |item| item.label.as_str())
    };
    Regions {
        foods: masks
            .items
            .into_iter()
            .enumerate()
            .map(|(i, mask)| FoodRegion {
                mask,
                identity: Identified {
                    kind: Kind::Food,
                    label: label(i).to_owned(),
                    confidence: 1.0,
                    alternatives: Vec::new(),
                    grams: None,
                    novelty: None,
                },
                pieces: 1,
            })
            .collect(),
        dishes: masks
            .dishes
            .into_iter()
            .map(|(mask, kind, _)| (kind, mask))
            .collect(),
        references: masks
            .references
            .into_iter()
            .map(|(mask, kind, _)| (kind, mask))
            .collect(),
        others: masks.others,
    }
}

pub(super) fn mask_of(data: &MaskData) -> Option<Mask> {
    match data {
        MaskData::Rle { size: [h, w], counts } => Mask::from_coco_string(*w, *h, counts),
        MaskData::Png { .. } => None,
    }
}
