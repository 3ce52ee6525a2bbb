#!/usr/bin/env bash
# The official RunPod clients, Python and JavaScript, unchanged, against `dragunov serve`; then the conformance suite
# against our worker and against the official one. They are fetched into a cache folder. DRAGUNOV_BIN=path is optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
need_program python3 python3
need_program node nodejs
need_program npm npm
venv="$cache/runpod-1.12.0"
if ! "$venv/bin/python" -c 'import runpod' 2>/dev/null; then
  rm -rf "$venv"
  if ! python3 -m venv "$venv" 2>/dev/null; then
    fetch "Debian's python3-venv" scripts/install-test-packages python3-venv
    python3 -m venv "$venv"
  fi
  fetch "runpod 1.12.0 (PyPI)" "$venv/bin/pip" install --disable-pip-version-check 'runpod==1.12.0'
fi
js="$cache/runpod-sdk-1.1.2"
if [ ! -d "$js/node_modules/runpod-sdk" ]; then
  mkdir -p "$js"
  fetch "runpod-sdk 1.1.2 (npm)" npm install --prefix "$js" --no-audit --no-fund --ignore-scripts 'runpod-sdk@1.1.2'
fi
key="ci-key-$$-0123456789"
export DRAGUNOV_API_KEY="$key"
start_service
RUNPOD_ENDPOINT_BASE_URL="$url/v2" timeout 300 "$venv/bin/python" tests/clients/runpod_client.py "$key"
NODE_ROOT="$js" timeout 120 node tests/clients/runpod_sdk.mjs "$url" "$key"

cargo build --quiet --locked --example dragunov-runpod-conformance
suite="${CARGO_TARGET_DIR:-target}/debug/examples/dragunov-runpod-conformance"
binary="${DRAGUNOV_BIN:-${CARGO_TARGET_DIR:-target}/debug/dragunov}"
unset DRAGUNOV_API_KEY
echo "conformance: dragunov worker"
"$suite" --concurrency-variable DRAGUNOV_CONCURRENCY -- "$binary" worker --engine stub
# The official worker, as a generator for D. These are its defects, each seen on the wire.
echo "conformance: runpod-python 1.12.0"
"$suite" --without stream --known A2,A3,A7,B4,B5,B7,B8,B10,B12,B13,B15,B16,C8,C12,C14,C15,C16,C17,C19,D7,D8,F7,G2,G3,G4,G5,G9,G10,G11,G12,I4 -- "$venv/bin/python" tests/clients/echo_handler.py
STREAM=1 "$suite" --only D --without progress --known D9 -- "$venv/bin/python" tests/clients/echo_handler.py
