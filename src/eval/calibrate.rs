//! How far a checkpoint set's networks are off, fitted on photos with known truth.
//!
//! Each error is measured by itself: everything else in the scan is given by the truth. A sigma is the 68th percentile of the
//! absolute errors, which for a normal distribution is its standard deviation and which a few gross failures do not move.

mod names;
mod report;
mod shift;

use std::path::Path;

use dragunov_models::Mask;
use dragunov_models::depth_anything::Depth;

use super::cache::PredictionCache;
use super::full_pipeline::{KnownSize, reference, regions};
use super::load;
use super::manifest::{Dataset, Sample, Support};
use super::truth::TrueMasks;
use crate::contract::request::ImageSource;
use crate::contract::{DishKind, ErrorCode, ScaleSource, ScanError, ScanRequest, ScanResult, TiltSource};
use crate::geometry::{CameraModel, Gravity, View};
use crate::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};
use crate::perceive::Regions;
use crate::pipeline::{NetworkErrors, NetworkOutputs, OracleInputs, ScanInputs, Scanner};
use crate::runtime::JobContext;
pub use names::FittedNames;
use names::NameSample;

/// Share of a normal distribution within one standard deviation.
const ONE_SIGMA_SHARE: f64 = 0.6827;
/// Fewer errors than this fit nothing; the set keeps its value.
const MIN_ERRORS: usize = 8;
/// Relief is judged from here on: nearer to straight above, geometry widens the sigma by itself.
const MIN_RELIEF_TILT_DEG: f64 = 20.0;
/// A prior this wide leaves the tilt to the depth alone.
const FREE_TILT_SIGMA_DEG: f64 = 0.1;
/// The errors of one kind on all photos.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorSample {
    pub errors: Vec<f64>,
}

impl ErrorSample {
    /// The 68th percentile of the absolute errors; none where there are too few.
    pub fn sigma(&self) -> Option<f64> {
        if self.errors.len() < MIN_ERRORS {
            return None;
        }
        let mut sizes: Vec<f64> = self.errors.iter().map(|e| e.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let at = ONE_SIGMA_SHARE * (sizes.len() - 1) as f64;
        let (low, high) = (sizes[at.floor() as usize], sizes[at.ceil() as usize]);
        Some(low + at.fract() * (high - low))
    }

    fn mean(&self) -> f64 {
        self.errors.iter().sum::<f64>() / self.errors.len().max(1) as f64
    }
}

/// What a data set says of a set's networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fitted {
    pub photos: usize,
    /// Mean height of each food in the network's depth less that in the true depth, in camera heights.
    pub relief: ErrorSample,
    /// Shift of the network's disparity, as a share of the table's.
    pub shift: ErrorSample,
    /// ln of the camera height by the outline of each thing of known size, less the true one: the error of its width.
    pub outline: ErrorSample,
    /// Tilt of the table in the network's depth less the true one, in degrees.
    pub table_tilt: ErrorSample,
    /// How names are to be read; none of too few foods.
    pub names: Option<FittedNames>,
    /// Photos of which something could not be measured, and why.
    pub failures: Vec<String>,
}

/// Runs the set over the data set; `tick` is called after each photo.
///
/// # Errors
/// `bad_request` if no photo has true masks and depth. What fails on single photos is counted in [`Fitted::failures`].
pub fn fit(
    dataset: &Dataset,
    scanner: &mut Scanner,
    cache: Option<&PredictionCache>,
    mut tick: impl FnMut(&Sample),
) -> Result<Fitted, ScanError> {
    let mut out = Fitted::default();
    let mut names = NameSample::default();
    for sample in dataset.samples.iter().filter(|s| s.expect_error.is_none()) {
        if let Err(e) = name_items(&dataset.root, sample, scanner, &mut names) {
            out.failures
                .push(format!("{}: names: {}", sample.id, e.code.as_str()));
        }
        if sample.depth.is_some() {
            let measured = Subject::load(&dataset.root, sample, scanner, cache)
                .and_then(|subject| subject.measure(scanner, &mut out));
            match measured {
                Ok(()) => out.photos += 1,
                Err(e) => out.failures.push(format!("{}: {}", sample.id, e.code.as_str())),
            }
        }
        tick(sample);
    }
    let foods = scanner.config().foods.current();
    out.names = names.fit(None, scanner.set().novelty.is_some(), &foods.table);
    if out.photos == 0 && out.names.is_none() {
        return Err(ScanError::new(
            ErrorCode::BadRequest,
            "no photo of the data set could be measured",
        )
        .next_step("calibrate on a data set with true masks, depth, pitch and camera heights"));
    }
    Ok(out)
}

