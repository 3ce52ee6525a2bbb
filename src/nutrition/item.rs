//! One item to be weighed: what was measured, seen and said of it.

use crate::contract::Estimated;

use super::food::Form;

/// A measured volume, log-normal. The scale's share of the error is the same for all items of a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Volume {
    pub p50_cm3: f64,
    /// Standard deviation of ln volume that the scale causes.
    pub sigma_shared_ln: f64,
    /// Standard deviation of ln volume from everything else.
    pub sigma_own_ln: f64,
}

impl Volume {
    /// Splits an interval; `sigma_shared_ln` is at most the interval's whole.
    pub fn from_estimate(volume_cm3: &Estimated, sigma_shared_ln: f64) -> Self {
        let whole = volume_cm3.sigma_ln();
        let shared = sigma_shared_ln.clamp(0.0, whole);
        Self {
            p50_cm3: volume_cm3.p50,
            sigma_shared_ln: shared,
            sigma_own_ln: (whole * whole - shared * shared).sqrt(),
        }
    }
}

/// A vision model's own guess of an item's weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VlmGrams {
    pub grams: f64,
}

impl VlmGrams {
    /// Typical portion of one item, where such guesses are least biased.
    const TYPICAL_G: f64 = 150.0;

    /// Standard deviation of ln grams: 36 to 45 % MAPE at a typical portion, and large portions are told too small
    /// (Bland-Altman slopes of -0.2 to -0.5), so trust falls with the distance upward.
    pub(super) fn sigma_ln(self) -> f64 {
        0.42 + 0.25 * (self.grams / Self::TYPICAL_G).ln().max(0.0)
    }
}

/// One item to be weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemInput {
    pub label: String,
    /// Probability of the label, 0 to 1.
    pub confidence: f64,
    /// Other labels with their probabilities.
    pub alternatives: Vec<(String, f64)>,
    pub volume: Volume,
    /// What the volume is the volume of; none for what the food's shape implies.
    pub form: Option<Form>,
    pub vlm: Option<VlmGrams>,
    /// Grams that a person told: they win over everything measured or guessed.
    pub told_g: Option<f64>,
    /// Share of the item that counts, above 0.
    pub portion: f64,
    /// Answers to questions about what no photo shows: the question's id and the chosen option.
    pub answers: Vec<(String, String)>,
}
