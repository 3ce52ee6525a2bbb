//! Scans on one machine: a private S3, and the vision service beside this one.

use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::s3::{Listener, S3};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::upload::uploads_seen;
use crate::objects::Buckets;
use crate::scans::{Places, Rules, Scans};
use crate::store::Db;
use crate::vision::{JobApi, Recompute, Services, Vision};

/// Scans as the API and as the worker have them.
#[derive(Debug)]
pub struct DevScans {
    pub api: Arc<Scans>,
    pub worker: Arc<Scans>,
    /// Where browsers upload to.
    pub storage: String,
}

impl DevScans {
    /// Over a folder that keeps the photos; `public` is where this service is, `vision` where that one is.
    ///
    /// # Errors
    /// The folder, a port or an address.
    pub async fn start(
        folder: &Path,
        (api, worker): (&Db, &Db),
        cache: Arc<dyn Cache>,
        public: Url,
        vision: &Url,
        webhook_secret: SecretString,
    ) -> anyhow::Result<Self> {
        // Storage is there before the scans that it tells.
        let (news, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let listener: Listener = Arc::new(move |notice| {
            let _ = news.send(notice);
        });
        let s3 = S3::start(folder, &["uploads", "media", "training"], listener).await?;
        let recompute = Recompute::Direct(vision.join("v1/recompute")?);
        let service = JobApi::new(vision.clone(), None, recompute, Some(webhook_secret))?;
        let service: Arc<dyn Vision> = Arc::new(service);
        let of = |db: &Db| Scans {
            db: db.clone(),
            cache: cache.clone(),
            clock: Clock::default(),
            buckets: Buckets {
                uploads: s3.objects("uploads"),
                media: s3.objects("media"),
                training: Some(s3.objects("training")),
            },
            vision: Services::new(service.clone(), Default::default()),
            public: public.clone(),
            rules: Rules::default(),
            collecting: Places::default(),
        };
        let scans = Self {
            api: Arc::new(of(api)),
            worker: Arc::new(of(worker)),
            storage: s3.url.clone(),
        };
        let told = scans.worker.clone();
        tokio::spawn(async move {
            while let Some(notice) = heard.recv().await {
                for seen in uploads_seen(&notice) {
                    let told = told.clone();
                    tokio::spawn(async move {
                        if let Err(stuck) = told.upload_seen(&seen).await {
                            tracing::warn!("an upload waits: {stuck}");
                        }
                    });
                }
            }
        });
        Ok(scans)
    }
}
