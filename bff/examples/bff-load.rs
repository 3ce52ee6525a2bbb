//! Sends prepared HTTP/1.1 requests over kept connections and prints what came of it as one JSON line; for benches/bff.
//!
//!     bff-load ADDRESS FILE CONNECTIONS RATE SECONDS COUNT
//!
//! FILE holds requests, each after its length as four bytes, little endian; they are sent in turn, from the start again
//! when all were sent. RATE is requests a second, 0 for as fast as answers come. It ends after SECONDS or COUNT requests,
//! 0 for no limit. At a rate, latency counts from the moment at which a request was due, unless the sender itself was late.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

struct Plan {
    address: String,
    requests: Vec<Vec<u8>>,
    rate: f64,
    seconds: f64,
    count: usize,
}

struct Done {
    status: u16,
    seconds: f64,
}

fn read_requests(file: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let mut rest = bytes.as_slice();
    let mut requests = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (request, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        requests.push(request.to_vec());
        rest = after;
    }
    requests
}

/// Status of the next answer; its body is read and dropped.
fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..head]).unwrap();
            let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim())
            });
            let length: usize = length.map_or(0, |l| l.parse().unwrap());
            while buffer.len() < head + 4 + length {
                let n = stream.read(&mut chunk).unwrap();
                assert!(n > 0, "the connection ended inside an answer");
                buffer.extend_from_slice(&chunk[..n]);
            }
            return status;
        }
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the connection ended before an answer");
        buffer.extend_from_slice(&chunk[..n]);
    }
}

fn send(plan: &Plan, next: &AtomicUsize, begun: Instant) -> Vec<Done> {
    let mut stream = TcpStream::connect(&plan.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    let mut done = Vec::new();
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        let mut from = Instant::now();
        if (plan.count > 0 && i >= plan.count)
            || (plan.seconds > 0.0 && begun.elapsed().as_secs_f64() >= plan.seconds)
        {
            return done;
        }
        if plan.rate > 0.0 {
            let due = begun + Duration::from_secs_f64(i as f64 / plan.rate);
            let early = due.saturating_duration_since(from);
            if early.is_zero() {
                // No connection was free when it was due.
                from = due;
            } else {
                std::thread::sleep(early);
                from = Instant::now();
            }
        }
        stream.write_all(&plan.requests[i % plan.requests.len()]).unwrap();
        let status = answer(&mut stream, &mut buffer);
        done.push(Done {
            status,
            seconds: from.elapsed().as_secs_f64(),
        });
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, connections, rate, seconds, count] = args.as_slice() else {
        panic!("bff-load ADDRESS FILE CONNECTIONS RATE SECONDS COUNT");
    };
    let plan = Plan {
        address: address.clone(),
        requests: read_requests(file),
        rate: rate.parse().unwrap(),
        seconds: seconds.parse().unwrap(),
        count: count.parse().unwrap(),
    };
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let done: Vec<Done> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..connections.parse::<usize>().unwrap())
            .map(|_| scope.spawn(|| send(&plan, &next, begun)))
            .collect();
        senders.into_iter().flat_map(|s| s.join().unwrap()).collect()
    });
    let wall = begun.elapsed().as_secs_f64();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for one in &done {
        *statuses.entry(one.status).or_default() += 1;
    }
    let mut latencies: Vec<f64> = done.iter().map(|d| d.seconds * 1e3).collect();
    latencies.sort_by(f64::total_cmp);
    let quantile = |q: f64| latencies[((latencies.len() as f64 * q) as usize).min(latencies.len() - 1)];
    let statuses: Vec<String> = statuses.iter().map(|(s, n)| format!("\"{s}\": {n}")).collect();
    println!(
        "{{\"requests\": {}, \"seconds\": {wall:.3}, \"p50_ms\": {:.3}, \"p99_ms\": {:.3}, \"max_ms\": {:.3}, \"statuses\": {{{}}}}}",
        done.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        statuses.join(", ")
    );
}
