//! How far a network smears an edge: read off the table around what stands on it, where the true height is known to be none
//! (geometry.md 3.6).

use dragunov_models::Mask;

use super::clearance::Clearance;
use super::surface::{Alignment, Surface};
use crate::geometry::math::stats::median;
use crate::geometry::view::camera::View;

/// How far from the things the table is looked at, and how far other things must be, as shares of the photo's longer side.
const REACH: f64 = 0.06;
const OTHERS: f64 = 0.05;
/// Rings around the things, and samples that make a ring's height.
const BINS: usize = 12;
const MIN_SAMPLES: usize = 12;
/// Least rise beside the things that shows a halo, in camera heights.
const MIN_RISE: f64 = 0.004;
/// The rise beside a step that is smeared by a Gaussian falls off over its sd times this: the root of 2 / pi.
const GAUSSIAN_REACH: f64 = 0.797_884_560_802_865_4;
/// Beyond so many sds of the smear two parts in a hundred of a step are left.
const CLEAN_SIGMAS: f64 = 2.5;
/// The halo where nothing shows it, and the largest one, as shares of the photo's longer side.
const USUAL: f64 = 0.02;
const LARGEST: f64 = 0.05;

/// Pixels of the table beside what stands on it: position, disparity, distance in px.
#[derive(Debug, Clone, Default)]
pub(crate) struct HaloSamples {
    points: Vec<[f64; 4]>,
    side_px: f64,
}

impl HaloSamples {
    /// `things`: dishes and food, whose edges are looked at; `others`: whatever else is not table.
    pub(crate) fn collect(
        surface: &Surface<'_>,
        [width, height]: [usize; 2],
        things: &[&Mask],
        others: &[&Mask],
    ) -> Self {
        let side_px = width.max(height) as f64;
        let near = Clearance::of(things.iter().copied(), width, height);
        let far = Clearance::of(others.iter().copied(), width, height);
        let points = near
            .middles(width, height)
            .filter_map(|[x, y]| {
                let distance = near.px(x, y);
                let beside = distance > 0.0 && distance < REACH * side_px && far.px(x, y) > OTHERS * side_px;
                let d = surface.at(x, y);
                (beside && d.is_finite()).then_some([x as f64 + 0.5, y as f64 + 0.5, d, distance])
            })
            .collect();
        Self { points, side_px }
    }

    /// How far from an edge the raster is clean, px.
    pub(crate) fn width_px(&self, view: &View, alignment: Alignment) -> f64 {
        let bin_px = REACH * self.side_px / BINS as f64;
        let mut bins: [Vec<f64>; BINS] = std::array::from_fn(|_| Vec::new());
        for [u, v, d, distance] in &self.points {
            let height = view.height(*u, *v, alignment.zeta(*d, view.camera.ray(*u, *v)));
            if let Some(bin) = bins
                .get_mut((distance / bin_px) as usize)
                .filter(|_| height.is_finite())
            {
                bin.push(height);
            }
        }
        let mut rise = bins
            .iter_mut()
            .map(|bin| median(bin).filter(|_| bin.len() >= MIN_SAMPLES))
            .map_while(|height| height);
        let usual = USUAL * self.side_px;
        let Some(peak) = rise.next().filter(|peak| *peak > MIN_RISE) else {
            return usual;
        };
        let area = bin_px * (0.5 * peak + rise.take_while(|h| *h > 0.0).sum::<f64>());
        let sd = area / (GAUSSIAN_REACH * peak);
        (CLEAN_SIGMAS * sd).min(LARGEST * self.side_px)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dragunov_models::RelativeDisparity;

    use super::*;
    use crate::geometry::types::Depth;
    use crate::geometry::view::camera::CameraModel;
    use crate::geometry::view::gravity::Gravity;

    /// A table seen straight down with a disc a tenth of the camera's height high on it, smeared over this many pixels.
    fn width(smear_px: f64) -> f64 {
        let (w, h) = (640, 480);
        let off = |x: usize, y: usize| (x as f64 + 0.5 - 320.0).hypot(y as f64 + 0.5 - 240.0) - 130.0;
        let values = (0..w * h)
            .map(|i| {
                let rise = 0.1 / (1.0 + (1.702 * off(i % w, i / w) / smear_px).exp());
                (1.0 / (1.0 - rise)) as f32
            })
            .collect();
        let raster = RelativeDisparity::new(w, h, values).unwrap();
        let surface = Surface::new(Depth::Disparity(&raster), w, h).unwrap();
        let disc = Mask::from_fn(w, h, |x, y| off(x, y) < 0.0);
        let view = View::new(
            CameraModel::centred(w, h, 520.0, 0.0),
            &Gravity::from_pitch(0.0, 0.0, 1.0),
        );
        let alignment = Alignment {
            a: 1.0,
            b: 0.0,
            trend: [0.0; 3],
        };
        HaloSamples::collect(&surface, [w, h], &[&disc], &[]).width_px(&view, alignment)
    }

    #[test]
    fn a_wider_smear_has_a_wider_halo() {
        for smear in [4.0, 8.0, 12.0] {
            let found = width(smear);
            assert!((found / (2.5 * smear) - 1.0).abs() < 0.3, "{smear}: {found}");
        }
        // A sharp edge leaves nothing on the table: the usual halo stands in.
        assert!((width(0.05) - 0.02 * 640.0).abs() < 1e-9);
    }
}
