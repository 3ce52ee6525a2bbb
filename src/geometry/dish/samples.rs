//! What is read of a dish once, before any camera is assumed.

use dragunov_models::Mask;

use crate::contract::DishKind;
use crate::geometry::raster::outline::outline;
use crate::geometry::raster::surface::Surface;

/// Visible pixels of a dish, about.
const INSIDE_SAMPLES: f64 = 3000.0;
/// Points of its edge, about.
const EDGE_SAMPLES: usize = 400;
/// The raster is read this far inside of the edge, px: beside the edge it holds a mixture of dish and table.
const EDGE_INSET_PX: f64 = 2.5;

#[derive(Debug, Clone)]
pub(crate) struct DishSamples {
    pub(crate) kind: DishKind,
    /// Position and disparity of visible pixels.
    pub(crate) inside: Vec<[f64; 3]>,
    /// Edge positions, and the disparity a little inside of each.
    pub(crate) edge: Vec<[f64; 3]>,
    /// Edge points that lie on the rim; set by the first fit.
    pub(crate) on_rim: Vec<bool>,
    /// Error of the raster's heights, sd in camera heights; 0 for true depth.
    pub(crate) relief_sigma: f64,
}

impl DishSamples {
    pub(crate) fn collect(mask: &Mask, kind: DishKind, surface: &Surface<'_>, relief_sigma: f64) -> Self {
        let edge = edge(mask, surface);
        Self {
            kind,
            inside: inside(mask, surface),
            on_rim: vec![true; edge.len()],
            edge,
            relief_sigma,
        }
    }
}

fn inside(mask: &Mask, surface: &Surface<'_>) -> Vec<[f64; 3]> {
    let stride = ((mask.area() as f64 / INSIDE_SAMPLES).sqrt().round() as usize).max(1);
    let mut inside = Vec::with_capacity(4000);
    mask.for_each_run(|x, a, b| {
        if x % stride == 0 {
            for y in (a.next_multiple_of(stride)..b).step_by(stride) {
                let d = surface.at(x, y);
                if d.is_finite() {
                    inside.push([x as f64 + 0.5, y as f64 + 0.5, d]);
                }
            }
        }
    });
    inside
}

fn edge(mask: &Mask, surface: &Surface<'_>) -> Vec<[f64; 3]> {
    let edge = outline(mask);
    let stride = (edge.len() / EDGE_SAMPLES).max(1);
    let centre = mask
        .bbox()
        .map_or([0.0; 2], |b| [(b.x0 + b.x1) / 2.0, (b.y0 + b.y1) / 2.0]);
    edge.iter()
        .step_by(stride)
        .filter_map(|p| {
            let (dx, dy) = (centre[0] - p[0], centre[1] - p[1]);
            let t = (EDGE_INSET_PX / dx.hypot(dy)).min(1.0);
            let x = ((p[0] + dx * t) as usize).min(mask.width() - 1);
            let y = ((p[1] + dy * t) as usize).min(mask.height() - 1);
            let d = surface.at(x, y);
            d.is_finite().then_some([p[0], p[1], d])
        })
        .collect()
}
