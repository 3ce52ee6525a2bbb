//! The food table in a CSV file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;

use super::{FoodSource, SourceError};
use crate::contract::FoodSourceKind;
use crate::nutrition::{FoodTable, TableError};

/// The compiled-in table has 0.1 MB.
const MOST_BYTES: u64 = 64 << 20;

/// Foods kept in a file with the columns of [`crate::nutrition::table::COLUMNS`].
#[derive(Debug, Clone)]
pub struct CsvFoods {
    path: PathBuf,
}

impl CsvFoods {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl FoodSource for CsvFoods {
    fn kind(&self) -> FoodSourceKind {
        FoodSourceKind::Csv
    }

    fn load(&self) -> BoxFuture<'_, Result<Arc<FoodTable>, SourceError>> {
        let path = self.path.clone();
        Box::pin(async move {
            // Answers repeat the file's name to callers, who have no business with the folders of this machine.
            let file = path
                .file_name()
                .map_or_else(|| "the food table".into(), |n| n.to_string_lossy().into_owned());
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            let text = read
                .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
                .map_err(|error| SourceError::Unreadable {
                    file: file.clone(),
                    error,
                })?;
            table(&text)
                .map(Arc::new)
                .map_err(|error| SourceError::Csv { file, error })
        })
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(std::io::Error::other("it is larger than 64 MiB"));
    }
    Ok(bytes)
}

fn table(bytes: &[u8]) -> Result<FoodTable, TableError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        TableError::Line {
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            error: Box::new(TableError::Csv("the text is not UTF-8".into())),
        }
    })?;
    FoodTable::from_csv(text)
}
