#!/usr/bin/env bash
# Seeded mutations of photos, read by Pillow and by a scan: scripts/differential.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
venv="$cache/pillow"
[ -x "$venv/bin/python" ] || fetch "a Python environment" python3 -m venv "$venv"
fetch "Pillow" "$venv/bin/pip" install --quiet 'pillow==13.*' 'numpy==2.*'
decode="${CARGO_TARGET_DIR:-target}/debug/examples/decode"
# Built by `cargo test`, with the features that its dependencies have there.
[ -x "$decode" ] || cargo test --quiet --locked --no-run --example decode
"$venv/bin/python" scripts/differential.py 40 "$decode"
