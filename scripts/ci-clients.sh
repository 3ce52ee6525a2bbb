#!/usr/bin/env bash
# The official RunPod clients, Python and JavaScript, unchanged, against `dragunov serve`. They are fetched into a cache
# folder. DRAGUNOV_BIN=path is optional.
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
