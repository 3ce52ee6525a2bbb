//! Colours of a photo and how far they are apart.

use dragunov_models::RgbImage;

/// A shadow has its ground's colour, darker, down to this share of its brightness. Set on the top views of ECUSTFD.
const MIN_SHADOW_BRIGHTNESS: f64 = 0.3;

/// Bilinear, in the photo's pixels; beyond the border the border's colour.
pub(super) fn colour(image: &RgbImage, at: [f64; 2]) -> [f64; 3] {
    let place = |v: f64, n: usize| {
        let v = (v - 0.5).clamp(0.0, (n - 1) as f64);
        let low = (v as usize).min(n.saturating_sub(2));
        (low, (low + 1).min(n - 1), v - low as f64)
    };
    let (x0, x1, fx) = place(at[0], image.width());
    let (y0, y1, fy) = place(at[1], image.height());
    let row = |y: usize| {
        let (a, b) = (image.pixel(x0, y), image.pixel(x1, y));
        [0, 1, 2].map(|i| f64::from(a[i]) + fx * (f64::from(b[i]) - f64::from(a[i])))
    };
    let (top, bottom) = (row(y0), row(y1));
    [0, 1, 2].map(|i| top[i] + fy * (bottom[i] - top[i]))
}

/// Distance of a colour from a ground's: `plain` is the share of the plain distance, the rest the distance from the ground
/// in the shadow that comes nearest.
pub(super) fn from_ground(colour: [f64; 3], ground: [f64; 3], plain: f64) -> f64 {
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let apart = |k: f64| {
        let d = [0, 1, 2].map(|i| colour[i] - k * ground[i]);
        dot(d, d).sqrt()
    };
    let shade = (dot(colour, ground) / dot(ground, ground).max(1.0)).clamp(MIN_SHADOW_BRIGHTNESS, 1.0);
    plain * apart(1.0) + (1.0 - plain) * apart(shade)
}

/// CIELAB under D65 of an sRGB pixel (IEC 61966-2-1, CIE 15).
pub(super) fn lab(pixel: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = pixel.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    });
    let f = |t: f64| {
        if t > 216.0 / 24389.0 {
            t.cbrt()
        } else {
            (24389.0 / 27.0 * t + 16.0) / 116.0
        }
    };
    let x = f((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
    let y = f(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
    let z = f((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Euclidean distance of two colours, in the units that they are in.
pub(super) fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shadow_is_near_its_ground_and_another_colour_is_not() {
        let wood = [180.0, 120.0, 60.0];
        let shadow = wood.map(|v| 0.5 * v);
        assert!(from_ground(shadow, wood, 0.0) < 1e-9);
        assert!((from_ground(shadow, wood, 1.0) - 0.5 * from_ground([0.0; 3], wood, 1.0)).abs() < 1e-9);
        assert!(from_ground([90.0, 90.0, 90.0], wood, 0.0) > 30.0);
        // Nothing in the shade is brighter than its ground.
        assert!(from_ground(wood.map(|v| 1.3 * v), wood, 0.0) > 50.0);
    }

    #[test]
    fn lab_of_primaries() {
        let near = |pixel, want: [f64; 3]| {
            let got = lab(pixel);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.02), "{got:?}");
        };
        near([255, 255, 255], [100.0, 0.0, 0.0]);
        near([255, 0, 0], [53.24, 80.09, 67.20]);
        near([0, 0, 255], [32.30, 79.19, -107.86]);
        near([0, 0, 0], [0.0, 0.0, 0.0]);
    }

    #[test]
    fn colours_between_pixels_are_mixed_and_beyond_the_border_kept() {
        let image = RgbImage::new(2, 1, vec![0, 0, 0, 100, 200, 50]).unwrap();
        assert_eq!(colour(&image, [1.0, 0.5]), [50.0, 100.0, 25.0]);
        assert_eq!(colour(&image, [-3.0, 9.0]), [0.0; 3]);
        assert_eq!(colour(&image, [1.75, 0.5]), [100.0, 200.0, 50.0]);
    }
}
