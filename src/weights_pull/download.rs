//! One file: resume, hash, sync, rename, link.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dragunov_models::weights::{HubCache, Model, WeightFile, sha256_file};
use futures::StreamExt;
use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use tokio::io::AsyncWriteExt;

use super::client::{Hub, Remote, check_status};
use super::{Event, Progress, PullError};

pub(super) struct Job<'a> {
    pub(super) hub: &'a Hub,
    pub(super) cache: &'a HubCache,
    pub(super) model: &'a Model,
    pub(super) file: &'a WeightFile,
    pub(super) remote: &'a Remote,
    /// Hash recorded when the blob was made.
    pub(super) known: Option<String>,
}

impl Job<'_> {
    /// Makes sure that the blob is there; gives its sha256.
    pub(super) async fn run(&self, progress: Progress<'_>) -> Result<String, PullError> {
        let blobs = self.cache.repository(self.model).join("blobs");
        fs::create_dir_all(&blobs).map_err(PullError::io(&blobs))?;
        let blob = blobs.join(&self.remote.etag);
        let _lock = self.lock().await?;
        let complete = fs::metadata(&blob).is_ok_and(|m| self.remote.size.is_none_or(|size| m.len() == size));
        if complete {
            progress(Event::Checking {
                file: &self.file.path,
            });
            let sha256 = hash(&blob).await?;
            let told = [self.known.as_deref(), self.remote.sha256()];
            if told
                .into_iter()
                .flatten()
                .all(|told| told.eq_ignore_ascii_case(&sha256))
            {
                self.check(&sha256)?;
                self.done(progress, &sha256, false);
                return Ok(sha256);
            }
            // It was whole once, and the disk or somebody has changed it since.
            progress(Event::Damaged {
                file: &self.file.path,
            });
            fs::remove_file(&blob).map_err(PullError::io(&blob))?;
        }
        let part = blobs.join(format!("{}.incomplete", self.remote.etag));
        self.fetch(&part, progress).await?;
        progress(Event::Checking {
            file: &self.file.path,
        });
        let sha256 = hash(&part).await?;
        if let Err(e) = self.check(&sha256) {
            fs::remove_file(&part).map_err(PullError::io(&part))?;
            return Err(e);
        }
        let synced = File::open(&part).and_then(|f| f.sync_all());
        synced.map_err(PullError::io(&part))?;
        fs::rename(&part, &blob).map_err(PullError::io(&blob))?;
        let synced = File::open(&blobs).and_then(|f| f.sync_all());
        synced.map_err(PullError::io(&blobs))?;
        self.done(progress, &sha256, true);
        Ok(sha256)
    }

    fn done(&self, progress: Progress<'_>, sha256: &str, fetched: bool) {
        progress(Event::Done {
            file: &self.file.path,
            sha256,
            pinned: self.file.sha256.is_some(),
            fetched,
        });
    }

    /// Against the table, and against the hub's own hash where it gives one.
    fn check(&self, found: &str) -> Result<(), PullError> {
        let expected = [self.file.sha256.as_deref(), self.remote.sha256()];
        for expected in expected.into_iter().flatten() {
            if !expected.eq_ignore_ascii_case(found) {
                return Err(PullError::Hash {
                    file: format!("{}/{}", self.model.repository, self.file.path),
                    expected: expected.to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Held against other processes until dropped; where `huggingface_hub` has its locks.
    async fn lock(&self) -> Result<File, PullError> {
        let name = format!("models--{}", self.model.repository.replace('/', "--"));
        let folder = self.cache.root().join(".locks").join(name);
        fs::create_dir_all(&folder).map_err(PullError::io(&folder))?;
        let path = folder.join(format!("{}.lock", self.remote.etag));
        tokio::task::spawn_blocking(move || {
            let file = File::create(&path).map_err(PullError::io(&path))?;
            file.lock().map_err(PullError::io(&path))?;
            Ok(file)
        })
        .await
        .unwrap_or_else(|e| Err(joined(e)))
    }

    /// Fills `part`, attempt after attempt; attempts that brought bytes do not count.
    async fn fetch(&self, part: &Path, progress: Progress<'_>) -> Result<(), PullError> {
        let config = self.hub.config();
        let (mut fruitless, mut pause) = (0, config.pause);
        progress(Event::Start {
            file: &self.file.path,
            total: self.remote.size,
            have: length(part)?,
        });
        loop {
            let before = length(part)?;
            if self.remote.size.is_some_and(|size| before > size) {
                fs::remove_file(part).map_err(PullError::io(part))?;
                continue;
            }
            if self.remote.size.is_some_and(|size| before == size) {
                return self.touch(part);
            }
            let reason = match self.attempt(part, before, progress).await {
                Ok(())
                    if self
                        .remote
                        .size
                        .is_none_or(|size| length(part).is_ok_and(|n| n == size)) =>
                {
                    return Ok(());
                }
                Ok(()) => "the connection ended early".to_owned(),
                Err(PullError::Broken { reason, .. }) => reason,
                Err(e) => return Err(e),
            };
            if length(part)? > before {
                (fruitless, pause) = (0, config.pause);
            } else {
                fruitless += 1;
            }
            if fruitless >= config.attempts {
                return Err(PullError::Broken {
                    url: self.remote.url.to_string(),
                    attempts: fruitless,
                    reason,
                });
            }
            progress(Event::Retry { reason: &reason });
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// An empty file needs no request.
    fn touch(&self, part: &Path) -> Result<(), PullError> {
        let opened = File::options().create(true).append(true).open(part);
        opened.map(drop).map_err(PullError::io(part))
    }

    /// One request. [`PullError::Broken`] is worth another.
    async fn attempt(&self, part: &Path, have: u64, progress: Progress<'_>) -> Result<(), PullError> {
        let broken = |reason: String| PullError::Broken {
            url: self.remote.url.to_string(),
            attempts: 1,
            reason,
        };
        let response = self.hub.get(&self.remote.url, have).await?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(broken(format!("answered {status}")));
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            fs::remove_file(part).map_err(PullError::io(part))?;
            return Err(broken("the range is gone; starting over".into()));
        }
        check_status(&self.remote.url, status)?;
        let range = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|v| v.to_str().ok());
        let continues = status == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|r| r.starts_with(&format!("bytes {have}-")));
        if status == StatusCode::PARTIAL_CONTENT && !continues {
            return Err(broken(format!(
                "answered the range {range:?} for bytes from {have}"
            )));
        }
        // A server that ignores the range sends all of it again.
        let mut at = if continues { have } else { 0 };
        let mut options = tokio::fs::OpenOptions::new();
        options
            .create(true)
            .write(true)
            .append(continues)
            .truncate(!continues);
        let mut out = options.open(part).await.map_err(PullError::io(part))?;
        let mut body = response.bytes_stream();
        let result = loop {
            match body.next().await {
                None => break Ok(()),
                Some(Err(e)) => break Err(broken(e.without_url().to_string())),
                Some(Ok(bytes)) => {
                    out.write_all(&bytes).await.map_err(PullError::io(part))?;
                    at += bytes.len() as u64;
                    progress(Event::At(at));
                }
            }
        };
        // What came before the break is kept for the next attempt.
        out.flush().await.map_err(PullError::io(part))?;
        result
    }
}

fn joined(e: tokio::task::JoinError) -> PullError {
    PullError::Io {
        path: PathBuf::new(),
        source: std::io::Error::other(e),
    }
}

async fn hash(path: &Path) -> Result<String, PullError> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || sha256_file(&path).map_err(PullError::io(&path))).await;
    Ok(hashed.unwrap_or_else(|e| Err(joined(e)))?.0)
}

/// 0 if there is no such file.
fn length(path: &Path) -> Result<u64, PullError> {
    match fs::metadata(path) {
        Ok(m) => Ok(m.len()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
        Err(source) => Err(PullError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// `snapshots/{commit}/{file}` as a relative link to the blob.
pub(super) fn link(repository: &Path, commit: &str, file: &str, etag: &str) -> Result<(), PullError> {
    let path = repository.join("snapshots").join(commit).join(file);
    let up = "../".repeat(1 + file.split('/').count());
    let result = (|| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let draft = path.with_added_extension("link");
        if draft.symlink_metadata().is_ok() {
            fs::remove_file(&draft)?;
        }
        std::os::unix::fs::symlink(format!("{up}blobs/{etag}"), &draft)?;
        fs::rename(&draft, &path)
    })();
    result.map_err(PullError::io(&path))
}

/// Points `refs/{revision}` at the commit.
pub(super) fn write_ref(repository: &Path, revision: &str, commit: &str) -> Result<(), PullError> {
    let path = repository.join("refs").join(revision);
    let result = (|| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let draft = path.with_added_extension("tmp");
        fs::write(&draft, commit)?;
        fs::rename(&draft, &path)
    })();
    result.map_err(PullError::io(&path))
}
