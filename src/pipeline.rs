//! The scan from a decoded photo to the answer: owns the models, runs depth itself, lends masks and names to `perceive`.
//! Lives on the device's thread.

mod answer;
mod clock;
mod engine;
mod look;
mod measure;
mod one_model;
mod set;
mod working;

use std::sync::Arc;

use candle_core::DType;
use dragunov_models::RgbImage;
use dragunov_models::bundled::PLATE_TINY;
use dragunov_models::depth_anything::{Depth, DepthAnything};
use dragunov_models::device::DeviceChoice;
use dragunov_models::qwen_vl::QwenVl;
use dragunov_models::sam::{AmgConfig, Sam};

use crate::contract::result::Models;
use crate::contract::{Control, ErrorCode, ScanError, ScanRequest, ScanResult, Stage, Warning, WarningCode};
use crate::identify::native::NativeIdentifier;
use crate::identify::{Identified, Identifier};
use crate::intake::Photo;
use crate::nutrition::FoodTable;
use crate::overlay;
use crate::perceive::{Regions, Seen, crop, resolve};
use crate::runtime::JobContext;
use clock::Clock;
use look::Known;
use measure::Trust;
use working::Working;

pub use crate::perceive::Strategy;
pub use look::Encoded;
pub use set::ModelSet;

/// How far heights in a published network's depth are off, sd in camera heights: 8 mm from 40 cm.
const NETWORK_RELIEF_SIGMA: f64 = 0.02;
/// The same of `plate-tiny` (mean error 11 mm on held-out scenes, see its card).
const TINY_RELIEF_SIGMA: f64 = 0.045;
/// A pixel of the 256 x 256 that masks are decoded at, on something a fifth of the photo wide.
const NETWORK_OUTLINE_SIGMA: f64 = 0.01;
/// The same of `plate-tiny`: camera heights by the plates of 44 held-out scenes are off by 2.1 %. The coins of 58 held-out
/// photos are off by 2.0 % along their edge, but no pitch is known there and their tilt is by the same edge.
const TINY_OUTLINE_SIGMA: f64 = 0.035;

/// Sd of a tilt that is read off the table in a published network's depth alone; its shift is free.
const NETWORK_TILT_SIGMA_DEG: f64 = 12.0;
/// The same of `plate-tiny`, whose disparity is trained to have no shift.
const TINY_TILT_SIGMA_DEG: f64 = 5.0;

/// What a deployment chooses.
#[derive(Debug, Clone)]
pub struct ScannerConfig {
    pub strategy: Strategy,
    pub amg: AmgConfig,
    /// Redraw automatic masks from their boxes.
    pub refine: bool,
    /// Look again, enlarged, at the part of the photo where the meal is.
    pub look_closer: bool,
    /// Photos are measured at this many pixels on the long side at most; masks are returned at the photo's size.
    pub max_side_px: usize,
    /// Let usual helpings of the named foods have a say in volumes and scale.
    pub portions: bool,
    /// Estimate depth while regions are found. None: on a GPU, where the two have streams of their own.
    pub overlap: Option<bool>,
    /// How far heights in the network's depth are off, sd in camera heights.
    pub relief_sigma: f64,
    /// How far the widths of the network's masks are off, relative sd.
    pub outline_sigma: f64,
    /// How far the tilt of the table in the network's depth is off, sd in degrees.
    pub table_tilt_sigma_deg: f64,
}

impl ScannerConfig {
    /// Settings that suit a checkpoint set: the tiny decoder is surer of less, and needs fewer points.
    pub fn for_set(set: &ModelSet) -> Self {
        let tiny = set.name == PLATE_TINY;
        let amg = if tiny {
            AmgConfig {
                points_per_side: 20,
                pred_iou_thresh: 0.5,
                stability_score_thresh: 0.5,
                min_mask_region_area: 60,
                screen: true,
                ..AmgConfig::default()
            }
        } else {
            AmgConfig {
                min_mask_region_area: 100,
                ..AmgConfig::default()
            }
        };
        Self {
            strategy: Strategy::Automatic,
            amg,
            refine: tiny,
            look_closer: tiny,
            max_side_px: 1536,
            portions: true,
            overlap: None,
            relief_sigma: if tiny {
                TINY_RELIEF_SIGMA
            } else {
                NETWORK_RELIEF_SIGMA
            },
            outline_sigma: if tiny {
                TINY_OUTLINE_SIGMA
            } else {
                NETWORK_OUTLINE_SIGMA
            },
            table_tilt_sigma_deg: if tiny {
                TINY_TILT_SIGMA_DEG
            } else {
                NETWORK_TILT_SIGMA_DEG
            },
        }
    }
}

