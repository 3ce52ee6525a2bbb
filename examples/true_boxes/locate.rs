//! Where on a photo a crop was cut, and what the thing in it truly is.
//!
//! A crop is a square of the photo around a mask: pixels of the mask as they are, the others mixed towards grey, what is outside of the
//! photo grey, and perhaps shrunk. So each pixel of it is one of two colours wherever it lies, which finds the place; and which of the
//! two it is tells the mask.

use dragunov_models::Mask;
use image::RgbImage;
use serde_json::{Value, json};

const GREY: f64 = 128.0;
const FADE: f64 = 0.6;
/// Points by which a place is judged, a side.
const COARSE: u32 = 9;
const FINE: u32 = 28;
/// Crops of this side may have been shrunk to it.
const SHRUNK: u32 = 224;
/// Step between sizes of the window that are tried, and the largest, as a share of the photo's longer side.
const SIZE_STEP: f64 = 1.12;
const LARGEST: f64 = 1.35;
/// Share of a crop's mask that must be of one thing for its name.
const MIN_SHARE: f64 = 0.6;

/// A photo and its true regions.
pub(crate) struct Seen {
    photo: RgbImage,
    /// Region of each pixel, from 1; 0 is none.
    regions: Vec<u8>,
    names: Vec<(&'static str, String)>,
}

/// A square window of the photo: upper left corner and side.
type Window = [f64; 3];

impl Seen {
    pub(crate) fn new(photo: RgbImage, regions: impl Iterator<Item = (Mask, &'static str, String)>) -> Self {
        let (w, h) = photo.dimensions();
        let mut of = vec![0u8; (w * h) as usize];
        let mut names = Vec::new();
        // Later ones are dishes, below the foods that came first.
        for (mask, kind, label) in regions {
            names.push((kind, label));
            for (pixel, inside) in of.iter_mut().zip(mask.to_bits()) {
                if inside && *pixel == 0 {
                    *pixel = names.len() as u8;
                }
            }
        }
        Self {
            photo,
            regions: of,
            names,
        }
    }

    /// What the thing in a crop is, as an API would answer.
    pub(crate) fn name(&self, crop: &RgbImage) -> Value {
        let window = self.find(crop);
        let (mut counts, mut sharp) = (vec![0usize; self.names.len() + 1], 0usize);
        for (x, y) in points(crop, crop.width().min(112)) {
            let [px, py] = place(window, crop, x, y);
            let Some(colour) = self.at(px, py) else { continue };
            let seen = crop.get_pixel(x, y).0.map(f64::from);
            let off = |of: fn(f64) -> f64| -> f64 { (0..3).map(|c| (seen[c] - of(colour[c])).abs()).sum() };
            let contrast: f64 = colour.iter().map(|v| (v - GREY).abs()).sum();
            // Grey is grey, faded or not.
            if contrast > 60.0 && off(|v| v) < off(faded) {
                sharp += 1;
                counts[usize::from(self.regions[py as usize * self.photo.width() as usize + px as usize])] +=
                    1;
            }
        }
        let share = |i: usize| counts[i] as f64 / sharp.max(1) as f64;
        let best = (1..counts.len()).max_by_key(|&i| counts[i]);
        let dish = (1..counts.len()).filter(|&i| matches!(self.names[i - 1].0, "plate" | "bowl" | "board"));
        let (kind, label, confidence) = match best {
            Some(i) if share(i) >= MIN_SHARE => (self.names[i - 1].0, self.names[i - 1].1.as_str(), share(i)),
            // A dish with what lies on it.
            Some(_) if share(0) < 1.0 - MIN_SHARE => {
                match dish.max_by_key(|&i| counts[i]).filter(|&i| counts[i] > 0) {
                    Some(i) => (self.names[i - 1].0, self.names[i - 1].1.as_str(), 1.0 - share(0)),
                    None => ("other", "other", 0.5),
                }
            }
            _ => ("table", "table", share(0)),
        };
        json!({"kind": kind, "label": label, "confidence": confidence, "alternatives": [], "grams": null})
    }

    fn find(&self, crop: &RgbImage) -> Window {
        let (w, h) = self.photo.dimensions();
        let side = f64::from(crop.width());
        let mut sizes = vec![side];
        if crop.width() == SHRUNK {
            while sizes[sizes.len() - 1] < LARGEST * f64::from(w.max(h)) {
                sizes.push(sizes[sizes.len() - 1] * SIZE_STEP);
            }
        }
        let mut best: Vec<(f64, Window)> = Vec::new();
        for size in sizes {
            let step = (size / 12.0).max(5.0);
            let mut y = -0.5 * size;
            while y < f64::from(h) - 0.5 * size {
                let mut x = -0.5 * size;
                while x < f64::from(w) - 0.5 * size {
                    let window = [x, y, size];
                    best.push((self.cost(crop, window, COARSE), window));
                    x += step;
                }
                y += step;
            }
        }
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        best.truncate(12);
        for (cost, window) in &mut best {
            let mut step = (window[2] / 30.0).max(4.0);
            *cost = self.cost(crop, *window, FINE);
            while step > 0.4 {
                let mut moved = false;
                for (i, by) in [
                    (0, step),
                    (0, -step),
                    (1, step),
                    (1, -step),
                    (2, step),
                    (2, -step),
                ] {
                    let mut next = *window;
                    next[i] += by;
                    if i == 2 {
                        next[0] -= 0.5 * by;
                        next[1] -= 0.5 * by;
                        if crop.width() < SHRUNK {
                            continue;
                        }
                    }
                    let there = self.cost(crop, next, FINE);
                    if there < *cost {
                        (*cost, *window, moved) = (there, next, true);
                    }
                }
                if !moved {
                    step *= 0.5;
                }
            }
        }
        best.into_iter()
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or([0.0, 0.0, side], |(_, window)| window)
    }

    /// Mean distance of a crop's points to the nearer of their two colours.
    fn cost(&self, crop: &RgbImage, window: Window, side: u32) -> f64 {
        let (mut sum, mut n) = (0.0, 0.0);
        for (x, y) in points(crop, side) {
            let [px, py] = place(window, crop, x, y);
            let colour = self.at(px, py).unwrap_or([GREY; 3]);
            let seen = crop.get_pixel(x, y).0.map(f64::from);
            let off = |of: fn(f64) -> f64| -> f64 { (0..3).map(|c| (seen[c] - of(colour[c])).abs()).sum() };
            sum += off(|v| v).min(off(faded));
            n += 1.0;
        }
        sum / n
    }

    fn at(&self, x: f64, y: f64) -> Option<[f64; 3]> {
        let (w, h) = self.photo.dimensions();
        let inside = x >= 0.0 && y >= 0.0 && x < f64::from(w) && y < f64::from(h);
        inside.then(|| self.photo.get_pixel(x as u32, y as u32).0.map(f64::from))
    }
}

fn faded(v: f64) -> f64 {
    v * (1.0 - FADE) + GREY * FADE
}

/// So many points a side, spread evenly over a crop.
fn points(crop: &RgbImage, side: u32) -> impl Iterator<Item = (u32, u32)> {
    let (w, h) = crop.dimensions();
    let side = side.min(w).min(h).max(1);
    (0..side * side).map(move |i| {
        let at = |k: u32, length: u32| (k * length + length / 2) / side;
        (at(i % side, w).min(w - 1), at(i / side, h).min(h - 1))
    })
}

/// Where a crop's pixel lies on the photo.
fn place(window: Window, crop: &RgbImage, x: u32, y: u32) -> [f64; 2] {
    let scale = window[2] / f64::from(crop.width());
    [
        window[0] + (f64::from(x) + 0.5) * scale,
        window[1] + (f64::from(y) + 0.5) * scale,
    ]
}
