//! An item as one photo shows it, in terms that two photos share.

use std::collections::BTreeMap;

use dragunov_models::Mask;

use crate::geometry::View;
use crate::identify::Identified;
use crate::nutrition::FoodTable;
use crate::pipeline::measure::MeasuredScene;

/// Place of an item's middle on the table is off by this, cm, and by this share of the item's width.
const PLACE_SIGMA_CM: f64 = 1.5;
const PLACE_SIGMA_SHARE: f64 = 0.2;
/// The same of a well-drawn item, from which the photos' turn is told. On 24 rendered meals true middles of items were 1.0 cm apart under
/// the best turn, in each direction, and those of dishes 1.9.
const TIE_SIGMA_CM: f64 = 0.6;
const TIE_SIGMA_SHARE: f64 = 0.05;
/// Rims stand about this high over the table, cm; so far off is a rim's middle, cm.
const RIM_HEIGHT_CM: f64 = 2.0;
const RIM_SIGMA_CM: f64 = 1.2;

/// All of a photo that tells from which side it was taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// In the photo's order.
    pub(super) items: Vec<Sighting>,
    pub(super) rims: Vec<Rim>,
}

/// The rim of a dish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rim {
    pub(super) middle: [f64; 2],
    pub(super) radius_cm: f64,
    pub(super) sigma_cm: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Sighting {
    /// Probability by food of the table, or by label where the table has none.
    pub(super) names: BTreeMap<String, f64>,
    pub(super) category: String,
    pub(super) ln_cm3: f64,
    pub(super) sigma_ln: f64,
    /// On the table, cm; the axes are the photo's own.
    pub(super) place: [f64; 2],
    pub(super) place_sigma_cm: f64,
    pub(super) tie_sigma_cm: f64,
    /// Half the width of what it covers.
    pub(super) reach_cm: f64,
}

impl Seen {
    pub(super) fn of(scene: &MeasuredScene, foods: &FoodTable) -> Self {
        let fit = &scene.geometry.camera;
        let view = View::new(fit.camera, &fit.gravity);
        let height_cm = scene.geometry.scale.camera_height_cm.p50;
        Self {
            items: Sighting::all(scene, foods, &view, height_cm),
            rims: (scene.geometry.rims.iter())
                .filter_map(|rim| Rim::of(rim, &view, height_cm))
                .collect(),
        }
    }
}

impl Rim {
    /// Of a closed line in pixels; none where it leaves the table's side of the horizon.
    fn of(line: &[[f64; 2]], view: &View, height_cm: f64) -> Option<Self> {
        let on_table = |&[u, v]: &[f64; 2]| {
            let below = view.q(u, v) > 0.05;
            below.then(|| {
                view.on_level(u, v, RIM_HEIGHT_CM / height_cm)
                    .map(|c| c * height_cm)
            })
        };
        let points: Vec<[f64; 2]> = line.iter().map(on_table).collect::<Option<_>>()?;
        let n = points.len() as f64;
        let middle = [0, 1].map(|k| points.iter().map(|p| p[k]).sum::<f64>() / n);
        let radius_cm = points
            .iter()
            .map(|p| (p[0] - middle[0]).hypot(p[1] - middle[1]))
            .sum::<f64>()
            / n;
        (radius_cm.is_finite() && radius_cm > 0.0).then_some(Self {
            middle,
            radius_cm,
            sigma_cm: RIM_SIGMA_CM,
        })
    }
}

impl Sighting {
    /// Every item of a photo, in order.
    fn all(scene: &MeasuredScene, foods: &FoodTable, view: &View, height_cm: f64) -> Vec<Self> {
        scene
            .regions
            .foods
            .iter()
            .zip(&scene.geometry.items)
            .map(|(food, item)| {
                let [u, v] = middle(&food.mask);
                let level = 0.5 * item.mean_height_cm / height_cm;
                let width_cm = item.footprint_cm2.max(0.0).sqrt();
                Self {
                    names: names(&food.identity, foods),
                    category: foods.lookup(&food.identity.label).food.category.clone(),
                    ln_cm3: item.volume_cm3.p50.ln(),
                    sigma_ln: item.volume_sigma_ln.own.hypot(item.volume_sigma_ln.shared),
                    place: view.on_level(u, v, level).map(|c| c * height_cm),
                    place_sigma_cm: PLACE_SIGMA_CM + PLACE_SIGMA_SHARE * width_cm,
                    tie_sigma_cm: TIE_SIGMA_CM + TIE_SIGMA_SHARE * width_cm,
                    reach_cm: 0.5 * width_cm,
                }
            })
            .collect()
    }
}

fn names(identity: &Identified, foods: &FoodTable) -> BTreeMap<String, f64> {
    let mut names = BTreeMap::new();
    let alternatives = identity
        .alternatives
        .iter()
        .map(|(label, p)| (label.as_str(), *p));
    for (label, p) in std::iter::once((identity.label.as_str(), identity.confidence)).chain(alternatives) {
        if label == Identified::UNKNOWN {
            continue;
        }
        let id = foods
            .lookup(label)
            .food
            .id
            .as_ref()
            .map(|id| id.as_str().to_owned());
        *names.entry(id.unwrap_or_else(|| label.to_owned())).or_insert(0.0) += p.clamp(0.0, 1.0);
    }
    names
}

/// Mean of a mask's pixel centres.
fn middle(mask: &Mask) -> [f64; 2] {
    let (mut x, mut y, mut n) = (0.0, 0.0, 0.0);
    mask.for_each_run(|column, from, to| {
        let count = (to - from) as f64;
        x += count * (column as f64 + 0.5);
        y += count * 0.5 * (from + to) as f64;
        n += count;
    });
    if n > 0.0 { [x / n, y / n] } else { [0.0; 2] }
}
