//! Integer bookkeeping: patch grids, attention windows, and the three position axes of the decoder.
//!
//! Reference: transformers 5.23 `vision_utils.py` (`get_vision_window_index`, `get_vision_position_ids`) and
//! `Qwen2_5_VLModel.get_rope_index`. All results are exact integers.

use crate::{ModelError, Result};

/// Patches of one image: frames, rows, columns (`image_grid_thw`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Grid {
    pub t: usize,
    pub h: usize,
    pub w: usize,
}

impl Grid {
    pub fn patches(&self) -> usize {
        self.t * self.h * self.w
    }

    /// Tokens that the decoder sees, `merge` x `merge` patches each.
    pub fn tokens(&self, merge: usize) -> usize {
        self.patches() / (merge * merge)
    }
}

/// Order of the merged tokens in which windows lie together, and cumulative window lengths in patches.
///
/// Returns `(window_index, cu_window_seqlens)`; windows are row-major, tokens inside a window too, and windows at
/// the right and lower edge are smaller. `window` is the side in merged tokens.
pub fn window_index(grids: &[Grid], merge: usize, window: usize) -> (Vec<usize>, Vec<usize>) {
    let mut index = Vec::new();
    let mut cumulative = vec![0];
    let mut base = 0;
    for grid in grids {
        let (rows, cols) = (grid.h / merge, grid.w / merge);
        for frame in 0..grid.t {
            for top in (0..rows).step_by(window) {
                for left in (0..cols).step_by(window) {
                    for y in top..rows.min(top + window) {
                        index.extend(
                            (left..cols.min(left + window)).map(|x| base + (frame * rows + y) * cols + x),
                        );
                    }
                    cumulative.push(index.len() * merge * merge);
                }
            }
        }
        base += grid.t * rows * cols;
    }
    (index, cumulative)
}

/// Cumulative lengths in patches of what a full-attention block sees at once: one frame of one image.
pub fn full_segments(grids: &[Grid]) -> Vec<usize> {
    let mut cumulative = vec![0];
    for grid in grids {
        for _ in 0..grid.t {
            cumulative.push(cumulative.last().copied().unwrap_or(0) + grid.h * grid.w);
        }
    }
    cumulative
}

/// (row, column) of every patch in the order of the processor: merge blocks row-major, patches inside them too.
pub fn patch_positions(grids: &[Grid], merge: usize) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    for grid in grids {
        for _ in 0..grid.t {
            for block_y in 0..grid.h / merge {
                for block_x in 0..grid.w / merge {
                    for y in 0..merge {
                        out.extend(
                            (0..merge).map(|x| ((block_y * merge + y) as u32, (block_x * merge + x) as u32)),
                        );
                    }
                }
            }
        }
    }
    out
}

/// Positions of one sequence on the temporal, vertical and horizontal axis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions {
    pub axes: [Vec<u32>; 3],
    /// A token generated at index `n` of the sequence has position `n + delta` on all axes (`rope_deltas`).
    pub delta: i64,
}

impl Positions {
    /// Text counts up on all axes; an image of h x w tokens spans a block and moves the count on by max(h, w).
    ///
    /// # Errors
    /// [`ModelError::Prompt`] if the image tokens in `ids` do not fit `grids`.
    pub fn of(ids: &[u32], image_token: u32, grids: &[Grid], merge: usize) -> Result<Self> {
        let mut out = Self::default();
        let mut push = |t: usize, y: usize, x: usize| {
            for (axis, value) in out.axes.iter_mut().zip([t, y, x]) {
                axis.push(value as u32);
            }
        };
        let mut images = grids.iter();
        let (mut next, mut i) = (0, 0);
        while i < ids.len() {
            if ids[i] != image_token {
                push(next, next, next);
                next += 1;
                i += 1;
                continue;
            }
            let misfit = || ModelError::Prompt(format!("the image tokens do not fit {} images", grids.len()));
            let grid = images.next().ok_or_else(misfit)?;
            let n = grid.tokens(merge);
            if n == 0 || ids.len() < i + n || ids[i..i + n].iter().any(|&id| id != image_token) {
                return Err(misfit());
            }
            let (rows, cols) = (grid.h / merge, grid.w / merge);
            for t in 0..grid.t {
                for y in 0..rows {
                    for x in 0..cols {
                        push(next + t, next + y, next + x);
                    }
                }
            }
            next += rows.max(cols);
            i += n;
        }
        if images.next().is_some() {
            return Err(ModelError::Prompt(format!(
                "{} images, but fewer image tokens",
                grids.len()
            )));
        }
        let top = out.axes.iter().flatten().max().map_or(0, |&m| i64::from(m) + 1);
        out.delta = top - ids.len() as i64;
        Ok(out)
    }

