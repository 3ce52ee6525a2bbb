//! A dish under one view, in camera heights: its rim's circle, and the base that it gives the food.

use super::frame::Frame;
use super::profile::{Profile, RINGS, Rings, Section};
use super::rim;
use super::samples::DishSamples;
use crate::contract::DishKind;
use crate::geometry::math::circle::Circle;
use crate::geometry::math::stats::{inverse_variance_mean, quantile};
use crate::geometry::priors::{BASE_HEIGHT, BOARD_HEIGHT, TABLE_SIGMA};
use crate::geometry::raster::surface::Alignment;
use crate::geometry::view::camera::View;

/// Pixels this share of the radius inside the rim, as the camera sees it, show the inside and not the outer wall.
const INSIDE_RIM: f64 = 0.02;
/// Sd of a level base: of a board, and of a plate whose rim is not seen.
const BOARD_SIGMA: f64 = 0.003;
const LEVEL_PLATE_SIGMA: f64 = 0.01;
/// Quantile of a level dish's heights that is its base: a board is level; of a plate the low part is the well.
const BOARD_QUANTILE: f64 = 0.5;
const WELL_QUANTILE: f64 = 0.15;
/// Share of the rim's circle that must be seen to draw it.
const DRAWN_COVERAGE: f64 = 0.3;

#[derive(Debug, Clone)]
pub(crate) struct DishModel {
    pub(crate) kind: DishKind,
    form: Form,
    /// Sd of the base height where it is not seen.
    base_sigma: f64,
}

/// What is known of a dish's form.
#[derive(Debug, Clone)]
enum Form {
    /// A surface of revolution with its rim at this height.
    Round {
        circle: Circle,
        rim: f64,
        profile: Box<Profile>,
    },
    /// Boards, and ware whose rim is too hidden: level at this height.
    Level { height: f64, frame: Option<Frame> },
}

/// The support under an item: height over the table by ground position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'a> {
    Table,
    Dish(&'a DishModel),
}

impl Base<'_> {
    pub(crate) fn at(&self, ground: [f64; 2]) -> f64 {
        match self {
            Self::Table => 0.0,
            Self::Dish(dish) => dish.base(ground),
        }
    }

    /// Sd of the base under an item.
    pub(crate) fn sigma(&self) -> f64 {
        match self {
            Self::Table => TABLE_SIGMA,
            Self::Dish(dish) => dish.base_sigma,
        }
    }
}

/// Heights of the visible inside of a dish.
struct Inside {
    all: Vec<f64>,
    rings: Rings,
    /// Ground positions.
    spots: Vec<[f64; 2]>,
}

impl Inside {
    fn read(dish: &DishSamples, view: &View, alignment: Alignment, rim: Option<(&Circle, f64)>) -> Self {
        let mut out = Self {
            all: Vec::with_capacity(dish.inside.len()),
            rings: std::array::from_fn(|_| Vec::new()),
            spots: Vec::new(),
        };
        for p in &dish.inside {
            let [u, v] = p.at;
            let zeta = alignment.zeta(p.d, view.camera.ray(u, v));
            let height = view.height(u, v, zeta);
            if !(zeta > 0.0 && height > -0.1 && height < 0.7) {
                continue;
            }
            let ground = view.on_level(u, v, height);
            if rim.is_none() {
                out.spots.push(ground);
            }
            if p.clearance_px < dish.halo_px {
                continue;
            }
            out.all.push(height);
            let Some((circle, rim)) = rim else { continue };
            let through = view.on_level(u, v, rim);
            if circle.offset(&through) < -INSIDE_RIM * circle.radius {
                let ring = (circle.offset(&ground) / circle.radius + 1.0) * RINGS as f64;
                if ring >= 0.0 && (ring as usize) < RINGS {
                    out.rings[ring as usize].push(height);
                }
            }
        }
        out
    }
}

