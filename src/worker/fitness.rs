//! Is this machine fit to work? Asked once, before the first job is taken; names and limits are the official ones.

use std::path::Path;
use std::time::Duration;

use dragunov_models::device::DeviceChoice;
use rustix::fs::statvfs;

use crate::runtime::memory::{self, Gpu};

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    /// `_memory_check`, ...
    pub check: &'static str,
    pub message: String,
}

impl Unfit {
    fn new(check: &'static str, message: String) -> Self {
        Self { check, message }
    }
}

/// Limits, from the environment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitness {
    pub skip: bool,
    pub skip_gpu: bool,
    pub min_cuda: (u32, u32),
    pub min_memory_gb: f64,
    pub min_disk_percent: f64,
    pub network_timeout: Duration,
}

impl Fitness {
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str, default: f64| {
            get(name)
                .and_then(|v| v.trim().parse::<f64>().ok())
                .filter(|n| n.is_finite() && *n >= 0.0)
                .unwrap_or(default)
        };
        let yes = |name: &str| get(name).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        Self {
            skip_gpu: yes("RUNPOD_SKIP_GPU_CHECK"),
            min_cuda: get("RUNPOD_MIN_CUDA_VERSION")
                .and_then(|v| memory::parse_version(&v))
                .unwrap_or((11, 8))
                .max(DeviceChoice::NEEDED_CUDA.unwrap_or_default()),
            skip: yes("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS"),
            min_memory_gb: number("RUNPOD_MIN_MEMORY_GB", 4.0),
            min_disk_percent: number("RUNPOD_MIN_DISK_PERCENT", 10.0),
            network_timeout: Duration::from_secs_f64(
                number("RUNPOD_NETWORK_CHECK_TIMEOUT", 5.0).clamp(0.1, 60.0),
            ),
        }
    }

    /// Runs every check, in the official order; `gpu` is the one the models are to run on, `host` the platform's, which
    /// a worker must reach (a fixed outside address may be closed to it for good reasons). That kernels run and fit is
    /// seen by the engine's own warm-up, which comes next.
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn check(&self, gpu: Option<usize>, host: Option<&(String, u16)>) -> Result<(), Unfit> {
        if self.skip {
            tracing::info!("fitness checks skipped");
            return Ok(());
        }
        let begun = std::time::Instant::now();
        let gpu = gpu.filter(|_| !self.skip_gpu);
        if let Some(ordinal) = gpu {
            let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
            gpu_health(memory::gpus().as_deref(), ordinal, visible.as_deref())?;
        }
        self.memory(memory::available())?;
        self.disk(free_share(Path::new("/")))?;
        if let Some((name, port)) = host {
            self.network(name, *port).await?;
        }
        if gpu.is_some() {
            self.cuda_version(memory::driver_cuda())?;
        }
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        tracing::info!("All fitness checks passed. ({ms:.2}ms)");
        Ok(())
    }

    /// The platform may itself be starting: a refused connection is tried again until the time is over.
    async fn network(&self, name: &str, port: u16) -> Result<(), Unfit> {
        let mut failure = "no answer".to_owned();
        let connected = async {
            loop {
                match tokio::net::TcpStream::connect((name, port)).await {
                    Ok(_) => return,
                    Err(e) => failure = e.to_string(),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let in_time = tokio::time::timeout(self.network_timeout, connected).await;
        in_time.map_err(|_| {
            let message = format!(
                "no connection to {name}:{port} within {:?}: {failure}",
                self.network_timeout
            );
            Unfit::new("_network_check", message)
        })
    }

    fn memory(&self, available: Option<u64>) -> Result<(), Unfit> {
        let Some(bytes) = available else {
            return Ok(());
        };
        let gb = bytes as f64 / f64::from(1 << 30);
        if gb < self.min_memory_gb {
            let message = format!(
                "Insufficient memory: {gb:.2}GB available, {}GB required",
                self.min_memory_gb
            );
            return Err(Unfit::new("_memory_check", message));
        }
        Ok(())
    }

    /// A driver that does not tell passes.
    fn cuda_version(&self, found: Option<(u32, u32)>) -> Result<(), Unfit> {
        let (major, minor) = self.min_cuda;
        match found {
            Some(version) if version < self.min_cuda => Err(Unfit::new(
                "_cuda_version_check",
                format!(
                    "CUDA {}.{} found, {major}.{minor} or newer required",
                    version.0, version.1
                ),
            )),
            Some(_) => Ok(()),
            None => {
                tracing::warn!("the driver's CUDA version cannot be determined");
                Ok(())
            }
        }
    }

    fn disk(&self, free: Option<f64>) -> Result<(), Unfit> {
        match free {
            Some(percent) if percent < self.min_disk_percent => Err(Unfit::new(
                "_disk_check",
                format!(
                    "Insufficient disk space: {percent:.1}% free, {}% required",
                    self.min_disk_percent
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// The GPU is there and answers.
fn gpu_health(gpus: Option<&[Gpu]>, ordinal: usize, visible: Option<&str>) -> Result<(), Unfit> {
    let unfit = |why: String| Err(Unfit::new("_gpu_health_check", why));
    let Some(gpus) = gpus else {
        return unfit("nvidia-smi does not answer: no GPU, or no driver in this container".into());
    };
    match memory::visible_gpu(gpus, ordinal, visible) {
        Some(gpu) => {
            tracing::info!(name = gpu.name, total_mib = gpu.total_bytes >> 20, "GPU");
            Ok(())
        }
        None => unfit(format!(
            "cuda:{ordinal} is not among the {} GPU(s) visible",
            gpus.len()
        )),
    }
}

/// Per cent of the file system's blocks that are free for us.
pub fn free_share(path: &Path) -> Option<f64> {
    let stat = statvfs(path).ok()?;
    (stat.f_blocks > 0).then(|| 100.0 * stat.f_bavail as f64 / stat.f_blocks as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_come_from_the_official_variables() {
        let strict = Fitness::read(|n| (n == "RUNPOD_MIN_MEMORY_GB").then(|| "99999".into()));
        let unfit = strict.memory(memory::available()).unwrap_err();
        assert_eq!(unfit.check, "_memory_check");
        assert!(unfit.message.starts_with("Insufficient memory:"), "{unfit}");
        let usual = Fitness::read(|_| None);
        assert!(usual.memory(Some(8 << 30)).is_ok());
        assert_eq!(usual.disk(Some(3.0)).unwrap_err().check, "_disk_check");
        assert!(usual.disk(None).is_ok());
        assert_eq!(
            usual.cuda_version(Some((11, 7))).unwrap_err().check,
            "_cuda_version_check"
        );
        let needed = DeviceChoice::NEEDED_CUDA.unwrap_or((11, 8));
        assert!(usual.cuda_version(Some(needed)).is_ok() && usual.cuda_version(None).is_ok());
        assert_eq!(
            usual.min_cuda, needed,
            "what this binary's kernels need, whatever is asked for"
        );
    }

    #[test]
    fn a_gpu_that_is_not_there_is_unfit() {
        let gpu = Gpu {
            index: 0,
            uuid: "GPU-1".into(),
            name: "H100".into(),
            used_bytes: 0,
            total_bytes: 80 << 30,
        };
        assert!(gpu_health(Some(std::slice::from_ref(&gpu)), 0, None).is_ok());
        for (gpus, visible) in [
            (None, None),
            (Some([].as_slice()), None),
            (Some([gpu.clone()].as_slice()), Some("-1")),
        ] {
            assert_eq!(
                gpu_health(gpus, 0, visible).unwrap_err().check,
                "_gpu_health_check"
            );
        }
    }
}
