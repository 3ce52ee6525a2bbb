//! A Hugging Face Hub in miniature: `resolve` routes, large files behind a redirect to a storage server.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// What `main` points to.
pub const COMMIT: &str = "1111111111111111111111111111111111111111";
const LATER: &str = "2222222222222222222222222222222222222222";

/// What goes wrong with the next `GET` of a file.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The connection breaks after so many bytes of the body.
    CutAfter(usize),
    Status(u16),
    /// 200 and the whole file, whatever range was asked for.
    IgnoreRange,
    /// One byte is another.
    Corrupt,
}

#[derive(Debug, Clone, Default)]
pub struct Log {
    /// File and `Range` header of every request for bytes.
    pub gets: Vec<(String, Option<String>)>,
    /// Revisions of `HEAD` requests.
    pub revisions: Vec<String>,
    /// `Authorization` of requests to the hub, and to the storage behind it.
    pub hub_tokens: Vec<Option<String>>,
    pub storage_tokens: Vec<Option<String>>,
}

struct Stored {
    bytes: Bytes,
    large: bool,
}

#[derive(Default)]
struct Inner {
    files: HashMap<(String, String), Stored>,
    faults: HashMap<String, VecDeque<Fault>>,
    token: Option<String>,
    branch_moves: bool,
    log: Log,
    storage: Option<SocketAddr>,
}

type Shared = Arc<Mutex<Inner>>;

pub struct FakeHub {
    shared: Shared,
    address: SocketAddr,
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn lock(shared: &Shared) -> MutexGuard<'_, Inner> {
    shared.lock().unwrap()
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

impl FakeHub {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let storage = Router::new()
            .route("/store/{owner}/{name}/{file}", any(storage))
            .with_state(Arc::clone(&shared));
        let hub = Router::new()
            .route("/{owner}/{name}/resolve/{revision}/{file}", any(resolve))
            .with_state(Arc::clone(&shared));
        // Another port is another origin, as the real storage is another host.
        let storage = listen(storage).await;
        lock(&shared).storage = Some(storage);
        let address = listen(hub).await;
        Self { shared, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `large` files are kept by sha256 behind a redirect, others by a short tag on the hub itself.
    pub fn put(&self, repository: &str, file: &str, bytes: &[u8], large: bool) {
        let stored = Stored {
            bytes: Bytes::copy_from_slice(bytes),
            large,
        };
        lock(&self.shared)
            .files
            .insert((repository.into(), file.into()), stored);
    }

    pub fn fail(&self, file: &str, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared)
            .faults
            .entry(file.into())
            .or_default()
            .extend(faults);
    }

    pub fn require_token(&self, token: &str) {
        lock(&self.shared).token = Some(format!("Bearer {token}"));
    }

    pub fn move_branch_after_first_look(&self) {
        lock(&self.shared).branch_moves = true;
    }

    pub fn log(&self) -> Log {
        lock(&self.shared).log.clone()
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).map(|v| v.to_str().unwrap().to_owned())
}

async fn resolve(
    State(shared): State<Shared>,
    Path((owner, name, revision, file)): Path<(String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut inner = lock(&shared);
    let token = text(&headers, header::AUTHORIZATION);
    inner.log.hub_tokens.push(token.clone());
    if inner.token.is_some() && inner.token != token {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let key = (format!("{owner}/{name}"), file.clone());
    let Some(stored) = inner.files.get(&key) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (bytes, large) = (stored.bytes.clone(), stored.large);
    let moved = inner.branch_moves && !inner.log.revisions.is_empty();
    let commit = match revision.as_str() {
        "main" if moved => LATER,
        "main" => COMMIT,
        other => other,
    };
    let commit = commit.to_owned();
    if method == Method::HEAD {
        inner.log.revisions.push(revision);
    }
    let answer = Response::builder().header("x-repo-commit", commit);
    if large {
        let hash = sha256(&bytes);
        let to = format!(
            "http://{}/store/{owner}/{name}/{file}?signature=s",
            inner.storage.unwrap()
        );
        let answer = answer
            .status(StatusCode::FOUND)
            .header(header::LOCATION, to)
            .header(header::ETAG, "\"of-the-redirect\"")
            .header("x-linked-etag", format!("\"{hash}\""))
            .header("x-linked-size", bytes.len());
        return answer.body(Body::empty()).unwrap();
    }
    let answer = answer.header(header::ETAG, format!("W/\"{}\"", &sha256(&bytes)[..40]));
    if method == Method::HEAD {
        return answer
            .header(header::CONTENT_LENGTH, bytes.len())
            .body(Body::empty())
            .unwrap();
    }
    inner.log.gets.push((file, text(&headers, header::RANGE)));
    answer.body(Body::from(bytes)).unwrap()
}

async fn storage(
    State(shared): State<Shared>,
    Path((owner, name, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut inner = lock(&shared);
    inner
        .log
        .storage_tokens
        .push(text(&headers, header::AUTHORIZATION));
    let range = text(&headers, header::RANGE);
    inner.log.gets.push((file.clone(), range.clone()));
    let bytes = inner.files[&(format!("{owner}/{name}"), file.clone())]
        .bytes
        .clone();
    let fault = inner.faults.get_mut(&file).and_then(VecDeque::pop_front);
    drop(inner);

    let start = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let start = start
        .filter(|_| !matches!(fault, Some(Fault::IgnoreRange)))
        .unwrap_or(0);
    if start > bytes.len() {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let mut body = bytes.slice(start..);
    let mut answer = Response::builder().header(header::CONTENT_LENGTH, body.len());
    if start > 0 {
        let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
        answer = answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, range);
    }
    match fault {
        Some(Fault::Status(code)) => StatusCode::from_u16(code).unwrap().into_response(),
        Some(Fault::CutAfter(n)) => {
            // Small pieces, so that some are read before the break arrives.
            let pieces: Vec<_> = body
                .slice(..n)
                .chunks(50_000)
                .map(Bytes::copy_from_slice)
                .collect();
            let stream = async_pieces(pieces);
            answer.body(Body::from_stream(stream)).unwrap()
        }
        Some(Fault::Corrupt) => {
            let mut wrong = body.to_vec();
            wrong[0] ^= 1;
            body = wrong.into();
            answer.body(Body::from(body)).unwrap()
        }
        Some(Fault::IgnoreRange) | None => answer.body(Body::from(body)).unwrap(),
    }
}

/// The pieces with a pause between them, then a broken connection.
fn async_pieces(pieces: Vec<Bytes>) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    let last = pieces.len();
    futures::stream::unfold((pieces.into_iter(), 0), move |(mut pieces, sent)| async move {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        match pieces.next() {
            Some(piece) => Some((Ok(piece), (pieces, sent + 1))),
            None if sent == last => Some((Err(std::io::Error::other("cut")), (pieces, sent + 1))),
            None => None,
        }
    })
}
