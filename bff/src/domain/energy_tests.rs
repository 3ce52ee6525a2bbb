use super::*;
use crate::domain::day::{EatingHours, zone};
use crate::domain::metrics::SLOT_US;
use jiff::civil::date;

fn hrv_of(mean: f64, baseline: f64, days: usize) -> Option<HrvInput> {
    let known = days >= BASELINE_MIN;
    Some(HrvInput {
        mean_ms: mean,
        kind: HrvKind::Rmssd,
        baseline_ms: known.then_some(baseline),
        baseline_days: days,
    })
}

/// sleep, (HRV, baseline, days), feel, (active, usual), fatigue, score, confidence, plan changes
type Row = (
    Option<f64>,
    Option<(f64, f64, usize)>,
    Option<f64>,
    (f64, Option<f64>),
    f64,
    Option<f64>,
    f64,
    bool,
);

/// The first six are the definition's own.
const ROWS: [Row; 20] = [
    (
        Some(82.0),
        Some((45.0, 50.0, 20)),
        Some(70.0),
        (420.0, Some(600.0)),
        0.0,
        Some(80.8),
        1.0,
        false,
    ),
    (
        Some(35.0),
        Some((28.0, 52.0, 30)),
        Some(30.0),
        (1150.0, Some(550.0)),
        20.0,
        Some(19.2),
        1.0,
        true,
    ),
    (
        Some(64.0),
        Some((61.0, 50.0, 30)),
        None,
        (500.0, Some(480.0)),
        0.83,
        Some(88.0),
        0.7,
        false,
    ),
    (
        Some(71.0),
        Some((40.0, 0.0, 3)),
        Some(55.0),
        (300.0, None),
        0.0,
        Some(64.1),
        0.6,
        false,
    ),
    (
        Some(95.0),
        Some((120.0, 60.0, 30)),
        Some(90.0),
        (0.0, Some(500.0)),
        0.0,
        Some(100.0),
        1.0,
        false,
    ),
    (
        Some(60.0),
        Some((40.0, 50.0, 7)),
        Some(50.0),
        (700.0, Some(500.0)),
        8.0,
        Some(55.0),
        0.85,
        false,
    ),
    // Nothing at all.
    (None, None, None, (0.0, None), 0.0, None, 0.0, false),
    // Only fatigue is no score.
    (None, None, None, (2000.0, Some(500.0)), 20.0, None, 0.0, false),
    // One term each.
    (
        Some(50.0),
        None,
        None,
        (0.0, Some(500.0)),
        0.0,
        Some(50.0),
        0.4,
        false,
    ),
    (
        None,
        Some((50.0, 50.0, 14)),
        None,
        (0.0, Some(500.0)),
        0.0,
        Some(100.0),
        0.3,
        false,
    ),
    (
        None,
        None,
        Some(39.0),
        (0.0, Some(500.0)),
        0.0,
        Some(39.0),
        0.3,
        true,
    ),
    // On the threshold, and just below it.
    (
        None,
        None,
        Some(40.0),
        (0.0, Some(500.0)),
        0.0,
        Some(40.0),
        0.3,
        false,
    ),
    (
        Some(40.0),
        None,
        Some(39.0),
        (0.0, Some(500.0)),
        0.0,
        Some(39.6),
        0.7,
        true,
    ),
    // Fatigue takes a score to its floor.
    (
        Some(10.0),
        None,
        Some(10.0),
        (5000.0, Some(500.0)),
        20.0,
        Some(0.0),
        0.7,
        true,
    ),
    // Usual activity below 100 kcal counts as 100.
    (
        Some(80.0),
        None,
        Some(80.0),
        (150.0, Some(20.0)),
        10.0,
        Some(70.0),
        0.7,
        false,
    ),
    // The usual costs nothing.
    (
        Some(80.0),
        None,
        Some(80.0),
        (500.0, Some(500.0)),
        0.0,
        Some(80.0),
        0.7,
        false,
    ),
    // Five days are enough, at five fourteenths of the trust; four are not.
    (
        Some(60.0),
        Some((30.0, 60.0, 5)),
        Some(60.0),
        (0.0, Some(500.0)),
        0.0,
        Some(57.0),
        0.81,
        false,
    ),
    (
        Some(60.0),
        Some((30.0, 60.0, 4)),
        Some(60.0),
        (0.0, Some(500.0)),
        0.0,
        Some(60.0),
        0.7,
        false,
    ),
    // The ratio is capped at 1.25.
    (
        None,
        Some((75.0, 60.0, 30)),
        Some(0.0),
        (0.0, Some(500.0)),
        0.0,
        Some(62.5),
        0.6,
        false,
    ),
    (
        None,
        Some((200.0, 60.0, 30)),
        Some(0.0),
        (0.0, None),
        0.0,
        Some(62.5),
        0.5,
        false,
    ),
];

