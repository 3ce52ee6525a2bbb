//! What is usual before anything is measured: sizes of ware, heights of cameras, portions. Each value has its spread and says
//! what it was set on.
//!
//! "Scenes" are the 245 rendered development scenes, whose ware and foods are known exactly. Figures after a colon are
//! geometric means and standard deviations of the logarithm there.

use super::types::Portion;
use crate::contract::DishKind;

/// A usual value and how far single cases are off it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    pub value: f64,
    /// Standard deviation, on `scale`.
    pub sigma: f64,
    pub scale: Scale,
    pub source: &'static str,
}

/// What a [`Prior`]'s sigma is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The value's natural logarithm: about the relative error.
    Log,
    /// The value's own unit.
    Linear,
}

const fn log(value: f64, sigma: f64, source: &'static str) -> Prior {
    Prior {
        value,
        sigma,
        scale: Scale::Log,
        source,
    }
}

const fn linear(value: f64, sigma: f64, source: &'static str) -> Prior {
    Prior {
        value,
        sigma,
        scale: Scale::Linear,
        source,
    }
}

// Scale.

/// Outer diameter of a plate, cm.
pub const PLATE_DIAMETER_CM: Prior = log(
    26.5,
    0.10,
    "197 plates of the scenes: 26.8 cm, 0.11; dinner plates are sold at 25 to 28 cm",
);

/// Outer diameter of a bowl, cm.
pub const BOWL_DIAMETER_CM: Prior = log(15.0, 0.18, "53 bowls of the scenes: 15.2 cm, 0.17");

/// Longer side of a board, cm.
pub const BOARD_LENGTH_CM: Prior = log(
    34.0,
    0.2,
    "20 boards of the scenes: 33.3 cm, 0.11; the sigma is wider, because real boards vary more",
);

/// Lens over table, cm.
pub const CAMERA_HEIGHT_CM: Prior = log(
    38.0,
    0.3,
    "assumed: photos of meals are taken by hand from 30 to 50 cm; the scenes: 33.6 cm, 0.24",
);

/// Volume of one item of food off bowls whose plan has no usual area, cm3.
pub const ITEM_VOLUME_CM3: Prior = log(110.0, 0.87, "601 foods off bowls of the scenes: 97 cm3, 0.76");

/// Volume of what one bowl holds, cm3.
pub const BOWL_VOLUME_CM3: Prior = log(
    250.0,
    0.87,
    "assumed, with the spread of other items; 53 bowls of the scenes: 312 cm3, 0.51",
);

/// How far the usual portions themselves are off those of another place, sd of ln(camera height).
pub(crate) const PORTIONS_SIGMA_LN: f64 = 0.12;

/// Heights from which photos of meals are taken, cm. A scale beyond loses certainty by how far beyond it is: a wrong
/// diameter was stated, or another thing was taken for the plate.
pub(crate) const CAMERA_HEIGHT_RANGE_CM: std::ops::RangeInclusive<f64> = 15.0..=90.0;

/// A stated diameter against the rim's outer edge, sd of the logarithm.
pub(crate) const STATED_DIAMETER_SIGMA_LN: f64 = 0.008;

/// Upper edge of a coin over the table, cm: that edge is seen.
pub(crate) const COIN_EDGE_CM: f64 = 0.18;

/// Middle of a card's thickness over the table, cm.
pub(crate) const CARD_EDGE_CM: f64 = 0.08;

/// Sides and area of an ID-1 card, cm (ISO/IEC 7810); its rounded corners of 3.18 mm take 0.55 % of the area.
pub(crate) const CARD_SIDES_CM: [f64; 2] = [8.56, 5.398];
pub(crate) const CARD_CORNERS: f64 = 0.9945;

/// Shift of a network's disparity as a share of the table's disparity: either sign, up to half the raster's range. A checkpoint
/// set's calibration knows its own sigma.
pub const DISPARITY_SHIFT: Prior = linear(0.0, 0.35, "assumed: half of the raster's range at most");

/// How much more or less a network lets single things rise than the whole table of the same photo, sd of the logarithm.
pub const RELIEF_GAIN: Prior = log(
    1.0,
    0.18,
    "plate-tiny's depth on the 49 held-out scenes: the error of high foods over that of low ones",
);

// Ware.

/// Height of a plate's rim over the table as a share of the outer diameter.
pub const PLATE_RIM_HEIGHT: Prior = log(0.074, 0.3, "197 plates of the scenes: 0.079, 0.20");

/// Height of a bowl's rim over the table as a share of the outer diameter.
pub const BOWL_RIM_HEIGHT: Prior = log(0.38, 0.2, "53 bowls of the scenes: 0.40, 0.14");

