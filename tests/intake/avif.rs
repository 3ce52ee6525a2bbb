//! AVIF: the same containers as HEIC's with AV1 pixels, as browsers and newer phones write them.

use dragunov::contract::{ErrorCode, GravitySource};

use crate::files::{CORNERS, difference, file_of, raw};
use crate::{codes, read};

fn fixture(name: &str) -> Vec<u8> {
    file_of("avif", name)
}

/// Fixture, largest and mean difference from what libavif decodes. Where each pixel has its own colour only rounding differs;
/// halved colours are widened in another way (as of a HEIC), which shows in noise as coarse as here.
const BOUNDS: [(&str, u8, f64); 8] = [
    ("lossless", 1, 0.1),
    ("444", 1, 0.1),
    ("444-limited", 1, 0.1),
    ("alpha", 1, 0.1),
    ("grey", 0, 0.0),
    ("420", 20, 2.0),
    ("odd-420", 20, 2.0),
    ("422", 20, 2.0),
];

#[test]
fn pixels_are_libavifs() {
    let mut found = Vec::new();
    for (name, most, mean) in BOUNDS {
        let ours = raw(&fixture(&format!("{name}.avif")));
        let theirs = image::load_from_memory(&fixture(&format!("{name}.png")))
            .unwrap()
            .into_rgb8();
        assert_eq!(
            (ours.width() as u32, ours.height() as u32),
            theirs.dimensions(),
            "{name}"
        );
        let (max, avg) = difference(ours.as_bytes().iter().copied(), theirs.as_raw());
        found.push((name, max, avg, max <= most && avg <= mean));
    }
    assert!(found.iter().all(|f| f.3), "{found:#?}");
}

#[test]
fn every_turn_and_mirror_is_applied() {
    for (i, places) in crate::QUADRANTS.into_iter().enumerate() {
        let photo = read(&fixture(&format!("turned-{}.avif", i + 1))).unwrap();
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

#[test]
fn a_phone_held_upright() {
    let bytes = fixture("phone.avif");
    let photo = read(&bytes).unwrap();
    assert_eq!((photo.image.width(), photo.image.height()), (252, 336));
    assert_eq!(photo.orientation, 6);
    let gravity = photo.gravity.unwrap();
    assert_eq!(gravity.source, GravitySource::MakerNote);
    assert!((gravity.tilt_deg() - 30.0).abs() < 0.01, "{gravity:?}");
    assert_eq!(codes(&photo.warnings), Vec::<&str>::new());
    // Display P3 is converted.
    let moved = raw(&bytes)
        .as_bytes()
        .iter()
        .zip(photo.image.as_bytes())
        .filter(|(a, b)| a.abs_diff(**b) > 8)
        .count();
    assert!(moved > 1000, "{moved}");
}

#[test]
fn tiles_films_and_what_is_left_out() {
    let tiled = read(&fixture("tiled.avif")).unwrap().image;
    assert_eq!((tiled.width(), tiled.height()), (768, 512));
    // Of a film the still that stands for it counts.
    let film = read(&fixture("film.avif")).unwrap().image;
    assert_eq!((film.width(), film.height()), (64, 48));
    let warnings = |name: &str| codes(&read(&fixture(name)).unwrap().warnings).join(" ");
    assert!(warnings("alpha.avif").contains("alpha_dropped"));
    assert!(warnings("grey.avif").contains("grey_photo"));
}

#[test]
fn cut_files_are_refused() {
    for name in ["420.avif", "phone.avif", "lossless.avif"] {
        let whole = fixture(name);
        for length in (1..20).map(|n| whole.len() * n / 20).chain([whole.len() - 1]) {
            let e = read(&whole[..length]).unwrap_err();
            let known = [ErrorCode::ImageUnreadable, ErrorCode::ImageFormat].contains(&e.code);
            assert!(known, "{name} {length}: {e}");
        }
    }
}

/// Where the coded pixels begin: behind the head of `mdat`.
fn pixels_at(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|w| w == b"mdat").unwrap() + 4
}

/// A decoder of other people: no bytes may end the program, or take long.
#[test]
fn damaged_pixels_are_an_error_or_a_picture() {
    let mut random = 11_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let (mut tried, mut refused) = (0, 0);
    for name in [
        "420.avif",
        "422.avif",
        "grey.avif",
        "444.avif",
        "tiled.avif",
        "film.avif",
    ] {
        let whole = fixture(name);
        let from = pixels_at(&whole);
        for _ in 0..ROUNDS {
            let mut bytes = whole.clone();
            for _ in 0..=next() % 4 {
                let (at, value) = (from + next() % (whole.len() - from), next() as u8);
                match next() % 4 {
                    0 => bytes[at] ^= 1 << (value % 8),
                    1 => bytes[at..].iter_mut().take(8).for_each(|b| *b = value),
                    // The headers stand at the beginning.
                    2 => bytes[from + next() % 24.min(whole.len() - from)] = value,
                    _ => bytes[at] = value,
                }
            }
            tried += 1;
            if let Err(e) = read(&bytes) {
                let known = [
                    ErrorCode::ImageUnreadable,
                    ErrorCode::ImageFormat,
                    ErrorCode::ImageTooLarge,
                    ErrorCode::ImageBlank,
                ];
                assert!(known.contains(&e.code), "{name}: {e}");
                refused += 1;
            }
        }
    }
    assert!(refused * 4 > tried, "{refused} of {tried}");
}

/// Of each fixture.
const ROUNDS: usize = 40;

/// One still whose data say the same frame 2,000 times, and one whose frame is larger than its container states.
#[test]
fn more_pixels_than_stated_are_refused() {
    let whole = fixture("420.avif");
    let ispe = whole.windows(4).position(|w| w == b"ispe").unwrap() + 8;
    for (side, value) in [(0, 40_u32), (4, 40)] {
        let mut bytes = whole.clone();
        bytes[ispe + side..][..4].copy_from_slice(&value.to_be_bytes());
        let e = read(&bytes).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageUnreadable, "{e}");
    }
    let mut bytes = whole.clone();
    bytes[ispe..][..8].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
    assert_eq!(read(&bytes).unwrap_err().code, ErrorCode::ImageTooLarge);
}