/// Pictures that were asked for.
#[derive(Debug, Default)]
pub struct Pictures {
    pub overlay: Option<RgbImage>,
    pub depth: Option<RgbImage>,
}

/// Parts of the truth, for evaluation. Masks must be at the measured size.
#[derive(Debug, Default)]
pub struct Given {
    pub depth: Option<Depth>,
    pub regions: Option<Regions>,
    /// Let the identifier name the given regions.
    pub name_foods: bool,
    /// What the networks said of this photo before.
    pub looked: Option<Looked>,
    /// What was worked out of this photo together with others.
    pub encoded: Option<Encoded>,
}

/// All that the networks say of one photo; the rest of a scan is arithmetic.
#[derive(Debug, Clone)]
pub struct Looked {
    pub depth: Depth,
    pub seen: Seen,
}

/// All models of a set, loaded.
pub struct Scanner {
    names: Models,
    dtype: DType,
    device: DeviceChoice,
    overlap: bool,
    weights_bytes: u64,
    sam: Sam,
    depth: DepthAnything,
    identifier: Option<Box<dyn Identifier>>,
    foods: Arc<FoodTable>,
    config: ScannerConfig,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner")
            .field("names", &self.names)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// Loads a set. `identifier` replaces the set's own vision-language model.
    ///
    /// # Errors
    /// `device_unavailable` if CUDA was asked for in vain; `checkpoint_invalid` with file, key and shape.
    pub fn load(
        set: &ModelSet,
        device: DeviceChoice,
        config: ScannerConfig,
        identifier: Option<Box<dyn Identifier>>,
    ) -> Result<Self, ScanError> {
        let on = device.open()?;
        let dtype = if on.is_cuda() { DType::BF16 } else { DType::F32 };
        let own_vlm = identifier.is_none().then_some(set.vlm.as_ref()).flatten();
        let mut parameters = 0;
        for checkpoint in [Some(&set.sam), Some(&set.depth), own_vlm].into_iter().flatten() {
            let tensors = checkpoint.stored_tensors()?;
            parameters += tensors
                .values()
                .map(|shape| shape.iter().product::<usize>())
                .sum::<usize>();
        }
        let foods = FoodTable::builtin();
        let identifier = match (identifier, &set.vlm) {
            (Some(other), _) => Some(other),
            (None, Some(checkpoint)) => {
                let model = QwenVl::load(checkpoint, dtype, &on)?;
                let labels = set.labels(&foods)?;
                let name = format!("{} (Qwen2.5-VL)", set.name);
                Some(
                    Box::new(NativeIdentifier::new(model, name, labels, set.grounds()))
                        as Box<dyn Identifier>,
                )
            }
            (None, None) => None,
        };
        if config.strategy == Strategy::Grounded && !identifier.as_ref().is_some_and(|i| i.grounds()) {
            let who = identifier
                .as_ref()
                .map_or_else(|| "no identifier".into(), |i| i.name());
            return Err(ScanError::new(
                ErrorCode::ConfigInvalid,
                format!("the grounded strategy needs a model that gives boxes; {who} does not"),
            )
            .next_step("use --strategy automatic, or a set with a published Qwen2.5-VL"));
        }
        let names = Models {
            set: set.name.clone(),
            sam: format!("{} (Segment Anything)", set.name),
            depth: format!("{} (Depth Anything V2)", set.name),
            identify: identifier.as_ref().map_or_else(|| "none".into(), |i| i.name()),
        };
        let sam = Sam::load(&set.sam, dtype, &on)?;
        let depth = DepthAnything::load(&set.depth, dtype, &device.open_beside()?)?;
        Ok(Self {
            names,
            dtype,
            device,
            overlap: config.overlap.unwrap_or(on.is_cuda()),
            weights_bytes: (parameters * dtype.size_in_bytes()) as u64,
            sam,
            depth,
            identifier,
            foods,
            config,
        })
    }

