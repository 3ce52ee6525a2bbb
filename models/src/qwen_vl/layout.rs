//! Key layouts of Qwen2.5-VL files, all served under the names of transformers 5.x.
//!
//! Hub files (4.x): `visual.*`, `model.*`, `lm_head.weight`. 5.x: `model.visual.*`, `model.language_model.*`.
//! Some exports call the tower `vision_tower.*`.

use crate::checkpoint::Alias;

pub(super) const VISION: &str = "model.visual";
pub(super) const TEXT: &str = "model.language_model";

/// The names that the stored tensor `key` serves. A tied head that is stored all the same is not needed.
pub(super) fn alias(key: &str, tied: bool) -> Vec<Alias> {
    if key.ends_with(".inv_freq") || (tied && key == "lm_head.weight") {
        return Vec::new();
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
        let name = |key| alias(key, false).into_iter().map(|a| a.name).collect::<Vec<_>>();
        assert_eq!(
            name("visual.merger.ln_q.weight"),
            name("model.visual.merger.ln_q.weight")
        );
        assert_eq!(
            name("model.norm.weight"),
            name("model.language_model.norm.weight")
        );
        assert_eq!(name("lm_head.weight"), ["lm_head.weight"]);
        assert!(alias("lm_head.weight", true).is_empty());
    }
}
