//! Food in a bowl that was outlined together with the bowl's wall: where both are pale, the rim is the clearer edge.
//!
//! What fills a bowl has a level surface: on the photo an ellipse of about the rim's shape, smaller, and lower because it lies
//! deeper; on the near side the rim may hide its end. Among such ellipses in the mask the one is sought whose inside looks least like
//! its outside, in colour and roughness, and along whose edge colours change. Bounds were set on the bowls of the rendered training
//! scenes, with true masks and with masks drawn up to the rim.

mod looks;

use dragunov_models::{Mask, RgbImage};

use looks::{Cell, Look, Means};

use crate::perceive::ellipse::Moments;
use crate::perceive::select::bowls::fills;

/// A mask ends at the rim if its far edge is nearer to the bowl's than this share of the bowl's width. Contents outlined well were
/// 0.07 and more away, but for heaps; masks drawn up to the rim 0.05 at most.
const MAX_RIM_GAP: f64 = 0.06;
/// So far from the rim a mask may still hold the lower part of the wall, where it shows two things as clearly as [`MIN_SURELY_PARTED`]
/// says. On 80 bowls of our own renderer one mask is cut for that, rightly.
const MAX_WALL_GAP: f64 = 0.12;
/// Columns in which that is looked at, and the middle part of the bowl's width that they stand in.
const GAP_COLUMNS: usize = 15;
const GAP_SPREAD: f64 = 0.5;
/// How well inside and outside must be told apart, -1 to 1. Masks drawn up to the rim reach 0.6 and more, a bowl that is full 0.2.
const MIN_PARTED: f64 = 0.5;
const MIN_SURELY_PARTED: f64 = 0.8;
/// The mask is looked at in a grid of cells over so many of its half axes each way.
const CELLS_PER_SIDE: usize = 48;
const REACH: f64 = 1.15;
/// Over what roughness is taken, as a share of the half width.
const ROUGHNESS_REACH: f64 = 0.05;
/// Where wall and content are looked for first, in half axes: a strip along the far rim, and a disc that is lower than the middle.
const FIRST_WALL: std::ops::Range<f64> = 0.82..0.95;
const FIRST_WALL_LOWEST: f64 = 0.15;
const FIRST_CONTENT: (f64, f64) = (0.15, 0.4);
/// Cells between these shares of the found ellipse, squared, are neither: the edge itself. Beyond `RIM` the lip begins.
const CONTENT_END: f64 = 0.8;
const WALL_BEGIN: f64 = 1.15;
const RIM: f64 = 0.95;
const MIN_CELLS: usize = 15;
/// Least share of the mask that is content, and how far under the mask's upper edge the content's must lie, in half axes.
const MIN_CONTENT_SHARE: f64 = 0.2;
const MIN_DEPTH: f64 = 0.35;
/// Candidates whose edges are looked at, those that part the mask best.
const LOOKED_AT: usize = 150;
/// What an edge all round is worth beside the parting, difference of colours that is credited half, and how far on both sides of the
/// edge colours are read, in half axes.
const EDGE_WORTH: f64 = 1.6;
const HALF_CREDIT: f64 = 1.5;
const EDGE_OFFSETS: [f64; 3] = [0.02, 0.04, 0.06];
const EDGE_HALF_WIDTH: f64 = 0.012;
const RAYS: usize = 72;
const MIN_RAYS: usize = 20;
/// Lightness counts less than colour: shadows fall into bowls.
const LIGHTNESS_WEIGHT: f64 = 0.7;

/// The mask without the bowl's wall. `None` where it does not end at the rim, or shows one thing all over. `bowl`: what is seen of the
/// bowl beside its content.
pub(in crate::perceive) fn without_wall(image: &RgbImage, food: &Mask, bowl: &Mask) -> Option<Mask> {
    let whole = bowl.union(food);
    let gap = rim_gap(food, &whole)?;
    if !fills(food, &whole) || gap > MAX_WALL_GAP {
        return None;
    }
    let frame = Frame::of(food)?;
    let scene = Scene::of(image, food, frame)?;
    let (surface, parted) = scene.surface()?;
    let least = if gap > MAX_RIM_GAP {
        MIN_SURELY_PARTED
    } else {
        MIN_PARTED
    };
    if parted < least {
        return None;
    }
    let inside = Mask::from_fn(food.width(), food.height(), |x, y| {
        surface.holds(frame.unit([x as f64 + 0.5, y as f64 + 0.5]))
    });
    Some(food.combine(&inside, |food, inside| food && inside))
}

