//! The first sheet of an Excel workbook (ECMA-376, part 1, section 18) as rows of texts.

use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zip::{CompressionMethod, ZipArchive};

use super::super::manifest::DataError;

/// Parts unpack to far less.
const MOST_BYTES: u64 = 64 << 20;
const SHEET: &str = "xl/worksheets/sheet1.xml";
const STRINGS: &str = "xl/sharedStrings.xml";
/// Columns of a sheet at most, by the specification.
const MOST_COLUMNS: usize = 16_384;

/// A row and its number, as Excel shows it.
pub(super) type Row = (usize, Vec<String>);

/// All rows that hold something.
///
/// # Errors
/// [`DataError`] naming the file, and the line where a cell cannot be read.
pub(super) fn rows(path: &Path) -> Result<Vec<Row>, DataError> {
    let file = std::fs::File::open(path).map_err(|source| DataError::Io {
        path: path.to_owned(),
        source,
    })?;
    let broken = |why: String| DataError::content(path, format!("it is no Excel workbook (.xlsx): {why}"));
    let mut archive = ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
    let has_strings = archive.index_for_name(STRINGS).is_some();
    let strings: Strings = if has_strings {
        part(&mut archive, STRINGS).map_err(broken)?
    } else {
        Strings::default()
    };
    let strings: Vec<String> = strings.si.into_iter().map(Text::joined).collect();
    let sheet: Sheet = part(&mut archive, SHEET).map_err(broken)?;
    let mut out = Vec::new();
    for (i, row) in sheet.data.row.into_iter().enumerate() {
        let line = row.number.unwrap_or(i + 1);
        let mut cells: Vec<String> = Vec::new();
        for cell in row.c {
            let at = cell.at.as_deref().and_then(column).unwrap_or(cells.len());
            let value = value(cell, &strings).map_err(|why| DataError::line(path, line, why))?;
            if at >= MOST_COLUMNS {
                return Err(DataError::line(path, line, "a cell is beyond the last column"));
            }
            cells.resize(cells.len().max(at + 1), String::new());
            cells[at] = value;
        }
        if cells.iter().any(|c| !c.is_empty()) {
            out.push((line, cells));
        }
    }
    Ok(out)
}

/// A part of the archive, read as XML.
fn part<T: DeserializeOwned>(archive: &mut ZipArchive<std::fs::File>, name: &str) -> Result<T, String> {
    let index = archive
        .index_for_name(name)
        .ok_or_else(|| format!("there is no {name}"))?;
    let raw = archive.by_index_raw(index).map_err(|e| e.to_string())?;
    let mut text = String::new();
    let read = match raw.compression() {
        CompressionMethod::Stored => raw.take(MOST_BYTES + 1).read_to_string(&mut text),
        CompressionMethod::DEFLATE => DeflateDecoder::new(raw)
            .take(MOST_BYTES + 1)
            .read_to_string(&mut text),
        other => return Err(format!("{name} is compressed as {other}")),
    };
    read.map_err(|e| format!("{name}: {e}"))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("{name} is larger than 64 MiB"));
    }
    quick_xml::de::from_str(&text).map_err(|e| format!("{name}: {e}"))
}

/// What a cell shows.
fn value(cell: Cell, strings: &[String]) -> Result<String, String> {
    let stored = cell.v.unwrap_or_default();
    let text = match cell.kind.as_deref() {
        Some("s") => {
            let shared = stored.trim().parse().ok().and_then(|i: usize| strings.get(i));
            shared
                .ok_or_else(|| format!("it names shared text {stored:?}, which is not there"))?
                .clone()
        }
        Some("inlineStr") => cell.inline.map(Text::joined).unwrap_or_default(),
        Some("e") => return Err(format!("a cell holds the error {stored}")),
        _ => stored,
    };
    Ok(text.trim().to_owned())
}

/// 0 of "A5", 27 of "AB1".
fn column(reference: &str) -> Option<usize> {
    let letters = reference.bytes().take_while(u8::is_ascii_alphabetic).take(4);
    let number = letters.fold(0, |n, b| n * 26 + usize::from(b.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1)
}

#[derive(Default, Deserialize)]
struct Strings {
    #[serde(default)]
    si: Vec<Text>,
}

/// A text, whole or in runs of one format each.
#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    t: Option<Piece>,
    #[serde(default)]
    r: Vec<Run>,
}

impl Text {
    fn joined(self) -> String {
        let runs = self.r.into_iter().filter_map(|r| r.t);
        self.t.into_iter().chain(runs).map(|p| p.text).collect()
    }
}

