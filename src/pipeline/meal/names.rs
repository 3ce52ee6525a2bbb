//! What an item is called, by all photos that show it.

use crate::identify::Identified;

/// Chance of a name that a photo does not list, as a share of what its list leaves open.
const UNLISTED_SHARE: f64 = 0.02;
/// How much likelier, before any photo was seen, a food that is not listed is than one that is.
const OPEN_BEFOREHAND: f64 = 30.0;
/// Names that are kept beside the best.
const MAX_ALTERNATIVES: usize = 5;

/// The name that fits all sightings best. Their evidence is multiplied, tempered for what they have in common: n photos count as the
/// square root of n independent ones. What was likely beforehand is in each of them and counts once.
/// A photo that names nothing says nothing of it.
pub(super) fn together(seen: &[&Identified]) -> Identified {
    let naming: Vec<&Identified> = (seen.iter().copied())
        .filter(|identity| listed(identity).next().is_some())
        .collect();
    let seen = if naming.is_empty() { seen } else { &naming };
    let Some((first, more)) = seen.split_first() else {
        return Identified::unknown_food();
    };
    if more.is_empty() {
        return (*first).clone();
    }
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in seen.iter().flat_map(|identity| listed(identity)) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let tempered = 1.0 / (seen.len() as f64).sqrt();
    let mut scored: Vec<(&str, f64)> = labels
        .into_iter()
        .map(|label| {
            let ln: f64 = seen.iter().map(|identity| chance(identity, label).ln()).sum();
            (label, (tempered * ln).exp())
        })
        .collect();
    let open: f64 = seen.iter().map(|identity| unlisted(identity).ln()).sum();
    let counted_again = OPEN_BEFOREHAND.powf((seen.len() as f64).sqrt() - 1.0);
    let sum = scored.iter().map(|(_, p)| p).sum::<f64>() + (tempered * open).exp() / counted_again;
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut scored = scored.into_iter().map(|(label, p)| (label.to_owned(), p / sum));
    let Some((label, confidence)) = scored.next() else {
        return (*first).clone();
    };
    let grams: Vec<f64> = seen
        .iter()
        .filter_map(|identity| identity.grams)
        .filter(|g| *g > 0.0)
        .collect();
    let mean_ln = grams.iter().map(|g| g.ln()).sum::<f64>() / grams.len().max(1) as f64;
    Identified {
        kind: first.kind,
        label,
        confidence,
        alternatives: scored.take(MAX_ALTERNATIVES).collect(),
        grams: (!grams.is_empty()).then(|| mean_ln.exp()),
        novelty: None,
    }
}

fn listed(identity: &Identified) -> impl Iterator<Item = (&str, f64)> {
    let alternatives = identity
        .alternatives
        .iter()
        .map(|(label, p)| (label.as_str(), *p));
    std::iter::once((identity.label.as_str(), identity.confidence))
        .filter(|(label, _)| *label != Identified::UNKNOWN)
        .chain(alternatives)
}

/// What the list leaves open.
fn unlisted(identity: &Identified) -> f64 {
    (1.0 - listed(identity).map(|(_, p)| p).sum::<f64>()).clamp(0.005, 1.0)
}

fn chance(identity: &Identified, label: &str) -> f64 {
    let said = listed(identity).find(|(name, _)| *name == label).map(|(_, p)| p);
    said.unwrap_or(0.0)
        .max(UNLISTED_SHARE * unlisted(identity))
        .clamp(1e-6, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify::Kind;

    fn called(label: &str, confidence: f64, others: &[(&str, f64)]) -> Identified {
        Identified {
            kind: Kind::Food,
            label: label.into(),
            confidence,
            alternatives: others.iter().map(|(l, p)| ((*l).into(), *p)).collect(),
            grams: None,
            novelty: None,
        }
    }

    #[test]
    fn a_sure_photo_outvotes_an_unsure_one_and_agreement_makes_sure() {
        let (peach, apple) = (
            called("peach", 0.5, &[("apple", 0.4)]),
            called("apple", 0.9, &[("peach", 0.05)]),
        );
        let both = together(&[&peach, &apple]);
        assert_eq!(both.label, "apple");
        assert_eq!(both.alternatives[0].0, "peach");
        let sure = together(&[&apple, &apple]);
        assert!(sure.confidence > 0.9 && sure.confidence < 1.0, "{sure:?}");
        let sum = both.confidence + both.alternatives.iter().map(|a| a.1).sum::<f64>();
        assert!(sum <= 1.0, "{both:?}");
        // A photo that is unsure of everything does not take away the other's name; two that are half sure of one are surer together.
        let (unsure, half) = (
            called("unknown", 0.0, &[("apple", 0.03)]),
            called("apple", 0.5, &[]),
        );
        let said = together(&[&apple, &unsure]);
        assert!(said.label == "apple" && said.confidence > 0.6, "{said:?}");
        assert!(together(&[&half, &half]).confidence > 0.7);
        // Nobody knows it: the name of the photo that does is taken.
        let nobody = Identified::unknown_food();
        assert_eq!(together(&[&nobody, &apple]), apple);
        assert_eq!(together(&[&nobody, &nobody]).label, Identified::UNKNOWN);
    }
}
