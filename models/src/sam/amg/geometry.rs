//! Boxes between first and last pixel, and greedy suppression as torchvision does it.

use super::Crop;

/// First and last pixel of a mask in both directions; all zero for an empty mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CornerBox {
    pub(super) x0: u32,
    pub(super) y0: u32,
    pub(super) x1: u32,
    pub(super) y1: u32,
}

impl CornerBox {
    pub(super) fn shifted(self, x: u32, y: u32) -> Self {
        Self {
            x0: self.x0 + x,
            y0: self.y0 + y,
            x1: self.x1 + x,
            y1: self.y1 + y,
        }
    }

    /// Whether a side lies along the crop's edge and not along the photo's: the object then goes on outside.
    pub(super) fn near_crop_edge(self, crop: Crop, (width, height): (usize, usize)) -> bool {
        const NEAR: i64 = 20;
        let near = |a: u32, b: usize| (i64::from(a) - b as i64).abs() <= NEAR;
        let sides = [
            (self.x0, crop.x0, 0),
            (self.y0, crop.y0, 0),
            (self.x1, crop.x1, width),
            (self.y1, crop.y1, height),
        ];
        sides
            .iter()
            .any(|&(side, edge, photo)| near(side, edge) && !near(side, photo))
    }

    /// Without the last pixel, as the reference has it.
    fn area(self) -> f32 {
        (self.x1 - self.x0) as f32 * (self.y1 - self.y0) as f32
    }

    /// NaN for two boxes without area, which then never suppress each other.
    fn iou(self, other: Self) -> f32 {
        let length = |a0: u32, a1: u32, b0: u32, b1: u32| a1.min(b1).saturating_sub(a0.max(b0)) as f32;
        let both =
            length(self.x0, self.x1, other.x0, other.x1) * length(self.y0, self.y1, other.y0, other.y1);
        both / (self.area() + other.area() - both)
    }
}

/// Which boxes stay, by falling score (equal scores in their given order): each drops all later ones that overlap it
/// by more than `threshold`.
pub(super) fn suppress(boxes: &[CornerBox], scores: &[f32], threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut kept: Vec<usize> = Vec::new();
    for candidate in order {
        let dropped = |&k: &usize| f64::from(boxes[k].iou(boxes[candidate])) > threshold;
        if !kept.iter().any(dropped) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corners(x0: u32, y0: u32, x1: u32, y1: u32) -> CornerBox {
        CornerBox { x0, y0, x1, y1 }
    }

    #[test]
    fn ties_keep_their_order_and_lines_survive() {
        let boxes = [
            corners(0, 0, 10, 10),
            corners(1, 0, 10, 10),
            corners(5, 5, 5, 9),
            corners(5, 5, 5, 9),
            corners(40, 0, 50, 10),
        ];
        assert_eq!(suppress(&boxes, &[0.5, 0.5, 0.9, 0.9, 0.7], 0.7), [2, 3, 4, 0]);
        // exactly at the threshold is kept
        assert_eq!(suppress(&boxes[..2], &[0.1, 0.2], 0.9), [1, 0]);
    }
}
