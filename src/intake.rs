//! From a request to an upright sRGB picture with what is known of the camera: bytes, limits, EXIF, gravity.
//!
//! Nothing here looks at what the photo shows. No EXIF field outlives this module except the numbers in
//! [`CameraGuess`] and [`Gravity`]; GPS, owner and time are never read.

mod base64;
pub mod camera;
mod container;
pub mod decode;
pub mod depth_map;
pub mod exif;
pub mod fetch;
mod fetch_pool;
pub mod gravity;
#[cfg(feature = "heif")]
mod heif;
#[cfg(not(feature = "heif"))]
#[path = "intake/heif_absent.rs"]
mod heif;
mod photo;
pub mod sensors;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OnceCell, OwnedSemaphorePermit, Semaphore};

pub use camera::CameraGuess;
pub use decode::DecodeLimits;
pub use depth_map::{DepthInput, PhoneDepth};
pub use fetch_pool::FetchPlace;
pub use gravity::{Gravity, SourceMeta};
pub use photo::{Loaded, Photo, Shot};
pub use validate::RequestLimits;

use crate::contract::bounds::DEPTH_MAP_BYTES;
use crate::contract::depth_map::DepthMap;
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanError, ScanRequest};
use crate::egress::check_url;
use crate::s3::{Bucket, ObjectReader, S3Config, S3Uri};

/// A meal's further photos are kept at this many pixels on the long side: no more is measured.
const MEAL_SIDE_PX: usize = 1536;

/// Limits and addresses of the photo sources.
#[derive(Debug, Clone)]
pub struct IntakeConfig {
    /// What a request may ask for.
    pub request: RequestLimits,
    /// Largest encoded photo, bytes.
    pub max_bytes: usize,
    pub decode: DecodeLimits,
    /// From the first byte asked to the last byte read, for URLs and S3 objects.
    pub fetch_timeout: Duration,
    /// Development only: plain http, any port, private and loopback addresses.
    pub allow_private_urls: bool,
    pub s3: S3Config,
    /// Photos decoded at the same time, if `memory_bytes` allows it.
    pub concurrent_decodes: usize,
    /// For photos that are decoded or wait for the device, all together; a photo that alone needs more has it alone.
    pub memory_bytes: u64,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            request: RequestLimits::default(),
            max_bytes: 25 << 20,
            decode: DecodeLimits::default(),
            fetch_timeout: Duration::from_secs(20),
            allow_private_urls: false,
            s3: S3Config::default(),
            concurrent_decodes: 2,
            memory_bytes: 512 << 20,
        }
    }
}

/// Loads photos. Holds the HTTP and S3 clients, which are built on first use.
#[derive(Debug)]
pub struct Intake {
    config: IntakeConfig,
    fetcher: OnceCell<fetch::Fetcher>,
    objects: OnceCell<ObjectReader>,
    pool: fetch_pool::FetchPool,
    turns: Arc<Semaphore>,
    /// In MiB.
    memory: Arc<Semaphore>,
    /// Of the photos of meals that are decoded already, in MiB. A meal that holds some waits for no more of it.
    meals: Arc<Semaphore>,
}

impl Intake {
    pub fn new(config: IntakeConfig) -> Self {
        Self {
            pool: fetch_pool::FetchPool::new(),
            turns: Arc::new(Semaphore::new(config.concurrent_decodes.max(1))),
            memory: Arc::new(Semaphore::new(mib(config.memory_bytes) as usize)),
            meals: Arc::new(Semaphore::new(mib(config.memory_bytes / 4) as usize)),
            config,
            fetcher: OnceCell::new(),
            objects: OnceCell::new(),
        }
    }

    pub fn config(&self) -> &IntakeConfig {
        &self.config
    }

    /// Checks the request, gets the bytes, decodes them off the async threads.
    ///
    /// # Errors
    /// [`ScanError`] of a client code for a bad request or photo, `fetch_failed`, `storage` or `object_not_found`
    /// for a source that does not answer.
    pub async fn load(&self, request: &ScanRequest) -> Result<Loaded, ScanError> {
        validate::request(request, &self.config.request)?;
        let _place = self.fetch_place(&request.image, None).await?;
        let (bytes, meta) = self.fetch(request.image.clone(), None).await?;
        self.decode(bytes, Shot::from_request(request), meta).await
    }

