//! `tokenizer.json`, the special tokens that the model needs, and the bytes behind every token.

use std::collections::HashMap;
use std::path::PathBuf;

use tokenizers::decoders::DecoderWrapper;

use crate::checkpoint::Checkpoint;
use crate::{ModelError, Result};

const FILE: &str = "tokenizer.json";

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    /// Texts of all special tokens; user text must not hold any.
    specials: Vec<String>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({})", self.path.display())
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json`; `image_token_id` comes from `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the file is damaged, lacks a special token that images need, or gives the
    /// image token another id than the model.
    pub fn read(checkpoint: &Checkpoint, image_token_id: u32) -> Result<Self> {
        let path = checkpoint.path(FILE);
        let refuse = |reason: String| ModelError::Tokenizer {
            path: path.clone(),
            reason,
        };
        let bytes = checkpoint.read(FILE)?;
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes.as_ref()).map_err(|e| refuse(e.to_string()))?;
        // Saved batch settings are the caller's business, not the file's.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| refuse(e.to_string()))?;
        for needed in ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"] {
            if inner.token_to_id(needed).is_none() {
                return Err(refuse(format!("the special token {needed} is missing")));
            }
        }
        let image_token = inner.id_to_token(image_token_id).unwrap_or_default();
        if inner.token_to_id("<|image_pad|>") != Some(image_token_id) {
            let reason = format!(
                "config.json calls {image_token_id} the image token, but the tokenizer has {image_token:?} there"
            );
            return Err(refuse(reason));
        }
        let added = inner.get_added_tokens_decoder();
        let specials = added
            .values()
            .filter(|t| t.special)
            .map(|t| t.content.clone())
            .collect();
        Ok(Self {
            inner,
            path,
            specials,
        })
    }

    /// # Errors
    /// [`ModelError::Tokenizer`] if `token` is not one token of this tokenizer.
    pub fn require(&self, token: &str) -> Result<u32> {
        self.inner
            .token_to_id(token)
            .ok_or_else(|| self.fault(format!("the special token {token} is missing")))
    }

    /// Text of user or system, which must not smuggle in control tokens (a stray image token would be counted as
    /// an image).
    ///
    /// # Errors
    /// [`ModelError::Prompt`] naming the special token found.
    pub fn check_plain(&self, text: &str) -> Result<()> {
        match self
            .specials
            .iter()
            .find(|s| !s.is_empty() && text.contains(s.as_str()))
        {
            None => Ok(()),
            Some(special) => Err(ModelError::Prompt(format!(
                "the text holds the control token {special}"
            ))),
        }
    }

    /// Ids of a rendered prompt; special tokens in it are recognised.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.inner
            .encode_fast(text, true)
            .map(|e| e.get_ids().to_vec())
            .map_err(|e| self.fault(e.to_string()))
    }

    /// Ids of a fragment without what the tokenizer adds at the ends.
    pub(super) fn encode_fragment(&self, text: &str) -> Result<Vec<u32>> {
        self.inner
            .encode_fast(text, false)
            .map(|e| e.get_ids().to_vec())
            .map_err(|e| self.fault(e.to_string()))
    }

    /// Text of `ids` without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner
            .decode(ids, true)
            .map_err(|e| self.fault(e.to_string()))
    }

    /// The bytes of every ordinary token, by id; `None` for special and added tokens and holes.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if this is no byte-level tokenizer: then tokens are not byte strings.
    pub(super) fn token_bytes(&self, vocab_size: usize) -> Result<Vec<Option<Vec<u8>>>> {
        if !matches!(self.inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err(self.fault("constrained answers need a byte-level tokenizer".into()));
        }
        let byte_of = byte_level_alphabet();
        let added = self.inner.get_added_tokens_decoder();
        let mut out = vec![None; vocab_size];
        for (token, id) in self.inner.get_vocab(false) {
            if added.contains_key(&id) {
                continue;
            }
            let bytes: Option<Vec<u8>> = token.chars().map(|c| byte_of.get(&c).copied()).collect();
            if let (Some(slot), Some(bytes)) = (out.get_mut(id as usize), bytes)
                && !bytes.is_empty()
            {
                *slot = Some(bytes);
            }
        }
        Ok(out)
    }

    fn fault(&self, reason: String) -> ModelError {
        ModelError::Tokenizer {
            path: self.path.clone(),
            reason,
        }
    }
}

/// GPT-2's map from printable characters to bytes: printable Latin-1 stands for itself, the rest, in order, for
/// the characters from U+0100.
fn byte_level_alphabet() -> HashMap<char, u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 0x100;
    (0..=u8::MAX)
        .filter_map(|b| {
            let c = if printable(b) {
                char::from(b)
            } else {
                next += 1;
                char::from_u32(next - 1)?
            };
            Some((c, b))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_is_the_published_one() {
        let map = byte_level_alphabet();
        assert_eq!(map.len(), 256);
        for (c, b) in [
            ('Ġ', b' '),
            ('Ċ', b'\n'),
            ('a', b'a'),
            ('Ā', 0),
            ('ł', 0xA0),
            ('Ń', 0xAD),
            ('ÿ', 0xFF),
        ] {
            assert_eq!(map.get(&c), Some(&b), "{c}");
        }
    }
}
