#!/usr/bin/env bash
# Builds the binary with feature `cuda` against the toolkit of cuda-toolkit.sh, linked with a stub of the driver, and
# checks that on a machine without a GPU asking for one is refused: exit code 2, the stable code, and why.
#
#   scripts/cuda-check.sh            everything must work
#   scripts/cuda-check.sh --boxed    for CI: gives up, saying so, where the toolkit cannot be fetched within
#                                    $DRAGUNOV_CUDA_TIMEOUT seconds (default 420) or the build not be finished within
#                                    $DRAGUNOV_CUDA_BUILD_TIMEOUT (default 1200); what does not compile, link or
#                                    refuse still fails
#
# The build goes to $DRAGUNOV_CUDA_TARGET (default: target/cuda), apart from the ordinary one; in CI the two share a
# folder, as they share all dependencies but candle. The first build takes about 15 CPU minutes more than an ordinary
# one, nearly all of it candle's kernels.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
boxed=${1:-}
skip() {
  echo "cuda-check: SKIPPED, feature cuda was not built: $1"
  exit 0
}

limit=()
if [ "$boxed" = --boxed ]; then
  export DRAGUNOV_CUDA_TIMEOUT=${DRAGUNOV_CUDA_TIMEOUT:-420}
  export DRAGUNOV_CUDA_TARGET=${DRAGUNOV_CUDA_TARGET:-${CARGO_TARGET_DIR:-$root/target}}
  [ -z "${DRAGUNOV_CACHE:-}" ] || export DRAGUNOV_CUDA_CACHE=${DRAGUNOV_CUDA_CACHE:-$DRAGUNOV_CACHE/cuda}
  limit=(timeout --kill-after=20 "${DRAGUNOV_CUDA_BUILD_TIMEOUT:-1200}")
  environment=$(timeout $((DRAGUNOV_CUDA_TIMEOUT + 60)) scripts/cuda-toolkit.sh) ||
    skip "the toolkit could not be fetched within $DRAGUNOV_CUDA_TIMEOUT s"
else
  environment=$(scripts/cuda-toolkit.sh)
fi
eval "$environment"
export CARGO_TARGET_DIR=${DRAGUNOV_CUDA_TARGET:-$root/target/cuda}

# A test target beside the binary: dependencies then have the features that `cargo test --workspace` built them with.
code=0
"${limit[@]}" cargo build --locked --workspace --features cuda --bin dragunov --test tidy || code=$?
if [ "$boxed" = --boxed ] && { [ "$code" = 124 ] || [ "$code" = 137 ]; }; then
  skip "the build was not finished in time; finished parts are kept for the next run"
fi
[ "$code" = 0 ] || { echo "cuda-check: the build failed" >&2; exit "$code"; }
binary=$CARGO_TARGET_DIR/debug/dragunov

if [ -e /dev/nvidia0 ]; then
  echo "cuda-check: built and linked; this machine has a GPU, so the refusal was not tried"
  exit 0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
code=0
RUST_BACKTRACE=0 "$binary" depth --device cuda:0 --checkpoint fixtures/tiny/depth/relative \
  --image fixtures/plates/scene_015/photo.jpg --out "$out/depth.npy" >"$out/stdout" 2>"$out/stderr" || code=$?
cat "$out/stderr" >&2
[ "$code" = 2 ] || { echo "cuda-check: exit code $code instead of 2" >&2; exit 1; }
grep -q 'device_unavailable' "$out/stderr" || { echo "cuda-check: the refusal has no code" >&2; exit 1; }
grep -q 'cuda:0 was asked for' "$out/stderr" || { echo "cuda-check: the message does not say why" >&2; exit 1; }
[ ! -e "$out/depth.npy" ] || { echo "cuda-check: computed on another device instead of refusing" >&2; exit 1; }
"$binary" depth --device cpu --checkpoint fixtures/tiny/depth/relative --image fixtures/plates/scene_015/photo.jpg \
  --out "$out/depth.npy" >/dev/null || { echo "cuda-check: the CUDA build does not compute on the CPU" >&2; exit 1; }
echo "cuda-check: built, linked, and cuda:0 refused without a GPU"
