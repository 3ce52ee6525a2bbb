#!/usr/bin/env bash
# The official RunPod clients, Python and JavaScript, unchanged, against `dragunov serve`. They are fetched into a cache
# folder. DRAGUNOV_BIN=path is optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
need_program node nodejs
need_program npm npm
python_with runpod-1.12.0 'runpod==1.12.0'
js="$cache/runpod-sdk-1.1.2"
if [ ! -d "$js/node_modules/runpod-sdk" ]; then
  mkdir -p "$js"
  fetch "runpod-sdk 1.1.2 (npm)" npm install --prefix "$js" --no-audit --no-fund --ignore-scripts 'runpod-sdk@1.1.2'
fi
key="ci-key-$$-0123456789"
export DRAGUNOV_API_KEY="$key"
start_service
RUNPOD_ENDPOINT_BASE_URL="$url/v2" timeout 600 "$python" tests/clients/runpod_client.py "$key"
NODE_ROOT="$js" timeout 600 node tests/clients/runpod_sdk.mjs "$url" "$key"
