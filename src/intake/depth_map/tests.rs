#![allow(clippy::unwrap_used)]
use super::*;
use crate::contract::depth_map::DepthConfidence;
use crate::contract::request::ImageSource;
use crate::contract::{DepthFormat, ErrorCode};

const W: usize = 32;
const H: usize = 24;

/// A table that falls away toward the top of the raster, with a mound in the middle, metres.
fn metres() -> Vec<f32> {
    (0..W * H)
        .map(|i| {
            let (x, y) = (i % W, i / W);
            let mound = if (x as f32 - 16.0).hypot(y as f32 - 12.0) < 4.0 {
                0.03
            } else {
                0.0
            };
            0.5 - 0.005 * y as f32 - mound
        })
        .collect()
}

fn map(format: DepthFormat, unit: DepthMapUnit) -> DepthMap {
    DepthMap {
        data: ImageSource::Bytes(Vec::new()),
        format,
        width: Some(W),
        height: Some(H),
        unit,
        orientation: None,
        intrinsics: None,
        confidence: None,
        sigma_rel: None,
    }
}

fn input(map: DepthMap, data: Vec<u8>) -> DepthInput {
    DepthInput {
        map,
        data,
        confidence: None,
    }
}

/// The truth as it is given on: neighbours of one surface averaged.
fn smooth() -> Vec<f32> {
    let raster = Raster {
        width: W,
        height: H,
        values: metres(),
    };
    raster.smoothed(USUAL_SIGMA).values
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn metric() -> DepthInput {
    input(map(DepthFormat::F32, DepthMapUnit::Metres), f32s(&metres()))
}

fn png(values: &[u16], width: u32, height: u32) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, values.to_vec())
        .unwrap()
        .write_to(&mut out, image::ImageFormat::Png)
        .unwrap();
    out.into_inner()
}

/// Over a photo of four times the size and the orientation 1.
fn over(input: &DepthInput) -> Result<(Option<PhoneDepth>, Vec<WarningCode>), ScanError> {
    let mut warnings = Vec::new();
    let depth = match read(input, 1, &mut warnings)? {
        Some(map) => map.over_photo(4 * W, 4 * H, 100.0, &mut warnings)?,
        None => None,
    };
    Ok((depth, warnings.into_iter().map(|w| w.code).collect()))
}

#[test]
fn every_format_and_unit_gives_the_same_metres() {
    let (truth, given) = (metres(), smooth());
    let thousandths: Vec<u16> = truth.iter().map(|z| (1000.0 * z).round() as u16).collect();
    let raw: Vec<u8> = thousandths.iter().flat_map(|v| v.to_le_bytes()).collect();
    let halves: Vec<u8> = truth
        .iter()
        .flat_map(|z| half::f16::from_f32(*z).to_le_bytes())
        .collect();
    let disparity: Vec<f32> = truth.iter().map(|z| 1.0 / z).collect();
    let cases = [
        metric(),
        input(map(DepthFormat::F16, DepthMapUnit::Metres), halves),
        input(map(DepthFormat::U16, DepthMapUnit::Millimetres), raw),
        input(
            map(DepthFormat::Png16, DepthMapUnit::Millimetres),
            png(&thousandths, W as u32, H as u32),
        ),
        input(
            map(DepthFormat::F32, DepthMapUnit::InverseMetres),
            f32s(&disparity),
        ),
    ];
    for case in &cases {
        let (depth, warnings) = over(case).unwrap();
        let depth = depth.unwrap();
        assert!(warnings.is_empty() && (depth.metres.width(), depth.metres.height()) == (W, H));
        for (a, b) in depth.metres.values().iter().zip(&given) {
            assert!((a - b).abs() < 6e-4, "{:?}: {a} {b}", case.map.format);
        }
        assert_eq!(depth.sigma_rel, 0.01);
    }
}

