#!/usr/bin/env python3
"""How long a correction takes: starts `dragunov serve --no-models` and sends fixtures/contract/recompute_request.json over one connection.

    benches/recompute.py [PROGRAM [REQUESTS]]

Prints the time from start to ready, the quantiles of the requests' times and the service's peak memory. Python's standard library only.
"""

import http.client
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/dragunov")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    body = (ROOT / "fixtures/contract/recompute_request.json").read_bytes()
    begun = time.perf_counter()
    service = subprocess.Popen([program, "serve", "--no-models", "--port", "0", "--log", "error"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(service.stdout.readline().rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def ask(method, path, content=None):
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        while ask("GET", "/readyz") != 200:
            time.sleep(0.002)
        ready = time.perf_counter() - begun
        took = []
        for _ in range(count):
            start = time.perf_counter()
            assert ask("POST", "/v1/recompute", body) == 200
            took.append(1e3 * (time.perf_counter() - start))
        first, took = took[0], sorted(took)
        peak = next(line.split()[1] for line in open(f"/proc/{service.pid}/status") if line.startswith("VmHWM"))
    finally:
        service.terminate()
        service.wait()
    at = lambda share: took[min(count - 1, int(share * count))]
    print(f"ready after {1e3 * ready:.0f} ms; first correction {first:.2f} ms")
    print(f"{count} corrections: median {at(0.5):.2f} ms, p95 {at(0.95):.2f} ms, p99 {at(0.99):.2f} ms, longest {took[-1]:.2f} ms")
    print(f"peak memory {int(peak) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
