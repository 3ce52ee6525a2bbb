//! Files that are damaged, and files that are only untidy: the first are refused, the second are read as if tidy.

use std::io::Write;

use dragunov::contract::ErrorCode;
use dragunov::intake::decode::{DecodeLimits, decode};
use image::{DynamicImage, ImageFormat};

use crate::files::{CORNERS, F35, FOCAL_LENGTH, ORIENTATION, V, encode, jpeg, quadrants, tiff, with_exif};
use crate::{codes, read};

fn fixture(name: &str) -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny/damage");
    std::fs::read(format!("{dir}/{name}")).unwrap()
}

fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut x = seed | 1;
    std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 24) as u8
    })
}

/// Where the coded pixels of a file begin; everything behind is them.
fn pixels_from(name: &str, bytes: &[u8]) -> usize {
    if name.ends_with(".jpg") {
        bytes.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap() + 14
    } else {
        40
    }
}

/// Of 48 damages of one file, those that may pass. JPEG and lossless WebP have no checksum: zeros and noise are code words
/// too, so that a few wiped bytes can decode into as many pixels as were there, and restart markers mend what follows.
const MAX_UNSEEN: [(&str, usize); 5] = [
    ("baseline.jpg", 6),
    ("restarts.jpg", 12),
    ("progressive.jpg", 3),
    ("lossy.webp", 0),
    ("lossless.webp", 16),
];

/// Bytes wiped or overwritten in the middle of the pixels: what a decoder makes of the rest is no photo.
#[test]
fn damaged_pixels_are_refused() {
    for (name, unseen) in MAX_UNSEEN {
        let whole = fixture(name);
        read(&whole).unwrap_or_else(|e| panic!("{name}: {e}"));
        let from = pixels_from(name, &whole);
        let (mut tried, mut taken) = (0, Vec::new());
        for length in [64, 100, 1000] {
            for tenth in 1..9 {
                let at = from + (whole.len() - from) * tenth / 10;
                let end = (at + length).min(whole.len() - 40);
                let mut zeros = whole.clone();
                zeros[at..end].fill(0);
                let mut random = whole.clone();
                let bytes = noise((at * length) as u64).filter(|b| *b != 0xFF);
                random[at..end].iter_mut().zip(bytes).for_each(|(to, b)| *to = b);
                for (how, bytes) in [("zeros", zeros), ("noise", random)] {
                    tried += 1;
                    match read(&bytes) {
                        Ok(_) => taken.push(format!("{how} {at}..{end}")),
                        Err(e) => assert_eq!(e.code, ErrorCode::ImageUnreadable, "{name} {how} {at}"),
                    }
                }
            }
        }
        assert_eq!(tried, 48);
        assert!(taken.len() <= unseen, "{name}: {taken:?} of {tried}");
    }
}

/// A PNG says of each chunk what it must sum up to: no damage of header, palette or pixels is too small to be seen.
#[test]
fn every_damaged_bit_of_a_png_is_refused() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny/jpeg");
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/photo");
    for path in [
        format!("{dir}/rgb16.png"),
        format!("{corpus}/palette.png"),
        format!("{corpus}/rgb.png"),
    ] {
        let whole = std::fs::read(&path).unwrap();
        let limits = DecodeLimits {
            min_side: 1,
            refuse_blank: false,
            ..DecodeLimits::default()
        };
        let read = |bytes: &[u8]| decode(bytes, &limits).map(|d| d.image);
        assert!(read(&whole).is_ok(), "{path}");
        let mut at = 8;
        while at < whole.len() {
            let length = u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
            let critical =
                [b"IHDR", b"PLTE", b"tRNS", b"IDAT"].contains(&whole[at + 4..at + 8].try_into().unwrap());
            for place in (at + 8..at + 12 + length).filter(|_| critical) {
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << (place % 8);
                assert!(read(&bytes).is_err(), "{path} {place}");
            }
            at += 12 + length;
        }
    }
}

