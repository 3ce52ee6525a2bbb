//! A score for a night whose stages were sent without one.
//!
//! After the parts that open-wearables documents for its sleep score, without its consistency part, which needs bedtimes
//! that are not kept: 40 duration (7 to 9 hours are full), 20 stages (90 minutes each of deep and REM), 20 interruptions
//! (20 minutes awake cost nothing, 90 all), scaled to 100. A proposal, not physiology.

use jiff::tz::TimeZone;

use super::{Kind, Record, Refusal, Stage};

const MINUTE: i64 = 60_000_000;
/// Awake for less than this does not end a night.
const GAP: i64 = 120 * MINUTE;
/// Less sleep than this is a nap.
const SHORTEST: i64 = 180 * MINUTE;

/// One session of sleep.
#[derive(Debug, PartialEq)]
pub struct Night {
    /// Waking up, microseconds.
    pub end: i64,
    /// 0 to 100.
    pub score: Result<i32, Refusal>,
    /// The records it is made of.
    pub members: Vec<usize>,
}

/// Minutes of a session.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Minutes {
    pub asleep: f64,
    pub deep: f64,
    pub rem: f64,
    /// Awake between falling asleep and waking up.
    pub awake: f64,
}

/// Sessions of one source's stages. Of two nights that end on one local date the longer one is the night.
pub fn nights(stages: &[(usize, &Record)], zone: &TimeZone) -> Vec<Night> {
    let mut sorted: Vec<(usize, &Record)> = stages.to_vec();
    sorted.sort_by_key(|(_, r)| (r.start, r.end));
    let mut sessions: Vec<Vec<(usize, &Record)>> = Vec::new();
    let mut until = i64::MIN;
    for (i, r) in sorted {
        match sessions.last_mut() {
            Some(session) if r.start <= until.saturating_add(GAP) => session.push((i, r)),
            _ => sessions.push(vec![(i, r)]),
        }
        until = until.max(r.end);
    }
    let measured: Vec<_> = sessions.iter().map(|s| (s, sweep(s))).collect();
    let date = |end: i64| {
        let at = jiff::Timestamp::from_microsecond(end).unwrap_or_default();
        zone.to_datetime(at).date()
    };
    measured
        .iter()
        .map(|(session, swept)| {
            let members = session.iter().map(|(i, _)| *i).collect();
            let Some((end, minutes)) = swept else {
                return Night {
                    end: 0,
                    score: Err(Refusal::NotANight),
                    members,
                };
            };
            let longer = measured
                .iter()
                .flat_map(|(_, s)| s)
                .any(|(other_end, other)| date(*other_end) == date(*end) && other.asleep > minutes.asleep);
            let score = if longer || minutes.asleep < SHORTEST as f64 / MINUTE as f64 {
                Err(Refusal::NotANight)
            } else {
                score(minutes)
            };
            Night {
                end: *end,
                score,
                members,
            }
        })
        .collect()
}

/// # Errors
/// `no_stages` if neither deep nor REM sleep is told.
pub fn score(m: &Minutes) -> Result<i32, Refusal> {
    if m.deep + m.rem <= 0.0 {
        return Err(Refusal::NoStages);
    }
    let hours = m.asleep / 60.0;
    let duration = if hours < 7.0 {
        hours / 7.0
    } else {
        (1.0 - (hours - 9.0).max(0.0) / 3.0).max(0.0)
    };
    let stages = ((m.deep / 90.0).min(1.0) + (m.rem / 90.0).min(1.0)) / 2.0;
    let calm = (1.0 - (m.awake - 20.0) / 70.0).clamp(0.0, 1.0);
    let points = 40.0 * duration + 20.0 * stages + 20.0 * calm;
    Ok((points / 80.0 * 100.0).round() as i32)
}

