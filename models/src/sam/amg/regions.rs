//! Removal of small holes and islands, and of the duplicates that it makes.

use rayon::prelude::*;

use super::geometry::CornerBox;
use super::{AmgConfig, AutoMask, keep};
use crate::Mask;

/// Cleans every mask, then suppresses again, those that needed no cleaning first.
pub(super) fn clean(masks: Vec<AutoMask>, config: &AmgConfig) -> Vec<AutoMask> {
    let area = config.min_mask_region_area;
    // marks changed masks by a score of 0
    let scored: Vec<(AutoMask, f32)> = masks
        .into_par_iter()
        .map(|mut found| {
            let (w, h) = (found.mask.width(), found.mask.height());
            let mut bits = found.mask.to_bits();
            let holes = fill_holes(&mut bits, w, h, area);
            let islands = drop_islands(&mut bits, w, h, area);
            if holes || islands {
                found.mask = Mask::from_bits(w, h, &bits);
                found.corners = corners(&found.mask);
            }
            (found, f32::from(u8::from(!(holes || islands))))
        })
        .collect();
    let mut scores = scored
        .iter()
        .map(|(_, score)| *score)
        .collect::<Vec<_>>()
        .into_iter();
    let masks = scored.into_iter().map(|(mask, _)| mask).collect();
    let threshold = config.box_nms_thresh.max(config.crop_nms_thresh);
    keep(masks, |_| scores.next().unwrap_or(0.0), threshold)
}

fn corners(mask: &Mask) -> CornerBox {
    mask.bbox().map_or_else(CornerBox::default, |b| CornerBox {
        x0: b.x0 as u32,
        y0: b.y0 as u32,
        x1: b.x1 as u32 - 1,
        y1: b.y1 as u32 - 1,
    })
}

/// Sets every 8-connected region of unset pixels smaller than `area`. Tells whether there was one.
fn fill_holes(bits: &mut [bool], w: usize, h: usize, area: usize) -> bool {
    let regions = Regions::of(bits, false, w, h);
    let small = |size: usize| size < area;
    regions.paint(bits, w, true, |_, size| small(size));
    regions.sizes.into_iter().any(small)
}

/// Unsets every 8-connected region of set pixels smaller than `area`, but leaves the largest if all are smaller.
fn drop_islands(bits: &mut [bool], w: usize, h: usize, area: usize) -> bool {
    let regions = Regions::of(bits, true, w, h);
    let sizes = &regions.sizes;
    if !sizes.iter().any(|&size| size < area) {
        return false;
    }
    let all_small = sizes.iter().all(|&size| size < area);
    let mut largest = 0;
    for (i, &size) in sizes.iter().enumerate() {
        if size > sizes[largest] {
            largest = i;
        }
    }
    regions.paint(bits, w, false, |region, size| {
        if all_small { region != largest } else { size < area }
    });
    true
}

/// Neighbouring pixels of one value in a row.
struct Run {
    row: usize,
    begin: usize,
    end: usize,
    /// An earlier run of the same region, or itself; at last the number of the region.
    region: usize,
}

/// 8-connected regions of pixels of one value, numbered in reading order.
struct Regions {
    runs: Vec<Run>,
    sizes: Vec<usize>,
}

