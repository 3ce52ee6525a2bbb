//! `--paired`: runs cases when told to, so that benches/paired.py can alternate them with PyTorch's.
//!
//! Lines on stdin are `load NAME` (answered by `ready`) and `run` (answered by milliseconds and the peak of the
//! process's memory since `load`, in MiB above what it held before).

use std::io::{BufRead, Write};
use std::time::Instant;

use crate::case::Case;

pub(crate) fn serve(cases: &[Case]) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let mut loaded = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match (line.split_once(' '), &mut loaded) {
            (Some(("load", name)), _) => {
                drop(loaded.take()); // two networks may not fit beside each other
                let before = memory_kib("VmRSS:");
                let case = cases.iter().find(|c| c.name == name);
                loaded = case.map(|case| (case.work(), before));
                writeln!(out, "{}", if loaded.is_some() { "ready" } else { "unknown" })?;
            }
            (None, Some((work, before))) if line == "run" => {
                let begun = Instant::now();
                let result = work();
                result.device().synchronize().map_err(std::io::Error::other)?;
                let ms = begun.elapsed().as_secs_f64() * 1e3;
                drop(result);
                let peak = memory_kib("VmHWM:").saturating_sub(*before) / 1024;
                writeln!(out, "{ms} {peak}")?;
            }
            _ => writeln!(out, "unknown")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// A field of Linux's account of this process; 0 elsewhere.
fn memory_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(field));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
