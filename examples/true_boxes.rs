//! A vision API that has seen the truth: answers the question of the grounded strategy with the boxes and names of a
//! manifest, so that an evaluation shows what that strategy comes to with a vision-language model that makes no mistakes.
//!
//! ```text
//! true_boxes MANIFEST      prints its base URL, then answers POST /v1/chat/completions until it is stopped
//! dragunov eval MANIFEST --oracle scale --strategy grounded --vlm-url URL
//! ```
//! The photo is recognised by its look. Each separate piece of a food has a box of its own; things other than food and
//! dishes have the name that the manifest gives them.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dragunov::contract::request::ImageSource;
use dragunov::contract::{DishKind, ReferenceKind, ScanRequest};
use dragunov::eval::load::Labels;
use dragunov::eval::manifest::{Dataset, MaskRef, Sample};
use dragunov::intake::{DecodeLimits, Shot, SourceMeta, read_photo};
use dragunov_models::Mask;
use image::imageops::{FilterType, resize};
use image::{GrayImage, RgbImage};
use serde_json::{Value, json};

/// Side of the thumbnails that photos are told apart by.
const LOOK: u32 = 24;
/// Pieces of fewer pixels are crumbs.
const CRUMB: usize = 40;

struct Known {
    id: String,
    look: Vec<u8>,
    /// Boxes in shares of the sides.
    items: Vec<Value>,
}

fn main() {
    let manifest = std::env::args().nth(1).expect("true_boxes MANIFEST");
    let dataset = Dataset::open(Path::new(&manifest)).unwrap();
    let known: Vec<Known> = dataset.samples.iter().map(|s| known(&dataset.root, s)).collect();
    let app = Router::new()
        .route("/v1/chat/completions", post(answer))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(Arc::new(known));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}/v1", listener.local_addr().unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}

fn look(photo: &RgbImage) -> Vec<u8> {
    let grey: GrayImage = image::imageops::grayscale(photo);
    resize(&grey, LOOK, LOOK, FilterType::Triangle).into_raw()
}

fn known(root: &Path, sample: &Sample) -> Known {
    let bytes = std::fs::read(root.join(&sample.image)).unwrap();
    let request = ScanRequest::new(ImageSource::Bytes(Vec::new()));
    let photo = read_photo(
        &bytes,
        &Shot::from_request(&request),
        &SourceMeta::default(),
        &DecodeLimits::default(),
    )
    .unwrap()
    .image;
    let upright = RgbImage::from_raw(
        photo.width() as u32,
        photo.height() as u32,
        photo.as_bytes().to_vec(),
    )
    .unwrap();
    let size = [sample.width, sample.height];
    let mut labels = Labels::default();
    let mut mask = |at: &Option<MaskRef>| at.as_ref().map(|at| labels.mask(root, at, size).unwrap());
    let mut items = Vec::new();
    for item in &sample.items {
        for piece in mask(&item.mask).iter().flat_map(pieces) {
            items.push(said(&piece, "food", &item.label));
        }
    }
    for dish in &sample.dishes {
        let kind = match dish.kind.dish() {
            Some(DishKind::Plate) => "plate",
            Some(DishKind::Bowl) => "bowl",
            Some(DishKind::Board) => "board",
            None => continue,
        };
        items.extend(mask(&dish.mask).map(|m| said(&m, kind, kind)));
    }
    for reference in &sample.references {
        let kind = match reference.kind {
            ReferenceKind::Coin => "coin",
            ReferenceKind::Card => "card",
            ReferenceKind::Plate => continue,
        };
        items.extend(mask(&reference.mask).map(|m| said(&m, kind, kind)));
    }
    Known {
        id: sample.id.clone(),
        look: look(&upright),
        items: items.into_iter().filter(|i| !i.is_null()).collect(),
    }
}

/// One item of the answer; null for a mask without pixels.
fn said(mask: &Mask, kind: &str, label: &str) -> Value {
    let (w, h) = (mask.width() as f64, mask.height() as f64);
    mask.bbox().map_or(Value::Null, |b| {
        json!({
            "bbox_2d": [b.x0 / w, b.y0 / h, b.x1 / w, b.y1 / h],
            "kind": kind,
            "label": label,
            "confidence": 1.0,
            "alternatives": [],
            "grams": null,
        })
    })
}

/// The connected parts of a mask that are no crumbs; the whole mask if all are.
fn pieces(mask: &Mask) -> Vec<Mask> {
    let (w, h) = (mask.width(), mask.height());
    let bits = mask.to_bits();
    let mut part = vec![0usize; w * h];
    let mut sizes = vec![0usize];
    for start in 0..w * h {
        if !bits[start] || part[start] != 0 {
            continue;
        }
        let id = sizes.len();
        sizes.push(0);
        part[start] = id;
        let mut open = vec![start];
        while let Some(k) = open.pop() {
            sizes[id] += 1;
            let (x, y) = (k % w, k / w);
            let beside = [
                (x > 0).then(|| k - 1),
                (x + 1 < w).then(|| k + 1),
                (y > 0).then(|| k - w),
                (y + 1 < h).then(|| k + w),
            ];
            for next in beside.into_iter().flatten() {
                if bits[next] && part[next] == 0 {
                    part[next] = id;
                    open.push(next);
                }
            }
        }
    }
    let large: Vec<usize> = (1..sizes.len()).filter(|&id| sizes[id] >= CRUMB).collect();
    if large.len() < 2 {
        return vec![mask.clone()];
    }
    large
        .into_iter()
        .map(|id| Mask::from_fn(w, h, |x, y| part[y * w + x] == id))
        .collect()
}

async fn answer(
    State(known): State<Arc<Vec<Known>>>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let wrong = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
    let asked = body["messages"][0]["content"].as_str().unwrap_or_default();
    if !asked.contains("bbox_2d") {
        return Err(wrong("only the question about a whole photo is answered"));
    }
    let url = body["messages"][1]["content"][1]["image_url"]["url"]
        .as_str()
        .unwrap_or_default();
    let jpeg = url
        .split_once("base64,")
        .and_then(|(_, data)| STANDARD.decode(data).ok())
        .and_then(|bytes| image::load_from_memory(&bytes).ok())
        .ok_or_else(|| wrong("there is no picture"))?
        .to_rgb8();
    let (size, seen) = (jpeg.dimensions(), look(&jpeg));
    let apart = |k: &Known| -> u64 {
        k.look
            .iter()
            .zip(&seen)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum()
    };
    let found = known
        .iter()
        .min_by_key(|k| apart(k))
        .filter(|k| apart(k) < 6 * u64::from(LOOK * LOOK))
        .ok_or_else(|| wrong("this photo is not in the manifest"))?;
    let mut items = found.items.clone();
    for item in &mut items {
        for (i, v) in item["bbox_2d"].as_array_mut().into_iter().flatten().enumerate() {
            let side = f64::from([size.0, size.1][i % 2]);
            *v = json!(v.as_f64().unwrap_or_default() * side);
        }
    }
    let content = json!({"items": items}).to_string();
    Ok(Json(json!({
        "id": found.id,
        "choices": [{"message": {"role": "assistant", "content": content}}],
    })))
}
