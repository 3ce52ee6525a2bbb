#!/usr/bin/env bash
# Our CUDA kernels by NVIDIA's own compiler, of the image's version, for every architecture that ships: scripts/ci-cubins.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
version=$(sed -n 's/^VERSION=//p' scripts/cuda-toolkit.sh)
python_with "nvcc-$version" "nvidia-cuda-nvcc==$version.*" "nvidia-cuda-crt==$version.*" "nvidia-nvvm==$version.*" \
  "nvidia-cuda-runtime==$version.*" "nvidia-cuda-cccl==$version.*"
CUDA_HOME=$("$python" -c 'import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path("purelib"), "nvidia/cu13"))')
export CUDA_HOME
"$CUDA_HOME/bin/nvcc" --version | tail -n 1
scripts/ci-cubins.py "$@"
