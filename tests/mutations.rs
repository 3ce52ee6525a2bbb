//! The fuzz targets under a driver that needs nothing but stable Rust: each file of the corpora, and thousands of
//! mutations of it, the same ones every time. libFuzzer goes further with the same functions: `scripts/fuzz.sh`.
//!
//! `DRAGUNOV_MUTATIONS` sets how many are tried of each file (40 if unset).
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

/// What damaged, cut, spliced and lying files have in common.
fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|b| *b ^= 1 << (at % 8)),
            1 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|b| *b = [0, 1, 0x7F, 0x80, 0xFF][at % 5]),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            4 => {
                let from = random.below(other.len());
                let piece = &other[from..(from + random.below(256)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            5 => bytes.iter_mut().skip(at).take(1 + at % 64).for_each(|b| *b = 0),
            6 => {
                let lie = [0_u32, 1, 0xFFFF, 0x7FFF_FFFF, u32::MAX][random.below(5)];
                let lie = if at.is_multiple_of(2) {
                    lie.to_be_bytes()
                } else {
                    lie.to_le_bytes()
                };
                bytes.iter_mut().skip(at).zip(lie).for_each(|(b, l)| *b = l);
            }
            _ => {
                let end = (at + random.below(128)).min(bytes.len());
                let again = bytes[at.min(end)..end].to_vec();
                bytes.splice(at.min(end)..at.min(end), again);
            }
        }
    }
    bytes
}

fn drive(name: &str, target: fn(&[u8])) {
    let each: usize = std::env::var("DRAGUNOV_MUTATIONS").map_or(40, |n| n.parse().unwrap());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
    assert!(seeds.len() >= 3, "{name}: a corpus of {}", seeds.len());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut slowest = Duration::ZERO;
    for (file, seed) in files.iter().zip(&seeds) {
        for n in 0..each {
            let other = &seeds[random.below(seeds.len())];
            let bytes = if n == 0 {
                seed.clone()
            } else {
                mutated(seed, other, &mut random)
            };
            let begun = Instant::now();
            if catch_unwind(|| target(&bytes)).is_err() {
                let kept = std::env::temp_dir().join(format!("dragunov-{name}-{n}"));
                std::fs::write(&kept, &bytes).unwrap();
                panic!(
                    "{name}: mutation {n} of {} panics; kept as {}",
                    file.display(),
                    kept.display()
                );
            }
            slowest = slowest.max(begun.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(10), "{name}: one took {slowest:?}");
}

#[test]
fn photos() {
    drive("photo", targets::photo);
}

#[test]
fn heics() {
    drive("heif", targets::heif);
}

#[test]
fn metadata() {
    drive("metadata", targets::metadata);
}

#[test]
fn safetensors() {
    drive("safetensors", targets::safetensors);
}

#[test]
fn pickles() {
    drive("pickle", targets::pickle);
}

#[test]
fn configs() {
    drive("config", targets::config);
}

#[test]
fn jobs() {
    drive("job", targets::job);
}

#[test]
fn vision_answers() {
    drive("vision", targets::vision);
}