/// A file that was cut before its last rows stays refused.
#[test]
fn cut_files_are_refused() {
    for name in [
        "baseline.jpg",
        "restarts.jpg",
        "progressive.jpg",
        "lossy.webp",
        "lossless.webp",
    ] {
        let whole = fixture(name);
        for tenth in 2..10 {
            let e = read(&whole[..whole.len() * tenth / 10]).unwrap_err();
            assert_eq!(e.code, ErrorCode::ImageUnreadable, "{name} {tenth}");
        }
        let e = read(&whole[..whole.len() - 100]).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageUnreadable, "{name}");
    }
}

#[test]
fn a_missing_end_mark_is_no_damage() {
    let trailer = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1554112345678SEFHj\0\0\0SEFT".as_slice();
    for name in ["baseline.jpg", "restarts.jpg", "progressive.jpg"] {
        let whole = fixture(name);
        let want = read(&whole).unwrap().image;
        let open = &whole[..whole.len() - 2];
        for tail in [
            b"".as_slice(),
            trailer,
            &jpeg(&quadrants(64, 48)),
            b"\xFF\xFF\x01padding",
        ] {
            let photo = read(&[open, tail].concat()).unwrap_or_else(|e| panic!("{name} {tail:?}: {e}"));
            assert_eq!(photo.image, want, "{name}");
        }
        // A trailer behind the end mark never mattered.
        assert_eq!(read(&[&whole, trailer].concat()).unwrap().image, want);
    }
    let png = encode(&DynamicImage::ImageRgb8(quadrants(96, 64)), ImageFormat::Png);
    let want = read(&png).unwrap().image;
    for cut in [12, 8, 13, 15] {
        assert_eq!(read(&png[..png.len() - cut]).unwrap().image, want, "cut by {cut}");
    }
    assert!(read(&png[..png.len() - 60]).is_err());
}

#[test]
fn stray_bytes_between_segments_are_passed_over() {
    let whole = fixture("baseline.jpg");
    let want = read(&whole).unwrap().image;
    let table = whole.windows(2).position(|w| w == [0xFF, 0xDB]).unwrap();
    for stray in [b"\0\0\0\0".as_slice(), b"stray", b"\xFF\xFF\xFF", b"\0\xFF\0"] {
        let untidy = [&whole[..table], stray, &whole[table..]].concat();
        assert_eq!(read(&untidy).unwrap().image, want, "{stray:?}");
    }
}

#[test]
fn rare_codings_are_named() {
    let whole = fixture("baseline.jpg");
    let sof = whole.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    for (marker, precision, word) in [
        (0xC9, 8, "arithmetic"),
        (0xCA, 8, "arithmetic"),
        (0xC3, 8, "lossless"),
        (0xC1, 12, "12 bits"),
        (0xC2, 12, "12 bits"),
    ] {
        let mut rare = whole.clone();
        rare[sof + 1] = marker;
        rare[sof + 4] = precision;
        let e = read(&rare).unwrap_err();
        assert_eq!(e.code, ErrorCode::ImageFormat, "{e}");
        assert!(e.message.contains(word), "{e}");
    }
}

/// The colours of a stored picture of four quadrants, turned as orientation 6 asks for.
fn is_turned(photo: &dragunov::intake::Photo) -> bool {
    let (w, h) = (photo.image.width(), photo.image.height());
    let top_left = photo.image.pixel(w / 4, h / 4);
    h > w && top_left.iter().zip(CORNERS[2]).all(|(a, b)| a.abs_diff(b) < 10)
}

const PACKET: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>"#;

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = ((body.len() + 2) as u16).to_be_bytes();
    [&[0xFF, marker], &length[..], body].concat()
}

