//! HEIC: pixels, turns, colours and metadata of what phones write, and containers that lie.

use std::time::{Duration, Instant};

use dragunov::contract::{ErrorCode, GravitySource};
use dragunov::intake::Photo;

use crate::files::{CORNERS, difference, file_of, raw};
use crate::{codes, read};

fn fixture(name: &str) -> Vec<u8> {
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

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), &body].concat()
}

/// A container of hand-made tables. Item 1 is a grid of `columns` x `rows` tiles, all of them item 2; its pixels are those
/// of a real still.
struct Container {
    columns: u8,
    rows: u8,
    size: (u16, u16),
    tile: (u32, u32),
    /// What the grid refers to.
    tiles: Vec<u16>,
    more_items: Vec<u8>,
    more_properties: Vec<u8>,
    /// How often the pixels of item 2 stand in its data.
    copies: usize,
    /// Pieces that its data are said to lie in.
    pieces: u16,
}

impl Default for Container {
    fn default() -> Self {
        Self {
            columns: 2,
            rows: 1,
            size: (180, 66),
            tile: (90, 66),
            tiles: vec![2, 2],
            more_items: Vec::new(),
            more_properties: Vec::new(),
            copies: 1,
            pieces: 1,
        }
    }
}

impl Container {
    fn file(&self) -> Vec<u8> {
        let still = fixture("420.heic");
        let find = |kind: &[u8; 4]| {
            let at = still.windows(4).position(|w| w == kind).unwrap() - 4;
            let size = u32::from_be_bytes(still[at..at + 4].try_into().unwrap()) as usize;
            &still[at..at + size]
        };
        let pixels = find(b"mdat")[8..].repeat(self.copies);
        let ispe = |w: u32, h: u32| boxed(b"ispe", &[&[0; 4], &w.to_be_bytes(), &h.to_be_bytes()]);
        let item = |id: u8, kind: &[u8; 4]| boxed(b"infe", &[&[2, 0, 0, 0, 0, id, 0, 0], kind, &[0]]);
        let grid = [
            [0, 0, self.rows - 1, self.columns - 1].as_slice(),
            &self.size.0.to_be_bytes(),
            &self.size.1.to_be_bytes(),
        ]
        .concat();
        let ftyp = boxed(b"ftyp", &[b"heic\0\0\0\0mif1heic"]);
        let tiles: Vec<u8> = self.tiles.iter().flat_map(|id| id.to_be_bytes()).collect();
        let meta = |pixels_at: u32| {
            let piece = pixels.len() as u32 / u32::from(self.pieces);
            let pieces: Vec<u8> = (0..u32::from(self.pieces))
                .flat_map(|i| [pixels_at + i * piece, piece])
                .flat_map(u32::to_be_bytes)
                .collect();
            let places = [
                [1, 0, 0, 0, 0x44, 0, 0, 2].as_slice(),
                &[0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
                &(grid.len() as u32).to_be_bytes(),
                &[0, 2, 0, 0, 0, 0],
                &self.pieces.to_be_bytes(),
                &pieces,
            ]
            .concat();
            let properties = [
                ispe(u32::from(self.size.0), u32::from(self.size.1)),
                ispe(self.tile.0, self.tile.1),
                find(b"hvcC").to_vec(),
                self.more_properties.clone(),
            ]
            .concat();
            boxed(
                b"meta",
                &[
                    &[0; 4],
                    &boxed(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]),
                    &boxed(b"pitm", &[&[0, 0, 0, 0, 0, 1]]),
                    &boxed(
                        b"iinf",
                        &[
                            &[0, 0, 0, 0, 0, 2],
                            &item(1, b"grid"),
                            &item(2, b"hvc1"),
                            &self.more_items,
                        ],
                    ),
                    &boxed(b"iloc", &[&places]),
                    &boxed(
                        b"iref",
                        &[
                            &[0; 4],
                            &boxed(
                                b"dimg",
                                &[&[0, 1], &(self.tiles.len() as u16).to_be_bytes(), &tiles],
                            ),
                        ],
                    ),
                    &boxed(
                        b"iprp",
                        &[
                            &boxed(b"ipco", &[&properties]),
                            &boxed(
                                b"ipma",
                                &[&[0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 1, 0, 2, 2, 2, 0x83]],
                            ),
                        ],
                    ),
                    &boxed(b"idat", &[&grid]),
                ],
            )
        };
        let before = ftyp.len() + meta(0).len() + 8;
        [ftyp, meta(before as u32), boxed(b"mdat", &[&pixels])].concat()
    }
}

fn many<T: Copy>(n: usize, one: &[T]) -> Vec<T> {
    one.repeat(n)
}

#[test]
fn containers_that_lie_are_refused_before_a_pixel_is_decoded() {
    let photo = read(&Container::default().file()).unwrap();
    assert_eq!((photo.image.width(), photo.image.height()), (180, 66));
    let infe = boxed(b"infe", &[&[2, 0, 0, 0, 0, 9, 0, 0], b"hvc1", &[0]]);
    let all = |columns: u8, rows: u8, size, tile| Container {
        columns,
        rows,
        size,
        tile,
        tiles: vec![2; usize::from(columns) * usize::from(rows)],
        ..Container::default()
    };
    let cases = [
        (
            "a picture of 4 gigapixels",
            all(2, 1, (65_535, 65_535), (32_768, 65_535)),
            ErrorCode::ImageTooLarge,
        ),
        (
            "60,000 tiles",
            all(255, 235, (60_000, 60_000), (256, 256)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "1,000 tiles of 8,192 pixels a side",
            all(40, 25, (7000, 7000), (8192, 8192)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "one item as 900 tiles",
            all(30, 30, (2700, 1980), (90, 66)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "tiles that state more than is coded",
            all(1, 1, (180, 132), (180, 132)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "a small part of a huge tile",
            all(1, 1, (90, 66), (60_000, 60_000)),
            ErrorCode::ImageTooLarge,
        ),
        (
            "tiles that state less than is coded",
            all(2, 1, (64, 32), (32, 32)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "a grid of itself",
            Container {
                tiles: vec![1, 1],
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "tiles that are not there",
            Container {
                tiles: vec![7, 8],
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "60,000 items",
            Container {
                more_items: many(60_000, &infe),
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "50,000 properties",
            Container {
                more_properties: many(50_000, &boxed(b"irot", &[&[0]])),
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "20 MB of properties",
            Container {
                more_properties: boxed(b"colr", &[b"prof", &vec![0; 20 << 20]]),
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "the same pixels 2,000 times over",
            Container {
                copies: 2000,
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "pixels in 1,000 pieces",
            Container {
                pieces: 1000,
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
    ];
    for (what, container, code) in cases {
        let bytes = container.file();
        let begun = Instant::now();
        let e = read(&bytes).err().unwrap_or_else(|| panic!("{what} is taken"));
        assert_eq!(e.code, code, "{what}: {e}");
        // A second is a hundred times what the slowest needs, and nothing to what they ask for.
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{what}: {:?}",
            begun.elapsed()
        );
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
