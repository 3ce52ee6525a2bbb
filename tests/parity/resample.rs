//! Each resize against the library that it reproduces.

use candle_core::{Device, Tensor};
use dragunov_models::RgbImage;
use dragunov_models::resample::{
    Filter, TorchResize, cv2_cubic, pil, resize_on_host, torch_planes, torchvision_u8,
};

use crate::compare::{Stages, tolerance};
use crate::golden::Golden;

const FILE: &str = "resample/golden.safetensors";
/// Sizes on either side of the rule by which Pillow 13 chooses its first pass.
const TALL: &str = "resample/tall.safetensors";

fn image(t: &Tensor) -> RgbImage {
    let (h, w, _) = t.dims3().unwrap();
    RgbImage::new(w, h, t.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

fn filter(name: &str) -> Filter {
    match name {
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        other => panic!("{other}"),
    }
}

/// `library/source/HxW/...` in parts.
fn parts(name: &str) -> (&str, usize, usize, Vec<&str>) {
    let mut parts = name.split('/').skip(1);
    let source = parts.next().unwrap();
    let (h, w) = parts.next().unwrap().split_once('x').unwrap();
    (source, h.parse().unwrap(), w.parse().unwrap(), parts.collect())
}

type ByteResize = fn(&RgbImage, usize, usize, Filter) -> dragunov_models::Result<RgbImage>;

fn bytes_agree(file: &str, library: &str, resize: ByteResize, at_least: usize) {
    let golden = Golden::open(file);
    let mut stages = Stages::default();
    let names = golden.names(library);
    assert!(names.len() >= at_least, "{} cases", names.len());
    for name in names {
        let (source, h, w, options) = parts(name);
        let source = image(golden.whole(&format!("source/{source}")));
        let out = resize(&source, w, h, filter(options[0])).unwrap();
        let out = Tensor::from_vec(out.into_bytes(), (h, w, 3), &Device::Cpu).unwrap();
        stages.check(name, &out, golden.get(name), tolerance::EXACT);
    }
    stages.finish();
}

#[test]
fn pil_agrees_with_pillow_byte_for_byte() {
    bytes_agree(FILE, "pil/", pil, 32);
    bytes_agree(TALL, "pil/", pil, 14);
}

#[test]
fn torchvision_u8_agrees_with_aten_byte_for_byte() {
    bytes_agree(FILE, "torchvision/", torchvision_u8, 28);
}

#[test]
fn pillow_and_aten_are_at_most_one_level_apart() {
    let golden = Golden::open(FILE);
    let source = image(golden.whole("source/photo"));
    let mut differ = 0;
    for (w, h) in [(98, 70), (40, 30), (11, 7), (200, 190)] {
        for kind in [Filter::Bilinear, Filter::Bicubic] {
            let (a, b) = (
                pil(&source, w, h, kind).unwrap(),
                torchvision_u8(&source, w, h, kind).unwrap(),
            );
            for (a, b) in a.as_bytes().iter().zip(b.as_bytes()) {
                assert!(a.abs_diff(*b) <= 1, "{kind:?} to {w} x {h}: {a} and {b}");
                differ += usize::from(a != b);
            }
        }
    }
    assert!(
        differ > 0,
        "the two are the same function here, so the exact tests prove less than they say"
    );
}

#[test]
fn torch_planes_agree_with_interpolate() {
    let golden = Golden::open(FILE);
    let planes = golden.whole("source/planes");
    let mut stages = Stages::default();
    for name in golden.names("torch/") {
        let (_, h, w, options) = parts(name);
        let base = match filter(options[0]) {
            Filter::Bilinear => TorchResize::bilinear(),
            Filter::Bicubic => TorchResize::bicubic(),
        };
        let resize = match options[1] {
            "corners0" => base,
            "corners1" => base.align_corners(true),
            "antialias" => base.antialias(),
            "factor" => base.scale_factor((h as f64 + 0.1) / 13.0, (w as f64 + 0.1) / 17.0),
            other => panic!("{other}"),
        };
        let out = resize_on_host(planes, h, w, &resize).unwrap();
        stages.check(name, &out, golden.get(name), tolerance::LAYER);
    }
    stages.finish();
}

#[test]
fn cv2_cubic_agrees_with_opencv() {
    let golden = Golden::open(FILE);
    let mut stages = Stages::default();
    for name in golden.names("cv2/") {
        let (source, h, w, _) = parts(name);
        let source = image(golden.whole(&format!("source/{source}")));
        let floats: Vec<f64> = source.as_bytes().iter().map(|&b| f64::from(b) / 255.0).collect();
        let out = cv2_cubic(&floats, (source.height(), source.width()), (h, w)).unwrap();
        let out = Tensor::from_vec(out, (h, w, 3), &Device::Cpu).unwrap();
        stages.check(name, &out, golden.get(name), 1e-12);
    }
    stages.finish();
}

#[test]
fn impossible_targets_are_refused() {
    let dot = RgbImage::new(1, 1, vec![1, 2, 3]).unwrap();
    for (w, h) in [(0, 5), (5, 0), (usize::MAX, 2)] {
        assert!(pil(&dot, w, h, Filter::Bicubic).is_err());
        assert!(torchvision_u8(&dot, w, h, Filter::Bilinear).is_err());
        assert!(cv2_cubic(&[0.0; 3], (1, 1), (h, w)).is_err());
        assert!(torch_planes(&[0.0], (1, 1), (h, w), &TorchResize::bilinear()).is_err());
    }
    assert!(torch_planes(&[0.0; 5], (2, 2), (4, 4), &TorchResize::bicubic()).is_err());
    assert!(torch_planes(&[], (0, 2), (4, 4), &TorchResize::bicubic()).is_err());
}
