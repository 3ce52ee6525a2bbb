//! What lies on a dish and is covered by nothing that was found, by colour alone: where a segmenter answers no point of its grid with
//! it, it may still answer a box.
//!
//! A dish is seen in cells. Its ground is the largest stretch of free cells in which the colour changes little from cell to cell, so
//! that shading is followed; what is neither that nor its shadow is something on it.

use dragunov_models::{Mask, RgbImage};

use crate::perceive::colour::{distance, from_ground, lab};
use crate::perceive::grid::Grid;

/// Cells to the root of the area of the dish's box.
const CELLS_PER_SIDE: f64 = 96.0;
/// Ground goes on from cell to cell while the colour changes by less than this, in units of CIELAB. This and what follows was set on
/// half of the rendered training scenes, with a fifth of their true outlines left out.
const MAX_GROUND_STEP: f64 = 4.0;
/// The ground beside a cell: of so many cells each way, or of the whole dish where there are fewer ground cells than the second.
const BESIDE_CELLS: usize = 8;
const MIN_BESIDE: usize = 4;
/// Least distance from that ground, in units of CIELAB, and from it in any shadow, in levels of sRGB.
const MIN_DISTANCE: f64 = 12.0;
const MIN_DISTANCE_IN_SHADOW: f64 = 15.0;
/// Bounds of what is something, as shares of the dish's area: less is its decoration. And the least share of its box: a line is a rim.
const AREA_SHARE: std::ops::Range<f64> = 0.004..0.5;
const MIN_SHARE_OF_BOX: f64 = 0.3;

/// Each separate thing on the dish, in cells (its edge is coarse), the largest first. `things`: what was found and is no dish.
pub(super) fn uncovered(image: &RgbImage, dish: &Mask, things: Option<&Mask>) -> Vec<Mask> {
    let Some(cells) = Cells::of(image, dish, things) else {
        return Vec::new();
    };
    let grown = cells.parts(
        |cell| cells.free[cell],
        |a, b| distance(cells.lab[a], cells.lab[b]) < MAX_GROUND_STEP,
    );
    let Some(ground) = grown.into_iter().max_by_key(Vec::len) else {
        return Vec::new();
    };
    let other = cells.opened(&cells.unlike(&ground));
    let mut parts = cells.parts(|cell| other[cell], |_, _| true);
    let dish_cells = cells.dish.iter().filter(|d| **d).count() as f64;
    parts.retain(|part| {
        AREA_SHARE.contains(&(part.len() as f64 / dish_cells))
            && part.len() as f64 >= MIN_SHARE_OF_BOX * cells.box_of(part)
    });
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    let photo = (image.width(), image.height());
    parts
        .into_iter()
        .map(|part| cells.grid.mask(photo, part))
        .collect()
}

/// A grid over a dish.
struct Cells {
    grid: Grid,
    rgb: Vec<[f64; 3]>,
    lab: Vec<[f64; 3]>,
    /// Of the dish, with what lies on it.
    dish: Vec<bool>,
    /// Of the dish but for its edge, and not beside a thing that was found.
    free: Vec<bool>,
}

