//! The two integrals over an item's visible surface, and its plain dimensions (geometry.md 7.2).

use super::volume::CubicHeights;
use crate::geometry::dish::model::Base;
use crate::geometry::math::vector::dot;
use crate::geometry::raster::samples::{Sample, Samples};
use crate::geometry::raster::surface::Alignment;
use crate::geometry::view::camera::View;

/// Depths of samples that are used, in camera heights, and least fall of their rays per unit of depth.
const MAX_DEPTH: f64 = 20.0;
const MIN_FALL: f64 = 0.05;
/// Most that the area of a sloping pixel may be, in level patches.
const MAX_AREA: f64 = 3.0;
/// Quantile of the heights that is the item's height.
const TOP_QUANTILE: f64 = 0.95;
/// Over this share of its height an item's top is flat.
const FLAT_TOP_SHARE: f64 = 0.88;

/// Lengths, areas and volumes in units of the camera's height over the table.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Integrals {
    /// What stands under the visible surface, straight down to the base.
    pub(crate) columns: CubicHeights,
    /// What lies behind the visible surface along each ray, down to the base.
    pub(crate) frustum: CubicHeights,
    /// Signed horizontal area of the visible surface.
    pub(crate) footprint: f64,
    /// 95 % quantile of the height over the base.
    pub(crate) max_height: f64,
    /// Share of the outline, seen from above, that stands over 88 % of the maximum height.
    pub(crate) flat_top: f64,
    /// Mean ground position, and standard deviation of it along the longest and shortest direction.
    pub(crate) centre: [f64; 2],
    pub(crate) spread: [f64; 2],
}

impl Integrals {
    /// Columns over footprint.
    pub(crate) fn mean_height(&self) -> f64 {
        self.columns.0 / self.footprint.max(1e-9)
    }
}

/// A sample that lies before the camera and under its horizon.
struct Visible<'a> {
    sample: &'a Sample,
    /// Depth, ray, and fall per unit of depth.
    zeta: f64,
    ray: [f64; 3],
    q: f64,
}

fn visible<'a>(
    samples: &'a Samples,
    view: &'a View,
    alignment: Alignment,
) -> impl Iterator<Item = Visible<'a>> {
    samples.points.iter().filter_map(move |sample| {
        let ray = view.camera.ray(sample.u, sample.v);
        let zeta = alignment.zeta(sample.d, ray);
        let q = dot(view.down, ray);
        (zeta > 0.0 && zeta < MAX_DEPTH && q >= MIN_FALL).then_some(Visible { sample, zeta, ray, q })
    })
}

/// Mean ground position of the visible surface, each part weighed by its area.
pub(crate) fn centre(samples: &Samples, view: &View, alignment: Alignment) -> [f64; 2] {
    let mut sum = [0.0; 3];
    for Visible { zeta, ray, q, .. } in visible(samples, view, alignment) {
        let level = zeta * zeta / q;
        sum[0] += level * zeta * dot(view.e1, ray);
        sum[1] += level * zeta * dot(view.e2, ray);
        sum[2] += level;
    }
    if sum[2] > 0.0 {
        [sum[0] / sum[2], sum[1] / sum[2]]
    } else {
        [0.0; 2]
    }
}

/// Moments of ground positions, weighed by level area.
#[derive(Default)]
struct Moments {
    weight: f64,
    x: [f64; 2],
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Moments {
    fn add(&mut self, weight: f64, ground: [f64; 2]) {
        self.weight += weight;
        self.x[0] += weight * ground[0];
        self.x[1] += weight * ground[1];
        self.xx += weight * ground[0] * ground[0];
        self.yy += weight * ground[1] * ground[1];
        self.xy += weight * ground[0] * ground[1];
    }

    /// Mean, and standard deviations along the principal axes, the longer first; zeros without weight.
    fn centre_and_spread(&self) -> ([f64; 2], [f64; 2]) {
        if self.weight <= 0.0 {
            return (self.x, [0.0; 2]);
        }
        let centre = self.x.map(|c| c / self.weight);
        let (a, b, c) = (
            self.xx / self.weight - centre[0].powi(2),
            self.yy / self.weight - centre[1].powi(2),
            self.xy / self.weight - centre[0] * centre[1],
        );
        let (mean, half) = (0.5 * (a + b), (0.25 * (a - b).powi(2) + c * c).sqrt());
        let spread = [(mean + half).max(0.0).sqrt(), (mean - half).max(0.0).sqrt()];
        (centre, spread)
    }
}

/// Integrates over the samples. `scratch` is space for heights and areas, reused between calls.
pub(crate) fn integrate(
    samples: &Samples,
    view: &View,
    alignment: Alignment,
    base: &Base<'_>,
    scratch: &mut Vec<[f64; 2]>,
) -> Integrals {
    scratch.clear();
    let f2 = view.camera.focal_px * view.camera.focal_px;
    let trend = alignment.trend.map(|t| t / view.camera.focal_px);
    let (mut columns, mut frustum, mut footprint) = (0.0, 0.0, 0.0);
    let mut moments = Moments::default();
    for Visible { sample, zeta, ray, q } in visible(samples, view, alignment) {
        let slope = -zeta * zeta / alignment.a;
        let level = zeta * zeta / (f2 * q);
        let area = view
            .ground_area(
                sample.u,
                sample.v,
                zeta,
                slope * (sample.du - trend[0]),
                slope * (sample.dv - trend[1]),
            )
            .clamp(-MAX_AREA * level, MAX_AREA * level);
        let ground = [zeta * dot(view.e1, ray), zeta * dot(view.e2, ray)];
        let under = base.at(ground);
        let height = 1.0 - zeta * q - under;
        scratch.push([height, level]);
        columns += height * area;
        footprint += area;
        // Along the ray the base is met farther out, where the dish may be higher or lower.
        let mut end = (1.0 - under) / q;
        let far = base.at([end * dot(view.e1, ray), end * dot(view.e2, ray)]);
        end = (1.0 - far) / q;
        frustum += (end.powi(3) - zeta.powi(3)) / (3.0 * f2);
        moments.add(level, ground);
    }
    let (centre, spread) = moments.centre_and_spread();
    let (max_height, flat_top) = top(scratch, moments.weight);
    Integrals {
        columns: CubicHeights(columns * samples.weight),
        frustum: CubicHeights(frustum * samples.weight),
        footprint: footprint * samples.weight,
        max_height,
        flat_top,
        centre,
        spread,
    }
}

/// Height of the top, and the share of all `area` that is about as high, from heights with their areas.
fn top(heights: &mut [[f64; 2]], area: f64) -> (f64, f64) {
    if heights.is_empty() {
        return (0.0, 0.0);
    }
    let k = ((heights.len() - 1) as f64 * TOP_QUANTILE).round() as usize;
    let top = heights.select_nth_unstable_by(k, |a, b| a[0].total_cmp(&b[0])).1[0];
    let high: f64 = heights
        .iter()
        .filter(|h| h[0] > FLAT_TOP_SHARE * top)
        .map(|h| h[1])
        .sum();
    (top, high / area)
}
