#!/usr/bin/env bash
# Fifty random kills (or BFF_KILLS) of bio-bff's service and worker over the whole flow from photo to confirmed meal, and a
# thousand scans queued (or BFF_QUEUED) before a slow vision service. The test suite does a few of each.
set -euo pipefail
cd "$(dirname "$0")/.."
export BFF_KILLS="${BFF_KILLS:-50}" BFF_QUEUED="${BFF_QUEUED:-1000}"
cargo test --locked --workspace --test bff -- --nocapture --test-threads 1 \
  scans::kills scans::load::a_long_queue
