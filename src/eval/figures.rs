//! Errors of many items in a few figures. An item that was not found, or whose photo was refused, is an error of 100 %.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amounts::{EstimatedAmounts, Quantity, TrueAmounts};
use super::bootstrap::{Bootstrap, column, interval};
use super::score::{Fate, Outcome, PhotoOutcome};
use crate::contract::Estimated;

/// A true amount and what was answered; `None` where nothing was.
pub type Pair = (f64, Option<Estimated>);

/// Of one quantity, in percent except where a unit is named. Items that were missed or refused count as errors of 100 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Errors {
    pub n: usize,
    /// Mean absolute error, in the quantity's unit.
    pub mae: f64,
    /// Mean absolute percentage error.
    pub mape: f64,
    /// The same over the items that were found.
    pub mape_found: f64,
    pub median_ape: f64,
    /// Sum of absolute errors over sum of truth: the "MAE %" of Nutrition5k's `compute_eval_statistics.py`.
    pub pmae: f64,
    /// Median signed error.
    pub bias: f64,
    pub within_25: f64,
    /// Share of found items whose p10 to p90 holds the truth; 80 is honest.
    pub coverage: f64,
    /// Median p90 / p10 of found items.
    pub width: f64,
    /// 95 % intervals by bootstrap over photos, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Intervals>,
}

/// 95 % intervals of some figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Intervals {
    pub mae: [f64; 2],
    pub mape: [f64; 2],
    pub median_ape: [f64; 2],
    pub pmae: [f64; 2],
    pub bias: [f64; 2],
    pub coverage: [f64; 2],
}

impl Errors {
    /// Of these pairs; `None` of none.
    pub fn of(pairs: &[Pair]) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let n = pairs.len() as f64;
        let answer = |p: &Option<Estimated>| p.map_or(0.0, |p| p.p50);
        let mut signed: Vec<f64> = pairs.iter().map(|(t, p)| 100.0 * (answer(p) / t - 1.0)).collect();
        let mut ape: Vec<f64> = signed.iter().map(|e| e.abs()).collect();
        let found: Vec<(f64, Estimated)> = pairs.iter().filter_map(|(t, p)| p.map(|p| (*t, p))).collect();
        let k = found.len().max(1) as f64;
        let truth: f64 = pairs.iter().map(|p| p.0).sum();
        let off: f64 = pairs.iter().map(|(t, p)| (answer(p) - t).abs()).sum();
        let mut widths: Vec<f64> = found
            .iter()
            .map(|(_, p)| p.p90 / p.p10)
            .filter(|w| w.is_finite())
            .collect();
        Some(Self {
            n: pairs.len(),
            mae: off / n,
            mape: ape.iter().sum::<f64>() / n,
            mape_found: found
                .iter()
                .map(|(t, p)| 100.0 * (p.p50 / t - 1.0).abs())
                .sum::<f64>()
                / k,
            pmae: 100.0 * off / truth,
            within_25: 100.0 * ape.iter().filter(|e| **e <= 25.0).count() as f64 / n,
            median_ape: middle(&mut ape),
            bias: middle(&mut signed),
            coverage: 100.0 * found.iter().filter(|(t, p)| p.p10 <= *t && *t <= p.p90).count() as f64 / k,
            width: if widths.is_empty() {
                0.0
            } else {
                middle(&mut widths)
            },
            interval: None,
        })
    }

    /// The figures that have intervals, in their order.
    pub(super) fn figures(&self) -> [f64; 6] {
        [
            self.mae,
            self.mape,
            self.median_ape,
            self.pmae,
            self.bias,
            self.coverage,
        ]
    }
}

/// The median; NaN of nothing.
pub(super) fn middle(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    0.5 * (values[(n - 1) / 2] + values[n / 2])
}

/// Anything that has true and answered amounts: an item, or all food of a photo.
pub trait Amounts {
    fn photo(&self) -> &str;
    fn fate(&self) -> &Fate;
    fn truth(&self) -> &TrueAmounts;
    fn predicted(&self) -> &EstimatedAmounts;

    /// `None` where the truth is not known.
    fn pair(&self, quantity: Quantity) -> Option<Pair> {
        let truth = self.truth().get(quantity).filter(|t| *t > 0.0)?;
        Some((truth, self.predicted().get(quantity)))
    }
}

impl Amounts for Outcome {
    fn photo(&self) -> &str {
        &self.sample
    }

    fn fate(&self) -> &Fate {
        &self.fate
    }

