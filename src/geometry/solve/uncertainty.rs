//! From a solution to items with intervals (geometry.md 8).
//!
//! The draws run on the slope and curvature of ln(volume) by each shared unknown, so their number costs nothing.

use super::flags;
use super::fusion::{SHARED, VolumeEstimate, fuse};
use super::item::ItemSolution;
use super::plausible::{Figures, impossible};
use super::readings::Readings;
use super::sensitivity::{Sensitivity, sensitivities};
use super::solution::{Solution, State};
use crate::contract::result::{VolumeBounds, VolumeSigma};
use crate::contract::{Estimated, ItemFlag};
use crate::geometry::error::GeometryError;
use crate::geometry::food::portion::ByOutline;
use crate::geometry::math::random::Random;
use crate::geometry::math::stats::quantile;
use crate::geometry::priors::{FOOD_HEIGHT_CM, RELIEF_GAIN};
use crate::geometry::raster::outline::border_share;
use crate::geometry::types::{Depth, ItemGeometry, ShapeClass};

/// Draws of the shared unknowns.
const DRAWS: usize = 256;
/// Largest departure of a draw, in ln(volume).
const MAX_DEPARTURE: f64 = 3.0;
/// Smaller volumes are taken for this one, cm3.
const MIN_VOLUME_CM3: f64 = 1e-6;
/// Share of an item without depth from which it is flagged and the interval widened.
const GAPS: f64 = 0.1;
/// Least mean height that the raster's error is compared with, in camera heights.
const MIN_RELIEF: f64 = 1e-3;
/// Largest sd of ln(volume) by the raster's level.
const RELIEF_SIGMA_MAX: f64 = 0.8;
/// Rounds in which the height that the raster's error is compared with settles.
const HEIGHT_ROUNDS: usize = 3;
/// Sd of ln(volume) where nothing rises: of the fallback by footprint, and added to the outline's.
const NO_RELIEF_SIGMA: f64 = 0.7;
const OUTLINE_ALONE_SIGMA: f64 = 0.15;
/// Relief and outline this many combined sigmas apart: an unusual size.
const UNUSUAL_SIGMAS: f64 = 2.5;
/// Share of the mask's bounding perimeter on the photo's border from which an item counts as cut.
const CUT_SHARE: f64 = 0.01;
/// Volume per area that one pixel of mask edge all round carries.
const EDGE_VOLUME: f64 = 0.75;

/// The items of a solution, in the scene's order.
pub(crate) fn items(
    readings: &Readings<'_, '_>,
    state: &State,
    solution: &Solution,
) -> Result<Vec<ItemGeometry>, GeometryError> {
    let sensitivities = sensitivities(readings, state)?;
    let mut random = Random::new(readings.scene.seed ^ 0x5ca1e);
    let shared: Vec<Draw> = (0..DRAWS)
        .map(|_| std::array::from_fn(|_| random.normal()))
        .collect();
    let mut out = Vec::with_capacity(solution.items.len());
    for (index, [by_relief, by_outline]) in sensitivities.iter().enumerate() {
        let item = Item {
            readings,
            solution,
            solved: &solution.items[index],
            index,
        };
        let combined = item.combined(by_relief, by_outline);
        let volume_cm3 = interval(&combined.volume, solution.scale.sigma_ln, &shared, &mut random);
        out.push(item.geometry(combined, volume_cm3));
    }
    Ok(out)
}

/// Standard normals of the shared unknowns, the scale last.
type Draw = [f64; SHARED + 1];

/// p10 and p90 by Monte-Carlo, around the estimate itself.
fn interval(volume: &VolumeEstimate, scale_sigma: f64, shared: &[Draw], random: &mut Random) -> Estimated {
    let nominal = volume.ln.exp();
    let mut draws: Vec<f64> = shared
        .iter()
        .map(|z| {
            let mut x = volume.power * scale_sigma * z[SHARED] + volume.own * random.normal();
            for ((slope, curvature), z) in volume.slopes.iter().zip(&volume.curvatures).zip(z) {
                x += slope * z + curvature * (z * z - 1.0);
            }
            nominal * x.clamp(-MAX_DEPARTURE, MAX_DEPARTURE).exp()
        })
        .collect();
    Estimated {
        p10: quantile(&mut draws, 0.1).unwrap_or(nominal).min(nominal),
        p50: nominal,
        p90: quantile(&mut draws, 0.9).unwrap_or(nominal).max(nominal),
    }
}

