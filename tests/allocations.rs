//! What a measurement asks of the allocator: it may depend on how much is on the table, never on how many pixels show it.
#![allow(clippy::expect_used)]

#[path = "../benches/suites/meal.rs"]
mod meal;

use std::alloc::System;

use dragunov::geometry::measure;
use meal::Meal;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn of(width: usize, height: usize) -> Stats {
    let meal = Meal::new(width, height);
    let scene = meal.scene();
    let region = Region::new(ALLOCATOR);
    let measured = measure(&scene).expect("measured");
    let stats = region.change();
    assert_eq!(measured.items.len(), 6);
    stats
}

// One test in this binary: the allocator counts for all threads.
#[test]
fn sixteen_times_the_pixels_take_no_more_allocations() {
    let (small, large) = (of(512, 384), of(2048, 1536));
    let calls = |s: &Stats| s.allocations + s.reallocations;
    assert!(
        calls(&large) < calls(&small) + calls(&small) / 10,
        "{} calls became {}",
        calls(&small),
        calls(&large)
    );
    // Outlines and columns grow with the side of the photo, one bit a pixel of a mask with its area.
    let bytes = large.bytes_allocated as f64 - small.bytes_allocated as f64;
    let pixels = (2048 * 1536 - 512 * 384) as f64;
    assert!(bytes / pixels < 1.0, "{} bytes a pixel", bytes / pixels);
}
