//! Geometry and nutrition of a whole scan: 1024 x 768, six items on a plate, relative disparity at the network's
//! resolution. `RAYON_NUM_THREADS=1 cargo bench --bench pipeline`; the aim is 15 ms on one thread.
#![allow(clippy::expect_used)]

mod meal;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dragunov::geometry::measure;
use dragunov::nutrition::{FoodTable, ItemInput, Volume, nourish};

fn pipeline(c: &mut Criterion) {
    let meal = meal::Meal::new(1024, 768);
    let scene = meal.scene();
    c.bench_function("geometry/measure 1024x768, 6 items", |b| {
        b.iter(|| measure(black_box(&scene)).expect("measured"));
    });
    let foods = FoodTable::builtin();
    c.bench_function("geometry and nutrition/1024x768, 6 items", |b| {
        b.iter(|| {
            let measured = measure(black_box(&scene)).expect("measured");
            let items: Vec<ItemInput> = measured
                .items
                .iter()
                .map(|item| ItemInput {
                    label: "rice".into(),
                    confidence: 0.7,
                    alternatives: vec![("fried rice".into(), 0.2), ("risotto".into(), 0.1)],
                    volume: Volume::from_estimate(&item.volume_cm3, 0.1),
                    form: None,
                    vlm: None,
                    told_g: None,
                    portion: 1.0,
                    answers: Vec::new(),
                })
                .collect();
            nourish(&foods, &items).expect("weighed")
        });
    });
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
