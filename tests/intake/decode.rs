//! Formats, orientation, colour, limits and damage.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dragunov::contract::ErrorCode;
use dragunov_models::RgbImage;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat};
use proptest::prelude::*;

use crate::files::{CMYK_JPEG, CORNERS, ORIENTATION, V, encode, jpeg, quadrants, tiff, with_exif};
use crate::{codes, read};

fn close(a: [u8; 3], b: [u8; 3], by: u8) -> bool {
    a.iter().zip(b).all(|(x, y)| x.abs_diff(y) <= by)
}

/// Colours in the middle of the four quadrants, row by row.
fn corners(picture: &RgbImage) -> [[u8; 3]; 4] {
    let (w, h) = (picture.width(), picture.height());
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| picture.pixel(w * x / 4, h * y / 4))
}

#[test]
fn lossless_formats_keep_every_pixel() {
    let source = quadrants(96, 64);
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let photo = read(&encode(&DynamicImage::ImageRgb8(source.clone()), format)).unwrap();
        assert_eq!(photo.image.as_bytes(), source.as_raw().as_slice(), "{format:?}");
        assert_eq!(photo.orientation, 1);
    }
    let photo = read(&jpeg(&source)).unwrap();
    for (got, want) in corners(&photo.image).into_iter().zip(CORNERS) {
        assert!(close(got, want, 6), "{got:?} {want:?}");
    }
}

#[test]
fn grey_alpha_and_16_bits_become_rgb8() {
    let base = DynamicImage::ImageRgb8(quadrants(96, 64));
    let photo = read(&encode(
        &DynamicImage::ImageLuma8(base.to_luma8()),
        ImageFormat::Png,
    ))
    .unwrap();
    let px = photo.image.pixel(10, 10);
    assert!(px[0] == px[1] && px[1] == px[2]);
    assert!(codes(&photo.warnings).contains(&"grey_photo"));

    // Alpha is dropped, not blended: a fully transparent pixel keeps its colour.
    let mut rgba = base.to_rgba8();
    rgba.put_pixel(10, 10, image::Rgba([9, 8, 7, 0]));
    let photo = read(&encode(&DynamicImage::ImageRgba8(rgba), ImageFormat::Png)).unwrap();
    assert_eq!(photo.image.pixel(10, 10), [9, 8, 7]);
    assert!(codes(&photo.warnings).contains(&"alpha_dropped"));

    let mut deep = base.to_rgb16();
    deep.put_pixel(10, 10, image::Rgb([65535, 32896, 128]));
    let photo = read(&encode(&DynamicImage::ImageRgb16(deep), ImageFormat::Png)).unwrap();
    assert_eq!(photo.image.pixel(10, 10), [255, 128, 0]);

    // A photo keeps its greys; only the commands that reproduce Pillow clip them.
    let mut deep = base.to_luma16();
    deep.put_pixel(10, 10, image::Luma([40_000]));
    let photo = read(&encode(&DynamicImage::ImageLuma16(deep), ImageFormat::Png)).unwrap();
    assert_eq!(photo.image.pixel(10, 10), [156; 3]);
}

#[test]
fn each_orientation_is_applied_exactly_once() {
    let plain = jpeg(&quadrants(128, 64));
    for (i, want) in crate::QUADRANTS.iter().enumerate() {
        let tag = i as u16 + 1;
        let photo = read(&with_exif(&plain, &tiff(&[(ORIENTATION, V::Short(tag))], &[]))).unwrap();
        assert_eq!(u16::from(photo.orientation), tag);
        let size = (photo.image.width(), photo.image.height());
        assert_eq!(size, if tag >= 5 { (64, 128) } else { (128, 64) });
        for (got, quadrant) in corners(&photo.image).into_iter().zip(want) {
            assert!(close(got, CORNERS[*quadrant], 8), "tag {tag}: {got:?}");
        }
    }
    // A tag out of range means upright.
    let photo = read(&with_exif(&plain, &tiff(&[(ORIENTATION, V::Short(9))], &[]))).unwrap();
    assert_eq!((photo.orientation, photo.image.width()), (1, 128));
}

