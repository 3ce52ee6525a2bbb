//! One item for one assumed state of the shared unknowns, before the scale is known.

use crate::contract::DishKind;
use crate::geometry::dish::model::{Base, DishModel};
use crate::geometry::food::bowl::{self, ByWidth};
use crate::geometry::food::integral::{Integrals, integrate};
use crate::geometry::food::portion::{ByOutline, PortionPrior, SCALE_POWER};
use crate::geometry::food::shape::corrected;
use crate::geometry::food::volume::CubicHeights;
use crate::geometry::priors::IN_BOWL;
use crate::geometry::raster::samples::{CastOutline, Samples};
use crate::geometry::raster::surface::Alignment;
use crate::geometry::types::{Region, ShapeClass};
use crate::geometry::view::camera::View;

/// Lengths in camera heights.
pub(crate) struct ItemSolution {
    pub(crate) dish: Option<usize>,
    pub(crate) in_bowl: bool,
    pub(crate) integrals: Integrals,
    /// By relief, corrected for the shape.
    pub(crate) volume: CubicHeights,
    /// Sd of ln(volume) by the shape.
    pub(crate) shape_sigma: f64,
    /// Sd of the height of what it stands on.
    pub(crate) base_sigma: f64,
    /// The outline cast on the table, and what the label says of its size.
    pub(crate) outline: CastOutline,
    pub(crate) portion: Option<PortionPrior>,
    /// What its width in its bowl says, which is worth more than a usual portion.
    by_width: Option<ByWidth>,
    /// Height of what it stands on.
    pub(crate) base: f64,
}

impl ItemSolution {
    /// `dish`: the index and model of what it lies on; `alone` if nothing else lies there. `scratch` is space that calls share.
    pub(crate) fn new(
        samples: &Samples,
        region: &Region<'_>,
        dish: Option<(usize, &DishModel)>,
        alone: bool,
        view: &View,
        alignment: Alignment,
        scratch: &mut Vec<[f64; 2]>,
    ) -> Self {
        let base = dish.map_or(Base::Table, |(_, model)| Base::Dish(model));
        let integrals = integrate(samples, view, alignment, &base, scratch);
        let bowl = dish.map(|(_, model)| model).filter(|d| d.kind == DishKind::Bowl);
        let shape = if bowl.is_some() {
            ShapeClass::Liquid
        } else {
            region.shape
        };
        let by_rings = bowl
            .filter(|_| alone)
            .and_then(|bowl| bowl::volume(samples, view, alignment, bowl));
        let by_width = bowl
            .filter(|_| alone)
            .and_then(|bowl| bowl::by_width(samples, view, bowl, region.shape));
        let (volume, shape_sigma) = match by_rings {
            Some(volume) => (volume, bowl::SIGMA_LN),
            None => corrected(shape, &integrals),
        };
        let portion = region.portion.map(|portion| PortionPrior {
            shape,
            portion: if bowl.is_some() { IN_BOWL } else { portion },
        });
        Self {
            dish: dish.map(|(index, _)| index),
            in_bowl: bowl.is_some(),
            volume,
            shape_sigma,
            base_sigma: base.sigma(),
            outline: samples.cast(view),
            portion,
            by_width,
            base: base.at(integrals.centre),
            integrals,
        }
    }

    /// Volume by outline and label, or by how far the bowl is filled, under a camera at this height, cm.
    pub(crate) fn by_outline(&self, camera_cm: f64) -> Option<ByOutline> {
        if let Some(by_width) = self.by_width {
            return Some(ByOutline {
                volume_cm3: by_width.volume.cm3(camera_cm),
                area_cm2: by_width.area * camera_cm * camera_cm,
                sigma_ln: by_width.sigma_ln,
            });
        }
        self.portion
            .and_then(|p| p.volume(&self.outline, self.base * camera_cm, camera_cm))
    }

    /// Power of the camera's height that [`Self::by_outline`] grows with.
    pub(crate) fn outline_power(&self) -> f64 {
        if self.by_width.is_some() { 3.0 } else { SCALE_POWER }
    }
}