impl Cells {
    fn of(image: &RgbImage, dish: &Mask, things: Option<&Mask>) -> Option<Self> {
        let bbox = dish.bbox()?;
        let step = (bbox.area().sqrt() / CELLS_PER_SIDE).round().max(1.0) as usize;
        let grid = Grid {
            step,
            from: [bbox.x0 as usize, bbox.y0 as usize],
            size: [bbox.width() as usize / step, bbox.height() as usize / step],
        };
        let mut cells = Self {
            grid,
            rgb: Vec::new(),
            lab: Vec::new(),
            dish: Vec::new(),
            free: Vec::new(),
        };
        let (is_dish, is_thing) = (dish.to_bits(), things.map(Mask::to_bits));
        let (mut shown, mut taken) = (Vec::new(), Vec::new());
        let n = (step * step) as f64;
        for cell in 0..grid.len() {
            let (mut sum, mut of_dish, mut of_thing) = ([0.0; 3], 0, false);
            for (x, y) in grid.pixels(cell) {
                let (at, pixel) = (y * image.width() + x, image.pixel(x, y));
                (0..3).for_each(|k| sum[k] += f64::from(pixel[k]));
                of_dish += usize::from(is_dish[at]);
                of_thing |= is_thing.as_ref().is_some_and(|bits| bits[at]);
            }
            let mean = sum.map(|v| v / n);
            cells.rgb.push(mean);
            cells.lab.push(lab(mean.map(|v| v.round() as u8)));
            shown.push(2 * of_dish > step * step);
            taken.push(of_thing);
        }
        cells.dish = cells.filled(&shown);
        let inside = |cell: usize| cells.dish[cell] && cells.around(cell, |n| cells.dish[n]);
        let apart = |cell: usize| !taken[cell] && cells.around(cell, |n| !taken[n]);
        cells.free = (0..cells.dish.len()).map(|c| inside(c) && apart(c)).collect();
        Some(cells)
    }

    /// Whether all four beside it are in the grid and so.
    fn around(&self, cell: usize, is_so: impl Fn(usize) -> bool) -> bool {
        self.grid.neighbours(cell).filter(|n| is_so(*n)).count() == 4
    }

    /// With what lies between two such cells of a row or of a column: a mask of a dish may lack what is on it.
    fn filled(&self, shown: &[bool]) -> Vec<bool> {
        let [w, h] = self.grid.size;
        let mut out = shown.to_vec();
        let mut fill = |line: Vec<usize>| {
            let first = line.iter().position(|c| shown[*c]);
            let last = line.iter().rposition(|c| shown[*c]);
            if let (Some(first), Some(last)) = (first, last) {
                line[first..=last].iter().for_each(|c| out[*c] = true);
            }
        };
        (0..h).for_each(|j| fill((j * w..(j + 1) * w).collect()));
        (0..w).for_each(|i| fill((0..h).map(|j| j * w + i).collect()));
        out
    }

