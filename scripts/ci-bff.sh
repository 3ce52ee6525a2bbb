#!/usr/bin/env bash
# bio-bff with servers and clients that are fetched: TimescaleDB (npm), SQS and S3 of ministack (PyPI), schemathesis (PyPI), and
# its tests at full size. Names of stages as arguments run only those: timescale aws volume openapi.
# BFF_BIN and BFF_TESTS, the program and its built tests, are optional: else what `cargo test --workspace` builds, with the features
# that its dependencies have there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
stages=("$@")
[ $# -gt 0 ] || stages=(volume timescale aws openapi)
target="${CARGO_TARGET_DIR:-target}"
if [ -z "${BFF_TESTS:-}" ]; then
  built="$(cargo test --quiet --locked --workspace --no-run --message-format=json)"
  BFF_TESTS="$(sed -n 's/.*"name":"bff".*"executable":"\([^"]*\)".*/\1/p' <<<"$built" | tail -n 1)"
fi
bff="${BFF_BIN:-$target/debug/bio-bff}"
tests="$(readlink -f "$BFF_TESTS")"
work="$(mktemp -d)"
# As root the servers run as nobody.
chmod 755 "$work"
children=()
end() {
  for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Runs the tests of a module; a test that says it did not run is a failure here.
run_tests() {
  (cd bff && CI=true timeout 600 "$tests" --nocapture "$@") >"$work/tests" 2>&1 || { cat "$work/tests"; return 1; }
  grep -E '^test result|: in [0-9]' "$work/tests"
  if grep 'NOT RUN' "$work/tests" || grep -q ' 0 passed' "$work/tests"; then echo "FAILED: nothing ran"; return 1; fi
}

# Waits until something listens on a port, or says what PROGRAM wrote before it ended.
wait_for() {
  local port="$1" pid="$2" log="$3"
  for _ in $(seq 600); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
    kill -0 "$pid" 2>/dev/null || { cat "$log"; return 1; }
    sleep 0.1
  done
  cat "$log"; return 1
}

volume() {
  echo "-- 10,000 consumes over 50 connections"
  BFF_CONSUMES=10000 run_tests consume::many_connections
}

timescale() {
  echo "-- TimescaleDB: hypertable, compression, continuous aggregate"
  need_program node nodejs
  need_program npm npm
  local folder="$cache/timescale-0.3.14-1"
  if [ ! -f "$folder/installed" ]; then
    rm -rf "$folder"; mkdir -p "$folder"
    cp scripts/timescale/* "$folder"
    fetch "TimescaleDB for WASM (npm)" npm ci --prefix "$folder" --ignore-scripts --legacy-peer-deps --no-audit --no-fund
    touch "$folder/installed"
  fi
  cp scripts/timescale/server.mjs "$folder"
  # A young build of somebody's: not as root, and with nothing to write to.
  local as_other=()
  if [ "$(id -u)" = 0 ]; then
    as_other=(setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/nonexistent)
    cp -r "$folder" "$work/timescale"; folder="$work/timescale"
  fi
  local port; port="$(free_port)"
  "${as_other[@]}" node "$folder/server.mjs" "$port" >"$work/timescale.log" 2>&1 &
  children+=($!)
  wait_for "$port" $! "$work/timescale.log"
  BFF_TEST_TIMESCALE_URL="postgres://postgres:x@127.0.0.1:$port/template1?sslmode=disable&statement-cache-capacity=0" \
    run_tests timescale::
}

aws() {
  echo "-- SQS and S3 of ministack"
  python_with ministack-1.5.33 'ministack==1.5.33' boto3
  local port; port="$(free_port)"
  BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" "$(dirname "$python")/ministack" >"$work/ministack.log" 2>&1 &
  children+=($!)
  wait_for "$port" $! "$work/ministack.log"
  BFF_TEST_AWS_ENDPOINT="http://127.0.0.1:$port" run_tests sqs:: ministack::
}

openapi() {
  echo "-- schemathesis against the description"
  "$bff" dev --dir "$work/dev" --listen 127.0.0.1:0 >"$work/dev.log" 2>"$work/dev.err" &
  children+=($!)
  local pid=$! base idp
  for _ in $(seq 600); do
    grep -q 'Stop it' "$work/dev.log" && break
    kill -0 "$pid" 2>/dev/null || { cat "$work/dev.log" "$work/dev.err"; return 1; }
    sleep 0.1
  done
  base="$(sed -n 's/^bio-bff is at \(http[^ ]*\).*/\1/p' "$work/dev.log")"
  idp="$(sed -n 's/^TOKEN=.*\(http[^ ]*\)\/token.*/\1/p' "$work/dev.log")"
  as_stranger() {
    local seconds="$1" token; shift
    token="$(curl -sf "$idp/token" -H 'content-type: application/json' -d '{"sub":"stranger"}')"
    attack "$seconds" "$base" -H "Authorization: Bearer $token" "$@" || { grep ERROR "$work/dev.err" | tail -n 20; return 1; }
  }
  # DELETE /me comes last: what follows it is 404 everywhere.
  as_stranger 150 --exclude-path /me/erasure --exclude-operation-id delete_me
  as_stranger 20 --include-operation-id delete_me
  if grep -E 'panic|internal error' "$work/dev.err"; then echo "FAILED: the service's log has these"; return 1; fi
}

for stage in "${stages[@]}"; do "$stage"; done
