//! The library in one page: load the bundled models once, then measure photos.
//!
//!     cargo run --release --example scan -- fixtures/plates/scene_015/photo.jpg 23.4
#![allow(clippy::print_stdout)]

use dragunov::{ImageSource, ScanRequest, Scanner};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = arguments.next().ok_or("usage: scan PHOTO [PITCH]")?;
    let pitch = arguments.next().map(|degrees| degrees.parse()).transpose()?;

    let mut scanner = Scanner::bundled()?;
    let mut request = ScanRequest::new(ImageSource::Bytes(std::fs::read(photo)?));
    request.pitch_deg = pitch;

    // Every error has a stable code, and most say what to do next.
    let result = scanner.scan_request(&request)?;
    for item in &result.items {
        println!(
            "{}: {:.0} g ({:.0} to {:.0}), {:.0} kcal",
            item.label, item.mass_g.p50, item.mass_g.p10, item.mass_g.p90, item.kcal.p50
        );
    }
    println!("{:.0} kcal in all", result.totals.kcal.p50);
    Ok(())
}
