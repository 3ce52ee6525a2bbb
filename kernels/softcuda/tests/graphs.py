"""Captures and graphs of the device: what they replay, what a capture refuses, what is found in a graph that is wrong. Run by
scripts/ci-softcuda.sh; by hand:

    SOFTCUDA_HOME=FOLDER python3 kernels/softcuda/tests/graphs.py
"""

import pathlib
import tempfile
import unittest

from faults import FINISH, run

HERE = pathlib.Path(__file__).resolve().parent
CU = HERE.parent.parent / "cu"

# y = x turned by one lane, three times over memory that the graph allocates.
START = f"""
module = d.module({str(HERE / 'demo.cu')!r})
ONE, LOCAL, GLOBAL, RELAXED = ctypes.c_uint64, 1, 0, 2
def begin(mode=LOCAL, stream=None): d.call("cuStreamBeginCapture_v2", stream or d.stream, mode)
def end():
    graph = ctypes.c_void_p()
    d.call("cuStreamEndCapture", d.stream, ctypes.byref(graph))
    return graph
def instance(graph, flags=0):
    executable = ctypes.c_void_p()
    d.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(flags))
    return executable
def launch(executable): d.call("cuGraphLaunch", executable, d.stream)
def turn(x, y): d.launch(module, "rotate", (1,), (32,), [x, y])
def code(name, *values):
    try:
        d.call(name, *values)
    except CudaError as e:
        return e.code
    return 0
def answer(f, *values):
    try:
        f(*values)
    except CudaError as e:
        return e.code
    return 0
def write(buffer, values):
    data = array.array("f", values)
    d.call("cuMemcpyHtoDAsync_v2", buffer.at, ctypes.c_void_p(data.buffer_info()[0]), ctypes.c_size_t(4 * len(data)), d.stream)
x, y = d.upload("f", range(32)), d.zeros("f", 32)
turn(x, y)
"""
THREE_TIMES = """
begin()
a, b = d.empty("f", 32), d.empty("f", 32)
turn(x, a); turn(a, b); turn(b, y)
a.free(); b.free()
graph = end()
"""


