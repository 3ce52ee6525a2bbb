#!/usr/bin/env bash
# The OpenAPI document as strangers use it: checked by openapi-spec-validator, turned into a client by openapi-python-client,
# which then scans a photo, and attacked by schemathesis. DRAGUNOV_BIN=path is optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
python_with openapi-0.29.1 'openapi-spec-validator==0.9.0' 'openapi-python-client==0.29.1'
key="ci-key-$$-0123456789"
export DRAGUNOV_API_KEY="$key"
start_service
out="$(mktemp -d)"
trap 'kill "$service" 2>/dev/null || true; rm -rf "$service_log" "$out"' EXIT
python3 -c 'import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())' "$url/openapi.json" \
  >"$out/openapi.json"
"$python" -m openapi_spec_validator "$out/openapi.json"
# Pictures as bare bodies are one type to the generator; everything else it must understand.
cat >"$out/config.yaml" <<'YAML'
content_type_overrides: {image/jpeg: application/octet-stream, image/png: application/octet-stream, image/webp: application/octet-stream, image/heic: application/octet-stream}
post_hooks: []
YAML
"$(dirname "$python")/openapi-python-client" generate --path "$out/openapi.json" --config "$out/config.yaml" --meta none \
  --output-path "$out/dragunov_client" --fail-on-warning
# A real answer, of the bundled checkpoints, beside the stub's.
binary="${DRAGUNOV_BIN:-${CARGO_TARGET_DIR:-target}/debug/dragunov}"
"$binary" scan fixtures/plates/scene_015/photo.jpg --pitch 23.4 --plate 29.2 --json "$out/scan.json" >"$out/scan.txt"
PYTHONPATH="$out" timeout 600 "$python" tests/clients/openapi_client.py "$url" "$key" \
  fixtures/plates/scene_005/photo.jpg "$out/scan.json" "$out/openapi.json"

echo "-- schemathesis against the description"
# The same service for everybody, and one with nothing but corrections and the food table. No photo has to come from elsewhere.
# Without the coverage phase: on results inside of requests it ends in an error of Python's own (SystemError in ast.parse).
attack 90 "$url" -H "Authorization: Bearer $key" --phases examples,fuzzing,stateful
kill "$service"; wait "$service" 2>/dev/null || true
start_service --no-models
attack 20 "$url" -H "Authorization: Bearer $key" --phases examples,fuzzing,stateful --include-path /v1/recompute --include-path /v1/foods --include-path /info
