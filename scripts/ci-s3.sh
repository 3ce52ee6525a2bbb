#!/usr/bin/env bash
# A second S3 server, ministack from PyPI, under the service: photo in by s3://, pictures out, wrong keys refused.
# DRAGUNOV_BIN=path is optional.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci-lib.sh
python_with ministack-1.5.33 'ministack==1.5.33' boto3
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
out="$(mktemp)"
BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" "$(dirname "$python")/ministack" >"$out" 2>&1 &
ministack=$!
export AWS_ENDPOINT_URL="http://127.0.0.1:$port" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
start_service --s3-path-style --allow-private-urls
trap 'kill "$service" "$ministack" 2>/dev/null || true; rm -f "$service_log" "$out"' EXIT
for _ in $(seq 300); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  kill -0 "$ministack" 2>/dev/null || { echo "ministack ended:"; cat "$out"; exit 1; }
  sleep 0.1
done
timeout 600 "$python" tests/clients/s3_ministack.py "$url" "$AWS_ENDPOINT_URL" fixtures/plates/scene_005/photo.jpg
