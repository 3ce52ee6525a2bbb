#!/bin/sh
# libFuzzer over every target of fuzz/, with stable Rust: coverage by LLVM's own pass, no sanitizer (all of it is safe
# Rust but for the maps of weight files).
# usage: scripts/fuzz.sh [seconds a target, 15 if left out; `build` only builds] [target...]
# New finds go into fuzz/corpus.new; a crash is kept in fuzz/artifacts and fails the script.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-15}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- photo heif metadata safetensors pickle config job vision depth_map corrections
for tool in cargo c++; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "fuzz: skipped, there is no $tool here; tests/mutations.rs drives the same targets"
        exit 0
    fi
done
export CARGO_TARGET_DIR="${DRAGUNOV_FUZZ_TARGET_DIR:-fuzz/target}"
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# The product's own versions of everything.
cp Cargo.lock fuzz/Cargo.lock
triple=$(rustc -vV | sed -n 's/^host: //p')
if ! cargo build --manifest-path fuzz/Cargo.toml --target "$triple" --bins; then
    echo "fuzz: skipped, the targets cannot be built here (see above); tests/mutations.rs drives the same targets"
    exit 0
fi
[ "$seconds" != build ] || exit 0
for target; do
    mkdir -p "fuzz/corpus.new/$target" "fuzz/artifacts/$target"
    echo "fuzz: $target for $seconds s"
    "$CARGO_TARGET_DIR/$triple/debug/$target" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=20 -max_len=300000 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" "fuzz/corpus.new/$target" "fuzz/corpus/$target" \
        2>&1 | grep -E 'ERROR|SUMMARY|stat::|Done|panicked' || true
    if [ -n "$(ls "fuzz/artifacts/$target")" ]; then
        echo "fuzz: $target failed on the files in fuzz/artifacts/$target"
        exit 1
    fi
done
