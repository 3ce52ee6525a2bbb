#!/usr/bin/env bash
# bio-bff beside the same three paths in Python 3.11 + FastAPI + asyncpg + redis, on this machine, in one run.
#
#   benches/bff/compare.sh [--rounds N] [--bare] [--quick]
#
# PYTHON is an interpreter with requirements.txt installed; without it a virtual environment is made under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target="${CARGO_TARGET_DIR:-target}"
if [ -z "${PYTHON:-}" ]; then
  PYTHON="$target/bff-bench/bin/python"
  [ -x "$PYTHON" ] || python3 -m venv "$target/bff-bench"
  "$target/bff-bench/bin/pip" install --quiet --disable-pip-version-check -r benches/bff/requirements.txt
fi
[ -n "${BFF_BIN:-}" ] || cargo build --quiet --locked --release -p bio-bff --bin bio-bff --example bff-load
echo "$(date -u +%F), load $(cut -d' ' -f1 /proc/loadavg), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
exec "$PYTHON" benches/bff/run.py "${BFF_BIN:-$target/release/bio-bff}" "${LOAD_BIN:-$target/release/examples/bff-load}" "$@"
