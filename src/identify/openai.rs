//! Naming regions through any OpenAI-compatible vision API (`POST {base}/chat/completions`).
//!
//! One request a crop, a few at a time, one for a dozen crops, or one for all boxes of a photo. Servers differ: strict JSON schema is asked for
//! first, then a plain JSON object, then nothing but the prompt; the answer is read leniently, thing by thing and field by field,
//! and checked strictly. A server is asked again with what was wrong with its answer.

mod boxes;
mod chat;
mod fields;
mod frame;
mod lenient;
mod together;
mod wire;

use std::sync::atomic::AtomicU8;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use dragunov_models::RgbImage;
use futures::StreamExt;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Groundings, Identified, Identifier};
use crate::contract::{ErrorCode, ScanError};
use chat::Chat;

/// What an API's answer says of one crop; for the fuzz targets.
///
/// # Errors
/// Why it says nothing.
#[doc(hidden)]
pub fn read_answer(body: &str) -> Result<Identified, String> {
    wire::parse(&wire::content(body)?)
}

/// The same of a whole photo of `photo` pixels that was sent at `sent` pixels.
///
/// # Errors
/// Why it says nothing.
#[doc(hidden)]
pub fn read_boxes(body: &str, sent: [u32; 2], photo: [usize; 2]) -> Result<Groundings, String> {
    boxes::parse(&wire::content(body)?, sent, photo)
}

/// Address and manners of the API.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// Up to and including `/v1`.
    pub base_url: Url,
    pub key: Option<SecretString>,
    pub model: String,
    /// One request.
    pub request_timeout: Duration,
    /// All crops of one photo, or the boxes of one photo, retries included.
    pub total_timeout: Duration,
    /// Tries a question, the first included.
    pub attempts: usize,
    /// First wait between tries; doubles.
    pub first_wait: Duration,
    /// Requests at the same time.
    pub parallel: usize,
    /// Longer side of a crop as sent, pixels.
    pub max_side: u32,
    /// Longer side of a whole photo as sent for boxes, pixels.
    pub photo_side: u32,
    /// Food names that the answer should come from where they fit.
    pub vocabulary: Vec<String>,
    /// What the person wrote of the meal.
    pub note: Option<String>,
}

impl OpenAiConfig {
    /// # Errors
    /// `config_invalid` if `base_url` is not an http(s) URL.
    pub fn new(base_url: &str, key: Option<SecretString>, model: &str) -> Result<Self, ScanError> {
        let url = Url::parse(base_url)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
            .ok_or_else(|| {
                ScanError::new(
                    ErrorCode::ConfigInvalid,
                    "the vision API's address is not an http(s) URL",
                )
                .next_step("set DRAGUNOV_VLM_URL to its base, such as https://api.openai.com/v1")
            })?;
        Ok(Self {
            base_url: url,
            key,
            model: model.into(),
            request_timeout: Duration::from_secs(20),
            total_timeout: Duration::from_secs(60),
            attempts: 3,
            first_wait: Duration::from_millis(400),
            parallel: 4,
            max_side: 512,
            photo_side: 1036,
            vocabulary: Vec::new(),
            note: None,
        })
    }
}

/// Identifier over the API. Holds no connection between photos.
#[derive(Debug)]
pub struct OpenAi {
    config: OpenAiConfig,
    /// Which answer format the server took last: an index into [`wire::FORMATS`].
    format: AtomicU8,
}

impl OpenAi {
    pub fn new(config: OpenAiConfig) -> Self {
        Self {
            config,
            format: AtomicU8::new(0),
        }
    }

    /// One answer a crop, each an error of its own.
    async fn all(&self, crops: &[RgbImage]) -> Vec<Result<Identified, ScanError>> {
        let chat = match Chat::new(&self.config, &self.format, self.config.request_timeout) {
            Ok(chat) => chat,
            Err(e) => {
                return crops
                    .iter()
                    .map(|_| Err(ScanError::new(e.code, e.message.clone())))
                    .collect();
            }
        };
        let deadline = Instant::now() + self.config.total_timeout;
        futures::stream::iter(crops)
            .map(|crop| {
                let chat = &chat;
                async move {
                    timeout_at(deadline, self.one(chat, crop))
                        .await
                        .unwrap_or_else(|_| Err(self.late("name all regions")))
                }
            })
            .buffered(self.config.parallel.max(1))
            .collect()
            .await
    }

    async fn one(&self, chat: &Chat<'_>, crop: &RgbImage) -> Result<Identified, ScanError> {
        let picture = wire::data_url(crop, wire::fitted(crop, self.config.max_side))?;
        let body = |format| wire::request(&self.config, &picture, format);
        chat.answer(body, wire::parse).await
    }

