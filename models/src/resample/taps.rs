//! Along one axis: which input samples make each output sample, and with what weight.

use super::Filter;

/// A contiguous run of input samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// First input index.
    pub(super) start: usize,
    /// Offset of the first weight in [`Axis::weights`].
    at: usize,
    len: usize,
}

/// One [`Run`] for each output sample of an axis.
#[derive(Debug, Clone)]
pub(super) struct Axis<W> {
    runs: Vec<Run>,
    weights: Vec<W>,
}

impl<W: Copy> Axis<W> {
    fn with_capacity(outputs: usize, taps: usize) -> Self {
        Self {
            runs: Vec::with_capacity(outputs),
            weights: Vec::with_capacity(outputs * taps),
        }
    }

    fn push(&mut self, start: usize, weights: impl IntoIterator<Item = W>) {
        let at = self.weights.len();
        self.weights.extend(weights);
        let len = self.weights.len() - at;
        self.runs.push(Run { start, at, len });
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// First input index and weights of output `i`.
    pub(super) fn get(&self, i: usize) -> (usize, &[W]) {
        let run = self.runs[i];
        (run.start, &self.weights[run.at..run.at + run.len])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[W])> {
        (0..self.len()).map(|i| self.get(i))
    }

    pub(super) fn weights(&self) -> &[W] {
        &self.weights
    }

    pub(super) fn map<V: Copy>(&self, f: impl Fn(W) -> V) -> Axis<V> {
        Axis {
            runs: self.runs.clone(),
            weights: self.weights.iter().map(|&w| f(w)).collect(),
        }
    }
}

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
pub(super) fn antialias(filter: Filter, input: usize, output: usize, scale: f64) -> Axis<f64> {
    let stretch = scale.max(1.0);
    let support = stretch
        * match filter {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        };
    let mut axis = Axis::with_capacity(output, support.ceil() as usize * 2 + 1);
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
        axis.push(first, (first..end).map(|k| weight(k) / norm));
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
pub(super) fn linear(input: usize, output: usize, scale: f32, align_corners: bool) -> Axis<f32> {
    let scale = if input == output { 1.0 } else { scale };
    let mut axis = Axis::with_capacity(output, 2);
    for i in 0..output {
        let x = source(i, scale, align_corners).max(0.0);
        let first = (x as usize).min(input - 1);
        let t = (x - first as f32).clamp(0.0, 1.0);
        if first + 1 < input {
            axis.push(first, [1.0 - t, t]);
        } else {
            axis.push(first, [1.0]);
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
    axis: &mut Axis<W>,
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
    axis.push(start, folded.into_iter().take(end - start + 1));
}

/// PyTorch's bicubic taps, `a` = -0.75: the coordinate is not clamped, the taps are.
pub(super) fn cubic_f32(input: usize, output: usize, scale: f32, align_corners: bool) -> Axis<f32> {
    let mut axis = Axis::with_capacity(output, 4);
    for i in 0..output {
        let x = source(i, scale, align_corners);
        let t = (x - x.floor()).clamp(0.0, 1.0);
        fold(&mut axis, input, x.floor() as i64 - 1, cubic_weights(t));
    }
    axis
}

/// cv2's INTER_CUBIC taps: coordinate in f64 rounded to f32, weights in f32 with the last one as the remainder.
pub(super) fn cubic_cv2(input: usize, output: usize) -> Axis<f64> {
    let scale = 1.0 / (output as f64 / input as f64);
    let mut axis = Axis::with_capacity(output, 4);
    for i in 0..output {
        let x = ((i as f64 + 0.5) * scale - 0.5) as f32;
        let [a, b, c, _] = cubic_weights(x - x.floor());
        let weights = [a, b, c, 1.0 - a - b - c].map(f64::from);
        fold(&mut axis, input, x.floor() as i64 - 1, weights);
    }
    axis
}
