#!/usr/bin/env bash
# What bio-bff adds between the end of an upload and the notification (p50, p95), and 200 scans in flight (or
# BFF_IN_FLIGHT) through the vision service with its engine for load tests. For a quiet machine. DRAGUNOV_BIN=path is
# optional; the tests build the program.
set -euo pipefail
cd "$(dirname "$0")/.."
export BFF_IN_FLIGHT="${BFF_IN_FLIGHT:-200}"
profile=(${BFF_PROFILE:+--profile "$BFF_PROFILE"})
cargo test --locked --workspace "${profile[@]}" --test bff -- --nocapture --test-threads 1 --include-ignored \
  scans::load::figures scans::load::many_scans
