//! `/v1/foods`: what the food table knows under a name.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::SharedApp;
use super::problem::Problem;
use super::refusals::OfQuery;
use crate::contract::quote::said;
use crate::contract::result::FoodsInfo;
use crate::contract::{ErrorCode, bounds};
use crate::nutrition::FoundFood;

/// Rows of one answer.
const MOST: usize = 50;
const USUAL: usize = 5;

/// Foods by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoodsAnswer {
    /// The table that was looked in.
    pub foods: FoodsInfo,
    /// What a scan takes the name for comes first, then the rows with the nearest names.
    pub found: Vec<FoundFood>,
}

/// `?q=` and `&n=`.
#[derive(Debug)]
pub struct Asked {
    name: String,
    rows: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let (mut name, mut rows) = (None, USUAL);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "q" => name = Some(value.into_owned()),
                "n" => {
                    let number = value.parse().ok().filter(|n| (1..=MOST).contains(n));
                    rows = number.ok_or_else(|| {
                        invalid(format!("n is no number from 1 to {MOST}: {:?}", said(&value)))
                    })?;
                }
                // Clients add keys and counters of their own.
                _ => {}
            }
        }
        let name = name.filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| invalid("q: which food?".into()))?;
        if name.len() > bounds::LABEL_BYTES {
            let text = format!(
                "q: has {} bytes; the limit is {}",
                name.len(),
                bounds::LABEL_BYTES
            );
            return Err(invalid(text));
        }
        Ok(Self { name, rows })
    }
}

fn invalid(text: String) -> Problem {
    Problem {
        next_step: Some("ask for /v1/foods?q=boiled+egg&n=5".into()),
        ..Problem::new(ErrorCode::InvalidField, text)
    }
}

/// Foods of the table by name: what a scan would take the name for, then the nearest others.
#[utoipa::path(get, path = "/v1/foods", tag = "direct",
    params(("q" = String, Query, description = "a food as a person or a model would say it, with an amount if they like", max_length = 200),
           ("n" = Option<u8>, Query, description = "rows; 5 if absent", minimum = 1, maximum = 50)),
    responses((status = 200, description = "the best row first", body = FoodsAnswer), OfQuery))]
pub async fn foods(State(app): State<SharedApp>, asked: Asked) -> Json<FoodsAnswer> {
    let foods = app.executor.foods().current();
    Json(FoodsAnswer {
        found: foods.table.foods_called(asked.name.trim(), asked.rows),
        foods: foods.info,
    })
}
