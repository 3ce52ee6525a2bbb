//! The vision service itself, as its program serves it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bio_bff::dev::s3::S3;
use bio_bff::dev::vision::{VisionService, WEBHOOK_SECRET};
use bio_bff::objects::Buckets;
use bio_bff::scans::Rules;
use bio_bff::vision::{JobApi, Recompute, Services};
use serde_json::{Value, json};

use super::{id, put};
use crate::harness::{ScanParts, Service, Wish, until_in};

/// The service over it, with storage of its own.
pub struct Real {
    pub s: Service,
    pub vision: VisionService,
    pub s3: S3,
    _folder: tempfile::TempDir,
}

/// `None` where its program, or a server, is not at hand. `more` are arguments of `dragunov serve`.
pub async fn start(more: &[&str]) -> Option<Real> {
    crate::harness::servers()?;
    let program = std::env::var_os("DRAGUNOV_BIN").map(PathBuf::from);
    let Some(vision) = VisionService::start(program, more).unwrap() else {
        eprintln!("NOT RUN: needs the program of the vision service (build it, or set DRAGUNOV_BIN)");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path(), &["uploads", "media"], Arc::new(|_| {}))
        .await
        .unwrap();
    let recompute = Recompute::Direct(vision.url.join("v1/recompute").unwrap());
    let secret = Some(WEBHOOK_SECRET.to_owned().into());
    let service = JobApi::new(vision.url.clone(), None, recompute, secret).unwrap();
    let parts = ScanParts {
        buckets: Buckets {
            uploads: s3.objects("uploads"),
            media: s3.objects("media"),
            training: None,
        },
        vision: Services::new(Arc::new(service), Default::default()),
        rules: Rules::default(),
    };
    let wish = Wish {
        scans: Some(parts),
        ..Wish::default()
    };
    let s = Service::start(wish).await?;
    Some(Real {
        s,
        vision,
        s3,
        _folder: folder,
    })
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// With the networks that the program brings along, on a photo of each side of one plate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_photos_of_a_meal_are_one_job_and_its_items_are_fused() {
    let Some(real) = start(&[]).await else { return };
    let c = real.s.user("alice");
    let photos = [("meal/a.jpg", 40.9), ("meal/b.jpg", 32.6)].map(|(name, pitch)| (fixture(name), pitch));
    let told: Vec<Value> = photos
        .iter()
        .map(|(bytes, pitch)| json!({"content_type": "image/jpeg", "bytes": bytes.len(), "pitch_deg": pitch}))
        .collect();
    let new = c.post("/scans", json!({ "photos": told })).await.expect(201);
    for (n, (bytes, _)) in photos.iter().enumerate() {
        put(&c, &new["uploads"][n], bytes).await.expect(200);
    }
    let scan = id(&new["scan"]);
    let path = format!("/scans/{scan}");
    c.post(&format!("{path}/uploaded"), json!({})).await.expect(200);
    // The networks take their time in a build without optimisation; the webhook tells.
    until_in(Duration::from_secs(400), "the meal is measured", async || {
        let state = c.get(&path).await.expect(200)["state"].clone();
        assert_ne!(state, "failed");
        state == "ready"
    })
    .await;
    assert_eq!(real.s.sql("SELECT submissions FROM scans"), ["1"], "one job");
    let result = c.get(&path).await.expect(200)["result"].clone();
    let views = result["photos"].as_array().unwrap();
    assert_eq!(views.len(), 2);
    assert!(views.iter().all(|v| v["used"] == true), "{views:?}");
    let seen_on = |view: &Value| -> Vec<String> {
        let items = view["items"].as_array().unwrap().iter();
        items
            .filter_map(|i| i["item"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let (a, b) = (seen_on(&views[0]), seen_on(&views[1]));
    let both: Vec<_> = a.iter().filter(|item| b.contains(item)).collect();
    assert!(!both.is_empty(), "{a:?} {b:?}");
    // An item that both show is one item of the meal.
    let items = result["items"].as_array().unwrap();
    for item in both {
        assert_eq!(items.iter().filter(|i| i["id"] == **item).count(), 1);
    }
    assert!(items.len() < a.len() + b.len());
    let meals = c.get("/food_logs").await.expect(200);
    assert_eq!(meals["items"].as_array().unwrap().len(), 1);
    let done = c.act(&scan, "confirm", json!({})).await.expect(200);
    assert_eq!(done["state"], "confirmed");
}