    fn truth(&self) -> &TrueAmounts {
        &self.truth
    }

    fn predicted(&self) -> &EstimatedAmounts {
        &self.predicted
    }
}

impl Amounts for PhotoOutcome {
    fn photo(&self) -> &str {
        &self.sample
    }

    fn fate(&self) -> &Fate {
        &self.fate
    }

    fn truth(&self) -> &TrueAmounts {
        &self.truth
    }

    fn predicted(&self) -> &EstimatedAmounts {
        &self.predicted
    }
}

/// The errors of every quantity that is known of some of these. What had to be refused and was does not count.
pub fn by_quantity<A: Amounts>(all: &[&A], bootstrap: Option<Bootstrap>) -> BTreeMap<Quantity, Errors> {
    let counted: Vec<&A> = all
        .iter()
        .copied()
        .filter(|a| !matches!(a.fate(), Fate::RightlyRefused(_) | Fate::Extra))
        .collect();
    let mut out = BTreeMap::new();
    for quantity in Quantity::ALL {
        let pairs: Vec<Pair> = counted.iter().filter_map(|a| a.pair(quantity)).collect();
        // A quantity that is never predicted is not evaluated, rather than wrong everywhere; volume is what a scan measures.
        if quantity != Quantity::Volume && pairs.iter().all(|p| p.1.is_none()) {
            continue;
        }
        let Some(mut errors) = Errors::of(&pairs) else {
            continue;
        };
        errors.interval = bootstrap.and_then(|b| intervals(&by_photo(&counted, quantity), b));
        out.insert(quantity, errors);
    }
    out
}

/// The pairs of each photo together.
pub(super) fn by_photo<A: Amounts>(all: &[&A], quantity: Quantity) -> Vec<Vec<Pair>> {
    let mut photos: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    for one in all {
        if let Some(pair) = one.pair(quantity) {
            photos.entry(one.photo()).or_default().push(pair);
        }
    }
    photos.into_values().collect()
}

fn intervals(photos: &[Vec<Pair>], bootstrap: Bootstrap) -> Option<Intervals> {
    let draws = bootstrap.draws(photos, |drawn: &[&Vec<Pair>]| {
        let pairs: Vec<Pair> = drawn.iter().flat_map(|p| p.iter().copied()).collect();
        Some(Errors::of(&pairs)?.figures())
    });
    let of = |i: usize| interval(&column(&draws, i));
    Some(Intervals {
        mae: of(0)?,
        mape: of(1)?,
        median_ape: of(2)?,
        pmae: of(3)?,
        bias: of(4)?,
        coverage: of(5)?,
    })
}

/// Figures of a set of items. All in percent except the counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    pub items: usize,
    pub measured: usize,
    pub missed: usize,
    pub refused: usize,
    /// Answered items that are no true item.
    pub extra: usize,
    /// By the quantity's name.
    #[serde(flatten)]
    pub errors: BTreeMap<Quantity, Errors>,
    /// Share of found items whose label is right.
    pub label_top1: Option<f64>,
    pub mask_iou: Option<f64>,
}

impl Summary {
    /// Of some outcomes. Photos that had to be refused and were do not count.
    pub fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>, bootstrap: Option<Bootstrap>) -> Self {
        let (extra, list): (Vec<&Outcome>, Vec<&Outcome>) = outcomes
            .filter(|o| !matches!(o.fate, Fate::RightlyRefused(_)))
            .partition(|o| o.fate == Fate::Extra);
        let count = |f: fn(&Fate) -> bool| list.iter().filter(|o| f(&o.fate)).count();
        let mean = |v: Vec<f64>| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
        let right = list.iter().filter_map(|o| o.named_right);
        Self {
            items: list.len(),
            measured: count(|f| *f == Fate::Measured),
            missed: count(|f| *f == Fate::Missed),
            refused: count(|f| matches!(f, Fate::Refused(_))),
            extra: extra.len(),
            label_top1: mean(right.map(|right| if right { 100.0 } else { 0.0 }).collect()),
            mask_iou: mean(
                list.iter()
                    .filter_map(|o| o.mask_iou.map(|v| 100.0 * v))
                    .collect(),
            ),
            errors: by_quantity(&list, bootstrap),
        }
    }

    pub fn volume(&self) -> Option<&Errors> {
        self.errors.get(&Quantity::Volume)
    }
}