#[derive(Deserialize)]
struct Run {
    #[serde(default)]
    t: Option<Piece>,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
struct Sheet {
    #[serde(rename = "sheetData")]
    data: SheetData,
}

#[derive(Deserialize)]
struct SheetData {
    #[serde(default)]
    row: Vec<SheetRow>,
}

#[derive(Deserialize)]
struct SheetRow {
    #[serde(rename = "@r", default)]
    number: Option<usize>,
    #[serde(default)]
    c: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(rename = "@r", default)]
    at: Option<String>,
    #[serde(rename = "@t", default)]
    kind: Option<String>,
    #[serde(default)]
    v: Option<String>,
    #[serde(rename = "is", default)]
    inline: Option<Text>,
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use zip::write::SimpleFileOptions;

    use super::*;

    /// A workbook of rows of shared texts, numbers where a cell is one, as Excel writes it.
    pub(in super::super) fn workbook(path: &Path, rows: &[&[&str]]) {
        let mut strings = Vec::new();
        let mut sheet = String::new();
        for (i, row) in rows.iter().enumerate() {
            sheet += &format!("<row r=\"{}\" spans=\"1:9\">", i + 1);
            for (j, cell) in row.iter().enumerate().filter(|(_, c)| !c.is_empty()) {
                let at = format!("{}{}", char::from(b'A' + j as u8), i + 1);
                if cell.parse::<f64>().is_ok() {
                    sheet += &format!("<c r=\"{at}\"><v>{cell}</v></c>");
                } else {
                    sheet += &format!("<c r=\"{at}\" t=\"s\"><v>{}</v></c>", strings.len());
                    strings.push(format!(
                        "<si><t xml:space=\"preserve\">{}</t></si>",
                        cell.replace('&', "&amp;")
                    ));
                }
            }
            sheet += "</row>";
        }
        let space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
        let texts = strings.concat();
        write(
            path,
            &format!(
                "{head}<worksheet xmlns=\"{space}\"><dimension ref=\"A1\"/><sheetData>{sheet}</sheetData></worksheet>"
            ),
            Some(&format!("{head}<sst xmlns=\"{space}\" count=\"1\">{texts}</sst>")),
        );
    }

    fn write(path: &Path, sheet: &str, strings: Option<&str>) {
        let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, text) in [(SHEET, Some(sheet)), (STRINGS, strings)] {
            if let Some(text) = text {
                zip.start_file(name, stored).unwrap();
                zip.write_all(text.as_bytes()).unwrap();
            }
        }
        zip.finish().unwrap();
    }

    fn of(sheet: &str, strings: Option<&str>) -> Result<Vec<Row>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.xlsx");
        write(
            &path,
            &format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>"),
            strings,
        );
        rows(&path)
    }

    #[test]
    fn cells_stand_in_their_columns() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.xlsx");
        workbook(&path, &[&["name", "g"], &["salt & pepper", "", "3.5"]]);
        let found = rows(&path).unwrap();
        assert_eq!(found[0], (1, vec!["name".to_owned(), "g".to_owned()]));
        assert_eq!(
            found[1],
            (
                2,
                vec!["salt & pepper".to_owned(), String::new(), "3.5".to_owned()]
            )
        );
        let runs = "<sst><si><r><t>rich</t></r><r><t> text</t></r></si></sst>";
        let sheet =
            "<row r=\"4\"><c r=\"AB4\" t=\"s\"><v>0</v></c><c t=\"inlineStr\"><is><t>x</t></is></c></row>";
        let found = of(sheet, Some(runs)).unwrap();
        assert_eq!(
            (found[0].0, found[0].1[27].as_str(), found[0].1[28].as_str()),
            (4, "rich text", "x")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let says = |found: Result<Vec<Row>, DataError>, what: &str| {
            let text = found.unwrap_err().to_string();
            assert!(text.contains("book.xlsx") && text.contains(what), "{text}");
        };
        says(
            of("<row r=\"7\"><c t=\"s\"><v>3</v></c></row>", None),
            "line 7: it names shared text",
        );
        says(
            of("<row r=\"2\"><c t=\"e\"><v>#REF!</v></c></row>", None),
            "line 2: a cell holds the error",
        );
        says(
            of("<row r=\"2\"><c r=\"ZZZZ2\"><v>1</v></c></row>", None),
            "line 2: a cell is beyond",
        );
        says(of("<row", None), "no Excel workbook");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.xlsx");
        std::fs::write(&path, "PK not really").unwrap();
        says(rows(&path), "no Excel workbook");
    }
}
