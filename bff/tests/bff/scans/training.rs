//! Copies for training have nothing of anybody, and go when they should.

use std::io::Read;

use serde_json::{Value, json};

use super::{Lab, begin, id, lab, put};
use crate::harness::Client;

/// A photo with a place in it.
fn with_gps() -> Vec<u8> {
    let exif = b"\xff\xe1\0\x12Exif\0\0GPS canary".to_vec();
    let picture = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x12, 0x34, 0xff, 0xd9];
    [&[0xff, 0xd8][..], &exif, &picture, b"film canary"].concat()
}

/// An iPhone's with its EXIF, where a place is, too.
fn heic_with_gps() -> Vec<u8> {
    let photo = include_bytes!("../../../../fixtures/tiny/heif/turned-6.heic");
    [&photo[..photo.len() - 12], b"GPS canary !"].concat()
}

async fn confirmed(lab: &Lab, c: &Client) -> String {
    confirmed_of(lab, c, "image/jpeg", &with_gps()).await
}

async fn confirmed_of(lab: &Lab, c: &Client, content_type: &str, photo: &[u8]) -> String {
    let body = json!({"photos": [{"content_type": content_type, "bytes": photo.len()}]});
    let new = c.post("/scans", body).await.expect(201);
    let scan = id(&new["scan"]);
    put(c, &new["uploads"][0], photo).await.expect(200);
    c.post(&format!("/scans/{scan}/uploaded"), json!({}))
        .await
        .expect(200);
    lab.vision.finish_all().await;
    c.act(&scan, "confirm", json!({})).await.expect(200);
    lab.w.drain().await;
    scan
}

