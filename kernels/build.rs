//! Feature `cuda`: compiles `cu/*.cu`, each into one image with code for every architecture of [`ARCHITECTURES`].

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compute capabilities with code of their own. A GPU runs that of its major version with the highest minor one that is not
/// above its own (8.9 runs 8.6's); one newer than all of these compiles the last one's PTX when it loads a module.
const ARCHITECTURES: &[u32] = &[80, 86, 89, 90, 100, 120];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cu");
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    let nvcc = nvcc();
    let mut sources: Vec<PathBuf> = std::fs::read_dir("cu")
        .expect("cu/ is there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
        .collect();
    sources.sort();
    // One after the other would take a minute.
    let compilers: Vec<_> = sources
        .iter()
        .map(|source| {
            let target = out
                .join(source.file_stem().expect("a file"))
                .with_extension("fatbin");
            (source, command(&nvcc, source, &target).spawn())
        })
        .collect();
    for (source, started) in compilers {
        let ended = started.and_then(|mut child| child.wait());
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("{}: {} ended with {status}", source.display(), nvcc.display()),
            Err(error) => panic!(
                "feature `cuda` needs nvcc ({}: {error}); `eval \"$(scripts/cuda-toolkit.sh)\"` fetches one, CUDA_HOME or \
                 NVCC names yours",
                nvcc.display()
            ),
        }
    }
}

fn nvcc() -> PathBuf {
    if let Some(path) = env::var_os("NVCC") {
        return path.into();
    }
    ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(env::var_os)
        .map(|home| Path::new(&home).join("bin/nvcc"))
        .find(|path| path.exists())
        .unwrap_or_else(|| "nvcc".into())
}

fn command(nvcc: &Path, source: &Path, target: &Path) -> Command {
    let mut command = Command::new(nvcc);
    command.args(["-fatbin", "-O3", "-std=c++17", "-compress-mode=size", "-o"]);
    command.arg(target).arg(source);
    for capability in ARCHITECTURES {
        command.args([
            "-gencode",
            &format!("arch=compute_{capability},code=sm_{capability}"),
        ]);
    }
    let newest = ARCHITECTURES.last().expect("there is one");
    command.args([
        "-gencode",
        &format!("arch=compute_{newest},code=compute_{newest}"),
    ]);
    // Registers that do not fit are an error, not slow code.
    command.args(["-Xptxas", "-warn-spills,-Werror"]);
    command
}
