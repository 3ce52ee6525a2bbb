//! The job API (H cases of the conformance list, and the store's own promises).

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{TestApp, png_base64};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_through_its_states_under_every_prefix() {
    let app = TestApp::spawn().await;
    for prefix in ["", "/v2/any-endpoint", "/any-endpoint"] {
        let (status, body) = app
            .post(
                &format!("{prefix}/run"),
                &json!({"input": {"mock_return": {"n": 1}}}),
            )
            .await;
        assert_eq!((status, &body["status"]), (200, &json!("IN_QUEUE")));
        let id = body["id"].as_str().unwrap();
        app.ended(id).await;
        let (_, done) = app.get(&format!("{prefix}/status/{id}")).await;
        assert_eq!(done["status"], "COMPLETED");
        assert_eq!(done["output"], json!({"n": 1}));
        assert_eq!(done["workerId"], "w-test");
        assert!(
            done["delayTime"].is_u64() && done["executionTime"].is_u64(),
            "{done}"
        );
        // The dev server's habit.
        assert_eq!(
            app.post(&format!("{prefix}/status/{id}"), &json!({})).await.1,
            done
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runsync_answers_with_the_result() {
    let app = TestApp::spawn().await;
    let run = |input: Value| {
        let app = &app;
        async move { app.post("/runsync", &json!({ "input": input })).await.1 }
    };
    let ok = run(json!({"mock_return": [1, 2]})).await;
    assert_eq!(
        (&ok["status"], &ok["output"]),
        (&json!("COMPLETED"), &json!([1, 2]))
    );
    assert!(ok["id"].as_str().unwrap().starts_with("sync-"));
    // A null output leaves the key out.
    assert!(run(json!({"mock_return": null})).await.get("output").is_none());
    let soft = run(json!({"mock_error": "soft", "mock_return": {"a": 1}})).await;
    assert_eq!(
        (&soft["status"], &soft["error"]),
        (&json!("FAILED"), &json!("soft"))
    );
    let hard = run(json!({"mock_raise": "boom"})).await;
    let error: Value = serde_json::from_str(hard["error"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&error["error_type"], &error["error_message"]),
        (&json!("internal"), &json!("boom"))
    );
    // A scan with a bad field fails as a job, with a code inside.
    let bad = run(json!({"image": {"base64": png_base64()}, "pich_deg": 1})).await;
    assert!(bad["error"].as_str().unwrap().contains("pich_deg"), "{bad}");
}

/// H20.
#[tokio::test(flavor = "multi_thread")]
async fn runsync_returns_early_when_its_wait_is_over() {
    let app = TestApp::spawn().await;
    let (status, body) = app
        .post("/runsync?wait=1000", &json!({"input": {"mock_delay": 300}}))
        .await;
    let early = body["status"].as_str().unwrap();
    assert!(
        status == 200 && matches!(early, "IN_PROGRESS" | "IN_QUEUE"),
        "{body}"
    );
    let id = body["id"].as_str().unwrap();
    app.post(&format!("/cancel/{id}"), &Value::Null).await;
    let next = app.run(json!({"mock_delay": 0.3})).await;
    let (_, held) = app.get(&format!("/status-sync/{next}?wait=60000")).await;
    assert_eq!(held["status"], "COMPLETED");
}

/// H3, H4: every chunk once, in order, the terminal status not before the last chunk.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_read_once() {
    let app = TestApp::spawn().await;
    let id = app
        .run(json!({"mock_chunks": [{"i": 0}, {"i": 1}, {"i": 2}]}))
        .await;
    let mut seen = Vec::new();
    loop {
        let (status, body) = app.get(&format!("/stream/{id}")).await;
        assert_eq!(status, 200);
        let new = body["stream"].as_array().unwrap();
        seen.extend(new.iter().map(|e| e["output"]["i"].as_u64().unwrap()));
        if body["status"] == "COMPLETED" && new.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(
        app.ended(&id).await["output"],
        json!([{"i": 0}, {"i": 1}, {"i": 2}])
    );

    let failed = app.run(json!({"mock_raise": "x"})).await;
    app.ended(&failed).await;
    let (_, body) = app.get(&format!("/stream/{failed}")).await;
    assert_eq!((&body["status"], &body["stream"]), (&json!("FAILED"), &json!([])));
}

/// As in the cloud: a job that does not stream has an empty stream. `options.stream` makes a scan one that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_streams_its_stages_if_asked() {
    let app = TestApp::spawn().await;
    let all = [
        "intake", "decode", "depth", "segment", "identify", "measure", "nourish",
    ];
    for (options, want) in [
        (json!({}), &[][..]),
        (json!({"stream": false}), &[]),
        (json!({"stream": true}), &all),
    ] {
        let image = json!({"base64": png_base64()});
        let id = app
            .run(json!({"image": image, "pitch_deg": 40, "scan_id": "s-9", "options": options}))
            .await;
        let done = app.ended(&id).await;
        assert_eq!(done["output"]["scan_id"], "s-9");
        let (_, body) = app.get(&format!("/stream/{id}")).await;
        let elements = body["stream"].as_array().unwrap();
        let stages: Vec<_> = elements.iter().map(|e| e["output"]["stage"].clone()).collect();
        assert_eq!(stages, want);
    }
    let progress = json!({"mock_progress": {"updates": [{"step": 1}], "wait_time": 0.01}, "mock_return": 1});
    let id = app.run(progress).await;
    app.ended(&id).await;
    let (_, body) = app.get(&format!("/stream/{id}")).await;
    assert_eq!(body["stream"], json!([]), "progress is no part of a stream");
}

/// What waits is purged, wherever it waits: also the job that was handed out ahead of the device.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_the_prefetched_job_too() {
    for dir in [None, Some(tempfile::tempdir().unwrap())] {
        let app = TestApp::at(dir.as_ref().map(|d| d.path()), |_| {}).await;
        let blocker = app.run(json!({"mock_delay": 300})).await;
        app.until_running(&blocker).await;
        let mut waiting = Vec::new();
        for _ in 0..4 {
            waiting.push(app.run(json!({"mock_return": 1})).await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(app.get("/health").await.1["jobs"]["inQueue"], 4);
        let (_, purged) = app.post("/purge-queue", &Value::Null).await;
        assert_eq!(purged, json!({"removed": 4, "status": "completed"}));
        assert_eq!(app.get("/health").await.1["jobs"]["inQueue"], 0);
        app.post(&format!("/cancel/{blocker}"), &Value::Null).await;
        // The device is free again, and takes none of them.
        let next = app.run(json!({"mock_return": "next"})).await;
        assert_eq!(app.ended(&next).await["output"], "next");
        for id in waiting {
            assert_eq!(app.ended(&id).await["status"], "CANCELLED");
        }
        let (_, again) = app.post("/purge-queue", &Value::Null).await;
        assert_eq!(again["removed"], 0);
    }
}

/// H5, and progress as the output of a running job.
#[tokio::test(flavor = "multi_thread")]
async fn cancel_queued_and_running() {
    let app = TestApp::spawn().await;
    let running = app
        .run(json!({"mock_progress": {"updates": [{"step": 1}], "wait_time": 30}}))
        .await;
    app.until_running(&running).await;
    let queued: Vec<String> =
        futures::future::join_all((0..4).map(|_| app.run(json!({"mock_return": 1})))).await;
    // The stages before it may still be what is shown.
    while app.get(&format!("/status/{running}")).await.1["output"] != json!({"step": 1}) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for id in [&queued[3], &running] {
        let (status, body) = app.post(&format!("/cancel/{id}"), &Value::Null).await;
        assert_eq!((status, body), (200, json!({"id": id, "status": "CANCELLED"})));
    }
    for id in &queued[..3] {
        assert_eq!(app.ended(id).await["status"], "COMPLETED");
    }
    assert_eq!(app.ended(&queued[3]).await["status"], "CANCELLED");
    assert_eq!(app.ended(&running).await["status"], "CANCELLED");
    // An ended job stays what it is.
    assert_eq!(
        app.post(&format!("/cancel/{}", queued[0]), &Value::Null).await.1["status"],
        "COMPLETED"
    );
}

/// H6 and the queue's limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_refused_and_can_be_purged() {
    let app = TestApp::with(|k| k.limits.queued = 3).await;
    let blocker = app.run(json!({"mock_delay": 300})).await;
    app.until_running(&blocker).await;
    let mut accepted = 0;
    let refused = loop {
        let response = app
            .http
            .post(format!("{}/run", app.url))
            .json(&json!({"input": {"mock_return": 1}}))
            .send()
            .await
            .unwrap();
        if response.status() != 200 {
            break response;
        }
        accepted += 1;
        assert!(accepted < 10);
    };
    assert_eq!(refused.status(), 429);
    assert!(
        refused.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    let (_, health) = app.get("/health").await;
    assert_eq!(health["jobs"]["inProgress"], 1);
    assert_eq!(health["jobs"]["inQueue"], accepted);
    assert_eq!(health["workers"]["running"], 1);
    let (_, purged) = app.post("/purge-queue", &Value::Null).await;
    assert_eq!(purged["status"], "completed");
    assert_eq!(purged["removed"], accepted, "{purged}");
    assert_eq!(
        app.get(&format!("/status/{blocker}")).await.1["status"],
        "IN_PROGRESS"
    );
    app.post(&format!("/cancel/{blocker}"), &Value::Null).await;
}

/// H16.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_timeout_stops_the_engine() {
    let app = TestApp::spawn().await;
    let (_, body) = app
        .post(
            "/run",
            &json!({"input": {"mock_delay": 300}, "policy": {"executionTimeout": 5000}}),
        )
        .await;
    let after = app.run(json!({"mock_return": "next"})).await;
    let id = body["id"].as_str().unwrap().to_owned();
    let over = app.ended(&id).await;
    assert_eq!(over["status"], "TIMED_OUT", "{over}");
    let ran = over["executionTime"].as_u64().unwrap();
    assert!((4_900..300_000).contains(&ran), "{ran}");
    assert_eq!(app.ended(&after).await["output"], "next");
}

/// H17, H19: by a clock that the test moves.
#[tokio::test(flavor = "multi_thread")]
async fn records_expire() {
    let app = TestApp::spawn().await;
    let run = app.run(json!({"mock_return": 1})).await;
    let (_, sync) = app.post("/runsync", &json!({"input": {"mock_return": 1}})).await;
    let sync = sync["id"].as_str().unwrap().to_owned();
    app.ended(&run).await;
    app.clock.advance(Duration::from_secs(61));
    app.app.store.sweep();
    assert_eq!(app.get(&format!("/status/{sync}")).await.0, 404);
    assert_eq!(app.get(&format!("/status/{run}")).await.0, 200);
    app.clock.advance(Duration::from_secs(30 * 60));
    app.app.store.sweep();
    assert_eq!(app.get(&format!("/status/{run}")).await.0, 404);

    let blocker = app.run(json!({"mock_delay": 300})).await;
    app.until_running(&blocker).await;
    let (_, short) = app
        .post(
            "/run",
            &json!({"input": {"mock_return": 1}, "policy": {"ttl": 10000}}),
        )
        .await;
    app.clock.advance(Duration::from_secs(11));
    app.app.store.sweep();
    assert_eq!(
        app.get(&format!("/status/{}", short["id"].as_str().unwrap()))
            .await
            .0,
        404
    );
    assert_eq!(app.get(&format!("/status/{blocker}")).await.0, 200);
    app.post(&format!("/cancel/{blocker}"), &Value::Null).await;
}

/// H18.
#[tokio::test(flavor = "multi_thread")]
async fn retry_runs_a_failed_job_again_under_its_id() {
    let app = TestApp::spawn().await;
    let failed = app.run(json!({"mock_error": true})).await;
    assert_eq!(app.ended(&failed).await["status"], "FAILED");
    let (status, body) = app.post(&format!("/retry/{failed}"), &Value::Null).await;
    assert_eq!((status, body), (200, json!({"id": failed, "status": "IN_QUEUE"})));
    assert_eq!(app.ended(&failed).await["retries"], 1);
    let done = app.run(json!({"mock_return": 1})).await;
    app.ended(&done).await;
    assert_eq!(app.post(&format!("/retry/{done}"), &Value::Null).await.0, 400);
}

/// H12, H13: JSON errors, and JSON whatever the content type says.
#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_in_json() {
    let app = TestApp::spawn().await;
    for body in [
        "",
        "not json",
        "[1]",
        "{}",
        r#"{"input":null}"#,
        r#"{"input":{},"webhook":5}"#,
        r#"{"input":{},"webhook":"ftp://x/"}"#,
        r#"{"input":{},"policy":{"ttl":5}}"#,
        // Lists are no objects, though their elements would fit.
        r#"[{"mock_return":1},null,null,null]"#,
        r#" [{"input":{}}]"#,
        r#"{"input":{},"policy":[5000,10000,false]}"#,
        r#"{"input":{},"policy":7}"#,
        r#"{"input":{},"s3Config":["https://s3.example.com","b","i","s"]}"#,
    ] {
        let response = app
            .http
            .post(format!("{}/run", app.url))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["request_id"], id.as_str());
        assert_eq!(problem["code"], "bad_request");
        assert!(!problem["error"].as_str().unwrap().is_empty());
    }
    for path in [
        "/status-sync/x?wait=abc",
        "/status-sync/x?wait=-1",
        "/status/%ff",
        "/v2/ep/stream/%ff",
        "/v2/%ff/status/x",
    ] {
        let response = app.http.get(format!("{}{path}", app.url)).send().await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
    }
    let (status, body) = app.post("/runsync?wait=abc", &json!({"input": {}})).await;
    assert_eq!((status, &body["code"]), (400, &json!("bad_request")));
    for (path, code) in [
        ("/status/nope", 404),
        ("/stream/nope", 404),
        ("/no/such/path/at/all", 404),
        ("/run", 405),
    ] {
        let (status, body) = app.get(path).await;
        assert_eq!(status, code, "{path}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
    assert_eq!(app.post("/cancel/nope", &Value::Null).await.0, 404);
    let odd = app
        .http
        .post(format!("{}/runsync", app.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(r#"{"input":{"mock_return":"é"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(odd.json::<Value>().await.unwrap()["output"], "é");
}

/// H21.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_limit_are_refused() {
    let app = TestApp::with(|k| {
        k.app.run_body = 1000;
        k.app.runsync_body = 2000;
    })
    .await;
    let of = |n: usize| json!({"input": {"mock_return": "x".repeat(n)}});
    assert_eq!(app.post("/run", &of(1500)).await.0, 413);
    assert_eq!(app.post("/runsync", &of(1500)).await.0, 200);
    assert_eq!(app.post("/runsync", &of(2500)).await.0, 413);
    // Without a length: counted while it is read. One part, so that nothing is left to write after the refusal.
    let parts = [Ok::<_, std::io::Error>(vec![b' '; 1200])];
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(parts));
    let response = app
        .http
        .post(format!("{}/run", app.url))
        .body(chunked)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
}

/// H22: one device, first come first served.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_in_order() {
    let app = TestApp::spawn().await;
    let blocker = app.run(json!({"mock_delay": 0.3})).await;
    app.until_running(&blocker).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(app.run(json!({"mock_delay": 0.005})).await);
    }
    let mut starts = Vec::new();
    for id in &ids {
        app.ended(id).await;
        starts.push(app.app.store.record(id).unwrap().started_ms.unwrap());
    }
    // Two are in hand at a time, and may overtake each other on the way to the device.
    for (i, start) in starts.iter().enumerate() {
        let later = starts[(i + 2).min(29)..].iter().all(|other| other >= start);
        assert!(i + 2 > 29 || later, "{i}: {starts:?}");
    }
    assert!(starts.iter().max().unwrap() - starts.iter().min().unwrap() >= 29 * 5);
}
