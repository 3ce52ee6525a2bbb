//! Every metric this program exports, in one list. Prometheus units; no user id and no raw path is ever a label.

pub const REQUESTS: &str = "dragunov_requests_total";
pub const REQUEST_SECONDS: &str = "dragunov_request_duration_seconds";
pub const QUEUE_SIZE: &str = "dragunov_queue_size";
pub const QUEUE_SECONDS: &str = "dragunov_queue_duration_seconds";
pub const QUEUE_REFUSED: &str = "dragunov_queue_refused_total";
pub const FETCH_SECONDS: &str = "dragunov_fetch_seconds";
pub const DECODE_SECONDS: &str = "dragunov_decode_seconds";
pub const STAGE_SECONDS: &str = "dragunov_stage_seconds";
pub const INFERENCE_SECONDS: &str = "dragunov_inference_seconds";
pub const SCANS_BATCHED: &str = "dragunov_scans_batched_total";
pub const JOBS_ENDED: &str = "dragunov_jobs_ended_total";
pub const JOBS_SKIPPED: &str = "dragunov_jobs_skipped_total";
pub const JOBS_STORED: &str = "dragunov_jobs_stored";
pub const STORE_COMMIT_SECONDS: &str = "dragunov_store_commit_seconds";
pub const WEBHOOKS: &str = "dragunov_webhooks_total";
pub const MEMORY_USED: &str = "dragunov_device_memory_used_bytes";
pub const WORKER_TAKES: &str = "dragunov_worker_takes_total";
pub const WORKER_POSTS: &str = "dragunov_worker_posts_total";
pub const RESIDENT: &str = "process_resident_memory_bytes";
pub const BUILD_INFO: &str = "dragunov_build_info";

/// Name, kind and help text.
pub const ALL: &[(&str, Kind, &str)] = &[
    (
        REQUESTS,
        Kind::Counter,
        "HTTP requests by matched route and status code",
    ),
    (
        REQUEST_SECONDS,
        Kind::Histogram,
        "Time from a request's head to its answer's head, by matched route",
    ),
    (QUEUE_SIZE, Kind::Gauge, "Jobs waiting for the device"),
    (QUEUE_SECONDS, Kind::Histogram, "Time a job waited for the device"),
    (
        QUEUE_REFUSED,
        Kind::Counter,
        "Jobs refused because the queue was full",
    ),
    (FETCH_SECONDS, Kind::Histogram, "Time to get a photo's bytes"),
    (DECODE_SECONDS, Kind::Histogram, "Time to decode a photo"),
    (
        STAGE_SECONDS,
        Kind::Histogram,
        "Time of one stage of a scan on the device, by stage",
    ),
    (
        INFERENCE_SECONDS,
        Kind::Histogram,
        "Time a job spent on the device, by kind",
    ),
    (
        SCANS_BATCHED,
        Kind::Counter,
        "Scans whose encoders ran as one batch with others",
    ),
    (
        JOBS_ENDED,
        Kind::Counter,
        "Jobs of the job API and the worker by how they ended",
    ),
    (
        JOBS_SKIPPED,
        Kind::Counter,
        "Jobs dropped before the device: cancelled, overdue or nobody waiting",
    ),
    (JOBS_STORED, Kind::Gauge, "Job records kept, ended ones included"),
    (
        STORE_COMMIT_SECONDS,
        Kind::Histogram,
        "Time of one durable commit of the job store",
    ),
    (WEBHOOKS, Kind::Counter, "Webhook deliveries by result"),
    (
        MEMORY_USED,
        Kind::Gauge,
        "Device memory: peak of warm-up, or the weights",
    ),
    (WORKER_TAKES, Kind::Counter, "Polls for a job by result"),
    (
        WORKER_POSTS,
        Kind::Counter,
        "Posts to the platform by kind and result",
    ),
    (RESIDENT, Kind::Gauge, "Memory of this process that is in RAM"),
    (BUILD_INFO, Kind::Gauge, "Always 1; the version as a label"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}
