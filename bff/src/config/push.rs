//! Push services of the worker, and the gateway that holds sockets.

use std::sync::Arc;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, secret, wrong};
use crate::notify::apns::{Apns, ApnsAccount};
use crate::notify::fcm::{Fcm, FcmAccount};
use crate::notify::gateway::{ApiGateway, Gateway};
use crate::notify::push::{Sender, Senders};
use crate::outgoing;
use crate::store::Db;

/// Apple's and Google's.
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    /// Text of Apple's `.p8` key; without it no push to Apple's phones.
    #[arg(long, env = "BFF_APNS_KEY", hide_env_values = true, value_parser = secret)]
    pub apns_key: Option<SecretString>,
    /// Id of that key, ten characters.
    #[arg(long, env = "BFF_APNS_KEY_ID")]
    pub apns_key_id: Option<String>,
    /// Apple's id of the team, ten characters.
    #[arg(long, env = "BFF_APNS_TEAM_ID")]
    pub apns_team_id: Option<String>,
    /// Bundle id of the app.
    #[arg(long, env = "BFF_APNS_TOPIC")]
    pub apns_topic: Option<String>,
    /// `https://api.sandbox.push.apple.com` for apps signed for development.
    #[arg(long, env = "BFF_APNS_URL", default_value = "https://api.push.apple.com")]
    pub apns_url: String,
    /// JSON key of a Google service account; without it no push through FCM.
    #[arg(long, env = "BFF_FCM_ACCOUNT", hide_env_values = true, value_parser = secret)]
    pub fcm_account: Option<SecretString>,
    /// Where FCM is.
    #[arg(long, env = "BFF_FCM_URL", default_value = "https://fcm.googleapis.com")]
    pub fcm_url: String,
}

/// API Gateway's WebSocket API.
#[derive(Debug, Clone, Args)]
pub struct GatewayArgs {
    /// Address of its stage for posting, `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    #[arg(long, env = "BFF_WEBSOCKET_ENDPOINT")]
    pub websocket_endpoint: Option<String>,
}

impl GatewayArgs {
    pub async fn open(&self) -> Option<Arc<dyn Gateway>> {
        match &self.websocket_endpoint {
            Some(endpoint) => Some(Arc::new(ApiGateway::new(endpoint).await)),
            None => None,
        }
    }
}

impl PushArgs {
    /// # Errors
    /// Half a configuration, or a key that is none.
    pub fn open(&self, db: &Db) -> Result<Senders, ConfigError> {
        Ok(Senders {
            apns: self.apns(db)?,
            fcm: self.fcm()?,
        })
    }

    fn apns(&self, db: &Db) -> Result<Option<Arc<dyn Sender>>, ConfigError> {
        let Some(key) = &self.apns_key else {
            return Ok(None);
        };
        let (Some(key_id), Some(team_id), Some(topic)) =
            (&self.apns_key_id, &self.apns_team_id, &self.apns_topic)
        else {
            return Err(wrong(
                "BFF_APNS_KEY is set without its id, team or topic",
                "set BFF_APNS_KEY_ID, BFF_APNS_TEAM_ID and BFF_APNS_TOPIC too",
            ));
        };
        let base = outgoing::base(&self.apns_url)
            .ok_or_else(|| wrong("BFF_APNS_URL is no https URL", "write https://api.push.apple.com"))?;
        let account = ApnsAccount {
            base,
            key_id: key_id.clone(),
            team_id: team_id.clone(),
            topic: topic.clone(),
            // As environment variables hold it.
            key: key.expose_secret().replace("\\n", "\n").into(),
        };
        let apns = Apns::new(account, db.clone());
        let apns = apns.map_err(|e| {
            wrong(
                format!("APNs: {e}"),
                "give the text of the .p8 file in BFF_APNS_KEY",
            )
        })?;
        Ok(Some(Arc::new(apns)))
    }

    fn fcm(&self) -> Result<Option<Arc<dyn Sender>>, ConfigError> {
        let Some(account) = &self.fcm_account else {
            return Ok(None);
        };
        let next = "give the text of the service account's JSON key in BFF_FCM_ACCOUNT";
        let account: FcmAccount = serde_json::from_str(account.expose_secret())
            .map_err(|_| wrong("BFF_FCM_ACCOUNT is no service account", next))?;
        let base = outgoing::base(&self.fcm_url).ok_or_else(|| wrong("BFF_FCM_URL is no https URL", next))?;
        let fcm = Fcm::new(base, account).map_err(|e| wrong(format!("FCM: {e}"), next))?;
        Ok(Some(Arc::new(fcm)))
    }
}
