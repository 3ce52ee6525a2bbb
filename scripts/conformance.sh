#!/usr/bin/env bash
# The conformance suite for RunPod workers, against ours and against the official one, which is fetched into a cache folder.
# usage: scripts/conformance.sh [ours | brief]      DRAGUNOV_BIN=path is optional
# Some cases bound times: run it on a machine that does nothing else. Ours takes some three minutes, the official worker more;
# `brief` holds the official one to the cases of addresses, results and streams, which do not wait.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
suite="${CARGO_TARGET_DIR:-target}/debug/examples/dragunov-runpod-conformance"
binary="${DRAGUNOV_BIN:-${CARGO_TARGET_DIR:-target}/debug/dragunov}"
# Built by `cargo test --workspace`, with the features that its dependencies have there.
[ -x "$suite" ] && [ -x "$binary" ] || cargo build --quiet --locked --bin dragunov --example dragunov-runpod-conformance
echo "conformance: dragunov worker"
"$suite" --concurrency-variable DRAGUNOV_CONCURRENCY -- "$binary" worker --engine stub
[ "${1:-}" != ours ] || exit 0
# The official worker, as a generator for D. These are its defects, each seen on the wire.
python_with runpod-1.12.0 'runpod==1.12.0'
echo "conformance: runpod-python 1.12.0"
only=()
[ "${1:-}" != brief ] || only=(--only A,C1,C2,C3,C4,C5,C6,C7,C8,C9,C10,C11,C12)
"$suite" "${only[@]}" --without stream --known A2,A3,A7,B4,B5,B7,B8,B10,B12,B13,B15,B16,C8,C12,C14,C15,C16,C17,C19,D7,D8,F7,G2,G3,G4,G5,G9,G10,G11,G12,I4 -- "$python" tests/clients/echo_handler.py
STREAM=1 "$suite" --only D --without progress --known D9 -- "$python" tests/clients/echo_handler.py
