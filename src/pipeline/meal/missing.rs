//! Where a photo must show what it was not found to show: the outline of a food of another photo, carried over the table.

use dragunov_models::Mask;

use super::matching::{Grouping, Pose, SURE_CM};
use crate::geometry::{ItemGeometry, View};
use crate::pipeline::measure::MeasuredScene;

/// Outlines of less, as a share of the photo, are not looked for.
const MIN_AREA_SHARE: f64 = 0.0008;
/// An outline of which more is taken by other foods is hidden behind them, or is one of them.
const MAX_TAKEN_SHARE: f64 = 0.5;

/// A food that one photo shows and another one must show.
#[derive(Debug)]
pub(in crate::pipeline) struct Missing {
    /// Where it is to be looked for.
    pub(in crate::pipeline) photo: usize,
    /// Where it should lie there, in that photo's pixels.
    pub(in crate::pipeline) outline: Mask,
}

/// A photo's camera over its table.
struct Over {
    view: View,
    height_cm: f64,
}

impl Over {
    fn of(scene: &MeasuredScene) -> Self {
        let fit = &scene.geometry.camera;
        Self {
            view: View::new(fit.camera, &fit.gravity),
            height_cm: scene.geometry.scale.camera_height_cm.p50,
        }
    }

    /// Where a pixel's ray meets a level over the table, cm; none at the horizon.
    fn on_level(&self, u: f64, v: f64, level_cm: f64) -> Option<[f64; 2]> {
        let seen = self.view.q(u, v) > 0.05 && level_cm < self.height_cm;
        seen.then(|| (self.view.on_level(u, v, level_cm / self.height_cm)).map(|c| c * self.height_cm))
    }

    fn pixel_of(&self, place: [f64; 2], level_cm: f64) -> Option<[f64; 2]> {
        self.view
            .pixel_of(place.map(|c| c / self.height_cm), level_cm / self.height_cm)
    }
}

/// Of every photo of the meal, in the order of the photos.
pub(super) fn all(grouping: &Grouping, scenes: &[&MeasuredScene]) -> Vec<Missing> {
    let mut out = Vec::new();
    for (photo, scene) in scenes.iter().enumerate() {
        let Some(here) = &grouping.poses[photo] else {
            continue;
        };
        let foods = scene.regions.foods.iter().map(|food| &food.mask);
        let Some(mut taken) = foods.cloned().reduce(|all, mask| all.union(&mask)) else {
            continue;
        };
        let lacking = (grouping.groups.iter()).filter(|group| group.members.iter().all(|(p, _)| *p != photo));
        for group in lacking {
            let seen = group.members.iter().find_map(|&(from, index)| {
                let there = grouping.poses[from].as_ref()?;
                carried(scenes[from], index, there, scene, here)
            });
            let Some(outline) = seen else { continue };
            if may_be_found(&outline, &taken) {
                taken = taken.union(&outline);
                out.push(Missing { photo, outline });
            }
        }
    }
    out
}

fn may_be_found(outline: &Mask, taken: &Mask) -> bool {
    let area = outline.area() as f64;
    let pixels = (outline.width() * outline.height()) as f64;
    area >= MIN_AREA_SHARE * pixels && outline.intersection_area(taken) as f64 <= MAX_TAKEN_SHARE * area
}

/// The outline of an item of one photo in another; none where its middle is out of view, or nobody knows where it is.
fn carried(
    from: &MeasuredScene,
    index: usize,
    there: &Pose,
    to: &MeasuredScene,
    here: &Pose,
) -> Option<Mask> {
    let item: &ItemGeometry = &from.geometry.items[index];
    let mask = &from.regions.foods[index].mask;
    let (source, target) = (Over::of(from), Over::of(to));
    let level_cm = 0.5 * item.mean_height_cm;
    let b = mask.bbox()?;
    let middle = source.on_level(0.5 * (b.x0 + b.x1), 0.5 * (b.y0 + b.y1), level_cm)?;
    let of_meal = there.turn.apply(middle);
    let off = there.spread.at(of_meal).hypot(here.spread.at(of_meal));
    if off > SURE_CM.max(0.5 * item.footprint_cm2.max(0.0).sqrt()) {
        return None;
    }
    let size = (
        to.regions.foods.first()?.mask.width(),
        to.regions.foods.first()?.mask.height(),
    );
    let [x, y] = target.pixel_of(here.turn.back(of_meal), level_cm)?;
    if !(0.0..size.0 as f64).contains(&x) || !(0.0..size.1 as f64).contains(&y) {
        return None;
    }
    let bits = mask.to_bits();
    let set = |u: f64, v: f64| {
        let inside = (0.0..mask.width() as f64).contains(&u) && (0.0..mask.height() as f64).contains(&v);
        inside && bits[v as usize * mask.width() + u as usize]
    };
    Some(Mask::from_fn(size.0, size.1, |x, y| {
        let place = target.on_level(x as f64 + 0.5, y as f64 + 0.5, level_cm);
        let back = place.and_then(|p| {
            let there = there.turn.back(here.turn.apply(p));
            source.pixel_of(there, level_cm)
        });
        back.is_some_and(|[u, v]| set(u, v))
    }))
}
