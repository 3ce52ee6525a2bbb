//! In place of `heif` where the program is built without it.

use super::container::{Contents, foreign};
use super::decode::Picture;
use crate::contract::ScanError;

/// There is none.
#[derive(Debug)]
pub(super) struct Still<'a>(std::convert::Infallible, std::marker::PhantomData<&'a ()>);

pub(super) fn open(_bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    Err(foreign(
        "this program was built without HEIC (cargo feature `heif`)",
    ))
}

impl Still<'_> {
    pub(super) fn decode(&self) -> Result<Picture, ScanError> {
        match self.0 {}
    }
}
