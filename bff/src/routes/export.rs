//! A copy of everything that is kept of a user.

use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::App;
use super::caller::CurrentUser;
use super::me::recent;
use crate::problem::{Problem, ProblemBody};

const README: &str = "Everything that is kept of you, one file a table, one JSON object a line (NDJSON).\n\
    manifest.json says when it was made, how many rows each file has, and its SHA-256.\n\
    photos/ holds the photos of your meals, by meal and place; scans and scan_photos say what was measured on them.\n\
    Times are UTC. health_metrics holds what your devices measured, at most one row for a source and instant;\n\
    daily_plan holds targets, suggestions with their reasons, and the energy score of each day.\n\
    Scores and targets are proposals, not medical advice.\n";

/// A ZIP of all that is kept of the user, photos included. Needs a sign-in of the last ten minutes.
#[utoipa::path(get, path = "/me/export", tag = "me", responses(
    (status = 200, description = "ZIP with manifest.json and one NDJSON a table", body = Vec<u8>,
        content_type = "application/zip"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn export(State(app): State<Arc<App>>, user: CurrentUser) -> Result<Response, Problem> {
    let now = app.clock.now();
    recent(&user.subject, now)?;
    let io = |e: std::io::Error| Problem::internal("export file", &e.kind());
    // A file without a name: nothing stays behind, however this ends.
    let mut zip = ZipWriter::new(tempfile::tempfile().map_err(io)?);
    let plain = SimpleFileOptions::default().large_file(true);
    let broken = |e: zip::result::ZipError| Problem::internal("export archive", &e);
    let mut tx = app.db.user(user.id).await?;
    let mut files = serde_json::Map::new();
    zip.start_file("README.txt", plain).map_err(broken)?;
    zip.write_all(README.as_bytes()).map_err(io)?;
    zip.start_file("users.ndjson", plain).map_err(broken)?;
    let account = tx.export_account().await? + "\n";
    zip.write_all(account.as_bytes()).map_err(io)?;
    files.insert(
        "users.ndjson".into(),
        json!({"rows": 1, "sha256": hex(&Sha256::digest(&account))}),
    );
    for table in tx.export_tables().await? {
        let name = format!("{}.ndjson", table.trim_start_matches("public."));
        zip.start_file(&*name, plain).map_err(broken)?;
        let (mut rows, mut hash) = (0u64, Sha256::new());
        let mut lines = Box::pin(tx.export_rows(&table));
        while let Some(line) = lines.next().await {
            let line = line? + "\n";
            hash.update(&line);
            zip.write_all(line.as_bytes()).map_err(io)?;
            rows += 1;
        }
        drop(lines);
        files.insert(name, json!({"rows": rows, "sha256": hex(&hash.finalize())}));
    }
    let kept = tx.kept_photos().await?;
    drop(tx);
    let mut photos = serde_json::Map::new();
    for (key, name) in kept.iter().filter_map(|key| Some((key, key.split_once('/')?.1))) {
        // One at a time in memory; one that is gone meanwhile is not in the copy.
        let scans = app.scans()?;
        let photo = scans.buckets.media.get(key, scans.rules.photo_bytes).await;
        let Some(photo) = photo.map_err(crate::scans::Stuck::from)? else {
            continue;
        };
        let name = format!("photos/{name}");
        zip.start_file(&*name, plain).map_err(broken)?;
        zip.write_all(&photo).map_err(io)?;
        let about = json!({"bytes": photo.len(), "sha256": hex(&Sha256::digest(&photo))});
        photos.insert(name, about);
    }
    zip.start_file("manifest.json", plain).map_err(broken)?;
    let manifest = json!({"schema": 1, "created": now.to_string(), "files": files, "photos": photos});
    zip.write_all(manifest.to_string().as_bytes()).map_err(io)?;
    let mut file = zip.finish().map_err(broken)?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(io)?;
    file.rewind().map_err(io)?;
    let stream = ReaderStream::new(tokio::fs::File::from_std(file));
    Ok((
        [
            (header::CONTENT_TYPE, "application/zip".to_owned()),
            (header::CONTENT_LENGTH, bytes.to_string()),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"export.zip\"".to_owned(),
            ),
        ],
        Body::from_stream(stream),
    )
        .into_response())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
