#!/usr/bin/env bash
# Seeded mutations of photos, read by Pillow and by a scan: scripts/differential.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
venv="$cache/pillow"
[ -x "$venv/bin/python" ] || fetch "a Python environment" python3 -m venv "$venv"
fetch "Pillow" "$venv/bin/pip" install --quiet 'pillow==13.*' 'numpy==2.*'
cargo build --quiet --locked --example decode
"$venv/bin/python" scripts/differential.py 40 "${CARGO_TARGET_DIR:-target}/debug/examples/decode"
