//! Two runs over the same photos, item by item: what one gains over the other, and whether other photos would show it, too.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::amounts::Quantity;
use super::bootstrap::{Bootstrap, column, interval};
use super::figures::{Amounts, Errors, Pair};
use super::groups;
use super::manifest::DataError;
use super::score::{Fate, Outcome, PhotoOutcome};
use crate::contract::{ErrorCode, ScanError};

/// Truths that differ by more than this share are of other data.
const SAME_TRUTH: f64 = 1e-6;
/// Figures that are compared.
const FIGURES: [&str; 6] = ["MAPE", "median", "PMAE", "bias", "p10-90", "p90/p10"];

/// What is read of a report that `--json` wrote.
#[derive(Debug, Clone, Deserialize)]
pub struct ResultFile {
    pub title: String,
    pub outcomes: Vec<Outcome>,
    #[serde(default)]
    pub photo_outcomes: Vec<PhotoOutcome>,
}

impl ResultFile {
    /// # Errors
    /// [`DataError`] naming the file, and the line where it is no report.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let text = std::fs::read(path).map_err(|source| DataError::Io {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_slice(&text).map_err(|source| DataError::Json {
            path: path.to_owned(),
            line: source.line(),
            source,
        })
    }
}

/// One figure of both runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    pub figure: &'static str,
    pub a: f64,
    pub b: f64,
    /// B less A.
    pub difference: f64,
    /// 95 % interval of the difference.
    pub interval: [f64; 2],
    /// Whether the interval leaves out zero.
    pub clear: bool,
}

/// One quantity of one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// `items` or `photos`.
    pub of: &'static str,
    pub group: String,
    pub quantity: Quantity,
    pub n: usize,
    pub photos: usize,
    pub figures: Vec<Difference>,
}

/// Two runs over the same photos.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub titles: [String; 2],
    pub bootstrap: Bootstrap,
    /// Items and photos that only one of the files has.
    pub unpaired: usize,
    pub compared: Vec<Compared>,
}

/// Pairs what the two files say of the same items and photos.
///
/// # Errors
/// `bad_request` if they have nothing in common, or other truths.
pub fn compare(a: &ResultFile, b: &ResultFile, bootstrap: Bootstrap) -> Result<Comparison, ScanError> {
    let (items, lone_items) = paired(&a.outcomes, &b.outcomes, |o| o.label.as_str())?;
    let (photos, lone_photos) = paired(&a.photo_outcomes, &b.photo_outcomes, |_| "")?;
    let mut compared = Vec::new();
    rows("items", &items, bootstrap, &mut compared);
    rows("photos", &photos, bootstrap, &mut compared);
    if compared.is_empty() {
        return Err(ScanError::new(
            ErrorCode::BadRequest,
            "the two files have no measured item in common",
        )
        .next_step("compare two runs over the same data set, each written with `dragunov eval --json`"));
    }
    Ok(Comparison {
        titles: [a.title.clone(), b.title.clone()],
        bootstrap,
        unpaired: lone_items + lone_photos,
        compared,
    })
}

/// The same thing in A and in B.
type Both<'a, T> = (&'a T, &'a T);

/// What both files have, by photo, name and place in the list, and how many things only one of them has.
fn paired<'a, T: Amounts>(
    a: &'a [T],
    b: &'a [T],
    name: impl Fn(&T) -> &str,
) -> Result<(Vec<Both<'a, T>>, usize), ScanError> {
    let keyed = |list: &'a [T]| -> BTreeMap<(String, String, usize), &'a T> {
        let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
        let true_things = list.iter().filter(|t| *t.fate() != Fate::Extra);
        true_things
            .map(|t| {
                let key = (t.photo().to_owned(), name(t).to_owned());
                let count = seen.entry(key.clone()).or_insert(0);
                *count += 1;
                ((key.0, key.1, *count), t)
            })
            .collect()
    };
    let (a, mut b) = (keyed(a), keyed(b));
    let mut out = Vec::new();
    let mut lone = 0;
    for (key, one) in a {
        let Some(other) = b.remove(&key) else {
            lone += 1;
            continue;
        };
        for quantity in Quantity::ALL {
            if let (Some(x), Some(y)) = (one.truth().get(quantity), other.truth().get(quantity))
                && (x - y).abs() > SAME_TRUTH * x.abs()
            {
                let message = format!(
                    "the files are of other data: {} {} has a true {} of {x} in one and {y} in the other",
                    key.0,
                    key.1,
                    quantity.title()
                );
                return Err(ScanError::new(ErrorCode::BadRequest, message)
                    .next_step("compare two runs over the same data set"));
            }
        }
        out.push((one, other));
    }
    Ok((out, lone + b.len()))
}

