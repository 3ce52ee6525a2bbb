"""Kernels broken one line at a time: each fault must be reported by its kind, its kernel and its line, and the same
kernels unbroken must be silent. Run by scripts/ci-softcuda.sh; by hand:

    SOFTCUDA_HOME=FOLDER CANDLE_KERNELS=.../candle-kernels-0.11.1/src python3 -m unittest discover -s kernels/softcuda/tests -p faults.py
"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import attention_values
import convolution_values
import values
from own_kernels import OWN_FAULTS, OWN_LAUNCHES, only

HERE = pathlib.Path(__file__).resolve().parent
CANDLE = pathlib.Path(os.environ.get("CANDLE_KERNELS", "/nonexistent"))
OURS = HERE.parent.parent / "cu"


def run(body, **environment):
    """Runs Python text on a fresh device in a process of its own and returns what it prints as JSON."""
    text = "import json, sys\nfrom device import *\nd = Device()\n" + body + "\nprint(json.dumps(result))\n"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=HERE, text=True, capture_output=True, timeout=300,
        env=os.environ | {"SOFTCUDA_CHECK": "full"} | environment)
    if done.returncode:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


# How each kernel is launched: sizes with ragged ends, and more rows than columns so that a wrong stride leaves the operand.
LAUNCHES = {
    "tiled_product": """
m, n, k = 53, 21, 18
a, b, c = d.upload("f", range(m * k)), d.upload("f", range(k * n)), d.empty("f", m * n)
d.launch(module, "tiled_product", (2, 4), (16, 16), [a, b, c, i32(m), i32(n), i32(k)])
""",
    "row_softmax": """
rows, columns, valid = 3, 264, 250
x = d.empty("f", rows * columns)
for row in range(rows):  # what lies beyond `valid` is never written
    at = ctypes.c_uint64(x.at.value + 4 * row * columns)
    data = (ctypes.c_float * valid)(*(i / valid for i in range(valid)))
    d.call("cuMemcpyHtoDAsync_v2", at, data, ctypes.c_size_t(4 * valid), d.stream)
y = d.empty("f", rows * columns)
d.launch(module, "row_softmax", (rows,), (128,), [x, y, i32(columns), i32(valid)], shared=4 * columns)
""",
    "histogram": """
x, counts = d.upload("I", [i * i % 16 for i in range(1000)]), d.zeros("I", 16)
d.launch(module, "histogram", (4,), (64,), [x, counts, i32(1000)])
""",
    "rotate": """
x, y = d.upload("f", range(32)), d.empty("f", 32)
d.launch(module, "rotate", (1,), (32,), [x, y])
""",
    "fast_sum_f64": """
x, y = d.upload("d", [1] * 3000), d.empty("d", 3)
info = d.upload("Q", [3, 1000, 1000, 1])
d.launch(module, "fast_sum_f64", (3,), (512,), [u64(3000), u64(1000), u64(2), info, x, y])
""",
    "softmax_f32": """
x, y = d.upload("f", [i % 7 for i in range(4 * 50)]), d.empty("f", 4 * 50)
d.launch(module, "softmax_f32", (4,), (1, 32), [x, y, i32(50)])
""",
    "layernorm_f32": """
x, y = d.upload("f", [i % 7 for i in range(4 * 1500)]), d.empty("f", 4 * 1500)
w, b = d.upload("f", [1] * 1500), d.upload("f", [0] * 1500)
d.launch(module, "layernorm_f32", (4,), (1024,), [x, y, w, b, i32(1500), i32(1024), ctypes.c_float(1e-5)])
""",
    "affine_f32": """
x, y = d.upload("f", range(1000)), d.empty("f", 1000)
d.launch(module, "affine_f32", (1,), (1024,), [u64(1000), u64(0), u64(0), x, y, ctypes.c_float(2), ctypes.c_float(1)])
""",
    "asort_asc_f32": """
