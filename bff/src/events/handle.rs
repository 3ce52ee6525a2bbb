//! One message.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use uuid::Uuid;

use super::{deliver, energy, erase, menu, scan};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::notify::gateway::Gateway;
use crate::notify::push::Senders;
use crate::objects::Objects;
use crate::problem::Problem;
use crate::queue::Event;
use crate::scans::Scans;
use crate::store::outbox::kinds::{
    CALCULATE_ENERGY_SCORE, DELIVER, ERASE_USER, FETCH_MENU, REFRESH_HEALTH_DAILY, UPDATE_DAILY_PLAN,
};
use crate::store::{Db, UserId};

/// What handlers can reach.
#[derive(Debug, Clone)]
pub struct Hands {
    pub db: Db,
    pub cache: Arc<dyn Cache>,
    pub clock: Clock,
    /// Below this the day's plan changes.
    pub threshold: f64,
    /// What may hold objects of users.
    pub objects: Vec<Objects>,
    /// `None` where this process does not look after scans.
    pub scans: Option<Arc<Scans>>,
    pub menus: menu::Fetching,
    /// Whoever holds sockets that are not this service's own.
    pub gateway: Option<Arc<dyn Gateway>>,
    pub push: Senders,
}

/// Why a message was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// It will never be: the queue's dead letters are for it.
    #[error("not an event")]
    Poisoned,
    #[error("{0}")]
    Later(&'static str),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Later(problem.code.as_str())
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Problem::from(error).into()
    }
}

impl Hands {
    /// # Errors
    /// [`Failed`]; then the message comes again.
    pub async fn handle(&self, body: &Value) -> Result<(), Failed> {
        let event = Event::deserialize_ref(body).ok_or(Failed::Poisoned)?;
        let done = match event.kind.as_str() {
            CALCULATE_ENERGY_SCORE => self.for_user(event.user_id, |u| energy::calculate(self, u)).await,
            UPDATE_DAILY_PLAN => {
                let date = event.date("date").ok_or(Failed::Poisoned)?;
                self.for_user(event.user_id, |u| energy::update_plan(self, u, date))
                    .await
            }
            DELIVER => {
                let notice = event.payload.get("notice").and_then(Value::as_i64);
                let notice = notice.ok_or(Failed::Poisoned)?;
                self.for_user(event.user_id, |u| deliver::deliver(self, u, notice))
                    .await
            }
            FETCH_MENU => {
                let id = event.payload.get("menu").and_then(Value::as_str);
                let id = id.and_then(|id| id.parse().ok()).ok_or(Failed::Poisoned)?;
                self.for_user(event.user_id, |_| menu::fetch(self, id)).await
            }
            REFRESH_HEALTH_DAILY => {
                let days = event.date("from").zip(event.date("to"));
                let (from, to) = days.ok_or(Failed::Poisoned)?;
                self.db
                    .refresh_aggregates(Some((from, to)))
                    .await
                    .map_err(Failed::from)
            }
            ERASE_USER => erase::erase(self, event.user_id).await,
            kind if scan::is_ours(kind) => {
                self.for_user(event.user_id, |u| scan::handle(self, u, &event))
                    .await
            }
            _ => Err(Failed::Poisoned),
        };
        let outcome = if done.is_ok() { "done" } else { "failed" };
        metrics::counter!("bff_events_total", "kind" => event.kind, "outcome" => outcome).increment(1);
        done
    }

    /// For a user who was erased meanwhile there is nothing to do.
    async fn for_user<F: Future<Output = Result<(), Failed>>>(
        &self,
        id: Uuid,
        work: impl FnOnce(UserId) -> F,
    ) -> Result<(), Failed> {
        match self.db.existing(id).await? {
            Some(user) => work(user).await,
            None => Ok(()),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Event {
    fn deserialize_ref(body: &Value) -> Option<Self> {
        serde::Deserialize::deserialize(body).ok()
    }

    fn date(&self, name: &str) -> Option<Date> {
        self.payload.get(name)?.as_str()?.parse().ok()
    }
}
