//! One scan, stage by stage.

use dragunov_models::depth_anything::Depth;
use dragunov_models::{Mask, RgbImage};

use super::calibration::NetworkErrors;
use super::clock::Clock;
use super::inputs::{OracleInputs, ScanInputs};
use super::measure::MeasuredScene;
use super::networks::Precomputed;
use super::working::Working;
use super::{Scanner, answer, measure};
use crate::contract::result::Item;
use crate::contract::{
    Control, DepthSource, ErrorCode, ScanError, ScanRequest, ScanResult, Stage, Warning, WarningCode,
};
use crate::food_store::Snapshot;
use crate::identify::Identified;
use crate::intake::Photo;
use crate::overlay;
use crate::perceive::{Regions, crop, resolve};
use crate::runtime::JobContext;

/// Smooth error of a phone's heights as a share of a single value's noise, beside what of it the table shows: a judgement.
const PHONE_RELIEF_SHARE: f64 = 0.1;

/// Pictures that were asked for.
#[derive(Debug, Default)]
pub struct Pictures {
    pub overlay: Option<RgbImage>,
    pub depth: Option<RgbImage>,
}

/// One photo, measured by itself and not yet weighed.
#[derive(Debug)]
pub(super) struct SeenPhoto {
    pub(super) work: Working,
    pub(super) depth: Depth,
    pub(super) scene: MeasuredScene,
    pub(super) weights: measure::Weights,
    /// Of the photo and of what was found; geometry's are in the scene.
    pub(super) warnings: Vec<Warning>,
}

impl SeenPhoto {
    /// The pictures that were asked for; `items` are those of this photo.
    pub(super) fn pictures(&self, request: &ScanRequest, items: &[(&Mask, &Item)]) -> Pictures {
        Pictures {
            overlay: request.options.overlay.then(|| answer::draw(self, items)),
            depth: request
                .options
                .depth
                .then(|| depth_picture(&self.depth))
                .flatten(),
        }
    }
}

