//! `dragunov foods lookup NAME`, `dragunov foods export`

use std::io::{BufRead, Write};
use std::sync::Arc;

use serde::Serialize;

use super::food_args::FoodArgs;
use crate::contract::{ErrorCode, ScanError};
use crate::food_store::sql;
use crate::nutrition::{self, FoodTable, FoundFood, MatchKind};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what the service takes a food's name for.
    Lookup {
        /// As a person or a model would say it; `-` reads names from standard input, one a line, and prints a line of
        /// JSON for each.
        #[arg(required = true, num_args = 1..)]
        name: Vec<String>,
        /// Rows to show, the best first.
        #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
        n: u8,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        foods: FoodArgs,
    },
    /// Print the whole table.
    Export {
        #[command(flatten)]
        format: Format,
        #[command(flatten)]
        foods: FoodArgs,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Format {
    /// As SQL for psql: schema and upserts in one transaction.
    #[arg(long)]
    sql: bool,
    /// As CSV, the form that --foods reads.
    #[arg(long)]
    csv: bool,
    /// As a JSON array of rows.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        match self.command {
            Command::Lookup { name, foods, .. } if name == ["-"] => lookup_lines(&*table(&foods)?),
            Command::Lookup { name, n, json, foods } => {
                lookup(&*table(&foods)?, &name.join(" "), n.into(), json)
            }
            Command::Export { format, foods } => {
                let rows = table(&foods)?.rows();
                let text = match format {
                    Format { json: true, .. } => to_json(&rows)?,
                    Format { csv: true, .. } => nutrition::to_csv(&rows),
                    _ => sql::export(&rows),
                };
                println!("{}", text.trim_end());
                Ok(())
            }
        }
    }
}

/// A line of JSON for each line of standard input.
fn lookup_lines(table: &FoodTable) -> Result<(), ScanError> {
    let failed =
        |e: std::io::Error| ScanError::new(ErrorCode::BadRequest, format!("standard input: {e}")).source(e);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let name = line.map_err(failed)?;
        let found = FoundFood::from(&table.lookup(name.trim()));
        let json = serde_json::to_string(&found).map_err(|e| {
            ScanError::new(ErrorCode::Internal, "the answer cannot be written as JSON").source(e)
        })?;
        if writeln!(out, "{json}").is_err() {
            // Who read has gone.
            return Ok(());
        }
    }
    Ok(())
}

/// The table of now; what is wrong with it goes to standard error.
fn table(foods: &FoodArgs) -> Result<Arc<FoodTable>, ScanError> {
    let foods = foods.read()?.current();
    if let Some(warning) = &foods.warning {
        eprintln!("warning: {}", warning.message);
    }
    Ok(foods.table)
}

/// Letters of a name that are repeated to who asked.
const NAME_SHOWN: usize = 60;

/// The answer of the service first, then the nearest other rows.
fn lookup(table: &FoodTable, name: &str, n: usize, json: bool) -> Result<(), ScanError> {
    let shown = table.foods_called(name, n);
    let best = table.lookup(name);
    if json {
        println!("{}", to_json(&shown)?);
        return Ok(());
    }
    let said: String = match name.char_indices().nth(NAME_SHOWN) {
        Some((end, _)) => format!("{:?}...", &name[..end]),
        None => format!("{name:?}"),
    };
    if let Some(told) = best.amount.and_then(|a| a.mass(best.food)) {
        println!("{said} tells {:.0} g\n", told.grams);
    }
    match best.kind {
        MatchKind::Unknown => println!("nothing is called {said}; the average food is used\n"),
        MatchKind::Category => println!("{said} is only known by its category\n"),
        _ => {}
    }
    println!(
        "{:<34} {:>5}  {:>16}  {:>6} {:>7} {:>6} {:>6}  shape",
        "food", "match", "g/cm3 (p10-p90)", "kcal", "protein", "carbs", "fat"
    );
    for f in &shown {
        let d = f.density_g_cm3;
        println!(
            "{:<34} {:>5.2}  {:>5.2} ({:.2}-{:.2})  {:>6.0} {:>7.1} {:>6.1} {:>6.1}  {}",
            f.name,
            f.score,
            d.p50,
            d.p10,
            d.p90,
            f.kcal_100g,
            f.protein_100g,
            f.carbs_100g,
            f.fat_100g,
            f.shape
        );
    }
    println!(
        "\nper 100 g; density: {}; nutrients: {}",
        best.food.density_source, best.food.nutrient_source
    );
    Ok(())
}

fn to_json(value: &impl Serialize) -> Result<String, ScanError> {
    serde_json::to_string_pretty(value)
        .map_err(|e| ScanError::new(ErrorCode::Internal, "the answer cannot be written as JSON").source(e))
}
