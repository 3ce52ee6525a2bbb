//! A depth map that the phone measured: from bytes to metres over the upright photo.
//!
//! A map that cannot be read, or whose fields contradict each other, is the sender's mistake and refused. One that is read and cannot be of
//! a meal (nothing in it, metres taken for millimetres) is left out with a warning: the network's depth is used.

mod raster;

use dragunov_models::MetricDepth;

use crate::contract::bounds::{
    DEPTH_MAP_SIDE, DEPTH_MAP_SIGMA, DEPTH_MAP_VALUES, FOV_LONG_DEG, INTRINSICS_PX,
};
use crate::contract::depth_map::{DepthMap, Intrinsics};
use crate::contract::{DepthMapUnit, FovSource, ScanError, Warning, WarningCode};

use super::CameraGuess;
use super::validate::{invalid, within};
use raster::Raster;

/// Noise of a value as a share of the distance where nothing is said.
const USUAL_SIGMA: f64 = 0.01;
/// Distances of a meal, metres.
const MEAL_M: std::ops::RangeInclusive<f32> = 0.08..=4.0;
/// Known share under which a map is of no use, and under which it is called sparse.
const LEAST_KNOWN: f64 = 0.2;
const SPARSE: f64 = 0.6;
/// Nearest and farthest tenth of a map that is not one value everywhere, as a ratio.
const LEAST_RELIEF: f32 = 1.002;
/// How well a phone knows the focal length of its depth camera, sd of the logarithm.
const FOCAL_SIGMA_LN: f64 = 0.01;
/// Aspect ratios of map and photo that are the same view.
const SAME_ASPECT: f64 = 0.03;

/// A depth map as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthInput {
    /// Its description; the sources in it are empty.
    pub map: DepthMap,
    pub data: Vec<u8>,
    pub confidence: Option<Vec<u8>>,
}

impl DepthInput {
    /// The distances over an upright photo of this size that shows the same view; none where they cannot be of a meal.
    ///
    /// # Errors
    /// `invalid_field`, naming the field.
    pub fn over_photo(&self, width: usize, height: usize) -> Result<Option<PhoneDepth>, ScanError> {
        let mut warnings = Vec::new();
        match read(self, 1, &mut warnings)? {
            Some(map) => map.over_photo(width, height, 1.0, &mut warnings),
            None => Ok(None),
        }
    }
}

/// Distances over the whole upright photo.
#[derive(Debug, Clone, PartialEq)]
pub struct PhoneDepth {
    /// Metres along the optical axis; 0 where nothing is known.
    pub metres: MetricDepth,
    /// Noise of a value as a share of the distance.
    pub sigma_rel: f64,
}

/// A map that is read, upright, and not yet laid over its photo.
#[derive(Debug)]
pub(super) struct UprightMap {
    raster: Raster,
    camera: Option<Pinhole>,
    sigma_rel: f64,
}

/// What can be checked before the bytes are here.
///
/// # Errors
/// `invalid_field`, naming the field.
pub(super) fn check(map: &DepthMap) -> Result<(), ScanError> {
    for (field, side) in [("depth.width", map.width), ("depth.height", map.height)] {
        if let Some(side) = side.filter(|side| !DEPTH_MAP_SIDE.contains(side)) {
            let (least, most) = (DEPTH_MAP_SIDE.start(), DEPTH_MAP_SIDE.end());
            return Err(invalid(
                field,
                format_args!("{side} is not between {least} and {most}"),
            ));
        }
    }
    if let Some(sigma) = map.sigma_rel {
        within("depth.sigma_rel", sigma, DEPTH_MAP_SIGMA, "")?;
    }
    if let Some(orientation) = map.orientation.filter(|o| !(1..=8).contains(o)) {
        return Err(invalid(
            "depth.orientation",
            format_args!("{orientation} is not from 1 to 8"),
        ));
    }
    if let Some(k) = &map.intrinsics {
        let sizes = [k.fx, k.fy, k.width.unwrap_or(1.0), k.height.unwrap_or(1.0)];
        let positive = sizes.iter().all(|v| *v > 0.0);
        let small = sizes
            .iter()
            .chain([&k.cx, &k.cy])
            .all(|v| v.abs() <= INTRINSICS_PX);
        if !(positive && small) {
            return Err(invalid(
                "depth.intrinsics",
                format_args!(
                    "fx, fy and the size must be above 0, and no number over {INTRINSICS_PX} pixels"
                ),
            ));
        }
    }
    Ok(())
}

/// Reads the map; none where it is left out, with the reason among `warnings`. `orientation`: that of the photo.
///
/// # Errors
/// `invalid_field` for bytes that are not what the fields say.
pub(super) fn read(
    input: &DepthInput,
    orientation: u8,
    warnings: &mut Vec<Warning>,
) -> Result<Option<UprightMap>, ScanError> {
    let map = &input.map;
    check(map)?;
    let mut raster = raster::decode(map, &input.data)?;
    if raster.values.len() > DEPTH_MAP_VALUES {
        let message = format_args!(
            "{} x {} values; the most are {DEPTH_MAP_VALUES}",
            raster.width, raster.height
        );
        return Err(invalid("depth", message));
    }
    raster.convert_to_metres(map.unit);
    if let (Some(bytes), Some(confidence)) = (&input.confidence, &map.confidence) {
        raster.keep_confident(&raster::bytes_of(bytes, &raster)?, confidence.least);
    }
    if let Some(why) = implausible(&raster, map.unit) {
        let message = format!("the depth map was left out: {why}");
        warnings.push(Warning::new(WarningCode::DepthMapIgnored, message));
        return Ok(None);
    }
    let orientation = map.orientation.unwrap_or(orientation);
    let camera = map
        .intrinsics
        .map(|k| scaled(k, &raster).turned(orientation, &raster));
    let sigma_rel = map.sigma_rel.unwrap_or(USUAL_SIGMA);
    Ok(Some(UprightMap {
        raster: raster.upright(orientation).smoothed(sigma_rel),
        camera,
        sigma_rel,
    }))
}