/// How far below a bowl's upper edge its content's is, as a share of the bowl's width: the median over its middle columns.
fn rim_gap(food: &Mask, bowl: &Mask) -> Option<f64> {
    let bbox = bowl.bbox()?;
    let tops = |mask: &Mask| {
        let mut tops = vec![None; mask.width()];
        mask.for_each_run(|x, top, _| {
            tops[x] = Some(tops[x].map_or(top, |seen: usize| seen.min(top)));
        });
        tops
    };
    let (upper, lower) = (tops(bowl), tops(food));
    let mut gaps: Vec<f64> = (0..GAP_COLUMNS)
        .filter_map(|k| {
            let share = (k as f64 / (GAP_COLUMNS - 1) as f64 - 0.5) * GAP_SPREAD;
            let x = (0.5 * (bbox.x0 + bbox.x1) + share * bbox.width()) as usize;
            let (upper, lower) = (upper.get(x)?.as_ref()?, lower.get(x)?.as_ref()?);
            Some(*lower as f64 - *upper as f64)
        })
        .collect();
    looks::median(&mut gaps).map(|gap| gap / bbox.width())
}

/// Places in half axes of a mask's ellipse: `u` along the axis nearest to the horizontal, `v` downwards.
#[derive(Debug, Clone, Copy)]
struct Frame {
    centre: [f64; 2],
    half: [f64; 2],
    /// Cosine and sine of the turn.
    turn: [f64; 2],
}

impl Frame {
    fn of(mask: &Mask) -> Option<Self> {
        let m = Moments::of(mask)?;
        let [xx, xy, yy] = m.variance;
        let (mean, half) = (0.5 * (xx + yy), (0.25 * (xx - yy).powi(2) + xy * xy).sqrt());
        let (long, short) = (2.0 * (mean + half).sqrt(), 2.0 * (mean - half).max(0.0).sqrt());
        // Of a circle's ellipse the direction is noise.
        let angle = if short > 0.93 * long {
            0.0
        } else {
            0.5 * (2.0 * xy).atan2(xx - yy)
        };
        (short > 1.0).then(|| Self {
            centre: m.mean.map(|v| v + 0.5),
            half: [long, short],
            turn: [angle.cos(), angle.sin()],
        })
    }

    fn pixel(&self, [u, v]: [f64; 2]) -> [f64; 2] {
        let ([c, s], x, y) = (self.turn, u * self.half[0], v * self.half[1]);
        [self.centre[0] + x * c - y * s, self.centre[1] + x * s + y * c]
    }

    fn unit(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let ([c, s], x, y) = (self.turn, x - self.centre[0], y - self.centre[1]);
        [(x * c + y * s) / self.half[0], (y * c - x * s) / self.half[1]]
    }
}

/// The content's surface, in the mask's half axes.
#[derive(Debug, Clone, Copy)]
struct Surface {
    radius: f64,
    centre: [f64; 2],
    /// Of its height beside its width, against the mask's.
    stretch: f64,
}

impl Surface {
    /// The square of how far out a place lies; 1 on the edge.
    fn share(&self, [u, v]: [f64; 2]) -> f64 {
        let (u, v) = (u - self.centre[0], (v - self.centre[1]) / self.stretch);
        (u * u + v * v) / (self.radius * self.radius)
    }

    fn holds(&self, at: [f64; 2]) -> bool {
        self.share(at) <= 1.0
    }

    fn at(&self, (sin, cos): (f64, f64), beyond: f64) -> [f64; 2] {
        let r = self.radius + beyond;
        [self.centre[0] + r * cos, self.centre[1] + r * self.stretch * sin]
    }

    /// Every surface of these radii, depths, sidewards shifts and stretches that lies in the bowl.
    fn all<'a>(
        radii: &'a [f64],
        depths: &'a [f64],
        sides: &'a [f64],
        stretches: &'a [f64],
    ) -> impl Iterator<Item = Self> + 'a {
        radii.iter().flat_map(move |&radius| {
            let depths = depths.iter().filter(move |&&depth| depth - radius <= -MIN_DEPTH);
            depths.flat_map(move |&depth| {
                sides.iter().flat_map(move |&side| {
                    stretches.iter().map(move |&stretch| Self {
                        radius,
                        centre: [side, depth],
                        stretch,
                    })
                })
            })
        })
    }
}

/// So many steps around a value.
fn around(middle: f64, step: f64, each_way: i32) -> Vec<f64> {
    (-each_way..=each_way)
        .map(|k| middle + step * f64::from(k))
        .collect()
}

/// The mask in cells, and the photo under it.
struct Scene {
    frame: Frame,
    means: Means,
    cells: Vec<Cell>,
}

