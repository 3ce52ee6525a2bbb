//! As it should be.

use reqwest::Method;
use serde_json::{Value, json};

use super::{JPEG, begin, id, lab, photo, post_form, put, put_with};

#[tokio::test]
async fn a_photo_becomes_a_confirmed_meal_and_the_ring_moves() {
    let lab = lab!();
    let c = &lab.c;
    let before = c.get("/dashboard/state").await.expect(200);
    let scan = lab.upload(c).await;
    assert_eq!(lab.state(c, &scan).await, "created");
    lab.tell(&scan).await.expect(200);
    assert_eq!(lab.state(c, &scan).await, "queued");
    let (job, submitted) = lab.vision.jobs().remove(0);
    assert_eq!(submitted.input["pitch_deg"], 35.0);
    assert_eq!(
        submitted.input["reference"],
        json!({"kind": "plate", "diameter_cm": 26.0})
    );
    // The address of the photo works for whoever has it.
    let url = submitted.input["image"]["url"].as_str().unwrap();
    let got = lab.vision.http.get(url).send().await.unwrap();
    assert_eq!(
        (got.status().as_u16(), &got.bytes().await.unwrap()[..]),
        (200, JPEG)
    );
    let webhook = lab.vision.end(&job);
    assert_eq!(lab.vision.call(&job, &webhook, 0).await, 200);

    let ready = c.get(&format!("/scans/{scan}")).await;
    let tag = ready.etag();
    let ready = ready.expect(200);
    assert_eq!(ready["state"], "ready");
    assert_eq!(ready["result"]["items"][0]["label"], "spaghetti");
    assert!(ready["result"].get("overlay").is_none());
    for picture in ["overlay", "scan_depth_map", "image_url"] {
        let url = ready["evidence"][picture].as_str().unwrap();
        assert_eq!(c.http.get(url).send().await.unwrap().status(), 200, "{picture}");
    }
    let waiting = c.get("/food_logs?status=pending_confirmation").await.expect(200);
    let meal = &waiting["items"][0];
    assert_eq!(
        (meal["food_name"].as_str().unwrap(), &meal["calories"]),
        ("burger patty, spaghetti", &json!(708))
    );
    assert_eq!(
        meal["meta_data"]["evidence"]["scan_depth_map"],
        format!("/scans/{scan}/evidence/depth")
    );
    assert_eq!(meal["meta_data"]["items"][1]["origins"]["mass"], "measured");
    assert_eq!(meal["scan_id"], json!(scan));
    let inner = |state: &Value| state["inner"]["consumed"].clone();
    let pending = c.get("/dashboard/state").await.expect(200);
    assert_eq!(inner(&pending), inner(&before), "what waits does not count");

    let done = c
        .act_from(&scan, "confirm", &tag, json!({"meal_type": "lunch"}))
        .await
        .expect(200);
    assert_eq!(
        (done["state"].as_str().unwrap(), &done["meal"]["status"]),
        ("confirmed", &json!("confirmed"))
    );
    let after = c.get("/dashboard/state").await.expect(200);
    assert_ne!(after, pending);
    assert!(after.to_string().contains("708"), "{after}");
    let meal = c
        .get(&format!("/food_logs/{}", done["meal"]["id"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!(
        (&meal["status"], &meal["meal_type"]),
        (&json!("confirmed"), &json!("lunch"))
    );

    // Kept where it is kept, and nowhere else.
    lab.w.drain().await;
    assert_eq!(lab.objects("uploads"), Vec::<String>::new());
    assert_eq!(lab.objects("media").len(), 3);
    let kept = c.get(&format!("/scans/{scan}")).await.expect(200);
    let url = kept["evidence"]["image_url"].as_str().unwrap();
    assert_eq!(c.http.get(url).send().await.unwrap().bytes().await.unwrap(), JPEG);
    let path = format!("/scans/{scan}/evidence/photo-1");
    let led = c.get(&path).await;
    assert_eq!(led.status, 200, "the client follows");
    for missing in ["photo-2", "photo-7", "nothing", "%00"] {
        c.get(&format!("/scans/{scan}/evidence/{missing}"))
            .await
            .refused(404, "not_found");
    }
    assert_eq!(
        c.get("/scans?status=confirmed").await.expect(200)["items"][0]["id"],
        json!(scan)
    );
    assert_eq!(c.get("/scans?status=ready").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn what_is_signed_cannot_be_changed() {
    let lab = lab!();
    let c = &lab.c;
    let upload = &begin(c, 1).await["uploads"][0];
    let signed = upload["put"]["headers"].as_object().unwrap();
    assert_eq!(signed["x-amz-meta-pitch"], "35");
    assert_eq!(signed["content-type"], "image/jpeg");
    // Of what the phone sends nobody knows the checksum here.
    assert!(!upload["put"].to_string().contains("checksum"), "{upload}");
    assert!(signed.contains_key("content-length") && signed.contains_key("if-none-match"));
    for other in [("x-amz-meta-pitch", "99"), ("content-type", "text/html")] {
        assert_eq!(put_with(c, upload, JPEG, &[other]).await.status, 403, "{other:?}");
    }
    // An object that is there is not replaced.
    put(c, upload, JPEG).await.expect(200);
    assert_eq!(put(c, upload, JPEG).await.status, 412);

    let upload = &begin(c, 1).await["uploads"][0];
    for other in [
        ("x-amz-meta-pitch", "99"),
        ("key", "user_x/other.jpg"),
        ("content-type", "text/html"),
        (
            "x-amz-signature",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ),
    ] {
        let status = post_form(c, upload, JPEG, &[other]).await.status;
        assert!(status.is_client_error(), "{other:?}: {status}");
    }
    let large = vec![0xff; (20 << 20) + 1];
    assert!(post_form(c, upload, &large, &[]).await.status.is_client_error());
    assert!(post_form(c, upload, b"", &[]).await.status.is_client_error());
    assert_eq!(lab.objects("uploads").len(), 1);
    let posted = post_form(c, upload, JPEG, &[]).await;
    assert!(posted.status.is_success(), "{} {}", posted.status, posted.text);
    assert_eq!(lab.objects("uploads").len(), 2);
}

#[tokio::test]
async fn what_a_scan_may_be_is_checked() {
    let lab = lab!();
    let c = &lab.c;
    let good = photo(30.0);
    let with = |key: &str, value: Value| {
        let mut photo = good.clone();
        photo[key] = value;
        json!({ "photos": [photo] })
    };
    for (body, pointer) in [
        (json!({"photos": []}), "/photos"),
        (json!({"photos": vec![&good; 7]}), "/photos"),
        (
            with("content_type", json!("text/plain")),
            "/photos/0/content_type",
        ),
        (with("bytes", json!(0)), "/photos/0/bytes"),
        (with("bytes", json!(40 << 20)), "/photos/0/bytes"),
        (with("pitch_deg", json!(400)), "/photos/0/pitch_deg"),
        (json!({"photos": [good], "note": "x".repeat(501)}), "/note"),
        (
            json!({"photos": [good], "plate_diameter_cm": 1}),
            "/plate_diameter_cm",
        ),
        (
            json!({"photos": [good], "camera_height_cm": 1000}),
            "/camera_height_cm",
        ),
        (
            json!({"photos": [good], "taken_at": "2001-01-01T00:00:00Z"}),
            "/taken_at",
        ),
    ] {
        let refused = c.post("/scans", body).await.refused(422, "invalid_field");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    // The same wish under the same key is one scan.
    let body = json!({ "photos": [good] });
    let first = c.post_once("/scans", "k", body.clone()).await.expect(201);
    let second = c.post_once("/scans", "k", body).await.expect(201);
    assert_eq!(first["scan"]["id"], second["scan"]["id"]);
    // Not without end.
    for _ in 0..49 {
        begin(c, 1).await;
    }
    let refused = c.post("/scans", json!({"photos": [good]})).await;
    refused.refused(429, "rate_limited");
    lab.s
        .user("bob")
        .post("/scans", json!({"photos": [good]}))
        .await
        .expect(201);
}

#[tokio::test]
async fn several_photos_of_a_meal_are_one_job_once_all_are_there() {
    let lab = lab!();
    let c = &lab.c;
    let new = begin(c, 3).await;
    let scan = id(&new["scan"]);
    for n in [2, 0] {
        put(c, &new["uploads"][n], JPEG).await.expect(200);
        lab.tell(&scan).await.expect(200);
    }
    assert_eq!(lab.state(c, &scan).await, "created");
    // Fresh addresses are for what is missing.
    let again = c
        .post(&format!("/scans/{scan}/uploads"), json!({}))
        .await
        .expect(200);
    assert_eq!(again["uploads"].as_array().unwrap().len(), 1);
    assert_eq!(again["uploads"][0]["position"], 2);
    put(c, &again["uploads"][0], JPEG).await.expect(200);
    let moved = c
        .post(&format!("/scans/{scan}/uploaded"), json!({}))
        .await
        .expect(200);
    assert_eq!(moved["state"], "queued");
    let images = lab.vision.jobs()[0].1.input["images"].clone();
    let pitches: Vec<_> = images
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["pitch_deg"].clone())
        .collect();
    assert_eq!(pitches, [35.0, 36.0, 37.0]);
    lab.vision.finish_all().await;
    lab.w.drain().await;
    assert_eq!(lab.objects("media").len(), 5);
    assert_eq!(lab.objects("uploads").len(), 0);
    c.post(&format!("/scans/{scan}/uploads"), json!({}))
        .await
        .refused(409, "scan_state");
}

#[tokio::test]
async fn a_scan_can_be_followed() {
    let lab = lab!();
    let c = lab.c.clone();
    let scan = lab.upload(&c).await;
    let url = format!("{}/scans/{scan}/events?wait=30", c.base);
    let request = c.http.get(url).bearer_auth(&c.token);
    let mut following = request.send().await.unwrap();
    assert_eq!(following.headers()["content-type"], "text/event-stream");
    let first = following.chunk().await.unwrap().unwrap();
    lab.tell(&scan).await.expect(200);
    lab.vision.finish_all().await;
    let rest = following.text().await.unwrap();
    let heard = format!("{}{rest}", String::from_utf8_lossy(&first));
    let states: Vec<_> = heard
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l.strip_prefix("data:")?).ok())
        .map(|v| v["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        (states.first().unwrap().as_str(), states.last().unwrap().as_str()),
        ("created", "ready"),
        "{heard}"
    );
    c.get(&format!("/scans/{scan}/events?wait=0"))
        .await
        .refused(422, "invalid_field");
    lab.s
        .user("mallory")
        .get(&format!("/scans/{scan}/events"))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn another_analysis_of_the_same_photos_replaces_nothing_until_it_is_confirmed() {
    let lab = lab!();
    let c = &lab.c;
    let first = lab.ready(c).await;
    lab.w.drain().await;
    c.act(&first, "confirm", json!({})).await.expect(200);
    let wish = json!({"model_set": "small"});
    c.post(&format!("/scans/{first}/reanalyse"), wish)
        .await
        .refused(422, "invalid_field");
    let second = c
        .post(
            &format!("/scans/{first}/reanalyse"),
            json!({"model_set": "large"}),
        )
        .await
        .expect(201);
    let second = id(&second);
    lab.vision.finish_all().await;
    assert_eq!(lab.state(c, &second).await, "ready");
    let logs = c.get("/food_logs").await.expect(200);
    assert_eq!(
        (
            logs["items"].as_array().unwrap().len(),
            &logs["items"][0]["scan_id"]
        ),
        (1, &json!(first))
    );
    // Two waiting analyses: one is confirmed, the other ends.
    let third = id(&c
        .post(&format!("/scans/{first}/reanalyse"), json!({}))
        .await
        .expect(201));
    lab.vision.finish_all().await;
    c.act(&second, "confirm", json!({})).await.expect(200);
    let logs = c.get("/food_logs").await.expect(200);
    assert_eq!(
        (
            logs["items"].as_array().unwrap().len(),
            &logs["items"][0]["scan_id"]
        ),
        (1, &json!(second))
    );
    let third = c.get(&format!("/scans/{third}")).await.expect(200);
    assert_eq!(
        (&third["state"], &third["error"]),
        (&json!("rejected"), &json!("superseded"))
    );
    let old = c.get(&format!("/scans/{first}")).await.expect(200);
    assert_eq!(
        (&old["state"], &old["meal_group"]),
        (&json!("confirmed"), &third["meal_group"])
    );
    assert!(old["result"]["items"].is_array());
}

#[tokio::test]
async fn a_rejected_scan_leaves_no_meal() {
    let lab = lab!();
    let c = &lab.c;
    let ready = lab.ready(c).await;
    c.act(&ready, "reject", json!({})).await.expect(200);
    assert_eq!(c.get("/food_logs").await.expect(200)["items"], json!([]));
    c.act(&ready, "confirm", json!({}))
        .await
        .refused(409, "scan_state");
    let waiting = lab.upload(c).await;
    lab.tell(&waiting).await.expect(200);
    c.act(&waiting, "reject", json!({})).await.expect(200);
    assert_eq!(lab.vision.jobs()[1].1.status, "CANCELLED");
    // What nobody wants is not kept.
    assert_eq!((lab.objects("uploads").len(), lab.objects("media").len()), (2, 3));
    lab.w.drain().await;
    assert_eq!((lab.objects("uploads").len(), lab.objects("media").len()), (0, 0));
    c.post(&format!("/scans/{ready}/reanalyse"), json!({}))
        .await
        .refused(409, "scan_state");
    c.call(Method::POST, &format!("/scans/{waiting}/reject"), &[], None)
        .await
        .refused(428, "version_required");
}