    /// How food is found and who names it, in words.
    pub fn finds(&self) -> String {
        let who = &self.names.identify;
        match self.config.strategy {
            Strategy::Automatic => format!("automatic masks, named by {who}"),
            Strategy::Grounded => format!("boxes of {who}"),
        }
    }

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
        self.scan_given(photo, request, ctx, Given::default())
    }

    /// [`Self::scan`] with parts of the truth in place of what the models would say.
    ///
    /// # Errors
    /// As [`Self::scan`]; `invalid_field` if what is given does not fit the photo's size.
    pub fn scan_given(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
        given: Given,
    ) -> Result<(ScanResult, Pictures), ScanError> {
        let mut clock = Clock::start(ctx);
        let mut known = Known::default();
        let work = match given.encoded {
            Some(encoded) => {
                clock.before(Stage::Depth, encoded.depth_took);
                clock.before(Stage::Segment, encoded.embedding_took);
                known.depth = Some(encoded.depth);
                known.embedding = Some(encoded.embedding);
                encoded.work
            }
            None => Working::new(photo, request, self.config.max_side_px)?,
        };
        if let Some(looked) = given.looked {
            known.depth = Some(looked.depth);
            known.seen = Some(looked.seen);
        }
        let relief_sigma = if given.depth.is_some() {
            0.0
        } else {
            self.config.relief_sigma
        };
        let outline_sigma = if given.regions.is_some() {
            0.0
        } else {
            self.config.outline_sigma
        };
        known.depth = given.depth.or(known.depth);

        clock.stage(Stage::Depth)?;
        let (depth, regions, warnings) = match given.regions {
            None => {
                let (depth, seen) = self.depth_and_regions(&work, ctx, known, &clock)?;
                let mut regions = resolve(seen.candidates);
                regions.sharpen(work.image());
                if regions.foods.is_empty() {
                    return Err(no_food(&regions));
                }
                (depth, regions, seen.warnings)
            }
            Some(regions) => {
                let depth = self.depth_of(&work, ctx, known.depth)?;
                let size = (work.image().width(), work.image().height());
                if regions
                    .foods
                    .iter()
                    .any(|f| (f.mask.width(), f.mask.height()) != size)
                {
                    let message = format!("given masks must have {} x {} pixels", size.0, size.1);
                    return Err(ScanError::new(ErrorCode::InvalidField, message));
                }
                let regions = if given.name_foods {
                    self.rename(work.image(), regions, &clock)?
                } else {
                    regions
                };
                (depth, regions, Vec::new())
            }
        };

        clock.stage(Stage::Measure)?;
        let mut warnings: Vec<Warning> = photo.warnings.iter().cloned().chain(warnings).collect();
        if self.names.set == PLATE_TINY {
            warnings.push(Warning::new(
                WarningCode::TinyModels,
                "measured with the bundled plate-tiny models; use a published set for real meals",
            ));
        }
        let trust = Trust {
            relief_sigma,
            outline_sigma,
            table_tilt_sigma_deg: self.config.table_tilt_sigma_deg,
            portions: self.config.portions,
        };
        let scene = measure::measure(&work, request, &depth, regions, &self.foods, trust)?;

        clock.stage(Stage::Nourish)?;
        let mut result = answer::assemble(&work, request, &scene, &self.foods, self.names.clone(), warnings)?;

        let pictures = Pictures {
            overlay: request
                .options
                .overlay
                .then(|| answer::draw(&work, &scene, &result)),
            depth: request.options.depth.then(|| depth_picture(&depth)).flatten(),
        };
        result.timings_ms = clock.finish();
        Ok((result, pictures))
    }

    /// Asks the identifier what each given region is; those it cannot name become `unknown`.
    fn rename(
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
fn depth_picture(depth: &Depth) -> Option<RgbImage> {
    let (width, height) = depth.size();
    match depth {
        Depth::Relative(raster) => overlay::depth_picture(width, height, raster.values()),
        Depth::Metric(raster) => {
            let near: Vec<f32> = raster.values().iter().map(|z| 1.0 / z).collect();
            overlay::depth_picture(width, height, &near)
        }
    }
}
