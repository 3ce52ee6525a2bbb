//! Foods that are added by their place on the photo: scanned there, and taken over into the result.

use std::collections::BTreeMap;

use dragunov_models::{Mask, Rect};

use super::{check, check_original, invalid};
use crate::contract::recompute::{Edit, RecomputeRequest};
use crate::contract::request::{Hints, ImageSource, ItemHint, ScanRequest};
use crate::contract::result::{Item, MaskData, ScanResult};
use crate::contract::{ErrorCode, Estimated, MaskFormat, ScanError};

/// Overlap of a box with an item's from which the item is what the box shows.
const SAME_BOX_IOU: f64 = 0.3;

/// The scan that finds what lies at the places of the edits; none where no edit has one.
///
/// # Errors
/// `invalid_field` for edits that cannot be applied, and where the photo is missing.
pub fn scan_of(request: &RecomputeRequest) -> Result<Option<ScanRequest>, ScanError> {
    if !request.looks_at_photo() {
        return Ok(None);
    }
    check_original(&request.original)?;
    check(&request.original, &request.edits)?;
    let Some(photo) = &request.photo else {
        return Err(
            invalid("photo: is needed to add what lies at a point or in a box").next_step(
                "send the photo again with what the scan's request said of it, or tell label and grams",
            ),
        );
    };
    let mut scan = ScanRequest::new(photo.image.clone());
    scan.pitch_deg = photo.pitch_deg;
    scan.roll_deg = photo.roll_deg;
    scan.gravity = photo.gravity;
    scan.camera.clone_from(&photo.camera);
    scan.depth.clone_from(&photo.depth);
    scan.reference.clone_from(&request.reference);
    scan.options.masks = MaskFormat::Rle;
    let placed = request.edits.iter().filter(|edit| edit.has_place());
    scan.hints = Hints {
        items: placed
            .map(|edit| ItemHint {
                label: edit.label.clone(),
                point: edit.point,
                bbox: edit.bbox,
                photo: 0,
            })
            .collect(),
    };
    Ok(Some(scan))
}

/// The photo's own bytes are not needed any more.
pub fn without_photo(request: &mut RecomputeRequest) {
    if let Some(photo) = &mut request.photo {
        photo.image = ImageSource::Bytes(Vec::new());
        photo.depth = None;
    }
}

/// What was found at each edit's place, by the edit's index, at the original's scale.
///
/// # Errors
/// `no_food` where nothing lies at a place; `invalid_field` where the scan is of another photo.
pub(super) fn items(
    request: &RecomputeRequest,
    found: Option<&ScanResult>,
) -> Result<BTreeMap<usize, Item>, ScanError> {
    let mut out = BTreeMap::new();
    for (i, edit) in request
        .edits
        .iter()
        .enumerate()
        .filter(|(_, edit)| edit.has_place())
    {
        let Some(found) = found else {
            return Err(invalid(format!(
                "edits[{i}].point: needs the photo, and a scan of it"
            )));
        };
        let (was, is) = (&request.original.image, &found.image);
        if (was.width, was.height) != (is.width, is.height) {
            let message = format!(
                "photo: it has {} x {} pixels, the original's had {} x {}",
                is.width, is.height, was.width, was.height
            );
            return Err(invalid(message).next_step("send the same photo again"));
        }
        let item = found
            .items
            .iter()
            .max_by(|a, b| fits(a, edit).total_cmp(&fits(b, edit)));
        let Some(item) = item.filter(|item| fits(item, edit) > 0.0) else {
            return Err(ScanError::new(
                ErrorCode::NoFood,
                format!("edits[{i}]: no food lies at that place"),
            )
            .next_step("tell the food's label and grams instead"));
        };
        out.insert(i, at_scale_of(&request.original, found, item.clone()));
    }
    Ok(out)
}

/// How well an item is what the edit points at: 0 if it is not.
fn fits(item: &Item, edit: &Edit) -> f64 {
    let [x0, y0, x1, y1] = item.bbox;
    if let Some(b) = edit.bbox {
        let overlap =
            Rect::<dragunov_models::ImagePx>::new(x0, y0, x1, y1).iou(&Rect::new(b[0], b[1], b[2], b[3]));
        return if overlap >= SAME_BOX_IOU { overlap } else { 0.0 };
    }
    let Some([x, y]) = edit.point else { return 0.0 };
    if !(x0..x1).contains(&x) || !(y0..y1).contains(&y) {
        return 0.0;
    }
    let mask = match &item.mask {
        Some(MaskData::Rle { size: [h, w], counts }) => Mask::from_coco_string(*w, *h, counts),
        _ => None,
    };
    let on_mask = mask.is_some_and(|mask| {
        let bits = mask.to_bits();
        bits.get(y as usize * mask.width() + x as usize)
            .copied()
            .unwrap_or(false)
    });
    // Of two things around a point the smaller one is meant, unless only the other covers it.
    (if on_mask { 1.0 } else { 0.01 }) / (1.0 + ((x1 - x0) * (y1 - y0)).max(0.0))
}

/// One photo has one scale: the original's, which a person may have corrected.
fn at_scale_of(original: &ScanResult, found: &ScanResult, mut item: Item) -> Item {
    let ratio = original.scale.camera_height_cm.p50 / found.scale.camera_height_cm.p50;
    let grown = |e: Estimated, power: i32| e.scaled(ratio.powi(power));
    if ratio.is_finite() && ratio > 0.0 {
        item.volume_cm3 = grown(item.volume_cm3, 3);
        item.footprint_cm2 *= ratio.powi(2);
        item.mean_height_cm *= ratio;
    }
    item
}
