//! HEIC: pixels, turns, colours and metadata of what phones write.

use dragunov::contract::{ErrorCode, GravitySource};
use dragunov::intake::Photo;

use crate::files::{CORNERS, difference, file_of, raw};
use crate::{codes, read};

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    file_of("heif", name)
}

fn golden(name: &str) -> image::RgbImage {
    image::load_from_memory(&fixture(&format!("{name}.png")))
        .unwrap()
        .into_rgb8()
}

/// Fixture, largest and mean difference from what libheif decodes. Where each pixel has its own colour only rounding
/// differs. Halved colours are widened in another way (`heifer` as Apple does), which shows in noise as coarse as here; the
/// luma under them is the same, but where a colour is cut off at 0 or 255.
const BOUNDS: [(&str, u8, f64); 11] = [
    ("lossless", 0, 0.0),
    ("444", 1, 0.01),
    ("limited-709", 1, 0.6),
    ("p3", 1, 0.01),
    ("alpha", 1, 0.01),
    ("grey", 0, 0.0),
    ("10-bit", 1, 0.2),
    ("420", 40, 3.0),
    ("odd-420", 40, 3.0),
    ("422", 40, 3.0),
    ("grid-420", 20, 2.5),
];

#[test]
fn pixels_are_libheifs() {
    let mut found = Vec::new();
    for (name, most, mean) in BOUNDS {
        let (ours, theirs) = (raw(&fixture(&format!("{name}.heic"))), golden(name));
        assert_eq!(
            (ours.width() as u32, ours.height() as u32),
            theirs.dimensions(),
            "{name}"
        );
        let (max, avg) = difference(ours.as_bytes().iter().copied(), theirs.as_raw());
        let luma =
            |p: &[u8]| (299 * u32::from(p[0]) + 587 * u32::from(p[1]) + 114 * u32::from(p[2]) + 500) / 1000;
        let lumas = |pixels: &[u8]| pixels.chunks_exact(3).map(|p| luma(p) as u8).collect::<Vec<_>>();
        let of_luma = difference(lumas(ours.as_bytes()).into_iter(), &lumas(theirs.as_raw())).1;
        let within = max <= most && avg <= mean && of_luma < 0.6;
        found.push((name, max, avg, of_luma, within));
    }
    assert!(found.iter().all(|f| f.4), "{found:#?}");
}

/// Where the committed corner of `iphone.heic` lies, upright: four tiles meet in it.
const CORNER: (usize, usize) = (344, 216);

#[test]
fn tiles_of_a_phone_meet_where_they_should() {
    let (ours, theirs) = (raw(&fixture("iphone.heic")), golden("iphone"));
    let (w, h) = theirs.dimensions();
    let part = (0..h as usize)
        .flat_map(|y| (0..w as usize).map(move |x| (x, y)))
        .flat_map(|(x, y)| ours.pixel(CORNER.0 + x, CORNER.1 + y));
    let (max, mean) = difference(part, theirs.as_raw());
    assert!(max <= 16 && mean <= 2.5, "{max} {mean}");
}

#[test]
fn a_phone_held_upright() {
    let photo = read(&fixture("iphone.heic")).unwrap();
    // EXIF says 6, and so does the container: it is turned once.
    assert_eq!((photo.image.width(), photo.image.height()), (756, 1008));
    assert_eq!(photo.orientation, 6);
    let gravity = photo.gravity.unwrap();
    assert_eq!(gravity.source, GravitySource::MakerNote);
    assert!((gravity.tilt_deg() - 30.0).abs() < 0.01, "{gravity:?}");
    assert!(gravity.roll_deg().abs() < 1e-6, "{gravity:?}");
    assert_eq!(codes(&photo.warnings), Vec::<&str>::new());
}

/// The container alone says how a picture is turned; EXIF repeats it, or is left over from before.
#[test]
fn exif_does_not_turn_a_heic() {
    let mut bytes = fixture("iphone.heic");
    let at = bytes.windows(4).position(|w| w == b"irot").unwrap();
    bytes[at..at + 4].copy_from_slice(b"free");
    let photo = read(&bytes).unwrap();
    assert_eq!((photo.image.width(), photo.orientation), (1008, 1));
}

#[test]
fn every_turn_and_mirror_is_applied() {
    for (i, places) in crate::QUADRANTS.into_iter().enumerate() {
        let photo = read(&fixture(&format!("turned-{}.heic", i + 1))).unwrap();
        assert_eq!(usize::from(photo.orientation), i + 1);
        let (w, h) = (photo.image.width(), photo.image.height());
        assert_eq!((w, h), if i < 4 { (96, 64) } else { (64, 96) });
        for (at, place) in [(1, 1), (3, 1), (1, 3), (3, 3)].into_iter().zip(places) {
            let got = photo.image.pixel(w * at.0 / 4, h * at.1 / 4);
            let near = got.iter().zip(CORNERS[place]).all(|(a, b)| a.abs_diff(b) < 12);
            assert!(near, "{} {at:?}: {got:?}", i + 1);
        }
    }
}

