#!/usr/bin/env bash
# bio-bff's Lambda functions on ministack, with PostgreSQL and the vision service of this machine: upload, event, job, webhook,
# notice, confirmation. BIO_BFF_BIN (built with the feature `lambda`) and DRAGUNOV_BIN are optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
python_with ministack-lambda-1.5.33 'ministack==1.5.33' boto3 cryptography 'websockets>=14'
pg="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)"
[ -n "$pg" ] || { echo "SKIPPED: needs Debian's postgresql (scripts/install-test-packages)"; exit 0; }
binary="${BIO_BFF_BIN:-}"
if [ -z "$binary" ]; then
  cargo build --quiet --locked -p bio-bff --features lambda
  binary="${CARGO_TARGET_DIR:-target}/debug/bio-bff"
fi
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
work="$(mktemp -d)"
chmod 755 "$work"
pids=()
finish() {
  [ "${#pids[@]}" = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  [ -z "${service:-}" ] || kill "$service" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work" "${service_log:-}"
}

# PostgreSQL with TLS, as RDS insists on it; a certificate of its own.
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
mkdir "$work/pg"
[ "$(id -u)" != 0 ] || chown nobody:nogroup "$work/pg"
"${as[@]}" "$pg/initdb" -A trust --no-sync --locale=C.UTF-8 -U postgres -D "$work/pg/data" >/dev/null
"${as[@]}" openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$work/pg/data/server.key" \
  -out "$work/pg/data/server.crt" 2>/dev/null
pg_port="$(free)"
"${as[@]}" "$pg/postgres" -D "$work/pg/data" -p "$pg_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c ssl=on \
  -c fsync=off >"$work/pg.log" 2>&1 &
pids+=($!)
trap finish EXIT
for _ in $(seq 200); do "$pg/pg_isready" -q -h 127.0.0.1 -p "$pg_port" && break; sleep 0.1; done
# The owner may not log in without its password.
sql() { "$pg/psql" -Xqv ON_ERROR_STOP=1 -h 127.0.0.1 -p "$pg_port" -U postgres "$@"; }
sql -c "CREATE ROLE bio_owner LOGIN CREATEROLE PASSWORD 'owner'" -c "CREATE DATABASE bio OWNER bio_owner"
{ echo 'hostssl all bio_owner,api_login,worker_login 127.0.0.1/32 scram-sha-256'; echo 'host all postgres 127.0.0.1/32 trust'; } >"$work/hba"
"${as[@]}" cp "$work/hba" "$work/pg/data/pg_hba.conf"
sql -tc "SELECT pg_reload_conf()" >/dev/null

port="$(free)"
BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" "$(dirname "$python")/ministack" >"$work/ministack.log" 2>&1 &
pids+=($!)
start_service --private-webhooks --allow-private-urls
trap finish EXIT
for _ in $(seq 300); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
strip -o "$work/bootstrap" "$binary" 2>/dev/null || cp "$binary" "$work/bootstrap"
timeout 400 "$python" tests/clients/lambda_ministack.py "http://127.0.0.1:$port" "$work/bootstrap" "$url" "$pg_port" \
  fixtures/plates/scene_005/photo.jpg || { echo "what ministack said:"; grep -v '"GET\|INFO' "$work/ministack.log" | tail -n 40; exit 1; }
