//! The worker's environment, read once.

use std::time::Duration;

use secrecy::SecretString;

use super::Urls;
use crate::contract::quote::said;
use crate::runpod::WorkerIdentity;

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
    /// Why no job can be taken and answered.
    fault: Option<EnvError>,
}

/// A variable that cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    #[error("{name}={:?}: {why}", said(.value))]
    Bad {
        name: &'static str,
        value: String,
        why: &'static str,
    },
    #[error("{0} is not set: results would have nowhere to go")]
    Missing(&'static str),
}

impl WorkerEnv {
    /// `None` where there is no take address: the worker then runs one local job. An empty variable counts as unset.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let take = get("RUNPOD_WEBHOOK_GET_JOB")?;
        let done = get("RUNPOD_WEBHOOK_POST_OUTPUT");
        let fault = address("RUNPOD_WEBHOOK_GET_JOB", Some(&take))
            .and_then(|()| address("RUNPOD_WEBHOOK_POST_OUTPUT", done.as_deref()))
            .err();
        let given = get("RUNPOD_POD_ID");
        let id_given = given.is_some();
        let worker_id = given.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        // Under one second would be a denial of service against the platform.
        let ping_ms = get("RUNPOD_PING_INTERVAL")
            .and_then(|v| v.trim().parse::<u64>().ok())
            .unwrap_or(10_000)
            .max(1_000);
        Some(Self {
            urls: Urls::new(
                &take,
                done.as_deref(),
                get("RUNPOD_WEBHOOK_POST_STREAM")
                    .filter(|v| is_http(v))
                    .as_deref(),
                get("RUNPOD_WEBHOOK_PING").filter(|v| is_http(v)).as_deref(),
                &worker_id,
                get("RUNPOD_GPU_TYPE_ID").as_deref().unwrap_or(""),
            ),
            key: get("RUNPOD_AI_API_KEY").map(SecretString::from),
            worker_id,
            id_given,
            hostname: get("RUNPOD_POD_HOSTNAME").unwrap_or_else(|| "unknown".into()),
            endpoint_id: get("RUNPOD_ENDPOINT_ID"),
            ping_interval: Duration::from_millis(ping_ms),
            fault,
        })
    }

    /// # Errors
    /// Why no job can be taken and answered.
    pub fn check(&self) -> Result<(), EnvError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Who this worker says it is.
    pub fn identity(&self) -> WorkerIdentity {
        WorkerIdentity {
            hostname: self.hostname.clone(),
            ..WorkerIdentity::new(self.worker_id.clone())
        }
    }
}

fn is_http(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn address(name: &'static str, value: Option<&str>) -> Result<(), EnvError> {
    match value {
        None => Err(EnvError::Missing(name)),
        Some(value) if is_http(value) => Ok(()),
        Some(value) => Err(EnvError::Bad {
            name,
            value: value.to_owned(),
            why: "not an http address",
        }),
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

    fn read(pairs: &[(&str, &str)]) -> Option<WorkerEnv> {
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
        assert!(read(&[]).is_none());
        assert!(read(&[("RUNPOD_WEBHOOK_GET_JOB", "")]).is_none());
        let bare = read(&[TAKE]).unwrap();
        assert!(!bare.id_given && bare.worker_id.len() == 36);
        assert!(bare.urls.take(1, false).contains(&bare.worker_id));
        let hasty = read(&[TAKE, ("RUNPOD_PING_INTERVAL", "100")]).unwrap();
        assert_eq!(hasty.ping_interval, Duration::from_secs(1));
    }

    #[test]
    fn a_worker_must_be_able_to_take_and_to_answer() {
        let check = |take: &str, done: &str| {
            let pairs = [
                ("RUNPOD_WEBHOOK_GET_JOB", take),
                ("RUNPOD_WEBHOOK_POST_OUTPUT", done),
            ];
            read(&pairs).unwrap().check()
        };
        assert_eq!(check(TAKE.1, "http://h/job-done/$ID"), Ok(()));
        assert_eq!(
            check(TAKE.1, " "),
            Err(EnvError::Missing("RUNPOD_WEBHOOK_POST_OUTPUT"))
        );
        for (take, done) in [
            ("JOB_URL", "http://h/x"),
            (TAKE.1, "JOB_DONE_URL"),
            (TAKE.1, "ftp://h/x"),
        ] {
            assert!(
                matches!(check(take, done), Err(EnvError::Bad { .. })),
                "{take} {done}"
            );
        }
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