impl DishModel {
    pub(crate) fn new(dish: &DishSamples, view: &View, alignment: Alignment) -> Self {
        let (circle, rim) = rim::fit(dish, view, alignment);
        let mut inside = Inside::read(dish, view, alignment, circle.as_ref().map(|c| (c, rim)));
        let (form, base_sigma) = if let Some(circle) = circle {
            let section = Section {
                kind: dish.kind,
                rim,
                radius: circle.radius,
                relief_sigma: dish.relief_sigma,
                measured: dish.measured,
            };
            let (profile, sigma) = section.profile(&mut inside.rings);
            let form = Form::Round {
                circle,
                rim,
                profile: Box::new(profile),
            };
            (form, sigma)
        } else {
            let (share, sigma, usual) = match dish.kind {
                DishKind::Board => (BOARD_QUANTILE, BOARD_SIGMA, BOARD_HEIGHT),
                DishKind::Plate | DishKind::Bowl => (WELL_QUANTILE, LEVEL_PLATE_SIGMA, BASE_HEIGHT),
            };
            let seen = quantile(&mut inside.all, share).map(|y| y.max(0.0));
            let (height, sigma) = match seen {
                Some(seen) if dish.relief_sigma > 0.0 && !dish.measured => {
                    let both = inverse_variance_mean((seen, dish.relief_sigma), (usual.value, usual.sigma));
                    (both, usual.sigma)
                }
                Some(seen) => (seen, sigma),
                None => (usual.value, usual.sigma),
            };
            let form = Form::Level {
                height,
                frame: Frame::of(&inside.spots),
            };
            (form, sigma)
        };
        Self {
            kind: dish.kind,
            form,
            base_sigma,
        }
    }

    /// The rim's circle; `None` for boards and for rims that are too hidden.
    pub(crate) fn circle(&self) -> Option<&Circle> {
        match &self.form {
            Form::Round { circle, .. } => Some(circle),
            Form::Level { .. } => None,
        }
    }

    /// Height of the rim, where it has a circle.
    pub(crate) fn rim(&self) -> Option<f64> {
        match &self.form {
            Form::Round { rim, .. } => Some(*rim),
            Form::Level { .. } => None,
        }
    }

    /// The rim's circle and the inner profile.
    pub(crate) fn section(&self) -> Option<(&Circle, &Profile)> {
        match &self.form {
            Form::Round { circle, profile, .. } => Some((circle, profile)),
            Form::Level { .. } => None,
        }
    }

    fn base(&self, ground: [f64; 2]) -> f64 {
        match &self.form {
            Form::Round { circle, profile, .. } => profile.height(circle, ground),
            Form::Level { height, .. } => *height,
        }
    }

    /// The rim's circle as the camera sees it; `None` where the rim was not well seen.
    pub(crate) fn rim_pixels(&self, view: &View) -> Option<Vec<[f64; 2]>> {
        let Form::Round { circle, rim, .. } = &self.form else {
            return None;
        };
        if circle.coverage < DRAWN_COVERAGE {
            return None;
        }
        (0..96)
            .map(|i| {
                let (s, c) = (f64::from(i) / 96.0 * std::f64::consts::TAU).sin_cos();
                let ground = [
                    circle.centre[0] + circle.radius * c,
                    circle.centre[1] + circle.radius * s,
                ];
                view.pixel_of(ground, *rim)
            })
            .collect()
    }

    /// Whether something standing at this ground position stands on the dish.
    pub(crate) fn carries(&self, ground: [f64; 2]) -> bool {
        match &self.form {
            Form::Round { circle, .. } => circle.offset(&ground) < 0.0,
            Form::Level { frame, .. } => frame.is_some_and(|f| f.contains(ground)),
        }
    }

    /// Half of the longer side of a board.
    pub(crate) fn half_length(&self) -> Option<f64> {
        match &self.form {
            Form::Level { frame, .. } => frame.map(|f| f.half_length()),
            Form::Round { .. } => None,
        }
    }

    /// Size for choosing the innermost of nested dishes.
    pub(crate) fn extent(&self) -> f64 {
        match &self.form {
            Form::Round { circle, .. } => circle.radius,
            Form::Level { frame, .. } => frame.map_or(f64::INFINITY, |f| f.half_axis()),
        }
    }
}

#[cfg(test)]
impl DishModel {
    /// A bowl of usual section with its rim at this height.
    pub(crate) fn usual_bowl(circle: Circle, rim: f64) -> Self {
        let section = Section {
            kind: DishKind::Bowl,
            rim,
            radius: circle.radius,
            relief_sigma: 0.0,
            measured: false,
        };
        let (profile, base_sigma) = section.profile(&mut std::array::from_fn(|_| Vec::new()));
        let profile = Box::new(profile);
        Self {
            kind: DishKind::Bowl,
            form: Form::Round { circle, rim, profile },
            base_sigma,
        }
    }
}
