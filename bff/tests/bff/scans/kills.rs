//! The service and the worker as processes, killed at random over the whole flow. `BFF_KILLS` says how often; CI does a
//! few, scripts/bff-kills.sh fifty.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bio_bff::dev::s3::{KEY_ID, Listener, REGION, S3, SECRET as S3_SECRET};
use reqwest::Method;
use serde_json::{Value, json};

use super::double::Double;
use super::{JPEG, SECRET, id, photo};
use crate::harness::{Answer, Client, Idp, PATIENCE, STORAGE_TOKEN, database, free_port, servers};

/// A process of the product, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that a process is told.
struct Setting {
    env: Vec<(&'static str, String)>,
}

impl Setting {
    fn start(&self, what: &str, database: &str) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bio-bff"));
        command
            .arg(what)
            .env_clear()
            .env("DATABASE_URL", database)
            .env("RUST_LOG", "error");
        command.envs(crate::processes::clock());
        command.envs(self.env.iter().map(|(k, v)| (*k, v.as_str())));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Running(command.spawn().unwrap())
    }
}

fn random(below: u64) -> u64 {
    uuid::Uuid::new_v4().as_u128() as u64 % below
}

/// A phone: asks until it is answered.
async fn stubborn(what: impl AsyncFn() -> Result<Answer, reqwest::Error>) -> Answer {
    let begun = Instant::now();
    loop {
        match what().await {
            // Of a request whose process was killed the database may not have heard yet.
            Ok(answer) if answer.text.contains("idempotency_in_flight") => {}
            Ok(answer) if !answer.status.is_server_error() => return answer,
            outcome => assert!(begun.elapsed() < PATIENCE, "{outcome:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn send(
    c: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, reqwest::Error> {
    let mut request = c
        .http
        .request(method, format!("{}{path}", c.base))
        .bearer_auth(&c.token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await?;
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await?,
    })
}

/// One meal of one phone: begun, uploaded, and once it is measured confirmed.
async fn meal(c: Client, n: usize) -> String {
    let (key, body) = (format!("meal-{n}"), json!({"photos": [photo(30.0)]}));
    let begin = async || {
        send(
            &c,
            Method::POST,
            "/scans",
            &[("idempotency-key", &key)],
            Some(&body),
        )
        .await
    };
    let new = stubborn(begin).await.expect(201);
    super::put(&c, &new["uploads"][0], JPEG).await.expect(200);
    let path = format!("/scans/{}", id(&new["scan"]));
    let begun = Instant::now();
    let tag = loop {
        let read = stubborn(async || send(&c, Method::GET, &path, &[], None).await).await;
        let state = read.json()["state"].as_str().unwrap().to_owned();
        match state.as_str() {
            "ready" => break read.etag(),
            "failed" | "expired" | "rejected" => panic!("{}", read.text),
            _ => assert!(begun.elapsed() < 3 * PATIENCE, "{}", read.text),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let confirm = format!("{path}/confirm");
    let answer = stubborn(async || {
        send(
            &c,
            Method::POST,
            &confirm,
            &[("if-match", &tag)],
            Some(&json!({})),
        )
        .await
    });
    let done = answer.await.expect(200);
    assert_eq!(done["state"], "confirmed");
    id(&done)
}

async fn setting(folder: &Path, vision: &Double, idp: &Idp, port: u16) -> (Setting, String) {
    let base = format!("http://127.0.0.1:{port}");
    // Storage tells the service, once; while it is dead the news is lost.
    let (url, http) = (
        format!("{base}/internal/storage-events"),
        reqwest::Client::builder().no_proxy().build().unwrap(),
    );
    let listener: Listener = Arc::new(move |notice| {
        let request = http.post(&url).bearer_auth(STORAGE_TOKEN).json(&notice);
        tokio::spawn(request.send());
    });
    let s3 = S3::start(folder, &["uploads", "media", "training"], listener)
        .await
        .unwrap();
    let redis = &servers().unwrap().redis;
    let env = vec![
        ("BFF_LISTEN", format!("127.0.0.1:{port}")),
        ("BFF_PUBLIC_URL", base.clone()),
        ("BFF_COGNITO_ISSUER", idp.issuer.clone()),
        ("BFF_COGNITO_CLIENT_IDS", "app".into()),
        ("BFF_COGNITO_JWKS_URL", idp.jwks_url.clone()),
        (
            "BFF_SECRET",
            "test secret of more than thirty-two characters".into(),
        ),
        ("BFF_VISION_URL", vision.url.clone()),
        ("BFF_WEBHOOK_SECRET", SECRET.into()),
        ("BFF_UPLOAD_BUCKET", "uploads".into()),
        ("BFF_BUCKET", "media".into()),
        ("BFF_TRAINING_BUCKET", "training".into()),
        ("BFF_S3_PATH_STYLE", "true".into()),
        ("BFF_STORAGE_EVENTS_TOKEN", STORAGE_TOKEN.into()),
        ("BFF_DRAIN_TIMEOUT", "1s".into()),
        ("AWS_ENDPOINT_URL", s3.url.clone()),
        ("AWS_ACCESS_KEY_ID", KEY_ID.into()),
        ("AWS_SECRET_ACCESS_KEY", S3_SECRET.into()),
        ("AWS_REGION", REGION.into()),
        ("REDIS_URL", redis.url()),
    ];
    (Setting { env }, base)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_every_meal_is_counted_once() {
    let Some(all) = servers() else { return };
    let kills: usize = std::env::var("BFF_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(6);
    let name = database(&all.postgres);
    let folder = tempfile::tempdir().unwrap();
    let (vision, idp) = (Double::start().await, Idp::start().await);
    let (setting, base) = setting(folder.path(), &vision, &idp, free_port().unwrap()).await;
    let (api, worker) = (
        all.postgres.url("api_login", &name),
        all.postgres.url("worker_login", &name),
    );
    let mut running = [setting.start("serve", &api), setting.start("worker", &worker)];

    // The vision service works all the time, and some of its calls are lost.
    let work = {
        let shared = vision.handle();
        tokio::spawn(async move { shared.work(Duration::from_millis(150)).await })
    };
    let now = jiff::Timestamp::now().as_second();
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let phones: Vec<Client> = (0..4)
        .map(|n| Client {
            base: base.clone(),
            token: idp.access(&format!("phone-{n}"), now),
            http: http.clone(),
        })
        .collect();
    let meals = (0..kills * 3).map(|n| {
        let c = phones[n % phones.len()].clone();
        async move {
            tokio::time::sleep(Duration::from_millis(250 * n as u64)).await;
            meal(c, n).await
        }
    });
    let meals = futures::future::join_all(meals);
    let killing = async {
        for _ in 0..kills {
            tokio::time::sleep(Duration::from_millis(200 + random(900))).await;
            let which = random(2) as usize;
            running[which].0.kill().unwrap();
            running[which].0.wait().unwrap();
            tokio::time::sleep(Duration::from_millis(random(400))).await;
            running[which] = match which {
                0 => setting.start("serve", &api),
                _ => setting.start("worker", &worker),
            };
        }
    };
    let (mut confirmed, ()) = tokio::join!(meals, killing);
    work.abort();
    let sql = |text: &str| all.postgres.sql(&name, text).unwrap();
    confirmed.sort();
    assert_eq!(
        sql("SELECT id FROM scans WHERE state = 'confirmed' ORDER BY id::text"),
        confirmed
    );
    assert_eq!(
        sql("SELECT count(*) FROM scans WHERE state <> 'confirmed'"),
        ["0"]
    );
    let n = confirmed.len().to_string();
    let counted = sql(
        "SELECT count(*) || ' ' || count(DISTINCT scan_id) || ' ' || sum(calories) FROM food_logs WHERE status = 'confirmed'",
    );
    assert_eq!(counted, [format!("{n} {n} {}", confirmed.len() * 708)]);
    assert_eq!(sql("SELECT count(*) FROM food_logs"), std::slice::from_ref(&n));
    let jobs = vision.jobs().len();
    eprintln!("{kills} kills, {n} meals, {jobs} jobs");
}