/// One item of a solution.
struct Item<'r> {
    readings: &'r Readings<'r, 'r>,
    solution: &'r Solution,
    solved: &'r ItemSolution,
    index: usize,
}

/// The volume by relief and outline together.
struct Combined {
    volume: VolumeEstimate,
    by_outline: Option<ByOutline>,
    relief_share: f64,
    flags: Vec<ItemFlag>,
}

impl Item<'_> {
    fn combined(&self, by_relief: &Sensitivity, by_outline: &Sensitivity) -> Combined {
        let mut flags = Vec::new();
        let mut relief = self.by_relief(by_relief, &mut flags);
        let seen_height = self.solved.integrals.mean_height().max(MIN_RELIEF);
        let shape_own = relief.own;
        relief.own = shape_own.hypot(self.relief_error(seen_height));
        let outline = self.solved.by_outline(self.solution.scale.height_cm);
        let estimate = outline.map(|o| VolumeEstimate {
            ln: o.volume_cm3.max(MIN_VOLUME_CM3).ln(),
            slopes: by_outline.slopes,
            curvatures: by_outline.curvatures,
            power: self.solved.outline_power(),
            own: o.sigma_ln,
        });
        let (mut volume, relief_share) = match &estimate {
            Some(outline) if self.nothing_rises() => {
                let own = outline.own.hypot(OUTLINE_ALONE_SIGMA);
                (VolumeEstimate { own, ..*outline }, 0.0)
            }
            Some(outline) => {
                let mut fused = fuse(&relief, outline);
                for _ in 0..HEIGHT_ROUNDS {
                    let height = seen_height * (fused.estimate.ln - relief.ln).exp();
                    relief.own = shape_own.hypot(self.relief_error(height));
                    fused = fuse(&relief, outline);
                }
                if fused.disagreement_sigmas > UNUSUAL_SIGMAS {
                    flags.push(ItemFlag::UnusualSize);
                }
                (fused.estimate, fused.relief_share)
            }
            None => (relief, 1.0),
        };
        self.flag_scene(&mut flags);
        self.widen_by_mask(&mut volume, &mut flags);
        Combined {
            volume,
            by_outline: outline,
            relief_share,
            flags,
        }
    }

    fn nothing_rises(&self) -> bool {
        self.solved.integrals.columns.0 <= 0.0
    }

    /// The volume by relief, with flags for what makes it doubtful.
    fn by_relief(&self, sensitivity: &Sensitivity, flags: &mut Vec<ItemFlag>) -> VolumeEstimate {
        let item = self.solved;
        let h = self.solution.scale.height_cm;
        let mut own = item.shape_sigma;
        let gaps = self.readings.items[self.index].gaps;
        if gaps > GAPS {
            flags.push(ItemFlag::DepthGaps);
            own = own.hypot(gaps);
        }
        let mut volume_cm3 = item.volume.cm3(h);
        if self.nothing_rises() {
            flags.push(ItemFlag::NoRelief);
            own = own.hypot(NO_RELIEF_SIGMA);
            // geometry.md 7.8
            volume_cm3 = item.integrals.footprint.abs().max(1e-9) * h * h * FOOD_HEIGHT_CM;
        }
        VolumeEstimate {
            ln: volume_cm3.max(MIN_VOLUME_CM3).ln(),
            slopes: sensitivity.slopes,
            curvatures: sensitivity.curvatures,
            power: 3.0,
            own,
        }
    }

    /// Relative error of a mean height of this many camera heights: by the raster, by the base under it, and by how much a
    /// network exaggerates.
    fn relief_error(&self, height: f64) -> f64 {
        let network = self.readings.scene.relief_sigma;
        let fit = &self.solution.fit;
        let left_over = if self.readings.measured {
            fit.noise.of_mean(self.readings.items[self.index].area)
        } else {
            fit.residual_rel
        };
        let level = left_over.hypot(network).hypot(self.solved.base_sigma);
        let gain = match self.readings.scene.depth {
            _ if network <= 0.0 => 0.0,
            // What measures distances exaggerates no height by more than it is off as a whole.
            Depth::Metric { scale_sigma_ln, .. } => RELIEF_GAIN.sigma.min(scale_sigma_ln),
            Depth::Disparity(_) => RELIEF_GAIN.sigma,
        };
        (level / height.max(MIN_RELIEF)).min(RELIEF_SIGMA_MAX).hypot(gain)
    }

    /// Flags of where it lies and what it is.
    fn flag_scene(&self, flags: &mut Vec<ItemFlag>) {
        if self.solved.in_bowl {
            flags.push(ItemFlag::Bowl);
        }
        if self.readings.scene.items[self.index].shape == ShapeClass::Unknown {
            flags.push(ItemFlag::ShapeUnknown);
        }
        if flags::is_flat(self.solved, self.solution, self.readings.scene) {
            flags.push(ItemFlag::Flat);
        }
    }

    /// What the photo's border cuts off, and one pixel of mask edge all round.
    fn widen_by_mask(&self, volume: &mut VolumeEstimate, flags: &mut Vec<ItemFlag>) {
        let mask = self.readings.scene.items[self.index].mask;
        let cut = border_share(mask);
        if cut > CUT_SHARE {
            flags.push(ItemFlag::TouchesEdge);
            volume.own = volume.own.hypot(2.0 * cut);
        }
        let radius_px = (mask.area() as f64 / std::f64::consts::PI).sqrt();
        volume.own = volume.own.hypot(EDGE_VOLUME / radius_px);
    }

    fn geometry(&self, combined: Combined, volume_cm3: Estimated) -> ItemGeometry {
        let Combined {
            volume,
            by_outline,
            relief_share,
            mut flags,
        } = combined;
        let (item, scale) = (self.solved, &self.solution.scale);
        let h = scale.height_cm;
        // The plan area by relief and by outline, weighed as the volume is.
        let by_relief = item.integrals.footprint.abs() * h * h;
        let footprint_cm2 = match by_outline {
            Some(o) if by_relief > 0.0 => {
                (relief_share * by_relief.ln() + (1.0 - relief_share) * o.area_cm2.ln()).exp()
            }
            Some(o) => o.area_cm2,
            None => by_relief,
        };
        let mean_height_cm = volume_cm3.p50 / footprint_cm2.max(1e-3);
        flags::of_figures(
            &item.integrals,
            volume_cm3.p50,
            mean_height_cm,
            relief_share,
            &mut flags,
        );
        let region = &self.readings.scene.items[self.index];
        let figures = Figures {
            volume_cm3,
            mean_height_cm,
            footprint_cm2,
        };
        let implausible = impossible(&figures, region.shape, region.portion, item, self.solution);
        if implausible.is_some() {
            flags.push(ItemFlag::Implausible);
        }
        let slopes: f64 = volume.slopes.iter().map(|s| s * s).sum();
        ItemGeometry {
            volume_cm3,
            bounds: VolumeBounds {
                visible_columns_cm3: item.integrals.columns.cm3(h),
                frustum_cm3: item.integrals.frustum.cm3(h),
            },
            mean_height_cm,
            max_height_cm: item.integrals.max_height * h,
            footprint_cm2,
            depth_share: relief_share,
            dish: item.dish,
            flags,
            implausible,
            volume_sigma_ln: VolumeSigma {
                shared: slopes.sqrt().hypot(volume.power * scale.sigma_ln),
                own: volume.own,
            },
        }
    }
}