#[test]
fn twenty_worked_rows() {
    for (n, (sleep, hrv, feel, (active, usual), fatigue, want, confidence, changes)) in
        ROWS.into_iter().enumerate()
    {
        let got = score(EnergyInputs {
            sleep_score: sleep,
            hrv: hrv.and_then(|(m, b, d)| hrv_of(m, b, d)),
            subj_feel: feel,
            active_kcal: active,
            usual_active_kcal: usual,
        });
        let row = n + 1;
        assert_eq!(got.score, want, "row {row}");
        assert_eq!(got.confidence, confidence, "row {row}");
        assert_eq!(got.components.fatigue, fatigue, "row {row}");
        assert_eq!(got.score.is_some_and(|s| s < THRESHOLD), changes, "row {row}");
        assert_eq!(
            got.reasons.iter().any(|r| r == "no_inputs"),
            want.is_none(),
            "row {row}"
        );
    }
}

#[test]
fn all_terms_present_is_the_plain_formula() {
    let (sleep, ratio, feel, fatigue) = (82.0, 45.0 / 50.0, 70.0, 0.0);
    let plain: f64 = sleep * 0.4 + ratio * 30.0 + feel * 0.3 - fatigue;
    assert!((plain - 80.8).abs() < 1e-9);
}

fn berlin() -> Calendar {
    Calendar::new(zone("Europe/Berlin").unwrap(), EatingHours::awake(None, None))
}

fn sample(at: Timestamp, source: &str) -> Sample {
    Sample {
        time: at.as_microsecond(),
        source: source.into(),
        ..Sample::default()
    }
}

fn hrv_sample(at: Timestamp, source: &str, ms: i32, kind: HrvKind) -> Sample {
    Sample {
        hrv: Some(ms),
        hrv_kind: Some(kind),
        device: Some(format!("{source}-device")),
        ..sample(at, source)
    }
}

fn now() -> Timestamp {
    "2026-06-10T08:00:00Z".parse().unwrap()
}

fn days_ago(n: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * n)
}

#[test]
fn the_baseline_is_geometric_and_drops_outliers() {
    let mut rows: Vec<_> = [40, 50, 60, 8, 300, 45, 55, 52]
        .into_iter()
        .enumerate()
        .map(|(i, ms)| hrv_sample(days_ago(i as i64 + 1), "watch", ms, HrvKind::Rmssd))
        .collect();
    rows.push(hrv_sample(now(), "watch", 45, HrvKind::Rmssd));
    let hrv = gather(&berlin(), now(), &rows).hrv.unwrap();
    assert_eq!(hrv.baseline_days, 6);
    assert!((hrv.baseline_ms.unwrap() - 49.90).abs() < 0.005, "{hrv:?}");
}

#[test]
fn a_new_device_and_the_other_kind_begin_anew() {
    let mut rows: Vec<_> = (1..=30)
        .map(|d| hrv_sample(days_ago(d), "watch", 50, HrvKind::Rmssd))
        .collect();
    rows.push(hrv_sample(now(), "watch", 50, HrvKind::Sdnn));
    let other_kind = gather(&berlin(), now(), &rows).hrv.unwrap();
    assert_eq!((other_kind.baseline_ms, other_kind.baseline_days), (None, 0));
    rows.pop();
    rows.push(Sample {
        device: Some("new".into()),
        ..hrv_sample(now(), "watch", 50, HrvKind::Rmssd)
    });
    assert_eq!(gather(&berlin(), now(), &rows).hrv.unwrap().baseline_days, 0);
    rows.push(hrv_sample(now(), "watch", 60, HrvKind::Rmssd));
    rows.retain(|s| s.device.as_deref() != Some("new"));
    let same = gather(&berlin(), now(), &rows).hrv.unwrap();
    assert_eq!((same.baseline_days, same.mean_ms), (30, 60.0));
    assert!((same.baseline_ms.unwrap() - 50.0).abs() < 1e-9);
}

