//! Forgetting a user: objects, tables, aggregates, cache. Each step is noted when it is done, so that a cut leads on from
//! there; each may be run again.

use uuid::Uuid;

use super::handle::{Failed, Hands};

/// Done in this order. The user is invisible from the request on.
const STEPS: [&str; 4] = ["objects", "tables", "aggregates", "cache"];

pub(super) async fn erase(hands: &Hands, id: Uuid) -> Result<(), Failed> {
    let Some(erasure) = hands.db.erasure(id).await? else {
        return Ok(());
    };
    for step in STEPS {
        if erasure.steps_done.iter().any(|s| s == step) {
            continue;
        }
        match step {
            "objects" => {
                if let Some(scans) = &hands.scans {
                    scans.forget_training(erasure.user).await?;
                }
                for objects in &hands.objects {
                    objects.erase(id).await.map_err(|error| {
                        tracing::warn!("objects of an erased user: {error}");
                        Failed::Later("objects")
                    })?;
                }
            }
            "tables" => erasure.delete_rows(&hands.db).await?,
            "aggregates" => hands.db.refresh_aggregates(None).await?,
            _ => {
                // Twice: a dashboard that was under way may have been stored in between.
                hands.cache.forget(erasure.user).await;
            }
        }
        erasure.note(&hands.db, step).await?;
    }
    Ok(erasure.finish(&hands.db).await?)
}
