#!/usr/bin/env bash
# Installs what is needed to compile and link feature `cuda` without a GPU or a driver: NVIDIA's toolkit from Python
# wheels, and a stub of the driver library. Prints the environment to build in:
#
#   eval "$(scripts/cuda-toolkit.sh)"
#
# Everything goes to $DRAGUNOV_CUDA_CACHE (default: a folder of the user's cache); a second run finds it and does
# nothing. Needs python3 with venv and pip, a C compiler and about 2 GB of disk. Gives up after
# $DRAGUNOV_CUDA_TIMEOUT seconds (default 900).
set -euo pipefail

VERSION=13.0
# Wheels of the toolkit's parts that candle compiles with and links against.
PACKAGES=(
  "nvidia-cuda-nvcc==$VERSION.*" "nvidia-cuda-crt==$VERSION.*" "nvidia-nvvm==$VERSION.*"
  "nvidia-cuda-runtime==$VERSION.*" "nvidia-cuda-cccl==$VERSION.*" "nvidia-cuda-nvrtc==$VERSION.*"
  "nvidia-cublas==$VERSION.*" "nvidia-curand"
)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DRAGUNOV_CUDA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragunov/cuda-$VERSION}
home=$cache/site/nvidia/cu13
mkdir -p "$cache"

install() {
  rm -rf "$cache/site" "$cache/venv"
  python3 -m venv "$cache/venv" >&2
  timeout "${DRAGUNOV_CUDA_TIMEOUT:-900}" "$cache/venv/bin/python" -m pip install --quiet --no-deps --no-compile \
    --target "$cache/site" "${PACKAGES[@]}" >&2
  rm -rf "$cache/venv"
  # The wheels hold libfoo.so.13 only; the linker looks for libfoo.so.
  local lib base
  for lib in "$home"/lib/lib*.so.*; do
    base=${lib%%.so.*}.so
    [ -e "$base" ] || ln -s "$(basename "$lib")" "$base"
  done
  [ -e "$home/lib64" ] || ln -s lib "$home/lib64"
  "$home/bin/nvcc" --version >&2
}

# One installation at a time; whoever waited finds it done.
exec 9>"$cache/lock"
flock 9
if [ ! -e "$cache/done" ]; then
  install
  "$here/libcuda-stub.sh" "$home/lib"
  date -u +%FT%TZ >"$cache/done"
fi
flock -u 9

cat <<ENV
export CUDA_HOME='$home'
export CUDA_ROOT='$home'
export CUDA_PATH='$home'
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-80}"
export PATH='$home/bin':"\$PATH"
export LD_LIBRARY_PATH='$home/lib'"\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export LIBRARY_PATH='$home/lib'"\${LIBRARY_PATH:+:\$LIBRARY_PATH}"
ENV
