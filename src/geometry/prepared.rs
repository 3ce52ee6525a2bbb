//! What is read of masks and raster once, and the camera that they agree on.

use dragunov_models::Mask;

use super::camera::View;
use super::dish::DishSamples;
use super::error::GeometryError;
use super::gravity::Gravity;
use super::level::level;
use super::limits;
use super::measure::warn;
use super::reference::RefSamples;
use super::scene::{CameraFit, Depth, Scene};
use super::surface::{Samples, Surface};
use super::table::{self, SlopePrior, TableFit, TableSamples};
use super::tilt::{self, Ring};
use crate::contract::{DishKind, Estimated, TiltSource, Warning, WarningCode, bounds};

/// Less than this and the table looks level in the raster: an unknown shift can hide some tilt.
const STEEP_DEG: f64 = 5.7;
/// A table that looks this much steeper than the coin on it has a coin that stands. Set with the bound below on ECUSTFD
/// photos from above and from the side (what they come to, and the commands, are in the README).
const COIN_OFF_DEG: f64 = 10.0;
/// And whose ellipse is rounder than the table's would be by more than a mask is wrong.
const COIN_OFF_ASPECT: f64 = 0.045;
/// A plate speaks for the coin unless the table, too, is this many sigmas from both.
const AGREE: f64 = 3.0;
/// Samples per item for the answer, and every how many of them for its derivatives.
const ITEM_SAMPLES: usize = 3000;
const THIN: usize = 5;

/// Everything read from masks and raster, independent of any camera.
pub(crate) struct Prepared<'a, 's> {
    pub(crate) scene: &'s Scene<'a>,
    pub(crate) metric: bool,
    pub(crate) table: TableSamples,
    keep: Vec<bool>,
    slopes: Vec<SlopePrior>,
    pub(crate) dishes: Vec<DishSamples>,
    pub(crate) references: Vec<Option<RefSamples>>,
    pub(crate) items: Vec<Samples>,
    pub(crate) thin: Vec<Samples>,
}

impl<'a, 's> Prepared<'a, 's> {
    pub(crate) fn read(scene: &'s Scene<'a>, surface: &Surface<'_>) -> Self {
        let things = scene
            .items
            .iter()
            .map(|r| r.mask)
            .chain(scene.dishes.iter().map(|d| d.mask));
        let near: Vec<&Mask> = things.clone().collect();
        let covered: Vec<&Mask> = things
            .chain(scene.references.iter().map(|r| r.mask))
            .chain(scene.others.iter().copied())
            .collect();
        let table = TableSamples::collect(surface, scene.camera.width, scene.camera.height, &covered, &near);
        let keep = vec![true; table.points.len()];
        let items: Vec<Samples> = scene
            .items
            .iter()
            .map(|r| Samples::of(r.mask, surface, ITEM_SAMPLES))
            .collect();
        let thin = items.iter().map(|s| s.thinned(THIN)).collect();
        Self {
            scene,
            metric: matches!(scene.depth, Depth::Metric { .. }),
            table,
            keep,
            slopes: Vec::new(),
            dishes: scene
                .dishes
                .iter()
                .map(|d| DishSamples::collect(d.mask, d.kind, surface, scene.relief_sigma))
                .collect(),
            references: scene.references.iter().map(RefSamples::collect).collect(),
            items,
            thin,
        }
    }

