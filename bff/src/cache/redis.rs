//! In Redis, shared by every process: `user:{id}:dashboard`, a hash of the current version `v`, the body and the version
//! `bv` that it was computed under, and the server run that it was stored in.
//!
//! The run guards against a server that comes back with an old snapshot: entries of another run are not believed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};

use super::{Cache, Look, Ticket};
use crate::store::UserId;

/// For an answer, unless told.
const PATIENCE: Duration = Duration::from_millis(250);
const RECONNECT: Duration = Duration::from_millis(200);
/// Versions without a body are forgotten after this; random versions make that safe.
const VERSION_LIFE_MS: i64 = 3_600_000;

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// Identity of the server process behind this very connection.
    run: Arc<str>,
}

struct Inner {
    client: Client,
    patience: Duration,
    live: RwLock<Option<Live>>,
    /// When the next connection may be tried; `None` while one is being tried.
    next_try: Mutex<Option<Instant>>,
    /// Users whose new version the server has not been told.
    untold: Mutex<HashSet<UserId>>,
    fill: Script,
}

/// Cheap to clone; the same cache.
#[derive(Clone)]
pub struct RedisCache(Arc<Inner>);

impl std::fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisCache")
    }
}

fn key(user: UserId) -> String {
    format!("user:{}:dashboard", user.uuid())
}

fn new_version() -> String {
    rand::random::<u64>().to_string()
}

impl RedisCache {
    /// Connects on first use.
    ///
    /// # Errors
    /// The URL does not parse.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Self::patient(url, PATIENCE)
    }

    /// A server that takes longer than `patience` is treated as away.
    ///
    /// # Errors
    /// The URL does not parse.
    pub fn patient(url: &str, patience: Duration) -> Result<Self, RedisError> {
        Ok(Self(Arc::new(Inner {
            client: Client::open(url)?,
            patience,
            live: RwLock::new(None),
            next_try: Mutex::new(Some(Instant::now())),
            untold: Mutex::new(HashSet::new()),
            fill: Script::new(
                "if redis.call('HGET', KEYS[1], 'v') == ARGV[1] then \
                 redis.call('HSET', KEYS[1], 'bv', ARGV[1], 'run', ARGV[2], 'body', ARGV[3]) \
                 redis.call('PEXPIRE', KEYS[1], ARGV[4]) end",
            ),
        })))
    }

    /// The connection, or `None` while there is none; then one is being made in passing.
    async fn live(&self) -> Option<Live> {
        let live = self.0.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        match live {
            Some(live) => Some(live),
            None => self.reconnect().await,
        }
    }

    /// One tries, the others bypass.
    async fn reconnect(&self) -> Option<Live> {
        {
            let mut next = self.0.next_try.lock().unwrap_or_else(PoisonError::into_inner);
            match *next {
                Some(at) if at <= Instant::now() => *next = None,
                _ => return None,
            }
        }
        // In a task of its own: a request that is cut off must not leave the place of the one who tries.
        let this = self.clone();
        let made = tokio::spawn(async move {
            let made = this.connect().await;
            if let Some(live) = &made {
                *this.0.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
            }
            *this.0.next_try.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Instant::now() + RECONNECT);
            made
        });
        made.await.ok().flatten()
    }

    async fn connect(&self) -> Option<Live> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.0.patience))
            .set_response_timeout(Some(self.0.patience));
        let mut connection = self
            .0
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .ok()?;
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await
            .ok()?;
        let run = info
            .lines()
            .find_map(|l| l.strip_prefix("run_id:"))?
            .trim()
            .into();
        let live = Live { connection, run };
        // What the server was not told while it was away; who comes too late for this tells it at the next look.
        let untold: Vec<UserId> = self.untold().iter().copied().collect();
        for user in untold {
            tell(&live, user).await.ok()?;
            self.untold().remove(&user);
        }
        tracing::info!("connected to Redis");
        Some(live)
    }

    fn untold(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_untold(&self, user: UserId) -> bool {
        self.untold().contains(&user)
    }

    fn note_untold(&self, user: UserId) {
        self.untold().insert(user);
    }

    /// Tells the server a new version; false, and noted, if it cannot be reached.
    async fn tell(&self, live: &Live, user: UserId) -> bool {
        match tell(live, user).await {
            Ok(()) => {
                self.untold().remove(&user);
                true
            }
            Err(error) => {
                self.note_untold(user);
                self.lost(&error);
                false
            }
        }
    }

    fn lost(&self, error: &RedisError) {
        let mut live = self.0.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.take().is_some() {
            tracing::warn!(kind = ?error.kind(), "Redis is away; answering without it");
        }
    }

    async fn try_look(&self, live: &mut Live, user: UserId) -> Result<Look, RedisError> {
        type Fields = (Option<String>, Option<String>, Option<String>, Option<Vec<u8>>);
        let (v, bv, run, body): Fields = redis::cmd("HMGET")
            .arg(key(user))
            .arg(&["v", "bv", "run", "body"])
            .query_async(&mut live.connection)
            .await?;
        if let (Some(v), Some(bv), Some(run), Some(body)) = (&v, bv, run, body)
            && *v == bv
            && *run == *live.run
        {
            return Ok(Look::Hit(body));
        }
        let v = match v {
            Some(v) => v,
            None => {
                let (_, v): (bool, String) = redis::pipe()
                    .cmd("HSETNX")
                    .arg(key(user))
                    .arg("v")
                    .arg(new_version())
                    .cmd("HGET")
                    .arg(key(user))
                    .arg("v")
                    .query_async(&mut live.connection)
                    .await?;
                v
            }
        };
        Ok(v.parse().map_or(Look::Bypass, |v| Look::Miss(Ticket(v))))
    }
}