impl Scene {
    fn of(image: &RgbImage, food: &Mask, frame: Frame) -> Option<Self> {
        let means = Means::over(image, food.bbox()?);
        let (colour_reach, rough_reach) = (
            (REACH * frame.half[0] / CELLS_PER_SIDE as f64).max(1.0),
            (ROUGHNESS_REACH * frame.half[0]).max(1.5),
        );
        let bits = food.to_bits();
        let (width, height) = (food.width(), food.height());
        let place = |i: usize| ((i as f64 + 0.5) / CELLS_PER_SIDE as f64 * 2.0 - 1.0) * REACH;
        let cells = (0..CELLS_PER_SIDE * CELLS_PER_SIDE).filter_map(|i| {
            let at = [place(i % CELLS_PER_SIDE), place(i / CELLS_PER_SIDE)];
            let pixel = frame.pixel(at);
            let inside = pixel[0] >= 0.0
                && pixel[1] >= 0.0
                && (pixel[0] as usize) < width
                && (pixel[1] as usize) < height
                && bits[pixel[1] as usize * width + pixel[0] as usize];
            inside.then(|| Cell {
                at,
                colour: means.colour(pixel, colour_reach),
                roughness: means.roughness(pixel, rough_reach),
            })
        });
        let cells: Vec<Cell> = cells.collect();
        Some(Self { frame, means, cells })
    }

    /// The likeliest surface and how well it parts content and wall. What each looks like is taken anew from the last one found.
    fn surface(&self) -> Option<(Surface, f64)> {
        let (low, radius) = FIRST_CONTENT;
        let mut content: Vec<&Cell> = self.which(|[u, v]| u.hypot(v - low) < radius);
        let mut wall: Vec<&Cell> =
            self.which(|[u, v]| v < FIRST_WALL_LOWEST && FIRST_WALL.contains(&u.hypot(v)));
        let mut found: Option<(Surface, f64)> = None;
        let coarse = || -> Vec<Surface> {
            let depths: Vec<f64> = (0..15).map(|k| -0.1 + 0.05 * f64::from(k)).collect();
            Surface::all(&around(0.73, 0.02, 12), &depths, &around(0.0, 0.08, 1), &[1.0]).collect()
        };
        for round in 0..3 {
            let (Some(content_look), Some(wall_look)) =
                (Look::of(&content, MIN_CELLS), Look::of(&wall, MIN_CELLS))
            else {
                break;
            };
            let like_content: Vec<f64> = self
                .cells
                .iter()
                .map(|cell| {
                    (content_look.likelihood(cell) - wall_look.likelihood(cell)).clamp(-3.0, 3.0) / 3.0
                })
                .collect();
            let tried = match found {
                Some((s, _)) if round == 2 => Surface::all(
                    &around(s.radius, 0.01, 4),
                    &around(s.centre[1], 0.015, 4),
                    &around(s.centre[0], 0.02, 2),
                    &around(1.0, 0.075, 2),
                )
                .collect(),
                _ => coarse(),
            };
            let (surface, parted) = self.best(tried, &like_content)?;
            found = Some((surface, parted));
            content = self.which(|at| surface.share(at) < CONTENT_END);
            wall = self.which(|at| surface.share(at) > WALL_BEGIN && at[0].hypot(at[1]) < RIM);
        }
        found
    }

    fn which(&self, of: impl Fn([f64; 2]) -> bool) -> Vec<&Cell> {
        self.cells.iter().filter(|cell| of(cell.at)).collect()
    }

    fn best(&self, tried: Vec<Surface>, like_content: &[f64]) -> Option<(Surface, f64)> {
        let all = self.cells.len() as f64;
        let mut parted: Vec<(f64, Surface)> = tried
            .into_iter()
            .filter_map(|surface| {
                let (mut sum, mut inside) = (0.0, 0.0);
                for (cell, like) in self.cells.iter().zip(like_content) {
                    let holds = surface.holds(cell.at);
                    sum += if holds { *like } else { -like };
                    inside += f64::from(u8::from(holds));
                }
                (inside >= MIN_CONTENT_SHARE * all).then_some((sum / all, surface))
            })
            .collect();
        parted.sort_by(|a, b| b.0.total_cmp(&a.0));
        parted.truncate(LOOKED_AT);
        let worth = |(parted, surface): (f64, Surface)| {
            self.edge(&surface)
                .map(|edge| (parted + EDGE_WORTH * edge, parted, surface))
        };
        let best = parted
            .into_iter()
            .filter_map(worth)
            .max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((best.2, best.1))
    }

