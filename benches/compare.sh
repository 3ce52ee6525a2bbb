#!/usr/bin/env bash
# Times our benchmarks, PyTorch's and ONNX Runtime's run by run in turn, and prints the ratios and the peak memory of each.
#
#   PYTHON=.../bin/python benches/compare.sh [FILTER] [--pairs N] [--out FILE.md]
#
# PYTHON needs the packages named in benches/paired.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
filter=
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  filter=$1
  shift
fi
built=$(cargo bench -q --locked -p dragunov-models --bench main --no-run --message-format=json-render-diagnostics)
binary=$(printf '%s\n' "$built" | sed -n 's/.*"name":"main".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
echo "$(date -u +%F), ${THREADS:-2} threads, load $(cut -d' ' -f1 /proc/loadavg), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
exec "${PYTHON:-python3}" benches/paired.py "$binary" --filter "$filter" --threads "${THREADS:-2}" "$@"
