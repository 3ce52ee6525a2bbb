//! Ground that a mask of food bled over: a segmenter fills the hollow of a banana with the plate. Bounds were set on the top
//! views of ECUSTFD.

use dragunov_models::{Mask, RgbImage};

use crate::perceive::colour::{distance, lab};
use crate::perceive::grid::Grid;

/// A mask is looked at in cells, so many to the root of its area.
const CELLS_PER_SIDE: f64 = 48.0;
/// Ground goes on from cell to cell while the colour changes by less than this, in units of CIELAB, and is seen this many
/// cells around.
const MAX_GROUND_STEP: f64 = 4.0;
const SURROUNDING_CELLS: usize = 3;
/// What is left must differ from what is taken out by this much, in units of CIELAB: rice on white china stays whole.
const MIN_COLOUR_DISTANCE: f64 = 30.0;
/// Least and largest share of the mask that is taken for ground, and least share of its bounding box that is left: the white
/// of an egg goes all round.
const BLEED_SHARE: std::ops::Range<f64> = 0.05..0.45;
const MIN_EXTENT_LEFT: f64 = 0.6;
/// Where ground goes on, the mask's edge is none: least share of it along what is taken out that the photo does not show, and
/// least mean step along the new edge, in units of CIELAB.
const MIN_OPEN_EDGE_SHARE: f64 = 0.7;
const MIN_NEW_EDGE_STEP: f64 = 12.0;

/// The mask without the ground that goes on into it from where nothing was found; `None` where none does.
pub(in crate::perceive) fn without_bleed(image: &RgbImage, food: &Mask, things: &Mask) -> Option<Mask> {
    let cells = Cells::of(image, food, things)?;
    let bled = cells.grown();
    let of = |taken: bool| cells.mean(|i| cells.food[i] && bled[i] == taken);
    let ((ground, out), (rest, left)) = (of(true)?, of(false)?);
    let share = out as f64 / (out + left) as f64;
    if !BLEED_SHARE.contains(&share) || distance(ground, rest) < MIN_COLOUR_DISTANCE || !cells.goes_on(&bled)
    {
        return None;
    }
    let photo = (image.width(), image.height());
    let out = (cells.grid).mask(photo, (0..bled.len()).filter(|i| bled[*i]));
    let kept = food.combine(&out, |food, out| food && !out);
    let extent = kept.bbox()?.area() / food.bbox()?.area();
    (extent > MIN_EXTENT_LEFT).then_some(kept)
}

/// A grid over a mask and its surroundings.
struct Cells {
    grid: Grid,
    colour: Vec<[f64; 3]>,
    food: Vec<bool>,
    /// Neither this food nor another thing.
    free: Vec<bool>,
}

impl Cells {
    fn of(image: &RgbImage, food: &Mask, things: &Mask) -> Option<Self> {
        let bbox = food.bbox()?;
        let step = ((food.area() as f64).sqrt() / CELLS_PER_SIDE).round().max(1.0) as usize;
        let margin = step * (SURROUNDING_CELLS + 1);
        let low = |v: f64| (v as usize).saturating_sub(margin);
        let from = [low(bbox.x0), low(bbox.y0)];
        let end = [
            (bbox.x1 as usize + margin).min(image.width()),
            (bbox.y1 as usize + margin).min(image.height()),
        ];
        let size = [(end[0] - from[0]) / step, (end[1] - from[1]) / step];
        let grid = Grid { step, from, size };
        let (is_food, is_thing) = (food.to_bits(), things.to_bits());
        let mut cells = Self {
            grid,
            colour: Vec::new(),
            food: Vec::new(),
            free: Vec::new(),
        };
        for i in 0..grid.len() {
            let (mut sum, mut foods, mut others) = ([0.0; 3], 0, 0);
            for (x, y) in grid.pixels(i) {
                let at = y * image.width() + x;
                let c = lab(image.pixel(x, y));
                (0..3).for_each(|k| sum[k] += c[k]);
                foods += usize::from(is_food[at]);
                others += usize::from(is_thing[at]);
            }
            let n = step * step;
            cells.colour.push(sum.map(|v| v / n as f64));
            cells.food.push(2 * foods > n);
            cells.free.push(foods + others == 0);
        }
        Some(cells)
    }

    /// Ground cells near the food, and those in the food that they go on into.
    fn grown(&self) -> Vec<bool> {
        let mut near: Vec<usize> = (0..self.food.len()).filter(|i| self.food[*i]).collect();
        let mut seen = self.food.clone();
        for _ in 0..SURROUNDING_CELLS {
            let mut next = Vec::new();
            for cell in near {
                for n in self.grid.neighbours(cell) {
                    if !std::mem::replace(&mut seen[n], true) {
                        next.push(n);
                    }
                }
            }
            near = next;
        }
        let mut ground: Vec<bool> = (0..self.food.len()).map(|i| seen[i] && self.free[i]).collect();
        let mut edge: Vec<usize> = (0..ground.len()).filter(|i| ground[*i]).collect();
        while let Some(cell) = edge.pop() {
            for n in self.grid.neighbours(cell) {
                if !ground[n] && seen[n] && distance(self.colour[cell], self.colour[n]) < MAX_GROUND_STEP {
                    ground[n] = true;
                    edge.push(n);
                }
            }
        }
        ground
    }