    /// How much of an edge there is along the part of it that is seen, 0 to 1.
    fn edge(&self, surface: &Surface) -> Option<f64> {
        let half = (EDGE_HALF_WIDTH * self.frame.half[0]).max(0.75);
        let (mut sum, mut seen) = (0.0, 0);
        for ray in 0..RAYS {
            let angle = (std::f64::consts::TAU * ray as f64 / RAYS as f64).sin_cos();
            let [u, v] = surface.at(angle, 0.0);
            if u.hypot(v) >= RIM {
                continue;
            }
            let mut difference = [0.0; 3];
            for offset in EDGE_OFFSETS {
                for (sign, beyond) in [(1.0, -offset), (-1.0, offset)] {
                    let colour = self
                        .means
                        .colour(self.frame.pixel(surface.at(angle, beyond)), half);
                    (0..3).for_each(|k| difference[k] += sign * colour[k] / EDGE_OFFSETS.len() as f64);
                }
            }
            difference[0] *= LIGHTNESS_WEIGHT;
            let size = difference.iter().map(|d| d * d).sum::<f64>().sqrt();
            sum += size / (size + HALF_CREDIT);
            seen += 1;
        }
        (seen >= MIN_RAYS).then_some(sum / seen as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::ellipse::tests::ellipse;

    /// A pale bowl from aside: rim, and a pale content lower in it that ends before the rim at the near side, rough and a little
    /// darker.
    fn photo(content: &Mask, rim: &Mask) -> RgbImage {
        photo_of([214, 212, 205], content, rim)
    }

    fn photo_of(colour: [u8; 3], content: &Mask, rim: &Mask) -> RgbImage {
        let (content, rim) = (content.to_bits(), rim.to_bits());
        let pixels = (0..200 * 160).flat_map(|i| {
            let (x, y) = (i % 200, i / 200);
            let grain = ((x * 7 + y * 13) % 5) as u8 * 2;
            match (content[i] && rim[i], rim[i]) {
                (true, _) => colour.map(|c| c + grain),
                (false, true) => [228 - (y / 16) as u8, 226 - (y / 16) as u8, 222 - (y / 16) as u8],
                (false, false) => [60, 45, 30],
            }
        });
        RgbImage::new(200, 160, pixels.collect()).unwrap()
    }

    fn rim() -> Mask {
        ellipse(100.0, 70.0, 70.0, 45.0, 0.0)
    }

    fn bowl() -> Mask {
        ellipse(100.0, 70.0, 73.0, 47.0, 0.0).union(&ellipse(100.0, 85.0, 55.0, 50.0, 0.0))
    }

    #[test]
    fn a_mask_up_to_the_rim_shrinks_to_the_content() {
        let content = ellipse(100.0, 84.0, 52.0, 33.0, 0.0);
        let truth = content.combine(&rim(), |a, b| a && b);
        let image = photo(&content, &rim());
        let shown = bowl().subtract(&rim());
        let found = without_wall(&image, &rim(), &shown).unwrap();
        assert!(
            found.iou(&truth) > 0.93 && rim().iou(&truth) < 0.65,
            "{}",
            found.iou(&truth)
        );
        // Outlined well it stays as it is.
        assert_eq!(without_wall(&image, &truth, &bowl().subtract(&truth)), None);
    }

    #[test]
    fn the_lower_part_of_the_wall_goes_where_it_is_clearly_another_thing() {
        let content = ellipse(100.0, 84.0, 52.0, 33.0, 0.0);
        let truth = content.combine(&rim(), |a, b| a && b);
        let low = Mask::from_fn(200, 160, |_, y| y >= 38).combine(&rim(), |a, b| a && b);
        let found = |content: &Mask| {
            let image = photo_of([120, 80, 40], content, &rim());
            without_wall(&image, &low, &bowl().subtract(&low))
        };
        let brown = found(&content).unwrap();
        assert!(brown.iou(&truth) > 0.9, "{}", brown.iou(&truth));
        assert_eq!(found(&rim()), None, "one thing all over");
    }

    #[test]
    fn a_bowl_that_is_full_stays_full() {
        let everything = ellipse(100.0, 70.0, 90.0, 60.0, 0.0);
        let image = photo(&everything, &rim());
        assert_eq!(without_wall(&image, &rim(), &bowl().subtract(&rim())), None);
        assert_eq!(without_wall(&image, &rim(), &Mask::empty(200, 160)), None);
        assert_eq!(without_wall(&image, &Mask::empty(200, 160), &bowl()), None);
    }
}
