#!/usr/bin/env bash
# Seeded mutations of photos, read by Pillow and by a scan: scripts/differential.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
python_with pillow-13-heif-1.8 'pillow==13.*' 'pillow-heif==1.8.*' 'numpy==2.*'
decode="${CARGO_TARGET_DIR:-target}/debug/examples/decode"
# Built by `cargo test`, with the features that its dependencies have there.
[ -x "$decode" ] || cargo test --quiet --locked --no-run --example decode
"$python" scripts/differential.py 40 "$decode"