x, y = d.upload("f", [i * 37 % 100 for i in range(100)]), d.empty("I", 100)
d.launch(module, "asort_asc_f32", (1,), (64,), [x, y, i32(100), i32(128)], shared=4 * 128)
""",
    "is_u32_f32": """
x, y = d.upload("f", range(40)), d.empty("f", 12)
ids = d.upload("I", [0, 9, 4])
d.launch(module, "is_u32_f32", (1,), (32,), [u64(12), u64(1), d.upload("Q", [3, 1]), ids, x, y, u64(1), u64(10), u64(3), u64(4)])
""",
}
LAUNCHES |= {kernel: body for (_, kernel), body in OWN_LAUNCHES.items()}
FINISH = """
try:
    d.wait()
except CudaError as e:
    assert e.code in (700, 719), e.code
result = d.findings()"""

# (source, kernel, what to replace, by what, expected kind, text on the line that must be named)
FAULTS = [
    ("demo.cu", "tiled_product", "        __syncthreads();\n        for (int i", "        for (int i", "race on shared memory", "sum += left"),
    ("demo.cu", "tiled_product", "right[i][threadIdx.x];\n        __syncthreads();", "right[i][threadIdx.x];", "race on shared memory", "threadIdx.x] = "),
    ("demo.cu", "tiled_product", "if (row < m && column < n) c[", "if (row <= m && column < n) c[", "out of bounds", "c[row * n"),
    ("demo.cu", "tiled_product", "b[r * n + column]", "b[r * m + column]", "out of bounds", "b[r * m"),
    ("demo.cu", "tiled_product", "        __syncthreads();\n        for (int i", "        if (row < m) __syncthreads();\n        for (int i", "divergent barrier", "__syncthreads();"),
    ("demo.cu", "tiled_product", "const int row = blockIdx.y * TILE", "const int row = blockIdx.y * (TILE - 1)", "race between blocks", "c[row * n"),
    ("demo.cu", "row_softmax", "if (i + 4 <= valid)", "if (i <= valid)", "uninitialised read", "four = *"),
    ("demo.cu", "row_softmax", "from + i);", "from + i + 1);", "misaligned access", "from + i + 1"),
    ("demo.cu", "row_softmax", "if (threadIdx.x % 32 == 0) part[threadIdx.x / 32]", "if (threadIdx.x == 0) part[threadIdx.x / 32]", "uninitialised read", "sum = part[0]"),
    ("demo.cu", "row_softmax", "    }\n    __syncthreads();\n    float sum = 0;", "    }\n    float sum = 0;", "race on shared memory", "values[i]"),
    ("demo.cu", "row_softmax", "__shared__ float part[4]", "__shared__ float part[3]", "out of bounds", "part["),
    ("demo.cu", "histogram", "atomicAdd(&mine[x[i]], 1u)", "mine[x[i]] += 1u", "race on shared memory", "mine[x[i]] += 1u"),
    ("demo.cu", "histogram", "atomicAdd(&counts[threadIdx.x], mine[threadIdx.x])", "counts[threadIdx.x] += mine[threadIdx.x]", "race between blocks", "counts[threadIdx.x] +="),
    ("demo.cu", "histogram", "if (threadIdx.x < 16) mine[threadIdx.x] = 0;", "", "uninitialised read", "mine[x[i]]"),
    ("demo.cu", "rotate", "    __syncwarp();\n", "", "race on shared memory", "lanes["),
    ("reduce.cu", "fast_sum_f64", "    __syncthreads();\n    if (tid < s)\n      shr[tid] += shr[tid + s];", "    if (tid < s)\n      shr[tid] += shr[tid + s];", "race on shared memory", "shr[tid] +="),
    ("reduce.cu", "softmax_f32", "        dst[i] = val;", "        ;", "uninitialised read", "dst[i] *= inv_tmp"),
    ("reduce.cu", "softmax_f32", "const int i = row*ncols + col;\n        max_val", "const int i = row*ncols + col + blockDim.y;\n        max_val", "out of bounds", "max_val = maxg(max_val, x[i])"),
    ("reduce.cu", "layernorm_f32", "            s_sum[warp_id] = mean_var;\n        }\n        __syncthreads();", "            s_sum[warp_id] = mean_var;\n            __syncthreads();\n        }", "divergent barrier", "__syncthreads();"),
    ("affine.cu", "affine_f32", "i < numel; i += blockDim.x * gridDim.x) { \\\n            TYPENAME x = inp ? inp[i]", "i <= numel; i += blockDim.x * gridDim.x) { \\\n            TYPENAME x = inp ? inp[i]", "out of bounds", "AFFINE_OP(float"),
    ("sort.cu", "asort_asc_f32", "            __syncthreads();\n        }", "        }", "race on shared memory", "dst_row["),
]


FAULTS += OWN_FAULTS


class PlantedFaults(unittest.TestCase):
    """Faults in kernels: of the demonstration, of candle and of ours."""

    def launch(self, source, kernel, **environment):
        return run(f"module = d.module({str(source)!r}, '-std=c++17')\n{LAUNCHES[kernel]}{FINISH}", **environment)

    def sources(self, folder):
        shutil.copy(HERE / "demo.cu", folder)
        for file in [*CANDLE.glob("*.cu*"), *OURS.glob("*.cu*")]:
            shutil.copy(file, folder)

    def test_each_fault_is_caught_by_kind_kernel_and_line(self):
        for source, kernel, old, new, kind, line in FAULTS:
            with self.subTest(kernel=kernel, fault=new.strip() or f"without {old.strip()}"), tempfile.TemporaryDirectory() as folder:
                if not any((home / source.partition(":")[0]).exists() for home in (HERE, OURS, CANDLE)):
                    self.skipTest("CANDLE_KERNELS names no folder")
                self.sources(folder)
                # `a.cu:b.cuh`: the kernel is of a.cu, the line in b.cuh.
                source, _, included = source.partition(":")
                path = pathlib.Path(folder, included or source)
                text = path.read_text()
                self.assertIn(old, text, "the line to break is not there")
                path.write_text(text.replace(old, new, 1) if source == "demo.cu" else text.replace(old, new))
                launched = pathlib.Path(folder, source)
                launched.write_text(only(launched.read_text(), kernel))
                found = self.launch(launched, kernel)
                self.assertTrue(found, "nothing was found")
                lines = {file.name: file.read_text().splitlines() for file in {path, pathlib.Path(folder, source)}}
                places = []
                for finding in found:
                    for place in finding["place"].split(" <- "):
                        file, _, number = place.rpartition(":")
                        if file in lines and finding["kind"] == kind and finding["kernel"] == kernel:
                            places.append(lines[file][int(number) - 1])
                self.assertTrue(any(line in place for place in places), f"expected {kind} at `{line}`, found {found}")

    def test_unbroken_kernels_are_silent_in_every_order(self):
        for kernel in LAUNCHES:
            for order in ("forward", "backward", "random:1", "random:2"):
                with self.subTest(kernel=kernel, order=order):
                    own = next((OURS / file for file, name in OWN_LAUNCHES if name == kernel), None)
                    file = own or next((f for f in CANDLE.glob("*.cu") if f"{kernel}" in f.read_text() or self.made_by_macro(f, kernel)), None)
                    source = HERE / "demo.cu" if f"void {kernel}(" in (HERE / "demo.cu").read_text() else file
                    if source is None:
                        self.skipTest("CANDLE_KERNELS names no folder")
                    self.assertEqual(self.launch(source, kernel, SOFTCUDA_ORDER=order), [])

    @staticmethod
    def made_by_macro(file, kernel):
        homes = {"softmax_f32": "reduce.cu", "layernorm_f32": "reduce.cu", "fast_sum_f64": "reduce.cu", "asort_asc_f32": "sort.cu"}
        return homes.get(kernel) == file.name

    def test_a_read_across_the_warp_without_syncwarp_is_a_race_in_strict_mode_only(self):
        text = (HERE / "demo.cu").read_text().replace("    __syncwarp();\n", "    __shfl_sync(~0u, 0, 0);\n")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "demo.cu")
            path.write_text(text)
            self.assertEqual(self.launch(path, "rotate"), [])
            self.assertEqual([f["kind"] for f in self.launch(path, "rotate", SOFTCUDA_STRICT_WARP="1")], ["race on shared memory"])


AttentionValues = values.tests(attention_values, run)
ConvolutionValues = values.tests(convolution_values, run)

TENSOR = """
k = 48
bf16 = lambda values: [__import__('struct').unpack('<I', __import__('struct').pack('<f', v))[0] >> 16 for v in values]
a, b = d.upload('H', bf16([i % 5 for i in range(16 * k)])), d.upload('H', bf16([i % 3 for i in range(8 * k)]))
c = d.empty('f', 128)
d.launch(module, 'warp_product', (1,), (32,), [a, b, c, i32(k)])
"""


class TensorCore(unittest.TestCase):
    """The wrappers around mma, ldmatrix and cp.async."""

    def broken(self, old="", new=""):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "tensor.cu")
            header = HERE.parent.parent / "cu/tensor_core.cuh"
            text = (HERE / "tensor.cu").read_text().replace('"../../cu/tensor_core.cuh"', f'"{header}"')
            self.assertIn(old, text)
            path.write_text(text.replace(old, new, 1))
            body = f"module = d.module({str(path)!r})\n" + TENSOR
            values = run(body + "result = c.read()", SOFTCUDA_CHECK="fast")
            return values, [f["kind"] for f in run(body + FINISH)]

    def test_a_product_over_two_stages_of_copies(self):
        k = 48
        want = [sum((i * k + l) % 5 * ((j * k + l) % 3) for l in range(k)) for i in range(16) for j in range(8)]
        self.assertEqual(self.broken(), (want, []))

    def test_a_wait_for_one_group_too_few_leaves_nan(self):
        values, _ = self.broken("copy_wait<1>", "copy_wait<2>")
        self.assertTrue(any(v != v for v in values))

    def test_a_missing_barrier_after_the_wait_is_a_race_though_all_values_are_right(self):
        values, kinds = self.broken("copy_wait<1>();\n        __syncwarp();", "copy_wait<1>();")
        self.assertEqual(values, self.broken()[0])
        self.assertIn("race on shared memory", kinds)

    def test_an_address_off_by_one_element_is_misaligned(self):
        _, kinds = self.broken("lane / 16 * 8]);", "lane / 16 * 8 + 1]);")
        self.assertIn("misaligned access", kinds)


DEMO = f"module = d.module({str(HERE / 'demo.cu')!r})\n"
ROTATE = "d.launch(module, 'rotate', (1,), (32,), [x, y])\n"


class Answers(unittest.TestCase):
    """Unbroken kernels compute what they should, whatever the order of threads."""

    def values(self, body, order):
        return run(DEMO + body, SOFTCUDA_ORDER=order)

    def test_in_every_order(self):
        for order in ("forward", "backward", "random:3"):
            with self.subTest(order=order):
                self.check_all(order)

    def check_all(self, order):
        m, n, k = 37, 29, 21
        product = self.values(f"""
