//! Masks with names, before and after it is decided which of them to believe.

use dragunov_models::{Mask, RgbImage};

use super::refine::{fit_coin_edge, without_bleed, without_wall};
use crate::contract::{DishKind, ReferenceKind};
use crate::identify::{Identified, NameBelief, of_one_photo};

/// What a name counts for at least in [`Candidate::score`]: a good mask without a name is still a thing.
const MIN_NAME_WEIGHT: f64 = 0.05;

/// A mask and how good the model thinks it is, 0 to 1.
pub(super) type Scored = (Mask, f64);

/// One mask with its name.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub mask: Mask,
    /// How good the mask itself is, 0 to 1 (predicted IoU times stability).
    pub quality: f64,
    pub identity: Identified,
}

impl Candidate {
    /// How much of mask and name to believe, 0 to 1.
    pub(super) fn score(&self) -> f64 {
        self.quality * self.identity.confidence.max(MIN_NAME_WEIGHT)
    }
}

/// Regions that do not overlap.
#[derive(Debug, Clone, Default)]
pub struct Regions {
    pub foods: Vec<FoodRegion>,
    /// Plates, bowls and boards: what is visible of them.
    pub dishes: Vec<(DishKind, Mask)>,
    /// Coins and cards.
    pub references: Vec<(ReferenceKind, Mask)>,
    /// Glasses, cutlery, napkins, phones and the like.
    pub others: Vec<Mask>,
}

/// Food of one kind on one dish, in one or more pieces.
#[derive(Debug, Clone)]
pub struct FoodRegion {
    pub mask: Mask,
    pub identity: Identified,
    pub pieces: usize,
}

impl Regions {
    /// Draws every coin along its edge on the photo, where that is clear, and foods without the ground that their masks
    /// bled over and without the wall of the bowl that they are in.
    pub fn sharpen(&mut self, image: &RgbImage) {
        let is_coin = |(kind, _): &&mut (ReferenceKind, Mask)| *kind == ReferenceKind::Coin;
        for (_, mask) in self.references.iter_mut().filter(is_coin) {
            if let Some(sharp) = fit_coin_edge(image, mask) {
                *mask = sharp;
            }
        }
        let things = self.things(image.width(), image.height());
        for food in &mut self.foods {
            if let Some(kept) = without_bleed(image, &food.mask, &things) {
                food.mask = kept;
            }
        }
        let bowls = self.dishes.iter_mut().filter(|(kind, _)| *kind == DishKind::Bowl);
        for (_, bowl) in bowls {
            for food in &mut self.foods {
                if let Some(kept) = without_wall(image, &food.mask, bowl) {
                    *bowl = bowl.union(&food.mask.subtract(&kept));
                    food.mask = kept;
                }
            }
        }
    }

    /// Reads every name as the identifier's calibration says.
    pub fn judge(&mut self, belief: &NameBelief) {
        let told: Vec<f64> = self.foods.iter().filter_map(|f| f.identity.novelty).collect();
        let mut shared = of_one_photo(&told).into_iter();
        for food in &mut self.foods {
            if food.identity.novelty.is_some() {
                food.identity.novelty = shared.next();
            }
            belief.judge(&mut food.identity);
        }
    }

    /// All that lies on table and dishes.
    pub(super) fn things(&self, width: usize, height: usize) -> Mask {
        let foods = self.foods.iter().map(|f| &f.mask);
        let references = self.references.iter().map(|(_, m)| m);
        foods
            .chain(references)
            .chain(&self.others)
            .fold(Mask::empty(width, height), |all, m| all.union(m))
    }
}

/// Whether the middle of a thing lies over a dish (of its bounding box).
pub fn lies_on(thing: &Mask, dish: &Mask) -> bool {
    match (dish.bbox(), thing.bbox()) {
        (Some(d), Some(t)) => {
            let (x, y) = ((t.x0 + t.x1) / 2.0, (t.y0 + t.y1) / 2.0);
            (d.x0..d.x1).contains(&x) && (d.y0..d.y1).contains(&y)
        }
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::identify::Kind;

    const W: usize = 100;

    pub(in crate::perceive) fn rect(x0: usize, y0: usize, x1: usize, y1: usize) -> Mask {
        Mask::from_fn(W, W, |x, y| (x0..x1).contains(&x) && (y0..y1).contains(&y))
    }

    pub(in crate::perceive) fn candidate(mask: Mask, kind: Kind, label: &str, confidence: f64) -> Candidate {
        let identity = Identified {
            kind,
            label: label.into(),
            confidence,
            alternatives: vec![],
            grams: None,
            novelty: None,
        };
        Candidate {
            mask,
            quality: 0.9,
            identity,
        }
    }
}
