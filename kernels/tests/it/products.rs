//! All of these tests once more with the other ways to compute a product, and the error of every layer's shape.

use std::io::Write;
use std::process::Command;

use dragunov_kernels::reference::{self, ConvDims};
use dragunov_kernels::{ConvWeight, Epilogue, LinearWeight, Products, conv2d, linear};

use super::support::{flat, tensor, values};

const VARIABLE: &str = "DRAGUNOV_CPU_PRODUCTS";

/// Past the test harness, which keeps what passing tests print.
fn say(line: &str) {
    let mut past = std::io::stderr();
    past.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The first run is as the machine chooses; a process computes its products in one way.
#[test]
fn every_test_holds_for_the_other_products() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut modes = vec!["f32", "bf16x3-emulated", "bf16x6-emulated"];
    match Products::has_matrix_unit() {
        true => modes.extend(["bf16x3", "bf16x6"]),
        false => say(
            "NOT RUN: products by AMX, which this machine does not have or does not permit; emulated only",
        ),
    }
    for mode in modes {
        let run = Command::new(std::env::current_exe().unwrap())
            .env(VARIABLE, mode)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{mode}:\n{text}");
        assert!(text.contains("test result: ok"), "{mode}:\n{text}");
    }
}

#[test]
fn the_variable_chooses() {
    let wanted = match std::env::var(VARIABLE).unwrap_or_default().as_str() {
        "bf16x3" | "bf16x3-emulated" => Products::Bf16x3,
        "bf16x6" | "bf16x6-emulated" => Products::Bf16x6,
        "f32" => Products::F32,
        // The machine's.
        _ => Products::choose(None).unwrap(),
    };
    assert_eq!(Products::current(), wanted);
    // What is in force may be asked for again, anything else may not.
    let other = match wanted {
        Products::F32 | Products::Bf16x6 => Products::Bf16x3,
        Products::Bf16x3 => Products::F32,
    };
    assert!(Products::choose(Some(other)).is_err());
    assert_eq!(
        Products::choose(Some(wanted)).is_ok(),
        Products::has_matrix_unit() || wanted == Products::F32
    );
    assert_eq!(Products::choose(None).unwrap(), wanted);
}

/// The largest error over the largest value, and the error's norm over the norm.
#[track_caller]
fn holds(name: &str, found: &[f32], exact: &[f64]) {
    assert_eq!(found.len(), exact.len());
    let errors = || found.iter().zip(exact).map(|(&a, &b)| f64::from(a) - b);
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0., |m: f64, v| m.max(v.abs()));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let worst = largest(&mut errors()) / largest(&mut exact.iter().copied());
    let mean = norm(&mut errors()) / norm(&mut exact.iter().copied());
    let (most, usual) = match Products::current() {
        // A term's error has no preferred sign, so that a sum's is far below the bound of its terms.
        Products::Bf16x3 => (3e-5, 1e-5),
        Products::F32 | Products::Bf16x6 => (3e-6, 1e-6),
    };
    assert!(worst <= most, "{name}: largest error {worst:.1e}");
    assert!(mean <= usual, "{name}: error {mean:.1e} of the norm");
    assert!(mean > 0., "{name}: nothing was compared");
}

/// (name, in, out) of the linear layers of the published networks and of the bundled ones.
const LAYERS: [(&str, usize, usize); 22] = [
    ("sam_b_patch", 768, 768),
    ("sam_b_qkv", 768, 2304),
    ("sam_b_lin1", 768, 3072),
    ("sam_b_lin2", 3072, 768),
    ("sam_neck", 768, 256),
    ("sam_decoder_mlp", 256, 2048),
    ("sam_decoder_projection", 256, 128),
    ("sam_decoder_upscale", 256, 256),
    ("mobile_sam_mlp", 160, 640),
    ("dav2_s_qkv", 384, 1152),
    ("dav2_s_fc1", 384, 1536),
    ("dav2_l_fc2", 4096, 1024),
    ("qwen_vision_patch", 1176, 1280),
    ("qwen_vision_qkv", 1280, 3840),
    ("qwen_vision_down", 3420, 1280),
    ("qwen_vision_merger", 5120, 2048),
    ("qwen_3b_k", 2048, 256),
    ("qwen_3b_gate", 2048, 11008),
    ("qwen_3b_down", 11008, 2048),
    ("tiny_patch", 48, 48),
    ("tiny_qkv", 48, 144),
    ("tiny_mlp", 96, 384),
];

#[test]
fn every_linear_layer_is_as_exact_as_promised() {
    for (i, (name, k, n)) in LAYERS.into_iter().enumerate() {
        // More than are multiplied one by one where the weight lies as it was stored.
        let rows = if n * k > 1 << 21 { 9 } else { 53 };
        // Weights as large as those of trained layers, inputs as after a norm.
        let w: Vec<f32> = values(n * k, i as u64)
            .iter()
            .map(|v| v / (k as f32).sqrt())
            .collect();
        let x: Vec<f32> = values(rows * k, 99 + i as u64)
            .iter()
            .map(|v| 3. * v * v * v)
            .collect();
        let weight = LinearWeight::new(&tensor(&w, (n, k)));
        let y = linear(&tensor(&x, (rows, k)), &weight, Epilogue::default()).unwrap();
        holds(name, &flat(&y), &reference::matmul_nt(&x, &w, rows, n, k));
    }
}

/// (name, in, out, kernel, stride, padding) of convolutions, on maps of 9 x 7.
const CONVOLUTIONS: [(&str, usize, usize, usize, usize, usize); 7] = [
    ("sam_neck", 256, 256, 3, 1, 1),
    ("mobile_sam_stem", 32, 64, 3, 2, 1),
    ("mobile_sam_expand", 64, 256, 1, 1, 0),
    ("dav2_s_fusion", 64, 64, 3, 1, 1),
    ("dav2_s_head", 64, 32, 3, 1, 1),
    ("dav2_patches", 3, 384, 5, 5, 0),
    ("dav2_l_fusion", 256, 256, 3, 1, 1),
];

#[test]
fn every_convolution_is_as_exact_as_promised() {
    let (h, w) = (9, 7);
    for (i, (name, cin, cout, kernel, stride, padding)) in CONVOLUTIONS.into_iter().enumerate() {
        let k = cin * kernel * kernel;
        let weight: Vec<f32> = values(cout * k, i as u64)
            .iter()
            .map(|v| v / (k as f32).sqrt())
            .collect();
        let x = values(cin * h * w, 7 + i as u64);
        let arranged = ConvWeight::new(&tensor(&weight, (cout, cin, kernel, kernel)), 1).unwrap();
        let pixels = tensor(&x, (1, h, w, cin));
        let y = conv2d(&pixels, &arranged, stride, padding, Epilogue::default()).unwrap();
        let dims = ConvDims {
            batch: 1,
            height: h,
            width: w,
            input: cin,
            output: cout,
            kernel: (kernel, kernel),
            stride,
            padding,
            groups: 1,
        };
        holds(name, &flat(&y), &reference::conv2d(dims, &x, &weight));
    }
}
