"""Numbers of kernels against plain Python, and faults that only numbers show: what attention_values.py and convolution_values.py
say of theirs, as tests. Run by faults.py."""

import math
import pathlib
import shutil
import tempfile
import unittest

from own_kernels import only

OURS = pathlib.Path(__file__).resolve().parent.parent.parent / "cu"


def furthest(want, got):
    return max(abs(a - b) if b == b else math.inf for a, b in zip(want, got))


def tests(of, run):
    """Those of a module with SOURCE, CASES (what a launch gives to how far it is off: its Python text and kernel), FAULTS,
    TOLERANCE and SHOWN, over faults.py's way to run a device."""

    def gap(case, path):
        body, _ = of.CASES[case]
        return case(*run(f"import struct\nmodule = d.module({str(path)!r}, '-std=c++17')\n{body}", SOFTCUDA_CHECK="fast"))

    class Values(unittest.TestCase):
        def test_unbroken_kernels_are_right_to_their_rounding(self):
            for case in of.CASES:
                self.assertLess(gap(case, OURS / of.SOURCE), of.TOLERANCE, case.__name__)

        def test_each_fault_shows_in_the_numbers(self):
            text = (OURS / of.SOURCE).read_text()
            for case, old, new in of.FAULTS:
                with self.subTest(fault=new.strip() or f"without {old.strip()}"), tempfile.TemporaryDirectory() as folder:
                    self.assertIn(old, text, "the line to break is not there")
                    for file in OURS.glob("*.cu*"):
                        shutil.copy(file, folder)
                    path = pathlib.Path(folder, of.SOURCE)
                    path.write_text(only(text.replace(old, new), of.CASES[case][1]))
                    self.assertGreater(gap(case, path), of.SHOWN)

    Values.__name__ = Values.__qualname__ = f"Values_{of.__name__}"
    return Values