impl UprightMap {
    fn same_view(&self, width: usize, height: usize) -> bool {
        let ratio = |w: usize, h: usize| w as f64 / h as f64;
        (ratio(self.raster.width, self.raster.height) / ratio(width, height))
            .ln()
            .abs()
            < SAME_ASPECT
    }

    /// The camera of an upright photo of this size that shows the same view, by the map's intrinsics.
    pub(super) fn camera_of(&self, width: usize, height: usize) -> Option<CameraGuess> {
        let k = self.camera.filter(|_| self.same_view(width, height))?;
        let guess = CameraGuess {
            focal_px: k.fx * width as f64 / self.raster.width as f64,
            sigma_ln: FOCAL_SIGMA_LN,
            source: FovSource::ClientDepth,
        };
        FOV_LONG_DEG
            .contains(&guess.fov_long_deg(width, height))
            .then_some(guess)
    }

    /// The distances over an upright photo of this size; none where too few are known, with a warning.
    ///
    /// # Errors
    /// `invalid_field` where map and photo show different views and no intrinsics tell how they lie.
    pub(super) fn over_photo(
        self,
        width: usize,
        height: usize,
        focal_px: f64,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<PhoneDepth>, ScanError> {
        let same_view = self.same_view(width, height);
        let raster = match self.camera {
            _ if same_view => self.raster,
            Some(k) => self.raster.seen_from(k, (width, height), focal_px),
            None => {
                let message = format_args!(
                    "upright it is {} x {}, which is not the shape of the photo of {width} x {height}",
                    self.raster.width, self.raster.height
                );
                return Err(invalid("depth", message).next_step(
                    "check depth.orientation; send depth.intrinsics if photo and map show different parts of the view",
                ));
            }
        };
        let known = raster.known_share();
        if known < LEAST_KNOWN {
            let message = format!(
                "the depth map was left out: it knows {:.0} % of the photo",
                100.0 * known
            );
            warnings.push(Warning::new(WarningCode::DepthMapIgnored, message));
            return Ok(None);
        }
        if known < SPARSE {
            let message = format!("the depth map knows only {:.0} % of the photo", 100.0 * known);
            warnings.push(Warning::new(WarningCode::DepthMapSparse, message));
        }
        Ok(Some(PhoneDepth {
            metres: MetricDepth::new(raster.width, raster.height, raster.values)?,
            sigma_rel: self.sigma_rel,
        }))
    }
}

/// Why the distances cannot be those of a meal.
fn implausible(raster: &Raster, unit: DepthMapUnit) -> Option<String> {
    let mut known: Vec<f32> = raster.values.iter().copied().filter(|z| *z > 0.0).collect();
    if (known.len() as f64) < LEAST_KNOWN * raster.values.len() as f64 {
        return Some(format!(
            "it knows {} of its {} values",
            known.len(),
            raster.values.len()
        ));
    }
    known.sort_unstable_by(f32::total_cmp);
    let at = |tenths: usize| known[tenths * (known.len() - 1) / 10];
    if !MEAL_M.contains(&at(5)) {
        return Some(format!(
            "its middle distance is {:.3} m, with {unit} as unit, and no meal is photographed from there",
            at(5)
        ));
    }
    (at(9) / at(1) < LEAST_RELIEF).then(|| format!("it is {:.3} m everywhere", at(5)))
}

/// A pinhole in pixels of the raster.
#[derive(Debug, Clone, Copy)]
struct Pinhole {
    fx: f64,
    fy: f64,
    cx: f64,
    cy: f64,
}

/// To pixels of the raster.
fn scaled(k: Intrinsics, raster: &Raster) -> Pinhole {
    let (sx, sy) = (
        raster.width as f64 / k.width.unwrap_or(raster.width as f64),
        raster.height as f64 / k.height.unwrap_or(raster.height as f64),
    );
    Pinhole {
        fx: k.fx * sx,
        fy: k.fy * sy,
        cx: k.cx * sx,
        cy: k.cy * sy,
    }
}

impl Pinhole {
    /// As the EXIF orientation turns a raster of this size.
    fn turned(self, orientation: u8, raster: &Raster) -> Self {
        let (w, h) = (raster.width as f64, raster.height as f64);
        let (cx, cy) = match orientation {
            2 => (w - self.cx, self.cy),
            3 => (w - self.cx, h - self.cy),
            4 => (self.cx, h - self.cy),
            5 => (self.cy, self.cx),
            6 => (h - self.cy, self.cx),
            7 => (h - self.cy, w - self.cx),
            8 => (self.cy, w - self.cx),
            _ => (self.cx, self.cy),
        };
        let (fx, fy) = if orientation >= 5 {
            (self.fy, self.fx)
        } else {
            (self.fx, self.fy)
        };
        Self { fx, fy, cx, cy }
    }
}

#[cfg(test)]
mod tests;