/// Fits what names are worth, and where known foods lie anew: these to the foods of `learn`, temperature and limit to those of `judge`,
/// or to every other photo of `learn` where there is none. Only true masks and names are needed.
///
/// # Errors
/// `bad_request` if there are too few foods with masks. What fails on single photos is counted in [`Fitted::failures`].
pub fn fit_names(
    learn: &Dataset,
    judge: Option<&Dataset>,
    scanner: &mut Scanner,
    mut tick: impl FnMut(&Sample),
) -> Result<Fitted, ScanError> {
    let mut out = Fitted::default();
    let known = named(learn, scanner, &mut out, &mut tick);
    let apart = judge.map(|judge| named(judge, scanner, &mut out, &mut tick));
    let foods = scanner.config().foods.current();
    out.names = known.fit(apart.as_ref(), false, &foods.table);
    if out.names.is_none() {
        return Err(ScanError::new(
            ErrorCode::BadRequest,
            "too few foods of the data set have a mask and a name",
        )
        .next_step("fit names on a data set with true masks and names of at least 40 foods"));
    }
    Ok(out)
}

/// Names every food of a data set by its true mask.
fn named(
    dataset: &Dataset,
    scanner: &mut Scanner,
    out: &mut Fitted,
    tick: &mut impl FnMut(&Sample),
) -> NameSample {
    let mut names = NameSample::default();
    for sample in dataset.samples.iter().filter(|s| s.expect_error.is_none()) {
        match name_items(&dataset.root, sample, scanner, &mut names) {
            Ok(()) => out.photos += 1,
            Err(e) => (out.failures).push(format!("{}: names: {}", sample.id, e.code.as_str())),
        }
        tick(sample);
    }
    names
}

/// Names every food of the photo by its true mask.
fn name_items(
    root: &Path,
    sample: &Sample,
    scanner: &mut Scanner,
    names: &mut NameSample,
) -> Result<(), ScanError> {
    let path = root.join(&sample.image);
    let bytes = std::fs::read(&path).map_err(|e| {
        ScanError::new(ErrorCode::NotFound, format!("cannot read {}", path.display())).source(e)
    })?;
    let photo = opened(&bytes, &ScanRequest::new(ImageSource::Bytes(Vec::new())))?;
    let masks = TrueMasks::load(root, sample)?.items;
    let labels = sample.items.iter().map(|item| item.label.as_str());
    let items: Vec<(Mask, &str)> = masks.into_iter().zip(labels).collect();
    names.add(scanner, &photo.image, &items)
}

/// One photo with its truth and what the networks say of it.
struct Subject<'a> {
    root: &'a Path,
    sample: &'a Sample,
    photo: Photo,
    request: ScanRequest,
    outputs: NetworkOutputs,
}

impl<'a> Subject<'a> {
    fn load(
        root: &'a Path,
        sample: &'a Sample,
        scanner: &mut Scanner,
        cache: Option<&PredictionCache>,
    ) -> Result<Self, ScanError> {
        let path = root.join(&sample.image);
        let bytes = std::fs::read(&path).map_err(|e| {
            ScanError::new(ErrorCode::NotFound, format!("cannot read {}", path.display())).source(e)
        })?;
        let mut request = ScanRequest::new(ImageSource::Bytes(Vec::new()));
        request.pitch_deg = sample.pitch_deg;
        request.roll_deg = sample.roll_deg;
        request.camera.focal_px = sample.camera.focal_px;
        request.reference = reference(sample, KnownSize::Any);
        let photo = opened(&bytes, &request)?;
        let ctx = JobContext::detached();
        let mut run = || scanner.network_outputs(&photo, &request, &ctx);
        let outputs = match cache {
            Some(cache) => cache.get_or_insert(&sample.id, &bytes, &request.hints, run)?,
            None => run()?,
        };
        Ok(Self {
            root,
            sample,
            photo,
            request,
            outputs,
        })
    }

