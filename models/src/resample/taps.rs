//! Along one axis: which input samples make each output sample, and with what weight.

use dragunov_kernels::Mix;

use super::Filter;

/// Keys' cubic with constant `a`, in the two branches that all references share.
fn cubic(a: f64, x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

/// Antialiased taps in f64: the support grows with the reduction, cut at the border, normalised to 1.
///
/// Pillow `precompute_coeffs` and ATen's `_compute_index_ranges_weights` agree on this (`a` = -0.5).
/// `scale` is input samples per output sample, `input / output` unless a scale factor was given.
pub(super) fn antialias(filter: Filter, input: usize, output: usize, scale: f64) -> Mix<f64> {
    let stretch = scale.max(1.0);
    let support = stretch
        * match filter {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        };
    let mut axis = Mix::default();
    let mut weights = Vec::with_capacity(support.ceil() as usize * 2 + 1);
    for i in 0..output {
        let center = (i as f64 + 0.5) * scale;
        // Truncation toward zero, then the clamp, as `(int)` does in C.
        let first = ((center - support + 0.5) as i64).clamp(0, input as i64 - 1) as usize;
        let end = ((center + support + 0.5) as usize).clamp(first + 1, input);
        let weight = |k: usize| {
            let x = (k as f64 - center + 0.5) * (1.0 / stretch);
            match filter {
                Filter::Bilinear => (1.0 - x.abs()).max(0.0),
                Filter::Bicubic => cubic(-0.5, x),
            }
        };
        let sum: f64 = (first..end).map(weight).sum();
        let norm = if sum == 0.0 { 1.0 } else { sum };
        weights.clear();
        weights.extend((first..end).map(|k| weight(k) / norm));
        axis.push(first, &weights);
    }
    axis
}

/// Source coordinate in f32 of every output sample, without antialias (PyTorch `area_pixel_compute_source_index`).
fn source(i: usize, scale: f32, align_corners: bool) -> f32 {
    if align_corners {
        i as f32 * scale
    } else {
        (i as f32 + 0.5) * scale - 0.5
    }
}

/// PyTorch's bilinear taps: coordinate clamped at 0, second tap clamped at the border.
///
/// Equal sizes are copied whatever the scale factor says, as in `compute_source_index_and_lambda`.
pub(super) fn linear(input: usize, output: usize, scale: f32, align_corners: bool) -> Mix<f32> {
    let scale = if input == output { 1.0 } else { scale };
    let mut axis = Mix::default();
    for i in 0..output {
        let x = source(i, scale, align_corners).max(0.0);
        let first = (x as usize).min(input - 1);
        let t = (x - first as f32).clamp(0.0, 1.0);
        if first + 1 < input {
            axis.push(first, &[1.0 - t, t]);
        } else {
            axis.push(first, &[1.0]);
        }
    }
    axis
}

/// Weights of the four taps around a sample at fraction `t`, `a` = -0.75, in f32.
pub(super) fn cubic_weights(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

/// Four taps from `first` on, with those outside folded onto the border samples.
fn fold<W: Copy + std::ops::AddAssign + Default>(
    axis: &mut Mix<W>,
    input: usize,
    first: i64,
    weights: [W; 4],
) {
    let clamp = |k: i64| k.clamp(0, input as i64 - 1) as usize;
    let (start, end) = (clamp(first), clamp(first + 3));
    let mut folded = [W::default(); 4];
    for (k, w) in (first..).zip(weights) {
        folded[clamp(k) - start] += w;
    }
    axis.push(start, &folded[..=end - start]);
}

/// PyTorch's bicubic taps, `a` = -0.75: the coordinate is not clamped, the taps are.
pub(super) fn cubic_f32(input: usize, output: usize, scale: f32, align_corners: bool) -> Mix<f32> {
    let mut axis = Mix::default();
    for i in 0..output {
        let x = source(i, scale, align_corners);
        let t = (x - x.floor()).clamp(0.0, 1.0);
        fold(&mut axis, input, x.floor() as i64 - 1, cubic_weights(t));
    }
    axis
}

/// cv2's INTER_CUBIC taps: coordinate in f64 rounded to f32, weights in f32 with the last one as the remainder.
pub(crate) fn cubic_cv2(input: usize, output: usize) -> Mix<f64> {
    let scale = 1.0 / (output as f64 / input as f64);
    let mut axis = Mix::default();
    for i in 0..output {
        let x = ((i as f64 + 0.5) * scale - 0.5) as f32;
        let [a, b, c, _] = cubic_weights(x - x.floor());
        let weights = [a, b, c, 1.0 - a - b - c].map(f64::from);
        fold(&mut axis, input, x.floor() as i64 - 1, weights);
    }
    axis
}