m, n, k = {m}, {n}, {k}
a, b, c = d.upload('f', [i % 11 for i in range(m * k)]), d.upload('f', [i % 7 for i in range(k * n)]), d.empty('f', m * n)
d.launch(module, 'tiled_product', (2, 3), (16, 16), [a, b, c, i32(m), i32(n), i32(k)])
result = c.read()""", order)
        self.assertEqual(product, [sum((i * k + l) % 11 * ((l * n + j) % 7) for l in range(k)) for i in range(m) for j in range(n)])

        softmax = self.values("""
x, y = d.upload('f', [i % 5 for i in range(2 * 264)]), d.empty('f', 2 * 264)
d.launch(module, 'row_softmax', (2,), (128,), [x, y, i32(264), i32(250)], shared=4 * 264)
result = y.read()""", order)
        for row in (0, 1):
            powers = [math.exp((row * 264 + i) % 5) for i in range(250)]
            for got, want in zip(softmax[row * 264:], [p / sum(powers) for p in powers] + [0] * 14):
                self.assertAlmostEqual(got, want, delta=1e-8)

        counts = self.values("""
x, counts = d.upload('I', [i * i % 16 for i in range(1000)]), d.zeros('I', 16)
d.launch(module, 'histogram', (4,), (64,), [x, counts, i32(1000)])
result = counts.read()""", order)
        self.assertEqual(counts, [sum(i * i % 16 == v for i in range(1000)) for v in range(16)])

        words = self.values("""