class Graphs(unittest.TestCase):
    def answer(self, body, **environment):
        return run(START + body, **environment)

    def kinds(self, body, **environment):
        return [f["kind"] for f in run(START + body + FINISH, **environment)]

    def test_a_capture_computes_nothing_and_each_launch_all_of_it(self):
        got = self.answer(THREE_TIMES + """
before = y.read()
executable = instance(graph)
results = []
for first in (100, 200):
    write(x, range(first, first + 32))
    launch(executable)
    results.append(y.read())
report = d.report()
result = [before, results, [report[k] for k in ("graphs_captured", "graphs_instantiated", "graph_launches", "graph_nodes", "graph_kernels", "launches")], report["findings"]]
""")
        self.assertEqual(got[0], [*range(1, 32), 0])
        for first, values in zip((100, 200), got[1]):
            self.assertEqual(values, [first + (i + 3) % 32 for i in range(32)])
        # Three kernels, two allocations and two frees twice; of launches only the one before.
        self.assertEqual(got[2:], [[1, 1, 2, 14, 6, 1], []])

    def test_arguments_are_those_of_the_capture(self):
        """A length that is passed by value is baked in: what changes has to lie in memory."""
        got = self.answer("""
x, counts = d.upload("I", [i % 16 for i in range(64)]), d.zeros("I", 16)
n = i32(32)
begin()
d.launch(module, "histogram", (1,), (64,), [x, counts, n])
n.value = 64
graph = end()
executable = instance(graph)
launch(executable); launch(executable)
result = counts.read()""")
        self.assertEqual(got, [4] * 16)

    def test_what_a_capture_refuses_and_that_it_is_invalid_then(self):
        host = "ctypes.create_string_buffer(128)"
        refused = {
            'code("cuStreamSynchronize", d.stream)': 900,
            'code("cuStreamQuery", d.stream)': 900,
            'code("cuCtxSynchronize")': 900,
            'code("cuMemAlloc_v2", ctypes.byref(ONE()), ctypes.c_size_t(8))': 900,
            'code("cuMemFree_v2", x.at)': 900,
            'code("cuMemHostAlloc", ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(8), 0)': 900,
            f'code("cuMemcpyHtoD_v2", x.at, {host}, ctypes.c_size_t(128))': 900,
            f'code("cuMemcpyHtoDAsync_v2", x.at, {host}, ctypes.c_size_t(128), d.stream)': 900,
            f'code("cuMemcpyDtoHAsync_v2", {host}, x.at, ctypes.c_size_t(128), d.stream)': 900,
            'code("cuMemFreeAsync", x.at, d.stream)': 1,
            'code("cuStreamWaitEvent", d.stream, outside, 0)': 905,
            'code("cuEventQuery", inside)': 907,
            f'answer(d.module, {str(HERE / "tensor.cu")!r})': 900,
        }
        for call, status in refused.items():
            with self.subTest(call=call):
                got = self.answer(f"""
outside, inside = ctypes.c_void_p(), ctypes.c_void_p()
for event in (outside, inside): d.call("cuEventCreate", ctypes.byref(event), 0)
d.call("cuEventRecord", outside, d.stream)
begin()
d.call("cuEventRecord", inside, d.stream)
a = d.empty("f", 32)
turn(x, a)
first = {call}
capturing = ctypes.c_int()
d.call("cuStreamIsCapturing", d.stream, ctypes.byref(capturing))
later = [answer(turn, x, a), code("cuMemFreeAsync", a.at, d.stream), code("cuMemAllocAsync", ctypes.byref(ONE()), ctypes.c_size_t(8), d.stream)]
ended = answer(end)
# The stream is as before: the old memory is there, the graph's is not.
turn(x, y)
result = [first, capturing.value, later, ended, y.read(1), code("cuMemFreeAsync", a.at, d.stream), [f["kind"] for f in d.findings()]]
""")
                self.assertEqual(got, [status, 2, [901] * 3, 901, [1], 1, ["bad free"]])

    def test_the_mode_says_whose_calls_are_refused(self):
        got = self.answer("""
import threading
result = []
for mode in (GLOBAL, LOCAL, RELAXED):
    begin(mode)
    of_another = []
    thread = threading.Thread(target=lambda: of_another.append(code("cuMemAlloc_v2", ctypes.byref(ONE()), ctypes.c_size_t(8))))
    thread.start(); thread.join()
    mine = 0 if of_another[0] else code("cuMemAlloc_v2", ctypes.byref(ONE()), ctypes.c_size_t(8))
    result.append([of_another[0], mine, answer(end)])
""")
        self.assertEqual(got, [[900, 0, 901], [0, 900, 901], [0, 0, 0]])

    def test_another_thread_goes_on_with_a_queue_of_its_own(self):
        """As depth does while SAM's decoder or an answer is captured: it allocates, loads code, launches, copies and waits."""
        got = self.answer(f"""
import threading
other, found = d.new_stream(), []
def beside():
    loaded = d.module({str(HERE / "tensor.cu")!r})
    at, pinned = ONE(), ctypes.c_void_p()
    d.call("cuMemHostAlloc", ctypes.byref(pinned), ctypes.c_size_t(128), 0)
    d.call("cuMemAllocAsync", ctypes.byref(at), ctypes.c_size_t(128), other)
    given = d.upload("f", range(50, 82), stream=other)
    d.launch(module, "rotate", (1,), (32,), [given, u64(at.value)], stream=other)
    d.call("cuMemcpyDtoHAsync_v2", pinned, at, ctypes.c_size_t(128), other)
    d.call("cuStreamSynchronize", other)
    d.call("cuMemFreeAsync", at, other)
    found.extend(ctypes.cast(pinned, ctypes.POINTER(ctypes.c_float))[:2])
begin()
turn(x, y)
thread = threading.Thread(target=beside)
thread.start(); thread.join()
turn(y, x)
executable = instance(end())
launch(executable)
result = [found, x.read(2), [f["kind"] for f in d.findings()]]
""")
        self.assertEqual(got, [[51, 52], [2, 3], []])

    def test_where_a_capture_begins_and_ends(self):
        got = self.answer("""
import threading
legacy = code("cuStreamBeginCapture_v2", ctypes.c_void_p(0), LOCAL)
nothing = answer(end)
begin()
twice = answer(begin)
of_another = []
thread = threading.Thread(target=lambda: of_another.append(answer(end)))
thread.start(); thread.join()
result = [legacy, nothing, twice, of_another[0], answer(end)]
""")
        self.assertEqual(got, [900, 1, 1, 908, 0])

    def test_a_graph_whose_memory_was_freed(self):
        body = THREE_TIMES + "executable = instance(graph)\nlaunch(executable)\nx.free()\nlaunch(executable)\n"
        self.assertEqual(self.kinds(body, SOFTCUDA_CHECK="fast"), ["use after free"])

    def test_a_graph_whose_memory_is_another_tensors_by_now(self):
        """As where a cache grows and moves: the address may be in use again."""
        kinds = self.kinds(THREE_TIMES + """
executable = instance(graph)
old = x.at.value
x.free()
while True:  # quarantine ends
    other = d.empty("f", 32)
    big = d.empty("f", 1 << 22)
    big.free(); d.wait()
    if other.at.value == old: break
write(other, range(32))
launch(executable)
""")
        self.assertEqual(kinds, ["use after free"])

    def test_an_allocation_that_a_graph_does_not_free(self):
        got = self.answer("""
begin()
a = d.empty("f", 32)
turn(x, a)
graph = end()
executable = instance(graph)
launch(executable)
first = a.read(1)
again = answer(launch, executable)
a.free()
freed = answer(launch, executable)
d.call("cuGraphExecDestroy", executable)
executable = instance(graph, 1)
result = [first, again, freed, answer(launch, executable), answer(launch, executable), [f["kind"] for f in d.findings()]]
""")
        self.assertEqual(got, [[1], 1, 0, 0, 0, []])

    def test_memory_of_a_graph_is_read_before_it_is_written(self):
        kinds = self.kinds("""
begin()
a = d.empty("f", 32)
turn(a, y)
a.free()
launch(instance(end()))
""")
        self.assertEqual(set(kinds), {"uninitialised read"})

    def test_two_instances_of_a_graph_that_allocates(self):
        self.assertEqual(self.answer(THREE_TIMES + "instance(graph)\nresult = answer(instance, graph)"), 1)

    def test_memory_comes_back_when_all_of_a_graph_is_gone(self):
        got = self.answer("before = d.report()['live_bytes']\n" + THREE_TIMES + """
executable = instance(graph)
there = d.report()["live_bytes"]
launch(executable)
d.call("cuGraphDestroy", graph)
d.call("cuGraphExecDestroy", executable)
d.wait()
result = [there - before, d.report()["live_bytes"] - before, y.read(1), [f["kind"] for f in d.findings()]]
""")
        self.assertEqual(got, [1024, 0, [3], []])

    def test_faults_on_demand(self):
        steps = {"begin": "begin()", "capture": "begin()\nfor _ in range(30): turn(x, y)", "instantiate": THREE_TIMES + "instance(graph)",
                 "launch": THREE_TIMES + "launch(instance(graph))"}
        for (step, body), status in zip(steps.items(), (801, 900, 2, 1)):
            with self.subTest(step=step):
                body = "try:\n" + "\n".join("    " + line for line in body.splitlines()) + "\n    result = 0\nexcept CudaError as e:\n    result = e.code"
                self.assertEqual(self.answer(body, SOFTCUDA_GRAPH_FAULT=step), status)
                self.assertEqual(self.answer(body), 0)


