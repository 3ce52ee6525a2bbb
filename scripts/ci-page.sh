#!/usr/bin/env bash
# The web page in headless Chromium. Screenshots go to the first argument, or to target/page.
#   CHROMIUM=/usr/bin/chromium  PHOTO=some.jpg  DRAGUNOV_BIN=path  are optional.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-target/page}"
chromium="${CHROMIUM:-/usr/bin/chromium}"
if [ ! -x "$chromium" ]; then
  echo "no Chromium at $chromium: the page was not tested"
  [ "${CI:-}" = true ] && exit 1 || exit 0
fi
cache="${DRAGUNOV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragunov-ci}"
root="$cache/playwright-1.64"
if [ ! -d "$root/node_modules/playwright-core" ]; then
  mkdir -p "$root"
  npm install --prefix "$root" --no-audit --no-fund --ignore-scripts --silent 'playwright-core@1.64'
fi
binary="${DRAGUNOV_BIN:-}"
if [ -z "$binary" ]; then
  cargo build --quiet --bin dragunov
  binary="${CARGO_TARGET_DIR:-target}/debug/dragunov"
fi
photo="${PHOTO:-fixtures/plates/scene_005/photo.jpg}"
log="$(mktemp)"
"$binary" serve --engine stub --stub-latency 300ms --port 0 --log warn >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
  url="$(sed -n 's/^listening on //p' "$log")"
  [ -n "$url" ] && break
  sleep 0.1
done
[ -n "$url" ] || { echo "the server did not start"; exit 1; }
NODE_ROOT="$root" CHROMIUM="$chromium" node tests/clients/page.mjs "$url" "$photo" "$out"
