//! Path and query parameters with the common refusals.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::{Code, Problem};
use crate::store::UserId;
use crate::store::page::{List, Place};

/// An id in the path; what is no id is nothing of anybody's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<Uuid>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found())
    }
}

/// A date in the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(pub Date);

impl<S: Send + Sync> FromRequestParts<S> for Day {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let date = path.ok().and_then(|Path(text)| text.parse::<Date>().ok());
        date.filter(|d| (2000..=2100).contains(&d.year()))
            .map(Self)
            .ok_or_else(Problem::not_found)
    }
}

/// Query parameters.
#[derive(Debug)]
pub(super) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(t)| Self(t))
            .map_err(|_| Problem::field("?", "wrong_type_or_unknown"))
    }
}

/// Rows of a page unless told.
const USUAL: u32 = 50;
const MOST: u32 = 200;

/// `limit` and `cursor`, checked.
pub(super) fn page(
    user: UserId,
    filter: &str,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<(List, u32, Option<Place>), Problem> {
    let list = List::of(user, filter);
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::field("?limit", "out_of_range"));
    }
    let place = match cursor {
        None => None,
        Some(text) => {
            let place = list.place(text);
            Some(place.ok_or_else(|| Problem::new(Code::CursorInvalid, "this cursor is not of this list"))?)
        }
    };
    Ok((list, limit, place))
}