/// Waking up, and the minutes, from stages that may overlap and repeat; the best-ranked stage of each moment counts.
fn sweep(session: &[(usize, &Record)]) -> Option<(i64, Minutes)> {
    const STAGES: [Stage; 6] = [
        Stage::Deep,
        Stage::Rem,
        Stage::Core,
        Stage::Awake,
        Stage::Asleep,
        Stage::InBed,
    ];
    let mut events: Vec<(i64, usize, i32)> = Vec::new();
    for (_, r) in session {
        let Kind::Stage(stage) = r.kind else { continue };
        let place = stage as usize;
        events.push((r.start, place, 1));
        events.push((r.end, place, -1));
    }
    events.sort_unstable();
    let mut open = [0i32; STAGES.len()];
    let mut spans: Vec<(i64, i64, Option<Stage>)> = Vec::new();
    let mut from = events.first()?.0;
    for (at, place, change) in events {
        if at > from {
            let stage = open.iter().position(|n| *n > 0).map(|i| STAGES[i]);
            spans.push((from, at, stage));
            from = at;
        }
        open[place] += change;
    }
    let asleep =
        |s: &Option<Stage>| matches!(s, Some(Stage::Deep | Stage::Rem | Stage::Core | Stage::Asleep));
    let first = spans.iter().find(|(_, _, s)| asleep(s))?.0;
    let last = spans.iter().rev().find(|(_, _, s)| asleep(s))?.1;
    let mut m = Minutes::default();
    for (from, to, stage) in &spans {
        let length = (to - from) as f64 / MINUTE as f64;
        match stage {
            Some(Stage::Deep) => m.deep += length,
            Some(Stage::Rem) => m.rem += length,
            _ => {}
        }
        if asleep(stage) {
            m.asleep += length;
        } else if *from >= first && *to <= last {
            // Awake, only in bed, or not told.
            m.awake += length;
        }
    }
    Some((last, m))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes after 23:00 UTC of 9 June 2026.
    fn stage(stage: Stage, from: i64, to: i64) -> Record {
        let base = "2026-06-09T23:00:00Z"
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_microsecond();
        Record {
            kind: Kind::Stage(stage),
            start: base + from * MINUTE,
            end: base + to * MINUTE,
            value: 0.0,
            source: "watch".into(),
            device: None,
            cumulative: false,
        }
    }

    fn of(records: &[Record]) -> Vec<Night> {
        let stages: Vec<_> = records.iter().enumerate().collect();
        nights(&stages, &TimeZone::UTC)
    }

    fn good_night() -> Vec<Record> {
        vec![
            stage(Stage::InBed, -15, 490),
            stage(Stage::Core, 0, 200),
            stage(Stage::Deep, 200, 290),
            stage(Stage::Rem, 290, 380),
            stage(Stage::Core, 380, 480),
        ]
    }

    #[test]
    fn a_full_night_is_a_hundred() {
        let n = of(&good_night());
        assert_eq!((n.len(), n[0].score), (1, Ok(100)));
        assert_eq!(n[0].end, stage(Stage::Core, 0, 480).end);
        assert_eq!(n[0].members.len(), 5);
    }

    #[test]
    fn a_fragment_inside_and_a_repetition_change_nothing() {
        let mut rows = good_night();
        rows.extend(good_night());
        rows.push(stage(Stage::Core, 400, 470));
        let n = of(&rows);
        assert_eq!((n.len(), n[0].score), (1, Ok(100)));
    }

    #[test]
    fn seventy_minutes_awake_do_not_split_a_night() {
        let mut rows = good_night();
        rows[4] = stage(Stage::Core, 450, 550);
        let n = of(&rows);
        // 50 of the 70 minutes that may be lost: 20 * 2/7 of 20 are left.
        assert_eq!((n.len(), n[0].score), (1, Ok(82)));
    }

    #[test]
    fn a_nap_is_no_night() {
        let mut rows = good_night();
        rows.push(stage(Stage::Rem, 900, 990));
        let n = of(&rows);
        assert_eq!(n.len(), 2);
        assert_eq!((n[0].score, n[1].score), (Ok(100), Err(Refusal::NotANight)));
    }

    #[test]
    fn duration_alone_is_no_score() {
        assert_eq!(
            of(&[stage(Stage::Asleep, 0, 480)])[0].score,
            Err(Refusal::NoStages)
        );
        assert_eq!(
            of(&[stage(Stage::InBed, 0, 480)])[0].score,
            Err(Refusal::NotANight)
        );
    }

    #[test]
    fn deep_wins_over_core_that_overlaps_it() {
        let m = sweep(&[
            (0, &stage(Stage::Core, 0, 400)),
            (1, &stage(Stage::Deep, 100, 190)),
        ])
        .unwrap()
        .1;
        assert_eq!((m.asleep, m.deep, m.awake), (400.0, 90.0, 0.0));
    }
}
