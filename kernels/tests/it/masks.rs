use dragunov_kernels::{MaskGrid, MaskThresholds, Mix, reference};

use super::support::values;

pub(crate) const THRESHOLDS: MaskThresholds = MaskThresholds {
    mask: 0.1,
    high: 0.3,
    low: -0.15,
};

/// `pixels` mixed of three neighbours of `cells` each, or of the last ones.
fn mix(pixels: usize, cells: usize, seed: u64) -> Mix {
    let mut axis = Mix::default();
    for (pixel, parts) in values(3 * pixels, seed).chunks_exact(3).enumerate() {
        let first = pixel * cells / pixels;
        let parts = &parts[..(cells - first).min(3)];
        let sum: f32 = parts.iter().map(|v| v.abs()).sum();
        axis.push(first, &parts.iter().map(|v| v.abs() / sum).collect::<Vec<_>>());
    }
    axis
}

/// Logits of four masks: everywhere something, a blot, a single cell, nothing; and a grid that they lie on.
pub(crate) fn drawing((width, height): (usize, usize), side: usize, seed: u64) -> (MaskGrid, Vec<f32>) {
    let grid = MaskGrid::new(side, mix(width, side, seed), mix(height, side, seed + 1)).unwrap();
    let mut logits = values(4 * side * side, seed + 2);
    for (mask, logits) in logits.chunks_exact_mut(side * side).enumerate().skip(1) {
        for (i, v) in logits.iter_mut().enumerate() {
            let (x, y) = (i % side, i / side);
            let inside = match mask {
                1 => x > side / 3 && x < side / 2 && y > side / 2,
                2 => (x, y) == (side - 1, side / 2),
                _ => false,
            };
            *v = if inside { v.abs() + 2. } else { -3. };
        }
    }
    (grid, logits)
}

/// Sizes of pictures and sides of logits: within a word, over several, larger and smaller than the logits.
pub(crate) const SIZES: [((usize, usize), usize); 5] = [
    ((1, 1), 1),
    ((7, 31), 5),
    ((40, 33), 9),
    ((70, 130), 16),
    ((9, 20), 24),
];

#[test]
fn masks_are_those_of_f64() {
    let mut drawn_something = 0;
    for (i, (size, side)) in SIZES.into_iter().enumerate() {
        let (grid, logits) = drawing(size, side, i as u64);
        for logits in logits.chunks_exact(side * side) {
            let wanted = reference::drawn_mask(logits, &grid);
            let (facts, bits) = grid.draw(logits, &THRESHOLDS);
            // Pixels that f32 may put on either side of a threshold.
            let unsure = |t: f32| wanted.iter().filter(|v| (*v - f64::from(t)).abs() < 1e-5).count();
            let above = |t: f32| wanted.iter().filter(|v| **v > f64::from(t)).count();
            for (found, threshold) in [
                (facts.above_high, THRESHOLDS.high),
                (facts.above_low, THRESHOLDS.low),
            ] {
                assert!((found as usize).abs_diff(above(threshold)) <= unsure(threshold));
            }
            let mut found = vec![false; wanted.len()];
            for x in 0..bits.columns {
                for (i, word) in bits.column(x).enumerate() {
                    for bit in (0..32).filter(|bit| word >> bit & 1 == 1) {
                        found[(bits.top + 32 * i + bit) * size.0 + bits.left + x] = true;
                        drawn_something += 1;
                    }
                }
            }
            for (found, wanted) in found.iter().zip(&wanted) {
                let wanted = wanted - f64::from(THRESHOLDS.mask);
                assert!(*found == (wanted > 0.) || wanted.abs() < 1e-5);
            }
            let of = |axis: fn(usize, usize) -> usize| {
                let places = found.iter().enumerate().filter(|(_, set)| **set);
                let all: Vec<u32> = places.map(|(i, _)| axis(i, size.0) as u32).collect();
                Some((*all.iter().min()?, *all.iter().max()?))
            };
            let bounds = of(|i, w| i % w).zip(of(|i, w| i / w));
            assert_eq!(facts.bounds, bounds.map(|((x0, x1), (y0, y1))| [x0, x1, y0, y1]));
        }
    }
    assert!(drawn_something > 1000, "{drawn_something} pixels of masks");
}

#[test]
fn a_grid_of_cells_that_are_not_there_is_refused() {
    let axis = |pixels: &[usize]| {
        let mut axis = Mix::default();
        for first in pixels {
            axis.push(*first, &[0.5, 0.5]);
        }
        axis
    };
    assert!(MaskGrid::new(4, axis(&[0, 1, 2]), axis(&[2])).is_ok());
    for (columns, rows) in [(&[3][..], &[0][..]), (&[0], &[1, 0]), (&[], &[0])] {
        assert!(
            MaskGrid::new(4, axis(columns), axis(rows)).is_err(),
            "{columns:?} {rows:?}"
        );
    }
}
