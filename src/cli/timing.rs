//! `--repeat`: how long a model takes once it is loaded and warm.

use std::time::Instant;

use candle_core::Device;

use crate::contract::ScanError;

/// Runs `work` `repeat` times and gives the median in milliseconds; nothing for 0 times.
///
/// The caller has run it once before, so kernels are loaded and memory is mapped. A GPU is waited for.
///
/// # Errors
/// Those of `work` and of the device.
pub(super) fn median_ms<T>(
    repeat: usize,
    device: &Device,
    mut work: impl FnMut() -> Result<T, dragunov_models::ModelError>,
) -> Result<Option<f64>, ScanError> {
    let finished = || device.synchronize().map_err(dragunov_models::ModelError::from);
    let mut times = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        finished()?;
        let begun = Instant::now();
        // The result lives until the device is done: freeing it is not part of the work.
        let result = work()?;
        finished()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(result);
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied())
}

/// `name 12.3 ms, name 4.5 ms`, as the commands print it.
pub(super) fn line(timings: &[(&str, Option<f64>)]) -> Option<String> {
    let shown: Vec<String> = timings
        .iter()
        .filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms:.2} ms")))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}
