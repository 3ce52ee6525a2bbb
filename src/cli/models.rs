//! `dragunov models list | pull | verify`: published checkpoints.

mod bar;

use clap::Subcommand;
use dragunov_models::weights::{Catalogue, FileState, HubCache, Model, WeightsError};
use serde_json::json;

use crate::contract::{ErrorCode, ScanError};
use crate::weights_pull::{Hub, HubConfig, pull};

/// Published checkpoints: what there is, fetching it, checking it.
///
/// Files lie in the Hugging Face cache (HF_HUB_CACHE, HF_HOME). HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets and models, their licences, and which are on this machine.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Fetch a set or a model; goes on where an interrupted pull stopped.
    Pull {
        /// A name from `models list`.
        #[arg(required = true)]
        names: Vec<String>,
        /// You may use models whose licence forbids commercial use.
        #[arg(long)]
        accept_non_commercial: bool,
        #[arg(long)]
        json: bool,
    },
    /// Hash the files on this machine against the table, or against what the pull recorded.
    Verify {
        /// Names from `models list`; everything on this machine if there are none.
        names: Vec<String>,
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let table = Catalogue::builtin().map_err(set_up)?;
        let cache = HubCache::from_env();
        match self.command {
            Command::List { json } => {
                list(&table, &cache, json);
                Ok(())
            }
            Command::Pull {
                names,
                accept_non_commercial,
                json,
            } => pull_all(&select(&table, &names)?, &cache, accept_non_commercial, json),
            Command::Verify { names, json } => {
                let models = if names.is_empty() {
                    table.models().filter(|m| cache.snapshot(m).is_some()).collect()
                } else {
                    select(&table, &names)?
                };
                verify(&models, &cache, json)
            }
        }
    }
}

fn set_up(error: WeightsError) -> ScanError {
    let code = match &error {
        WeightsError::Unknown { .. } => ErrorCode::BadRequest,
        WeightsError::Absent { .. } => ErrorCode::NotFound,
        WeightsError::Io { .. } => ErrorCode::Storage,
        WeightsError::Table(_) | WeightsError::Inconsistent(_) => ErrorCode::ConfigInvalid,
    };
    let error_text = error.to_string();
    let made = ScanError::new(code, error_text).source(error);
    match code {
        ErrorCode::NotFound => made.next_step("fetch it: dragunov models pull NAME"),
        _ => made,
    }
}

fn select<'a>(table: &'a Catalogue, names: &[String]) -> Result<Vec<&'a Model>, ScanError> {
    let mut models: Vec<&Model> = Vec::new();
    for name in names {
        for model in table.find(name).map_err(set_up)? {
            if !models.iter().any(|m| m.name == model.name) {
                models.push(model);
            }
        }
    }
    Ok(models)
}

fn list(table: &Catalogue, cache: &HubCache, as_json: bool) {
    if as_json {
        let models = table.models().map(|m| {
            json!({
                "name": m.name, "role": m.role.as_str(), "repository": m.repository, "revision": m.revision,
                "licence": m.licence, "non_commercial": m.non_commercial,
                "pinned": m.files.iter().all(|f| f.sha256.is_some()), "folder": cache.folder(m),
            })
        });
        let sets: serde_json::Map<_, _> = table.sets().map(|(n, m)| (n.to_owned(), json!(m))).collect();
        let all = json!({ "cache": cache.root(), "sets": sets, "models": models.collect::<Vec<_>>() });
        println!("{all:#}");
        return;
    }
    println!("cache: {}\n", cache.root().display());
    for (name, members) in table.sets() {
        println!("{name:<8} {}", members.join(" + "));
    }
    println!(
        "\n{:<40} {:<6} {:<22} on this machine",
        "model", "role", "licence"
    );
    for model in table.models() {
        let licence = if model.non_commercial {
            format!("{} (NC)", model.licence)
        } else {
            model.licence.clone()
        };
        let here = if cache.folder(model).is_some() { "yes" } else { "-" };
        println!(
            "{:<40} {:<6} {licence:<26} {here}",
            model.name,
            model.role.as_str()
        );
    }
    println!("\nNC: not for commercial use; `models pull` asks for --accept-non-commercial.");
}

fn pull_all(models: &[&Model], cache: &HubCache, accept: bool, as_json: bool) -> Result<(), ScanError> {
    let forbidden: Vec<_> = models.iter().filter(|m| m.non_commercial && !accept).collect();
    if !forbidden.is_empty() {
        let names: Vec<_> = forbidden
            .iter()
            .map(|m| format!("{} ({})", m.name, m.licence))
            .collect();
        let message = format!("not for commercial use: {}", names.join(", "));
        return Err(ScanError::new(ErrorCode::ConfigInvalid, message).next_step(
            "add --accept-non-commercial, or pull the set `open`, which is Apache-2.0 throughout",
        ));
    }
    let hub = Hub::new(HubConfig::from_env())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| ScanError::new(ErrorCode::Internal, "no async runtime").source(e))?;
    let bar = bar::Bar::new();
    let mut done = Vec::new();
    for model in models {
        bar.note(&format!(
            "{} from {} ({})",
            model.name, model.repository, model.licence
        ));
        let pulled = runtime.block_on(pull(&hub, cache, model, &|event| bar.show(event)));
        bar.clear();
        let pulled = pulled?;
        if as_json {
            done.push(json!({
                "name": model.name, "commit": pulled.commit, "folder": pulled.folder, "sha256": pulled.hashes,
            }));
            continue;
        }
        println!("{} {} -> {}", model.name, pulled.commit, pulled.folder.display());
        for file in &model.files {
            let hash = pulled.hashes.0.get(&file.path).map_or("-", String::as_str);
            let state = if file.sha256.is_some() {
                "pinned"
            } else {
                "unpinned"
            };
            println!("  {hash}  {state:<8}  {}", file.path);
        }
    }
    if as_json {
        println!("{:#}", json!(done));
    }
    Ok(())
}

fn verify(models: &[&Model], cache: &HubCache, as_json: bool) -> Result<(), ScanError> {
    let (mut bad, mut rows) = (Vec::new(), Vec::new());
    for model in models {
        for check in cache.verify(model).map_err(set_up)? {
            let state = match &check.state {
                FileState::Pinned => "pinned",
                FileState::Unpinned { recorded: true } => "unpinned, as pulled",
                FileState::Unpinned { recorded: false } => "unpinned",
                FileState::Mismatch { .. } => "MISMATCH",
                FileState::Missing => "MISSING",
            };
            let hash = check.found.as_ref().map_or("-", |(hash, _)| hash);
            if !check.state.is_good() {
                bad.push(format!("{}/{}", model.name, check.file));
            }
            if as_json {
                rows.push(json!({ "model": model.name, "file": check.file, "state": state, "sha256": hash }));
            } else {
                println!("{hash:<64}  {state:<19}  {}/{}", model.name, check.file);
            }
        }
    }
    if as_json {
        println!("{:#}", json!(rows));
    } else if models.is_empty() {
        println!("no model of the table is on this machine");
    }
    if bad.is_empty() {
        return Ok(());
    }
    let message = format!("not what was pulled: {}", bad.join(", "));
    Err(ScanError::new(ErrorCode::CheckpointInvalid, message)
        .next_step("delete the model's folder in the cache and pull it again"))
}
