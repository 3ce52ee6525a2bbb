//! Everything read from masks and raster once, independent of any camera.

use dragunov_models::Mask;

use crate::geometry::dish::samples::DishSamples;
use crate::geometry::error::GeometryError;
use crate::geometry::limits;
use crate::geometry::raster::reference::RefSamples;
use crate::geometry::raster::samples::Samples;
use crate::geometry::raster::surface::Surface;
use crate::geometry::raster::table::TableSamples;
use crate::geometry::raster::table_fit::{self, SlopePrior, TableFit};
use crate::geometry::types::{Depth, Scene};
use crate::geometry::view::camera::View;

/// Samples per item for the answer, and every how many of them for its derivatives.
const ITEM_SAMPLES: usize = 3000;
const COARSE_STEP: usize = 5;

pub(crate) struct Readings<'a, 's> {
    pub(crate) scene: &'s Scene<'a>,
    pub(crate) metric: bool,
    pub(crate) table: TableSamples,
    /// Which table samples lie in its plane; all of them until the camera is settled.
    pub(crate) on_table: Vec<bool>,
    /// What rims say of the slope of disparity; nothing until the camera is settled.
    pub(crate) slopes: Vec<SlopePrior>,
    pub(crate) dishes: Vec<DishSamples>,
    /// `None` for references without a measurable size.
    pub(crate) references: Vec<Option<RefSamples>>,
    pub(crate) items: Vec<Samples>,
    /// Every fifth sample of the items.
    pub(crate) coarse: Vec<Samples>,
}

impl<'a, 's> Readings<'a, 's> {
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
        let items: Vec<Samples> = scene
            .items
            .iter()
            .map(|r| Samples::of(r.mask, surface, ITEM_SAMPLES))
            .collect();
        Self {
            scene,
            metric: matches!(scene.depth, Depth::Metric { .. }),
            on_table: vec![true; table.points.len()],
            table,
            slopes: Vec::new(),
            dishes: scene
                .dishes
                .iter()
                .map(|d| DishSamples::collect(d.mask, d.kind, surface, scene.relief_sigma))
                .collect(),
            references: scene.references.iter().map(RefSamples::collect).collect(),
            coarse: items.iter().map(|s| s.thinned(COARSE_STEP)).collect(),
            items,
        }
    }

    /// `tilt_sigma` is in radians.
    pub(crate) fn fit_table(&self, view: &View, tilt_sigma: f64) -> Result<TableFit, GeometryError> {
        table_fit::fit(
            &self.table,
            &self.on_table,
            view,
            self.metric,
            &self.slopes,
            tilt_sigma,
        )
        .ok_or(GeometryError::TableNotVisible {
            samples: self.on_table.iter().filter(|k| **k).count(),
            needed: limits::TABLE_SAMPLES,
        })
    }
}
