//! Messages, and the chat template that turns them into the text of a prompt.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::{ModelError, Result, RgbImage};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A piece of a message.
#[derive(Debug, Clone)]
pub enum Content {
    Text(String),
    Image(RgbImage),
}

#[derive(Debug, Clone)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Content>,
}

/// A conversation that waits for the assistant's answer.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    pub messages: Vec<Message>,
}

impl Prompt {
    /// One user message: the images, then the question.
    pub fn ask(images: impl IntoIterator<Item = RgbImage>, question: impl Into<String>) -> Self {
        let mut content: Vec<_> = images.into_iter().map(Content::Image).collect();
        content.push(Content::Text(question.into()));
        Self {
            messages: vec![Message {
                role: Role::User,
                content,
            }],
        }
    }

    pub fn images(&self) -> impl Iterator<Item = &RgbImage> {
        self.contents().filter_map(|c| match c {
            Content::Image(image) => Some(image),
            Content::Text(_) => None,
        })
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.contents().filter_map(|c| match c {
            Content::Text(text) => Some(text.as_str()),
            Content::Image(_) => None,
        })
    }

    fn contents(&self) -> impl Iterator<Item = &Content> {
        self.messages.iter().flat_map(|m| &m.content)
    }
}

/// What Qwen2.5-VL publishes, for checkpoints that come without a template.
const DEFAULT: &str = "\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
<|im_start|>system\nYou are a helpful assistant.<|im_end|>{{ '\\n' }}
{%- endif -%}
<|im_start|>{{ message.role }}{{ '\\n' }}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
<|im_end|>{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\\n' }}{%- endif -%}
";

/// A compiled chat template with the special tokens it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    file: std::path::PathBuf,
    tokens: Vec<(String, String)>,
    is_default: bool,
}

#[derive(Deserialize, Default)]
struct RawTemplate {
    #[serde(default)]
    chat_template: Option<Templates>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

impl Templates {
    fn default_one(self) -> Option<String> {
        match self {
            Self::One(text) => Some(text),
            Self::Named(all) => all.into_iter().find(|t| t.name == "default").map(|t| t.template),
        }
    }
}

impl ChatTemplate {
    /// The template of `chat_template.jinja`, `chat_template.json` or `tokenizer_config.json`, in this order, or
    /// the published one.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] naming the file whose template does not compile.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        const TOKENIZER: &str = "tokenizer_config.json";
        let settings: RawTemplate = if checkpoint.has(TOKENIZER) {
            checkpoint.json(TOKENIZER)?
        } else {
            RawTemplate::default()
        };
        let tokens = special_tokens(&settings.rest);
        let mut found = None;
        if checkpoint.has("chat_template.jinja") {
            let bytes = checkpoint.read("chat_template.jinja")?;
            found = Some((
                "chat_template.jinja",
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        } else if checkpoint.has("chat_template.json") {
            let raw: RawTemplate = checkpoint.json("chat_template.json")?;
            found = raw
                .chat_template
                .and_then(Templates::default_one)
                .map(|t| ("chat_template.json", t));
        }
        let found = found.or_else(|| {
            let template = settings.chat_template.and_then(Templates::default_one)?;
            Some((TOKENIZER, template))
        });
        let is_default = found.is_none();
        let (file, source) = found.unwrap_or(("chat_template.jinja", DEFAULT.to_owned()));
        Self::compile(source, checkpoint.path(file), tokens, is_default)
    }

    fn compile(
        source: String,
        file: std::path::PathBuf,
        tokens: Vec<(String, String)>,
        is_default: bool,
    ) -> Result<Self> {
        let refuse = |e: Error| ModelError::Tokenizer {
            path: file.clone(),
            reason: format!("chat template: {e}"),
        };
        let mut env = Environment::new();
        // As transformers sets Jinja up.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        env.set_syntax(syntax.map_err(refuse)?);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        env.add_template_owned("chat", source).map_err(refuse)?;
        Ok(Self {
            env,
            file,
            tokens,
            is_default,
        })
    }

    /// Whether the checkpoint came without a template of its own.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// The text of `prompt` up to where the assistant speaks.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the template fails on these messages.
    pub fn render(&self, prompt: &Prompt) -> Result<String> {
        let messages: Vec<Value> = prompt
            .messages
            .iter()
            .map(|message| {
                let content: Vec<Value> = message
                    .content
                    .iter()
                    .map(|part| match part {
                        Content::Text(text) => context! { type => "text", text => text },
                        Content::Image(_) => context! { type => "image" },
                    })
                    .collect();
                context! { role => message.role.as_str(), content => content }
            })
            .collect();
        let tokens = Value::from_iter(self.tokens.iter().cloned());
        let run = || {
            self.env.get_template("chat")?.render(context! {
                messages => messages, add_generation_prompt => true, ..tokens
            })
        };
        run().map_err(|e| ModelError::Tokenizer {
            path: self.file.clone(),
            reason: format!("chat template: {e}"),
        })
    }
}

/// `bos_token`, `eos_token` and their like, each a text or an object with `content`.
fn special_tokens(settings: &serde_json::Map<String, serde_json::Value>) -> Vec<(String, String)> {
    settings
        .iter()
        .filter(|(name, _)| name.ends_with("_token"))
        .filter_map(|(name, value)| {
            let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
            Some((name.clone(), text.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn published_template() {
        let template = ChatTemplate::compile(DEFAULT.into(), "t".into(), Vec::new(), true).unwrap();
        let image = RgbImage::new(1, 1, vec![0; 3]).unwrap();
        let text = template
            .render(&Prompt::ask([image.clone(), image], "Which?"))
            .unwrap();
        assert_eq!(
            text,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n\
             <|vision_start|><|image_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>Which?<|im_end|>\n\
             <|im_start|>assistant\n"
        );
        let mut prompt = Prompt::ask([], " a ");
        prompt.messages.insert(
            0,
            Message {
                role: Role::System,
                content: vec![Content::Text("Be brief.".into())],
            },
        );
        assert_eq!(
            template.render(&prompt).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n a <|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn python_methods_and_refusals() {
        let render = |source: &str| {
            ChatTemplate::compile(source.into(), "t".into(), Vec::new(), false)
                .unwrap()
                .render(&Prompt::ask([], " x "))
        };
        assert_eq!(
            render("{{ messages[0]['content'][0].text.strip() }}").unwrap(),
            "x"
        );
        assert!(matches!(
            render("{{ raise_exception('no') }}"),
            Err(ModelError::Tokenizer { .. })
        ));
        assert!(ChatTemplate::compile("{% if %}".into(), "t".into(), Vec::new(), false).is_err());
    }
}
