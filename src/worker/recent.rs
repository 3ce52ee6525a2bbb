//! Results of jobs just finished, so that a job delivered twice is answered twice and run once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::wire::FinalPost;

/// Only successes are kept: a failed job that comes again was sent again to be tried again.
#[derive(Debug)]
pub struct Recent {
    kept: Mutex<VecDeque<Kept>>,
    max_bytes: usize,
    max_age: Duration,
}

#[derive(Debug)]
struct Kept {
    id: String,
    input: [u8; 32],
    post: Arc<FinalPost>,
    since: Instant,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            max_bytes: 64 << 20,
            max_age: Duration::from_secs(15 * 60),
        }
    }
}

impl Recent {
    pub fn remember(&self, id: &str, input: [u8; 32], post: Arc<FinalPost>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|k| k.id != id);
        kept.push_back(Kept {
            id: id.to_owned(),
            input,
            post,
            since: Instant::now(),
        });
        let mut bytes: usize = kept.iter().map(|k| k.post.body.len()).sum();
        while let Some(oldest) = kept.front()
            && (bytes > self.max_bytes || oldest.since.elapsed() > self.max_age)
        {
            bytes -= oldest.post.body.len();
            kept.pop_front();
        }
    }

    /// The post of the same job with the same input.
    pub fn find(&self, id: &str, input: &[u8; 32]) -> Option<Arc<FinalPost>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|k| k.id == id && &k.input == input && k.since.elapsed() <= self.max_age)
            .map(|k| k.post.clone())
    }
}

/// What makes two inputs the same.
pub fn fingerprint(input: &serde_json::Value) -> [u8; 32] {
    Sha256::digest(input.to_string()).into()
}
