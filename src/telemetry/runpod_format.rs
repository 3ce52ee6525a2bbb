//! Log lines as RunPod's console wants them.
//!
//! With an endpoint id: one JSON object a line with exactly `requestId`, `message`, `level`. Without: `LEVEL  | id |
//! message`. Lines of a job from a batch begin with `[batchId=...]`. Messages over 4096 characters lose their middle.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

const MAX_CHARS: usize = 4096;

/// The event format.
#[derive(Debug, Clone, Copy)]
pub struct RunpodFormat {
    pub json: bool,
    /// Long messages stay whole: a local run prints its result.
    pub whole: bool,
}

impl<S, N> FormatEvent<S, N> for RunpodFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let (mut job, mut batch) = (line.job.take(), String::new());
        for span in ctx.event_scope().into_iter().flatten() {
            if let Some(of) = span.extensions().get::<JobOfSpan>() {
                job.get_or_insert_with(|| of.job.clone());
                if let Some(id) = &of.batch {
                    batch = format!("[batchId={id}] ");
                }
            }
        }
        let mut message = batch + &line.message + &line.fields;
        if !self.whole {
            message = cut_middle(&message);
        }
        let level = level_name(*event.metadata().level());
        if self.json {
            // Written by hand for the order of the keys.
            let id = job.map_or("null".into(), |id| serde_json::Value::from(id).to_string());
            let text = serde_json::Value::from(message);
            writeln!(
                writer,
                "{{\"requestId\": {id}, \"message\": {text}, \"level\": \"{level}\"}}"
            )
        } else {
            let id = job.map(|id| format!("{id} | ")).unwrap_or_default();
            writeln!(writer, "{level:<7}| {id}{message}")
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// The first and last 2048 characters and how many are gone.
pub fn cut_middle(text: &str) -> String {
    let total = text.chars().count();
    if total <= MAX_CHARS {
        return text.to_owned();
    }
    let half = MAX_CHARS / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(total - half).collect();
    format!("{head}\n...TRUNCATED {} CHARACTERS...\n{tail}", total - MAX_CHARS)
}

#[derive(Default)]
struct Line {
    message: String,
    /// ` key=value` each.
    fields: String,
    job: Option<String>,
    batch: Option<String>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "job" if !value.is_empty() => self.job = Some(value.to_owned()),
            "job" => {}
            "batch" => self.batch = Some(value.to_owned()),
            "message" => self.message.push_str(value),
            name => drop(write!(self.fields, " {name}={value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            name => drop(write!(self.fields, " {name}={value:?}")),
        }
    }
}

struct JobOfSpan {
    job: String,
    batch: Option<String>,
}

/// Remembers a span's field `job`, so that every line inside it names the job.
#[derive(Debug, Clone, Copy)]
pub struct JobIds;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JobIds {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let mut line = Line::default();
        attributes.record(&mut line);
        if let (Some(job), Some(span)) = (line.job, ctx.span(id)) {
            let batch = line.batch;
            span.extensions_mut().insert(JobOfSpan { job, batch });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(json: bool, f: impl FnOnce()) -> String {
        let sink = Sink::default();
        let to = sink.clone();
        let fmt = tracing_subscriber::fmt::layer()
            .event_format(RunpodFormat { json, whole: false })
            .with_writer(move || to.clone());
        let subscriber = tracing_subscriber::registry().with(JobIds).with(fmt);
        tracing::subscriber::with_default(subscriber, f);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_have_exactly_three_keys_in_order() {
        let text = lines(true, || {
            tracing::info!(job = "j-1", "Started.");
            tracing::warn!(status = 500, "odd \"quote\"");
        });
        assert_eq!(
            text,
            "{\"requestId\": \"j-1\", \"message\": \"Started.\", \"level\": \"INFO\"}\n\
             {\"requestId\": null, \"message\": \"odd \\\"quote\\\" status=500\", \"level\": \"WARN\"}\n"
        );
    }

    #[test]
    fn plain_lines_name_the_job_of_their_span() {
        let text = lines(false, || {
            let _in = tracing::info_span!("device", job = "j-2").entered();
            tracing::error!("no memory");
        });
        assert_eq!(text, "ERROR  | j-2 | no memory\n");
    }

    #[test]
    fn every_line_of_a_batch_names_it() {
        let text = lines(false, || {
            let _job = tracing::error_span!("job", job = "j", batch = Some("B9")).entered();
            tracing::info!(job = "j", "Started.");
            let _device = tracing::info_span!("device", job = "j").entered();
            tracing::warn!("slow");
        });
        assert_eq!(
            text,
            "INFO   | j | [batchId=B9] Started.\nWARN   | j | [batchId=B9] slow\n"
        );
    }

    #[test]
    fn long_messages_lose_their_middle() {
        let cut = cut_middle(&"é".repeat(10_000));
        assert!(cut.contains("\n...TRUNCATED 5904 CHARACTERS...\n"));
        assert_eq!(cut.chars().filter(|&c| c == 'é').count(), 4096);
        assert_eq!(cut_middle("short"), "short");
    }
}