x, y = d.upload('f', range(32)), d.empty('f', 96)
d.launch(module, 'last_words', (1,), (1, 32), [x, y])
result = y.read()""", order)
        self.assertEqual(words[:32], [lane ^ 1 for lane in range(32)])
        self.assertEqual(words[32:64], [16] * 32)
        self.assertEqual(words[64:], [min(lane + 1, 31) for lane in range(32)])

    @unittest.skipUnless(CANDLE.exists(), "CANDLE_KERNELS names no folder")
    def test_candles_softmax_in_every_order(self):
        for order in ("forward", "backward", "random:3"):
            for columns in (5, 32, 50):
                got = run(f"""
module = d.module({str(CANDLE / 'reduce.cu')!r}, '-std=c++17')
x, y = d.upload('f', [i % 7 for i in range({columns})]), d.empty('f', {columns})
d.launch(module, 'softmax_f32', (1,), (1, 32), [x, y, i32({columns})])
result = y.read()""", SOFTCUDA_ORDER=order)
                powers = [math.exp(i % 7) for i in range(columns)]
                for value, power in zip(got, powers):
                    self.assertAlmostEqual(value, power / sum(powers), delta=1e-6)


class DriverFaults(unittest.TestCase):
    """Faults in how the driver is called: found in fast runs too."""

    def kinds(self, body, **environment):
        return [f["kind"] for f in run(DEMO + body + FINISH, **({"SOFTCUDA_CHECK": "fast"} | environment))]

    def test_a_kernel_argument_that_was_freed(self):
        self.assertEqual(self.kinds("x, y = d.upload('f', range(32)), d.empty('f', 32)\nx.free()\n" + ROTATE), ["use after free"])

    def test_memory_freed_twice(self):
        body = "x = d.empty('f', 8)\nx.free()\ntry:\n    x.free()\nexcept CudaError as e:\n    assert e.code == 1\n"
        self.assertEqual(self.kinds(body), ["bad free"])

    def test_a_write_behind_an_allocation_shows_in_its_red_zone(self):
        body = "x, y = d.upload('f', range(32)), d.empty('f', 16)\n" + ROTATE + "y.free()\n"
        self.assertEqual(self.kinds(body), ["red zone overwritten"])

    def test_two_streams_without_an_event_between(self):
        body = "x, y = d.upload('f', range(32)), d.empty('f', 32)\nother = d.new_stream()\nd.launch(module, 'rotate', (1,), (32,), [x, y], stream=other)\n"
        self.assertEqual(self.kinds(body), ["race between streams"])

    def test_two_streams_with_an_event_between(self):
        body = """x, y = d.upload('f', range(32)), d.empty('f', 32)