    /// Whether the mask's edge is hardly seen along what was taken for ground, and the new edge well.
    fn goes_on(&self, ground: &[bool]) -> bool {
        let steps = |from: &dyn Fn(usize) -> bool, to: &dyn Fn(usize) -> bool| -> Vec<f64> {
            (0..ground.len())
                .filter(|i| from(*i))
                .flat_map(|i| self.grid.neighbours(i).map(move |n| (i, n)))
                .filter(|(_, n)| to(*n))
                .map(|(i, n)| distance(self.colour[i], self.colour[n]))
                .collect()
        };
        let bled = |i: usize| self.food[i] && ground[i];
        let old = steps(&bled, &|i| !self.food[i]);
        let new = steps(&bled, &|i| self.food[i] && !ground[i]);
        let open = old.iter().filter(|d| **d < MAX_GROUND_STEP).count() as f64;
        open > MIN_OPEN_EDGE_SHARE * old.len() as f64
            && new.iter().sum::<f64>() > MIN_NEW_EDGE_STEP * new.len() as f64
    }

    /// Mean colour and number of some cells; `None` without any.
    fn mean(&self, of: impl Fn(usize) -> bool) -> Option<([f64; 3], usize)> {
        let some: Vec<usize> = (0..self.food.len()).filter(|i| of(*i)).collect();
        let n = some.len();
        let sum = some.iter().fold([0.0; 3], |s: [f64; 3], i| {
            std::array::from_fn(|k| s[k] + self.colour[*i][k])
        });
        (n > 0).then(|| (sum.map(|v| v / n as f64), n))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SIZE: usize = 200;
    const CHINA: [u8; 3] = [225, 224, 220];

    /// Something of this colour where `food` says, on china.
    fn photo(colour: [u8; 3], food: impl Fn(usize, usize) -> bool) -> RgbImage {
        painted(|x, y| if food(x, y) { colour } else { CHINA })
    }

    fn painted(colour: impl Fn(usize, usize) -> [u8; 3]) -> RgbImage {
        let pixels = (0..SIZE * SIZE)
            .flat_map(|i| colour(i % SIZE, i / SIZE))
            .collect();
        RgbImage::new(SIZE, SIZE, pixels).unwrap()
    }

    fn crescent(x: usize, y: usize) -> bool {
        let r = |cx: f64| (x as f64 - cx).hypot(y as f64 - 100.0);
        r(100.0) < 60.0 && r(70.0) > 50.0
    }

    fn disc(x: usize, y: usize) -> bool {
        (x as f64 - 100.0).hypot(y as f64 - 100.0) < 60.0
    }

    /// The right part of the disc, as a segmenter draws a crescent.
    fn drawn(x: usize, y: usize) -> bool {
        crescent(x, y) || (disc(x, y) && x > 95)
    }

    #[test]
    fn china_in_the_hollow_of_a_banana_is_taken_out() {
        let (banana, none) = (photo([220, 180, 40], crescent), Mask::empty(SIZE, SIZE));
        let found = without_bleed(&banana, &Mask::from_fn(SIZE, SIZE, drawn), &none).unwrap();
        assert!(found.iou(&Mask::from_fn(SIZE, SIZE, crescent)) > 0.93);
        // Well drawn it stays as it is; and so does what hardly differs from the china.
        assert!(without_bleed(&banana, &Mask::from_fn(SIZE, SIZE, crescent), &none).is_none());
        let rice = photo([240, 236, 222], crescent);
        assert!(without_bleed(&rice, &Mask::from_fn(SIZE, SIZE, drawn), &none).is_none());
    }

    /// The plate's colour runs into it at one side, but its edge is seen nearly all round.
    #[test]
    fn a_peach_that_is_pale_at_one_side_stays_whole() {
        let peach = painted(|x, y| match (disc(x, y), x) {
            (false, _) => CHINA,
            (true, ..80) => [0, 1, 2].map(|k| {
                let red = [235.0, 150.0, 110.0][k];
                let t = (x as f64 - 40.0) / 40.0;
                (f64::from(CHINA[k]) * (1.0 - t) + red * t) as u8
            }),
            _ => [190, 60, 20],
        });
        let (mask, none) = (Mask::from_fn(SIZE, SIZE, disc), Mask::empty(SIZE, SIZE));
        assert!(without_bleed(&peach, &mask, &none).is_none());
    }

    #[test]
    fn the_white_of_an_egg_stays() {
        let yolk = |x: usize, y: usize| (x as f64 - 100.0).hypot(y as f64 - 100.0) < 46.0;
        let egg = photo([240, 180, 30], yolk);
        let none = Mask::empty(SIZE, SIZE);
        assert!(without_bleed(&egg, &Mask::from_fn(SIZE, SIZE, disc), &none).is_none());
    }
}
