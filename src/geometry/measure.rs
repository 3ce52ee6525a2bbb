//! The whole measurement: read the masks and the raster once, then solve for any camera.

use dragunov_models::Mask;

use super::camera::{CameraModel, View};
use super::circle::{Circle, fit_circle};
use super::dish::{Base, DishModel, DishSamples};
use super::error::GeometryError;
use super::gravity::Gravity;
use super::integral::{Integrals, integrate};
use super::limits;
use super::outline::{border_share, outline};
use super::scale::{ScaleCandidate, ScaleFusion, ScaleSource, fuse};
use super::scene::{CameraFit, Depth, DishKind, Measured, RefKind, Scene};
use super::shape::{ShapeClass, corrected};
use super::surface::{Samples, Surface};
use super::table::{self, SlopePrior, TableFit, TableSamples};
use super::tilt::{self, Ring};
use super::uncertainty;
use crate::contract::result::{PlaneFit, Warning};

/// Samples per item for the answer, and every how many of them for its derivatives.
const ITEM_SAMPLES: usize = 5000;
const THIN: usize = 5;

/// Everything read from masks and raster, independent of any camera.
pub(crate) struct Prepared<'a, 's> {
    pub(crate) scene: &'s Scene<'a>,
    pub(crate) metric: bool,
    table: TableSamples,
    keep: Vec<bool>,
    slopes: Vec<SlopePrior>,
    dishes: Vec<DishSamples>,
    references: Vec<Option<RefSamples>>,
    items: Vec<Samples>,
    thin: Vec<Samples>,
}

/// A reference object's outline and a lattice of its pixels.
struct RefSamples {
    kind: RefKind,
    diameter_cm: Option<f64>,
    edge: Vec<[f64; 2]>,
    area_px: f64,
    lattice: Vec<[f64; 2]>,
}

/// One assumed state of the unknowns that all items share.
#[derive(Clone, Copy)]
pub(crate) struct State {
    pub(crate) camera: CameraModel,
    pub(crate) gravity: Gravity,
    /// Departure of the shift from its fit, in its standard deviations.
    pub(crate) shift: f64,
}

pub(crate) struct Solution {
    pub(crate) fit: TableFit,
    pub(crate) dishes: Vec<DishModel>,
    pub(crate) scale: ScaleFusion,
    pub(crate) items: Vec<ItemSolution>,
}

pub(crate) struct ItemSolution {
    pub(crate) dish: Option<usize>,
    pub(crate) integrals: Integrals,
    /// Corrected for the shape, in cm3.
    pub(crate) volume_cm3: f64,
    pub(crate) shape_sigma: f64,
    /// Relative volume sd from the base.
    pub(crate) base_sigma: f64,
}

/// Volumes of the scene's items with their intervals.
///
/// # Errors
/// See [`GeometryError`]; a scene that can be measured badly is measured, with flags and a wide interval.
pub fn measure(scene: &Scene<'_>) -> Result<Measured, GeometryError> {
    limits::check_camera(&scene.camera)?;
    if let Some(gravity) = &scene.gravity {
        limits::check_gravity(gravity)?;
    }
    limits::check_sizes(scene)?;
    if scene.items.is_empty() {
        return Err(GeometryError::NoFood);
    }
    let mut warnings = Vec::new();
    let surface = Surface::new(scene.depth, scene.camera.width, scene.camera.height)?;
    let mut prepared = Prepared::read(scene, &surface);
    if prepared.table.points.len() < limits::TABLE_SAMPLES {
        return Err(GeometryError::TableNotVisible {
            samples: prepared.table.points.len(),
            needed: limits::TABLE_SAMPLES,
        });
    }
    let camera = prepared.settle_camera(&mut warnings)?;
    let state = State {
        camera: camera.camera,
        gravity: camera.gravity,
        shift: 0.0,
    };
    let solution = prepared.solve(&state, false)?;
    check_table(&solution.fit, &camera.gravity, prepared.metric, &mut warnings)?;
    let tilt = camera.gravity.tilt_deg();
    if tilt < limits::NADIR_DEG {
        warn(
            &mut warnings,
            "nadir",
            "seen from straight above: heights are uncertain; tilt the phone 20 to 45 degrees",
        );
    }
    if solution
        .scale
        .candidates
        .iter()
        .all(|(c, used)| !used || c.source.is_prior())
    {
        warn(
            &mut warnings,
            "scale_prior",
            "nothing of known size was seen: the scale is a guess from usual plates and heights",
        );
    }
    if !(15.0..=90.0).contains(&solution.scale.height_cm) {
        warn(
            &mut warnings,
            "camera_height_odd",
            "the camera seems to be under 15 or over 90 cm away",
        );
    }
    for dish in &solution.dishes {
        if let Some(c) = dish.circle
            && dish.kind == DishKind::Plate
        {
            let d = 2.0 * c.radius * solution.scale.height_cm;
            if !(12.0..=35.0).contains(&d) {
                warn(
                    &mut warnings,
                    "plate_size_odd",
                    "the plate would be under 12 or over 35 cm wide",
                );
            }
        }
    }
    let items = uncertainty::items(&prepared, &state, &solution)?;
    Ok(Measured {
        items,
        camera,
        plane_fit: PlaneFit {
            inlier_fraction: solution.fit.inliers,
            residual_rel: solution.fit.residual_rel,
            correlation: (solution.fit.q_spread > 0.01).then_some(solution.fit.correlation),
            nadir_degenerate: solution.fit.by_table < 0.8,
        },
        scale: solution.scale.info(),
        warnings,
    })
}

