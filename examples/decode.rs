//! Decodes photos as a scan does and writes their pixels, for `scripts/differential.py`.
//!
//! Reads paths from standard input, one a line. Prints `ok <width> <height>` and writes `<path>.rgb` (interleaved, 8 bits),
//! or prints the error's code.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, Write};

use dragunov::intake::decode::{DecodeLimits, decode};

fn main() -> std::io::Result<()> {
    let limits = DecodeLimits {
        min_side: 1,
        refuse_blank: false,
        apply_profile: false,
        clip_deep_grey: true,
        ..DecodeLimits::default()
    };
    let mut out = std::io::stdout().lock();
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        match decode(&std::fs::read(&path)?, &limits) {
            Ok(decoded) => {
                std::fs::write(format!("{path}.rgb"), decoded.image.as_bytes())?;
                writeln!(out, "ok {} {}", decoded.image.width(), decoded.image.height())?;
            }
            Err(error) => writeln!(out, "{}", error.code.as_str())?,
        }
    }
    Ok(())
}
