//! From photo to confirmed meal: the service and a worker over a real PostgreSQL and a real S3 server, and a vision service
//! whose jobs end when a test says so.

mod correct;
mod double;
mod faults;
mod happy;
mod kills;
mod load;
mod ministack;
mod real;
mod sagemaker;
mod training;
mod webhooks;

use std::sync::Arc;

use bio_bff::dev::s3::S3;
use bio_bff::objects::Buckets;
use bio_bff::scans::{Rules, Scans};
use bio_bff::vision::{JobApi, Recompute, Services, Vision};
use reqwest::Method;
use serde_json::{Value, json};

use crate::events::Worker;
use crate::harness::{Answer, Client, STORAGE_TOKEN, ScanParts, Service, Wish, finish, noon_zone};
use double::Double;

/// Signs the webhooks of the double.
pub const SECRET: &str = "webhook secret of the tests";

/// A JPEG as far as anybody looks.
pub const JPEG: &[u8] = &[
    0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0,
];

/// Everything that scans need, stepped by hand.
pub struct Lab {
    pub s: Service,
    pub w: Worker,
    pub vision: Double,
    pub c: Client,
    pub folder: tempfile::TempDir,
}

/// Starts a lab, or returns from the test.
macro_rules! lab {
    () => {
        lab!(None)
    };
    ($now:expr) => {
        match $crate::scans::Lab::start($now).await {
            Some(lab) => lab,
            None => return,
        }
    };
}
pub(crate) use lab;

fn job_api(vision: &Double) -> Arc<dyn Vision> {
    let recompute = Recompute::Direct(format!("{}/v1/recompute", vision.url).parse().unwrap());
    let secret = Some(SECRET.to_owned().into());
    let base = vision.url.parse().unwrap();
    Arc::new(JobApi::new(base, None, recompute, secret).unwrap())
}

impl Lab {
    pub async fn start(now: Option<&str>) -> Option<Self> {
        crate::harness::servers()?;
        let folder = tempfile::tempdir().unwrap();
        let buckets = ["uploads", "media", "training"];
        let s3 = S3::start(folder.path(), &buckets, Arc::new(|_| {}))
            .await
            .unwrap();
        let buckets = Buckets {
            uploads: s3.objects("uploads"),
            media: s3.objects("media"),
            training: Some(s3.objects("training")),
        };
        Self::over(now, buckets, folder).await
    }

    /// Over buckets that are there.
    pub async fn over(now: Option<&str>, buckets: Buckets, folder: tempfile::TempDir) -> Option<Self> {
        let vision = Double::start().await;
        let large = job_api(&vision);
        let parts = ScanParts {
            buckets,
            vision: Services::new(job_api(&vision), [("large".to_owned(), large)].into()),
            rules: Rules::default(),
        };
        let wish = Wish {
            now: now.map(|t| t.parse().unwrap()),
            scans: Some(parts),
            ..Wish::default()
        };
        let s = Service::start(wish).await?;
        let w = Worker::of(&s);
        let c = s.user("alice");
        c.patch(
            "/profile",
            json!({"timezone": now.map_or_else(noon_zone, |_| "Europe/Berlin".into()), "plate_diameter_cm": 26}),
        )
        .await
        .expect(200);
        Some(Self {
            s,
            w,
            vision,
            c,
            folder,
        })
    }

    pub fn scans(&self) -> &Scans {
        self.w.hands.scans.as_ref().unwrap()
    }

    /// Clock forward; only where it stands still.
    pub fn pass(&self, seconds: i64) {
        let now = self.s.clock.now() + jiff::SignedDuration::from_secs(seconds);
        self.s.clock.set(now);
    }

    /// A scan of one photo that was uploaded, but nobody was told.
    pub async fn upload(&self, c: &Client) -> String {
        let new = begin(c, 1).await;
        put(c, &new["uploads"][0], JPEG).await.expect(200);
        id(&new["scan"])
    }