    /// What each of a few crops shows, by one answer about all of them.
    async fn together(&self, crops: &[RgbImage]) -> Result<together::Answers, ScanError> {
        let chat = Chat::new(&self.config, &self.format, self.config.total_timeout)?;
        let deadline = Instant::now() + self.config.total_timeout;
        let pictures = crops
            .iter()
            .map(|crop| wire::data_url(crop, wire::fitted(crop, self.config.max_side)))
            .collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
        let body = |format| together::request(&self.config, &pictures, format);
        let parse = |text: &str| together::parse(text, crops.len());
        timeout_at(deadline, chat.answer(body, parse))
            .await
            .unwrap_or_else(|_| Err(self.late("name the regions")))
    }

    /// Every item of the photo with its box.
    async fn boxes(&self, photo: &RgbImage) -> Result<Groundings, ScanError> {
        // One long answer: it may take all the time that there is.
        let chat = Chat::new(&self.config, &self.format, self.config.total_timeout)?;
        let deadline = Instant::now() + self.config.total_timeout;
        let sent = boxes::sent_size(photo, self.config.photo_side);
        let picture = wire::data_url(photo, sent)?;
        let body = |format| boxes::request(&self.config, &picture, sent, format);
        let parse = |text: &str| boxes::parse(text, sent, [photo.width(), photo.height()]);
        timeout_at(deadline, chat.answer(body, parse))
            .await
            .unwrap_or_else(|_| Err(self.late("find all items")))
    }

    fn late(&self, what: &str) -> ScanError {
        ScanError::new(
            ErrorCode::DeadlineExceeded,
            format!(
                "the vision API did not {what} within {:?}",
                self.config.total_timeout
            ),
        )
    }
}

/// What `work` says, or why it was not waited for. The requests run on a thread of their own, so this may be called
/// from anywhere.
fn wait<T: Send>(work: impl AsyncFnOnce() -> T + Send, cancelled: &dyn Fn() -> bool) -> Result<T, ScanError> {
    let was_cancelled = || ScanError::new(ErrorCode::Cancelled, "the scan was cancelled");
    if cancelled() {
        return Err(was_cancelled());
    }
    let stop = CancellationToken::new();
    let (done, answers) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (done, work) = (done, work);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let found = runtime.ok().and_then(|rt| {
                rt.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => None,
                        found = work() => Some(found),
                    }
                })
            });
            let _ = done.send(found);
        });
        loop {
            match answers.recv_timeout(Duration::from_millis(25)) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if stop.is_cancelled() => return Err(was_cancelled()),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(ScanError::new(
                        ErrorCode::Internal,
                        "the vision API's thread failed",
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if cancelled() {
                        stop.cancel();
                    }
                }
            }
        }
    })
}

impl Identifier for OpenAi {
    fn name(&self) -> String {
        self.config.model.clone()
    }

    fn set_foods(&mut self, names: Vec<String>) {
        self.config.vocabulary = names;
    }

    fn set_note(&mut self, note: Option<&str>) {
        self.config.note = note.map(str::to_owned);
    }

    fn grounds(&self) -> bool {
        true
    }

    /// Blocks the caller.
    fn identify(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        if crops.is_empty() {
            return Vec::new();
        }
        let this = &*self;
        wait(async || this.all(crops).await, cancelled).unwrap_or_else(|e| for_each(crops, &e))
    }

    /// Blocks the caller.
    fn identify_together(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        if crops.is_empty() {
            return Vec::new();
        }
        let this = &*self;
        let answers = wait(async || this.together(crops).await, cancelled).and_then(|found| found);
        match answers {
            Ok(answers) => answers
                .into_iter()
                .map(|answer| answer.map_err(|why| ScanError::new(ErrorCode::FetchFailed, why)))
                .collect(),
            Err(e) => for_each(crops, &e),
        }
    }

    /// Blocks the caller.
    fn ground(&mut self, photo: &RgbImage, cancelled: &dyn Fn() -> bool) -> Result<Groundings, ScanError> {
        let this = &*self;
        wait(async || this.boxes(photo).await, cancelled)?
    }
}

/// What went wrong with the question as a whole went wrong with every crop.
fn for_each(crops: &[RgbImage], e: &ScanError) -> Vec<Result<Identified, ScanError>> {
    crops
        .iter()
        .map(|_| Err(ScanError::new(e.code, e.message.clone())))
        .collect()
}

#[cfg(test)]
mod tests;
