//! A food table as SQL text for `psql`.

use std::fmt::Write;

use super::postgres::SCHEMA;
use crate::nutrition::FoodRow;
use crate::nutrition::table::COLUMNS;

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
            values(row).join(", "),
            updates.join(", ")
        );
    }
    out.push_str("COMMIT;\n");
    out
}

/// In the order of [`COLUMNS`].
fn values(r: &FoodRow) -> [String; 20] {
    let number = |v: f64| v.to_string();
    let maybe = |v: Option<f64>| v.map_or_else(|| "NULL".into(), number);
    let maybe_text = |v: &Option<String>| v.as_deref().map_or_else(|| "NULL".into(), quoted);
    [
        quoted(&r.id),
        quoted(&r.name),
        quoted(&r.aliases),
        quoted(&r.category),
        quoted(&r.basis),
        quoted(&r.shape),
        number(r.density_g_cm3),
        number(r.density_low),
        number(r.density_high),
        maybe(r.piece_density_g_cm3),
        number(r.kcal_100g),
        number(r.protein_100g),
        number(r.carbs_100g),
        number(r.fat_100g),
        number(r.kcal_sigma_ln),
        maybe_text(&r.energy_note),
        maybe_text(&r.hidden_kind),
        maybe(r.hidden_kcal_100g),
        quoted(&r.density_source),
        quoted(&r.nutrient_source),
    ]
}

/// A standard SQL string; NUL, which PostgreSQL cannot hold, is left out.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}
