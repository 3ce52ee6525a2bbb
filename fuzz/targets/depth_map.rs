#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dragunov_fuzz::depth_map(data));