    /// Refines gravity by circles and by the table, and settles which samples are table and rim on the way.
    pub(crate) fn settle_camera(&mut self, warnings: &mut Vec<Warning>) -> Result<CameraFit, GeometryError> {
        let camera = self.scene.camera;
        let coins: Vec<Ring> = self
            .references
            .iter()
            .flatten()
            .filter_map(RefSamples::ring)
            .collect();
        let (mut prior, source) = match self.scene.gravity {
            Some(g) => (g, TiltSource::Gravity),
            None => self.gravity_by_sight(&coins, warnings)?,
        };
        limits::check_gravity(&prior)?;
        // Read off the depth alone, the tilt may be over the limit where its p50 is not.
        let steepest = prior.tilt_deg() + Estimated::Z90 * prior.tilt_sigma_deg;
        if source == TiltSource::Depth && steepest > bounds::TILT_MAX_DEG {
            return Err(GeometryError::TiltTooLarge { tilt_deg: steepest });
        }
        let stated = prior;
        let mut tilt_source = vec![source];
        let mut from_circle = None;
        for round in 0..2 {
            let view = View::new(camera, &prior);
            self.keep = table::inliers(&self.table, &view, self.metric, self.scene.seed);
            let fit = self.fit(&view, prior.tilt_sigma_deg.to_radians())?;
            for (i, dish) in self.dishes.iter_mut().enumerate() {
                if self.scene.relief_sigma > 0.0 {
                    dish.relief_sigma = self.scene.relief_sigma.hypot(fit.residual_rel);
                }
                dish.find_rim(&view, fit.alignment, self.scene.seed ^ i as u64);
            }
            let fit = if self.metric {
                fit
            } else {
                self.slopes.clear();
                let by_rim: Vec<SlopePrior> = self
                    .dishes
                    .iter()
                    .filter_map(|d| d.slope_by_rim(&view, &fit))
                    .collect();
                self.slopes.extend(by_rim);
                self.fit(&view, prior.tilt_sigma_deg.to_radians())?
            };
            let mut rings: Vec<Ring> = self
                .dishes
                .iter()
                .filter(|d| d.kind == DishKind::Plate)
                .filter_map(|d| {
                    let (circle, height) = d.rim(&view, fit.alignment);
                    let circle = circle?;
                    (circle.coverage > 0.6 && circle.residual_rel < 0.03).then(|| Ring {
                        pixels: d
                            .rim
                            .iter()
                            .zip(&d.on_rim)
                            .filter(|(_, k)| **k)
                            .map(|(p, _)| [p[0], p[1]])
                            .collect(),
                        height,
                        sigma: 0.008,
                    })
                })
                .collect();
            if rings.is_empty() {
                rings.clone_from(&coins);
            }
            let depth = table::free_plane(&self.table, &self.keep, &view).and_then(|(n, cov)| {
                if self.metric {
                    Some(tilt::from_metric_plane(n, cov, &stated))
                } else {
                    tilt::from_relative_plane(n, cov, &stated)
                }
            });
            if round == 0 && !rings.is_empty() {
                from_circle = level(camera, &rings, None).map(|l| l.gravity.tilt_deg());
            }
            let refined = tilt::refine(camera, &stated, &rings, depth);
            prior = refined.gravity;
            if source == TiltSource::Gravity {
                let helped = [
                    (TiltSource::Circle, refined.by_circle),
                    (TiltSource::Depth, refined.by_depth),
                ];
                tilt_source.truncate(1);
                tilt_source.extend(helped.into_iter().filter(|(_, yes)| *yes).map(|(by, _)| by));
            }
        }
        let moved = prior.angle_deg(&stated);
        if self.scene.gravity.is_some() && moved > 4.0 * stated.tilt_sigma_deg.max(1.0) {
            warn(
                warnings,
                WarningCode::PitchInconsistent,
                "the stated pitch does not fit the plate and the table in the photo",
            );
        }
        if let (Some(seen), Some(g)) = (from_circle, self.scene.gravity)
            && (seen - g.tilt_deg()).abs() > 12.0
        {
            warn(
                warnings,
                WarningCode::PitchInconsistent,
                "the plate's ellipse shows another tilt than the stated pitch",
            );
        }
        limits::check_gravity(&prior)?;
        Ok(CameraFit {
            camera,
            gravity: prior,
            tilt_source,
            tilt_from_circle_deg: from_circle,
        })
    }

