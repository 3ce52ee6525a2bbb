"""`dragunov serve` on a device that runs out of memory, or breaks: what callers are told, and what becomes of the process.

Needs SOFTCUDA_HOME and DRAGUNOV_SOFT, as scripts/ci-softcuda.sh sets them.
"""

import base64
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOME = pathlib.Path(os.environ["SOFTCUDA_HOME"])
BINARY = os.environ["DRAGUNOV_SOFT"]
PHOTO = base64.b64encode((ROOT / "fixtures/plates/scene_015/photo.jpg").read_bytes()).decode()
# A depth map asks the device for as little as any answer does.
DEPTH = {"input": {"task": "depth", "image": {"base64": PHOTO}}}


class Service:
    """A service on the software device; `faults` is the file that tells the device to fail."""

    def __init__(self, *arguments, warm_up=False):
        self.folder = tempfile.TemporaryDirectory()
        self.faults = pathlib.Path(self.folder.name, "faults")
        environment = os.environ | {
            "LD_LIBRARY_PATH": f"{HOME}/lib", "SOFTCUDA_FAULT_FILE": str(self.faults), "DRAGUNOV_HOST": "127.0.0.1",
            "SOFTCUDA_REPORT": f"{self.folder.name}/report.json",
        }
        self.log = open(pathlib.Path(self.folder.name, "log"), "w+")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--port", "0", "--device", "cuda:0", *([] if warm_up else ["--no-warm-up"]), *arguments], env=environment,
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.address = self.process.stdout.readline().split()[-1]
        self.until(lambda: self.get("/readyz")[0] == 200, 600)

    def until(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                self.log.seek(0)
                raise AssertionError(f"gave up waiting; exit {self.process.poll()}\n{self.log.read()[-4000:]}")
            time.sleep(0.2)

    def get(self, path, body=None, seconds=600):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return None, ""

    def depth(self):
        """How a job ends: its status and the whole answer."""
        _, text = self.get("/runsync?wait=300000", DEPTH)
        answer = json.loads(text) if text else {}
        return answer.get("status"), text

    def tell(self, fault):
        partial = self.faults.with_suffix(".new")
        partial.write_text(fault)
        partial.rename(self.faults)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        report = pathlib.Path(self.folder.name, "report.json")
        self.counters = json.loads(report.read_text()) if report.exists() else {}
        findings = self.counters.get("findings")
        self.log.close()
        self.process.stdout.close()
        self.folder.cleanup()
        return code, findings


class OnADeviceThatIsWell(unittest.TestCase):
    def test_the_memory_reported_is_what_the_pool_holds_after_the_warm_up(self):
        service = Service(warm_up=True)
        memory = json.loads(service.get("/info")[1])["engine"]["memory"]
        self.assertEqual(service.end(), (0, []))
        self.assertEqual(memory["peak_bytes"], service.counters["reserved_bytes"])
        self.assertGreater(memory["peak_bytes"], memory["weights_bytes"])
        self.assertEqual(memory["total_bytes"], 16 << 30)
        self.assertEqual(service.counters["returned_bytes"], 0, "the pool gave memory back that the next job asks for again")


class OnADeviceThatFails(unittest.TestCase):
    def test_memory_runs_out_once_for_a_while_and_for_good(self):
        service = Service()
        self.assertEqual(service.depth()[0], "COMPLETED")

        service.tell("oom 1")
        status, text = service.depth()
        self.assertEqual(status, "COMPLETED", f"one failed allocation: the job is tried again; {text}")

        service.tell("oom 1000000")
        status, text = service.depth()
        self.assertEqual(status, "FAILED", text)
        self.assertIn("out_of_memory", text)
        self.assertEqual(service.get("/readyz")[0], 200, "the device is well")

        service.tell("oom 0")
        self.assertEqual(service.depth()[0], "COMPLETED", "memory is back")
        self.assertEqual(service.end(), (0, []))

    def test_a_lost_device_ends_the_process_and_answers_nobody(self):
        service = Service()
        self.assertEqual(service.depth()[0], "COMPLETED")
        service.tell("lost")
        status, text = service.depth()
        self.assertNotEqual(status, "COMPLETED")
        if text:  # else the process was gone before the answer was written
            self.assertIn("device_unavailable", text)
        status, text = service.depth()
        self.assertNotEqual(status, "COMPLETED", "answered by a dead device")
        self.assertNotEqual(service.get("/readyz")[0], 200)
        self.assertNotEqual(service.process.wait(120), 0, "whoever started it must see that it failed")
        service.end()

    def test_jobs_that_a_lost_device_never_began_are_run_by_the_next_process(self):
        with tempfile.TemporaryDirectory() as state:
            service = Service("--state-dir", state)
            service.tell("lost")
            ids = [json.loads(service.get("/run", DEPTH)[1])["id"] for _ in range(4)]
            self.assertNotEqual(service.process.wait(120), 0)
            service.end()

            again = Service("--state-dir", state)
            status = lambda job: json.loads(again.get(f"/status/{job}")[1])["status"]
            again.until(lambda: all(status(job) in ("COMPLETED", "FAILED") for job in ids), 600)
            ends = [status(job) for job in ids]
            self.assertEqual(ends.count("FAILED"), 1, f"the job that met the fault, and no other: {ends}")
            again.end()


if __name__ == "__main__":
    unittest.main()
