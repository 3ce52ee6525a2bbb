//! A vision API that has seen the truth: answers the questions of the grounded and the hybrid strategy with the boxes and names of a
//! manifest, so that an evaluation shows what those strategies come to with a vision-language model that makes no mistakes, or only
//! some of one kind.
//!
//! ```text
//! true_boxes MANIFEST [SPOILED] [SHARE] [SEED]     prints its base URL, then answers until it is stopped
//! dragunov eval MANIFEST --oracle scale --strategy hybrid --vlm-url URL
//! ```
//! SPOILED is `left-out`, `moved` (by 5 % of its sides) or `doubled` and befalls that SHARE of the boxes, 0.2 if it is not named. The
//! photo is recognised by its look, and crops by where they lie on the photo that was asked about last. Each separate piece of a food
//! has a box of its own; things other than food and dishes have the name that the manifest gives them.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod locate;
mod spoil;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
use locate::Seen;
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
    seen: Seen,
}

struct Truth {
    known: Vec<Known>,
    /// The photo that was asked about last.
    last: AtomicUsize,
}

fn main() {
    let manifest = std::env::args()
        .nth(1)
        .expect("true_boxes MANIFEST [SPOILED] [SHARE] [SEED]");
    let dataset = Dataset::open(Path::new(&manifest)).unwrap();
    let mut known: Vec<Known> = dataset.samples.iter().map(|s| known(&dataset.root, s)).collect();
    spoil::from_args(
        std::env::args().skip(2),
        known.iter_mut().map(|k| (k.id.as_str(), &mut k.items)),
    );
    let truth = Truth {
        known,
        last: AtomicUsize::new(0),
    };
    let app = Router::new()
        .route("/v1/chat/completions", post(answer))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(Arc::new(truth));
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
    let mut regions: Vec<(Mask, &str, String)> = Vec::new();
    for item in &sample.items {
        let whole = mask(&item.mask);
        for piece in whole.iter().flat_map(pieces) {
            items.push(said(&piece, "food", &item.label));
        }
        regions.extend(whole.map(|m| (m, "food", item.label.clone())));
    }
    for dish in &sample.dishes {
        let kind = match dish.kind.dish() {
            Some(DishKind::Plate) => "plate",
            Some(DishKind::Bowl) => "bowl",
            Some(DishKind::Board) => "board",
            None => continue,
        };
        let whole = mask(&dish.mask);
        items.extend(whole.iter().map(|m| said(m, kind, kind)));
        regions.extend(whole.map(|m| (m, kind, kind.to_owned())));
    }
    for reference in &sample.references {
        let kind = match reference.kind {
            ReferenceKind::Coin => "coin",
            ReferenceKind::Card => "card",
            ReferenceKind::Plate => continue,
        };
        let whole = mask(&reference.mask);
        items.extend(whole.iter().map(|m| said(m, kind, kind)));
        regions.extend(whole.map(|m| (m, kind, kind.to_owned())));
    }
    let regions = regions.into_iter().filter(|(mask, ..)| !mask.is_empty());
    Known {
        id: sample.id.clone(),
        look: look(&upright),
        items: items.into_iter().filter(|i| !i.is_null()).collect(),
        seen: Seen::new(upright, regions),
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
    State(truth): State<Arc<Truth>>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let asked = body["messages"][0]["content"].as_str().unwrap_or_default();
    let pictures: Vec<RgbImage> = body["messages"][1]["content"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| picture(part["image_url"]["url"].as_str()?))
        .collect();
    let (id, content) = match &pictures[..] {
        [photo] if asked.contains("bbox_2d") => boxes(&truth, photo)?,
        [] => return Err((StatusCode::BAD_REQUEST, "there is no picture".to_owned())),
        crops => {
            let known = &truth.known[truth.last.load(Ordering::SeqCst)];
            let items: Vec<Value> = crops.iter().map(|crop| known.seen.name(crop)).collect();
            // A question about one crop wants one object.
            let content = match &items[..] {
                [one] if !asked.contains("\"items\"") => one.clone(),
                _ => json!({"items": items}),
            };
            (known.id.clone(), content)
        }
    };
    Ok(Json(json!({
        "id": id,
        "choices": [{"message": {"role": "assistant", "content": content.to_string()}}],
    })))
}

fn picture(url: &str) -> Option<RgbImage> {
    let (_, data) = url.split_once("base64,")?;
    let bytes = STANDARD.decode(data).ok()?;
    Some(image::load_from_memory(&bytes).ok()?.to_rgb8())
}

/// The boxes of the photo that looks like this one, in its pixels.
fn boxes(truth: &Truth, photo: &RgbImage) -> Result<(String, Value), (StatusCode, String)> {
    let (size, seen) = (photo.dimensions(), look(photo));
    let apart = |k: &Known| -> u64 {
        k.look
            .iter()
            .zip(&seen)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum()
    };
    let (place, found) = truth
        .known
        .iter()
        .enumerate()
        .min_by_key(|(_, k)| apart(k))
        .filter(|(_, k)| apart(k) < 6 * u64::from(LOOK * LOOK))
        .ok_or_else(|| {
            (
                StatusCode::BAD_REQUEST,
                "this photo is not in the manifest".to_owned(),
            )
        })?;
    truth.last.store(place, Ordering::SeqCst);
    let mut items = found.items.clone();
    for item in &mut items {
        for (i, v) in item["bbox_2d"].as_array_mut().into_iter().flatten().enumerate() {
            let side = f64::from([size.0, size.1][i % 2]);
            *v = json!(v.as_f64().unwrap_or_default() * side);
        }
    }
    Ok((found.id.clone(), json!({"items": items})))
}
