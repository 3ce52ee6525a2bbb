#!/usr/bin/env bash
# Times our benchmarks and PyTorch's in turn, and prints the ratios of each round.
#
#   PYTHON=.../bin/python benches/compare.sh [FILTER] [ROUNDS]
#
# PYTHON needs the packages named in benches/reference/torch_times.py. On a machine that does other work too, trust
# the ratios of several rounds, not the milliseconds of one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
filter=${1:-} rounds=${2:-2} threads=${THREADS:-2}
target=${CARGO_TARGET_DIR:-target}

cargo bench -p dragunov-models --bench main --no-run
for round in $(seq "$rounds"); do
  echo "## round $round, $(date -u +%F), $threads threads, load $(cut -d' ' -f1 /proc/loadavg)"
  RAYON_NUM_THREADS=$threads cargo bench -q -p dragunov-models --bench main -- "$filter" >/dev/null
  "${PYTHON:-python3}" benches/reference/torch_times.py --filter "$filter" --threads "$threads" \
    --criterion "$target/criterion"
done
