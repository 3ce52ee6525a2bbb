#!/usr/bin/env bash
# Builds the binary with feature `cuda` against the toolkit of cuda-toolkit.sh and checks that, on a machine without a
# GPU, asking for one is refused with exit code 2 and a message that says why.
#
# The build goes to $DRAGUNOV_CUDA_TARGET (default: target/cuda), apart from the ordinary one. The first takes about
# 20 CPU minutes, mostly candle's kernels.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
environment=$(scripts/cuda-toolkit.sh)
eval "$environment"
export CARGO_TARGET_DIR=${DRAGUNOV_CUDA_TARGET:-$root/target/cuda}

cargo build --features cuda --bin dragunov
binary=$CARGO_TARGET_DIR/debug/dragunov

if [ -e /dev/nvidia0 ]; then
  echo "cuda-check: this machine has a GPU; the refusal was not tried"
  exit 0
fi

# Any readable image and checkpoint do: the device is opened before either is used.
photo=$(find fixtures -name '*.jpg' -o -name '*.png' | sort | head -n 1)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
code=0
"$binary" depth --device cuda:0 --image "$photo" --out "$out/depth.npy" >"$out/stdout" 2>"$out/stderr" || code=$?
cat "$out/stderr" >&2
[ "$code" = 2 ] || { echo "cuda-check: exit code $code instead of 2" >&2; exit 1; }
grep -q 'cuda:0 was asked for' "$out/stderr" || { echo "cuda-check: the message does not say why" >&2; exit 1; }
[ ! -e "$out/depth.npy" ] || { echo "cuda-check: computed on another device instead of refusing" >&2; exit 1; }
echo "cuda-check: built, linked, and cuda:0 refused without a GPU"
