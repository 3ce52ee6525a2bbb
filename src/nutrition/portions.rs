//! Usual portions: how large food lies on a plate and how high it stands, by food or by the class of its shape.
//!
//! The numbers are measured (`portions.csv`, written by `fixtures/generate/portions.py`, which says from what); a food
//! without a row is taken for the mean of the foods of its shape, with their spread.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::geometry::Portion;

use super::csv;

/// Usual size, and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct UsualPortion {
    pub portion: Portion,
    pub source: String,
}

/// All rows by food id or by shape class.
fn rows() -> &'static HashMap<String, UsualPortion> {
    static ROWS: OnceLock<HashMap<String, UsualPortion>> = OnceLock::new();
    ROWS.get_or_init(|| parse(include_str!("portions.csv")).unwrap_or_default())
}

/// `None` if a row is malformed.
fn parse(text: &str) -> Option<HashMap<String, UsualPortion>> {
    csv::records(text)
        .ok()?
        .into_iter()
        .skip(1)
        .map(|r| {
            let [id, area, area_sigma, height, height_sigma, source] = r.fields.as_slice() else {
                return None;
            };
            let positive = |s: &str| s.parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0);
            let portion = Portion {
                area_cm2: positive(area)?,
                area_sigma_ln: positive(area_sigma)?,
                height_cm: positive(height)?,
                height_sigma_ln: positive(height_sigma)?,
            };
            let source = source.clone();
            Some((id.clone(), UsualPortion { portion, source }))
        })
        .collect()
}

/// Of the food with this id, else of its shape class, else of any food.
///
/// # Panics
/// Never: a test of this crate checks that the compiled-in rows hold every shape class.
#[allow(clippy::expect_used)]
pub(super) fn usual_portion(id: Option<&str>, shape: &str) -> &'static UsualPortion {
    let rows = rows();
    id.and_then(|id| rows.get(id))
        .or_else(|| rows.get(shape))
        .or_else(|| rows.get("unknown"))
        .expect("the compiled-in portions")
}

/// One size for something that is one of several foods, with their probabilities: mean and spread of the logarithms.
/// `None` without any weight.
pub fn mixture(parts: &[(Portion, f64)]) -> Option<Portion> {
    let weight: f64 = parts.iter().map(|p| p.1.max(0.0)).sum();
    if weight.is_nan() || weight <= 0.0 {
        return None;
    }
    let of = |value: fn(&Portion) -> f64, sigma: fn(&Portion) -> f64| {
        let mean = parts.iter().map(|(p, w)| w.max(0.0) * value(p).ln()).sum::<f64>() / weight;
        let var = parts
            .iter()
            .map(|(p, w)| w.max(0.0) * (sigma(p).powi(2) + (value(p).ln() - mean).powi(2)))
            .sum::<f64>()
            / weight;
        (mean.exp(), var.sqrt())
    };
    let (area_cm2, area_sigma_ln) = of(|p| p.area_cm2, |p| p.area_sigma_ln);
    let (height_cm, height_sigma_ln) = of(|p| p.height_cm, |p| p.height_sigma_ln);
    Some(Portion {
        area_cm2,
        area_sigma_ln,
        height_cm,
        height_sigma_ln,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nutrition::FoodTable;
    use crate::nutrition::food::SHAPES;

    #[test]
    fn every_row_is_a_food_or_a_shape_and_is_sane() {
        let rows = parse(include_str!("portions.csv")).unwrap();
        assert!(rows.len() > 80 && rows.contains_key("unknown"));
        let table = FoodTable::builtin();
        for (id, usual) in &rows {
            assert!(table.by_id(id).is_some() || SHAPES.contains(&id.as_str()), "{id}");
            let p = usual.portion;
            assert!((5.0..400.0).contains(&p.area_cm2), "{id} {p:?}");
            assert!((0.3..8.0).contains(&p.height_cm), "{id} {p:?}");
            assert!(
                p.area_sigma_ln < 1.0 && p.height_sigma_ln >= 0.08 && !usual.source.is_empty(),
                "{id}"
            );
        }
    }

    #[test]
    fn a_mixture_is_wider_than_its_parts() {
        let apple = usual_portion(Some("apple_whole"), "ball").portion;
        let toast = usual_portion(Some("toast"), "slab").portion;
        let both = mixture(&[(apple, 0.5), (toast, 0.5)]).unwrap();
        assert!(both.height_sigma_ln > apple.height_sigma_ln.max(toast.height_sigma_ln));
        let alone = mixture(&[(apple, 0.7)]).unwrap();
        assert!(
            (alone.area_cm2 - apple.area_cm2).abs() < 1e-9
                && (alone.height_cm - apple.height_cm).abs() < 1e-9
        );
        assert_eq!(mixture(&[(apple, 0.0)]), None);
    }
}
