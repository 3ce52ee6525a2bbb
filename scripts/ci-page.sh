#!/usr/bin/env bash
# The web page in headless Chromium. Screenshots go to the first argument, or to target/page.
#   CHROMIUM=path  PHOTO=some.jpg  SECOND=some.jpg  DRAGUNOV_BIN=path  are optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
out="${1:-${CARGO_TARGET_DIR:-target}/page}"
[ -n "${CHROMIUM:-}" ] || need_program chromium chromium
need_program node nodejs
need_program npm npm
root="$cache/playwright-1.64"
if [ ! -d "$root/node_modules/playwright-core" ]; then
  mkdir -p "$root"
  fetch "playwright-core 1.64 (npm)" npm install --prefix "$root" --no-audit --no-fund --ignore-scripts 'playwright-core@1.64'
fi
photo="${PHOTO:-fixtures/plates/scene_005/photo.jpg}"
second="${SECOND:-fixtures/meal/b.jpg}"
start_service --stub-latency 300ms
NODE_ROOT="$root" CHROMIUM="${CHROMIUM:-$(command -v chromium)}" timeout 600 node tests/clients/page.mjs "$url" "$photo" "$second" \
  fixtures/tiny/heif/iphone.heic "$out"
