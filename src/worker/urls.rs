//! The platform's address templates.

use url::form_urlencoded;

/// Addresses of one worker; `done` and `stream` still hold `$ID` for the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    take: String,
    done: Option<String>,
    stream: Option<String>,
    ping: Option<String>,
}

impl Urls {
    /// Fills in what is the same for every job. `$ID` is the worker in `take` and `ping`, the job in the others.
    pub fn new(
        take: &str,
        done: Option<&str>,
        stream: Option<&str>,
        ping: Option<&str>,
        worker: &str,
        gpu: &str,
    ) -> Self {
        let common = |template: &str| {
            template
                .replace("$RUNPOD_POD_ID", &path_escape(worker))
                .replace("$RUNPOD_GPU_TYPE_ID", &query_escape(gpu))
        };
        let of_worker = |template: &str| common(template).replace("$ID", &path_escape(worker));
        Self {
            take: of_worker(take),
            done: done.map(common),
            stream: stream.map(common),
            ping: ping.map(of_worker),
        }
    }

    /// One job, or a batch of `n`. A template without `/job-take/` has no batch form.
    pub fn take(&self, n: usize, busy: bool) -> String {
        let busy = u8::from(busy);
        match self.batch() {
            Some(batch) if n > 1 => with_params(&batch, &format!("batch_size={n}&job_in_progress={busy}")),
            _ => with_params(&self.take, &format!("job_in_progress={busy}")),
        }
    }

    pub fn has_batch(&self) -> bool {
        self.take.contains("/job-take/")
    }

    fn batch(&self) -> Option<String> {
        self.has_batch()
            .then(|| self.take.replacen("/job-take/", "/job-take-batch/", 1))
    }

    /// The channel that names jobs to stop.
    pub fn stop(&self) -> Option<String> {
        self.has_batch()
            .then(|| self.take.replacen("/job-take/", "/job-stop/", 1))
    }

    pub fn done(&self, job: &str, is_stream: bool) -> Option<String> {
        self.done
            .as_deref()
            .map(|template| of_job(template, job, is_stream))
    }

    pub fn stream(&self, job: &str) -> Option<String> {
        self.stream
            .as_deref()
            .map(|template| of_job(template, job, false))
    }

    pub fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    pub fn ping(&self, params: &str) -> Option<String> {
        self.ping.as_deref().map(|url| with_params(url, params))
    }

    /// Scheme, host and port of the platform.
    pub fn host(&self) -> Option<(String, u16)> {
        let url = url::Url::parse(&self.take).ok()?;
        Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
    }
}

fn of_job(template: &str, job: &str, is_stream: bool) -> String {
    with_params(
        &template.replace("$ID", &path_escape(job)),
        &format!("isStream={is_stream}"),
    )
}

/// Appends to the query, or begins one; what is there stays byte for byte.
fn with_params(url: &str, params: &str) -> String {
    let by = if url.contains('?') { '&' } else { '?' };
    format!("{url}{by}{params}")
}

pub(super) fn query_escape(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Everything but RFC 3986's unreserved characters as %XX.
fn path_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn urls(take: &str) -> Urls {
        let done = "http://h/v2/e/job-done/$RUNPOD_POD_ID/$ID?gpu=$RUNPOD_GPU_TYPE_ID";
        Urls::new(
            take,
            Some(done),
            None,
            Some("http://h/ping/$RUNPOD_POD_ID"),
            "pod",
            "NVIDIA A100",
        )
    }

    /// A1: the query that is there arrives unchanged.
    #[test]
    fn a_query_is_extended() {
        let u = urls("http://h/v2/e/job-take/$ID?gpu=NVIDIA+RTX");
        assert_eq!(
            u.take(1, false),
            "http://h/v2/e/job-take/pod?gpu=NVIDIA+RTX&job_in_progress=0"
        );
        assert_eq!(
            u.take(3, true),
            "http://h/v2/e/job-take-batch/pod?gpu=NVIDIA+RTX&batch_size=3&job_in_progress=1"
        );
        assert_eq!(u.stop().unwrap(), "http://h/v2/e/job-stop/pod?gpu=NVIDIA+RTX");
    }

    /// A2: the Hub's template has no query.
    #[test]
    fn a_query_is_begun() {
        let u = urls("http://0.0.0.0:80/v2/IDE/job-take/$RUNPOD_POD_ID");
        assert_eq!(
            u.take(1, false),
            "http://0.0.0.0:80/v2/IDE/job-take/pod?job_in_progress=0"
        );
        assert_eq!(u.ping("x=1").unwrap(), "http://h/ping/pod?x=1");
    }

    /// A3: every placeholder, encoded for its place.
    #[test]
    fn jobs_and_gpus_are_encoded() {
        let u = urls("http://h/job-take/$ID");
        assert_eq!(
            u.done("a/b c", true).unwrap(),
            "http://h/v2/e/job-done/pod/a%2Fb%20c?gpu=NVIDIA+A100&isStream=true"
        );
    }

    /// A8: an address of another shape has neither batch nor stop channel.
    #[test]
    fn other_shapes_are_taken_one_by_one() {
        let u = urls("http://h/next?w=$ID");
        assert!(u.stop().is_none());
        assert_eq!(u.take(5, false), "http://h/next?w=pod&job_in_progress=0");
    }
}
