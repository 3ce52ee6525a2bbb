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
}

impl Sighting {
    /// Every item of a photo, in order.
    pub(super) fn all(scene: &MeasuredScene, foods: &FoodTable) -> Vec<Self> {
        let fit = &scene.geometry.camera;
        let view = View::new(fit.camera, &fit.gravity);
        let height_cm = scene.geometry.scale.camera_height_cm.p50;
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