/// What turns the photo upright turns the map and its camera.
#[test]
fn orientation_turns_map_and_intrinsics() {
    let k = Intrinsics {
        fx: 40.0,
        fy: 50.0,
        cx: 10.0,
        cy: 9.0,
        width: None,
        height: None,
    };
    for orientation in 1..=8u8 {
        let mut input = metric();
        input.map.orientation = Some(orientation);
        input.map.intrinsics = Some(k);
        let turned = read(&input, 1, &mut Vec::new()).unwrap().unwrap();
        // The pixel that the principal point is in has the same value before and after.
        let at = |w: usize, values: &[f32], x: f64, y: f64| values[y as usize * w + x as usize];
        let c = turned.camera.unwrap();
        let sign = |v: f64, flipped: bool| if flipped { v - 1e-9 } else { v };
        let (x, y) = (
            sign(c.cx, c.cx != 10.0 && c.cx != 9.0),
            sign(c.cy, c.cy != 10.0 && c.cy != 9.0),
        );
        let (found, was) = (
            at(turned.raster.width, &turned.raster.values, x, y),
            at(W, &smooth(), 10.0, 9.0),
        );
        assert!((found - was).abs() < 1e-6, "{orientation}: {found} {was}");
        let portrait = orientation >= 5;
        assert_eq!(
            (turned.raster.width, turned.raster.height),
            if portrait { (H, W) } else { (W, H) }
        );
        assert_eq!((c.fx, c.fy), if portrait { (50.0, 40.0) } else { (40.0, 50.0) });
    }
}

#[test]
fn intrinsics_tell_the_focal_length_and_lay_a_crop_over_the_map() {
    let mut wide = metric();
    wide.map.intrinsics = Some(Intrinsics {
        fx: 300.0,
        fy: 300.0,
        cx: 160.0,
        cy: 120.0,
        width: Some(320.0),
        height: Some(240.0),
    });
    let map = read(&wide, 1, &mut Vec::new()).unwrap().unwrap();
    let camera = map.camera_of(640, 480).unwrap();
    assert!((camera.focal_px - 600.0).abs() < 1e-9 && camera.source == FovSource::ClientDepth);
    // A 16:9 photo from the middle of the same view: the map's rows 3 to 21.
    assert!(map.camera_of(640, 360).is_none());
    let depth = map.over_photo(640, 360, 600.0, &mut Vec::new()).unwrap().unwrap();
    assert_eq!((depth.metres.width(), depth.metres.height()), (W, 18));
    for y in 0..18 {
        assert!(
            (depth.metres.at(3, y) - smooth()[(y + 3) * W + 3]).abs() < 1e-5,
            "{y}"
        );
    }
    wide.map.intrinsics = None;
    let error = read(&wide, 1, &mut Vec::new())
        .unwrap()
        .unwrap()
        .over_photo(640, 360, 600.0, &mut Vec::new())
        .unwrap_err();
    assert!(
        error.code == ErrorCode::InvalidField && error.message.contains("shape of the photo"),
        "{error}"
    );
}

/// Noise goes, a step over it stays, and a gap stays a gap.
#[test]
fn neighbours_of_one_surface_are_averaged() {
    let mut seed = 7u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 16_777_216.0 - 0.5
    };
    let step = |x: usize| if x < W / 2 { 0.40 } else { 0.34 };
    let values: Vec<f32> = (0..W * H)
        .map(|i| {
            if i == 5 * W + 9 {
                0.0
            } else {
                step(i % W) * (1.0 + 0.03 * noise())
            }
        })
        .collect();
    let raw = Raster {
        width: W,
        height: H,
        values,
    };
    let off = |raster: &Raster| {
        let squares = raster.values.iter().enumerate().filter(|(_, z)| **z > 0.0);
        let sum: f32 = squares.map(|(i, z)| (z / step(i % W) - 1.0).powi(2)).sum();
        (sum / (W * H) as f32).sqrt()
    };
    let smooth = raw.clone().smoothed(0.01);
    assert!(off(&smooth) < 0.4 * off(&raw), "{} {}", off(&smooth), off(&raw));
    assert_eq!(smooth.values[5 * W + 9], 0.0);
    assert!((smooth.values[10 * W + W / 2] - 0.34).abs() < 0.006);
}

#[test]
fn what_is_not_known_or_not_sure_is_left_out() {
    let mut values = metres();
    values[..W].fill(f32::NAN);
    values[W..2 * W].fill(-1.0);
    let (depth, _) = over(&input(map(DepthFormat::F32, DepthMapUnit::Metres), f32s(&values))).unwrap();
    assert!(depth.unwrap().metres.values()[..2 * W].iter().all(|v| *v == 0.0));

    let mut unsure = metric();
    unsure.map.confidence = Some(DepthConfidence {
        data: ImageSource::Bytes(Vec::new()),
        least: 1,
    });
    unsure.confidence = Some((0..W * H).map(|i| u8::from(i % W < W / 2)).collect());
    let (depth, warnings) = over(&unsure).unwrap();
    let depth = depth.unwrap();
    assert!(depth.metres.at(0, 5) > 0.0 && depth.metres.at(W - 1, 5) == 0.0);
    assert_eq!(warnings, [WarningCode::DepthMapSparse]);
}

