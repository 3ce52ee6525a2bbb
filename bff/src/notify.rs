//! Telling a user's clients that something has changed: "go and fetch", by kind and id, never what it is.
//!
//! A notice is written with the change ([`crate::store::UserTx::tell`]). Sockets of this service hear of it through
//! LISTEN/NOTIFY ([`hub`]); the worker posts it to sockets that a gateway holds ([`gateway`]) and pushes it to
//! phones ([`push`]). All three are at least once: a client drops an event id that it has seen.

pub mod apns;
pub mod fcm;
pub mod frame;
pub mod gateway;
pub mod hub;
pub mod push;
