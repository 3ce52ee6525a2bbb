//! CSV lists of data sets: cells by column and errors by line.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::manifest::DataError;
use crate::nutrition::csv::{self, Record};

/// Lists are far smaller.
const MOST_BYTES: u64 = 64 << 20;

/// A whole list.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    columns: Vec<String>,
    records: Vec<Record>,
}

impl Table {
    /// A list whose first line names its columns, these among them.
    ///
    /// # Errors
    /// [`DataError`] naming the file, the line of a misplaced quote, or the missing column.
    pub(super) fn read(path: &Path, needed: &[&str]) -> Result<Self, DataError> {
        let mut records = records(path)?;
        if records.is_empty() {
            return Err(DataError::line(path, 1, "the list is empty"));
        }
        let columns: Vec<String> = records
            .remove(0)
            .fields
            .into_iter()
            .map(|c| c.trim().to_owned())
            .collect();
        if let Some(missing) = needed.iter().find(|n| !columns.iter().any(|c| c == *n)) {
            return Err(DataError::line(path, 1, format!("there is no column {missing}")));
        }
        Ok(Self {
            path: path.to_owned(),
            columns,
            records,
        })
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.records.iter().map(|record| Row { table: self, record })
    }
}

/// The records of a list without a head.
///
/// # Errors
/// [`DataError`] naming the file, and the line of a misplaced quote.
pub(super) fn records(path: &Path) -> Result<Vec<Record>, DataError> {
    let io = |source| DataError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(io)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(DataError::content(path, "it is larger than 64 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        DataError::line(path, line, "the text is not UTF-8")
    })?;
    csv::records(&text).map_err(|line| DataError::line(path, line, "a quote is misplaced"))
}

/// One line of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table,
    record: &'a Record,
}

impl<'a> Row<'a> {
    /// The cell without the blanks around it; empty where the list has no such column.
    ///
    /// # Errors
    /// If the line is shorter.
    pub(super) fn text(&self, column: &str) -> Result<&'a str, DataError> {
        let Some(at) = self.table.columns.iter().position(|c| c == column) else {
            return Ok("");
        };
        let cell = self.record.fields.get(at);
        cell.map(|c| c.trim())
            .ok_or_else(|| self.error(format!("it has no cell for {column}")))
    }

    /// The cell's number; none of an empty cell.
    ///
    /// # Errors
    /// If it is no number.
    pub(super) fn number(&self, column: &str) -> Result<Option<f64>, DataError> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        number(text)
            .map(Some)
            .ok_or_else(|| self.error(format!("{column} is no number: {text:?}")))
    }

    /// An amount: a number that is not negative.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn amount(&self, column: &str) -> Result<Option<f64>, DataError> {
        let value = self.number(column)?;
        match value {
            Some(v) if v < 0.0 => Err(self.error(format!("{column} is negative: {v}"))),
            _ => Ok(value),
        }
    }

    /// What is wrong with this line.
    pub(super) fn error(&self, reason: impl Into<String>) -> DataError {
        DataError::line(&self.table.path, self.record.line, reason)
    }
}

/// A finite number.
pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|v: &f64| v.is_finite())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(text: &str) -> Result<Table, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        Table::read(&path, &["photo"])
    }

    #[test]
    fn cells_are_found_by_column() {
        let t = table("photo , grams\n\"a, b.jpg\", 12.5\nc.jpg,\n").unwrap();
        let rows: Vec<Row<'_>> = t.rows().collect();
        assert_eq!(rows[0].text("photo").unwrap(), "a, b.jpg");
        assert_eq!(rows[0].amount("grams").unwrap(), Some(12.5));
        assert_eq!(rows[1].amount("grams").unwrap(), None);
        assert_eq!(rows[1].text("no such column").unwrap(), "");
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let says = |error: DataError, what: &str| {
            let text = error.to_string();
            assert!(text.contains("list.csv, line ") && text.contains(what), "{text}");
        };
        says(table("").unwrap_err(), "line 1");
        says(table("image,grams\n").unwrap_err(), "no column photo");
        says(table("photo\na\nb\"c\n").unwrap_err(), "line 3: a quote");
        let t = table("photo,grams\na,x\nb,-1\nc\nd,inf\n").unwrap();
        let error = |i: usize| t.rows().nth(i).unwrap().amount("grams").unwrap_err();
        says(error(0), "line 2: grams is no number: \"x\"");
        says(error(1), "line 3: grams is negative");
        says(error(2), "line 4: it has no cell for grams");
        says(error(3), "line 5: grams is no number");
    }
}
