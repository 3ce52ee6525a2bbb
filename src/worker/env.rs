//! The worker's environment, read once.

use std::time::Duration;

use secrecy::SecretString;

use super::Urls;

/// What the platform set.
#[derive(Debug, Clone)]
pub struct WorkerEnv {
    pub urls: Urls,
    pub key: Option<SecretString>,
    pub worker_id: String,
    /// False where the id was made up here; the platform then wants no pings.
    pub id_given: bool,
    pub hostname: String,
    pub endpoint_id: Option<String>,
    pub ping_interval: Duration,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    #[error("{name}={value:?}: {why}")]
    Bad {
        name: &'static str,
        value: String,
        why: &'static str,
    },
}

impl WorkerEnv {
    /// `None` where there is no take address: the worker then runs one local job. An empty variable counts as unset.
    ///
    /// # Errors
    /// The variable that cannot be used.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, EnvError> {
        let get = |name: &str| get(name).filter(|v| !v.trim().is_empty());
        let Some(take) = get("RUNPOD_WEBHOOK_GET_JOB") else {
            return Ok(None);
        };
        if !take.starts_with("http://") && !take.starts_with("https://") {
            return Err(EnvError::Bad {
                name: "RUNPOD_WEBHOOK_GET_JOB",
                value: take,
                why: "not an http address",
            });
        }
        let given = get("RUNPOD_POD_ID");
        let id_given = given.is_some();
        let worker_id = given.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        // Under one second would be a denial of service against the platform.
        let ping_ms = get("RUNPOD_PING_INTERVAL")
            .and_then(|v| v.trim().parse::<u64>().ok())
            .unwrap_or(10_000)
            .max(1_000);
        Ok(Some(Self {
            urls: Urls::new(
                &take,
                get("RUNPOD_WEBHOOK_POST_OUTPUT").as_deref(),
                get("RUNPOD_WEBHOOK_POST_STREAM").as_deref(),
                get("RUNPOD_WEBHOOK_PING").as_deref(),
                &worker_id,
                get("RUNPOD_GPU_TYPE_ID").as_deref().unwrap_or(""),
            ),
            key: get("RUNPOD_AI_API_KEY").map(SecretString::from),
            worker_id,
            id_given,
            hostname: get("RUNPOD_POD_HOSTNAME").unwrap_or_else(|| "unknown".into()),
            endpoint_id: get("RUNPOD_ENDPOINT_ID"),
            ping_interval: Duration::from_millis(ping_ms),
        }))
    }
}

/// The log filter that `RUNPOD_LOG_LEVEL` (or its older name) asks for; INFO if neither is set.
///
/// # Errors
/// A level there is no such.
pub fn log_filter(get: impl Fn(&str) -> Option<String>) -> Result<&'static str, EnvError> {
    let set = ["RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL"]
        .into_iter()
        .find_map(|name| get(name).filter(|v| !v.is_empty()).map(|v| (name, v)));
    let Some((name, value)) = set else {
        return Ok("info");
    };
    match value.to_ascii_uppercase().as_str() {
        "NOTSET" | "0" => Ok("off"),
        "TRACE" | "1" => Ok("dragunov=trace,info"),
        "DEBUG" | "2" => Ok("dragunov=debug,info"),
        "INFO" | "3" => Ok("info"),
        "WARN" | "4" => Ok("warn"),
        "ERROR" | "5" => Ok("error"),
        _ => Err(EnvError::Bad {
            name,
            value,
            why: "use NOTSET, TRACE, DEBUG, INFO, WARN or ERROR",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<WorkerEnv>, EnvError> {
        WorkerEnv::read(|name| {
            pairs
                .iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    const TAKE: (&str, &str) = ("RUNPOD_WEBHOOK_GET_JOB", "http://h/job-take/$ID");

    /// A9, A5, A7.
    #[test]
    fn odd_environments() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("RUNPOD_WEBHOOK_GET_JOB", "")]).unwrap().is_none());
        assert!(read(&[("RUNPOD_WEBHOOK_GET_JOB", "JOB_URL")]).is_err());
        let bare = read(&[TAKE]).unwrap().unwrap();
        assert!(!bare.id_given && bare.worker_id.len() == 36);
        assert!(bare.urls.take(1, false).contains(&bare.worker_id));
        let hasty = read(&[TAKE, ("RUNPOD_PING_INTERVAL", "100")]).unwrap().unwrap();
        assert_eq!(hasty.ping_interval, Duration::from_secs(1));
    }

    /// I6.
    #[test]
    fn log_levels() {
        let level = |v: &str| log_filter(|n| (n == "RUNPOD_LOG_LEVEL").then(|| v.to_owned()));
        assert_eq!(level("error").unwrap(), "error");
        assert!(level("bogus").unwrap_err().to_string().contains("bogus"));
        assert_eq!(log_filter(|_| None).unwrap(), "info");
    }
}
