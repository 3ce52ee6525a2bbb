//! The labels oracle where masks are found: food that was seen gets its true name, and nothing else changes.

use std::path::Path;

use dragunov_models::Mask;

use super::load::Labels;
use super::manifest::{DataError, Sample};
use crate::identify::Kind;
use crate::perceive::Candidate;

/// Share of a found mask that must lie on a true item for its name.
const MIN_OVERLAP_SHARE: f64 = 0.5;

/// Names every candidate taken for food after the true item that most of it lies on. An item without a mask is where
/// its box is. What was not taken for food stays so: the oracle tells names, not where food is.
///
/// # Errors
/// [`DataError`] if a mask cannot be read, or candidates are not of the photo's size.
pub(super) fn apply_true_labels(
    root: &Path,
    sample: &Sample,
    candidates: &mut [Candidate],
) -> Result<(), DataError> {
    let size = [sample.width, sample.height];
    let mut labels = Labels::default();
    let mut places: Vec<(Mask, &str)> = Vec::new();
    for item in &sample.items {
        let mask = match (&item.mask, item.bbox) {
            (Some(at), _) => labels.mask(root, at, size)?,
            (None, Some([x0, y0, x1, y1])) => {
                let (xs, ys) = (x0 as usize..x1 as usize, y0 as usize..y1 as usize);
                Mask::from_fn(size[0], size[1], |x, y| xs.contains(&x) && ys.contains(&y))
            }
            (None, None) => continue,
        };
        places.push((mask, &item.label));
    }
    for c in candidates.iter_mut().filter(|c| c.identity.kind == Kind::Food) {
        let found = [c.mask.width(), c.mask.height()];
        if found != size {
            let message = format!("masks were found at {found:?} pixels, the truth is {size:?}");
            return Err(DataError::content(&root.join(&sample.image), message));
        }
        let on = |mask: &Mask| mask.intersection_area(&c.mask) as f64 / c.mask.area().max(1) as f64;
        let best = places
            .iter()
            .map(|(mask, label)| (on(mask), *label))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, label)) = best.filter(|(share, _)| *share >= MIN_OVERLAP_SHARE) {
            label.clone_into(&mut c.identity.label);
            c.identity.alternatives.clear();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::identify::Identified;

    fn candidate(kind: Kind, x0: usize, x1: usize) -> Candidate {
        Candidate {
            mask: Mask::from_fn(40, 10, |x, _| (x0..x1).contains(&x)),
            quality: 0.9,
            identity: Identified {
                kind,
                label: "bread".into(),
                alternatives: vec![("toast".into(), 0.4)],
                confidence: 0.5,
                grams: None,
                novelty: None,
            },
        }
    }

    #[test]
    fn food_on_a_true_item_takes_its_name() {
        let sample: Sample = serde_json::from_str(
            r#"{"id": "a", "image": "a.jpg", "width": 40, "height": 10, "camera": {}, "items": [
                {"label": "apple", "box": [0, 0, 10, 10]}, {"label": "pear", "box": [10, 0, 30, 10]}]}"#,
        )
        .unwrap();
        let mut seen = [
            candidate(Kind::Food, 0, 14),
            candidate(Kind::Food, 8, 30),
            candidate(Kind::Food, 26, 40),
            candidate(Kind::Coin, 0, 10),
        ];
        apply_true_labels(Path::new("."), &sample, &mut seen).unwrap();
        let names: Vec<&str> = seen.iter().map(|c| c.identity.label.as_str()).collect();
        assert_eq!(names, ["apple", "pear", "bread", "bread"]);
        let left: Vec<usize> = seen.iter().map(|c| c.identity.alternatives.len()).collect();
        assert_eq!(left, [0, 0, 1, 1]);

        seen[0].mask = Mask::empty(20, 5);
        assert!(apply_true_labels(Path::new("."), &sample, &mut seen).is_err());
    }
}
