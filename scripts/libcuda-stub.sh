#!/usr/bin/env bash
# Usage: libcuda-stub.sh FOLDER [ARCHIVE...]
#
# Writes FOLDER/libcuda.so.1 (and the link libcuda.so), a stand-in for NVIDIA's driver library on machines without
# one: every driver function answers 100, CUDA_ERROR_NO_DEVICE. With it a CUDA build links and starts, and finds that
# there is no GPU. Never install it where the real driver is.
#
# The functions are those that the archives refer to and do not define, or, without archives, those that the toolkit's
# header cuda.h in FOLDER/../include declares (old and new spellings both).
set -euo pipefail

folder=$1
shift
source=$(mktemp --suffix=.c)
trap 'rm -f "$source"' EXIT

names() {
  if [ $# -gt 0 ]; then
    nm --undefined-only "$@" 2>/dev/null | awk '$1 == "U" && $2 ~ /^cu[A-Z]/ { print $2 }'
  else
    # Declarations `CUresult CUDAAPI cuFoo(`, and the versioned names that cuda.h's #defines map them to.
    grep -ohE '\bcu[A-Z][A-Za-z0-9]*(_v[0-9]+|_ptsz|_ptds)*[[:space:]]*\(' "$folder/../include/cuda.h" | tr -d '( \t'
    grep -ohE '#define[[:space:]]+cu[A-Z][A-Za-z0-9]*[[:space:]]+(__CUDA_API_PT[A-Z]+\()?cu[A-Z][A-Za-z0-9_]*' \
      "$folder/../include/cuda.h" | grep -oE 'cu[A-Z][A-Za-z0-9_]*$'
  fi
}

{
  echo '/* Generated: no device behind any of these. */'
  names "$@" | sort -u | while read -r name; do
    echo "int $name(void) { return 100; }"
  done
} >"$source"

functions=$(grep -c '^int cu' "$source") || { echo "libcuda-stub: found no driver function" >&2; exit 1; }
"${CC:-cc}" -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$folder/libcuda.so.1" "$source"
ln -sf libcuda.so.1 "$folder/libcuda.so"
echo "libcuda stub with $functions functions in $folder" >&2
