//! Where the worker gets menus of restaurants.

use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use url::Url;

use super::{ConfigError, secret, wrong};
use crate::menus::{Agent, Dialect, Menus, PATIENCE, Places};
use crate::outgoing;

/// A language model, and optionally Google Places.
#[derive(Debug, Clone, Args)]
pub struct MenuArgs {
    /// Base URL of a language model of OpenAI's shape, for instance `https://api.perplexity.ai` or
    /// `https://generativelanguage.googleapis.com/v1beta/openai`. Without it no menus are fetched.
    #[arg(long, env = "BFF_MENU_LLM_URL")]
    pub menu_llm_url: Option<String>,
    /// Its key.
    #[arg(long, env = "BFF_MENU_LLM_KEY", hide_env_values = true, value_parser = secret)]
    pub menu_llm_key: Option<SecretString>,
    /// Its name at that provider, for instance `sonar`.
    #[arg(long, env = "BFF_MENU_LLM_MODEL")]
    pub menu_llm_model: Option<String>,
    /// How it is told the schema of the answer.
    #[arg(long, env = "BFF_MENU_LLM_SCHEMA", value_enum, default_value_t = Dialect::Openai)]
    pub menu_llm_schema: Dialect,
    /// Key of Google Places; then only names that Places knows are asked for.
    #[arg(long, env = "BFF_PLACES_KEY", hide_env_values = true, value_parser = secret)]
    pub places_key: Option<SecretString>,
    /// Where Places is.
    #[arg(long, env = "BFF_PLACES_URL", default_value = "https://places.googleapis.com")]
    pub places_url: String,
}

fn url(text: &str, name: &str) -> Result<Url, ConfigError> {
    outgoing::base(text).ok_or_else(|| {
        wrong(
            format!("{name} is no URL to send a key to"),
            "write https://..., or http on loopback",
        )
    })
}

fn no_client(_: reqwest::Error) -> ConfigError {
    wrong(
        "the client for menus cannot be made",
        "look at the system's certificates",
    )
}

impl MenuArgs {
    /// `None` if menus are off.
    ///
    /// # Errors
    /// Half a configuration.
    pub fn open(&self) -> Result<Option<Arc<Menus>>, ConfigError> {
        let Some(base) = &self.menu_llm_url else {
            return Ok(None);
        };
        let (Some(key), Some(model)) = (&self.menu_llm_key, &self.menu_llm_model) else {
            return Err(wrong(
                "BFF_MENU_LLM_URL is set without its key or model",
                "set BFF_MENU_LLM_KEY and BFF_MENU_LLM_MODEL too",
            ));
        };
        let base = url(base, "BFF_MENU_LLM_URL")?;
        let agent = Agent::new(base, key.clone(), model.clone(), self.menu_llm_schema, PATIENCE);
        let places = match &self.places_key {
            None => None,
            Some(key) => {
                Some(Places::new(url(&self.places_url, "BFF_PLACES_URL")?, key.clone()).map_err(no_client)?)
            }
        };
        Ok(Some(Arc::new(Menus {
            agent: agent.map_err(no_client)?,
            places,
        })))
    }
}
