#!/usr/bin/env bash
# The demo client of `bio-bff dev` in headless Chromium: PostgreSQL, the service, storage and the vision service on this
# machine, from an empty folder to a confirmed meal. Screenshots go to the first argument, or to target/app.
#   CHROMIUM=path  PHOTO=some.jpg  BIO_BFF_BIN=path  DRAGUNOV_BIN=path  are optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
out="${1:-${CARGO_TARGET_DIR:-target}/app}"
[ -n "${CHROMIUM:-}" ] || need_program chromium chromium
need_program node nodejs
need_program npm npm
root="$cache/playwright-1.64"
if [ ! -d "$root/node_modules/playwright-core" ]; then
  mkdir -p "$root"
  fetch "playwright-core 1.64 (npm)" npm install --prefix "$root" --no-audit --no-fund --ignore-scripts 'playwright-core@1.64'
fi
binary="${BIO_BFF_BIN:-}"
if [ -z "$binary" ]; then
  cargo build --quiet --locked -p bio-bff
  binary="${CARGO_TARGET_DIR:-target}/debug/bio-bff"
fi
photo="${PHOTO:-fixtures/plates/scene_005/photo.jpg}"
work="$(mktemp -d)"
# PostgreSQL runs as somebody else where this runs as root.
chmod 755 "$work"
"$binary" dev --listen 127.0.0.1:0 --dir "$work/data" >"$work/log" 2>&1 &
dev=$!
trap 'kill "$dev" 2>/dev/null || true; wait "$dev" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 900); do
  url="$(sed -n 's/^bio-bff is at \(http[^ ]*\).*/\1/p' "$work/log")"
  [ -n "$url" ] && break
  kill -0 "$dev" 2>/dev/null || { echo "bio-bff dev ended:"; cat "$work/log"; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "bio-bff dev did not start:"; cat "$work/log"; exit 1; }
NODE_ROOT="$root" CHROMIUM="${CHROMIUM:-$(command -v chromium)}" timeout 300 node tests/clients/app.mjs "$url" "$photo" "$out" ||
  { echo "what bio-bff dev said:"; tail -n 30 "$work/log"; exit 1; }
