//! `models list | pull | verify` against a server on the loopback that speaks the hub's routes.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "weights/broken.rs"]
mod broken;
#[path = "weights/command.rs"]
mod command;
#[path = "weights/hub.rs"]
mod hub;
#[path = "weights/pulling.rs"]
mod pulling;
#[path = "weights/refused.rs"]
mod refused;

use std::path::Path;
use std::time::Duration;

use dragunov::weights_pull::{Hub, HubConfig, PullError, Pulled, pull};
use dragunov_models::weights::{Catalogue, HubCache, Model, Places};
use hub::FakeHub;

const CONFIG: &[u8] = br#"{"model_type": "depth_anything"}"#;

fn weights() -> Vec<u8> {
    (0..300_000u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// A table with one model of one small and one large file; `extra` goes into the large one's entry.
fn model(extra: &str) -> Model {
    let text = format!(
        "[sets]\n[models.m]\nrole='depth'\nrepository='acme/m'\nrevision='main'\nlicence='Apache-2.0'\n\
         files=[{{path='config.json'}}, {{path='model.safetensors' {extra}}}]"
    );
    let table = Catalogue::parse(&text).unwrap();
    table.find("m").unwrap()[0].clone()
}

fn cache(dir: &Path) -> HubCache {
    HubCache::new(&Places {
        hub_cache: Some(dir.join("hub")),
        ..Places::default()
    })
}

fn client(server: &FakeHub, token: Option<&str>) -> Hub {
    Hub::new(HubConfig {
        endpoint: server.url(),
        token: token.map(|t| t.to_owned().into()),
        attempts: 3,
        pause: Duration::from_millis(1),
        read_timeout: Duration::from_secs(5),
        ..HubConfig::default()
    })
    .unwrap()
}

async fn serve() -> FakeHub {
    let server = FakeHub::start().await;
    server.put("acme/m", "config.json", CONFIG, false);
    server.put("acme/m", "model.safetensors", &weights(), true);
    server
}

async fn quiet(hub: &Hub, cache: &HubCache, model: &Model) -> Result<Pulled, PullError> {
    pull(hub, cache, model, &|_| {}).await
}

fn repository(cache: &HubCache) -> std::path::PathBuf {
    cache.root().join("models--acme--m")
}

fn leftovers(cache: &HubCache) -> Vec<(String, u64)> {
    let blobs = std::fs::read_dir(repository(cache).join("blobs")).unwrap();
    blobs
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len()))
        .filter(|(name, _)| name.ends_with(".incomplete"))
        .collect()
}
