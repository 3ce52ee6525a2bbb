"""What `dragunov scan` says where the device is not what the binary needs: refused before anything is loaded, with a code.

Needs SOFTCUDA_HOME and DRAGUNOV_SOFT, as scripts/ci-softcuda.sh sets them.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOME = pathlib.Path(os.environ["SOFTCUDA_HOME"])
BINARY = os.environ["DRAGUNOV_SOFT"]


class Start(unittest.TestCase):
    def refused(self, code, *words, **settings):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            environment = os.environ | {"LD_LIBRARY_PATH": f"{HOME}/lib", "SOFTCUDA_REPORT": report.name} | settings
            done = subprocess.run(
                [BINARY, "scan", str(ROOT / "fixtures/plates/scene_015/photo.jpg"), "--device", "cuda:0"], env=environment, text=True,
                capture_output=True, timeout=120)
            text = pathlib.Path(report.name).read_text()
        self.assertEqual(done.returncode, 2, done.stderr)
        for word in (code, *words):
            self.assertIn(word, done.stderr)
        counters = json.loads(text) if text else {"modules": 0, "to_device_bytes": 0}
        self.assertEqual((counters["modules"], counters["to_device_bytes"]), (0, 0), "something was loaded before the refusal")

    def test_a_driver_too_old_for_the_kernels(self):
        self.refused("device_unavailable", "CUDA 12.4 at most", "needs 13.0", "driver 580", SOFTCUDA_DRIVER="12.4")

    def test_an_architecture_without_code(self):
        self.refused("device_unavailable", "compute capability is 7.5", "8.0 and newer", SOFTCUDA_ARCH="7.5")

    def test_a_set_that_the_device_has_no_room_for(self):
        self.refused("config_invalid", "the models need", "GB on the device", SOFTCUDA_MEMORY="8M")


if __name__ == "__main__":
    unittest.main()
