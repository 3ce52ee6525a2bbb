//! Chains of layers in pieces, on devices where what one layer wrote is then still in the cache when the next reads it.

use std::ops::Range;

use candle_core::{Result, Tensor};
use dragunov_kernels::{Activation, activation, join_rows, works_in_pieces};

/// Output rows of a strip.
const STRIP: usize = 24;
/// Floats of a hidden layer that is computed at once (16 MiB)...
const PIECE: usize = 4 << 20;
/// ...if all of it has more (32 MiB): allocators take larger blocks from the system every time.
const LARGE: usize = 8 << 20;

/// `f` of `chain` of a map (B, C, H, W), strip by strip; `chain` has one 3 x 3 convolution with this stride and a padding of 1,
/// everything else in it is pixel by pixel. It is given rows of the map and which rows of that convolution's output are wanted; the
/// others miss their neighbours.
///
/// # Errors
/// What `chain` answers.
pub fn in_strips(
    x: &Tensor,
    stride: usize,
    f: Activation,
    chain: impl Fn(&Tensor, Range<usize>) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, _, height, _) = x.dims4()?;
    let rows = height.div_ceil(stride);
    if !works_in_pieces(x.device()) || rows <= STRIP {
        return activation(&chain(x, 0..rows)?, f);
    }
    let mut strips = Vec::new();
    for image in 0..batch {
        let x = x.narrow(0, image, 1)?;
        for first in (0..rows).step_by(STRIP) {
            let last = (first + STRIP).min(rows);
            // With the neighbours above and below.
            let begin = first.saturating_sub(1) * stride;
            let end = ((last - 1) * stride + 2).min(height);
            let above = first - begin / stride;
            let strip = chain(&x.narrow(2, begin, end - begin)?, above..above + last - first)?;
            strips.push(strip.permute((0, 2, 3, 1))?.squeeze(0)?);
        }
    }
    // (all rows of all images, W', C')
    let all = join_rows(&strips, f)?;
    let (_, width, channels) = all.dims3()?;
    all.reshape((batch, rows, width, channels))?.permute((0, 3, 1, 2))
}

/// `chain`, which treats every token on its own, of (B, N, C), in pieces whose hidden layer, `hidden` wide, is not too large.
///
/// # Errors
/// What `chain` answers.
pub fn in_pieces(x: &Tensor, hidden: usize, chain: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    let rows = batch * tokens;
    if !works_in_pieces(x.device()) || rows * hidden <= LARGE {
        return chain(x);
    }
    let x = x.reshape((1, rows, width))?;
    let pieces = (rows * hidden).div_ceil(PIECE);
    let piece = rows.div_ceil(pieces);
    let pieces = (0..rows)
        .step_by(piece)
        .map(|first| chain(&x.narrow(1, first, piece.min(rows - first))?)?.squeeze(0))
        .collect::<Result<Vec<_>>>()?;
    let all = join_rows(&pieces, Activation::Identity)?;
    let width = all.dim(1)?;
    all.reshape((batch, tokens, width))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Module};

    use super::*;
    use crate::nn::{Conv2d, Conv2dConfig, Linear};

    fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
        Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn strips_are_the_whole() {
        for (stride, height) in [(1, 24), (1, 25), (1, 60), (2, 49), (2, 100), (2, 101)] {
            let config = Conv2dConfig {
                stride,
                padding: 1,
                groups: 5,
            };
            let conv = Conv2d::new(&random((5, 1, 3, 3)), Some(random(5)), config).unwrap();
            let x = random((2, 5, height, 7));
            let whole = conv.forward(&x).unwrap();
            let of_strips = |f| {
                in_strips(&x, stride, f, |x, rows| {
                    conv.forward(x)?.narrow(2, rows.start, rows.len())
                })
            };
            for f in [Activation::Identity, Activation::Gelu] {
                assert_eq!(
                    flat(&of_strips(f).unwrap()),
                    flat(&activation(&whole, f).unwrap()),
                    "stride {stride} of {height}"
                );
            }
        }
    }

    #[test]
    fn pieces_are_the_whole() {
        let layer = Linear::new(random((6, 4)), Some(random(6)));
        let x = random((2, 9, 4));
        for hidden in [1, LARGE / 18 + 1, LARGE] {
            let pieces = in_pieces(&x, hidden, |x| layer.forward(x)).unwrap();
            assert_eq!(pieces.dims(), [2, 9, 6]);
            assert_eq!(flat(&pieces), flat(&layer.forward(&x).unwrap()), "{hidden}");
        }
    }
}
