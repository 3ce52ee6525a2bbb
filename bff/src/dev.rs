//! `bio-bff dev`: everything on one machine, for looking at. Its tokens are worth nothing elsewhere.

pub mod guide;
pub mod idp;
pub mod menus;
pub mod page;
pub mod s3;
pub mod sample;
pub mod scans;
pub mod servers;
pub mod vision;
