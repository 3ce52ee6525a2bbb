//! Packed bodies, and their limits.

use std::io::Write;

use serde_json::{Value, json};

use super::{at_now, old_user, steps, verdicts};
use crate::harness::{Answer, Client, finish};

async fn raw(c: &Client, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = c
        .http
        .post(format!("{}{path}", c.base))
        .bearer_auth(&c.token)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    finish(request.body(body)).await
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

#[tokio::test]
async fn packed_bodies_within_both_limits() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let batch =
        json!({"records": [steps("2026-11-29T07:45:00Z", "2026-11-29T08:00:00Z", 5, "watch")]}).to_string();
    let packed = gzip(batch.as_bytes());
    let good = raw(&c, "/sync/batch", &[("content-encoding", "gzip")], packed.clone())
        .await
        .expect(200);
    assert_eq!(verdicts(&good), ["stored"]);
    raw(&c, "/sync/batch", &[("content-encoding", "br")], packed.clone())
        .await
        .refused(415, "unsupported_media_type");
    raw(
        &c,
        "/sync/batch",
        &[("content-encoding", "gzip")],
        b"no gzip".to_vec(),
    )
    .await
    .refused(400, "bad_request");
    raw(
        &c,
        "/sync/batch",
        &[("content-encoding", "gzip")],
        packed[..packed.len() - 9].to_vec(),
    )
    .await
    .refused(400, "bad_request");
    // 64 MiB of spaces in 64 KiB.
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    raw(&c, "/sync/batch", &[("content-encoding", "gzip")], bomb)
        .await
        .refused(413, "body_too_large");
    // Too much on the wire, told by its length or not.
    raw(&c, "/sync/batch", &[], vec![b' '; 3 << 20])
        .await
        .refused(413, "body_too_large");
    let chunks = (0..48).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = c
        .http
        .post(format!("{}/sync/batch", c.base))
        .bearer_auth(&c.token)
        .header("content-type", "application/json");
    finish(request.body(stream)).await.refused(413, "body_too_large");
    let many: Vec<Value> = vec![json!({}); 10_001];
    c.post("/sync/batch", json!({"records": many}))
        .await
        .refused(413, "too_many_records");
    raw(&c, "/sync/batch", &[], "[".repeat(100_000).into_bytes())
        .await
        .refused(422, "invalid_field");
    raw(&c, "/sync/batch", &[], b"{\"records\": 5}".to_vec())
        .await
        .refused(422, "invalid_field");
    // Nothing that a token is missing for is unpacked.
    let nobody = s.with_token(String::new());
    nobody
        .post("/sync/batch", json!({"records": []}))
        .await
        .refused(401, "token_missing");
}