    /// Decodes on a thread where that may take its time; only so many at once, and within the memory set aside. A
    /// caller who goes away leaves a decode that has begun running: its turn and its memory are free when it ends, not
    /// before.
    ///
    /// # Errors
    /// As [`read_photo`].
    pub async fn decode(&self, bytes: Vec<u8>, shot: Shot, meta: SourceMeta) -> Result<Loaded, ScanError> {
        self.decode_to(bytes, shot, meta, None).await
    }

    /// [`Self::decode`] of one of a meal's further photos, reduced to what is measured. Its memory is that of [`Self::meal_place`].
    ///
    /// # Errors
    /// As [`read_photo`].
    pub async fn decode_further(
        &self,
        bytes: Vec<u8>,
        shot: Shot,
        meta: SourceMeta,
    ) -> Result<Loaded, ScanError> {
        self.decode_to(bytes, shot, meta, Some(MEAL_SIDE_PX)).await
    }

    /// Memory for a meal's further photos, all at once, so that no two meals wait for each other.
    ///
    /// # Errors
    /// `draining`.
    pub async fn meal_place(&self, photos: usize) -> Result<OwnedSemaphorePermit, ScanError> {
        let needed = mib((photos * MEAL_SIDE_PX * MEAL_SIDE_PX * 3) as u64);
        let needed = needed.min(mib(self.config.memory_bytes / 4));
        self.meals
            .clone()
            .acquire_many_owned(needed)
            .await
            .map_err(stopping)
    }

    async fn decode_to(
        &self,
        bytes: Vec<u8>,
        shot: Shot,
        meta: SourceMeta,
        max_side_px: Option<usize>,
    ) -> Result<Loaded, ScanError> {
        let limits = self.config.decode;
        let turn = self.turns.clone().acquire_owned().await.map_err(stopping)?;
        let (bytes, needed, turn) = off_thread(move || {
            let needed = decode::memory_needed(&bytes, &limits);
            (bytes, needed, turn)
        })
        .await?;
        // A header that is refused takes nothing.
        let needed = mib(needed.unwrap_or(0)).min(mib(self.config.memory_bytes));
        let memory = self
            .memory
            .clone()
            .acquire_many_owned(needed)
            .await
            .map_err(stopping)?;
        off_thread(move || {
            let _turn = turn;
            let mut memory = memory;
            let photo = read_photo(&bytes, &shot, &meta, &limits)?;
            if let Some(side) = max_side_px {
                return Ok(Loaded::from(photo.reduced(side)?));
            }
            let kept = mib(photo.image.as_bytes().len() as u64) as usize;
            drop(memory.split(memory.num_permits().saturating_sub(kept)));
            Ok(Loaded {
                photo,
                memory: Some(memory),
            })
        })
        .await?
    }

    /// A place among the photos being fetched, to be held while [`Self::fetch`] runs; none where nothing is fetched.
    ///
    /// # Errors
    /// `url_refused`, `invalid_field` for an address that cannot be.
    pub async fn fetch_place(
        &self,
        source: &ImageSource,
        bucket: Option<&Bucket>,
    ) -> Result<Option<FetchPlace>, ScanError> {
        let place = match source {
            ImageSource::Bytes(_) | ImageSource::Base64(_) => return Ok(None),
            ImageSource::Url(url) => {
                let url = check_url("image.url", url, self.config.allow_private_urls)?;
                self.pool.place(url.host_str()).await?
            }
            // A job's own store is as much a stranger's as any host.
            ImageSource::S3(_) => {
                let host = bucket.filter(|b| b.is_of_job()).map(Bucket::host);
                self.pool.place(host).await?
            }
        };
        Ok(Some(place))
    }

    /// The photo's bytes and what its storage says of the shot. An object in `bucket`, if that came with the job, is
    /// read with the job's own keys.
    ///
    /// # Errors
    /// As [`Self::load`], but for what only decoding can tell.
    pub async fn fetch(
        &self,
        source: ImageSource,
        bucket: Option<&Bucket>,
    ) -> Result<(Vec<u8>, SourceMeta), ScanError> {
        self.fetch_up_to(self.config.max_bytes, source, bucket).await
    }

