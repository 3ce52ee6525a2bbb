//! Golden files: small tensors and inputs whole, of a large tensor a sample and sums (`fixtures/generate/golden.py`).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::compare::{error, fixture, flat, gap, largest};

/// As in `golden.py`.
const STEP: usize = 16;
const BLOCK: usize = 64;
const SIGNS: u64 = 0x9E37_79B9_7F4A_7C15;

/// A tensor to compare with.
#[derive(Debug)]
pub enum Expected {
    Whole(Tensor),
    Thinned(Thinned),
}

impl From<Tensor> for Expected {
    fn from(tensor: Tensor) -> Self {
        Self::Whole(tensor)
    }
}

impl Expected {
    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Whole(tensor) => tensor.dims(),
            Self::Thinned(thinned) => &thinned.dims,
        }
    }

    /// As [`error`]; of a thinned tensor the larger one of sample and sums, each over the largest of the whole.
    pub fn error(&self, got: &Tensor) -> f64 {
        match self {
            Self::Whole(want) => error(got, want),
            Self::Thinned(want) => want.error(got),
        }
    }
}

/// What is left of a large tensor.
#[derive(Debug)]
pub struct Thinned {
    dims: Vec<usize>,
    sample: Vec<f64>,
    sums: Vec<f64>,
    largest: f64,
}

impl Thinned {
    pub fn new(tensor: &Tensor) -> Self {
        let values = flat(tensor);
        Self {
            dims: tensor.dims().to_vec(),
            sample: sample(&values),
            sums: sums(&values),
            largest: largest(&values),
        }
    }

    /// A sum may be off by as much as an element: what rounding adds up to in a block stays below that (`golden.py`).
    fn error(&self, got: &Tensor) -> f64 {
        if got.dims() != self.dims {
            return f64::INFINITY;
        }
        let got = Self::new(got);
        gap(&got.sample, &self.sample, self.largest).max(gap(&got.sums, &self.sums, self.largest))
    }
}

/// The distance of sampled elements: the first from [`STEP`] on that has no divisor in common with a side.
fn step(len: usize) -> usize {
    fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    (STEP..).find(|&k| gcd(k, len) == 1).unwrap()
}

fn sample(values: &[f64]) -> Vec<f64> {
    values.iter().copied().step_by(step(values.len())).collect()
}

fn sums(values: &[f64]) -> Vec<f64> {
    let sign = |j: usize| if SIGNS >> j & 1 == 1 { -1.0 } else { 1.0 };
    let weight = |j: usize| sign(j) * (1.0 + j as f64 / 256.0);
    let sum = |block: &[f64]| (0..).zip(block).fold(0.0, |sum, (j, v)| sum + weight(j) * v);
    values.chunks(BLOCK).map(sum).collect()
}

/// The tensors of one golden file, on the CPU.
#[derive(Debug)]
pub struct Golden(BTreeMap<String, Expected>);

impl Golden {
    /// # Panics
    /// If the file cannot be read.
    pub fn open(path: &str) -> Self {
        let path = fixture(path);
        let mut stored = match candle_core::safetensors::load(&path, &Device::Cpu) {
            Ok(tensors) => tensors,
            Err(e) => panic!("{}: {e}", path.display()),
        };
        let keys: Vec<_> = stored.keys().cloned().collect();
        let mut tensors = BTreeMap::new();
        for key in keys {
            let Some((name, sides)) = key.strip_suffix(']').and_then(|key| key.split_once('[')) else {
                tensors.insert(key.clone(), stored.remove(&key).unwrap().into());
                continue;
            };
            if sides == "sums" {
                continue;
            }
            let mut sums = flat(&stored[&format!("{name}[sums]")]);
            let thinned = Thinned {
                dims: sides.split(',').map(|side| side.parse().unwrap()).collect(),
                sample: flat(&stored[&key]),
                largest: sums.remove(0),
                sums,
            };
            tensors.insert(name.to_owned(), Expected::Thinned(thinned));
        }
        Self(tensors)
    }

    /// # Panics
    /// If there is no tensor of that name.
    pub fn get(&self, name: &str) -> &Expected {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no golden tensor {name:?}"))
    }