fn read(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

async fn exported(lab: &Lab) -> Vec<Value> {
    let mut lines = Vec::new();
    let n = lab
        .w
        .hands
        .db
        .training_export(|line| -> Result<(), sqlx::Error> {
            lines.push(serde_json::from_str(line).unwrap());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(n, lines.len() as u64);
    lines
}

#[tokio::test]
async fn only_confirmed_meals_of_those_who_allow_it_are_copied_without_a_trace_of_them() {
    let lab = lab!();
    let c = &lab.c;
    confirmed(&lab, c).await;
    assert_eq!(lab.objects("training"), Vec::<String>::new(), "nobody allowed it");
    c.patch("/profile", json!({"consent_training": true}))
        .await
        .expect(200);
    let scan = confirmed(&lab, c).await;
    begin(c, 1).await;
    let copies = lab.objects("training");
    assert_eq!(copies.len(), 2, "{copies:?}");
    let user = c.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    let group = lab
        .s
        .sql(&format!("SELECT meal_group FROM scans WHERE id = '{scan}'"));
    for path in &copies {
        let bytes = read(path);
        let text = format!("{path} {}", String::from_utf8_lossy(&bytes));
        // A row of the food table is no word of the user's.
        let text = text.replace("spaghetti_cooked", "");
        for trace in [
            user.as_str(),
            &scan,
            &group[0],
            "canary",
            "Exif",
            "alice",
            "spaghetti",
        ] {
            assert!(!text.contains(trace), "{trace} in {text}");
        }
    }
    let label: Value = serde_json::from_slice(&read(&copies[1])).unwrap();
    assert_eq!(label["confirmed"][0]["food_id"], "spaghetti_cooked");
    assert_eq!(label["month"].as_str().unwrap().len(), 7);

    // The export: one line, and no column of anybody's tables shines through.
    lab.s.sql(&format!(
        "UPDATE food_logs SET food_name = 'canary', meal_type = 'canary', meta_data = meta_data || \
         '{{\"canary\": \"{user}\"}}' WHERE scan_id = '{scan}'"
    ));
    let lines = exported(&lab).await;
    assert_eq!(lines.len(), 1);
    let text = lines[0].to_string();
    let values = lab.s.sql(&format!(
        "SELECT v FROM food_logs l, jsonb_each_text(to_jsonb(l)) AS t (k, v) WHERE scan_id = '{scan}' \
         AND k NOT IN ('calories', 'protein_g', 'carbs_g', 'fats_g', 'is_caffeine', 'is_alcohol', 'meta_data') AND v <> ''"
    ));
    assert!(values.len() >= 7, "{values:?}");
    for value in values
        .iter()
        .map(String::as_str)
        .chain([user.as_str(), "canary", "spaghetti", "@"])
    {
        assert!(
            !text.replace("spaghetti_cooked", "").contains(value),
            "{value} in {text}"
        );
    }
    assert_eq!(
        (&lines[0]["calories"], &lines[0]["items"][0]["food_id"]),
        (&json!(708), &json!("spaghetti_cooked"))
    );
    let columns = lab
        .s
        .sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'training_food_logs'");
    assert!(
        columns
            .iter()
            .all(|c| !c.contains("user") && c != "id" && !c.contains("scan")),
        "{columns:?}"
    );
    // And only in a transaction that says what it is for.
    let outside: i64 = sqlx::query_scalar("SELECT count(*) FROM training_food_logs")
        .fetch_one(lab.w.hands.db.pool())
        .await
        .unwrap();
    assert_eq!(outside, 0);

    c.patch("/profile", json!({"consent_training": false}))
        .await
        .expect(200);
    assert_eq!(exported(&lab).await.len(), 0, "at once");
    lab.w.drain().await;
    assert_eq!(lab.objects("training"), Vec::<String>::new());
    assert_eq!(lab.s.sql("SELECT count(*) FROM ops.training_copies"), ["0"]);
}

#[tokio::test]
async fn a_heic_is_copied_as_its_picture_alone() {
    let lab = lab!();
    let c = &lab.c;
    c.patch("/profile", json!({"consent_training": true}))
        .await
        .expect(200);
    let photo = heic_with_gps();
    confirmed_of(&lab, c, "image/heic", &photo).await;
    let copies = lab.objects("training");
    assert_eq!(copies.len(), 2, "{copies:?}");
    let (copy, label) = (read(&copies[0]), read(&copies[1]));
    for trace in [&b"canary"[..], b"Exif", b"GPS"] {
        assert!(!copy.windows(trace.len()).any(|w| w == trace));
    }
    assert_eq!(copy.len(), photo.len(), "the picture stays where it was");
    let label: Value = serde_json::from_slice(&label).unwrap();
    assert_eq!(label["photos"][0]["content_type"], "image/heic");
}

#[tokio::test]
async fn who_is_erased_leaves_nothing_in_any_bucket_or_table() {
    let lab = lab!();
    let (c, bob) = (&lab.c, lab.s.user("bob"));
    for c in [c, &bob] {
        c.patch("/profile", json!({"consent_training": true}))
            .await
            .expect(200);
        confirmed(&lab, c).await;
        lab.upload(c).await;
    }
    let all = |bucket: &str| lab.objects(bucket).len();
    assert_eq!((all("uploads"), all("media"), all("training")), (2, 6, 4));
    let user = c.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    // The copy that a user may have has the photo as it came.
    let request = c.http.get(format!("{}/me/export", c.base)).bearer_auth(&c.token);
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let names: Vec<String> = zip.file_names().map(|n| n.unwrap().into_owned()).collect();
    let photos: Vec<_> = names.iter().filter(|n| n.starts_with("photos/")).collect();
    assert_eq!(photos.len(), 1, "{names:?}");
    let mut photo = Vec::new();
    zip.by_name(photos[0]).unwrap().read_to_end(&mut photo).unwrap();
    assert_eq!(photo, with_gps());
    assert!(
        names.iter().any(|n| n == "scans.ndjson") && names.iter().any(|n| n == "ops.training_copies.ndjson")
    );
    c.call(reqwest::Method::DELETE, "/me", &[], None)
        .await
        .expect(202);
    lab.w.drain().await;
    assert_eq!((all("uploads"), all("media"), all("training")), (1, 3, 2));
    for bucket in ["uploads", "media"] {
        assert!(!lab.objects(bucket).iter().any(|o| o.contains(&user)));
    }
    for table in ["scans", "scan_photos", "ops.training_copies", "food_logs"] {
        let rows = lab
            .s
            .sql(&format!("SELECT count(*) FROM {table} WHERE user_id = '{user}'"));
        assert_eq!(rows, ["0"], "{table}");
        let others = lab.s.sql(&format!("SELECT count(*) > 0 FROM {table}"));
        assert_eq!(others, ["t"], "{table}");
    }
}
