//! `config.json` of Qwen2.5-VL, in both layouts: flat (transformers 4.x, the hub) and nested (`text_config`, 5.x).
//!
//! A missing field takes the default of transformers' config classes, because `save_pretrained` of 4.x leaves out
//! what equals them.

mod build;
mod raw;

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::{ModelError, Result};
use build::{Refuse, decoder, vision};
use raw::Raw;

/// Sizes of the vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_heads: usize,
    pub in_channels: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in a patch; a still is repeated that often.
    pub temporal_patch_size: usize,
    /// Patches along a side that become one token.
    pub spatial_merge_size: usize,
    /// Side of an attention window in pixels.
    pub window_size: usize,
    /// Blocks that attend to the whole image.
    pub fullatt_block_indexes: Vec<usize>,
    /// Width of the tokens given to the decoder.
    pub out_hidden_size: usize,
    pub rope_theta: f64,
}

impl VisionConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Values in one flattened patch.
    pub fn patch_len(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Side of an attention window in merged tokens.
    pub fn window_tokens(&self) -> usize {
        self.window_size / self.spatial_merge_size / self.patch_size
    }
}

/// Sizes of the decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    /// Frequencies that turn with the temporal, vertical and horizontal position, in that order.
    pub mrope_section: Vec<usize>,
}

impl TextConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub vision: VisionConfig,
    pub text: TextConfig,
    pub image_token_id: u32,
    /// The output head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Stop tokens for checkpoints without `generation_config.json`.
    pub eos_token_ids: Vec<u32>,
}

impl Config {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Json`] for a file of another shape, [`ModelError::Config`] for values that cannot be built.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        Self::from_raw(checkpoint.json("config.json")?, &checkpoint.path("config.json"))
    }

    /// Parses the text of a `config.json`; `path` is for messages.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self> {
        let raw = serde_json::from_slice(json).map_err(|source| ModelError::Json {
            path: path.to_owned(),
            source,
        })?;
        Self::from_raw(raw, path)
    }

    fn from_raw(raw: Raw, path: &Path) -> Result<Self> {
        let refuse = Refuse(path);
        let kind = raw.model_type.as_deref().unwrap_or("qwen2_5_vl");
        refuse.unless(
            kind.starts_with("qwen2_5_vl"),
            "model_type",
            kind,
            "is not Qwen2.5-VL",
        )?;
        let nested = raw.text_config.is_some();
        let text = match raw.text_config {
            Some(text) => text,
            None => serde_json::from_value(raw.flat.into()).map_err(|source| ModelError::Json {
                path: path.to_owned(),
                source,
            })?,
        };
        let tied_inside = nested && text.tie_word_embeddings == Some(true);
        let eos = text.eos_token_id.clone().or(raw.eos_token_id);
        let config = Self {
            vision: vision(raw.vision_config, &refuse)?,
            text: decoder(text, &refuse)?,
            image_token_id: raw.image_token_id.unwrap_or(151_655),
            tie_word_embeddings: raw.tie_word_embeddings == Some(true) || tied_inside,
            eos_token_ids: eos
                .map_or_else(|| vec![151_645], |ids| ids.list())
                .into_iter()
                .map(|id| id as u32)
                .collect(),
        };
        refuse.unless(
            config.vision.out_hidden_size == config.text.hidden_size,
            "vision_config.out_hidden_size",
            config.vision.out_hidden_size,
            "must equal the hidden_size of the decoder",
        )?;
        refuse.unless(
            (config.image_token_id as usize) < config.text.vocab_size,
            "image_token_id",
            config.image_token_id,
            "lies outside the vocabulary",
        )?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(json: &str) -> Result<Config> {
        Config::parse(json.as_bytes(), Path::new("config.json"))
    }

    const FLAT: &str = r#"{"model_type":"qwen2_5_vl","hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":512,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
        "rope_scaling":{"type":"mrope","rope_type":"default","mrope_section":[2,3,3]},"tie_word_embeddings":TIED,
        "image_token_id":505,"eos_token_id":[501,500],"vision_config":{"depth":4,"hidden_size":40,"in_chans":3,
        "intermediate_size":52,"num_heads":2,"out_hidden_size":64,"patch_size":[14,14],"fullatt_block_indexes":[1,3]}}"#;

    #[test]
    fn flat_layout_of_4x() {
        let config = parse(&FLAT.replace("TIED", "true")).unwrap();
        assert!(config.tie_word_embeddings);
        assert_eq!(config.text.mrope_section, [2, 3, 3]);
        assert_eq!(config.eos_token_ids, [501, 500]);
        assert_eq!((config.vision.patch_size, config.vision.window_tokens()), (14, 4));
        assert_eq!((config.text.rms_norm_eps, config.text.rope_theta), (1e-6, 1e6));
    }

    #[test]
    fn refuses_what_it_cannot_build() {
        let untied = FLAT.replace("TIED", "false");
        for (from, to, field) in [
            (
                r#""num_attention_heads":4"#,
                r#""num_attention_heads":5"#,
                "num_attention_heads",
            ),
            (
                r#""num_key_value_heads":2"#,
                r#""num_key_value_heads":3"#,
                "num_key_value_heads",
            ),
            ("[2,3,3]", "[16,24,24]", "mrope_section"),
            (
                r#""rope_type":"default""#,
                r#""rope_type":"yarn""#,
                "rope_scaling.type",
            ),
            (r#""depth":4"#, r#""depth":0"#, "vision_config.depth"),
            (r#""num_heads":2"#, r#""num_heads":4"#, "vision_config.num_heads"),
            ("[14,14]", "[14,16]", "vision_config.patch_size"),
            (
                r#""out_hidden_size":64"#,
                r#""out_hidden_size":32"#,
                "vision_config.out_hidden_size",
            ),
            (
                r#""image_token_id":505"#,
                r#""image_token_id":512"#,
                "image_token_id",
            ),
            (
                r#""model_type":"qwen2_5_vl""#,
                r#""model_type":"qwen3_vl""#,
                "model_type",
            ),
            (
                r#""vocab_size":512"#,
                r#""vocab_size":512,"use_sliding_window":true"#,
                "use_sliding_window",
            ),
        ] {
            let broken = untied.replace(from, to);
            assert_ne!(broken, untied, "{from}");
            match parse(&broken) {
                Err(ModelError::Config { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert!(matches!(parse("{}"), Err(ModelError::Json { .. })));
    }
}