    /// Storage tells of a scan's first photo.
    pub async fn tell(&self, scan: &str) -> Answer {
        let key = self.s.sql(&format!(
            "SELECT s3_key FROM scan_photos p JOIN scans s USING (meal_group) WHERE s.id = '{scan}' AND position = 1"
        ));
        self.tell_key(&key[0]).await
    }

    pub async fn tell_key(&self, key: &str) -> Answer {
        let body = json!({"Records": [{"eventVersion": "2.6", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": key.replace('/', "%2F")}}}]});
        let request = self
            .c
            .http
            .post(format!("{}/internal/storage-events", self.c.base))
            .bearer_auth(STORAGE_TOKEN)
            .json(&body);
        finish(request).await
    }

    /// A scan that waits for its user.
    pub async fn ready(&self, c: &Client) -> String {
        let scan = self.upload(c).await;
        self.tell(&scan).await.expect(200);
        self.vision.finish_all().await;
        assert_eq!(self.state(c, &scan).await, "ready");
        scan
    }

    pub async fn state(&self, c: &Client, scan: &str) -> String {
        let scan = c.get(&format!("/scans/{scan}")).await.expect(200);
        scan["state"].as_str().unwrap().to_owned()
    }

    /// Files of a bucket, metadata aside.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                if path.is_dir() {
                    walk(&path, found);
                } else if !name.to_string_lossy().starts_with('.') {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.folder.path().join(bucket), &mut found);
        found.sort();
        found
    }
}

pub fn id(scan: &Value) -> String {
    scan["id"].as_str().unwrap().to_owned()
}

pub fn photo(pitch: f64) -> Value {
    json!({"content_type": "image/jpeg", "bytes": JPEG.len(), "pitch_deg": pitch})
}

/// A scan of so many photos.
pub async fn begin(c: &Client, photos: usize) -> Value {
    let photos: Vec<Value> = (0..photos).map(|n| photo(35.0 + n as f64)).collect();
    c.post("/scans", json!({ "photos": photos })).await.expect(201)
}

/// Uploads as the answer says.
pub async fn put(c: &Client, upload: &Value, bytes: &[u8]) -> Answer {
    put_with(c, upload, bytes, &[]).await
}

pub async fn put_with(c: &Client, upload: &Value, bytes: &[u8], other: &[(&str, &str)]) -> Answer {
    let mut request = c.http.put(upload["put"]["url"].as_str().unwrap());
    for (name, value) in upload["put"]["headers"].as_object().unwrap() {
        let told = other.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        request = request.header(name, told.unwrap_or(value.as_str().unwrap()));
    }
    finish(request.body(bytes.to_vec())).await
}

/// Uploads by the form.
pub async fn post_form(c: &Client, upload: &Value, bytes: &[u8], other: &[(&str, &str)]) -> Answer {
    let mut form = reqwest::multipart::Form::new();
    for (name, value) in upload["post"]["fields"].as_object().unwrap() {
        let told = other.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        form = form.text(name.clone(), told.unwrap_or(value.as_str().unwrap()).to_owned());
    }
    let file = reqwest::multipart::Part::bytes(bytes.to_vec()).file_name("photo.jpg");
    let request = c
        .http
        .post(upload["post"]["url"].as_str().unwrap())
        .multipart(form.part("file", file));
    finish(request).await
}

impl Client {
    /// Something done to a scan from the version that is there now.
    pub async fn act(&self, scan: &str, what: &str, body: Value) -> Answer {
        let tag = self.get(&format!("/scans/{scan}")).await.etag();
        self.act_from(scan, what, &tag, body).await
    }

    pub async fn act_from(&self, scan: &str, what: &str, tag: &str, body: Value) -> Answer {
        let path = format!("/scans/{scan}/{what}");
        self.call(Method::POST, &path, &[("if-match", tag)], Some(&body))
            .await
    }
}

/// What a user ate, as the diary shows it.
async fn meals(c: &Client) -> Vec<Value> {
    c.get("/food_logs").await.expect(200)["items"]
        .as_array()
        .unwrap()
        .clone()
}