/// A pair of answers to one truth.
type PairOfBoth = (Pair, Pair);

fn rows<'a, T: Amounts>(of: &'static str, both: &[Both<'a, T>], bootstrap: Bootstrap, out: &mut Vec<Compared>)
where
    groups::Place: From<&'a T>,
{
    for group in groups::by_bowl() {
        let here: Vec<&Both<'a, T>> = both.iter().filter(|(a, _)| group.holds(*a)).collect();
        for quantity in Quantity::ALL {
            let mut photos: BTreeMap<&str, Vec<PairOfBoth>> = BTreeMap::new();
            for (a, b) in &here {
                // A photo that had to be refused and was has no figure in either run.
                let counts = |t: &T| !matches!(t.fate(), Fate::RightlyRefused(_));
                if let (Some(x), Some(y)) = (a.pair(quantity), b.pair(quantity))
                    && counts(a)
                    && counts(b)
                {
                    photos.entry(a.photo()).or_default().push((x, y));
                }
            }
            let photos: Vec<Vec<PairOfBoth>> = photos.into_values().collect();
            let all: Vec<&Vec<PairOfBoth>> = photos.iter().collect();
            let answered = |f: fn(&PairOfBoth) -> bool| photos.iter().flatten().any(f);
            if !answered(|p| p.0.1.is_some()) || !answered(|p| p.1.1.is_some()) {
                continue;
            }
            let Some((a, b)) = figures(&all) else { continue };
            let draws = bootstrap.draws(&photos, |drawn| {
                let (a, b) = figures(drawn)?;
                Some(std::array::from_fn::<f64, 6, _>(|i| b[i] - a[i]))
            });
            let figures = (0..FIGURES.len()).filter_map(|i| {
                let interval = interval(&column(&draws, i))?;
                Some(Difference {
                    figure: FIGURES[i],
                    a: a[i],
                    b: b[i],
                    difference: b[i] - a[i],
                    interval,
                    clear: interval[0] > 0.0 || interval[1] < 0.0,
                })
            });
            out.push(Compared {
                of,
                group: group.name.clone(),
                quantity,
                n: photos.iter().map(Vec::len).sum(),
                photos: photos.len(),
                figures: figures.collect(),
            });
        }
    }
}

/// The figures of A and of B over the same photos.
fn figures(photos: &[&Vec<PairOfBoth>]) -> Option<([f64; 6], [f64; 6])> {
    let side = |f: fn(&PairOfBoth) -> Pair| {
        let pairs: Vec<Pair> = photos.iter().flat_map(|p| p.iter().map(f)).collect();
        let e = Errors::of(&pairs)?;
        Some([e.mape, e.median_ape, e.pmae, e.bias, e.coverage, e.width])
    };
    Some((side(|p| p.0)?, side(|p| p.1)?))
}

impl Comparison {
    /// Plain text for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("A: {}\nB: {}\n", self.titles[0], self.titles[1]);
        let _ = writeln!(
            out,
            "B less A with its 95 % interval ({} draws of photos, seed {}); * where that leaves out zero",
            self.bootstrap.draws, self.bootstrap.seed
        );
        for row in &self.compared {
            let _ = writeln!(
                out,
                "\n{}, {}, {}: {} of {} photos",
                row.of,
                row.quantity.title(),
                row.group,
                row.n,
                row.photos
            );
            for d in &row.figures {
                let _ = writeln!(
                    out,
                    "  {:<10}{:>9.2}{:>9.2}{:>+9.2}   {:+.2}..{:+.2}{}",
                    d.figure,
                    d.a,
                    d.b,
                    d.difference,
                    d.interval[0],
                    d.interval[1],
                    if d.clear { " *" } else { "" }
                );
            }
        }
        if self.unpaired > 0 {
            let _ = writeln!(
                out,
                "\n{} items and photos are in one of the files only",
                self.unpaired
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::amounts::{EstimatedAmounts, TrueAmounts};
    use super::super::oracle::Uniform;
    use super::*;
    use crate::contract::Estimated;

    const BOOTSTRAP: Bootstrap = Bootstrap { draws: 400, seed: 1 };

    /// One item a photo, answered `factor` times its truth with noise of its own.
    fn run(factor: f64, noise: f64, seed: u64) -> ResultFile {
        let mut random = Uniform::new(seed);
        let outcomes = (0..60).map(|i| {
            let truth = 100.0 + f64::from(i);
            Outcome {
                sample: format!("photo {i}"),
                label: "rice".into(),
                in_bowl: i % 3 == 0,
                truth: TrueAmounts {
                    volume_cm3: Some(truth),
                    ..TrueAmounts::default()
                },
                predicted: EstimatedAmounts {
                    volume_cm3: Some(Estimated::log_normal(
                        truth * factor * (noise * random.normal()).exp(),
                        0.2,
                    )),
                    ..EstimatedAmounts::default()
                },
                ..Outcome::default()
            }
        });
        ResultFile {
            title: "t".into(),
            outcomes: outcomes.collect(),
            photo_outcomes: Vec::new(),
        }
    }

    fn mape(c: &Comparison, group: &str) -> Difference {
        let row = c.compared.iter().find(|r| r.group == group).unwrap();
        row.figures[0]
    }

    #[test]
    fn a_gain_is_clear_and_none_is_not() {
        let (a, b) = (run(1.2, 0.1, 1), run(1.1, 0.1, 2));
        let found = compare(&a, &b, BOOTSTRAP).unwrap();
        let all = mape(&found, "all");
        assert!(
            all.clear && all.difference < -4.0 && all.interval[1] < 0.0,
            "{all:?}"
        );
        assert!(mape(&found, "in bowls").difference < 0.0);
        let same = mape(&compare(&a, &a, BOOTSTRAP).unwrap(), "all");
        assert_eq!(
            (same.difference, same.interval, same.clear),
            (0.0, [0.0, 0.0], false)
        );
        let chance = mape(
            &compare(&run(1.0, 0.1, 3), &run(1.0, 0.1, 4), BOOTSTRAP).unwrap(),
            "all",
        );
        assert!(!chance.clear, "{chance:?}");
        assert!(
            found.text().contains("items, volume, in bowls: 20 of 20 photos"),
            "{}",
            found.text()
        );
    }

    #[test]
    fn pairing_is_what_narrows_the_interval() {
        // Both runs share the photos' difficulty; B is 2 % off more.
        let a = run(1.0, 0.4, 9);
        let mut b = a.clone();
        for o in &mut b.outcomes {
            let v = o.predicted.volume_cm3.as_mut().unwrap();
            *v = v.scaled(1.02);
        }
        let found = mape(&compare(&a, &b, BOOTSTRAP).unwrap(), "all");
        assert!(found.interval[1] - found.interval[0] < 2.0, "{found:?}");
    }

    #[test]
    fn what_only_one_has_is_counted_and_other_data_is_refused() {
        let a = run(1.0, 0.1, 1);
        let mut b = a.clone();
        b.outcomes.truncate(50);
        assert_eq!(compare(&a, &b, BOOTSTRAP).unwrap().unpaired, 10);
        b.outcomes[3].truth.volume_cm3 = Some(1.0);
        let refused = compare(&a, &b, BOOTSTRAP).unwrap_err();
        assert!(
            refused.code == ErrorCode::BadRequest && refused.message.contains("photo 3 "),
            "{refused}"
        );
        b.outcomes.clear();
        assert!(compare(&a, &b, BOOTSTRAP).is_err());
    }
}
