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

use serde_json::Value;

/// What all targets at once may hold: pictures of the targets' own limits (32 MiB each) and the food table.
const MOST_MIB: usize = 512;

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

/// JSON, alone or as the first line of a file, with some of its values lying, missing, or there twice; none of other files. A damaged
/// byte hardly ever leaves JSON that can be read.
fn lying(seed: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let line = seed.iter().position(|b| *b == b'\n').unwrap_or(seed.len());
    let (json, rest) = match serde_json::from_slice::<Value>(seed) {
        Ok(whole) => (whole, &[][..]),
        Err(_) => (serde_json::from_slice(&seed[..line]).ok()?, &seed[line..]),
    };
    let mut json = json;
    for _ in 0..=random.below(4) {
        lie(&mut json, random);
    }
    let mut bytes = serde_json::to_vec(&json).unwrap();
    bytes.extend_from_slice(rest);
    Some(bytes)
}

/// Changes one value somewhere below.
fn lie(value: &mut Value, random: &mut Random) {
    let deeper = random.below(8) != 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let at = random.below(fields.len());
            let key = fields.keys().nth(at).unwrap().clone();
            if random.below(12) == 0 {
                fields.remove(&key);
            } else {
                lie(&mut fields[&key], random);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = random.below(items.len());
            match random.below(12) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => lie(&mut items[at], random),
            }
        }
        other => {
            const NUMBERS: [f64; 12] = [
                0.0,
                -1.0,
                0.5,
                1.0,
                2.0,
                16.0,
                1e-300,
                -1e-9,
                1e9,
                1e300,
                f64::MAX,
                65536.0,
            ];
            *other = match random.below(6) {
                0 => Value::Null,
                1 => Value::String("\u{0}é🍣".repeat(random.below(40))),
                2 => Value::from(random.below(70000)),
                _ => Value::from(NUMBERS[random.below(NUMBERS.len())]),
            };
        }
    }
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
                let lying = (n % 2 == 0).then(|| lying(seed, &mut random)).flatten();
                lying.unwrap_or_else(|| mutated(seed, other, &mut random))
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
    if let Some(peak) = peak_mib() {
        assert!(peak < MOST_MIB, "{name}: this process has held {peak} MiB");
    }
}

/// The most that this process has ever held, as the kernel counts it; none where nobody says.
fn peak_mib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
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

#[test]
fn depth_maps() {
    drive("depth_map", targets::depth_map);
}

#[test]
fn corrections() {
    drive("corrections", targets::corrections);
}
