//! Everything for one assumed state of the unknowns that all items share.

use super::item::ItemSolution;
use super::readings::Readings;
use super::scale::{ScaleFusion, fuse};
use super::scale_candidates::candidates;
use crate::geometry::dish::model::DishModel;
use crate::geometry::error::GeometryError;
use crate::geometry::food::integral::centre;
use crate::geometry::raster::surface::Alignment;
use crate::geometry::raster::table_fit::TableFit;
use crate::geometry::view::camera::{CameraModel, View};
use crate::geometry::view::gravity::Gravity;

/// One assumed state of the shared unknowns.
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

/// How many samples of the items are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    All,
    /// A fifth, for differences.
    Coarse,
}

/// Solves for one state.
pub(crate) fn solve(
    readings: &Readings<'_, '_>,
    state: &State,
    detail: Detail,
) -> Result<Solution, GeometryError> {
    let view = View::new(state.camera, &state.gravity);
    let mut fit = readings.fit_table(&view, state.gravity.tilt_sigma_deg.to_radians())?;
    if !readings.metric {
        shift_alignment(&mut fit, state.shift, view.down);
    }
    let dishes: Vec<DishModel> = readings
        .dishes
        .iter()
        .map(|d| DishModel::new(d, &view, fit.alignment))
        .collect();
    let placed = place(readings, &dishes, &view, fit.alignment);
    let samples = match detail {
        Detail::All => &readings.items,
        Detail::Coarse => &readings.coarse,
    };
    let mut scratch = Vec::new();
    let items: Vec<ItemSolution> = samples
        .iter()
        .zip(&readings.scene.items)
        .zip(&placed)
        .map(|((samples, region), &dish)| {
            let alone = placed.iter().filter(|p| **p == dish).count() == 1;
            let dish = dish.map(|i| (i, &dishes[i]));
            ItemSolution::new(samples, region, dish, alone, &view, fit.alignment, &mut scratch)
        })
        .collect();
    let candidates = candidates(readings, &view, &fit, &dishes, &items);
    let scale = fuse(&candidates).ok_or(GeometryError::DepthInvalid {
        reason: "no scale could be formed",
    })?;
    Ok(Solution {
        fit,
        dishes,
        scale,
        items,
    })
}

/// Moves the shift by so many of its sigmas. At fixed table disparity a larger shift is a smaller slope.
fn shift_alignment(fit: &mut TableFit, sigmas: f64, down: [f64; 3]) {
    let [_, q] = fit.level;
    let slope = fit.alignment.a;
    let plane = fit.alignment.plane(down);
    let levelled = fit.alignment.trend != [0.0; 3];
    fit.alignment.a = (slope - sigmas * fit.slope_sigma).max(0.1 * slope);
    fit.alignment.b += (slope - fit.alignment.a) * q;
    if levelled {
        fit.alignment = fit.alignment.levelled(plane, down);
    }
}

/// The innermost dish under each item.
fn place(
    readings: &Readings<'_, '_>,
    dishes: &[DishModel],
    view: &View,
    alignment: Alignment,
) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..dishes.len()).collect();
    order.sort_by(|&a, &b| dishes[a].extent().total_cmp(&dishes[b].extent()));
    readings
        .coarse
        .iter()
        .map(|samples| {
            let middle = centre(samples, view, alignment);
            order.iter().copied().find(|&i| dishes[i].carries(middle))
        })
        .collect()
}