    /// Adds what this photo says. Each of the four is tried, whatever became of the others.
    fn measure(&self, scanner: &mut Scanner, out: &mut Fitted) -> Result<(), ScanError> {
        let steep = self.sample.pitch_deg.is_some_and(|p| p >= MIN_RELIEF_TILT_DEG);
        let relief = if steep {
            self.relief(scanner)
        } else {
            Ok(Vec::new())
        };
        let (outline, tilt) = (self.outline(scanner), self.table_tilt(scanner));
        let shift = self.shift();
        let mut first_failure = None;
        let mut keep = |errors: Result<Vec<f64>, ScanError>, sample: &mut ErrorSample| match errors {
            Ok(errors) => sample.errors.extend(errors),
            Err(e) => first_failure = first_failure.take().or(Some(e)),
        };
        keep(relief, &mut out.relief);
        keep(shift, &mut out.shift);
        keep(outline, &mut out.outline);
        keep(tilt, &mut out.table_tilt);
        first_failure.map_or(Ok(()), Err)
    }

    /// True masks, names and camera; the network's depth against the true one. The set's own errors are in force, so that the
    /// raster is read as a network's; how large they are hardly moves heights. What lies in bowls is left out: there the
    /// height also rests on the bowl's inside, which no photo shows.
    fn relief(&self, scanner: &mut Scanner) -> Result<Vec<f64>, ScanError> {
        let by_network = self.scan(scanner, self.true_regions()?, None, |_| ())?;
        let by_truth = self.scan(scanner, self.true_regions()?, self.true_depth()?, |_| ())?;
        let heights = |result: &ScanResult| -> Vec<([f64; 4], f64)> {
            let camera_cm = result.scale.camera_height_cm.p50;
            let items = result.items.iter();
            items.map(|i| (i.bbox, i.mean_height_cm / camera_cm)).collect()
        };
        let in_bowls = self.boxes_in_bowls()?;
        let truth = heights(&by_truth);
        let errors = heights(&by_network).into_iter().filter_map(|(bbox, height)| {
            let (_, true_height) = truth.iter().find(|(b, _)| *b == bbox)?;
            (!in_bowls.contains(&bbox)).then_some(height - true_height)
        });
        Ok(errors.collect())
    }

    /// The network's depth against the true one.
    fn shift(&self) -> Result<Vec<f64>, ScanError> {
        let camera = &self.sample.camera;
        let (Some(focal), Some(height_cm), Some(pitch)) =
            (camera.focal_px, camera.height_cm, self.sample.pitch_deg)
        else {
            return Ok(Vec::new());
        };
        let (Depth::Relative(network), Some(Depth::Metric(truth))) =
            (&self.outputs.depth, self.true_depth()?)
        else {
            return Ok(Vec::new());
        };
        let gravity = Gravity::from_pitch(pitch, self.sample.roll_deg.unwrap_or(0.0), 0.1);
        let camera = CameraModel::centred(truth.width(), truth.height(), focal, 0.0);
        let found = shift::shift(network, &truth, &View::new(camera, &gravity), height_cm);
        Ok(found.into_iter().collect())
    }

    /// True depth and camera; the network's masks of things of known size.
    fn outline(&self, scanner: &mut Scanner) -> Result<Vec<f64>, ScanError> {
        let (Some(true_cm), Some(_)) = (self.sample.camera.height_cm, &self.request.reference) else {
            return Ok(Vec::new());
        };
        let result = self.scan(scanner, None, self.true_depth()?, |_| ())?;
        let known = result.scale.candidates.iter().filter(|c| {
            matches!(
                c.source,
                ScaleSource::PlateKnown | ScaleSource::Coin | ScaleSource::Card
            )
        });
        Ok(known.map(|c| (c.camera_height_cm / true_cm).ln()).collect())
    }