/// Display P3 to sRGB by its definition: the same curve, other primaries.
fn from_p3(pixel: [u8; 3]) -> [f64; 3] {
    const TO_SRGB: [[f64; 3]; 3] = [
        [1.2249, -0.2247, 0.0],
        [-0.0420, 1.0419, 0.0],
        [-0.0197, -0.0786, 1.0979],
    ];
    let linear = pixel.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    });
    TO_SRGB.map(|row| {
        let v: f64 = row.iter().zip(linear).map(|(m, v)| m * v).sum();
        let v = v.clamp(0.0, 1.0);
        255.0
            * if v <= 0.003_130_8 {
                12.92 * v
            } else {
                1.055 * v.powf(1.0 / 2.4) - 0.055
            }
    })
}

/// By a profile, as phones write it, and by code points.
#[test]
fn wide_colours_become_srgb() {
    for name in ["iphone.heic", "p3.heic"] {
        let bytes = fixture(name);
        let (stored, shown) = (raw(&bytes), read(&bytes).unwrap().image);
        let (mut moved, mut worst) = (0.0_f64, 0.0_f64);
        for y in (0..stored.height()).step_by(7) {
            for x in (0..stored.width()).step_by(7) {
                let want = from_p3(stored.pixel(x, y));
                for ((got, want), was) in shown.pixel(x, y).into_iter().zip(want).zip(stored.pixel(x, y)) {
                    worst = worst.max((f64::from(got) - want).abs());
                    moved = moved.max((f64::from(was) - want).abs());
                }
            }
        }
        assert!(worst < 3.0 && moved > 20.0, "{name}: {worst} of {moved}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    let warnings = |name: &str| codes(&read(&fixture(name)).unwrap().warnings).join(" ");
    assert!(warnings("alpha.heic").contains("alpha_dropped"));
    assert!(warnings("grey.heic").contains("grey_photo"));
    assert!(warnings("hlg.heic").contains("icc_ignored"));
    assert!(!warnings("444.heic").contains("icc"));
}

#[test]
fn cut_files_are_refused_and_trailers_are_not() {
    for name in ["iphone.heic", "420.heic", "grid-420.heic"] {
        let whole = fixture(name);
        let want = read(&whole).unwrap().image;
        for length in (1..20).map(|n| whole.len() * n / 20).chain([whole.len() - 1]) {
            let e = read(&whole[..length]).unwrap_err();
            let short = length < 200 && e.code == ErrorCode::ImageFormat;
            assert!(
                e.code == ErrorCode::ImageUnreadable || short,
                "{name} {length}: {e}"
            );
        }
        for tail in [
            b"\0\0\0".as_slice(),
            b"SEFHk\0\0\0\x03\0\0\0SEFT",
            b"\0\0\0\x10mpvd12345678",
        ] {
            assert_eq!(read(&[&whole, tail].concat()).unwrap().image, want, "{name}");
        }
    }
}

/// HEVC has no checksum, and its arithmetic coder gives a picture for most bytes. What is found is that a tile ends too
/// early, or too late.
#[test]
fn most_damage_is_found() {
    let whole = fixture("iphone.heic");
    let from = whole.windows(4).position(|w| w == b"mdat").unwrap() + 4;
    let mut random = 7_u64;
    let (mut tried, mut taken) = (0, 0);
    for length in [16, 64, 1000] {
        for step in 1..24 {
            let at = from + (whole.len() - from) * step / 24;
            let mut bytes = whole.clone();
            for b in bytes.iter_mut().skip(at).take(length) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *b = (random >> 24) as u8;
            }
            tried += 1;
            match read(&bytes) {
                Ok(_) => taken += 1,
                // A header of random bits may ask for what no photo uses.
                Err(e) => assert!(
                    [ErrorCode::ImageUnreadable, ErrorCode::ImageFormat].contains(&e.code),
                    "{e}"
                ),
            }
        }
    }
    assert!(taken <= 12, "{taken} of {tried}");
}

#[test]
fn other_containers_are_named() {
    let film = [
        b"\0\0\0\x14ftypisom\0\0\0\0mp42",
        b"\0\0\0\x10moov12345678".as_slice(),
    ]
    .concat();
    // A container whose pixels are coded in a third way.
    let mut other = fixture("420.heic");
    let infe = other.windows(4).position(|w| w == b"hvc1").unwrap();
    other[infe..infe + 4].copy_from_slice(b"vvc1");
    for (bytes, word) in [(other, "vvc1"), (film, "film")] {
        let e = read(&bytes).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageFormat, "{e}");
        assert!(e.message.contains(word), "{e}");
        assert!(e.next_step.is_some());
    }
}

#[test]
fn a_crop_to_nothing_is_refused() {
    let whole = fixture("444.heic");
    let at = whole.windows(4).position(|w| w == b"clap").unwrap() + 4;
    let Photo { image, .. } = read(&whole).unwrap();
    assert_eq!((image.width(), image.height()), (41, 67));
    for (field, value) in [(0, 0_u32), (0, 5000), (1, 0), (4, 5000), (5, 0), (2, 1)] {
        let mut bytes = whole.clone();
        bytes[at + 4 * field..][..4].copy_from_slice(&value.to_be_bytes());
        let e = read(&bytes).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageUnreadable, "{field}: {e}");
    }
}
