//! Key layouts of Qwen2.5-VL files, all served under the names of transformers 5.x.
//!
//! Hub files (4.x): `visual.*`, `model.*`, `lm_head.weight`. 5.x: `model.visual.*`, `model.language_model.*`.
//! Some exports call the tower `vision_tower.*`.

use std::collections::BTreeMap;

use crate::Result;
use crate::checkpoint::{Alias, Checkpoint, unwrapped};

pub(super) const VISION: &str = "model.visual";
pub(super) const TEXT: &str = "model.language_model";
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.language_model.embed_tokens.weight";

/// Where the output head of a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A tensor of its own.
    Own,
    /// The token embedding; a copy that is stored all the same is not needed.
    Embedding,
    /// The token embedding, which is stored under the head's name alone.
    Swapped,
}

impl Head {
    /// What `tied` of the config comes to with the tensors that are stored: a head that differs from the embedding is
    /// used, whatever the config says, and a missing one of the two is the other, as in transformers 5.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(super) fn find(
        checkpoint: &Checkpoint,
        stored: &BTreeMap<String, Vec<usize>>,
        tied: bool,
    ) -> Result<Self> {
        if !tied {
            return Ok(Self::Own);
        }
        let key_of = |name: &str| {
            let serves = |key: &&String| alias(key, Self::Own).iter().any(|alias| alias.name == name);
            stored.keys().find(serves)
        };
        Ok(match (key_of(HEAD), key_of(EMBEDDING)) {
            (Some(_), None) => Self::Swapped,
            (Some(head), Some(embedding)) if !checkpoint.same_tensors(head, embedding)? => {
                tracing::warn!(
                    "{}: tie_word_embeddings is true, but {head} and {embedding} differ; both are used",
                    checkpoint.weights_path().display()
                );
                Self::Own
            }
            _ => Self::Embedding,
        })
    }
}

/// The names that the stored tensor `key` serves.
pub(super) fn alias(key: &str, head: Head) -> Vec<Alias> {
    let key = &*unwrapped(key, &[]);
    if key.ends_with(".inv_freq") {
        return Vec::new();
    }
    if key == HEAD {
        return match head {
            Head::Own => Alias::whole(HEAD),
            Head::Embedding => Vec::new(),
            Head::Swapped => Alias::whole(EMBEDDING),
        };
    }
    let renamed = |prefix: &str, rest: &str| Alias::whole(format!("{prefix}.{rest}"));
    if let Some(rest) = key
        .strip_prefix("visual.")
        .or_else(|| key.strip_prefix("vision_tower."))
    {
        return renamed(VISION, rest);
    }
    match key.strip_prefix("model.") {
        Some(rest) if rest.starts_with("visual.") || rest.starts_with("language_model.") => Alias::whole(key),
        Some(rest) => renamed(TEXT, rest),
        None => Alias::whole(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_prefixes_meet() {
        let name = |key| {
            alias(key, Head::Own)
                .into_iter()
                .map(|a| a.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            name("visual.merger.ln_q.weight"),
            name("model.visual.merger.ln_q.weight")
        );
        assert_eq!(
            name("model.norm.weight"),
            name("model.language_model.norm.weight")
        );
        assert_eq!(
            name("_orig_mod.model.language_model.layers.0._checkpoint_wrapped_module.mlp.up_proj.weight"),
            name("model.layers.0.mlp.up_proj.weight")
        );
        assert_eq!(name("module.lm_head.weight"), ["lm_head.weight"]);
        assert!(alias("lm_head.weight", Head::Embedding).is_empty());
        assert_eq!(
            alias("lm_head.weight", Head::Swapped),
            alias("model.embed_tokens.weight", Head::Own)
        );
    }
}