#[test]
fn maps_that_cannot_be_of_a_meal_are_left_out_with_a_warning() {
    let mut unsure = metric();
    unsure.map.confidence = Some(DepthConfidence {
        data: ImageSource::Bytes(Vec::new()),
        least: 3,
    });
    unsure.confidence = Some(vec![2; W * H]);
    let of = |values: Vec<f32>, unit| input(map(DepthFormat::F32, unit), f32s(&values));
    for case in [
        of(vec![0.0; W * H], DepthMapUnit::Metres),
        of(vec![f32::NAN; W * H], DepthMapUnit::Metres),
        of(vec![f32::INFINITY; W * H], DepthMapUnit::InverseMetres),
        of(vec![0.4; W * H], DepthMapUnit::Metres),
        // Millimetres called metres, and metres called millimetres.
        of(
            metres().iter().map(|z| 1000.0 * z).collect(),
            DepthMapUnit::Metres,
        ),
        of(metres(), DepthMapUnit::Millimetres),
        unsure,
    ] {
        let (depth, warnings) = over(&case).unwrap();
        assert_eq!(
            (depth, &warnings[..]),
            (None, &[WarningCode::DepthMapIgnored][..])
        );
    }
}

#[test]
fn bytes_that_are_not_what_the_fields_say_are_refused_by_name() {
    let with = |change: &dyn Fn(&mut DepthInput)| {
        let mut case = metric();
        change(&mut case);
        case
    };
    let grey = png(&vec![500; W * H], W as u32, H as u32);
    let cases: Vec<(DepthInput, &str)> = vec![
        (with(&|c| c.data.truncate(7)), "depth.data"),
        (with(&|c| c.data.clear()), "depth.data"),
        (with(&|c| c.map.width = None), "depth.width"),
        (with(&|c| c.map.width = Some(8)), "depth.width"),
        (with(&|c| c.map.height = Some(1 << 30)), "depth.height"),
        (with(&|c| c.map.orientation = Some(9)), "depth.orientation"),
        (with(&|c| c.map.sigma_rel = Some(f64::NAN)), "depth.sigma_rel"),
        (with(&|c| c.map.format = DepthFormat::Png16), "depth.data"),
        (
            with(&|c| {
                c.map.intrinsics = Some(Intrinsics {
                    fx: 0.0,
                    fy: 1.0,
                    cx: 0.0,
                    cy: 0.0,
                    width: None,
                    height: None,
                });
            }),
            "depth.intrinsics",
        ),
        (
            with(&|c| {
                c.map.confidence = Some(DepthConfidence {
                    data: ImageSource::Bytes(Vec::new()),
                    least: 1,
                });
                c.confidence = Some(vec![2; 5]);
            }),
            "depth.confidence",
        ),
        (
            with(&|c| {
                c.map.format = DepthFormat::Png16;
                c.map.width = Some(W + 1);
                c.data.clone_from(&grey);
            }),
            "depth.width",
        ),
        (
            with(&|c| {
                c.map.format = DepthFormat::Png16;
                c.data = grey[..grey.len() / 2].to_vec();
            }),
            "depth.data",
        ),
        // Three channels, and a picture that is a bomb by its header.
        (
            with(&|c| {
                c.map.format = DepthFormat::Png16;
                let mut rgb = std::io::Cursor::new(Vec::new());
                image::RgbImage::new(W as u32, H as u32)
                    .write_to(&mut rgb, image::ImageFormat::Png)
                    .unwrap();
                c.data = rgb.into_inner();
            }),
            "grey",
        ),
        (
            with(&|c| {
                c.map.format = DepthFormat::Png16;
                c.data.clone_from(&grey);
                c.data[16..20].copy_from_slice(&60_000u32.to_be_bytes());
            }),
            "depth.data",
        ),
    ];
    for (case, names) in cases {
        let error = over(&case).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidField, "{error}");
        assert!(
            error.message.contains(names) && error.message.len() < 300,
            "{names}: {error}"
        );
    }
}
