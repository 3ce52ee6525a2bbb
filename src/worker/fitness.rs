//! Is this machine fit to work? Asked once, before the first job is taken; names and limits are the official ones.

use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;

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
        Self {
            skip: get("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS").is_some_and(|v| v.eq_ignore_ascii_case("true")),
            min_memory_gb: number("RUNPOD_MIN_MEMORY_GB", 4.0),
            min_disk_percent: number("RUNPOD_MIN_DISK_PERCENT", 10.0),
            network_timeout: Duration::from_secs_f64(
                number("RUNPOD_NETWORK_CHECK_TIMEOUT", 5.0).clamp(0.1, 60.0),
            ),
        }
    }

    /// Runs every check; `host` is the platform's, which a worker must reach (a fixed outside address may be closed to
    /// it for good reasons).
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn check(&self, host: Option<&(String, u16)>) -> Result<(), Unfit> {
        if self.skip {
            tracing::info!("fitness checks skipped");
            return Ok(());
        }
        let begun = std::time::Instant::now();
        self.memory(available_memory())?;
        self.disk(free_share(Path::new("/")))?;
        if let Some((name, port)) = host {
            let connect = tokio::net::TcpStream::connect((name.as_str(), *port));
            let message = match tokio::time::timeout(self.network_timeout, connect).await {
                Ok(Ok(_)) => None,
                Ok(Err(e)) => Some(format!("cannot connect to {name}:{port}: {e}")),
                Err(_) => Some(format!(
                    "no connection to {name}:{port} within {:?}",
                    self.network_timeout
                )),
            };
            if let Some(message) = message {
                return Err(Unfit::new("_network_check", message));
            }
        }
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        tracing::info!("All fitness checks passed. ({ms:.2}ms)");
        Ok(())
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

/// Bytes that can be had without swapping; none where the system does not tell.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
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
        let unfit = strict.memory(available_memory()).unwrap_err();
        assert_eq!(unfit.check, "_memory_check");
        assert!(unfit.message.starts_with("Insufficient memory:"), "{unfit}");
        let usual = Fitness::read(|_| None);
        assert!(usual.memory(Some(8 << 30)).is_ok());
        assert_eq!(usual.disk(Some(3.0)).unwrap_err().check, "_disk_check");
        assert!(usual.disk(None).is_ok());
    }
}