    /// True masks, nothing round and no pitch; the slope of the table in the network's depth.
    fn table_tilt(&self, scanner: &mut Scanner) -> Result<Vec<f64>, ScanError> {
        let (Some(true_deg), Some(mut regions)) = (self.sample.pitch_deg, self.true_regions()?) else {
            return Ok(Vec::new());
        };
        let round = std::mem::take(&mut regions.dishes).into_iter().map(|(_, m)| m);
        regions.others.extend(round);
        let small = std::mem::take(&mut regions.references)
            .into_iter()
            .map(|(_, m)| m);
        regions.others.extend(small);
        let untold = Self {
            photo: Photo {
                gravity: None,
                ..self.photo.clone()
            },
            request: ScanRequest {
                pitch_deg: None,
                roll_deg: None,
                reference: None,
                ..self.request.clone()
            },
            outputs: self.outputs.clone(),
            ..*self
        };
        let result = untold.scan(scanner, Some(regions), None, |e| {
            e.table_tilt_sigma_deg = FREE_TILT_SIGMA_DEG
        })?;
        let by_depth = result.camera.tilt_source == [TiltSource::Depth];
        Ok(by_depth
            .then_some(result.camera.tilt_deg - true_deg)
            .into_iter()
            .collect())
    }

    fn boxes_in_bowls(&self) -> Result<Vec<[f64; 4]>, ScanError> {
        let masks = TrueMasks::load(self.root, self.sample)?.items;
        let in_bowl = |i: usize| self.sample.items[i].dish == Some(Support::Dish(DishKind::Bowl));
        let boxes = masks.iter().enumerate().filter(|(i, _)| in_bowl(*i));
        Ok(boxes
            .filter_map(|(_, mask)| mask.bbox())
            .map(|b| [b.x0, b.y0, b.x1, b.y1])
            .collect())
    }

    fn true_regions(&self) -> Result<Option<Regions>, ScanError> {
        let masks = TrueMasks::load(self.root, self.sample)?;
        Ok(Some(regions(masks, self.sample)))
    }

    fn true_depth(&self) -> Result<Option<Depth>, ScanError> {
        let depth = self
            .sample
            .depth
            .as_ref()
            .map(|at| load::depth(self.root, at))
            .transpose()?;
        Ok(depth.map(Depth::Metric))
    }

    /// A scan with some of the truth given and the errors changed; what is not given is the networks'.
    fn scan(
        &self,
        scanner: &mut Scanner,
        regions: Option<Regions>,
        depth: Option<Depth>,
        change: impl FnOnce(&mut NetworkErrors),
    ) -> Result<ScanResult, ScanError> {
        let mut errors = scanner.config().errors;
        change(&mut errors);
        let inputs = ScanInputs {
            oracle: OracleInputs {
                depth,
                regions,
                name_regions: false,
            },
            outputs: Some(self.outputs.clone()),
            errors: Some(errors),
            ..ScanInputs::default()
        };
        let ctx = JobContext::detached();
        let (result, _) = scanner.scan_with(&self.photo, &self.request, &ctx, inputs)?;
        Ok(result)
    }
}

fn opened(bytes: &[u8], request: &ScanRequest) -> Result<Photo, ScanError> {
    let shot = Shot::from_request(request);
    read_photo(bytes, &shot, &SourceMeta::default(), &DecodeLimits::default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::eval::oracle::Uniform;

    #[test]
    fn sigma_is_that_of_a_normal_distribution_and_gross_failures_do_not_move_it() {
        let mut random = Uniform::new(3);
        let mut sample = ErrorSample {
            errors: (0..4000).map(|_| 0.3 * random.normal()).collect(),
        };
        assert!((sample.sigma().unwrap() - 0.3).abs() < 0.01);
        sample.errors.extend([50.0; 40]);
        assert!((sample.sigma().unwrap() - 0.3).abs() < 0.015);
        assert_eq!(ErrorSample { errors: vec![1.0; 7] }.sigma(), None);
    }
}
