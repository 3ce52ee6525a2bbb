//! Many records, and several syncs at once.

use serde_json::{Value, json};

use super::{NOW, at_now, old_user, send, steps, verdicts};
use crate::harness::{Wish, service};

#[tokio::test]
async fn a_year_in_chunks_goes_on_after_a_cut_and_duplicates_end_in_two_requests() {
    let limits = bio_bff::routes::Limits {
        sync_grace: std::time::Duration::from_secs(400 * 86_400),
        ..Default::default()
    };
    let s = service!(Wish {
        now: Some(NOW.parse().unwrap()),
        limits,
        ..Wish::default()
    });
    let c = s.user("a");
    let chunk = |n: i64| -> Vec<Value> {
        (0..36)
            .map(|d| {
                let day = jiff::civil::date(2025, 12, 1)
                    .checked_add(jiff::Span::new().days(n * 36 + d))
                    .unwrap();
                steps(
                    &format!("{day}T10:00:00Z"),
                    &format!("{day}T10:15:00Z"),
                    100,
                    "watch",
                )
            })
            .collect()
    };
    // Newest first, cut at 60 %, then all of it again.
    for n in [9, 8, 7, 6, 5, 4] {
        send(&c, chunk(n)).await;
    }
    let mut cursors = std::collections::HashSet::new();
    for n in (0..10).rev() {
        let answer = send(&c, chunk(n)).await;
        assert_eq!(answer["counts"][if n >= 4 { "duplicate" } else { "stored" }], 36);
        assert!(cursors.insert(answer["cursor"].to_string()));
    }
    assert_eq!(s.sql("SELECT sum(steps_delta) FROM health_metrics"), ["36000"]);
    let nothing = c
        .post("/sync/batch", json!({"records": [], "cursor": "abc"}))
        .await
        .expect(200);
    assert_eq!(nothing["cursor"], "abc");
}

#[tokio::test]
async fn two_syncs_at_once_agree_on_who_was_first() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let one = || {
        send(
            &c,
            vec![steps("2026-11-29T07:45:00Z", "2026-11-29T08:00:00Z", 5, "watch")],
        )
    };
    let all = futures::future::join_all((0..8).map(|_| one())).await;
    let count = |v: &str| all.iter().filter(|a| verdicts(a) == [v]).count();
    assert_eq!((count("stored"), count("duplicate")), (1, 7));
}

#[tokio::test]
async fn ten_thousand_records_in_one_batch() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let records: Vec<Value> = (0..10_000i64)
        .map(|i| {
            let at: jiff::Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
            let (a, b) = (
                at + jiff::SignedDuration::from_mins(15 * i),
                at + jiff::SignedDuration::from_mins(15 * i + 15),
            );
            steps(&a.to_string(), &b.to_string(), 7, "watch")
        })
        .collect();
    let body = json!({"records": records});
    for verdict in ["stored", "duplicate"] {
        let begun = std::time::Instant::now();
        let answer = c.post("/sync/batch", body.clone()).await.expect(200);
        eprintln!("10,000 records, {verdict}: in {:?}", begun.elapsed());
        assert_eq!(answer["counts"][verdict], 10_000);
    }
}
