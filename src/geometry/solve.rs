//! Volumes for one assumed state of the unknowns.

use super::camera::{CameraModel, View};
use super::dish::{Base, DishModel};
use super::error::GeometryError;
use super::gravity::Gravity;
use super::integral::{Integrals, centre, integrate};
use super::opinions::helping;
use super::portion::{ByOutline, IN_BOWL, Portion, Shadow};
use super::prepared::Prepared;
use super::scale::{ScaleFusion, fuse};
use super::shape::{ShapeClass, corrected};
use super::table::TableFit;
use crate::contract::DishKind;

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
    /// Over the depth raster, corrected for the shape, in cm3.
    pub(crate) volume_cm3: f64,
    /// The other opinion.
    pub(crate) by_outline: Option<ByOutline>,
    pub(crate) portion: Option<(Portion, ShapeClass)>,
    pub(crate) shadow: Shadow,
    /// Height of what it stands on, in camera heights.
    pub(crate) base: f64,
    pub(crate) shape_sigma: f64,
    /// Relative volume sd from the base.
    pub(crate) base_sigma: f64,
}

impl Prepared<'_, '_> {
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
        let placed: Vec<Option<usize>> = self
            .thin
            .iter()
            .map(|samples| {
                let middle = centre(samples, &view, fit.alignment);
                order.iter().copied().find(|&i| dishes[i].carries(middle))
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
                let portion = match bowl {
                    Some(_) => region.portion.map(|_| (IN_BOWL, ShapeClass::Liquid)),
                    None => region.portion.map(|p| (p, region.shape)),
                };
                let base_sd = dish.map_or(0.002, |i| dishes[i].base_sigma());
                ItemSolution {
                    dish,
                    integrals,
                    volume_cm3: volume,
                    by_outline: None,
                    portion,
                    shadow: samples.shadow(&view),
                    base: dish.map_or(0.0, |i| dishes[i].likely_base(integrals.centre)),
                    shape_sigma,
                    base_sigma: (base_sd * integrals.footprint / integrals.columns.max(1e-9)).clamp(0.0, 1.0),
                }
            })
            .collect();
        let candidates = self.candidates(&view, &fit, &dishes, helping(&items, &dishes));
        let scale = fuse(&candidates).ok_or(GeometryError::DepthInvalid {
            reason: "no scale could be formed",
        })?;
        let height = scale.height_cm;
        for item in &mut items {
            item.volume_cm3 *= height.powi(3);
            item.by_outline = item
                .portion
                .and_then(|(p, shape)| p.volume(shape, &item.shadow, item.base * height, height));
        }
        Ok(Solution {
            fit,
            dishes,
            scale,
            items,
        })
    }
}
