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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty_limit: Option<f64>,
    /// Over how much of the novelty's logarithm the odds of that grow by a factor of e. Above 0.
    #[serde(default = "usual_width")]
    pub novelty_width: f64,
}

fn usual_width() -> f64 {
    0.03
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

/// The novelties of a photo's foods with what they have in common: light, ware and kitchen are the photo's, and an identifier knows them
/// or does not. Half of each is the photo's (geometric means).
pub fn of_one_photo(novelties: &[f64]) -> Vec<f64> {
    let common = novelties.iter().map(|n| n.ln()).sum::<f64>() / novelties.len().max(1) as f64;
    novelties
        .iter()
        .map(|n| (0.5 * (n.ln() + common)).exp())
        .collect()
}

impl NameBelief {
    /// Chance that a crop of this novelty shows something that the model can know.
    pub fn known(&self, novelty: f64) -> f64 {
        let Some(limit) = self.novelty_limit else {
            return 1.0;
        };
        1.0 / (1.0 + ((novelty / limit).ln() / self.novelty_width).exp())
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

#[cfg(test)]
mod tests {
    use super::*;

    const BELIEF: NameBelief = NameBelief {
        temperature: 1.0,
        novelty_limit: Some(1.5),
        novelty_width: 0.03,
    };

    fn apple(novelty: Option<f64>) -> Identified {
        Identified {
            label: "apple".into(),
            confidence: 0.9,
            alternatives: vec![("pear".into(), 0.06)],
            novelty,
            ..Identified::unknown_food()
        }
    }

    fn judged(belief: NameBelief, novelty: Option<f64>) -> Identified {
        let mut identity = apple(novelty);
        belief.judge(&mut identity);
        identity
    }

    #[test]
    fn what_is_known_keeps_its_name_and_what_is_strange_loses_it() {
        let known = judged(BELIEF, Some(1.0));
        assert_eq!(known.label, "apple");
        assert!((known.confidence - 0.9).abs() < 1e-3);
        let near = judged(BELIEF, Some(1.48));
        assert!(
            near.label == "apple" && (0.5..0.7).contains(&near.confidence),
            "{near:?}"
        );
        let strange = judged(BELIEF, Some(1.8));
        assert_eq!(
            (strange.label.as_str(), strange.confidence),
            (Identified::UNKNOWN, 0.0)
        );
        assert_eq!(strange.alternatives[0].0, "apple");
        assert!(strange.alternatives[0].1 < 0.01);
        // Nobody asked, or a person said so.
        assert_eq!(judged(NameBelief::default(), Some(9.0)), apple(Some(9.0)));
        assert_eq!(judged(BELIEF, None), apple(None));
    }

    #[test]
    fn strange_company_makes_strange() {
        let shared = of_one_photo(&[1.0, 4.0]);
        assert!((shared[0] - 2.0_f64.sqrt()).abs() < 1e-9 && (shared[1] - 8.0_f64.sqrt()).abs() < 1e-9);
        assert!((of_one_photo(&[1.3])[0] - 1.3).abs() < 1e-9);
        assert!(of_one_photo(&[]).is_empty());
    }

    #[test]
    fn a_temperature_over_one_takes_back_and_what_is_left_open_counts() {
        let hot = judged(
            NameBelief {
                temperature: 2.0,
                ..NameBelief::default()
            },
            Some(1.0),
        );
        assert!(hot.confidence < 0.8 && hot.alternatives[0].1 > 0.06, "{hot:?}");
        assert!(hot.confidence + hot.alternatives[0].1 < 1.0);
    }
}
