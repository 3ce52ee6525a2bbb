//! Pushing to phones.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use crate::store::devices::{Device, Platform};

/// What a phone gets: a fixed sentence, and an id that says nothing without a token.
#[derive(Debug, Clone)]
pub struct Push {
    pub alert: &'static str,
    pub kind: String,
    pub subject: Uuid,
}

impl Push {
    /// Pushes of one subject replace each other. Apple allows 64 bytes.
    pub fn collapse_id(&self) -> String {
        format!("scan-{}", self.subject)
    }
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Delivered,
    /// The token is no phone's any more; since when, if the service says so.
    Gone(Option<Timestamp>),
    /// Try again, not before this.
    Later(Option<Duration>),
    /// Our key, topic or message is wrong: trying again does not help, somebody has to look. The service's own word.
    Refused(String),
}

/// A push service.
pub trait Sender: Send + Sync + std::fmt::Debug {
    fn send<'a>(&'a self, token: &'a str, push: &'a Push) -> BoxFuture<'a, Sent>;
}

/// The configured services.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    pub apns: Option<Arc<dyn Sender>>,
    pub fcm: Option<Arc<dyn Sender>>,
}

impl Senders {
    /// `None` if the phone's service is not configured.
    pub fn of(&self, device: &Device) -> Option<&Arc<dyn Sender>> {
        match device.platform {
            Platform::Apns => self.apns.as_ref(),
            Platform::Fcm => self.fcm.as_ref(),
        }
    }
}

/// A push service's word, made fit for a log.
pub(super) fn word(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    text.chars().filter(plain).take(60).collect()
}