    /// Gravity by what is seen, where none was sent, and by what: circles and the table together, else the table alone, else
    /// straight down.
    fn gravity_by_sight(
        &self,
        coins: &[Ring],
        warnings: &mut Vec<Warning>,
    ) -> Result<(Gravity, TiltSource), GeometryError> {
        let plates = self
            .dishes
            .iter()
            .filter(|d| d.kind == DishKind::Plate)
            .map(|d| Ring {
                pixels: d.rim.iter().map(|p| [p[0], p[1]]).collect(),
                height: 0.05,
                sigma: 0.015,
            });
        let rings: Vec<Ring> = coins.iter().cloned().chain(plates).collect();
        let table = self.gravity_by_table();
        if let Some(mut found) = level(self.scene.camera, &rings, table.as_ref()) {
            let by_plate = found.round[coins.len()..].contains(&true);
            let far_off = |table: &Gravity| found.gravity.angle_deg(table) > AGREE * table.tilt_sigma_deg;
            if let Some(table) = table.filter(|t| !by_plate || far_off(t)) {
                self.check_coin(coins, &table)?;
            }
            found.gravity.tilt_sigma_deg = found.gravity.tilt_sigma_deg.max(2.0);
            return Ok((found.gravity, TiltSource::Circle));
        }
        if let Some(table) = table.filter(|t| t.tilt_deg() > STEEP_DEG) {
            warn(
                warnings,
                WarningCode::TiltByDepth,
                "no pitch was sent and no round plate or coin was seen: the tilt is read off the depth",
            );
            return Ok((table, TiltSource::Depth));
        }
        warn(
            warnings,
            WarningCode::TiltUnknown,
            "no pitch was sent and nothing shows the tilt: taken as straight down",
        );
        Ok((Gravity::from_pitch(0.0, 0.0, 15.0), TiltSource::NadirAssumed))
    }

    /// A coin lies flat only if the table is seen from about where the coin by itself is. Of several things taken for
    /// coins the roundest is asked: nothing that lies flat is rounder than the table's tilt allows.
    fn check_coin(&self, coins: &[Ring], table: &Gravity) -> Result<(), GeometryError> {
        let alone = |coin: &Ring| level(self.scene.camera, std::slice::from_ref(coin), None);
        let Some(coin_deg) = coins
            .iter()
            .filter_map(|c| alone(c).map(|l| l.gravity.tilt_deg()))
            .min_by(f64::total_cmp)
        else {
            return Ok(());
        };
        let table_deg = table.tilt_deg();
        // From nearly above, tilts that differ much make ellipses that hardly do.
        let rounder = coin_deg.to_radians().cos() - table_deg.to_radians().cos();
        if table_deg - coin_deg > COIN_OFF_DEG && rounder > COIN_OFF_ASPECT {
            return Err(GeometryError::CoinOnEdge { coin_deg, table_deg });
        }
        Ok(())
    }

    /// Gravity by the direction and steepness in which the table's disparity grows, taking the shift for small. `None`
    /// where the table is no plane in the raster.
    fn gravity_by_table(&self) -> Option<Gravity> {
        let view = View::new(self.scene.camera, &Gravity::from_pitch(0.0, 0.0, 15.0));
        let (n, cov) = table::free_plane(&self.table, &self.keep, &view)?;
        let (grow, spread) = (n[0].hypot(n[1]), (cov[0][0] + cov[1][1]).sqrt());
        let clear = 3.0 * spread < grow.max(0.1 * n[2].abs());
        clear
            .then(|| {
                Gravity::from_camera(
                    [n[0], n[1], n[2].max(0.02 * grow)],
                    self.scene.table_tilt_sigma_deg,
                )
            })
            .flatten()
    }

    pub(crate) fn fit(&self, view: &View, tilt_sigma: f64) -> Result<TableFit, GeometryError> {
        table::fit(
            &self.table,
            &self.keep,
            view,
            self.metric,
            &self.slopes,
            tilt_sigma,
        )
        .ok_or(GeometryError::TableNotVisible {
            samples: self.keep.iter().filter(|k| **k).count(),
            needed: limits::TABLE_SAMPLES,
        })
    }

    pub(crate) fn gaps(&self, item: usize) -> f64 {
        self.items[item].gaps
    }
}
