#!/usr/bin/env bash
# All faults at once on `serve` with plate-tiny, two jobs running: 8 kills at random moments, a full disk, 1,100 idle connections
# and the bombs of tests/service/bombs.rs. No accepted job may be lost and VmHWM stays under 1.2 GB; the figures are printed.
# usage: scripts/endurance.sh      DRAGUNOV_BIN=path is optional: another build of the program, a release build for instance.
# SERVICE_TESTS=path is optional: the built tests/service.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${SERVICE_TESTS:-}" ]; then
  built="$(cargo test --quiet --locked --workspace --test service --no-run --message-format=json)"
  SERVICE_TESTS="$(sed -n 's/.*"name":"service".*"executable":"\([^"]*\)".*/\1/p' <<<"$built" | tail -n 1)"
fi
SERVICE_TESTS="$(readlink -f "$SERVICE_TESTS")"
export SERVICE_TESTS DRAGUNOV_SMALL_DISK
DRAGUNOV_SMALL_DISK="$(mktemp -d)"
trap 'rmdir "$DRAGUNOV_SMALL_DISK" 2>/dev/null || true' EXIT
# 48 MiB that can be filled without harm to anybody, mounted where only this run sees it.
small() {
  unshare "$@" sh -c 'mount -t tmpfs -o size=48m,mode=700 small "$DRAGUNOV_SMALL_DISK" && "$0" "$@"' "${run[@]}"
}
run=(true)
if small --mount 2>/dev/null; then how=(--mount)
elif small --mount --map-root-user 2>/dev/null; then how=(--mount --map-root-user)
else how=(); fi
run=("$SERVICE_TESTS" --ignored --exact endurance::nothing_is_lost_by_all_faults_together --nocapture)
if [ ${#how[@]} -gt 0 ]; then
  small "${how[@]}"
else
  echo "NOT TRIED: a full disk. No small file system can be mounted here (needs root, or user namespaces)."
  env -u DRAGUNOV_SMALL_DISK "${run[@]}"
fi