# Keys of one head, a token a step, by a graph of `place` and `end_step`: three launches fill three places behind the first.
STEPS = """
d.launch_of = lambda name, *rest: d.launch(modules[name], name, *rest)
half, room = 2, 6
qkv, q = d.upload("f", [1, 2, 3, 4] * 3), d.empty("f", 4)
cos, sin = d.upload("f", [1, 1]), d.upload("f", [0, 0])
keys, values = d.zeros("f", 4 * room), d.zeros("f", 4 * room)
best, noted, tokens, counts = d.zeros("Q", 1), d.zeros("B", 8), d.zeros("I", 1), d.upload("I", [0, 1, 0])
def step():
    d.launch_of("place_f32", (1, 1), (256,), [qkv, u64(0), q, cos, sin, sequences([keys], [values], [1], [1], [room]), counted(counts), i32(1), i32(1), i32(half)])
    d.launch_of("end_step_f32", (1,), (32,), [best, noted, tokens, counts, i32(1), i32(8)])
begin()
step()
executable = instance(end())
for _ in range(3): launch(executable)
result = [keys.read()[::4], counts.read(), [f["kind"] for f in d.findings()]]
"""


class Steps(unittest.TestCase):
    def filled(self, counted, old="", new=""):
        with tempfile.TemporaryDirectory() as folder:
            for file in CU.glob("*.cu*"):
                text = file.read_text()
                pathlib.Path(folder, file.name).write_text(text.replace(old, new) if old else text)
            modules = f"""
modules = {{"place_f32": d.module({folder + "/rotary.cu"!r}), "end_step_f32": d.module({folder + "/decoding.cu"!r})}}
counted = lambda counts: {counted}
"""
            return run(START + modules + STEPS)

    def test_what_a_step_leaves_is_where_the_next_begins(self):
        self.assertEqual(self.filled("ctypes.c_uint64(counts.at.value + 4)"), [[0, 1, 1, 1, 0, 0], [3, 4, 0], []])

    def test_a_length_that_is_baked_in_is_seen(self):
        self.assertEqual(self.filled("u64(0)")[0], [0, 1, 0, 0, 0, 0])

    def test_a_kernel_that_does_not_look_is_seen(self):
        self.assertEqual(self.filled("ctypes.c_uint64(counts.at.value + 4)", "cached ? int(cached[sequence])", "cached ? 1")[0], [0, 1, 0, 0, 0, 0])

    def test_a_step_that_counts_nothing_is_seen(self):
        self.assertEqual(self.filled("ctypes.c_uint64(counts.at.value + 4)", "    length++;\n", "")[0], [0, 1, 0, 0, 0, 0])


if __name__ == "__main__":
    unittest.main(verbosity=1)