    /// The connected parts of some cells, where neighbours belong together if `joined`.
    fn parts(&self, of: impl Fn(usize) -> bool, joined: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.dish.len()];
        let mut out = Vec::new();
        for start in 0..seen.len() {
            if !of(start) || std::mem::replace(&mut seen[start], true) {
                continue;
            }
            let (mut part, mut next) = (vec![start], 0);
            while let Some(&cell) = part.get(next) {
                next += 1;
                for n in self.grid.neighbours(cell) {
                    if of(n) && !seen[n] && joined(cell, n) {
                        seen[n] = true;
                        part.push(n);
                    }
                }
            }
            out.push(part);
        }
        out
    }

    /// The free cells that are neither ground nor its shadow.
    fn unlike(&self, ground: &[usize]) -> Vec<bool> {
        let mut is_ground = vec![false; self.dish.len()];
        ground.iter().for_each(|c| is_ground[*c] = true);
        let mean = |some: &[usize], of: &[[f64; 3]]| -> [f64; 3] {
            std::array::from_fn(|k| some.iter().map(|c| of[*c][k]).sum::<f64>() / some.len().max(1) as f64)
        };
        let [w, h] = self.grid.size;
        let differs = |cell: usize| {
            let span = |at: usize, length: usize| {
                at.saturating_sub(BESIDE_CELLS)..(at + BESIDE_CELLS + 1).min(length)
            };
            let beside: Vec<usize> = span(cell / w, h)
                .flat_map(|j| span(cell % w, w).map(move |i| j * w + i))
                .filter(|c| is_ground[*c])
                .collect();
            let of = if beside.len() < MIN_BESIDE {
                ground
            } else {
                &beside
            };
            distance(self.lab[cell], mean(of, &self.lab)) > MIN_DISTANCE
                && from_ground(self.rgb[cell], mean(of, &self.rgb), 0.0) > MIN_DISTANCE_IN_SHADOW
        };
        (0..self.dish.len())
            .map(|c| self.free[c] && !is_ground[c] && differs(c))
            .collect()
    }

    /// Without what is at most two cells wide.
    fn opened(&self, cells: &[bool]) -> Vec<bool> {
        let core: Vec<bool> = (0..cells.len())
            .map(|c| cells[c] && self.around(c, |n| cells[n]))
            .collect();
        (0..cells.len())
            .map(|c| core[c] || self.grid.neighbours(c).any(|n| core[n]))
            .collect()
    }

    /// Area of a part's box, in cells.
    fn box_of(&self, part: &[usize]) -> f64 {
        let length = |at: fn(usize, usize) -> usize| {
            let places = || part.iter().map(|c| at(*c, self.grid.size[0]));
            match (places().min(), places().max()) {
                (Some(low), Some(high)) => (high - low + 1) as f64,
                _ => 0.0,
            }
        };
        length(|c, w| c % w) * length(|c, w| c / w)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SIZE: usize = 240;

    fn disc(cx: f64, cy: f64, r: f64) -> Mask {
        Mask::from_fn(SIZE, SIZE, |x, y| (x as f64 - cx).hypot(y as f64 - cy) < r)
    }

    /// A table, and on it each of these in its colour, the later over the earlier; everything is darker to the left.
    fn photo(painted: &[(&Mask, [u8; 3])]) -> RgbImage {
        let masks: Vec<(Vec<bool>, [u8; 3])> = painted.iter().map(|(m, c)| (m.to_bits(), *c)).collect();
        let pixels = (0..SIZE * SIZE).flat_map(|i| {
            let on = masks.iter().rev().find(|(bits, _)| bits[i]);
            let light = 0.7 + 0.3 * (i % SIZE) as f64 / SIZE as f64;
            on.map_or([90, 60, 30], |(_, colour)| *colour)
                .map(|v| (f64::from(v) * light) as u8)
        });
        RgbImage::new(SIZE, SIZE, pixels.collect()).unwrap()
    }

    #[test]
    fn what_no_mask_covers_is_seen_and_shadow_rim_and_ground_are_not() {
        let plate = disc(120.0, 120.0, 100.0);
        let (rice, meat, pea) = (
            disc(90.0, 90.0, 30.0),
            disc(150.0, 140.0, 24.0),
            disc(80.0, 165.0, 3.0),
        );
        let shadow = disc(160.0, 150.0, 28.0).subtract(&meat);
        let rim = disc(120.0, 120.0, 96.0).subtract(&disc(120.0, 120.0, 90.0));
        let image = photo(&[
            (&plate, [225, 222, 215]),
            (&rim, [40, 60, 150]),
            (&rice, [240, 190, 60]),
            (&shadow, [160, 158, 153]),
            (&meat, [80, 50, 30]),
            (&pea, [60, 140, 40]),
        ]);
        // A segmenter's plate may lack what is on it.
        let bitten = plate.subtract(&meat);
        let found = uncovered(&image, &bitten, Some(&rice));
        assert_eq!(found.len(), 1);
        assert!(found[0].iou(&meat) > 0.85, "{}", found[0].iou(&meat));
        let both = uncovered(&image, &plate, None);
        assert_eq!(both.len(), 2);
        assert!(both[0].iou(&rice) > 0.85 && both[1].iou(&meat) > 0.85);
        assert!(uncovered(&image, &plate, Some(&rice.union(&meat))).is_empty());
    }

    #[test]
    fn nothing_is_seen_where_there_is_no_dish() {
        let nothing = Mask::empty(SIZE, SIZE);
        assert!(uncovered(&photo(&[]), &nothing, None).is_empty());
        let speck = disc(20.0, 20.0, 1.0);
        assert!(uncovered(&photo(&[(&speck, [255; 3])]), &speck, None).is_empty());
    }
}
