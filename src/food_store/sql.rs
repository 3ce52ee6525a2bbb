//! A food table as SQL text for `psql`.

use std::fmt::Write;

use super::postgres::SCHEMA;
use crate::nutrition::FoodRow;
use crate::nutrition::table::{COLUMNS, Value, values};

/// Schema and one upsert a row, in one transaction. Rows that the text does not name stay as they are.
pub fn export(rows: &[FoodRow]) -> String {
    let mut out = format!("BEGIN;\n{SCHEMA}\n");
    let updates: Vec<String> = COLUMNS[1..]
        .iter()
        .map(|c| format!("{c} = EXCLUDED.{c}"))
        .collect();
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "INSERT INTO foods ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {};",
            COLUMNS.join(", "),
            literals(row).join(", "),
            updates.join(", ")
        );
    }
    out.push_str("COMMIT;\n");
    out
}

/// In the order of [`COLUMNS`].
fn literals(row: &FoodRow) -> [String; COLUMNS.len()] {
    values(row).map(|value| match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Absent => "NULL".into(),
    })
}

/// A standard SQL string; NUL, which PostgreSQL cannot hold, is left out.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}
