//! Photos decode to Pillow's bytes: what differs here differs in every mask and depth after it.

use candle_core::{Device, Tensor};
use dragunov::intake::decode::{DecodeLimits, decode};

use crate::compare::{Stages, fixture, tolerance};
use crate::golden::Golden;

fn lenient() -> DecodeLimits {
    DecodeLimits {
        min_side: 1,
        refuse_blank: false,
        apply_profile: false,
        clip_deep_grey: true,
        ..DecodeLimits::default()
    }
}

#[test]
fn photos_decode_to_pillows_bytes() {
    let golden = Golden::open("jpeg/golden.safetensors");
    let mut stages = Stages::default();
    let names = golden.names("");
    assert_eq!(names.len(), 21);
    for name in names {
        let bytes = std::fs::read(fixture("jpeg").join(name)).unwrap();
        let image = decode(&bytes, &lenient()).unwrap().image;
        let size = (image.height(), image.width(), 3);
        let got = Tensor::from_vec(image.into_bytes(), size, &Device::Cpu).unwrap();
        stages.check(name, &got, golden.get(name), tolerance::EXACT);
    }
    stages.finish();
}

/// Every cut and every flipped byte ends in a picture of the stated size or a coded error, never in a panic.
#[test]
fn damaged_jpegs_do_no_harm() {
    for name in ["420-restart", "progressive-420", "grey", "cmyk", "ycck-420"] {
        let bytes = std::fs::read(fixture("jpeg").join(format!("{name}.jpg"))).unwrap();
        for cut in (0..bytes.len()).step_by(7) {
            let _ = decode(&bytes[..cut], &lenient());
        }
        for at in (0..bytes.len()).step_by(3) {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x5A;
            if let Ok(decoded) = decode(&wrong, &lenient()) {
                assert!(decoded.image.width() * decoded.image.height() <= 50_000_000);
            }
        }
    }
}
