#!/usr/bin/env bash
# The `--device cuda:0` path without a GPU: planted faults, then the CUDA build's scan, service and parity suite on the
# software device (docs/softcuda.md).
#
#   scripts/ci-softcuda.sh                    everything
#   scripts/ci-softcuda.sh --write-budgets    also writes the counters that the runs took as the new budgets
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf -- '-- softcuda: %s (%(%H:%M:%S)T)\n' "$1" -1; }

cache=${DRAGUNOV_SOFTCUDA_CACHE:-${DRAGUNOV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragunov}/softcuda}
export DRAGUNOV_SOFTCUDA_CACHE=$cache SOFTCUDA_HOME=$cache/toolkit SOFTCUDA_CACHE=$cache
export DRAGUNOV_SOFT=$cache/bin/dragunov

step "build"
scripts/softcuda build

step "planted faults"
CANDLE_KERNELS=$(cargo metadata --locked --format-version 1 --features cuda |
  python3 -c 'import json, pathlib, sys; print(next(pathlib.Path(p["manifest_path"]).parent / "src" for p in json.load(sys.stdin)["packages"] if p["name"] == "candle-kernels"))')
export CANDLE_KERNELS
python3 kernels/softcuda/tests/faults.py

step "answers as the CPU's, counters within budget"
python3 kernels/softcuda/tests/answers.py "$@"

step "a service on a device that fails"
python3 kernels/softcuda/tests/service.py
