//! Everything read from masks and raster once, independent of any camera.

use dragunov_models::Mask;

use crate::geometry::dish::samples::DishSamples;
use crate::geometry::error::GeometryError;
use crate::geometry::limits;
use crate::geometry::raster::clearance::Clearance;
use crate::geometry::raster::free_plane::free_plane;
use crate::geometry::raster::halo::HaloSamples;
use crate::geometry::raster::reference::RefSamples;
use crate::geometry::raster::samples::Samples;
use crate::geometry::raster::surface::Surface;
use crate::geometry::raster::table::TableSamples;
use crate::geometry::raster::table_fit::{self, FitErrors, SlopePrior, TableFit};
use crate::geometry::types::{Depth, Scene};
use crate::geometry::view::camera::View;

/// Samples per item for the answer, and every how many of them for its derivatives.
const ITEM_SAMPLES: usize = 3000;
const COARSE_STEP: usize = 5;

/// What is surer of its distances as a whole than this, sd of the logarithm, is a sensor; a network is less.
const SENSOR_SIGMA_LN: f64 = 0.05;

pub(crate) struct Readings<'a, 's> {
    pub(crate) scene: &'s Scene<'a>,
    pub(crate) metric: bool,
    /// By a sensor, with noise: neither true depth nor a network's.
    pub(crate) measured: bool,
    pub(crate) table: TableSamples,
    /// Which table samples lie in its plane; all of them until the camera is settled.
    pub(crate) on_table: Vec<bool>,
    /// What rims say of the slope of disparity; nothing until the camera is settled.
    pub(crate) slopes: Vec<SlopePrior>,
    /// Of a network's raster; empty for true depth.
    pub(crate) halo: HaloSamples,
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
        let size = [scene.camera.width, scene.camera.height];
        let foods = Clearance::of(scene.items.iter().map(|r| r.mask), size[0], size[1]);
        let halo = if scene.relief_sigma > 0.0 {
            HaloSamples::collect(surface, size, &near, &covered[near.len()..])
        } else {
            HaloSamples::default()
        };
        let measured = match scene.depth {
            Depth::Metric { scale_sigma_ln, .. } => {
                scene.relief_sigma > 0.0 && scale_sigma_ln < SENSOR_SIGMA_LN
            }
            Depth::Disparity(_) => false,
        };
        Self {
            scene,
            metric: matches!(scene.depth, Depth::Metric { .. }),
            measured,
            on_table: vec![true; table.points.len()],
            table,
            slopes: Vec::new(),
            halo,
            dishes: scene
                .dishes
                .iter()
                .map(|d| DishSamples::collect(d.mask, d.kind, surface, &foods, scene.relief_sigma, measured))
                .collect(),
            references: scene.references.iter().map(RefSamples::collect).collect(),
            coarse: items.iter().map(|s| s.thinned(COARSE_STEP)).collect(),
            items,
        }
    }

    /// `tilt_sigma` is in radians. What a network draws the table's plane off by becomes the alignment's trend.
    pub(crate) fn fit_table(&self, view: &View, tilt_sigma: f64) -> Result<TableFit, GeometryError> {
        let errors = FitErrors {
            relief: self.scene.relief_sigma,
            shift: self.scene.shift_sigma,
            tilt: tilt_sigma,
        };
        let mut fit = table_fit::fit(
            &self.table,
            &self.on_table,
            view,
            self.metric,
            &self.slopes,
            errors,
        )
        .ok_or(GeometryError::TableNotVisible {
            samples: self.on_table.iter().filter(|k| **k).count(),
            needed: limits::TABLE_SAMPLES,
        })?;
        if self.by_network()
            && let Some((plane, _)) = free_plane(&self.table, &self.on_table, view)
        {
            fit.alignment = fit.alignment.levelled(plane, view.down);
        }
        Ok(fit)
    }

    /// Whether the raster is a network's; false for true depth.
    pub(crate) fn by_network(&self) -> bool {
        self.scene.relief_sigma > 0.0
    }
}