event, other = ctypes.c_void_p(), d.new_stream()
d.call('cuEventCreate', ctypes.byref(event), 2)
d.call('cuEventRecord', event, d.stream)
d.call('cuStreamWaitEvent', other, event, 0)
d.launch(module, 'rotate', (1,), (32,), [x, y], stream=other)
d.call('cuStreamSynchronize', other)
assert y.read()[0] == 1.0
"""
        self.assertEqual(self.kinds(body), [])

    def test_memory_freed_on_a_stream_that_does_not_wait_for_its_last_use(self):
        body = "x, y = d.upload('f', range(32)), d.empty('f', 32)\n" + ROTATE + "y.free(d.new_stream())\n"
        self.assertEqual(self.kinds(body), ["race between streams"])

    def test_a_launch_over_the_limits(self):
        for size in ("(1,), (2048,)", "(0,), (32,)", "(1, 70000), (32,)", "(1,), (1, 1, 128)"):
            body = f"x, y = d.upload('f', range(32)), d.empty('f', 32)\ntry:\n    d.launch(module, 'rotate', {size}, [x, y])\nexcept CudaError as e:\n    assert e.code == 1\n"
            with self.subTest(size=size):
                self.assertEqual(self.kinds(body), ["launch limit"])

    def test_dynamic_shared_memory_over_48_kb_wants_the_attribute(self):
        body = "x, y = d.upload('f', range(32)), d.empty('f', 32)\ntry:\n    d.launch(module, 'rotate', (1,), (32,), [x, y], shared=50000)\nexcept CudaError as e:\n    assert e.code == 1\n"
        self.assertEqual(self.kinds(body), ["launch limit"])

    def test_page_locked_memory_holds_nothing_until_something_waits(self):
        body = """x = d.upload('f', [1.0] * 8)