#[test]
fn xmp_turns_a_photo_that_exif_does_not() {
    let plain = jpeg(&quadrants(128, 64));
    let xmp = segment(
        0xE1,
        &[b"http://ns.adobe.com/xap/1.0/\0", PACKET.as_bytes()].concat(),
    );
    let with_xmp = [&plain[..2], &xmp, &plain[2..]].concat();
    let photo = read(&with_xmp).unwrap();
    assert!(is_turned(&photo) && photo.orientation == 6);
    // EXIF that says nothing of it leaves it to XMP; EXIF that does has the word.
    assert!(is_turned(
        &read(&with_exif(&with_xmp, &tiff(&[], &[(F35, V::Short(26))]))).unwrap()
    ));
    let upright = read(&with_exif(&with_xmp, &tiff(&[(ORIENTATION, V::Short(1))], &[]))).unwrap();
    assert_eq!(upright.orientation, 1);
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length, kind.as_slice(), data, &crc.sum().to_be_bytes()].concat()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

/// ImageMagick's raw profile of a block.
fn raw_profile(name: &str, block: &[u8]) -> Vec<u8> {
    let hex: Vec<String> = block.iter().map(|b| format!("{b:02x}")).collect();
    let lines: Vec<String> = hex.chunks(36).map(|line| line.concat()).collect();
    format!("\n{name}\n{:8}\n{}\n", block.len(), lines.join("\n")).into_bytes()
}

#[test]
fn metadata_of_a_png_are_found_wherever_programs_put_them() {
    let plain = encode(&DynamicImage::ImageRgb8(quadrants(128, 64)), ImageFormat::Png);
    let with = |chunk: &[u8]| [&plain[..33], chunk, &plain[33..]].concat();
    let block = tiff(
        &[(ORIENTATION, V::Short(6))],
        &[(FOCAL_LENGTH, V::Ratio(425, 100)), (F35, V::Short(26))],
    );
    let exif = [b"Exif\0\0", block.as_slice()].concat();
    let text = |key: &str, value: &[u8]| [key.as_bytes(), b"\0", value].concat();
    let packed = |key: &str, value: &[u8]| [key.as_bytes(), b"\0\0", &deflated(value)].concat();
    for (what, chunk, focal) in [
        ("eXIf", chunk(b"eXIf", &block), true),
        (
            "tEXt exif",
            chunk(
                b"tEXt",
                &text("Raw profile type exif", &raw_profile("exif", &exif)),
            ),
            true,
        ),
        (
            "zTXt exif",
            chunk(
                b"zTXt",
                &packed("Raw profile type exif", &raw_profile("exif", &exif)),
            ),
            true,
        ),
        (
            "zTXt APP1",
            chunk(
                b"zTXt",
                &packed("Raw profile type APP1", &raw_profile("app1", &exif)),
            ),
            true,
        ),
        (
            "iTXt XMP",
            chunk(
                b"iTXt",
                &text("XML:com.adobe.xmp", &[b"\0\0\0\0", PACKET.as_bytes()].concat()),
            ),
            false,
        ),
        (
            "packed XMP",
            chunk(
                b"iTXt",
                &text(
                    "XML:com.adobe.xmp",
                    &[b"\x01\0\0\0", &deflated(PACKET.as_bytes())[..]].concat(),
                ),
            ),
            false,
        ),
        (
            "raw XMP",
            chunk(
                b"zTXt",
                &packed("Raw profile type xmp", &raw_profile("xmp", PACKET.as_bytes())),
            ),
            false,
        ),
    ] {
        let photo = read(&with(&chunk)).unwrap();
        assert!(is_turned(&photo), "{what}");
        let default = codes(&photo.warnings).contains(&"fov_default");
        assert_eq!(default, !focal, "{what}: the focal length");
    }
    // Behind the pixels browsers do not see how a photo is to be turned; the rest of EXIF is of use.
    let end = plain.len() - 12;
    let late = [&plain[..end], &chunk(b"eXIf", &block), &plain[end..]].concat();
    let photo = read(&late).unwrap();
    assert_eq!((photo.orientation, photo.image.width()), (1, 128));
    assert!(!codes(&photo.warnings).contains(&"fov_default"));
}
