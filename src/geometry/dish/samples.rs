//! What is read of a dish once, before any camera is assumed.

use dragunov_models::Mask;

use super::profile::RINGS;
use crate::contract::DishKind;
use crate::geometry::raster::clearance::Clearance;
use crate::geometry::raster::outline::outline;
use crate::geometry::raster::surface::Surface;

/// Visible pixels of a dish, about.
const INSIDE_SAMPLES: f64 = 3000.0;
/// Points of its edge, about.
const EDGE_SAMPLES: usize = 400;
/// The raster is read this far inside of the edge, px: beside the edge it holds a mixture of dish and table.
const EDGE_INSET_PX: f64 = 2.5;
/// Where the rim is looked for in a network's raster besides, and how far food must be there, as shares of the photo's longer side.
const NETWORK_INSETS: [f64; 4] = [0.004, 0.007, 0.011, 0.015];
const CLEAR_OF_FOOD: f64 = 0.008;

#[derive(Debug, Clone)]
pub(crate) struct DishSamples {
    pub(crate) kind: DishKind,
    /// Visible pixels.
    pub(crate) inside: Vec<DishPixel>,
    /// Edge positions, and the disparity a little inside of each.
    pub(crate) edge: Vec<[f64; 3]>,
    /// Edge points that lie on the rim; set by the first fit.
    pub(crate) on_rim: Vec<bool>,
    /// Error of the raster's heights, sd in camera heights; 0 for true depth.
    pub(crate) relief_sigma: f64,
    /// The raster is a sensor's: it shows the section as it is, if not sharply.
    pub(crate) measured: bool,
    /// Of the mask, in pixels.
    area: f64,
    /// Nearer to food than this the raster holds a mixture of food and dish, px; set by the first fit.
    pub(crate) halo_px: f64,
}

/// One visible pixel of a dish: its middle, its disparity, and how far the nearest food is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DishPixel {
    pub(crate) at: [f64; 2],
    pub(crate) d: f64,
    pub(crate) clearance_px: f64,
}

impl DishSamples {
    pub(crate) fn collect(
        mask: &Mask,
        kind: DishKind,
        surface: &Surface<'_>,
        foods: &Clearance,
        relief_sigma: f64,
        measured: bool,
    ) -> Self {
        let edge = edge(mask, surface, foods, relief_sigma > 0.0);
        Self {
            kind,
            inside: inside(mask, surface, foods),
            on_rim: vec![true; edge.len()],
            edge,
            relief_sigma,
            measured,
            area: mask.area() as f64,
            halo_px: 0.0,
        }
    }

    /// Pixels that show one ring of the section, about.
    pub(crate) fn ring_px(&self) -> f64 {
        self.area / RINGS as f64
    }
}

fn inside(mask: &Mask, surface: &Surface<'_>, foods: &Clearance) -> Vec<DishPixel> {
    let stride = ((mask.area() as f64 / INSIDE_SAMPLES).sqrt().round() as usize).max(1);
    let mut inside = Vec::with_capacity(4000);
    mask.for_each_run(|x, a, b| {
        if x % stride == 0 {
            for y in (a.next_multiple_of(stride)..b).step_by(stride) {
                let d = surface.at(x, y);
                if d.is_finite() {
                    inside.push(DishPixel {
                        at: [x as f64 + 0.5, y as f64 + 0.5],
                        d,
                        clearance_px: foods.px(x, y),
                    });
                }
            }
        }
    });
    inside
}

/// Edge positions with the disparity of the rim at each. A network smears the step from the table up to the rim over the rim
/// itself, so that it is highest a little further inside; what food covers or touches is passed over.
fn edge(mask: &Mask, surface: &Surface<'_>, foods: &Clearance, by_network: bool) -> Vec<[f64; 3]> {
    let edge = outline(mask);
    let stride = (edge.len() / EDGE_SAMPLES).max(1);
    let centre = mask
        .bbox()
        .map_or([0.0; 2], |b| [(b.x0 + b.x1) / 2.0, (b.y0 + b.y1) / 2.0]);
    let side = mask.width().max(mask.height()) as f64;
    edge.iter()
        .step_by(stride)
        .filter_map(|p| {
            let (dx, dy) = (centre[0] - p[0], centre[1] - p[1]);
            let inset = |px: f64| {
                let t = (px / dx.hypot(dy)).min(1.0);
                let x = ((p[0] + dx * t) as usize).min(mask.width() - 1);
                let y = ((p[1] + dy * t) as usize).min(mask.height() - 1);
                (x, y)
            };
            let (x, y) = inset(EDGE_INSET_PX);
            let mut d = surface.at(x, y);
            if by_network {
                for share in NETWORK_INSETS {
                    let (x, y) = inset(share * side);
                    if foods.px(x, y) < CLEAR_OF_FOOD * side {
                        break;
                    }
                    d = d.max(surface.at(x, y));
                }
            }
            d.is_finite().then_some([p[0], p[1], d])
        })
        .collect()
}
