//! The Hugging Face cache: `models--owner--name/{blobs,refs,snapshots}` under one or more roots.

use std::path::{Path, PathBuf};

use super::Model;

/// Where RunPod mounts the model that an endpoint caches.
const RUNPOD_CACHE: &str = "/runpod-volume/huggingface-cache/hub";

/// What the environment says of the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// `HF_HUB_CACHE`
    pub hub_cache: Option<PathBuf>,
    /// `HF_HOME`
    pub hf_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`
    pub xdg_cache: Option<PathBuf>,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// Read-only caches to look in as well.
    pub shared: Vec<PathBuf>,
}

impl Places {
    /// From the process's environment, with RunPod's cache if it is mounted.
    pub fn from_env() -> Self {
        let path = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        Self {
            hub_cache: path("HF_HUB_CACHE"),
            hf_home: path("HF_HOME"),
            xdg_cache: path("XDG_CACHE_HOME"),
            home: path("HOME"),
            shared: Path::new(RUNPOD_CACHE)
                .is_dir()
                .then(|| RUNPOD_CACHE.into())
                .into_iter()
                .collect(),
        }
    }
}

/// One writable root and any number of read-only ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
    shared: Vec<PathBuf>,
}

impl HubCache {
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `huggingface/hub` in the user's cache folder.
    pub fn new(places: &Places) -> Self {
        let home = || {
            let cache = places.xdg_cache.clone();
            let cache = cache.or_else(|| places.home.as_ref().map(|h| h.join(".cache")));
            cache.unwrap_or_else(|| ".cache".into()).join("huggingface")
        };
        let root = match &places.hub_cache {
            Some(root) => root.clone(),
            None => places.hf_home.clone().unwrap_or_else(home).join("hub"),
        };
        let shared = places.shared.iter().filter(|s| **s != root).cloned().collect();
        Self { root, shared }
    }

    pub fn from_env() -> Self {
        Self::new(&Places::from_env())
    }

    /// Where pulls go.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The writable root first.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.root)
            .chain(&self.shared)
            .map(PathBuf::as_path)
    }

    /// `models--owner--name` under the writable root.
    pub fn repository(&self, model: &Model) -> PathBuf {
        repository_under(&self.root, model)
    }

    /// A model's folder, made by [`Self::assemble`], if the publisher's own cannot be used as it is.
    pub fn assembled(&self, model: &Model, commit: &str) -> PathBuf {
        self.root.join("dragunov").join(&model.name).join(commit)
    }

    /// The snapshot that the model's revision points to, in the first root that has every file of it.
    pub fn snapshot(&self, model: &Model) -> Option<PathBuf> {
        self.roots().find_map(|root| {
            let repository = repository_under(root, model);
            let commit = if is_commit(&model.revision) {
                model.revision.clone()
            } else {
                let text = std::fs::read_to_string(repository.join("refs").join(&model.revision)).ok()?;
                let commit = text.trim().to_owned();
                is_commit(&commit).then_some(commit)?
            };
            let snapshot = repository.join("snapshots").join(commit);
            let complete = model.files.iter().all(|f| snapshot.join(&f.path).is_file());
            complete.then_some(snapshot)
        })
    }

    /// The folder to open as a checkpoint; `None` until the model is complete on this machine.
    pub fn folder(&self, model: &Model) -> Option<PathBuf> {
        let snapshot = self.snapshot(model)?;
        if !model.needs_assembly() {
            return Some(snapshot);
        }
        let folder = self.assembled(model, snapshot.file_name()?.to_str()?);
        folder.join("config.json").is_file().then_some(folder)
    }

    /// Puts links under the names that the loader expects, and the table's `config.json`, beside the cache.
    ///
    /// # Errors
    /// The file system's.
    pub fn assemble(&self, model: &Model, snapshot: &Path) -> std::io::Result<PathBuf> {
        let commit = snapshot.file_name().and_then(|n| n.to_str()).unwrap_or("unknown");
        let folder = self.assembled(model, commit);
        std::fs::create_dir_all(&folder)?;
        for file in &model.files {
            let link = folder.join(file.local.as_ref().unwrap_or(&file.path));
            let target = std::fs::canonicalize(snapshot.join(&file.path))?;
            if link.symlink_metadata().is_ok() {
                std::fs::remove_file(&link)?;
            }
            std::os::unix::fs::symlink(target, link)?;
        }
        if let Some(config) = &model.config {
            // Last, and at once: its presence says that the folder is complete.
            let draft = folder.join("config.json.tmp");
            std::fs::write(&draft, config)?;
            std::fs::rename(draft, folder.join("config.json"))?;
        }
        Ok(folder)
    }
}

fn repository_under(root: &Path, model: &Model) -> PathBuf {
    root.join(format!("models--{}", model.repository.replace('/', "--")))
}

/// 40 hexadecimal digits.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_follows_the_environment_in_the_hubs_order() {
        let mut places = Places {
            home: Some("/home/u".into()),
            ..Places::default()
        };
        let root = |places: &Places| HubCache::new(places).root().to_str().map(str::to_owned);
        assert_eq!(root(&places).as_deref(), Some("/home/u/.cache/huggingface/hub"));
        places.xdg_cache = Some("/xdg".into());
        assert_eq!(root(&places).as_deref(), Some("/xdg/huggingface/hub"));
        places.hf_home = Some("/hf".into());
        assert_eq!(root(&places).as_deref(), Some("/hf/hub"));
        places.hub_cache = Some("/cache".into());
        assert_eq!(root(&places).as_deref(), Some("/cache"));
    }

    #[test]
    fn a_shared_cache_is_looked_in_after_the_own_one() {
        let places = Places {
            hub_cache: Some("/own".into()),
            shared: vec![RUNPOD_CACHE.into(), "/own".into()],
            ..Places::default()
        };
        let cache = HubCache::new(&places);
        let roots: Vec<_> = cache.roots().map(|p| p.display().to_string()).collect();
        assert_eq!(roots, ["/own", RUNPOD_CACHE]);
    }
}