pub(crate) fn warn(warnings: &mut Vec<Warning>, code: &str, message: &str) {
    if warnings.iter().all(|w| w.code != code) {
        warnings.push(Warning {
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }
}

/// The table must look like a table under this tilt.
fn check_table(
    fit: &TableFit,
    gravity: &Gravity,
    metric: bool,
    warnings: &mut Vec<Warning>,
) -> Result<(), GeometryError> {
    let tilt_deg = gravity.tilt_deg();
    if !metric && tilt_deg >= 15.0 && fit.q_spread > 0.02 {
        if fit.correlation < -0.5 {
            return Err(GeometryError::PitchInconsistent {
                tilt_deg,
                reason: "it comes nearer towards the wrong side of the photo".to_owned(),
            });
        }
        if fit.correlation < 0.9 {
            warn(
                warnings,
                "plane_fit_poor",
                "the depth of the table does not follow a plane well",
            );
        }
    }
    if fit.alignment.a <= 0.0 || !fit.alignment.a.is_finite() {
        return Err(GeometryError::PitchInconsistent {
            tilt_deg,
            reason: "the fitted table lies behind the camera".to_owned(),
        });
    }
    if fit.inliers < 0.4 {
        warn(
            warnings,
            "table_cluttered",
            "less than half of what should be table lies in one plane",
        );
    }
    Ok(())
}

impl<'a, 's> Prepared<'a, 's> {
    fn read(scene: &'s Scene<'a>, surface: &Surface<'_>) -> Self {
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
                .map(|d| DishSamples::collect(d.mask, d.kind, surface))
                .collect(),
            references: scene.references.iter().map(RefSamples::collect).collect(),
            items,
            thin,
        }
    }

    /// Refines gravity by circles and by the table, and settles which samples are table and rim on the way.
    fn settle_camera(&mut self, warnings: &mut Vec<Warning>) -> Result<CameraFit, GeometryError> {
        let camera = self.scene.camera;
        let coin_rings = || -> Vec<Ring> {
            self.references
                .iter()
                .flatten()
                .filter(|r| r.kind == RefKind::Coin && r.edge.len() >= 24)
                .map(|r| Ring {
                    pixels: r.edge.clone(),
                    height: 0.004,
                    // Half a pixel of edge against the radius.
                    sigma: 0.25 / (r.area_px / std::f64::consts::PI).sqrt() + 0.004,
                })
                .collect()
        };
        let coins = coin_rings();
        let (mut prior, mut source) = match self.scene.gravity {
            Some(g) => (g, "gravity"),
            None => {
                let mut rings = coins;
                rings.extend(
                    self.dishes
                        .iter()
                        .filter(|d| d.kind == DishKind::Plate)
                        .map(|d| Ring {
                            pixels: d.rim.iter().map(|p| [p[0], p[1]]).collect(),
                            height: 0.05,
                            sigma: 0.015,
                        }),
                );
                match tilt::from_circles(camera, &rings) {
                    Some(mut g) => {
                        g.tilt_sigma_deg = g.tilt_sigma_deg.max(2.0);
                        (g, "circle")
                    }
                    None => {
                        warn(
                            warnings,
                            "tilt_unknown",
                            "no pitch was sent and no round plate or coin was seen: taken as straight down",
                        );
                        (Gravity::from_pitch(0.0, 0.0, 15.0), "nadir_assumed")
                    }
                }
            }
        };
        limits::check_gravity(&prior)?;
        let stated = prior;
        let mut from_circle = None;
        for round in 0..2 {
            let view = View::new(camera, &prior);
            self.keep = table::inliers(&self.table, &view, self.metric, self.scene.seed);
            let fit = self.fit(&view, prior.tilt_sigma_deg.to_radians())?;
            for (i, dish) in self.dishes.iter_mut().enumerate() {
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
                rings = coin_rings_of(&self.references);
            }
            let depth = table::free_plane(&self.table, &self.keep, &view).and_then(|(n, cov)| {
                if self.metric {
                    Some(tilt::from_metric_plane(n, cov, &stated))
                } else {
                    tilt::from_relative_plane(n, cov, &stated)
                }
            });
            if round == 0 && !rings.is_empty() {
                from_circle = tilt::from_circles(camera, &rings).map(|g| g.tilt_deg());
            }
            let refined = tilt::refine(camera, &stated, &rings, depth);
            prior = refined.gravity;
            source = match (source, refined.by_circle, refined.by_depth) {
                ("gravity", true, true) => "gravity+circle+depth",
                ("gravity", true, false) => "gravity+circle",
                ("gravity", false, true) => "gravity+depth",
                (s, _, _) => s,
            };
        }
        let moved = prior.angle_deg(&stated);
        if self.scene.gravity.is_some() && moved > 4.0 * stated.tilt_sigma_deg.max(1.0) {
            warn(
                warnings,
                "pitch_inconsistent",
                "the stated pitch does not fit the plate and the table in the photo",
            );
        }
        if let (Some(seen), Some(g)) = (from_circle, self.scene.gravity)
            && (seen - g.tilt_deg()).abs() > 12.0
        {
            warn(
                warnings,
                "pitch_inconsistent",
                "the plate's ellipse shows another tilt than the stated pitch",
            );
        }
        limits::check_gravity(&prior)?;
        Ok(CameraFit {
            camera,
            gravity: prior,
            tilt_source: source,
            tilt_from_circle_deg: from_circle,
        })
    }

    fn fit(&self, view: &View, tilt_sigma: f64) -> Result<TableFit, GeometryError> {
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

    /// Everything for one state; with `thin` on a fifth of the samples, for differences.
    pub(crate) fn solve(&self, state: &State, thin: bool) -> Result<Solution, GeometryError> {
        let view = View::new(state.camera, &state.gravity);
        let mut fit = self.fit(&view, state.gravity.tilt_sigma_deg.to_radians())?;
        if !self.metric {
            // At fixed table disparity a larger shift is a smaller slope.
            let [_, q] = fit.level;
            let slope = fit.alignment.a;
            fit.alignment.a = (slope - state.shift * fit.slope_sigma).max(0.1 * slope);
            fit.alignment.b += (slope - fit.alignment.a) * q;
        }
        let dishes: Vec<DishModel> = self
            .dishes
            .iter()
            .map(|d| d.model(&view, fit.alignment))
            .collect();
        let mut order: Vec<usize> = (0..dishes.len()).collect();
        order.sort_by(|&a, &b| dishes[a].extent().total_cmp(&dishes[b].extent()));
        let mut scratch = Vec::new();
        let samples = if thin { &self.thin } else { &self.items };
        let placed: Vec<Option<usize>> = samples
            .iter()
            .map(|samples| {
                let rough = integrate(samples, &view, fit.alignment, &Base::Table, &mut scratch);
                order.iter().copied().find(|&i| dishes[i].carries(rough.centre))
            })
            .collect();
        let mut items: Vec<ItemSolution> = samples
            .iter()
            .zip(&self.scene.items)
            .zip(&placed)
            .map(|((samples, region), &dish)| {
                let base = dish.map_or(Base::Table, |i| Base::Dish(&dishes[i]));
                let integrals = integrate(samples, &view, fit.alignment, &base, &mut scratch);
                let bowl = dish.map(|i| &dishes[i]).filter(|d| d.kind == DishKind::Bowl);
                let alone = placed.iter().filter(|p| **p == dish).count() == 1;
                let rings = bowl
                    .filter(|_| alone)
                    .and_then(|bowl| super::bowl::volume(samples, &view, fit.alignment, bowl));
                let (volume, shape_sigma) = match (rings, bowl) {
                    (Some(v), _) => (v, 0.1),
                    (None, Some(_)) => corrected(ShapeClass::Liquid, &integrals),
                    (None, None) => corrected(region.shape, &integrals),
                };
                let base_sd = dish.map_or(0.002, |i| dishes[i].base_sigma());
                ItemSolution {
                    dish,
                    integrals,
                    volume_cm3: volume,
                    shape_sigma,
                    base_sigma: (base_sd * integrals.footprint / integrals.columns.max(1e-9)).clamp(0.0, 1.0),
                }
            })
            .collect();
        let candidates = self.candidates(&view, &fit, &dishes, helping(&items, &dishes));
        let scale = fuse(&candidates).ok_or(GeometryError::DepthInvalid {
            reason: "no scale could be formed",
        })?;
        for item in &mut items {
            item.volume_cm3 *= scale.height_cm.powi(3);
        }
        Ok(Solution {
            fit,
            dishes,
            scale,
            items,
        })
    }

    /// Every opinion of the camera's height.
    fn candidates(
        &self,
        view: &View,
        fit: &TableFit,
        dishes: &[DishModel],
        helping: Option<(f64, f64)>,
    ) -> Vec<ScaleCandidate> {
        let mut out = Vec::new();
        let mut add = |source, height_cm: f64, sigma_ln| {
            out.push(ScaleCandidate {
                source,
                height_cm,
                sigma_ln,
            });
        };
        if let Some(h) = self.scene.camera_height_cm {
            add(ScaleSource::ClientHeight, h.p50, h.sigma_ln().max(0.005));
        }
        if let Depth::Metric { scale_sigma_ln, .. } = self.scene.depth {
            add(ScaleSource::MetricDepth, 100.0 / fit.alignment.a, scale_sigma_ln);
        }
        for (model, given) in dishes.iter().zip(&self.scene.dishes) {
            let Some(circle) = model.circle else { continue };
            let fit_sigma = circle_sigma(&circle);
            match (given.diameter_cm, model.kind) {
                (Some(d), _) => add(
                    ScaleSource::PlateKnown,
                    0.5 * d / circle.radius,
                    0.008_f64.hypot(fit_sigma),
                ),
                (None, DishKind::Plate) => add(
                    ScaleSource::PlatePrior,
                    0.5 * 26.5 / circle.radius,
                    0.10_f64.hypot(fit_sigma),
                ),
                (None, DishKind::Bowl) => add(
                    ScaleSource::BowlPrior,
                    0.5 * 15.0 / circle.radius,
                    0.18_f64.hypot(fit_sigma),
                ),
                (None, DishKind::Board) => {}
            }
        }
        for model in dishes.iter().filter(|d| d.kind == DishKind::Board) {
            if let Some(half) = model.half_length() {
                add(ScaleSource::BoardPrior, 0.5 * 34.0 / half, 0.2);
            }
        }
        if let Some((size, sigma)) = helping {
            add(ScaleSource::FoodPrior, size, sigma);
        }
        for reference in self.references.iter().flatten() {
            match reference.kind {
                RefKind::Coin => {
                    if let (Some(d), Some((radius, sigma))) = (reference.diameter_cm, reference.coin(view)) {
                        // The edge seen is the coin's upper one, about 2 mm over the table.
                        add(ScaleSource::Coin, 0.5 * d / radius + 0.18, sigma);
                    }
                }
                RefKind::Card => {
                    if let Some((height, sigma)) = reference.card(view) {
                        add(ScaleSource::Card, height + 0.08, sigma);
                    }
                }
            }
        }
        add(ScaleSource::HeightPrior, 38.0, 0.3);
        out
    }
}

/// Camera height at which the items would be usual helpings (110 cm3, in bowls 250), and its sd: single items scatter
/// by a factor of 2.4, and what is usual is itself uncertain.
fn helping(items: &[ItemSolution], dishes: &[DishModel]) -> Option<(f64, f64)> {
    let logs: Vec<f64> = items
        .iter()
        .filter(|i| i.volume_cm3 > 1e-7)
        .map(|i| {
            let bowl = i.dish.is_some_and(|d| dishes[d].kind == DishKind::Bowl);
            (if bowl { 250.0_f64 } else { 110.0 } / i.volume_cm3).ln() / 3.0
        })
        .collect();
    let n = logs.len() as f64;
    let sigma = (0.29 / n.sqrt()).hypot(0.12);
    (n > 0.0).then(|| ((logs.iter().sum::<f64>() / n).exp(), sigma))
}

fn coin_rings_of(references: &[Option<RefSamples>]) -> Vec<Ring> {
    references
        .iter()
        .flatten()
        .filter(|r| r.kind == RefKind::Coin && r.edge.len() >= 24)
        .map(|r| Ring {
            pixels: r.edge.clone(),
            height: 0.004,
            sigma: 0.25 / (r.area_px / std::f64::consts::PI).sqrt() + 0.004,
        })
        .collect()
}

/// Relative sd of a rim's radius by its fit: partial arcs and wavy edges are worse.
fn circle_sigma(circle: &Circle) -> f64 {
    let arc = (0.75 / circle.coverage).max(1.0).powi(2);
    circle.residual_rel * 0.3 * arc
}

impl RefSamples {
    fn collect(object: &super::scene::RefObject<'_>) -> Option<Self> {
        let mask = object.mask;
        let area = mask.area();
        // Cut by the photo's border it has no size.
        if area < 60 || border_share(mask) > 0.0 {
            return None;
        }
        let stride = ((area as f64 / 2500.0).sqrt().round() as usize).max(1);
        let mut lattice = Vec::with_capacity(area / (stride * stride) + 64);
        mask.for_each_run(|x, a, b| {
            if x % stride == 0 {
                for y in (a.next_multiple_of(stride)..b).step_by(stride) {
                    lattice.push([x as f64 + 0.5, y as f64 + 0.5]);
                }
            }
        });
        Some(Self {
            kind: object.kind,
            diameter_cm: object.diameter_cm,
            edge: outline(mask),
            area_px: area as f64,
            lattice,
        })
    }

    /// Radius on the table in camera heights and its relative sd; `None` where it is not a whole disc.
    fn coin(&self, view: &View) -> Option<(f64, f64)> {
        let points: Vec<[f64; 2]> = self.edge.iter().map(|p| view.on_level(p[0], p[1], 0.0)).collect();
        let circle = fit_circle(&points)?;
        let n = self.area_px / self.lattice.len() as f64;
        let area: f64 = self
            .lattice
            .iter()
            .map(|p| n * view.level_area(p[0], p[1], 1.0 / view.q(p[0], p[1])))
            .sum();
        let by_area = (area / std::f64::consts::PI).sqrt();
        let whole = circle.coverage > 0.9
            && circle.residual_rel < 0.08
            && (by_area / circle.radius - 1.0).abs() < 0.06;
        let radius_px = (self.area_px / std::f64::consts::PI).sqrt();
        whole.then(|| {
            let radius = (by_area * circle.radius).sqrt();
            (radius, (0.3 / radius_px).hypot(0.006))
        })
    }

    /// Camera height by an ID-1 card lying flat, from area and second moments; `None` where it is no whole card.
    fn card(&self, view: &View) -> Option<(f64, f64)> {
        let n = self.area_px / self.lattice.len() as f64;
        let (mut area, mut mx, mut my) = (0.0, 0.0, 0.0);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for p in &self.lattice {
            let w = n * view.level_area(p[0], p[1], 1.0 / view.q(p[0], p[1]));
            let g = view.on_level(p[0], p[1], 0.0);
            area += w;
            mx += w * g[0];
            my += w * g[1];
            xx += w * g[0] * g[0];
            yy += w * g[1] * g[1];
            xy += w * g[0] * g[1];
        }
        let (mx, my) = (mx / area, my / area);
        let (xx, yy, xy) = (xx / area - mx * mx, yy / area - my * my, xy / area - mx * my);
        let (mean, half) = (0.5 * (xx + yy), (0.25 * (xx - yy).powi(2) + xy * xy).sqrt());
        let (long, short) = (
            (12.0 * (mean + half)).sqrt(),
            (12.0 * (mean - half).max(0.0)).sqrt(),
        );
        let (card_long, card_short) = (8.56, 5.398);
        let aspect = long / short / (card_long / card_short);
        let filled = area / (long * short);
        let whole = (aspect - 1.0).abs() < 0.05 && (filled - 1.0).abs() < 0.05;
        let corner_loss = 0.9945; // rounded corners of 3.18 mm
        whole.then(|| {
            let height = (card_long * card_short * corner_loss / area).sqrt();
            (
                height,
                (0.3 / self.area_px.sqrt())
                    .hypot(0.006)
                    .hypot(0.3 * (aspect - 1.0)),
            )
        })
    }
}
