//! Lists the bundled checkpoint set so that `bundled.rs` can compile it in.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let root =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("checkpoints/plate-tiny");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut out = String::from("&[\n");
    for model in ["sam", "depth", "vlm"] {
        let dir = root.join(model);
        println!("cargo::rerun-if-changed={}", dir.display());
        let mut files: Vec<_> = fs::read_dir(&dir)
            .map(|entries| {
                entries
                    .flatten()
                    .map(|e| e.path())
                    .filter(|p| p.is_file())
                    .collect()
            })
            .unwrap_or_default();
        files.sort();
        writeln!(out, "    ({model:?}, &[").expect("writing to a string");
        for file in files {
            let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.ends_with(".md") {
                continue;
            }
            writeln!(
                out,
                "        ({name:?}, include_bytes!({:?}) as &[u8]),",
                file.display().to_string()
            )
            .expect("writing to a string");
        }
        out.push_str("    ]),\n");
    }
    out.push(']');
    let target = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("plate_tiny.rs");
    fs::write(target, out).expect("the build folder is writable");
}