async fn tell(live: &Live, user: UserId) -> Result<(), RedisError> {
    redis::pipe()
        .cmd("HSET")
        .arg(key(user))
        .arg("v")
        .arg(new_version())
        .ignore()
        .cmd("PEXPIRE")
        .arg(key(user))
        .arg(VERSION_LIFE_MS)
        .ignore()
        .query_async(&mut live.connection.clone())
        .await
}

impl Cache for RedisCache {
    fn look(&self, user: UserId) -> BoxFuture<'_, Look> {
        Box::pin(async move {
            let Some(mut live) = self.live().await else {
                return Look::Bypass;
            };
            if self.is_untold(user) && !self.tell(&live, user).await {
                return Look::Bypass;
            }
            match self.try_look(&mut live, user).await {
                Ok(look) => look,
                Err(error) => {
                    self.lost(&error);
                    Look::Bypass
                }
            }
        })
    }

    fn fill(&self, user: UserId, ticket: Ticket, body: Vec<u8>, life: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(mut live) = self.live().await else { return };
            let run = live.run.clone();
            let outcome: Result<(), _> = self
                .0
                .fill
                .key(key(user))
                .arg(ticket.0.to_string())
                .arg(&*run)
                .arg(body)
                .arg(u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1))
                .invoke_async(&mut live.connection)
                .await;
            if let Err(error) = outcome {
                self.lost(&error);
            }
        })
    }

    fn invalidate(&self, user: UserId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // First, so that no look slips through between a failure and its note.
            self.note_untold(user);
            for _ in 0..2 {
                let Some(live) = self.live().await else { return };
                if self.tell(&live, user).await {
                    return;
                }
            }
        })
    }

    fn forget(&self, user: UserId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Should the server be away now, the new version makes what it has unbelievable until it expires.
            self.invalidate(user).await;
            if let Some(mut live) = self.live().await {
                let gone: Result<(), _> = redis::cmd("DEL")
                    .arg(key(user))
                    .query_async(&mut live.connection)
                    .await;
                if let Err(error) = gone {
                    self.lost(&error);
                }
            }
        })
    }

    fn healthy(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let Some(mut live) = self.live().await else {
                return false;
            };
            let pong: Result<String, _> = redis::cmd("PING").query_async(&mut live.connection).await;
            pong.inspect_err(|e| self.lost(e)).is_ok()
        })
    }
}
