//! What the identifier is shown of one region.

use dragunov_models::{Mask, RgbImage};

/// Side of the crop over the longer side of the region's box: some context helps to tell foods apart. This and what follows
/// is how the crops are made that `plate-tiny` was trained on (`models/training/vlm_crops.py`).
const SIDE_RATIO: f64 = 1.3;
const MIN_SIDE_PX: f64 = 32.0;
/// Level of the pixels outside the photo.
const GREY_LEVEL: u8 = 128;
/// How far pixels outside the region are mixed towards grey, 0 to 1, so that the answer is about the region.
const FADE_SHARE: f32 = 0.6;

/// Square crop around the region; pixels that are not of it are faded, those outside the photo are grey.
///
/// `None` if the mask is empty. The checkpoint `plate-tiny` is trained on exactly this picture.
pub fn crop(image: &RgbImage, mask: &Mask) -> Option<RgbImage> {
    let bbox = mask.bbox()?;
    let side = (SIDE_RATIO * bbox.width().max(bbox.height()))
        .round()
        .max(MIN_SIDE_PX) as i64;
    let x0 = ((bbox.x0 + bbox.x1) / 2.0 - side as f64 / 2.0).floor() as i64;
    let y0 = ((bbox.y0 + bbox.y1) / 2.0 - side as f64 / 2.0).floor() as i64;
    let size = side as usize;
    let mut out = vec![GREY_LEVEL; size * size * 3];
    let faded: [u8; 256] = std::array::from_fn(|v| {
        (v as f32 * (1.0 - FADE_SHARE) + f32::from(GREY_LEVEL) * FADE_SHARE).round() as u8
    });
    let (w, h) = (image.width() as i64, image.height() as i64);
    let pixels = image.as_bytes();
    for y in y0.max(0)..(y0 + side).min(h) {
        for x in x0.max(0)..(x0 + side).min(w) {
            let from = ((y * w + x) * 3) as usize;
            let to = (((y - y0) * side + (x - x0)) * 3) as usize;
            for c in 0..3 {
                out[to + c] = faded[pixels[from + c] as usize];
            }
        }
    }
    mask.for_each_run(|x, top, bottom| {
        let dx = x as i64 - x0;
        if !(0..side).contains(&dx) {
            return;
        }
        for y in top as i64..bottom as i64 {
            let from = ((y * w + x as i64) * 3) as usize;
            let to = (((y - y0) * side + dx) * 3) as usize;
            out[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
        }
    });
    RgbImage::new(size, size, out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn region_is_sharp_surroundings_faded_outside_grey() {
        let image = RgbImage::new(60, 50, vec![200; 60 * 50 * 3]).unwrap();
        let mask = Mask::from_fn(60, 50, |x, y| x < 20 && (10..50).contains(&y));
        let out = crop(&image, &mask).unwrap();
        assert_eq!((out.width(), out.height()), (52, 52));
        // Box centre (10, 30): the crop starts at (-16, 4).
        assert_eq!(out.pixel(0, 0), [128; 3], "outside the photo");
        assert_eq!(out.pixel(16, 6), [200; 3], "of the region");
        assert_eq!(
            out.pixel(16 + 25, 6),
            [157; 3],
            "beside the region: 0.4 x 200 + 0.6 x 128"
        );
        assert!(crop(&image, &Mask::empty(60, 50)).is_none());
    }
}