#[test]
fn only_four_hours_count_for_now_and_the_better_source_speaks() {
    let four = now() - SignedDuration::from_hours(4);
    let rows = [
        hrv_sample(four, "watch", 99, HrvKind::Rmssd),
        hrv_sample(now() - SignedDuration::from_hours(3), "phone", 30, HrvKind::Rmssd),
    ];
    assert_eq!(
        gather(&berlin(), now(), &rows).hrv.unwrap().mean_ms,
        30.0,
        "four hours ago is over"
    );
    let with_watch = [rows[1].clone(), hrv_sample(now(), "watch", 40, HrvKind::Rmssd)];
    assert_eq!(gather(&berlin(), now(), &with_watch).hrv.unwrap().mean_ms, 40.0);
    assert_eq!(gather(&berlin(), now(), &rows[..1]).hrv, None);
}

#[test]
fn sleep_of_this_morning_and_the_last_feeling() {
    let c = berlin();
    let mut rows = vec![
        Sample {
            sleep: Some(50),
            ..sample(days_ago(1), "watch")
        },
        Sample {
            sleep: Some(80),
            ..sample(now() - SignedDuration::from_hours(2), "watch")
        },
        Sample {
            sleep: Some(99),
            ..sample(now() - SignedDuration::from_hours(1), "phone")
        },
        Sample {
            feel: Some(20),
            ..sample(now() - SignedDuration::from_hours(3), "manual")
        },
        Sample {
            feel: Some(70),
            ..sample(now() - SignedDuration::from_hours(1), "manual")
        },
    ];
    let got = gather(&c, now(), &rows);
    assert_eq!((got.sleep_score, got.subj_feel), (Some(80.0), Some(70.0)));
    rows.retain(|s| s.time < days_ago(0).as_microsecond() - 20 * 3_600_000_000);
    assert_eq!(
        gather(&c, now(), &rows).sleep_score,
        None,
        "yesterday's night is not today's"
    );
}

#[test]
fn activity_is_merged_and_held_against_the_median_of_active_days() {
    let mut rows = Vec::new();
    for (i, kcal) in [300.0, 500.0, 400.0, 900.0, 0.0, 100.0].into_iter().enumerate() {
        let at = days_ago(i as i64 + 1);
        rows.push(Sample {
            energy: Some(kcal),
            ..sample(at, "watch")
        });
        rows.push(Sample {
            energy: Some(kcal + 50.0),
            ..sample(at, "phone")
        });
    }
    rows.push(Sample {
        energy: Some(120.0),
        ..sample(now(), "watch")
    });
    rows.push(Sample {
        energy: Some(77.0),
        ..sample(now() + SignedDuration::from_secs(SLOT_US / 1_000_000), "watch")
    });
    let got = gather(&berlin(), now(), &rows);
    assert_eq!(got.active_kcal, 120.0, "later than now does not count");
    assert_eq!(
        got.usual_active_kcal,
        Some(400.0),
        "a watch that says 0 is believed, and that day is not active"
    );
    let few: Vec<_> = rows
        .iter()
        .filter(|s| s.time >= days_ago(4).as_microsecond())
        .cloned()
        .collect();
    assert_eq!(gather(&berlin(), now(), &few).usual_active_kcal, None);
}

#[test]
fn reach_covers_the_baseline() {
    let first = reach(&berlin(), now());
    assert!(first <= berlin().diary_start(date(2026, 5, 11)));
}

proptest::proptest! {
    #[test]
    fn bounds(
        sleep in proptest::option::of(0.0..=100.0f64),
        hrv in proptest::option::of((10.0..=250.0f64, 10.0..=250.0f64, 0usize..=30)),
        feel in proptest::option::of(0.0..=100.0f64),
        active in 0.0..20_000.0f64,
        usual in proptest::option::of(0.0..5_000.0f64),
    ) {
        let got = score(EnergyInputs {
            sleep_score: sleep,
            hrv: hrv.and_then(|(m, b, d)| hrv_of(m, b, d)),
            subj_feel: feel,
            active_kcal: active,
            usual_active_kcal: usual,
        });
        proptest::prop_assert!((0.0..=1.0).contains(&got.confidence));
        proptest::prop_assert!(got.score.is_none_or(|s| (0.0..=100.0).contains(&s)));
        proptest::prop_assert!((0.0..=20.0).contains(&got.components.fatigue));
        let present = sleep.is_some() || feel.is_some() || hrv.is_some_and(|h| h.2 >= BASELINE_MIN);
        proptest::prop_assert_eq!(got.score.is_some(), present);
    }
}
