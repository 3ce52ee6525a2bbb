//! What `measure` is given and what it answers.

use dragunov_models::{Mask, MetricDepth, RelativeDisparity};

use crate::contract::result::{PlaneFit, ScaleInfo, VolumeBounds, VolumeSigma};
use crate::contract::{DishKind, Estimated, ItemFlag, ReferenceKind, TiltSource, Warning};
use crate::geometry::view::camera::CameraModel;
use crate::geometry::view::gravity::Gravity;

/// One photo as geometry sees it. All masks are in pixels of the upright photo and do not overlap.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    pub camera: CameraModel,
    /// `None`: found from the ellipse of a plate or coin, or taken as straight down with a wide sigma.
    pub gravity: Option<Gravity>,
    pub depth: Depth<'a>,
    pub items: Vec<Region<'a>>,
    pub dishes: Vec<Dish<'a>>,
    pub references: Vec<RefObject<'a>>,
    /// Everything else that is not table: cutlery, glasses, napkins, the room beyond.
    pub others: Vec<&'a Mask>,
    /// Height of the lens over the table as sent by the client.
    pub camera_height_cm: Option<Estimated>,
    /// How far heights in the raster are off by the network's own error, sd in camera heights; 0 for true depth.
    pub relief_sigma: f64,
    /// Shift of relative disparity, sd as a share of the table's.
    pub shift_sigma: f64,
    /// How far the widths of masks are off by the network's own error, relative sd; 0 for true masks.
    pub outline_sigma: f64,
    /// How far the tilt of the table in the raster is off, its shift taken for 0, sd in degrees.
    pub table_tilt_sigma_deg: f64,
    pub seed: u64,
}

/// A depth raster over the whole photo, at any resolution.
#[derive(Debug, Clone, Copy)]
pub enum Depth<'a> {
    Disparity(&'a RelativeDisparity),
    /// `scale_sigma_ln`: standard deviation of ln(true / given) over the photo; 0 for a rig or a rendering.
    Metric {
        depth: &'a MetricDepth,
        scale_sigma_ln: f64,
    },
}

/// One item of food: a mask of what is visible of it, and what its label implies.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    pub mask: &'a Mask,
    pub shape: ShapeClass,
    /// Its usual size; none: the volume rests on depth alone.
    pub portion: Option<Portion>,
}

/// The kind of solid that a food's label implies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeClass {
    /// Ball or ellipsoid resting on its underside: whole fruit, egg, meatball. Taken for [`Self::Cup`] when its top
    /// is seen to be flat, because fruit and potatoes are often served cut in half.
    Ball,
    /// Round in section but tapering or bent off the plate: banana, croissant, drumstick.
    Tapered,
    /// Straight lying cylinder: sausage, corn cob.
    Rod,
    /// Ball cut in half, flat side up: half egg, half avocado.
    Cup,
    /// Ball cut in half or cap, flat side down: bread roll, dumpling.
    Dome,
    /// Steep sides and a flat base: cake, steak, cut slices, tofu.
    Slab,
    /// Slab with round sides: nugget, doughnut, pancakes, thick slices of round things.
    RoundedSlab,
    /// Heap of grains, strands, leaves or mash: gaps and ridges hide each other, but are filled behind.
    Pile,
    /// Head on a narrower stalk: broccoli, cauliflower.
    Cluster,
    /// Level surface; in a bowl the bowl gives the shape.
    Liquid,
    /// Nothing known.
    #[default]
    Unknown,
}

/// Usual size of a portion of one food on a plate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Portion {
    /// Plan area of what lies there, geometric mean.
    pub area_cm2: f64,
    pub area_sigma_ln: f64,
    /// Volume over plan area at that area, geometric mean.
    pub height_cm: f64,
    /// Spread of it among things of the same area.
    pub height_sigma_ln: f64,
}

/// Something that carries food. The mask holds its visible part, with or without the food on it.
#[derive(Debug, Clone, Copy)]
pub struct Dish<'a> {
    pub mask: &'a Mask,
    pub kind: DishKind,
    /// Outer diameter where it is known.
    pub diameter_cm: Option<f64>,
}

/// A thing of known size lying on the table.
#[derive(Debug, Clone, Copy)]
pub struct RefObject<'a> {
    pub mask: &'a Mask,
    /// A plate is measured as a [`Dish`]; here it gives nothing.
    pub kind: ReferenceKind,
    /// Of a coin; a coin of unknown diameter gives no scale.
    pub diameter_cm: Option<f64>,
}

/// The camera after everything seen has corrected it.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraFit {
    pub camera: CameraModel,
    /// Refined; its sigmas are what is left.
    pub gravity: Gravity,
    /// What decided the tilt; what came first, then what refined it.
    pub tilt_source: Vec<TiltSource>,
    pub tilt_from_circle_deg: Option<f64>,
}

/// Volume of one item and how sure it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemGeometry {
    pub volume_cm3: Estimated,
    /// The two integrals before the shape's correction.
    pub bounds: VolumeBounds,
    pub mean_height_cm: f64,
    pub max_height_cm: f64,
    pub footprint_cm2: f64,
    /// Share of the depth raster in the volume; the rest is by outline and usual shape.
    pub depth_share: f64,
    /// Index of the dish it lies on.
    pub dish: Option<usize>,
    pub flags: Vec<ItemFlag>,
    /// Why it cannot be as large as that; such an item has the flag `implausible` and no number of it may be shown.
    pub implausible: Option<String>,
    pub volume_sigma_ln: VolumeSigma,
}

/// The answer, one entry of `items` for each region of the scene in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub items: Vec<ItemGeometry>,
    /// Rims of plates and bowls as closed lines, in pixels of the photo.
    pub rims: Vec<Vec<[f64; 2]>>,
    pub camera: CameraFit,
    pub scale: ScaleInfo,
    pub plane_fit: PlaneFit,
    pub warnings: Vec<Warning>,
}
