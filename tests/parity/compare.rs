//! Golden tensors and the comparison that names the first stage to diverge.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

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
}

/// `fixtures/tiny/<path>`.
pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/tiny")
        .join(path)
}

/// The tensors of one golden file, on the CPU.
pub struct Golden(HashMap<String, Tensor>);

impl Golden {
    /// # Panics
    /// If the file cannot be read.
    pub fn open(path: &str) -> Self {
        let path = fixture(path);
        match candle_core::safetensors::load(&path, &Device::Cpu) {
            Ok(tensors) => Self(tensors),
            Err(e) => panic!("{}: {e}", path.display()),
        }
    }

    /// # Panics
    /// If there is no tensor of that name.
    pub fn get(&self, name: &str) -> &Tensor {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no golden tensor {name:?}"))
    }

    /// Names that start with `prefix`, sorted.
    pub fn names(&self, prefix: &str) -> Vec<&str> {
        let mut names: Vec<_> = self
            .0
            .keys()
            .map(String::as_str)
            .filter(|n| n.starts_with(prefix))
            .collect();
        names.sort_unstable();
        names
    }
}

/// `max|a - b| / max(1, max|b|)`; infinite where shapes differ or only one side is NaN.
pub fn error(got: &Tensor, want: &Tensor) -> f64 {
    if got.dims() != want.dims() {
        return f64::INFINITY;
    }
    let flat = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    let (got, want) = (flat(got), flat(want));
    let largest = want.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    got.iter().zip(&want).fold(0.0, |worst, (a, b)| {
        let gap = (a - b).abs() / largest;
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
    pub fn check(&mut self, name: impl Into<String>, got: &Tensor, want: &Tensor, tolerance: f64) {
        let shapes = format!("{:?} against {:?}", got.dims(), want.dims());
        self.0.push((name.into(), error(got, want), tolerance, shapes));
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
