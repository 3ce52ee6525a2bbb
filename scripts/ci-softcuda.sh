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

step "without a driver"
# NVIDIA's libraries do not need the driver's to be loaded; these stand for them.
alone=$(mktemp -d)
trap 'rm -rf "$alone"' EXIT
for library in libcublas.so.13:cublas libcurand.so.10:curand; do
  nm -D --undefined-only "$DRAGUNOV_SOFT" | awk -v of="^${library#*:}" '$2 ~ of { print "int " $2 "(void) { return 1; }" }' |
    gcc -x c -shared -fPIC -Wl,-soname,"${library%:*}" -o "$alone/${library%:*}" -
done
code=0
LD_LIBRARY_PATH=$alone "$DRAGUNOV_SOFT" scan fixtures/plates/scene_015/photo.jpg --device cuda:0 2>"$alone/stderr" || code=$?
cat "$alone/stderr"
[ "$code" = 2 ] || { echo "exit code $code instead of 2" >&2; exit 1; }
grep -q device_unavailable "$alone/stderr" && grep -q libcuda.so.1 "$alone/stderr" || { echo "the refusal does not say why" >&2; exit 1; }

CANDLE_KERNELS=$(cargo metadata --locked --format-version 1 --features cuda |
  python3 -c 'import json, pathlib, sys; print(next(pathlib.Path(p["manifest_path"]).parent / "src" for p in json.load(sys.stdin)["packages"] if p["name"] == "candle-kernels"))')
export CANDLE_KERNELS

# One host thread of a program computes on the device: two at a time fill two cores.
kernels() {
  step "planted faults"
  python3 kernels/softcuda/tests/faults.py
  step "captures and graphs"
  python3 kernels/softcuda/tests/graphs.py
  step "our kernels against the CPU's, every access watched"
  SOFTCUDA_CHECK=full SOFTCUDA_EXIT=97 SOFTCUDA_ORDER=random:1 scripts/softcuda test --test agreement on_device
  step "work launched as graphs"
  python3 kernels/softcuda/tests/replay.py
  # One test at a time: they share a device, and a capture takes whatever is queued there.
  DRAGUNOV_CUDA_GRAPHS=1 scripts/softcuda test --test parity -- greedy_ by_graphs --test-threads=1
  for step in begin capture instantiate launch; do
    DRAGUNOV_CUDA_GRAPHS=1 SOFTCUDA_GRAPH_FAULT=$step scripts/softcuda test --test parity where_graphs_fail -- --test-threads=1
  done
  step "devices that are refused"
  python3 kernels/softcuda/tests/start.py
  step "a service on a device that fails"
  python3 kernels/softcuda/tests/service.py
  step "what a GPU's report says"
  python3 scripts/ci-gpu-report.py
}
kernels >"$alone/kernels.log" 2>&1 &
kernels=$!

step "answers as the CPU's, counters within budget"
python3 kernels/softcuda/tests/answers.py "$@"

step "every stage of every model against its reference, on the device"
# Tests that compare whole models. Others of the suite make their inputs on the CPU.
scripts/softcuda test --test parity -- agree pixels every_stage_of greedy_steps tied_head

code=0
wait "$kernels" || code=$?
cat "$alone/kernels.log"
exit "$code"