at = ctypes.c_void_p()
d.call('cuMemHostAlloc', ctypes.byref(at), ctypes.c_size_t(32), 0)
d.call('cuMemcpyDtoHAsync_v2', at, x.at, ctypes.c_size_t(32), d.stream)
seen = (ctypes.c_float * 8).from_address(at.value)
early = list(seen)
d.call('cuStreamSynchronize', d.stream)
assert all(v != v for v in early) and list(seen) == [1.0] * 8, (early, list(seen))
"""
        self.assertEqual(self.kinds(body), [])

    def test_the_nth_allocation_finds_no_memory(self):
        body = "codes = []\nfor i in range(4):\n    try:\n        d.empty('f', 8)\n        codes.append(0)\n    except CudaError as e:\n        codes.append(e.code)\nassert codes == [0, 0, 2, 0], codes\n"
        self.assertEqual(self.kinds(body, SOFTCUDA_OOM_AT="3"), [])

    def test_memory_ends_and_comes_back(self):
        body = "a = d.empty('f', 150 << 18)\ntry:\n    d.empty('f', 150 << 18)\n    raise SystemExit('not full')\nexcept CudaError as e:\n    assert e.code == 2\na.free()\nd.empty('f', 150 << 18)\n"
        self.assertEqual(self.kinds(body, SOFTCUDA_MEMORY="256M"), [])

    def test_a_lost_device_stays_lost(self):
        body = """x, y = d.upload('f', range(32)), d.empty('f', 32)
codes = []
for call in [lambda: d.launch(module, 'rotate', (1,), (32,), [x, y])] * 3 + [lambda: d.empty('f', 8), lambda: x.free(), lambda: d.wait()]:
    try:
        call()
        codes.append(0)
    except CudaError as e:
        codes.append(e.code)
assert codes == [0, 719, 719, 719, 719, 719], codes
"""
        self.assertEqual(self.kinds(body, SOFTCUDA_LOST_AT="2"), [])

    def test_a_kernel_that_leaves_all_memory_breaks_the_context_and_not_the_process(self):
        body = """x, y = d.upload('f', range(32)), u64(16)
d.launch(module, 'rotate', (1,), (32,), [x, y])
try:
    d.wait()
    raise SystemExit('went well')
except CudaError as e:
    assert e.code in (700, 719), e.code
"""
        self.assertEqual(self.kinds(body), ["illegal address"])


if __name__ == "__main__":
    unittest.main()