/// What needs no photo: the mean of all other photos' items, and of those of the same (true) label; in bowls apart.
pub fn baselines(outcomes: &[Outcome]) -> BTreeMap<String, Errors> {
    let guess = |same: fn(&Outcome, &Outcome) -> bool, in_bowl: Option<bool>| {
        let asked = outcomes.iter().filter(|o| in_bowl.is_none_or(|b| o.in_bowl == b));
        let pairs: Vec<Pair> = asked
            .filter_map(|o| {
                let truth = o.truth.volume_cm3.filter(|v| *v > 0.0)?;
                let others = |f: &dyn Fn(&&Outcome) -> bool| -> Vec<f64> {
                    outcomes
                        .iter()
                        .filter(|p| p.sample != o.sample && f(p))
                        .filter_map(|p| p.truth.volume_cm3)
                        .collect()
                };
                let mut values = others(&|p| same(o, p));
                if values.is_empty() {
                    values = others(&|_| true);
                }
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                Some((truth, Some(Estimated::exact(mean))))
            })
            .collect();
        Errors::of(&pairs)
    };
    let mut out = BTreeMap::new();
    let bowls = outcomes.iter().any(|o| o.in_bowl);
    let parts = [
        ("", None),
        (", off bowls", Some(false)),
        (", in bowls", Some(true)),
    ];
    for (part, in_bowl) in parts.into_iter().filter(|(_, b)| b.is_none() || bowls) {
        let any: fn(&Outcome, &Outcome) -> bool = |_, _| true;
        for (name, same) in [
            ("mean of all items", any),
            ("mean of the true label", |a, b| a.label == b.label),
        ] {
            if let Some(errors) = guess(same, in_bowl) {
                out.insert(format!("{name}{part}"), errors);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missed_item_is_wholly_wrong() {
        let e = Errors::of(&[
            (100.0, Some(Estimated::log_normal(110.0, 0.2))),
            (50.0, None),
            (200.0, Some(Estimated::exact(100.0))),
        ])
        .unwrap();
        assert!((e.mae - (10.0 + 50.0 + 100.0) / 3.0).abs() < 1e-9);
        assert!((e.mape - (10.0 + 100.0 + 50.0) / 3.0).abs() < 1e-9);
        assert!((e.mape_found - 30.0).abs() < 1e-9);
        assert!((e.pmae - 100.0 * (10.0 + 50.0 + 100.0) / 350.0).abs() < 1e-9);
        assert!((e.median_ape - 50.0).abs() < 1e-9);
        assert!((e.coverage - 50.0).abs() < 1e-9);
        let width = (2.0 * Estimated::Z90 * 0.2_f64).exp();
        assert!((e.width - 0.5 * (1.0 + width)).abs() < 1e-9);
        assert_eq!(Errors::of(&[]), None);
    }

    fn food(sample: &str, truth_g: f64, answered_g: Option<f64>) -> Outcome {
        Outcome {
            sample: sample.into(),
            truth: TrueAmounts {
                mass_g: Some(truth_g),
                ..TrueAmounts::default()
            },
            predicted: EstimatedAmounts {
                mass_g: answered_g.map(|g| Estimated::log_normal(g, 0.3)),
                ..EstimatedAmounts::default()
            },
            ..Outcome::default()
        }
    }

    #[test]
    fn what_is_never_predicted_is_not_evaluated_and_photos_are_drawn_whole() {
        let blank = [food("a", 100.0, None)];
        assert!(by_quantity(&blank.iter().collect::<Vec<_>>(), None).is_empty());

        // Two foods a photo with the same error: drawing single foods would pretend twice as many witnesses.
        let twins: Vec<Outcome> = (0..20)
            .flat_map(|i| {
                [
                    food(&i.to_string(), 100.0, Some(100.0 + 5.0 * f64::from(i))),
                    food(&i.to_string(), 100.0, Some(100.0 + 5.0 * f64::from(i))),
                ]
            })
            .collect();
        let single: Vec<Outcome> = twins.iter().step_by(2).cloned().collect();
        let bootstrap = Some(Bootstrap { draws: 500, seed: 7 });
        let width = |all: &[Outcome]| {
            let errors = by_quantity(&all.iter().collect::<Vec<_>>(), bootstrap)[&Quantity::Mass];
            let [low, high] = errors.interval.unwrap().mape;
            assert!(low < errors.mape && errors.mape < high);
            high - low
        };
        assert!((width(&twins) / width(&single) - 1.0).abs() < 1e-9);
    }
}
