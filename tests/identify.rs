//! Identification through an OpenAI-compatible API, against a server on loopback.
#![allow(clippy::unwrap_used)]

#[path = "identify/grounded.rs"]
mod grounded;
#[path = "identify/hybrid.rs"]
mod hybrid;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dragunov::ScanError;
use dragunov::contract::ErrorCode;
use dragunov::identify::openai::{OpenAi, OpenAiConfig};
use dragunov::identify::{Identified, Identifier, Kind};
use dragunov_models::RgbImage;
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn crop(side: usize) -> RgbImage {
    let data = (0..side * side * 3).map(|i| (i * 7 % 251) as u8).collect();
    RgbImage::new(side, side, data).unwrap()
}

fn config(server: &MockServer) -> OpenAiConfig {
    OpenAiConfig {
        request_timeout: Duration::from_millis(800),
        total_timeout: Duration::from_secs(6),
        first_wait: Duration::from_millis(5),
        vocabulary: vec!["fried rice".into(), "apple".into()],
        ..OpenAiConfig::new(
            &format!("{}/v1", server.uri()),
            Some("sk-test".to_owned().into()),
            "gpt-4o",
        )
        .unwrap()
    }
}

/// A chat completion whose message is `content`.
fn says(content: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"choices": [{"message": {"content": content}}]}))
}

/// The picture that a request carries.
fn sent_picture(body: &Value) -> image::DynamicImage {
    let url = body["messages"][1]["content"][1]["image_url"]["url"]
        .as_str()
        .unwrap();
    let data = url.strip_prefix("data:image/jpeg;base64,").unwrap();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
    image::load_from_memory(&bytes).unwrap()
}

async fn identify(config: OpenAiConfig, crops: Vec<RgbImage>) -> Vec<Result<Identified, ScanError>> {
    tokio::task::spawn_blocking(move || OpenAi::new(config).identify(&crops, &|| false))
        .await
        .unwrap()
}

/// A server that answers each request by `reply(number, body)`.
async fn server(
    reply: impl Fn(usize, &Value) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, Arc<AtomicUsize>) {
    let server = MockServer::start().await;
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer sk-test"))
        .respond_with(move |r: &Request| reply(seen.fetch_add(1, Ordering::SeqCst), &r.body_json().unwrap()))
        .mount(&server)
        .await;
    (server, count)
}

const RICE: &str = r#"{"kind":"food","label":"Fried_Rice","confidence":0.8,
    "alternatives":[{"label":"paella","confidence":0.05},{"label":"biryani","confidence":0.1},{"label":"fried rice","confidence":0.5}],"grams":180}"#;