/// Height of the rim over the table as a share of the outer diameter. `None` for boards.
pub(crate) const fn rim_height(kind: DishKind) -> Option<Prior> {
    match kind {
        DishKind::Plate => Some(PLATE_RIM_HEIGHT),
        DishKind::Bowl => Some(BOWL_RIM_HEIGHT),
        DishKind::Board => None,
    }
}

/// Height of the well over the table as a share of the rim's radius: foot and thickness of ware.
pub(crate) const fn well_height(kind: DishKind) -> f64 {
    match kind {
        // 53 bowls of the scenes: 0.098, sd 0.02.
        DishKind::Bowl => 0.09,
        // 197 plates of the scenes: 0.049, sd 0.007.
        DishKind::Plate | DishKind::Board => 0.05,
    }
}

/// Base over the table of ware whose rim is not seen, in camera heights.
pub const BASE_HEIGHT: Prior = linear(
    0.02,
    0.008,
    "6 to 7 mm of foot and thickness from 33 cm; the spread by the wells of the scenes",
);

/// How far sections of ware are off the typical one, sd of the logarithm of their height over the table.
pub(crate) const WARE_SIGMA_LN: f64 = 0.25;

/// How far the inner profile of a plate is off the typical section, sd in camera heights: as for a base without a rim.
pub(crate) const PLATE_SECTION_SIGMA: f64 = BASE_HEIGHT.sigma;

/// Upper side of a board over the table, in camera heights.
pub const BOARD_HEIGHT: Prior = linear(
    0.05,
    0.015,
    "20 boards of the scenes: 0.054, 0.011; the sigma is wider, because real boards vary more",
);

/// Sd of the height of a bare table under food, in camera heights.
pub(crate) const TABLE_SIGMA: f64 = 0.002;

/// Power of the distance from the foot by which the wall of a bowl rises.
pub const BOWL_WALL_POWER: Prior = linear(1.85, 0.35, "53 bowls of the scenes");

/// The same for the lip of a plate.
pub(crate) const PLATE_WALL_POWER: f64 = 1.2;

/// Where the wall begins in a typical section, as a share of the rim's radius.
pub(crate) const fn foot_radius(kind: DishKind) -> f64 {
    match kind {
        DishKind::Bowl => 0.35,
        DishKind::Plate | DishKind::Board => 0.62,
    }
}

/// How far inner profiles of bowls are off the typical section, sd as a share of the rim's radius.
pub(crate) const BOWL_SECTION_SIGMA: f64 = 0.1;

/// True width of a bowl over how wide its edge looks where food hides most of the rim: 11 of the 53 bowls of the scenes.
pub(crate) const BOWL_WIDTH_HIDDEN: f64 = 1.06;

// Portions.

/// Larger things of a kind are higher, by this power of their plan area: 0.5 would be similar shapes, 0 equal thickness. The
/// slope within the foods of the training scenes (`fixtures/generate/portions.py` prints it).
pub(crate) const HEIGHT_GROWTH: f64 = 0.07;

/// Food in a bowl, over the area of its surface. The geometric mean of the height is 2.4 cm; with it 41 bowls of the training
/// scenes, true masks and the network's depth given, come out 28 % low (median), with this one 19 %.
pub const IN_BOWL: Portion = Portion {
    area_cm2: 130.0,
    area_sigma_ln: 0.4,
    height_cm: 3.05,
    height_sigma_ln: 0.35,
};

/// Error of the plan area that an outline and a usual height give, sd of the logarithm.
pub(crate) const PLAN_AREA_SIGMA_LN: f64 = 0.15;

/// Mean height of food of which neither relief nor label says anything, cm: volume over footprint of scanned foods of very
/// different kinds is 1.8 to 2.5 cm.
pub(crate) const FOOD_HEIGHT_CM: f64 = 2.0;

/// Every [`Prior`] with its name and unit, as `docs/geometry.md` lists them.
pub const ALL: &[(&str, Prior)] = &[
    ("plate diameter, cm", PLATE_DIAMETER_CM),
    ("bowl diameter, cm", BOWL_DIAMETER_CM),
    ("board length, cm", BOARD_LENGTH_CM),
    ("camera height, cm", CAMERA_HEIGHT_CM),
    ("volume of an item off bowls, cm3", ITEM_VOLUME_CM3),
    ("volume in a bowl, cm3", BOWL_VOLUME_CM3),
    ("rim height of a plate, share of its diameter", PLATE_RIM_HEIGHT),
    ("rim height of a bowl, share of its diameter", BOWL_RIM_HEIGHT),
    ("base without a rim, camera heights", BASE_HEIGHT),
    ("board, camera heights", BOARD_HEIGHT),
    (
        "wall of a bowl, power of the distance from the foot",
        BOWL_WALL_POWER,
    ),
    ("shift of the disparity, share of the table's", DISPARITY_SHIFT),
    ("exaggeration of a network's relief", RELIEF_GAIN),
];
