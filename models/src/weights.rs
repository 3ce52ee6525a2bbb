//! Which checkpoints exist, where they lie on this machine, and whether they are what was published.
//!
//! The table is `weights.toml`; the place is the Hugging Face cache ([`HubCache`]). Nothing here opens a
//! connection: fetching is the business of the package `dragunov`.

mod cache;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

pub use cache::{HubCache, Places, is_commit};
pub use verify::{Check, FileState, Recorded, sha256_file};

/// What a model does in a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Sam,
    Depth,
    Vlm,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sam => "sam",
            Self::Depth => "depth",
            Self::Vlm => "vlm",
        }
    }
}

/// One file of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightFile {
    /// Path in the repository.
    pub path: String,
    /// Name that the loader expects, if another.
    #[serde(rename = "as")]
    pub local: Option<String>,
    /// Lower-case hexadecimal; absent if nobody has checked one.
    pub sha256: Option<String>,
}

/// One published checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Key in the table.
    #[serde(skip)]
    pub name: String,
    pub role: Role,
    /// `owner/name` on the Hub.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
    pub licence: String,
    #[serde(default)]
    pub non_commercial: bool,
    /// A `config.json` for a publisher that ships none.
    pub config: Option<String>,
    pub files: Vec<WeightFile>,
}

impl Model {
    /// The loader cannot use the repository's folder as it is.
    pub fn needs_assembly(&self) -> bool {
        self.config.is_some() || self.files.iter().any(|f| f.local.is_some())
    }
}

/// The parsed table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    sets: BTreeMap<String, Vec<String>>,
    models: BTreeMap<String, Model>,
}

/// Why a table, a name or a cached model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("weights table: {0}")]
    Table(#[from] toml::de::Error),
    #[error("weights table: {0}")]
    Inconsistent(String),
    #[error("no set or model is called {name:?}; known: {}", known.join(", "))]
    Unknown { name: String, known: Vec<String> },
    #[error("{model} is not on this machine (looked in {})", show(looked_in))]
    Absent { model: String, looked_in: Vec<PathBuf> },
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

fn show(paths: &[PathBuf]) -> String {
    let texts: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    texts.join(", ")
}

impl Catalogue {
    /// The table of this release.
    ///
    /// # Errors
    /// [`WeightsError::Table`] or [`WeightsError::Inconsistent`], which the tests rule out.
    pub fn builtin() -> Result<Self, WeightsError> {
        Self::parse(include_str!("../weights.toml"))
    }

    /// # Errors
    /// A table that does not parse, names a model that it does not have, or has unusable names and hashes.
    pub fn parse(text: &str) -> Result<Self, WeightsError> {
        let mut table: Self = toml::from_str(text)?;
        for (name, model) in &mut table.models {
            model.name.clone_from(name);
            check_model(model)?;
        }
        for (set, members) in &table.sets {
            for member in members {
                if !table.models.contains_key(member) {
                    let reason = format!("set {set} names {member}, which is not in the table");
                    return Err(WeightsError::Inconsistent(reason));
                }
            }
        }
        Ok(table)
    }

    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// Names of sets with their members.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.sets
            .iter()
            .map(|(name, members)| (name.as_str(), members.as_slice()))
    }

    /// The models of a set, or the one model of that name.
    ///
    /// # Errors
    /// [`WeightsError::Unknown`], listing what there is.
    pub fn find(&self, name: &str) -> Result<Vec<&Model>, WeightsError> {
        if let Some(members) = self.sets.get(name) {
            return Ok(members.iter().filter_map(|m| self.models.get(m)).collect());
        }
        match self.models.get(name) {
            Some(model) => Ok(vec![model]),
            None => Err(WeightsError::Unknown {
                name: name.to_owned(),
                known: self.sets.keys().chain(self.models.keys()).cloned().collect(),
            }),
        }
    }

    /// The folder of each model of a set, complete and ready for [`crate::checkpoint::Checkpoint::open`].
    ///
    /// # Errors
    /// [`WeightsError::Unknown`], or [`WeightsError::Absent`] for the first model that was not pulled.
    pub fn locate(&self, set: &str, cache: &HubCache) -> Result<BTreeMap<Role, PathBuf>, WeightsError> {
        let located = self
            .find(set)?
            .into_iter()
            .map(|model| match cache.folder(model) {
                Some(folder) => Ok((model.role, folder)),
                None => Err(WeightsError::Absent {
                    model: model.name.clone(),
                    looked_in: cache.roots().map(PathBuf::from).collect(),
                }),
            });
        located.collect()
    }
}

fn check_model(model: &Model) -> Result<(), WeightsError> {
    let bad = |reason: String| Err(WeightsError::Inconsistent(format!("{}: {reason}", model.name)));
    let word = |s: &str| {
        !s.is_empty()
            && s != "."
            && s != ".."
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match model.repository.split_once('/') {
        Some((owner, name)) if word(owner) && word(name) => {}
        _ => return bad(format!("repository {:?} is not owner/name", model.repository)),
    }
    if !word(&model.revision) {
        return bad(format!("revision {:?}", model.revision));
    }
    for file in &model.files {
        if !file.path.split('/').all(word) || file.local.as_deref().is_some_and(|n| !word(n)) {
            return bad(format!("file {:?} is not a plain relative path", file.path));
        }
        let hex = |s: &str| s.len() == 64 && s.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if file.sha256.as_deref().is_some_and(|s| !hex(s)) {
            return bad(format!(
                "sha256 of {:?} is not 64 lower-case hexadecimal digits",
                file.path
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_table_of_this_release_is_consistent() {
        let table = Catalogue::builtin().unwrap();
        for (set, members) in table.sets() {
            let mut roles: Vec<_> = table.find(set).unwrap().iter().map(|m| m.role).collect();
            roles.sort();
            assert_eq!(roles, [Role::Sam, Role::Depth, Role::Vlm], "{set}: {members:?}");
        }
        for model in table.models() {
            let names: Vec<_> = model
                .files
                .iter()
                .map(|f| f.local.as_ref().unwrap_or(&f.path))
                .collect();
            assert!(
                names
                    .iter()
                    .any(|n| n.starts_with("model") && n.ends_with(".safetensors")),
                "{}",
                model.name
            );
            let has_config = model.config.is_some() || names.iter().any(|n| *n == "config.json");
            assert!(has_config, "{}", model.name);
            assert_eq!(
                model.non_commercial,
                model.licence != "Apache-2.0",
                "{}",
                model.name
            );
        }
        assert!(table.find("open").unwrap().iter().all(|m| !m.non_commercial));
        assert!(matches!(
            table.find("enormous"),
            Err(WeightsError::Unknown { .. })
        ));
    }

    #[test]
    fn bad_tables_are_refused() {
        let entry = |repository: &str, path: &str, sha: &str| {
            format!(
                "[sets]\n[models.m]\nrole='sam'\nrepository='{repository}'\nrevision='main'\nlicence='x'\n\
                 files=[{{path='{path}', sha256='{sha}'}}]"
            )
        };
        let good = "0".repeat(64);
        assert!(Catalogue::parse(&entry("a/b", "model.safetensors", &good)).is_ok());
        for (repository, path, sha) in [
            ("ab", "f", good.as_str()),
            ("../b", "f", &good),
            ("a/b", "../f", &good),
            ("a/b", "/f", &good),
            ("a/b", "f", "123"),
        ] {
            assert!(
                Catalogue::parse(&entry(repository, path, sha)).is_err(),
                "{repository} {path} {sha}"
            );
        }
        assert!(Catalogue::parse("[sets]\nx=['gone']\n[models]").is_err());
    }
}