#[tokio::test]
async fn the_request_keeps_to_the_api_and_the_answer_is_read() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    let (server, _) = server(move |_, body| {
        kept.lock().unwrap().push(body.clone());
        says(RICE)
    })
    .await;
    let found = identify(config(&server), vec![crop(900)])
        .await
        .remove(0)
        .unwrap();
    assert_eq!(
        (found.kind, found.label.as_str(), found.confidence),
        (Kind::Food, "fried rice", 0.8)
    );
    assert_eq!(
        found.alternatives,
        [("biryani".to_owned(), 0.1), ("paella".to_owned(), 0.05)]
    );
    assert_eq!(found.grams, Some(180.0));

    let body = bodies.lock().unwrap()[0].clone();
    assert_eq!(body["model"], "gpt-4o");
    assert_eq!(body["temperature"], 0);
    let format = &body["response_format"];
    assert_eq!(format["type"], "json_schema");
    assert_eq!(format["json_schema"]["strict"], true);
    assert_eq!(
        format["json_schema"]["schema"]["properties"]["kind"]["enum"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
    assert!(
        body["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("fried rice, apple")
    );
    let sent = sent_picture(&body);
    assert_eq!((sent.width(), sent.height()), (512, 512));
}

#[tokio::test]
async fn answers_keep_the_order_of_the_crops_and_fail_one_by_one() {
    let (server, _) = server(|_, body| {
        let url = body["messages"][1]["content"][1]["image_url"]["url"].as_str().unwrap();
        // Bigger crops make longer URLs; the biggest gets nonsense, and answers overtake each other.
        match url.len() {
            n if n < 4_000 => says(r#"{"kind":"plate","label":"x","confidence":0.9}"#)
                .set_delay(Duration::from_millis(200)),
            n if n < 40_000 => says("```json\n{\"kind\":\"food\",\"label\":\"\",\"confidence\":0.9,\"alternatives\":[\"rice\"]}\n```"),
            _ => says("I think this is lovely."),
        }
    })
    .await;
    let found = identify(config(&server), vec![crop(32), crop(128), crop(400)]).await;
    let [plate, unknown, nonsense] = &found[..] else {
        panic!()
    };
    let plate = plate.as_ref().unwrap();
    assert_eq!((plate.kind, plate.label.as_str()), (Kind::Plate, "plate"));
    let unknown = unknown.as_ref().unwrap();
    assert_eq!((unknown.label.as_str(), unknown.confidence), ("unknown", 0.0));
    assert_eq!(unknown.alternatives[0].0, "rice");
    let e = nonsense.as_ref().unwrap_err();
    assert_eq!(e.code, ErrorCode::FetchFailed);
    assert!(e.message.contains("no JSON object"), "{e}");
}

#[tokio::test]
async fn servers_without_json_schema_are_met_half_way() {
    for (refused, left) in [
        (vec!["json_schema"], Some("json_object")),
        (vec!["json_schema", "json_object"], None),
    ] {
        let formats = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&formats);
        let (server, count) = server(move |_, body| {
            let format = body["response_format"]["type"].as_str().map(str::to_owned);
            kept.lock().unwrap().push(format.clone());
            match format {
                Some(f) if refused.contains(&f.as_str()) => ResponseTemplate::new(400).set_body_json(
                    json!({"error": {"message": format!("response_format {f} is not supported")}}),
                ),
                _ => says(RICE),
            }
        })
        .await;
        let mut config = config(&server);
        config.parallel = 1;
        let found = identify(config, vec![crop(64), crop(64)]).await;
        assert!(found.iter().all(|f| f.as_ref().unwrap().label == "fried rice"));
        // The second crop is asked in the format that worked.
        let formats = formats.lock().unwrap();
        assert_eq!(formats.last().unwrap().as_deref(), left);
        assert_eq!(count.load(Ordering::SeqCst), formats.len());
        assert_eq!(formats.iter().filter(|f| f.as_deref() == left).count(), 2);
    }
}

#[tokio::test]
async fn overload_is_retried_and_refusals_are_not() {
    for (status, tries, code) in [
        (429, 3, ErrorCode::FetchFailed),
        (503, 3, ErrorCode::FetchFailed),
        (401, 1, ErrorCode::ConfigInvalid),
        (404, 1, ErrorCode::ConfigInvalid),
        (400, 1, ErrorCode::FetchFailed),
    ] {
        let (server, count) = server(move |_, _| ResponseTemplate::new(status)).await;
        let e = identify(config(&server), vec![crop(64)])
            .await
            .remove(0)
            .unwrap_err();
        assert_eq!(
            (e.code, count.load(Ordering::SeqCst)),
            (code, tries),
            "HTTP {status}: {e}"
        );
        assert!(!format!("{e:?}").contains("sk-test"));
    }
    // The third try succeeds.
    let (server, count) = server(|n, _| {
        if n < 2 {
            ResponseTemplate::new(500)
        } else {
            says(RICE)
        }
    })
    .await;
    identify(config(&server), vec![crop(64)]).await.remove(0).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_hears_what_was_wrong_with_its_answer() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    let (server, _) = server(move |n, body| {
        kept.lock().unwrap().push(body["messages"].clone());
        match n {
            0 => says("I think this is lovely."),
            1 => says(r#"{"kind": "spaceship", "label": "x"}"#),
            _ => says(RICE),
        }
    })
    .await;
    let found = identify(config(&server), vec![crop(64)]).await.remove(0).unwrap();
    assert_eq!(found.label, "fried rice");
    let bodies = bodies.lock().unwrap();
    let said = |n: usize, message: usize| bodies[n][message]["content"].as_str().unwrap().to_owned();
    assert_eq!(bodies[0].as_array().unwrap().len(), 2);
    assert_eq!(bodies[1].as_array().unwrap().len(), 4);
    assert_eq!(
        (bodies[1][2]["role"].as_str(), said(1, 2).as_str()),
        (Some("assistant"), "I think this is lovely.")
    );
    assert!(said(1, 3).contains("no JSON object"), "{}", said(1, 3));
    // The last answer alone is told of.
    assert_eq!(bodies[2].as_array().unwrap().len(), 4);
    assert!(said(2, 3).contains("spaceship"), "{}", said(2, 3));
}

#[tokio::test]
async fn an_answer_of_ten_megabytes_is_refused_and_not_kept() {
    let (server, count) = server(|_, _| says(&format!("{} {RICE}", "x".repeat(10 << 20)))).await;
    let start = Instant::now();
    let e = identify(config(&server), vec![crop(64)])
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(
        (e.code, count.load(Ordering::SeqCst)),
        (ErrorCode::FetchFailed, 3)
    );
    assert!(e.message.contains("bytes") && e.message.len() < 500, "{e}");
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn silence_ends_in_time_and_never_in_a_panic() {
    let (server, _) = server(|_, _| says(RICE).set_delay(Duration::from_secs(60))).await;
    let slow = OpenAiConfig {
        request_timeout: Duration::from_secs(30),
        total_timeout: Duration::from_millis(300),
        ..config(&server)
    };
    let start = Instant::now();
    let found = identify(slow.clone(), vec![crop(64), crop(64)]).await;
    assert!(
        found
            .iter()
            .all(|f| f.as_ref().unwrap_err().code == ErrorCode::DeadlineExceeded)
    );
    assert!(start.elapsed() < Duration::from_secs(3));

    // Nobody listens; no such name.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for url in [
        format!("http://127.0.0.1:{port}/v1"),
        "http://no-such-host.invalid/v1".into(),
    ] {
        let gone = OpenAiConfig {
            request_timeout: Duration::from_millis(500),
            total_timeout: Duration::from_secs(3),
            first_wait: Duration::from_millis(5),
            ..OpenAiConfig::new(&url, None, "m").unwrap()
        };
        let e = identify(gone, vec![crop(64)]).await.remove(0).unwrap_err();
        assert!(
            matches!(e.code, ErrorCode::FetchFailed | ErrorCode::DeadlineExceeded),
            "{url}: {e:?}"
        );
    }

    // Cancelled while it waits.
    let long = OpenAiConfig {
        total_timeout: Duration::from_secs(30),
        ..slow
    };
    let start = Instant::now();
    let found = tokio::task::spawn_blocking(move || {
        OpenAi::new(long).identify(&[crop(64)], &|| start.elapsed() > Duration::from_millis(100))
    })
    .await
    .unwrap();
    assert_eq!(found[0].as_ref().unwrap_err().code, ErrorCode::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn settings_are_checked_and_the_key_is_never_shown() {
    let config = OpenAiConfig::new("https://api.example.com/v1", Some("sk-SECRET".into()), "gpt-4o").unwrap();
    assert!(!format!("{config:?}").contains("SECRET"));
    for bad in ["api.example.com", "file:///x", "ftp://x/v1"] {
        let e = OpenAiConfig::new(bad, None, "m").unwrap_err();
        assert_eq!(e.code, ErrorCode::ConfigInvalid, "{bad}");
    }
}
