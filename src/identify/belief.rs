//! What an identifier's probabilities are worth: how far it exaggerates, and whether it can know what it was shown.

use serde::{Deserialize, Serialize};

use super::{Identified, Kind};

/// A name that is known with less than this chance is no answer.
const LEAST_KNOWN: f64 = 0.5;

/// How the probabilities of a set's vision-language model are to be read. Of the set's `calibration.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameBelief {
    /// Temperature: the logarithms of the probabilities are divided by it. Over 1 for a model that is too sure of itself. 0.1 to 10.
    pub temperature: f64,
    /// Novelty at which a crop is as likely of something that the model was never trained on. None: it is never asked.
    #[serde(default)]
    pub novelty_limit: Option<f64>,
    /// Over how much novelty the odds of that grow by a factor of e. Above 0.
    #[serde(default = "usual_width")]
    pub novelty_width: f64,
}

fn usual_width() -> f64 {
    0.1
}

/// As the model says.
impl Default for NameBelief {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            novelty_limit: None,
            novelty_width: usual_width(),
        }
    }
}

impl NameBelief {
    /// Chance that a crop of this novelty shows something that the model can know.
    pub fn known(&self, novelty: f64) -> f64 {
        let limit = self.novelty_limit.unwrap_or(f64::INFINITY);
        1.0 / (1.0 + ((novelty - limit) / self.novelty_width).exp())
    }

    /// The answer with calibrated probabilities; `unknown` food, its name one of several that it may be, where the model can hardly
    /// know. What a person or another service named is left alone.
    pub fn judge(&self, identity: &mut Identified) {
        let named = identity.kind == Kind::Food && identity.label != Identified::UNKNOWN;
        let Some(novelty) = identity.novelty.filter(|_| named) else {
            return;
        };
        let known = self.known(novelty);
        let power = 1.0 / self.temperature;
        let told = identity.confidence + identity.alternatives.iter().map(|(_, p)| p).sum::<f64>();
        let rest = (1.0 - told).max(0.0).powf(power);
        let tempered = |p: f64| p.max(0.0).powf(power);
        let sum = rest
            + tempered(identity.confidence)
            + identity
                .alternatives
                .iter()
                .map(|(_, p)| tempered(*p))
                .sum::<f64>();
        let chance = |p: f64| if sum > 0.0 { known * tempered(p) / sum } else { 0.0 };
        identity.confidence = chance(identity.confidence);
        for (_, p) in &mut identity.alternatives {
            *p = chance(*p);
        }
        if known < LEAST_KNOWN {
            let name = std::mem::replace(&mut identity.label, Identified::UNKNOWN.into());
            let p = std::mem::replace(&mut identity.confidence, 0.0);
            identity.alternatives.insert(0, (name, p));
        }
    }
}
