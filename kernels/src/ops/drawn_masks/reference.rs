//! Plain loops in f64.

use super::MaskGrid;

/// The values of all pixels, row-major, that `logits` (side, side) are mixed to.
pub fn drawn_mask(logits: &[f32], grid: &MaskGrid) -> Vec<f64> {
    let mut out = Vec::with_capacity(grid.width() * grid.height());
    for (y, x) in (0..grid.height()).flat_map(|y| (0..grid.width()).map(move |x| (y, x))) {
        let ((top, down), (left, along)) = (grid.rows.of(y), grid.columns.of(x));
        let mut sum = 0.;
        for (i, v) in down.iter().enumerate() {
            for (j, h) in along.iter().enumerate() {
                let cell = logits[(top + i) * grid.side + left + j];
                sum += f64::from(*v) * f64::from(*h) * f64::from(cell);
            }
        }
        out.push(sum);
    }
    out
}
