//! Removal of small holes and islands, and of the duplicates that it makes.

use super::geometry::CornerBox;
use super::{AmgConfig, AutoMask, keep};
use crate::Mask;

/// Cleans every mask, then suppresses again, those that needed no cleaning first.
pub(super) fn clean(masks: Vec<AutoMask>, config: &AmgConfig) -> Vec<AutoMask> {
    let area = config.min_mask_region_area;
    // marks changed masks by a score of 0
    let scored: Vec<(AutoMask, f32)> = masks
        .into_iter()
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
    let small = |r: u32| regions.sizes[r as usize] < area;
    let changed = (0..regions.sizes.len() as u32).any(small);
    if changed {
        for (bit, label) in bits.iter_mut().zip(&regions.labels) {
            *bit = label.is_none_or(small);
        }
    }
    changed
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
    let stays = |r: u32| {
        let r = r as usize;
        if all_small { r == largest } else { sizes[r] >= area }
    };
    for (bit, label) in bits.iter_mut().zip(&regions.labels) {
        *bit = label.is_some_and(stays);
    }
    true
}

/// 8-connected regions of pixels of one value, numbered in reading order.
struct Regions {
    labels: Vec<Option<u32>>,
    sizes: Vec<usize>,
}

impl Regions {
    fn of(bits: &[bool], value: bool, w: usize, h: usize) -> Self {
        let mut labels = vec![None; bits.len()];
        let mut sizes = Vec::new();
        let mut open = Vec::new();
        for start in 0..bits.len() {
            if bits[start] != value || labels[start].is_some() {
                continue;
            }
            let label = sizes.len() as u32;
            let mut size = 0;
            labels[start] = Some(label);
            open.push(start);
            while let Some(at) = open.pop() {
                size += 1;
                let (x, y) = (at % w, at / w);
                for ny in y.saturating_sub(1)..(y + 2).min(h) {
                    for nx in x.saturating_sub(1)..(x + 2).min(w) {
                        let next = ny * w + nx;
                        if bits[next] == value && labels[next].is_none() {
                            labels[next] = Some(label);
                            open.push(next);
                        }
                    }
                }
            }
            sizes.push(size);
        }
        Self { labels, sizes }
    }
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
}
