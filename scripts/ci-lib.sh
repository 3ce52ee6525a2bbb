# Shared by the scripts that try the service with other people's programs. Source it from the repository's root.
cache="${DRAGUNOV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragunov-ci}"
mkdir -p "$cache"

# fetch WHAT COMMAND...: runs a download. Without a network the script ends well and says so; any other failure is one.
fetch() {
  local what="$1" log; shift
  log="$(mktemp)"
  if timeout 300 "$@" >"$log" 2>&1; then rm -f "$log"; return 0; fi
  local status=$?
  if [ $status = 124 ] || grep -qE 'name resolution|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|Network is unreachable|NewConnectionError|ConnectTimeout|Could not resolve|Connection refused|Temporary failure|Failed to fetch' "$log"; then
    echo "SKIPPED, no network: $what could not be fetched. The reason given:"; tail -n 3 "$log"; rm -f "$log"
    exit 0
  fi
  echo "FAILED: $what could not be fetched:"; cat "$log"; rm -f "$log"
  exit 1
}

# need_program NAME PACKAGE: installs a Debian package if its program is not there.
need_program() {
  command -v "$1" >/dev/null || fetch "Debian's $2" scripts/install-test-packages "$2"
}

# python_with NAME PACKAGE...: sets python to an interpreter with these packages of PyPI. Kept in the cache folder under NAME,
# which tells their versions.
python_with() {
  local venv="$cache/$1"; shift
  python="$venv/bin/python"
  [ ! -e "$venv/complete" ] || return 0
  need_program python3 python3
  rm -rf "$venv"
  if ! python3 -m venv "$venv" 2>/dev/null; then
    fetch "Debian's python3-venv" scripts/install-test-packages python3-venv
    python3 -m venv "$venv"
  fi
  fetch "$* (PyPI)" "$python" -m pip install --quiet --disable-pip-version-check "$@"
  touch "$venv/complete"
}

# start_service ARGUMENT...: the stub service on a free port; sets url. Ends with the script.
start_service() {
  local binary="${DRAGUNOV_BIN:-}"
  if [ -z "$binary" ]; then
    cargo build --quiet --locked --bin dragunov
    binary="${CARGO_TARGET_DIR:-target}/debug/dragunov"
  fi
  service_log="$(mktemp)"
  "$binary" serve --engine stub --port 0 --log error "$@" >"$service_log" &
  service=$!
  trap 'kill "$service" 2>/dev/null || true; rm -f "$service_log"' EXIT
  for _ in $(seq 300); do
    url="$(sed -n 's/^listening on //p' "$service_log")"
    [ -n "$url" ] && return 0
    sleep 0.1
  done
  echo "the service did not start"; exit 1
}

# attack SECONDS URL ARGUMENT...: schemathesis on the service at URL, by its own /openapi.json: no 5xx, and no status, content type,
# header or body but those described. Its last lines are shown, more of them where it finds something. SCHEMATHESIS_SEED=n has it
# try other requests.
attack() {
  local seconds="$1" url="$2" folder status=0; shift 2
  python_with schemathesis-4.32.5 'schemathesis==4.32.5'
  # A folder of its own, where it leaves its notes.
  folder="$(mktemp -d)"
  (cd "$folder" && "$(dirname "$python")/st" run "$url/openapi.json" "$@" --no-shrink --max-time "$seconds" --request-timeout 60 -w 2 \
    --seed "${SCHEMATHESIS_SEED:-1}" \
    -c not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance \
    --suppress-health-check all --warnings off) >"$folder/said" 2>&1 || status=$?
  tail -n "$([ $status = 0 ] && echo 20 || echo 150)" "$folder/said"
  rm -rf "$folder"
  return $status
}