    /// `n` tokens of text from position `first` on.
    pub fn text(first: i64, n: usize) -> Self {
        let axis: Vec<u32> = (0..n as i64)
            .map(|i| u32::try_from(first + i).unwrap_or(0))
            .collect();
        Self {
            axes: [axis.clone(), axis.clone(), axis],
            delta: 0,
        }
    }

    /// The same behind `pad` tokens of padding, whose positions are 0.
    #[must_use]
    pub fn padded(&self, pad: usize) -> Self {
        let axes = self.axes.each_ref().map(|axis| {
            let mut out = vec![0; pad];
            out.extend_from_slice(axis);
            out
        });
        Self {
            axes,
            delta: self.delta,
        }
    }

    pub fn len(&self) -> usize {
        self.axes[0].len()
    }

    pub fn is_empty(&self) -> bool {
        self.axes[0].is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const IMG: u32 = 9;

    fn grid(h: usize, w: usize) -> Grid {
        Grid { t: 1, h, w }
    }

    fn ids(parts: &[(u32, usize)]) -> Vec<u32> {
        parts
            .iter()
            .flat_map(|&(id, n)| std::iter::repeat_n(id, n))
            .collect()
    }

    #[test]
    fn windows_of_ragged_grids() {
        let (index, cu) = window_index(&[grid(12, 10)], 2, 4);
        let expected = [
            0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18, 4, 9, 14, 19, 20, 21, 22, 23, 25, 26, 27,
            28, 24, 29,
        ];
        assert_eq!(index, expected);
        assert_eq!(cu, [0, 64, 80, 112, 120]);
        assert_eq!(window_index(&[grid(16, 16)], 2, 4).1, [0, 64, 128, 192, 256]);
        let (_, cu) = window_index(&[grid(4, 6), grid(12, 10)], 2, 4);
        assert_eq!(cu, [0, 24, 88, 104, 136, 144]);
        assert_eq!(full_segments(&[grid(4, 6), grid(12, 10)]), [0, 24, 144]);
    }

    #[test]
    fn three_axes() {
        let p = Positions::of(&ids(&[(1, 3), (IMG, 6), (1, 2)]), IMG, &[grid(4, 6)], 2).unwrap();
        assert_eq!(p.axes[0], [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7]);
        assert_eq!(p.axes[1], [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7]);
        assert_eq!(p.axes[2], [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7]);
        assert_eq!(p.delta, -3);
        let two = ids(&[(1, 2), (IMG, 6), (1, 2), (IMG, 30), (1, 3)]);
        assert_eq!(
            Positions::of(&two, IMG, &[grid(4, 6), grid(12, 10)], 2)
                .unwrap()
                .delta,
            -27
        );
        assert_eq!(Positions::of(&[1, 1, 1], IMG, &[], 2).unwrap().delta, 0);
    }

    #[test]
    fn image_tokens_must_fit() {
        for (ids, grids) in [
            (ids(&[(1, 1), (IMG, 5)]), vec![grid(4, 6)]),
            (ids(&[(1, 1), (IMG, 7)]), vec![grid(4, 6)]),
            (ids(&[(1, 4)]), vec![grid(4, 6)]),
            (ids(&[(IMG, 3), (1, 1), (IMG, 3)]), vec![grid(4, 6)]),
        ] {
            assert!(matches!(
                Positions::of(&ids, IMG, &grids, 2),
                Err(ModelError::Prompt(_))
            ));
        }
    }
}
