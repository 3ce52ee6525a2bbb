//! The two integrals over an item's visible surface, equations (15) and (16), and its plain dimensions.

use super::camera::{View, dot};
use super::dish::Base;
use super::surface::{Alignment, Sample, Samples};

/// In units of the camera's height over the table (areas squared, volumes cubed).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Integrals {
    /// Equation (15): what stands under the visible surface, straight down to the base.
    pub columns: f64,
    /// Equation (16): what lies behind the visible surface along each ray, down to the base.
    pub frustum: f64,
    /// Equation (13) times height: every pixel taken as a level patch.
    pub level: f64,
    /// Signed horizontal area of the visible surface.
    pub footprint: f64,
    /// 95 % quantile of the height over the base.
    pub max_height: f64,
    /// Share of the outline, seen from above, that stands over 88 % of the maximum height.
    pub flat_top: f64,
    /// Mean cosine between the rays and straight down.
    pub cos_view: f64,
    /// Mean ground position, and standard deviation of it along the longest and shortest direction.
    pub centre: [f64; 2],
    pub spread: [f64; 2],
}

/// Mean ground position of the visible surface, each part weighed by its area.
pub(crate) fn centre(samples: &Samples, view: &View, alignment: Alignment) -> [f64; 2] {
    let mut sum = [0.0; 3];
    for (zeta, r, q) in visible(samples, view, alignment).map(|(_, zeta, r, q)| (zeta, r, q)) {
        let level = zeta * zeta / q;
        sum[0] += level * zeta * dot(view.e1, r);
        sum[1] += level * zeta * dot(view.e2, r);
        sum[2] += level;
    }
    if sum[2] > 0.0 {
        [sum[0] / sum[2], sum[1] / sum[2]]
    } else {
        [0.0; 2]
    }
}

/// Samples that lie before the camera and under its horizon, with depth, ray and `q` of each.
fn visible<'a>(
    samples: &'a Samples,
    view: &'a View,
    alignment: Alignment,
) -> impl Iterator<Item = (&'a Sample, f64, [f64; 3], f64)> {
    samples.points.iter().filter_map(move |s| {
        let zeta = alignment.zeta(s.d);
        let r = view.camera.ray(s.u, s.v);
        let q = dot(view.down, r);
        (zeta > 0.0 && zeta < 20.0 && q >= 0.05).then_some((s, zeta, r, q))
    })
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
    let mut out = Integrals::default();
    let (mut level_sum, mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0, 0.0);
    for (Sample { u, v, du, dv, .. }, zeta, r, q) in visible(samples, view, alignment) {
        let slope = -zeta * zeta / alignment.a;
        let level = zeta * zeta / (f2 * q);
        let area = view
            .ground_area(*u, *v, zeta, slope * du, slope * dv)
            .clamp(-3.0 * level, 3.0 * level);
        let ground = [zeta * dot(view.e1, r), zeta * dot(view.e2, r)];
        let under = base.at(ground);
        let height = 1.0 - zeta * q - under;
        scratch.push([height, level]);
        out.columns += height * area;
        out.level += height * level;
        out.footprint += area;
        // Along the ray the base is met farther out, where the dish may be higher or lower.
        let mut end = (1.0 - under) / q;
        let far = base.at([end * dot(view.e1, r), end * dot(view.e2, r)]);
        end = (1.0 - far) / q;
        out.frustum += (end.powi(3) - zeta.powi(3)) / (3.0 * f2);
        out.cos_view += level * q / dot(r, r).sqrt();
        level_sum += level;
        out.centre[0] += level * ground[0];
        out.centre[1] += level * ground[1];
        xx += level * ground[0] * ground[0];
        yy += level * ground[1] * ground[1];
        xy += level * ground[0] * ground[1];
    }
    if level_sum > 0.0 {
        out.cos_view /= level_sum;
        out.centre = out.centre.map(|c| c / level_sum);
        let (a, b, c) = (
            xx / level_sum - out.centre[0].powi(2),
            yy / level_sum - out.centre[1].powi(2),
            xy / level_sum - out.centre[0] * out.centre[1],
        );
        let (mean, half) = (0.5 * (a + b), (0.25 * (a - b).powi(2) + c * c).sqrt());
        out.spread = [(mean + half).max(0.0).sqrt(), (mean - half).max(0.0).sqrt()];
    }
    for part in [
        &mut out.columns,
        &mut out.frustum,
        &mut out.level,
        &mut out.footprint,
    ] {
        *part *= samples.weight;
    }
    if !scratch.is_empty() {
        let k = ((scratch.len() - 1) as f64 * 0.95).round() as usize;
        out.max_height = scratch.select_nth_unstable_by(k, |a, b| a[0].total_cmp(&b[0])).1[0];
        let high: f64 = scratch
            .iter()
            .filter(|h| h[0] > 0.88 * out.max_height)
            .map(|h| h[1])
            .sum();
        out.flat_top = high / level_sum;
    }
    out
}
