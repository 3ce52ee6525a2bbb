//! What a vision service's call back does, and what becomes of a scan without it.

use std::time::Duration;

use serde_json::json;

use super::{lab, meals};
use crate::harness::until;

#[tokio::test]
async fn a_webhook_that_is_lost_is_made_up_for() {
    let lab = lab!();
    let scan = lab.upload(&lab.c).await;
    lab.tell(&scan).await.expect(200);
    lab.vision.end("job-1");
    assert_eq!(lab.state(&lab.c, &scan).await, "queued");
    lab.s.sql("UPDATE scans SET next_at = now()");
    assert_eq!(lab.scans().reconcile().await.unwrap(), 1);
    assert_eq!(lab.state(&lab.c, &scan).await, "ready");
    assert_eq!(meals(&lab.c).await.len(), 1);
}

#[tokio::test]
async fn webhooks_that_come_twice_late_forged_or_replayed_do_no_harm() {
    let lab = lab!();
    let c = &lab.c;
    let scan = lab.upload(c).await;
    lab.tell(&scan).await.expect(200);
    let webhook = lab.vision.jobs()[0].1.webhook.clone();
    // Before the job has ended: looked at, and it has not.
    assert_eq!(lab.vision.call("job-1", &webhook, 0).await, 200);
    assert_eq!(lab.state(c, &scan).await, "queued");
    lab.vision.end("job-1");
    // Forged: another secret, no signature, an old call, a token that is nobody's.
    assert_eq!(lab.vision.call("job-1", &webhook, 3600).await, 401);
    let bare = c.http.post(&webhook).body("{}").send().await.unwrap();
    assert_eq!(bare.status(), 401);
    let mut forged = webhook.clone();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.pop();
    forged.push(last);
    assert_eq!(lab.vision.call("job-1", &forged, 0).await, 404);
    for odd in ["x", "%00", &"a".repeat(5000)] {
        let url = format!("{}/webhooks/scans/{odd}", c.base);
        assert_eq!(lab.vision.call("job-1", &url, 0).await, 404, "{odd}");
    }
    assert_eq!(lab.state(c, &scan).await, "queued");
    // Twice at once, then late.
    let calls = (0..4).map(|_| lab.vision.call("job-1", &webhook, 0));
    for status in futures::future::join_all(calls).await {
        assert_eq!(status, 200);
    }
    let ready = c.get(&format!("/scans/{scan}")).await.etag();
    c.act(&scan, "confirm", json!({})).await.expect(200);
    assert_eq!(lab.vision.call("job-1", &webhook, 0).await, 200);
    assert_eq!(lab.state(c, &scan).await, "confirmed");
    assert_eq!(meals(c).await.len(), 1);
    assert_ne!(c.get(&format!("/scans/{scan}")).await.etag(), ready);
}

#[tokio::test]
async fn a_webhook_faster_than_its_submission_is_not_lost() {
    let lab = lab!();
    lab.vision.set(|s| s.hasty = true);
    let scan = lab.upload(&lab.c).await;
    lab.tell(&scan).await.expect(200);
    assert_eq!(lab.state(&lab.c, &scan).await, "ready");
}

#[tokio::test]
async fn whoever_hangs_up_cuts_nothing_and_a_result_is_fetched_once() {
    let lab = lab!();
    let scan = lab.upload(&lab.c).await;
    lab.tell(&scan).await.expect(200);
    let webhook = lab.vision.end("job-1");
    lab.vision.set(|s| s.thinks = Duration::from_secs(1));
    let hangs_up = tokio::spawn(lab.vision.signed("job-1", &webhook).send());
    until("it is asked", async || lab.vision.asked() == 1).await;
    // Called again meanwhile, and looked at by the reconciler: heard, and that is all.
    for _ in 0..3 {
        assert_eq!(lab.vision.call("job-1", &webhook, 0).await, 200);
    }
    lab.s.sql("UPDATE scans SET next_at = now()");
    lab.scans().reconcile().await.unwrap();
    hangs_up.abort();
    until("it is ready", async || lab.state(&lab.c, &scan).await == "ready").await;
    assert_eq!(lab.vision.asked(), 1);
    assert_eq!(meals(&lab.c).await.len(), 1);
}

#[tokio::test]
async fn a_webhook_during_a_look_makes_the_next_look_come_at_once() {
    let lab = lab!();
    let scan = lab.upload(&lab.c).await;
    lab.tell(&scan).await.expect(200);
    let webhook = lab.vision.jobs()[0].1.webhook.clone();
    // The look is answered that the job waits; the webhook comes while it waits for that answer.
    lab.vision.set(|s| s.thinks = Duration::from_secs(1));
    lab.s.sql("UPDATE scans SET next_at = now()");
    let (looks, heard) = tokio::join!(lab.scans().reconcile(), async {
        until("it is asked", async || lab.vision.asked() == 1).await;
        lab.vision.call("job-1", &webhook, 0).await
    });
    assert_eq!((looks.unwrap(), heard), (1, 200));
    assert_eq!(lab.state(&lab.c, &scan).await, "queued");
    lab.vision.end("job-1");
    assert_eq!(lab.scans().reconcile().await.unwrap(), 1, "without a pause");
    assert_eq!(lab.state(&lab.c, &scan).await, "ready");
}
