//! Fetching a menu that somebody waits for.

use std::sync::Arc;

use jiff::SignedDuration;
use uuid::Uuid;

use super::handle::{Failed, Hands};
use crate::menus::{Menus, NoMenu};
use crate::store::restaurant_cache::{Kept, Wanted};

/// A menu is good for this long.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How fetches are run. They take up to a minute.
#[derive(Debug, Clone)]
pub enum Fetching {
    /// Beside the other messages. If the process ends, the claim runs out and the next one who asks starts again.
    Beside(Arc<Menus>),
    /// Before the message is done: a Lambda function is frozen after that.
    Within(Arc<Menus>),
    /// No source is configured.
    Off,
}

pub(super) async fn fetch(hands: &Hands, id: Uuid) -> Result<(), Failed> {
    let Some(wanted) = hands.db.wanted_menu(id, hands.now()).await? else {
        return Ok(());
    };
    match hands.menus.clone() {
        Fetching::Off => note(hands, &wanted, NoMenu::Refused).await,
        Fetching::Within(menus) => fetch_now(hands, &menus, &wanted).await,
        Fetching::Beside(menus) => {
            let hands = hands.clone();
            tokio::spawn(async move {
                if let Err(why) = fetch_now(&hands, &menus, &wanted).await {
                    tracing::warn!("a menu was not fetched: {why}");
                }
            });
            Ok(())
        }
    }
}

async fn fetch_now(hands: &Hands, menus: &Menus, wanted: &Wanted) -> Result<(), Failed> {
    let outcome = async {
        if let Some(place) = menus.place(wanted, hands.now()).await?
            && wanted.place.as_ref() != Some(&place)
        {
            // Before the long call, so that a failure there does not cost a search again.
            let noted = hands.db.keep_place(wanted.id, &place).await;
            noted.map_err(|_| NoMenu::Away(None))?;
        }
        menus.menu(wanted).await
    };
    match outcome.await {
        Ok(menu) => {
            let fetched_at = hands.now();
            let kept = Kept {
                menu,
                fetched_at,
                expires_at: fetched_at + LIFE,
            };
            count("fetched");
            Ok(hands.db.keep_menu(wanted.id, &kept, menus.agent.model()).await?)
        }
        Err(why) => note(hands, wanted, why).await,
    }
}

async fn note(hands: &Hands, wanted: &Wanted, why: NoMenu) -> Result<(), Failed> {
    count(why.as_str());
    match why {
        NoMenu::Refused => {
            tracing::error!("no source of menus, or it refuses our request: see --menu-* of the worker")
        }
        NoMenu::Unusable(reason) => tracing::warn!(reason, "a model's answer is not used"),
        NoMenu::Away(_) => tracing::warn!("the source of menus is away"),
        NoMenu::NoSuchPlace => {}
    }
    let retry_at = hands.now() + why.pause();
    Ok(hands
        .db
        .note_menu_failure(wanted.id, why.as_str(), retry_at)
        .await?)
}

fn count(outcome: &'static str) {
    metrics::counter!("bff_menus_total", "outcome" => outcome).increment(1);
}
