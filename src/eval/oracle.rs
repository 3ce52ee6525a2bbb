//! What the evaluation tells the pipeline instead of letting it find out.

use dragunov_models::{MetricDepth, RelativeDisparity};

use crate::contract::depth_map::DepthMap;
use crate::contract::request::ImageSource;
use crate::contract::{DepthFormat, DepthMapUnit, ScanError};
use crate::intake::{DepthInput, PhoneDepth};

/// Parts of the truth that are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Oracle {
    /// Masks of items, dishes and references.
    Masks,
    /// Metric depth.
    Depth,
    /// Depth as a phone measures it: metres, 256 x 192 values, 1 % noise.
    Phone,
    /// Depth as affine-invariant disparity with a random scale and shift.
    Disparity,
    /// Names of foods; without `masks`, of what was found and taken for food.
    Labels,
    /// Sizes of plates and coins.
    Scale,
    /// Height of the lens above the table, as an AR session tells it.
    Height,
    /// Exact focal length and gravity; otherwise EXIF and pitch as a phone gives them.
    Camera,
}

/// Damage done to the disparity oracle.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Damage {
    /// Levels are 2 to this power; none leaves it unquantised.
    pub bits: Option<u32>,
    /// Smooth noise, sd as a share of the disparity range.
    pub noise: f64,
    /// Noise of a phone's values as a share of the distance; none: 1 %.
    pub phone_noise: Option<f64>,
    /// Other numbers draw other noise.
    pub seed: u64,
}

/// Longer and shorter side of the raster of [`Oracle::Phone`], and the usual noise of its values as a share of the distance.
const PHONE_SIDES: (usize, usize) = (256, 192);
const PHONE_SIGMA: f64 = 0.01;

/// The true depth as a phone's sensor gives it, as it is sent: values at the middles of its cells, each with noise of its own.
///
/// # Errors
/// As of a depth map that came with a photo.
pub fn phone(depth: &MetricDepth, seed: u64, damage: Damage) -> Result<Option<PhoneDepth>, ScanError> {
    let mut random = Uniform::new(seed ^ damage.seed.rotate_left(32) ^ 0x11da);
    let sigma = damage.phone_noise.unwrap_or(PHONE_SIGMA);
    let (long, short) = PHONE_SIDES;
    let (width, height) = if depth.width() > depth.height() {
        (long, short)
    } else {
        (short, long)
    };
    let mut data = Vec::with_capacity(4 * width * height);
    for i in 0..width * height {
        let at = |cell: usize, cells: usize, side: usize| {
            (((cell as f64 + 0.5) * side as f64 / cells as f64) as usize).min(side - 1)
        };
        let z = depth.at(
            at(i % width, width, depth.width()),
            at(i / width, height, depth.height()),
        );
        let noisy = z * (1.0 + sigma * random.normal()) as f32;
        data.extend_from_slice(&noisy.to_le_bytes());
    }
    let map = DepthMap {
        data: ImageSource::Bytes(Vec::new()),
        format: DepthFormat::F32,
        width: Some(width),
        height: Some(height),
        unit: DepthMapUnit::Metres,
        orientation: Some(1),
        intrinsics: None,
        confidence: None,
        sigma_rel: Some(sigma),
    };
    let input = DepthInput {
        map,
        data,
        confidence: None,
    };
    input.over_photo(depth.width(), depth.height())
}

/// Seeded uniform numbers in (0, 1).
pub(crate) struct Uniform(u64);

impl Uniform {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The true depth as a network of the Depth Anything kind would give it: `d = s / Z + t` with random `s > 0` and `t`,
/// optionally with smooth noise and quantised. Unknown depth becomes the farthest known.
pub fn disparity(depth: &MetricDepth, seed: u64, damage: Damage) -> Option<RelativeDisparity> {
    let mut random = Uniform::new(seed ^ damage.seed.rotate_left(32) ^ 0xd15b);
    for _ in 0..8 {
        random.unit();
    }
    let (width, height) = (depth.width(), depth.height());
    let far = depth
        .values()
        .iter()
        .copied()
        .filter(|z| *z > 0.0)
        .fold(0.0_f32, f32::max);
    if far <= 0.0 {
        return None;
    }
    let scale = (random.unit() * 2.0 - 1.0).exp();
    let inverse = |z: f32| scale / f64::from(if z > 0.0 { z } else { far });
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for z in depth.values() {
        low = low.min(inverse(*z));
        high = high.max(inverse(*z));
    }
    let range = high - low;
    let shift = (random.unit() - 0.5) * high;
    // Smooth noise: a coarse lattice of normals, bilinear between.
    let cells = 6usize;
    let lattice: Vec<f64> = (0..(cells + 1) * (cells + 1)).map(|_| random.normal()).collect();
    let noise = |x: usize, y: usize| {
        let (fx, fy) = (
            x as f64 / width as f64 * cells as f64,
            y as f64 / height as f64 * cells as f64,
        );
        let (i, j) = (fx as usize, fy as usize);
        let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
        let (tx, ty) = (smooth(fx - i as f64), smooth(fy - j as f64));
        let at = |i: usize, j: usize| lattice[j * (cells + 1) + i];
        let top = at(i, j) + (at(i + 1, j) - at(i, j)) * tx;
        let bottom = at(i, j + 1) + (at(i + 1, j + 1) - at(i, j + 1)) * tx;
        top + (bottom - top) * ty
    };
    let mut values = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let mut d = inverse(depth.at(x, y));
            if damage.noise > 0.0 {
                d += damage.noise * range * noise(x, y);
            }
            if let Some(bits) = damage.bits {
                let levels = f64::from((1u32 << bits.min(16)) - 1);
                d = low + ((d - low) / range * levels).round() / levels * range;
            }
            values.push((d + shift) as f32);
        }
    }
    RelativeDisparity::new(width, height, values).ok()
}
