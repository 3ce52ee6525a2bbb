//! `torch.nn.functional.interpolate` on f32 planes.

use dragunov_kernels::Mix;
use rayon::prelude::*;

use super::taps::{antialias, cubic_f32, linear};
use super::{Filter, check_target};
use crate::{ModelError, Result};

/// The arguments of `interpolate` beside the size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TorchResize {
    filter: Filter,
    align_corners: bool,
    antialias: bool,
    scale_factor: Option<(f64, f64)>,
}

impl TorchResize {
    /// `mode="bilinear", align_corners=False`.
    pub fn bilinear() -> Self {
        Self::new(Filter::Bilinear)
    }

    /// `mode="bicubic", align_corners=False`.
    pub fn bicubic() -> Self {
        Self::new(Filter::Bicubic)
    }

    fn new(filter: Filter) -> Self {
        Self {
            filter,
            align_corners: false,
            antialias: false,
            scale_factor: None,
        }
    }

    /// Maps corner centres onto corner centres. Has no meaning with antialias or a scale factor.
    #[must_use]
    pub fn align_corners(mut self, yes: bool) -> Self {
        self.align_corners = yes;
        self
    }

    /// Widens the kernel when the picture shrinks; PyTorch's cubic constant is then -0.5.
    #[must_use]
    pub fn antialias(mut self) -> Self {
        self.antialias = true;
        self
    }

    /// The call gave `scale_factor=(height, width)`: source coordinates use it in place of the ratio of sizes.
    #[must_use]
    pub fn scale_factor(mut self, height: f64, width: f64) -> Self {
        self.scale_factor = Some((height, width));
        self
    }

    fn axis(&self, input: usize, output: usize, factor: Option<f64>) -> Mix<f32> {
        let ratio = match factor {
            Some(factor) => 1.0 / factor,
            None => input as f64 / output as f64,
        };
        if self.antialias {
            return antialias(self.filter, input, output, ratio).map(|w| *w as f32);
        }
        let scale = match (self.align_corners, factor) {
            (true, _) if output > 1 => (input - 1) as f32 / (output - 1) as f32,
            (true, _) => 0.0,
            (false, Some(factor)) => (1.0 / factor) as f32,
            (false, None) => input as f32 / output as f32,
        };
        match self.filter {
            Filter::Bilinear => linear(input, output, scale, self.align_corners),
            Filter::Bicubic => cubic_f32(input, output, scale, self.align_corners),
        }
    }
}

/// Resizes every plane of `data`, which holds row-major planes of `from` = (height, width), to `to` = (height, width).
///
/// # Errors
/// [`ModelError::Image`] if a side is zero or `data` is not a whole number of planes.
pub fn torch_planes(
    data: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    options: &TorchResize,
) -> Result<Vec<f32>> {
    check_target(to.1, to.0)?;
    let plane = from.0 * from.1;
    if plane == 0 || !data.len().is_multiple_of(plane) {
        let reason = format!("{} values are not a whole number of planes", data.len());
        return Err(ModelError::Image {
            width: from.1,
            height: from.0,
            reason,
        });
    }
    let factor = options.scale_factor;
    let across = options.axis(from.1, to.1, factor.map(|f| f.1));
    let down = options.axis(from.0, to.0, factor.map(|f| f.0));
    let mut wide = vec![0.0; data.len() / from.1 * to.1];
    let rows = wide.par_chunks_exact_mut(to.1).zip(data.par_chunks_exact(from.1));
    rows.for_each(|(out, row)| {
        for (value, (start, weights)) in out.iter_mut().zip(across.iter()) {
            *value = row[start..].iter().zip(weights).map(|(v, w)| v * w).sum();
        }
    });
    let mut out = vec![0.0; data.len() / plane * to.0 * to.1];
    out.par_chunks_exact_mut(to.1)
        .enumerate()
        .for_each(|(index, row)| {
            let (start, weights) = down.of(index % to.0);
            let first = (index / to.0 * from.0 + start) * to.1;
            for (values, &w) in wide[first..].chunks_exact(to.1).zip(weights) {
                for (sum, v) in row.iter_mut().zip(values) {
                    *sum += v * w;
                }
            }
        });
    Ok(out)
}
