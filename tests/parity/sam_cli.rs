//! `dragunov segment` on a tiny checkpoint: its files hold what the reference computes.

use assert_cmd::Command;
use candle_core::{Device, Tensor};

use crate::compare::{Stages, fixture, tolerance};
use crate::golden::Golden;
use crate::sam::photo;

fn segment(args: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_dragunov"))
        .arg("segment")
        .args(args)
        .assert()
}

struct Npy {
    shape: Vec<u64>,
    values: Vec<f32>,
}

fn npy(path: &std::path::Path) -> Npy {
    let bytes = std::fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape = file.shape().to_vec();
    let values = match file.dtype().descr().as_str() {
        "'|b1'" => file
            .into_vec::<bool>()
            .unwrap()
            .into_iter()
            .map(|b| f32::from(u8::from(b)))
            .collect(),
        _ => file.into_vec::<f32>().unwrap(),
    };
    Npy { shape, values }
}

#[test]
fn files_agree_with_transformers() {
    let golden = Golden::open("sam/golden.safetensors");
    let image = photo(&golden);
    let (w, h) = (image.width(), image.height());
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("photo.png");
    image::save_buffer(
        &picture,
        image.as_bytes(),
        w as u32,
        h as u32,
        image::ColorType::Rgb8,
    )
    .unwrap();
    let checkpoint = fixture("sam");
    let out = dir.path().join("out");
    let run = |extra: &[&str]| {
        let mut args = vec!["--checkpoint", checkpoint.to_str().unwrap()];
        args.extend([
            "--image",
            picture.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        args.extend(extra);
        segment(&args)
    };
    for (set, extra) in [
        ("boxes", vec!["--box", "10,15,80,110", "--box", "0,0,97,123"]),
        ("point", vec!["--point", "48,61,1"]),
        (
            "box_points",
            vec![
                "--box",
                "10,15,80,110",
                "--point",
                "40,50,1",
                "--point",
                "12,18,0",
            ],
        ),
    ] {
        run(&extra).success();
        let want = golden.get(&format!("{set}/low_res"));
        let [p, m, side, _] = *want.dims() else {
            panic!("{:?}", want.dims())
        };
        let logits = npy(&out.join("logits.npy"));
        assert_eq!(logits.shape, [p * m, side, side].map(|n| n as u64));
        let got = Tensor::from_vec(logits.values, want.dims(), &Device::Cpu).unwrap();
        let mut stages = Stages::default();
        stages.check(set, &got, want, tolerance::OUTPUT);
        let iou: Vec<f32> = serde_json::from_slice(&std::fs::read(out.join("iou.json")).unwrap()).unwrap();
        let iou = Tensor::from_vec(iou, (p, m), &Device::Cpu).unwrap();
        stages.check(
            format!("{set} iou"),
            &iou,
            golden.get(&format!("{set}/iou")),
            tolerance::OUTPUT,
        );
        stages.finish();

        let masks = npy(&out.join("masks.npy"));
        assert_eq!(masks.shape, [p * m, h, w].map(|n| n as u64));
        let packed: Vec<u8> = golden
            .whole(&format!("{set}/mask"))
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let stride = (w * h).div_ceil(8);
        let differ = masks
            .values
            .iter()
            .enumerate()
            .filter(|&(i, v)| {
                let (mask, at) = (i / (w * h), i % (w * h));
                let want = packed[mask * stride + at / 8] >> (7 - at % 8) & 1;
                *v != f32::from(want)
            })
            .count();
        assert!(differ <= 2, "{set}: {differ} pixels differ");
    }
    run(&[
        "--auto",
        "--points-per-side",
        "2",
        "--pred-iou-thresh",
        "0",
        "--stability-score-thresh",
        "0",
    ])
    .success();
    let records: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("masks.json")).unwrap()).unwrap();
    let n = records.as_array().unwrap().len();
    assert!(n > 0 && npy(&out.join("masks.npy")).shape == [n as u64, h as u64, w as u64]);
}

#[test]
fn wrong_use_exits_with_2_and_says_why() {
    let golden = Golden::open("sam/golden.safetensors");
    let image = photo(&golden);
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("photo.png");
    let (w, h) = (image.width() as u32, image.height() as u32);
    image::save_buffer(&picture, image.as_bytes(), w, h, image::ColorType::Rgb8).unwrap();
    let checkpoint = fixture("sam");
    let base = [
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--image",
        picture.to_str().unwrap(),
        "--out",
    ];
    let out = dir.path().join("out");
    let run = |extra: &[&str]| {
        let mut args = base.to_vec();
        args.push(out.to_str().unwrap());
        args.extend(extra);
        segment(&args)
    };
    for (extra, says) in [
        (vec![], "--point"),
        (vec!["--point", "4,5"], "x,y,label"),
        (vec!["--point", "4,5,7"], "label"),
        (vec!["--box", "4,5,6"], "x0,y0,x1,y1"),
        (vec!["--box", "90,5,20,50"], "swapped"),
        (vec!["--point", "400,5,1"], "outside the image"),
        (vec!["--point", "4,5,1", "--device", "cuda:4096"], "cuda:4096"),
        (vec!["--point", "4,5,1", "--dtype", "f16"], "f16"),
    ] {
        let assert = run(&extra).failure();
        let output = assert.get_output();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{extra:?}: {text}");
        assert!(text.contains(says), "{extra:?}: {text}");
    }
}
