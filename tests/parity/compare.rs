//! The comparison that names the first stage to diverge.

use std::path::PathBuf;
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

use crate::golden::Expected;

/// Largest allowed `max|a - b| / max(1, max|b|)` on the CPU in f32, by how deep in a model the stage lies.
pub mod tolerance {
    /// One matrix product, one convolution, element-wise work, a resize of floats.
    pub const LAYER: f64 = 2e-6;
    /// One transformer block.
    pub const BLOCK: f64 = 1e-5;
    /// The end of a stack of blocks.
    pub const STACK: f64 = 5e-5;
    /// SAM's and Qwen's logits, Depth Anything's depth.
    pub const OUTPUT: f64 = 1e-4;
    /// Integers and bytes.
    pub const EXACT: f64 = 0.0;
    /// At least this of everything but what is exact where the models run on another device than the CPU, whose sums are in
    /// another order. Measured on the software device: 1.3e-4 at most, SAM's logits of boxes.
    pub const DEVICE: f64 = 2e-4;
}

/// Where the models under test compute: the CPU, or the device that `DRAGUNOV_TEST_DEVICE` names.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let name = std::env::var("DRAGUNOV_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
        dragunov_models::device::parse(&name).unwrap().open().unwrap()
    };
    DEVICE.get_or_init(open).clone()
}

/// `fixtures/tiny/<path>`.
pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/tiny")
        .join(path)
}

/// `max|a - b| / max(1, max|b|)`; infinite where shapes differ or only one side is NaN.
pub fn error(got: &Tensor, want: &Tensor) -> f64 {
    if got.dims() != want.dims() {
        return f64::INFINITY;
    }
    let (got, want) = (flat(got), flat(want));
    gap(&got, &want, largest(&want))
}

pub fn flat(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    values.to_vec1().unwrap()
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// `max|a - b| / max(1, largest)`; infinite where only one side is NaN.
pub fn gap(got: &[f64], want: &[f64], largest: f64) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).fold(0.0, |worst, (a, b)| {
        let gap = (a - b).abs() / largest.max(1.0);
        let same = a == b || (a.is_nan() && b.is_nan());
        if same {
            worst
        } else if gap.is_nan() {
            f64::INFINITY
        } else {
            gap.max(worst)
        }
    })
}

/// Stages in the order of computation.
#[derive(Default)]
pub struct Stages(Vec<(String, f64, f64, String)>);

impl Stages {
    /// Notes how far `got` is from `want`; nothing fails before [`Stages::finish`].
    pub fn check(&mut self, name: impl Into<String>, got: &Tensor, want: &Expected, tolerance: f64) {
        let other_device = !device().is_cpu() && tolerance > tolerance::EXACT;
        let tolerance = if other_device {
            tolerance.max(tolerance::DEVICE)
        } else {
            tolerance
        };
        let shapes = format!("{:?} against {:?}", got.dims(), want.dims());
        self.0.push((name.into(), want.error(got), tolerance, shapes));
    }

    /// The first stage beyond its tolerance, in words.
    pub fn first_divergence(&self) -> Option<String> {
        let (name, err, tolerance, shapes) = self.0.iter().find(|(_, err, tolerance, _)| err > tolerance)?;
        Some(format!(
            "first diverging stage: {name} (error {err:.3e} > {tolerance:.0e}; shapes {shapes})"
        ))
    }

    /// Largest error of all stages.
    pub fn worst(&self) -> f64 {
        self.0.iter().map(|s| s.1).fold(0.0, f64::max)
    }

    /// # Panics
    /// If a stage diverged, naming the first and listing all; or if nothing was compared.
    pub fn finish(self) {
        assert!(!self.0.is_empty(), "nothing was compared");
        for (name, err, tolerance, _) in &self.0 {
            println!("{err:9.2e} of {tolerance:7.0e}  {name}");
        }
        if let Some(message) = self.first_divergence() {
            panic!("{message}");
        }
    }
}
