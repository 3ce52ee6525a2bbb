//! Image-sized boolean masks, kept run-length encoded.

mod coco;

use crate::{ImagePx, Rect};

/// Boolean mask over an image, as COCO run lengths: column-major, the first run counts zeros.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    counts: Vec<u32>,
}

impl Mask {
    /// From row-major booleans (`bits.len() == width * height`).
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn from_bits(width: usize, height: usize, bits: &[bool]) -> Self {
        assert_eq!(bits.len(), width * height, "mask bits");
        Self::from_fn(width, height, |x, y| bits[y * width + x])
    }

    pub fn from_fn(width: usize, height: usize, set: impl Fn(usize, usize) -> bool) -> Self {
        let mut counts = Vec::new();
        let (mut run, mut value) = (0u32, false);
        for x in 0..width {
            for y in 0..height {
                if set(x, y) != value {
                    counts.push(run);
                    run = 0;
                    value = !value;
                }
                run += 1;
            }
        }
        counts.push(run);
        Self {
            width,
            height,
            counts,
        }
    }

    /// From uncompressed COCO counts; `None` if they do not add up to the image's size.
    pub fn from_counts(width: usize, height: usize, counts: Vec<u32>) -> Option<Self> {
        let total: u64 = counts.iter().map(|&c| u64::from(c)).sum();
        (total == (width as u64) * (height as u64)).then_some(Self {
            width,
            height,
            counts,
        })
    }

    pub fn empty(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            counts: vec![(width * height) as u32],
        }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// Uncompressed COCO counts.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Set pixels.
    pub fn area(&self) -> usize {
        self.counts.iter().skip(1).step_by(2).map(|&c| c as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.area() == 0
    }

    /// Row-major booleans.
    pub fn to_bits(&self) -> Vec<bool> {
        let mut bits = vec![false; self.width * self.height];
        self.for_each_run(|x, y0, y1| {
            for y in y0..y1 {
                bits[y * self.width + x] = true;
            }
        });
        bits
    }

    /// Calls `f(x, y0, y1)` for every vertical run of set pixels within a column.
    pub fn for_each_run(&self, mut f: impl FnMut(usize, usize, usize)) {
        let mut at = 0usize;
        for (i, &count) in self.counts.iter().enumerate() {
            let end = at + count as usize;
            if i % 2 == 1 {
                let mut start = at;
                while start < end {
                    let x = start / self.height;
                    let stop = end.min((x + 1) * self.height);
                    f(x, start - x * self.height, stop - x * self.height);
                    start = stop;
                }
            }
            at = end;
        }
    }

    /// Smallest box around the set pixels, upper edges exclusive; `None` if empty.
    pub fn bbox(&self) -> Option<Rect<ImagePx>> {
        let (mut x0, mut y0, mut x1, mut y1) = (usize::MAX, usize::MAX, 0, 0);
        self.for_each_run(|x, a, b| {
            x0 = x0.min(x);
            x1 = x1.max(x + 1);
            y0 = y0.min(a);
            y1 = y1.max(b);
        });
        (x1 > 0).then(|| Rect::new(x0 as f64, y0 as f64, x1 as f64, y1 as f64))
    }

    /// How many sides of the picture have set pixels, 0 to 4.
    pub fn sides_touched(&self) -> usize {
        self.bbox().map_or(0, |b| {
            usize::from(b.x0 == 0.0)
                + usize::from(b.y0 == 0.0)
                + usize::from(b.x1 == self.width as f64)
                + usize::from(b.y1 == self.height as f64)
        })
    }

    /// This mask as a part of a larger picture, its upper left pixel at (`x0`, `y0`).
    ///
    /// # Panics
    /// If it does not fit in there.
    #[must_use]
    pub fn placed(&self, width: usize, height: usize, x0: usize, y0: usize) -> Self {
        assert!(
            x0 + self.width <= width && y0 + self.height <= height,
            "mask place"
        );
        let (mut counts, mut end) = (Vec::with_capacity(self.counts.len() + 1), 0);
        self.for_each_run(|x, a, b| {
            let start = (x0 + x) * height + y0 + a;
            if start > end || counts.is_empty() {
                counts.extend([(start - end) as u32, (b - a) as u32]);
            } else if let Some(run) = counts.last_mut() {
                *run += (b - a) as u32;
            }
            end = start + b - a;
        });
        counts.push((width * height - end) as u32);
        Self {
            width,
            height,
            counts,
        }
    }

    /// Pixel by pixel `op(self, other)`; `op(false, false)` must be false.
    ///
    /// # Panics
    /// If the sizes differ.
    #[must_use]
    pub fn combine(&self, other: &Self, op: impl Fn(bool, bool) -> bool) -> Self {
        let mut counts = vec![];
        let (mut run, mut value) = (0u32, false);
        self.zip_runs(other, |a, b, step| {
            if op(a, b) != value {
                counts.push(run);
                run = 0;
                value = !value;
            }
            run += step;
        });
        counts.push(run);
        Self {
            width: self.width,
            height: self.height,
            counts,
        }
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    /// Pixels set in both.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn intersection_area(&self, other: &Self) -> usize {
        let mut both = 0;
        self.zip_runs(other, |a, b, step| both += if a && b { step as usize } else { 0 });
        both
    }

    /// Calls `f(in self, in other, pixels)` for every stretch in which neither mask changes.
    fn zip_runs(&self, other: &Self, mut f: impl FnMut(bool, bool, u32)) {
        assert_eq!(
            (self.width, self.height),
            (other.width, other.height),
            "mask sizes"
        );
        let (mut i, mut j) = (0, 0);
        let (mut left_a, mut left_b) = (self.counts.first().copied(), other.counts.first().copied());
        while let (Some(a), Some(b)) = (left_a, left_b) {
            let step = a.min(b);
            if step > 0 {
                f(i % 2 == 1, j % 2 == 1, step);
            }
            left_a = Some(a - step);
            left_b = Some(b - step);
            if a == step {
                i += 1;
                left_a = self.counts.get(i).copied();
            }
            if b == step {
                j += 1;
                left_b = other.counts.get(j).copied();
            }
        }
    }

    pub fn iou(&self, other: &Self) -> f64 {
        let both = self.intersection_area(other);
        let union = self.area() + other.area() - both;
        if union == 0 {
            0.0
        } else {
            both as f64 / union as f64
        }
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} x {}, {} px)", self.width, self.height, self.area())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_bits_boxes_and_overlap_agree() {
        let bits = [
            false, true, true, false, false, true, false, false, true, true, false, false,
        ];
        let m = Mask::from_bits(4, 3, &bits);
        assert_eq!(m.counts(), [2, 5, 5]);
        assert_eq!(m.to_bits(), bits);
        assert_eq!(m.area(), 5);
        assert_eq!(m.bbox(), Some(Rect::new(0.0, 0.0, 3.0, 3.0)));
        let n = Mask::from_fn(4, 3, |x, _| x == 1);
        assert_eq!((m.intersection_area(&n), n.area()), (3, 3));
        assert!((m.iou(&n) - 0.6).abs() < 1e-12);
        assert_eq!(m.union(&n), Mask::from_fn(4, 3, |x, y| x == 1 || bits[y * 4 + x]));
        assert_eq!(
            m.subtract(&n),
            Mask::from_fn(4, 3, |x, y| x != 1 && bits[y * 4 + x])
        );
        assert_eq!(n.subtract(&n), Mask::empty(4, 3));
        assert_eq!(Mask::empty(4, 3).bbox(), None);
        assert_eq!(Mask::from_counts(4, 3, vec![5]), None);
    }
}