impl Scanner {
    /// Measures the food on one photo.
    ///
    /// # Errors
    /// A coded error where no honest answer is possible; `cancelled` and `deadline_exceeded` from `ctx`.
    pub fn scan(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<(ScanResult, Pictures), ScanError> {
        self.scan_with(photo, request, ctx, ScanInputs::default())
    }

    /// [`Self::scan`] with some of what the networks would say given.
    ///
    /// # Errors
    /// As [`Self::scan`]; `invalid_field` if what is given does not fit the photo's size.
    pub fn scan_with(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
        inputs: ScanInputs,
    ) -> Result<(ScanResult, Pictures), ScanError> {
        let mut clock = Clock::start(ctx);
        let foods = self.foods();
        let seen = self.look(photo, request, ctx, inputs, &foods, &mut clock)?;

        clock.stage(Stage::Nourish)?;
        let mut warnings = seen.warnings.clone();
        warnings.extend(self.set_warnings());
        warnings.extend(foods.warning.clone());
        let mut result = answer::of_photo(&seen, request, &foods, self.names.clone(), warnings)?;

        let masks = seen.scene.regions.foods.iter().map(|food| &food.mask);
        let shown: Vec<(&Mask, &Item)> = masks.zip(&result.items).collect();
        let pictures = seen.pictures(request, &shown);
        result.timings_ms = clock.finish();
        Ok((result, pictures))
    }

    /// Finds and measures what one photo shows.
    ///
    /// # Errors
    /// As [`Self::scan_with`].
    pub(super) fn look(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
        inputs: ScanInputs,
        foods: &Snapshot,
        clock: &mut Clock<'_>,
    ) -> Result<SeenPhoto, ScanError> {
        let ScanInputs {
            oracle,
            outputs,
            encoding,
            errors,
        } = inputs;
        let errors = errors.unwrap_or(self.config.errors);
        let phone = photo.depth.as_ref().filter(|_| oracle.depth.is_none());
        let errors = NetworkErrors {
            relief_sigma: match phone {
                Some(phone) => PHONE_RELIEF_SHARE * phone.sigma_rel,
                None if oracle.depth.is_some() => 0.0,
                None => errors.relief_sigma,
            },
            outline_sigma: if oracle.regions.is_some() {
                0.0
            } else {
                errors.outline_sigma
            },
            ..errors
        };
        if let Some(identifier) = &mut self.identifier {
            identifier.set_note(request.note.as_deref());
        }
        let mut known = Precomputed::default();
        let work = match encoding {
            Some(encoding) => {
                clock.before(Stage::Depth, encoding.depth_took);
                clock.before(Stage::Segment, encoding.embedding_took);
                known.depth = Some(encoding.depth);
                known.embedding = Some(encoding.embedding);
                encoding.work
            }
            None => Working::new(photo, request, self.config.max_side_px)?,
        };
        if let Some(outputs) = outputs {
            known.depth = Some(outputs.depth);
            known.detections = Some(outputs.detections);
        }
        if let Some(phone) = phone {
            known.depth = Some(Depth::Metric(phone.metres.clone()));
        }

        clock.stage(Stage::Depth)?;
        let (depth, regions, found) = self.see(&work, ctx, known, oracle, clock)?;

        clock.stage(Stage::Measure)?;
        let mut warnings: Vec<Warning> = photo.warnings.clone();
        warnings.extend(found);
        let weights = measure::Weights {
            errors,
            portions: self.config.portions,
            depth_source: if phone.is_some() {
                DepthSource::Client
            } else {
                DepthSource::Network
            },
        };
        let scene = measure::measure(&work, request, &depth, regions, &foods.table, weights)?;
        Ok(SeenPhoto {
            work,
            depth,
            scene,
            weights,
            warnings,
        })
    }

    /// Depth and regions: the oracle's where it has them, the networks' otherwise; and what could not be named.
    fn see(
        &mut self,
        work: &Working,
        ctx: &JobContext,
        mut known: Precomputed,
        oracle: OracleInputs,
        clock: &Clock<'_>,
    ) -> Result<(Depth, Regions, Vec<Warning>), ScanError> {
        known.depth = oracle.depth.or(known.depth);
        let Some(regions) = oracle.regions else {
            let (depth, detections) = self.depth_and_detections(work, ctx, known, clock)?;
            let mut regions = resolve(detections.candidates);
            regions.sharpen(work.image());
            regions.judge(&self.config.names);
            if regions.foods.is_empty() {
                return Err(no_food(&regions));
            }
            return Ok((depth, regions, detections.warnings));
        };
        let depth = self.depth_of(work, ctx, known.depth)?;
        let size = (work.image().width(), work.image().height());
        if regions
            .foods
            .iter()
            .any(|f| (f.mask.width(), f.mask.height()) != size)
        {
            let message = format!("given masks must have {} x {} pixels", size.0, size.1);
            return Err(ScanError::new(ErrorCode::InvalidField, message));
        }
        let mut regions = if oracle.name_regions {
            self.name_regions(work.image(), regions, clock)?
        } else {
            regions
        };
        regions.judge(&self.config.names);
        Ok((depth, regions, Vec::new()))
    }

    /// What a caller should know of the checkpoint set.
    pub(super) fn set_warnings(&self) -> Vec<Warning> {
        let (set, mut out) = (&self.names.set, Vec::new());
        if self.config.demonstration {
            out.push(Warning::new(
                WarningCode::TinyModels,
                format!("measured with {set}, a set for trying the service out; use a published set for real meals"),
            ));
        }
        if !self.config.calibrated {
            out.push(Warning::new(
                WarningCode::UncalibratedModels,
                format!(
                    "{set} has no calibration: how far its networks are off is assumed, and the intervals with it"
                ),
            ));
        }
        out
    }

    /// Asks the identifier what each given region is; those it cannot name become `unknown`.
    fn name_regions(
        &mut self,
        image: &RgbImage,
        mut regions: Regions,
        ctx: &dyn Control,
    ) -> Result<Regions, ScanError> {
        ctx.stage(Stage::Identify)?;
        for food in &mut regions.foods {
            let answer = match (crop(image, &food.mask), self.identifier.as_deref_mut()) {
                (Some(picture), Some(identifier)) => identifier
                    .identify(&[picture], &|| ctx.check().is_err())
                    .pop()
                    .and_then(Result::ok),
                _ => None,
            };
            food.identity = answer.unwrap_or_else(Identified::unknown_food);
        }
        ctx.check()?;
        Ok(regions)
    }
}

fn no_food(regions: &Regions) -> ScanError {
    let seen = match (
        regions.dishes.len(),
        regions.references.len() + regions.others.len(),
    ) {
        (0, 0) => "nothing was recognised on the photo".to_owned(),
        (dishes, others) => format!("{dishes} dishes and {others} other things are there, but no food"),
    };
    ScanError::new(ErrorCode::NoFood, format!("no food found: {seen}"))
        .next_step("take the photo closer, from 20 to 45 degrees, or mark the food with a point")
}

/// Depth in colour, near bright.
pub(super) fn depth_picture(depth: &Depth) -> Option<RgbImage> {
    let (width, height) = depth.size();
    match depth {
        Depth::Relative(raster) => overlay::depth_picture(width, height, raster.values()),
        Depth::Metric(raster) => {
            let near: Vec<f32> = raster.values().iter().map(|z| 1.0 / z).collect();
            overlay::depth_picture(width, height, &near)
        }
    }
}