    /// A depth map's bytes, one source after the other.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn fetch_depth(
        &self,
        mut map: DepthMap,
        bucket: Option<&Bucket>,
    ) -> Result<DepthInput, ScanError> {
        let data = self.fetch_part(&mut map.data, "depth.data", bucket).await?;
        let confidence = match &mut map.confidence {
            Some(confidence) => Some(
                self.fetch_part(&mut confidence.data, "depth.confidence.data", bucket)
                    .await?,
            ),
            None => None,
        };
        Ok(DepthInput {
            map,
            data,
            confidence,
        })
    }

    async fn fetch_part(
        &self,
        source: &mut ImageSource,
        field: &str,
        bucket: Option<&Bucket>,
    ) -> Result<Vec<u8>, ScanError> {
        let source = std::mem::replace(source, ImageSource::Bytes(Vec::new()));
        let _place = self.fetch_place(&source, bucket).await.map_err(|e| e.of(field))?;
        let (bytes, _) = self
            .fetch_up_to(DEPTH_MAP_BYTES, source, bucket)
            .await
            .map_err(|e| e.of(field))?;
        Ok(bytes)
    }

    async fn fetch_up_to(
        &self,
        cap: usize,
        source: ImageSource,
        bucket: Option<&Bucket>,
    ) -> Result<(Vec<u8>, SourceMeta), ScanError> {
        match source {
            ImageSource::Bytes(bytes) if bytes.len() > cap => {
                Err(ScanError::photo_too_large(bytes.len() as u64, cap))
            }
            ImageSource::Bytes(bytes) => Ok((bytes, SourceMeta::default())),
            ImageSource::Base64(text) => Ok((base64::decode(&text, cap)?, SourceMeta::default())),
            ImageSource::Url(url) => {
                let fetcher = self
                    .fetcher
                    .get_or_try_init(|| async {
                        fetch::Fetcher::new(self.config.allow_private_urls, self.config.fetch_timeout)
                    })
                    .await?;
                let object = fetcher.get(&url, cap).await?;
                let meta = SourceMeta::from_pairs(object.pairs())?;
                Ok((object.bytes, meta))
            }
            ImageSource::S3(uri) => {
                let uri = S3Uri::parse(&uri)?;
                let job = bucket.filter(|b| b.is_of_job() && b.name() == uri.bucket());
                let read = async {
                    if let Some(bucket) = job {
                        return bucket.get(uri.key(), cap).await;
                    }
                    let connect = || ObjectReader::connect(&self.config.s3);
                    self.objects.get_or_init(connect).await.get(&uri, cap).await
                };
                let object = tokio::time::timeout(self.config.fetch_timeout, read)
                    .await
                    .map_err(|_| {
                        ScanError::new(
                            ErrorCode::FetchFailed,
                            format!("{uri} did not arrive within {:?}", self.config.fetch_timeout),
                        )
                    })??;
                let meta = SourceMeta::from_pairs(object.pairs())?;
                Ok((object.bytes, meta))
            }
        }
    }
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX).max(1)
}

fn stopping(e: AcquireError) -> ScanError {
    ScanError::new(ErrorCode::Draining, "the service is stopping").source(e)
}

/// What `work` holds it holds to its end, whether or not anybody still waits for it.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ScanError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ScanError::new(ErrorCode::ImageUnreadable, "the photo could not be decoded").source(e))
}

/// The synchronous part: bytes in memory to a [`Photo`]. `meta` is what the storage said, used where
/// `shot` says nothing.
///
/// # Errors
/// `image_format`, `image_unreadable`, `image_too_large`, `image_blank`, `invalid_field`, `tilt_too_large`.
pub fn read_photo(
    bytes: &[u8],
    shot: &Shot,
    meta: &SourceMeta,
    limits: &DecodeLimits,
) -> Result<Photo, ScanError> {
    validate::shot(shot)?;
    let decoded = decode::decode(bytes, limits)?;
    let mut warnings = decoded.warnings;
    let (width, height) = (decoded.image.width(), decoded.image.height());
    let orientation = decoded.orientation;
    let map = match &shot.depth {
        Some(input) => depth_map::read(input, orientation, &mut warnings)?,
        None => None,
    };
    let by_map = map.as_ref().and_then(|map| map.camera_of(width, height));
    let camera = match by_map.filter(|_| !shot.camera.tells_focal()) {
        Some(camera) => camera,
        None => camera::guess(&shot.camera, &decoded.facts, width, height, &mut warnings)?,
    };
    let depth = match map {
        Some(map) => map.over_photo(width, height, camera.focal_px, &mut warnings)?,
        None => None,
    };
    let gravity = gravity::resolve(
        shot,
        meta,
        &decoded.facts,
        decoded.orientation,
        (width, height),
        &mut warnings,
    )?;
    Ok(Photo {
        image: decoded.image,
        orientation: decoded.orientation,
        camera,
        gravity,
        warnings,
        depth,
        full_size: None,
    })
}