    /// # Panics
    /// If there is no tensor of that name, or not all of it.
    pub fn whole(&self, name: &str) -> &Tensor {
        match self.get(name) {
            Expected::Whole(tensor) => tensor,
            Expected::Thinned(_) => panic!("{name:?} is thinned"),
        }
    }

    /// Names that start with `prefix`, sorted.
    pub fn names(&self, prefix: &str) -> Vec<&str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|n| n.starts_with(prefix)).collect()
    }
}

mod tests {
    use super::*;
    use crate::compare::tolerance;

    /// A tensor whose sides have the divisors of [`STEP`] and more, and what its golden file would hold.
    fn example() -> (Vec<f64>, Thinned) {
        let values: Vec<f64> = (0..3 * 16 * 34).map(|i| f64::from(i * 37 % 101) / 25.0).collect();
        let thinned = Thinned::new(&tensor(&values));
        (values, thinned)
    }

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, (3, 16, 34), &Device::Cpu).unwrap()
    }

    #[test]
    fn every_single_element_counts() {
        let (values, thinned) = example();
        assert_eq!(thinned.error(&tensor(&values)), 0.0);
        let (k, scale) = (step(values.len()), 4.0);
        assert_eq!(k, 19);
        let mut sampled = 0;
        for i in 0..values.len() {
            let mut wrong = values.clone();
            wrong[i] += 1.001 * tolerance::LAYER * scale;
            assert!(thinned.error(&tensor(&wrong)) > tolerance::LAYER, "element {i}");
            // and each of the two sees its share without the other
            let by_sample = gap(&sample(&wrong), &thinned.sample, 4.0) > tolerance::LAYER;
            assert_eq!(by_sample, i % k == 0, "element {i}");
            sampled += usize::from(by_sample);
        }
        assert_eq!(sampled, values.len().div_ceil(k));
    }

    #[test]
    fn elements_that_change_places_are_seen() {
        let (values, thinned) = example();
        for i in 0..values.len() - 1 {
            let mut wrong = values.clone();
            wrong.swap(i, i + 1);
            let same = values[i] == values[i + 1];
            assert_eq!(thinned.error(&tensor(&wrong)) == 0.0, same, "element {i}");
        }
        let turned = tensor(&values).reshape((3, 34, 16)).unwrap();
        assert_eq!(thinned.error(&turned), f64::INFINITY);
        let mut nan = values;
        nan[1] = f64::NAN;
        assert_eq!(thinned.error(&tensor(&nan)), f64::INFINITY);
    }

    #[test]
    fn every_row_column_and_channel_is_sampled() {
        for dims in [(3, 16, 34), (1, 40, 56), (17, 19, 64)] {
            let (c, h, w) = dims;
            let n = c * h * w;
            let met: Vec<_> = (0..n)
                .step_by(step(n))
                .map(|i| (i / (h * w), i / w % h, i % w))
                .collect();
            assert!((0..c).all(|at| met.iter().any(|m| m.0 == at)), "{dims:?}");
            assert!((0..h).all(|at| met.iter().any(|m| m.1 == at)), "{dims:?}");
            assert!((0..w).all(|at| met.iter().any(|m| m.2 == at)), "{dims:?}");
        }
    }

    /// The two sides of the format agree: elements that are in the sample of a golden file and in its sums.
    #[test]
    fn nothing_in_the_golden_files_is_of_another_format() {
        let mut thinned = 0;
        for file in [
            "depth/golden",
            "sam/golden",
            "sam-odd/golden",
            "mobile-sam/golden",
            "qwen-golden",
            "resample/golden",
            "resample/tall",
            "jpeg/golden",
        ] {
            for (name, expected) in Golden::open(&format!("{file}.safetensors")).0 {
                let Expected::Thinned(t) = expected else { continue };
                let n: usize = t.dims.iter().product();
                assert!(n > 1024, "{file}: {name}");
                assert_eq!(t.sample.len(), n.div_ceil(step(n)), "{file}: {name}");
                assert_eq!(t.sums.len(), n.div_ceil(BLOCK), "{file}: {name}");
                thinned += 1;
            }
        }
        assert!(thinned > 200, "{thinned}");
    }
}
