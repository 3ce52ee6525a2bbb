//! From photo to meal. Every step can be repeated and come in any order: each looks at the scan as it is, does what is
//! next, and writes that only if the scan is still there. Webhooks and storage events make it fast; the reconciler
//! makes it sure.

mod collect;
mod keep;
mod meal;
mod reconcile;
mod submit;
mod training;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;
use uuid::Uuid;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::objects::{Buckets, ObjectsError};
use crate::problem::{Code, Problem};
use crate::store::Db;
use crate::vision::{Services, VisionError};

pub use collect::Collected;
pub use meal::{Told, Wished, evidence};
pub use submit::token_hash;
pub use upload::{FORM_LIFE, Signed};

/// Bytes of a photo unless told.
pub const PHOTO_BYTES: u64 = 20 << 20;

/// How scans are made.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bytes of one photo.
    pub photo_bytes: u64,
    /// Scans of one user that may be under way.
    pub under_way: i64,
    /// From a job's submission to its oblivion.
    pub job_life: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            photo_bytes: PHOTO_BYTES,
            under_way: 50,
            job_life: Duration::from_secs(3 * 3600),
        }
    }
}

/// What the flow needs.
#[derive(Debug, Clone)]
pub struct Scans {
    pub db: Db,
    pub cache: Arc<dyn Cache>,
    pub clock: Clock,
    pub buckets: Buckets,
    pub vision: Services,
    /// Where the vision service reaches this one.
    pub public: Url,
    pub rules: Rules,
    pub collecting: Places,
}

/// Results in hand at a time, in one process.
const IN_HAND: usize = 16;

/// Places for results in hand; clones share them.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(IN_HAND)))
    }
}

impl Places {
    async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        self.0.acquire().await.ok()
    }
}

/// Why a step was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("storage: {0}")]
    Storage(#[from] ObjectsError),
    #[error("{0}")]
    Vision(#[from] VisionError),
}

impl From<Stuck> for Problem {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Database(error) => error.into(),
            Stuck::Storage(error) => {
                tracing::warn!("storage: {error}");
                Self::new(Code::StorageUnavailable, "the storage of photos does not answer")
            }
            Stuck::Vision(error) => {
                tracing::warn!("{error}");
                Self::new(Code::VisionUnavailable, "the vision service does not answer")
            }
        }
    }
}

type Outcome<T> = Result<T, Stuck>;

impl Scans {
    /// Where a picture of a scan is kept.
    pub fn picture_key(user: Uuid, meal_group: Uuid, scan: Uuid, picture: Picture) -> String {
        let name = picture.as_str();
        format!("user_{user}/{meal_group}/{scan}-{name}.png")
    }
}

/// Pictures that a scan comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    Overlay,
    Depth,
}

impl Picture {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Depth => "depth",
        }
    }
}
