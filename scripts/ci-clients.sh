#!/usr/bin/env bash
# The official RunPod Python client, unchanged, against `dragunov serve`. Makes its own environment in a cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${DRAGUNOV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragunov-ci}"
venv="$cache/runpod-1.12.0"
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import runpod' 2>/dev/null; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'runpod==1.12.0'
fi
binary="${DRAGUNOV_BIN:-}"
if [ -z "$binary" ]; then
  cargo build --quiet --bin dragunov
  binary="${CARGO_TARGET_DIR:-target}/debug/dragunov"
fi
key="ci-key-$$-0123456789"
log="$(mktemp)"
DRAGUNOV_API_KEY="$key" "$binary" serve --engine stub --port 0 --log warn >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
  url="$(sed -n 's/^listening on //p' "$log")"
  [ -n "$url" ] && break
  sleep 0.1
done
[ -n "$url" ] || { echo "the server did not start"; exit 1; }
RUNPOD_ENDPOINT_BASE_URL="$url/v2" "$venv/bin/python" tests/clients/runpod_client.py "$key"
