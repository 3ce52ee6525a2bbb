//! Rotary embeddings: two axes in the vision tower, three in the decoder. Tables are computed in f32.

use candle_core::{DType, Device, Result, Tensor};

use super::grid::Positions;
use crate::nn::rotary;

/// Cosines and sines of half the rotated width: (N, d/2), or (B, N, d/2) for a batch.
#[derive(Debug, Clone)]
pub struct Rotation {
    pub cos: Tensor,
    pub sin: Tensor,
}

impl Rotation {
    fn new(angles: Vec<f32>, shape: &[usize], device: &Device) -> Result<Self> {
        Self::of(&Tensor::from_vec(angles, shape, device)?)
    }

    /// By angles in f32.
    pub(super) fn of(angles: &Tensor) -> Result<Self> {
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    pub(super) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self {
            cos: self.cos.to_dtype(dtype)?,
            sin: self.sin.to_dtype(dtype)?,
        })
    }

    /// Cosines and sines.
    pub(super) fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// Rotates `x` (B, H, N, d) by halves (`x cos + rotate_half(x) sin`), in the type of `x`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let table = self.to_dtype(x.dtype())?;
        rotary(x, &table.cos, &table.sin)
    }

    /// The same, in f32 whatever the type of `x`.
    pub fn apply_f32(&self, x: &Tensor) -> Result<Tensor> {
        let table = self.to_dtype(DType::F32)?;
        rotary(x, &table.cos, &table.sin)
    }
}

/// `theta^(-2k / dim)` for k in 0 .. dim/2.
fn inverse_frequencies(dim: usize, theta: f64) -> Vec<f32> {
    let exponent = |k: usize| (2 * k) as f32 / dim as f32;
    (0..dim / 2)
        .map(|k| 1. / (theta as f32).powf(exponent(k)))
        .collect()
}

/// Angles of patches at (row, column): the first half of them turns with the row, the second with the column.
pub fn vision(positions: &[(u32, u32)], head_dim: usize, theta: f64, device: &Device) -> Result<Rotation> {
    let inverse = inverse_frequencies(head_dim / 2, theta);
    let mut angles = Vec::with_capacity(positions.len() * head_dim / 2);
    for &(row, column) in positions {
        for at in [row, column] {
            angles.extend(inverse.iter().map(|f| at as f32 * f));
        }
    }
    Rotation::new(angles, &[positions.len(), head_dim / 2], device)
}

/// Rotations of the decoder for a batch of sequences of one length: (B, N, head_dim / 2).
#[derive(Debug, Clone)]
pub struct TextRope {
    inverse: Vec<f32>,
    /// Axis (0 temporal, 1 vertical, 2 horizontal) that each frequency turns with.
    axis: Vec<usize>,
}

impl TextRope {
    /// `sections` holds the number of frequencies of each axis and adds up to `head_dim / 2`.
    pub fn new(head_dim: usize, theta: f64, sections: &[usize]) -> Self {
        let axis = sections
            .iter()
            .enumerate()
            .flat_map(|(axis, &n)| std::iter::repeat_n(axis, n))
            .collect();
        Self {
            inverse: inverse_frequencies(head_dim, theta),
            axis,
        }
    }

    pub fn rotation(&self, rows: &[Positions], device: &Device) -> Result<Rotation> {
        let n = rows.first().map_or(0, Positions::len);
        Rotation::new(self.angles(rows), &[rows.len(), n, self.axis.len()], device)
    }

    /// Angles of tokens of several sequences of one length, (B, N, head_dim / 2).
    pub(super) fn angles(&self, rows: &[Positions]) -> Vec<f32> {
        let n = rows.first().map_or(0, Positions::len);
        let mut angles = Vec::with_capacity(rows.len() * n * self.axis.len());
        for row in rows {
            for i in 0..n {
                angles.extend(
                    self.axis
                        .iter()
                        .zip(&self.inverse)
                        .map(|(&axis, f)| row.axes[axis][i] as f32 * f),
                );
            }
        }
        angles
    }
}
