//! What became of each record: new, known, corrected or refused.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ingest::fold::{Column, Folded, Outcome};
use crate::domain::ingest::{Batch, Refusal};
use crate::domain::metrics::Sample;

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::routes) enum Verdict {
    Stored,
    Duplicate,
    Corrected,
    Rejected,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::routes) struct RecordVerdict {
    /// Index in the batch.
    pub(super) i: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    pub(super) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<Refusal>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::routes) struct Counts {
    pub(super) stored: usize,
    pub(super) duplicate: usize,
    pub(super) corrected: usize,
    pub(super) rejected: usize,
}

/// Thousandths of a kcal are kept.
fn same_energy(a: f64, b: f64) -> bool {
    (a - b).abs() < 5e-4
}

/// Whether a column of a new row is new, the same, or another value than is stored.
fn compare(column: Column, new: &Sample, old: Option<&Sample>) -> Verdict {
    fn of<T: PartialEq>(new: Option<T>, old: Option<T>) -> Verdict {
        match (new, old) {
            (_, None) => Verdict::Stored,
            (new, old) if new == old => Verdict::Duplicate,
            _ => Verdict::Corrected,
        }
    }
    let Some(old) = old else { return Verdict::Stored };
    match column {
        Column::Steps => of(new.steps, old.steps),
        Column::Energy => match (new.energy, old.energy) {
            (Some(a), Some(b)) if same_energy(a, b) => Verdict::Duplicate,
            (_, None) => Verdict::Stored,
            _ => Verdict::Corrected,
        },
        Column::RestingHr => of(new.resting_hr, old.resting_hr),
        Column::Hrv => of(new.hrv.zip(new.hrv_kind), old.hrv.zip(old.hrv_kind)),
        Column::Sleep => of(new.sleep, old.sleep),
        Column::Feel => of(new.feel, old.feel),
    }
}

pub(super) fn differs(new: &Sample, old: Option<&Sample>) -> bool {
    let Some(old) = old else { return true };
    let told = [
        (Column::Steps, new.steps.is_some()),
        (Column::Energy, new.energy.is_some()),
        (Column::RestingHr, new.resting_hr.is_some()),
        (Column::Hrv, new.hrv.is_some()),
        (Column::Sleep, new.sleep.is_some()),
        (Column::Feel, new.feel.is_some()),
    ];
    told.into_iter()
        .any(|(column, told)| told && compare(column, new, Some(old)) != Verdict::Duplicate)
        || (new.device.is_some() && new.device != old.device)
}

pub(super) fn verdicts(
    batch: &Batch,
    folded: &Folded,
    before: &HashMap<(i64, String), Sample>,
) -> (Vec<RecordVerdict>, Counts) {
    let mut counts = Counts::default();
    let results = batch
        .entries
        .iter()
        .zip(&folded.outcomes)
        .enumerate()
        .map(|(i, (entry, outcome))| {
            let (verdict, code) = match outcome {
                Outcome::Refused(refusal) => (Verdict::Rejected, Some(*refusal)),
                Outcome::Rows(column, rows) => {
                    let each = rows.iter().map(|r| {
                        let row = &folded.rows[*r];
                        compare(*column, row, before.get(&(row.time, row.source.clone())))
                    });
                    let verdict = each.fold(Verdict::Duplicate, |all, one| match (all, one) {
                        (Verdict::Corrected, _) | (_, Verdict::Corrected) => Verdict::Corrected,
                        (Verdict::Stored, _) | (_, Verdict::Stored) => Verdict::Stored,
                        _ => Verdict::Duplicate,
                    });
                    (verdict, None)
                }
            };
            match verdict {
                Verdict::Stored => counts.stored += 1,
                Verdict::Duplicate => counts.duplicate += 1,
                Verdict::Corrected => counts.corrected += 1,
                Verdict::Rejected => counts.rejected += 1,
            }
            RecordVerdict {
                i,
                id: entry.id.clone(),
                verdict,
                code,
            }
        })
        .collect();
    (results, counts)
}