impl Regions {
    fn of(bits: &[bool], value: bool, w: usize, h: usize) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut above = 0..0;
        for row in 0..h {
            let first = runs.len();
            let line = &bits[row * w..(row + 1) * w];
            let mut at = 0;
            while let Some(skip) = line[at..].iter().position(|&b| b == value) {
                let begin = at + skip;
                let length = line[begin..].iter().position(|&b| b != value);
                let end = length.map_or(w, |n| begin + n);
                let own = runs.len();
                runs.push(Run {
                    row,
                    begin,
                    end,
                    region: own,
                });
                // Runs above that touch this one, corners included.
                while above.start < above.end && runs[above.start].end < begin {
                    above.start += 1;
                }
                for other in above.clone() {
                    if runs[other].begin > end {
                        break;
                    }
                    join(&mut runs, other, own);
                }
                at = end;
            }
            above = first..runs.len();
        }
        // Roots come before what hangs on them, so one pass in order numbers all.
        let mut sizes: Vec<usize> = Vec::new();
        for i in 0..runs.len() {
            let parent = runs[i].region;
            let region = if parent == i {
                sizes.len()
            } else {
                runs[parent].region
            };
            if parent == i {
                sizes.push(0);
            }
            runs[i].region = region;
            sizes[region] += runs[i].end - runs[i].begin;
        }
        Self { runs, sizes }
    }

    /// Gives `value` to the pixels of the regions (number, size) that `which` names.
    fn paint(&self, bits: &mut [bool], w: usize, value: bool, which: impl Fn(usize, usize) -> bool) {
        for run in &self.runs {
            if which(run.region, self.sizes[run.region]) {
                bits[run.row * w + run.begin..run.row * w + run.end].fill(value);
            }
        }
    }
}

fn root(runs: &mut [Run], mut at: usize) -> usize {
    while runs[at].region != at {
        runs[at].region = runs[runs[at].region].region;
        at = runs[at].region;
    }
    at
}

/// Makes one region of two; the earlier root stays.
fn join(runs: &mut [Run], a: usize, b: usize) {
    let (a, b) = (root(runs, a), root(runs, b));
    runs[a.max(b)].region = a.min(b);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(rows: &[&str]) -> Vec<bool> {
        rows.iter().flat_map(|r| r.bytes().map(|b| b == b'#')).collect()
    }

    #[test]
    fn small_regions_go_and_the_largest_stays() {
        let mut b = bits(&["###..", "#.#..", "###.#"]);
        assert!(fill_holes(&mut b, 5, 3, 2));
        assert!(drop_islands(&mut b, 5, 3, 2));
        assert_eq!(b, bits(&["###..", "###..", "###.."]));
        assert!(!fill_holes(&mut b, 5, 3, 2) && !drop_islands(&mut b, 5, 3, 2));
        let mut all_small = bits(&["#..##", ".....", "#...."]);
        assert!(drop_islands(&mut all_small, 5, 3, 9));
        assert_eq!(all_small, bits(&["...##", ".....", "....."]));
    }

    /// Regions pixel by pixel, as the definition reads.
    fn flooded(bits: &[bool], value: bool, w: usize, h: usize) -> (Vec<Option<usize>>, Vec<usize>) {
        let (mut labels, mut sizes, mut open) = (vec![None; bits.len()], Vec::new(), Vec::new());
        for start in 0..bits.len() {
            if bits[start] != value || labels[start].is_some() {
                continue;
            }
            labels[start] = Some(sizes.len());
            open.push(start);
            let mut size = 0;
            while let Some(at) = open.pop() {
                size += 1;
                let (x, y) = (at % w, at / w);
                for ny in y.saturating_sub(1)..(y + 2).min(h) {
                    for nx in x.saturating_sub(1)..(x + 2).min(w) {
                        let next = ny * w + nx;
                        if bits[next] == value && labels[next].is_none() {
                            labels[next] = Some(sizes.len());
                            open.push(next);
                        }
                    }
                }
            }
            sizes.push(size);
        }
        (labels, sizes)
    }

    #[test]
    fn regions_by_runs_are_regions_by_pixels() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(5);
        for (w, h) in [(1, 1), (1, 9), (9, 1), (7, 8), (23, 17), (40, 31)] {
            for density in [0.1, 0.3, 0.5, 0.7, 0.9] {
                let bits: Vec<bool> = (0..w * h).map(|_| rng.random_bool(density)).collect();
                for value in [false, true] {
                    let (labels, sizes) = flooded(&bits, value, w, h);
                    let regions = Regions::of(&bits, value, w, h);
                    assert_eq!(regions.sizes, sizes);
                    let mut painted = vec![None; bits.len()];
                    for run in &regions.runs {
                        painted[run.row * w + run.begin..run.row * w + run.end].fill(Some(run.region));
                    }
                    assert_eq!(painted, labels);
                }
            }
        }
    }
}
