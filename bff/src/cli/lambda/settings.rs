//! Settings of a function: the environment, and secrets that it names by their ARN, so that no secret stands in it.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Args, FromArgMatches};
use serde::Deserialize;
use url::Url;

/// Name and password of a database login, as Secrets Manager keeps them.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// Values of variables that are not in the environment.
pub(super) struct Settings(BTreeMap<String, String>);

/// Put beside the program where the database's server shall prove who it is.
const DATABASE_CA: &str = "/var/task/rds-ca.pem";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

async fn client() -> aws_sdk_secretsmanager::Client {
    let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    aws_sdk_secretsmanager::Client::new(&shared)
}

async fn secret(client: &aws_sdk_secretsmanager::Client, id: &str) -> anyhow::Result<String> {
    let answer = client.get_secret_value().secret_id(id).send().await;
    let answer = answer.map_err(|e| {
        use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
        anyhow::anyhow!("Secrets Manager: {}", e.code().unwrap_or("no answer"))
    })?;
    answer
        .secret_string()
        .map(str::to_owned)
        .context("the secret is no text")
}

/// The login in the secret that a variable names.
pub(super) async fn login(name: &str) -> anyhow::Result<Login> {
    let id = variable(name).with_context(|| format!("{name} is not set"))?;
    serde_json::from_str(&secret(&client().await, &id).await?)
        .with_context(|| format!("{name} names no login"))
}

impl Settings {
    pub(super) async fn load() -> anyhow::Result<Self> {
        let client = client().await;
        let mut values = BTreeMap::new();
        for id in variable("BFF_SECRETS").iter().flat_map(|list| list.split(',')) {
            let text = secret(&client, id).await?;
            let more: BTreeMap<String, String> =
                serde_json::from_str(&text).context("a secret of BFF_SECRETS is no JSON object of texts")?;
            values.extend(more);
        }
        if let Some(host) = variable("BFF_DATABASE_HOST") {
            let login = login("BFF_DATABASE_LOGIN").await?;
            let port = variable("BFF_DATABASE_PORT").unwrap_or_else(|| "5432".into());
            let name = variable("BFF_DATABASE_NAME").unwrap_or_else(|| "bio".into());
            let ca = std::path::Path::new(DATABASE_CA).exists().then_some(DATABASE_CA);
            values.insert(
                "DATABASE_URL".into(),
                database_url(&host, &port, &name, &login, ca)?,
            );
        }
        if let Some(host) = variable("BFF_CACHE_HOST") {
            let id = variable("BFF_CACHE_SECRET").context("BFF_CACHE_SECRET is not set")?;
            let kept: BTreeMap<String, String> = serde_json::from_str(&secret(&client, &id).await?)?;
            let password = kept
                .get("password")
                .context("the cache's secret has no password")?;
            let mut url = Url::parse(&format!("rediss://{host}:6379"))?;
            let set = url.set_password(Some(password));
            set.map_err(|()| anyhow::anyhow!("the cache's host is none"))?;
            values.insert("REDIS_URL".into(), url.into());
        }
        Ok(Self(values))
    }

    /// These settings, as the command line and the environment would give them.
    pub(super) fn parse<T: Args + FromArgMatches>(&self) -> anyhow::Result<T> {
        let command = T::augment_args(clap::Command::new("bio-bff").no_binary_name(true));
        let flags: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| {
                let value = self.0.get(argument.get_env()?.to_str()?)?;
                Some(format!("--{}={value}", argument.get_long()?))
            })
            .collect();
        // Not clap's own words, which repeat what was given.
        let matches = command.try_get_matches_from(flags).map_err(|e| {
            let field = e
                .get(clap::error::ContextKind::InvalidArg)
                .map(ToString::to_string);
            anyhow::anyhow!("{} {}", e.kind(), field.unwrap_or_default())
        })?;
        Ok(T::from_arg_matches(&matches)?)
    }
}

fn database_url(
    host: &str,
    port: &str,
    name: &str,
    login: &Login,
    ca: Option<&str>,
) -> anyhow::Result<String> {
    let mut url = Url::parse(&format!("postgres://{host}:{port}/{name}"))?;
    let named = url.set_username(&login.username).is_ok() && url.set_password(Some(&login.password)).is_ok();
    anyhow::ensure!(named, "BFF_DATABASE_HOST is no host");
    let (mode, ca) = ca.map_or(("require", None), |ca| ("verify-full", Some(ca)));
    let ca = ca.map(|ca| ("sslrootcert", ca));
    url.query_pairs_mut()
        .append_pair("sslmode", mode)
        .extend_pairs(ca);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{DatabaseArgs, PushArgs};

    #[test]
    fn secrets_reach_the_flags_of_their_variables() {
        let login = Login {
            username: "api_login".into(),
            password: "p/w:@ ?".into(),
        };
        let url = database_url("db.example", "5433", "bio", &login, Some("/x/ca.pem")).unwrap();
        let settings = Settings(BTreeMap::from([
            ("DATABASE_URL".into(), url),
            ("BFF_FCM_ACCOUNT".into(), "{\"a\": \"b c\"}".into()),
            ("UNKNOWN".into(), "x".into()),
        ]));
        let database: DatabaseArgs = settings.parse().unwrap();
        assert_eq!(
            database.database_url.as_ref().unwrap().expose_secret(),
            "postgres://api_login:p%2Fw%3A%40%20%3F@db.example:5433/bio?sslmode=verify-full&sslrootcert=%2Fx%2Fca.pem"
        );
        assert_eq!(database.options().unwrap().get_username(), "api_login");
        let push: PushArgs = settings.parse().unwrap();
        assert_eq!(push.fcm_account.unwrap().expose_secret(), "{\"a\": \"b c\"}");
    }

    #[test]
    fn a_setting_that_is_none_is_named_and_not_repeated() {
        let settings = Settings(BTreeMap::from([("BFF_DATABASE_WAIT".into(), "canary".into())]));
        let error = format!("{:#}", settings.parse::<DatabaseArgs>().unwrap_err());
        assert!(
            error.contains("--database-wait") && !error.contains("canary"),
            "{error}"
        );
    }
}
