//! The heartbeat, on an OS thread with a runtime of its own: neither a busy executor nor a long GPU call stops it.

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::inflight::Inflight;
use super::urls::query_escape;
use super::{Urls, WorkerEnv, wire};
use crate::runpod::version;

/// Pings until dropped.
#[derive(Debug)]
pub struct Pinger(CancellationToken);

impl Drop for Pinger {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Pinger {
    /// Starts pinging, the first one at once. `None` where the platform gave no address, key or id.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(env: &WorkerEnv, jobs: Inflight) -> std::io::Result<Option<Self>> {
        let (Some(key), true) = (env.key.clone(), env.id_given && env.urls.ping("").is_some()) else {
            tracing::warn!("no pings: the ping address, RUNPOD_POD_ID or RUNPOD_AI_API_KEY is not set");
            return Ok(None);
        };
        let stop = CancellationToken::new();
        let (urls, interval, until) = (env.urls.clone(), env.ping_interval, stop.clone());
        std::thread::Builder::new()
            .name("ping".into())
            .spawn(move || run(&urls, &key, interval, &jobs, &until))?;
        Ok(Some(Self(stop)))
    }
}

fn run(urls: &Urls, key: &SecretString, interval: Duration, jobs: &Inflight, stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = wire::client(Some(key), interval.min(Duration::from_secs(5)));
    let (runtime, client) = match (runtime, client) {
        (Ok(runtime), Ok(client)) => (runtime, client),
        (runtime, client) => {
            tracing::error!("pings cannot be sent: {:?} {:?}", runtime.err(), client.err());
            return;
        }
    };
    runtime.block_on(async {
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            let list = jobs.list();
            let mut params = String::new();
            if !list.is_empty() {
                params = format!("job_id={}&", query_escape(&list));
            }
            params += &format!("runpod_version={}", query_escape(&version()));
            let Some(url) = urls.ping(&params) else {
                return;
            };
            tokio::select! {
                // Two tries within two intervals, so that a platform that hangs does not silence the next ping.
                () = attempts(&client, &url, interval) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

async fn attempts(client: &reqwest::Client, url: &str, interval: Duration) {
    for attempt in 1..=2 {
        let failure = match client.get(url).timeout(interval).send().await {
            Ok(response) => match response.status().as_u16() {
                429 | 500.. => format!("HTTP {}", response.status().as_u16()),
                _ => return,
            },
            Err(error) => error.without_url().to_string(),
        };
        tracing::warn!(attempt, "ping not taken: {failure}");
        if attempt == 1 {
            tokio::time::sleep(interval / 8).await;
        }
    }
}

/// One report that this worker cannot work; its fate does not matter.
pub async fn unhealthy(env: &WorkerEnv, check: &str, reason: &str, limit: Duration) {
    let Some(key) = env.key.as_ref().filter(|_| env.id_given) else {
        return;
    };
    let short: String = reason.chars().take(256).collect();
    let params = format!(
        "status=unhealthy&check={}&reason={}&runpod_version={}",
        query_escape(check),
        query_escape(&short),
        query_escape(&version())
    );
    if let (Some(url), Ok(client)) = (env.urls.ping(&params), wire::client(Some(key), limit))
        && let Err(error) = client.get(url).timeout(limit).send().await
    {
        tracing::warn!("the unhealthy report was not delivered: {}", error.without_url());
    }
}
