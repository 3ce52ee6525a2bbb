//! Where menus come from: Google Places says whether there is such a place, a language model says what it serves.
//!
//! Of Places nothing but the id of a place is asked for, kept or passed on; the model gets the normalised name that the user
//! typed, and what it answers is read by [`crate::domain::menu`].

mod agent;
mod places;

pub use agent::{Agent, Dialect, PATIENCE};
pub use places::Places;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::menu::{Menu, Unusable};
use crate::store::restaurant_cache::{Place, Wanted};

/// Why there is no menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMenu {
    /// Places knows no such place.
    NoSuchPlace,
    /// The model's answer was no menu that can be used.
    Unusable(&'static str),
    /// No answer, or not now.
    Away(Option<Duration>),
    /// Our key, model or request was refused: somebody has to look.
    Refused,
}

impl NoMenu {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchPlace => "no_such_place",
            Self::Unusable(_) => "unusable",
            Self::Away(_) => "away",
            Self::Refused => "refused",
        }
    }

    /// Nobody tries again before this.
    pub fn pause(self) -> SignedDuration {
        match self {
            Self::NoSuchPlace | Self::Unusable(_) | Self::Refused => SignedDuration::from_mins(15),
            Self::Away(told) => {
                let told = told.unwrap_or(Duration::from_secs(60));
                SignedDuration::try_from(told).unwrap_or(SignedDuration::from_mins(1))
            }
        }
    }
}

impl From<Unusable> for NoMenu {
    fn from(why: Unusable) -> Self {
        Self::Unusable(why.as_str())
    }
}

/// The configured sources.
#[derive(Debug)]
pub struct Menus {
    pub agent: Agent,
    /// Without it every name is asked for.
    pub places: Option<Places>,
}

impl Menus {
    /// The place of that name, to be noted before the long call for its menu.
    ///
    /// # Errors
    /// [`NoMenu`].
    pub async fn place(&self, wanted: &Wanted, now: Timestamp) -> Result<Option<Place>, NoMenu> {
        match &self.places {
            None => Ok(None),
            Some(places) => places
                .find(&wanted.key, wanted.place.as_ref(), now)
                .await
                .map(Some),
        }
    }

    /// # Errors
    /// [`NoMenu`].
    pub async fn menu(&self, wanted: &Wanted) -> Result<Menu, NoMenu> {
        self.agent.ask(&wanted.key).await
    }
}
