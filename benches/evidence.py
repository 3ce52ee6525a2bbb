#!/usr/bin/env python3
"""What notes, lists of photos, hints for a better photo and the long food table cost the scan of one photo.

    benches/evidence.py [PROGRAM [PAIRS]]

Starts `dragunov serve` and scans the README's photo in turns: as before, with a note, as a list of one, and with the core foods alone
(a second service). Prints the median of the ratios of neighbouring scans' CPU times, and the share of the stage in which foods are
looked up and a better photo is thought of. Python's standard library only.
"""

import base64
import csv
import http.client
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from statistics import median

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHOTO = ROOT / "fixtures/plates/scene_005/photo.jpg"


class Service:
    def __init__(self, program, *args):
        command = [program, "serve", "--port", "0", "--log", "error", *args]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", int(self.process.stdout.readline().rsplit(":", 1)[1]))
        while self.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.05)

    def ask(self, method, path, content=None):
        body = None if content is None else json.dumps(content)
        self.connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def scan(self, request):
        before = self.cpu_s()
        status, answer = self.ask("POST", "/v1/scan", request)
        assert status == 200, answer[:300]
        return self.cpu_s() - before, json.loads(answer)["timings_ms"]

    def cpu_s(self):
        """Time that the service has computed for; other programs do not count."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def core_foods(program, folder):
    """The table without the rows that were made from a database."""
    table = subprocess.run([program, "foods", "export", "--csv"], capture_output=True, text=True, check=True).stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    file = pathlib.Path(folder) / "core.csv"
    with open(file, "w", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows(row for row in rows if not row["id"].startswith("usda_"))
    return str(file)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/dragunov")
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    image = {"base64": base64.b64encode(PHOTO.read_bytes()).decode()}
    plain = {"image": image, "pitch_deg": 25.4, "reference": {"kind": "plate", "diameter_cm": 29.9}}
    note = {**plain, "note": "I ate half of it, fried in olive oil"}
    listed = {"images": [{"image": image, "pitch_deg": 25.4}], "reference": plain["reference"]}
    with tempfile.TemporaryDirectory() as folder:
        services = [Service(program), Service(program, "--foods", core_foods(program, folder))]
        try:
            long, core = services
            for service in services:
                service.scan(plain)
            took = {"a note": [], "a list of one": [], "3,900 foods more": []}
            shares = []
            for _ in range(pairs):
                for name, service, request, base in (("a note", long, note, (long, plain)), ("a list of one", long, listed, (long, plain)),
                                                     ("3,900 foods more", long, plain, (core, plain))):
                    with_it, timings = service.scan(request)
                    without, _ = base[0].scan(base[1])
                    took[name].append(with_it / without)
                    shares.append(timings["nourish"] / timings["total"])
        finally:
            for service in services:
                service.stop()
    for name, ratios in took.items():
        ratios.sort()
        print(f"{name}: {median(ratios):.3f} of the CPU time without ({ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f} in the middle half)")
    print(f"foods, questions and hints for a better photo: {100 * median(shares):.3f} % of a scan")


if __name__ == "__main__":
    main()