#[test]
fn cmyk_is_right_with_and_without_an_adobe_marker() {
    let bytes = STANDARD.decode(CMYK_JPEG).unwrap();
    let photo = read(&bytes).unwrap();
    assert!(
        close(photo.image.pixel(5, 5), [198, 51, 152], 4),
        "{:?}",
        photo.image.pixel(5, 5)
    );
    assert!(close(photo.image.pixel(60, 60), [51, 207, 152], 4));
    assert!(codes(&photo.warnings).contains(&"cmyk_converted"));
    // Pillow takes the inks for inverted either way.
    let mut plain = bytes;
    let at = plain.windows(5).position(|w| w == b"Adobe").unwrap();
    plain[at] = b'X';
    let unmarked = read(&plain).unwrap();
    assert_eq!(unmarked.image, photo.image);
    assert!(codes(&unmarked.warnings).contains(&"cmyk_converted"));
}

/// Display P3 to sRGB by the matrices of the two standards (both D65, same curve).
fn p3_to_srgb(p3: [u8; 3]) -> [f64; 3] {
    let lin = |v: u8| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    };
    let [r, g, b] = p3.map(lin);
    [
        1.224_940 * r - 0.224_940 * g,
        -0.042_057 * r + 1.042_057 * g,
        -0.019_638 * r - 0.078_636 * g + 1.098_274 * b,
    ]
    .map(|v| {
        let v = v.clamp(0.0, 1.0);
        255.0
            * if v <= 0.003_130_8 {
                12.92 * v
            } else {
                1.055 * v.powf(1.0 / 2.4) - 0.055
            }
    })
}

fn png_with_icc(picture: &image::RgbImage, icc: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = PngEncoder::new(&mut out);
    encoder.set_icc_profile(icc).unwrap();
    encoder
        .write_image(
            picture.as_raw(),
            picture.width(),
            picture.height(),
            image::ExtendedColorType::Rgb8,
        )
        .unwrap();
    out
}

#[test]
fn wide_gamut_profiles_become_srgb_and_srgb_stays_bit_for_bit() {
    let source = quadrants(96, 64);
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let photo = read(&png_with_icc(&source, p3)).unwrap();
    for (got, stored) in corners(&photo.image).into_iter().zip(CORNERS) {
        let want = p3_to_srgb(stored);
        for (g, w) in got.into_iter().zip(want) {
            assert!(
                (f64::from(g) - w).abs() <= 2.0,
                "{stored:?}: {got:?}, want {want:?}"
            );
        }
    }
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    let photo = read(&png_with_icc(&source, srgb)).unwrap();
    assert_eq!(photo.image.as_bytes(), source.as_raw().as_slice());
    let photo = read(&png_with_icc(&source, b"not a profile".to_vec())).unwrap();
    assert_eq!(photo.image.as_bytes(), source.as_raw().as_slice());
    assert!(codes(&photo.warnings).contains(&"icc_invalid"));
}

/// A PNG that states a size and holds no pixels.
fn png_header(w: u32, h: u32) -> Vec<u8> {
    let mut out = encode(&DynamicImage::ImageRgb8(quadrants(32, 32)), ImageFormat::Png);
    out[16..20].copy_from_slice(&w.to_be_bytes());
    out[20..24].copy_from_slice(&h.to_be_bytes());
    let crc = crc32(&out[12..29]);
    out[29..33].copy_from_slice(&crc.to_be_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| {
            if c & 1 == 1 {
                (c >> 1) ^ 0xEDB8_8320
            } else {
                c >> 1
            }
        })
    })
}

#[test]
fn decompression_bombs_are_refused_by_their_header() {
    let start = Instant::now();
    for (w, h) in [(50_000, 50_000), (11_000, 11_000), (1, 60_000_000)] {
        let e = read(&png_header(w, h)).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageTooLarge, "{w} x {h}: {e}");
    }
    assert!(start.elapsed().as_millis() < 200, "{:?}", start.elapsed());
}

