//! `dragunov doctor`

use std::path::PathBuf;
use std::time::Instant;

use dragunov_models::nn::Products;
use serde::Serialize;

use super::engine::{EngineArgs, tokio_runtime};
use crate::contract::{ErrorCode, ScanError};
use crate::runtime::{EngineInfo, memory};
use crate::worker::fitness::free_share;

/// Check this machine: memory, disk, state directory, device and checkpoints, with one warm run of every model.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For machines.
    #[arg(long)]
    json: bool,
    /// The directory that `serve` will keep jobs in.
    #[arg(long, env = "DRAGUNOV_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

impl Finding {
    fn good(what: &'static str, detail: impl Into<String>) -> Self {
        Self {
            what,
            ok: true,
            detail: detail.into(),
        }
    }

    fn bad(what: &'static str, detail: impl Into<String>) -> Self {
        Self {
            ok: false,
            ..Self::good(what, detail)
        }
    }
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let mut findings = vec![
            Finding::good("version", env!("CARGO_PKG_VERSION")),
            memory(),
            disk(),
        ];
        findings.extend(self.state_dir.as_deref().map(state_dir));
        findings.extend(self.models()?);
        if self.json {
            let text = serde_json::to_string_pretty(&findings).unwrap_or_default();
            println!("{text}");
        } else {
            for finding in &findings {
                let mark = if finding.ok { "ok  " } else { "FAIL" };
                println!("{mark}  {:<10} {}", finding.what, finding.detail);
            }
        }
        match findings.iter().filter(|f| !f.ok).count() {
            0 => Ok(()),
            n => Err(
                ScanError::new(ErrorCode::ConfigInvalid, format!("{n} check(s) failed"))
                    .next_step("mend what is marked FAIL, then run this again"),
            ),
        }
    }

    fn models(&self) -> Result<Vec<Finding>, ScanError> {
        let begun = Instant::now();
        let foods = match self.engine.choose.foods.read() {
            Ok(foods) => foods.current(),
            Err(error) => return Ok(vec![Finding::bad("foods", error.causes().replace('\n', "; "))]),
        };
        let foods = match foods.warning {
            Some(warning) => Finding::bad("foods", warning.message),
            None => Finding::good(
                "foods",
                format!(
                    "{} rows, {}, revision {}",
                    foods.table.foods().len(),
                    foods.info.source.as_str(),
                    foods.info.revision
                ),
            ),
        };
        let runtime = tokio_runtime()?;
        let executor = runtime.block_on(self.engine.executor())?;
        let ready = runtime.block_on(executor.device().ready());
        let seconds = begun.elapsed().as_secs_f64();
        let info = match ready {
            Ok(info) => info,
            Err(error) => {
                let why = error.causes().replace('\n', "; ");
                return Ok(vec![foods, Finding::bad("models", why)]);
            }
        };
        let names: Vec<String> = info
            .models
            .iter()
            .map(|(role, name)| format!("{role} {name}"))
            .collect();
        let mut findings = vec![
            foods,
            Finding::good("device", format!("{}, {}", info.device, info.dtype)),
            Finding::good("products", products(&info)),
            Finding::good(
                "models",
                format!(
                    "{} ({}), loaded and run once in {seconds:.1} s",
                    info.set,
                    names.join(", ")
                ),
            ),
        ];
        if let Some(memory) = info.memory {
            let mib = |bytes: u64| bytes >> 20;
            let mut detail = format!("weights {} MiB", mib(memory.weights_bytes));
            for (name, bytes) in [("peak", memory.peak_bytes), ("device", memory.total_bytes)] {
                if let Some(bytes) = bytes {
                    detail += &format!(", {name} {} MiB", mib(bytes));
                }
            }
            let over = memory
                .total_bytes
                .is_some_and(|total| memory.peak_bytes.unwrap_or(memory.weights_bytes) > total / 20 * 19);
            findings.push(if over {
                Finding::bad("budget", detail + ": less than 5 % is left")
            } else {
                Finding::good("budget", detail)
            });
        }
        Ok(findings)
    }
}

/// What products are computed in, and what else this CPU could do.
fn products(info: &EngineInfo) -> String {
    let other = match (info.device.as_str(), info.arithmetic.as_str()) {
        ("cpu", "bf16x3" | "bf16x6") => " by AMX".into(),
        ("cpu", "bf16") => match Products::instructions_of_bf16() {
            Some(instructions) => format!(" by {instructions}"),
            None => ", multiplied as f32: this CPU has no products of bf16".into(),
        },
        ("cpu", "f32") if Products::has_matrix_unit() => {
            "; this CPU has AMX: --cpu-products bf16x6 or bf16x3".into()
        }
        ("cpu", "f32") => "; AMX is not there, or not permitted".into(),
        _ => String::new(),
    };
    format!("{}{other}", info.arithmetic)
}

fn memory() -> Finding {
    match memory::available() {
        Some(bytes) if bytes < 1 << 30 => Finding::bad("memory", format!("{} MiB available", bytes >> 20)),
        Some(bytes) => Finding::good("memory", format!("{} MiB available", bytes >> 20)),
        None => Finding::good("memory", "this system does not tell"),
    }
}

fn disk() -> Finding {
    match free_share(std::path::Path::new("/")) {
        Some(percent) if percent < 2.0 => Finding::bad("disk", format!("{percent:.1} % free on /")),
        Some(percent) => Finding::good("disk", format!("{percent:.1} % free on /")),
        None => Finding::good("disk", "this system does not tell"),
    }
}

/// Opening the database takes its lock, so a running service shows here as well.
fn state_dir(dir: &std::path::Path) -> Finding {
    match crate::jobs::disk::Disk::open(dir, false) {
        Ok((_, found)) => Finding::good(
            "state",
            format!("{}: {} job(s)", dir.display(), found.records.len()),
        ),
        Err(error) => Finding::bad("state", error.to_string()),
    }
}
