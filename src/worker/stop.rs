//! The channel on which the platform names jobs to stop: cancelled, expired or timed out.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Timings;
use super::inflight::Inflight;
use super::timing::Backoff;
use super::wire::Wire;

/// Listens until `end`. A stopped job posts nothing.
pub async fn listen(wire: Wire, jobs: Inflight, timings: Timings, end: CancellationToken) {
    let Some(url) = wire.urls.stop() else {
        tracing::warn!(
            "the take address has no /job-take/: single jobs cannot be stopped, and are taken one by one"
        );
        return;
    };
    let mut backoff = Backoff::new(timings.stop_pause, timings.backoff_max.max(timings.stop_pause));
    loop {
        let pause = tokio::select! {
            pause = poll(&wire, &url, &jobs, timings, &mut backoff) => pause,
            () = end.cancelled() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = end.cancelled() => return,
        }
    }
}

async fn poll(
    wire: &Wire,
    url: &str,
    jobs: &Inflight,
    timings: Timings,
    backoff: &mut Backoff,
) -> std::time::Duration {
    let response = match wire.get(url).send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => return timings.stop_pause,
        Err(error) => {
            tracing::debug!("stop channel: {}", error.without_url());
            return backoff.wait();
        }
    };
    match response.status().as_u16() {
        200 => {
            backoff.reset();
            let body = response.bytes().await.unwrap_or_default();
            for id in named(&body) {
                jobs.stop(&id);
            }
            // Also after a name: a channel that repeats itself would be asked without end.
            timings.stop_pause
        }
        204 => {
            backoff.reset();
            timings.stop_pause
        }
        429 => timings.busy_pause,
        404 => timings.stop_absent,
        status => {
            tracing::debug!(status, "stop channel");
            backoff.wait()
        }
    }
}

/// The ids of `{"jobsToStop": [...]}`; anything else names nobody.
fn named(body: &[u8]) -> Vec<String> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let ids = value.get("jobsToStop").and_then(Value::as_array);
    ids.into_iter()
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F3.
    #[test]
    fn only_text_ids_in_the_right_place_count() {
        assert_eq!(named(br#"{"jobsToStop":["a",5,"b",null]}"#), ["a", "b"]);
        for odd in ["", "[]", "<html>", r#"{"jobsToStop":"a"}"#, r#"["a"]"#, "{}"] {
            assert!(named(odd.as_bytes()).is_empty(), "{odd}");
        }
    }
}