#[test]
fn damaged_and_foreign_files_have_codes() {
    let whole = jpeg(&quadrants(256, 192));
    for cut in [whole.len() * 3 / 4, whole.len() / 2, 200] {
        let e = read(&whole[..cut]).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageUnreadable, "cut at {cut}: {e}");
    }
    let png = encode(&DynamicImage::ImageRgb8(quadrants(96, 64)), ImageFormat::Png);
    assert_eq!(
        read(&png[..png.len() / 2]).unwrap_err().code,
        ErrorCode::ImageUnreadable
    );

    // A frame header that states 40 times the pixels that the data can hold.
    let mut lying = whole.clone();
    let sof = lying.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    lying[sof + 5..sof + 9].copy_from_slice(&[0x17, 0x70, 0x1F, 0x40]);
    assert_eq!(read(&lying).unwrap_err().code, ErrorCode::ImageUnreadable);

    for (bytes, code) in [
        (&b""[..], ErrorCode::ImageFormat),
        (b"GIF89a\x01\0\x01\0", ErrorCode::ImageFormat),
        (b"\0\0\0\x18ftypheic", ErrorCode::ImageFormat),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            ErrorCode::ImageFormat,
        ),
        (&[0xFF, 0xD8, 0xFF], ErrorCode::ImageUnreadable),
    ] {
        assert_eq!(read(bytes).unwrap_err().code, code, "{bytes:?}");
    }
    let tiny = encode(&DynamicImage::ImageRgb8(quadrants(8, 8)), ImageFormat::Png);
    assert_eq!(read(&tiny).unwrap_err().code, ErrorCode::ImageUnreadable);
}

#[test]
fn photos_of_nothing_are_blank() {
    for level in [0u8, 7, 128, 255] {
        let flat = image::RgbImage::from_pixel(320, 240, image::Rgb([level; 3]));
        assert_eq!(
            read(&jpeg(&flat)).unwrap_err().code,
            ErrorCode::ImageBlank,
            "level {level}"
        );
    }
    // Sensor noise in the dark is still nothing.
    let noise = image::RgbImage::from_fn(320, 240, |x, y| image::Rgb([((x * 7 + y * 13) % 9) as u8; 3]));
    assert_eq!(read(&jpeg(&noise)).unwrap_err().code, ErrorCode::ImageBlank);
    // A small thing on a plain table is not.
    let mut plate = image::RgbImage::from_pixel(320, 240, image::Rgb([120; 3]));
    for (x, y) in (0..40).flat_map(|x| (0..40).map(move |y| (x, y))) {
        plate.put_pixel(100 + x, 100 + y, image::Rgb([200, 40, 40]));
    }
    read(&jpeg(&plate)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Any bytes behind a known signature give a photo or a coded error.
    #[test]
    fn random_bytes_never_panic(kind in 0usize..4, tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let head: &[u8] = [
            &b"\xFF\xD8\xFF\xE1\0\x40Exif\0\0II*\0\x08\0\0\0"[..],
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"RIFF\0\x10\0\0WEBPVP8L",
            b"",
        ][kind];
        let _ = read(&[head, &tail].concat());
    }

    /// A real file with some bytes changed gives a photo or a coded error.
    #[test]
    fn flipped_bytes_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let exif = tiff(&[(ORIENTATION, V::Short(6))], &[(crate::files::F35, V::Short(26)),]);
        let mut bytes = with_exif(&jpeg(&quadrants(64, 48)), &exif);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
    }

    /// Any EXIF block leaves the picture readable.
    #[test]
    fn random_exif_never_loses_the_photo(block in proptest::collection::vec(any::<u8>(), 0..400)) {
        let block = [b"II*\0\x08\0\0\0", &block[..]].concat();
        prop_assert!(read(&with_exif(&jpeg(&quadrants(64, 48)), &block)).is_ok());
    }
}
