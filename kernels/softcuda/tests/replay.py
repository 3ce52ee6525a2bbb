"""Work launched as graphs (DRAGUNOV_CUDA_GRAPHS=1) against the same work without: decoding has the same tokens, SAM the same masks, with
fewer calls, also where a graph cannot be had. Run by scripts/ci-softcuda.sh; needs SOFTCUDA_HOME and DRAGUNOV_SOFT as answers.py does.

    python3 kernels/softcuda/tests/replay.py
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOME = pathlib.Path(os.environ["SOFTCUDA_HOME"])
PHOTO = ROOT / "fixtures/plates/scene_015/photo.jpg"
# More than the 256 tokens that a cache has room for ahead: it grows and moves once.
TOKENS = 300


def run(arguments, graphs, **settings):
    """What the program wrote, the device's counters and what was logged."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        environment = os.environ | {"LD_LIBRARY_PATH": f"{HOME}/lib", "SOFTCUDA_REPORT": report.name, "DRAGUNOV_CUDA_GRAPHS": str(graphs)} | settings
        done = subprocess.run([os.environ["DRAGUNOV_SOFT"], *arguments, "--device", "cuda:0"], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout, json.loads(pathlib.Path(report.name).read_text()), done.stderr


def ask(checkpoint, dtype, tokens, graphs, *options, **settings):
    """Token ids, the device's counters and what was logged."""
    written, counters, said = run(
        ["ask", "--checkpoint", str(ROOT / "fixtures/tiny" / checkpoint), "--image", str(PHOTO), "--max-pixels", "40000", "--prompt", "What is this?",
         "--max-new-tokens", str(tokens), "--dtype", dtype, "--json", *options], graphs, **settings)
    return json.loads(written)["token_ids"], counters, said


def segment(points, graphs):
    """The device's counters of a search by a grid of so many points a side, and what was logged."""
    with tempfile.TemporaryDirectory() as folder:
        return run(
            ["segment", "--checkpoint", str(ROOT / "fixtures/tiny/sam"), "--image", str(PHOTO), "--auto", "--points-per-side", str(points), "--dtype",
             "f32", "--out", folder], graphs)[1:]


class Replay(unittest.TestCase):
    def test_the_same_tokens_as_step_by_step_over_a_cache_that_grows(self):
        for checkpoint, dtype in (("qwen-untied", "f32"), ("qwen-untied", "bf16"), ("qwen-tied", "bf16")):
            with self.subTest(checkpoint=checkpoint, dtype=dtype):
                plain, before, _ = ask(checkpoint, dtype, TOKENS, 0)
                tokens, after, said = ask(checkpoint, dtype, TOKENS, 1)
                self.assertEqual(tokens, plain)
                self.assertEqual((before["findings"], after["findings"], said), ([], [], ""))
                self.assertEqual(before["graph_launches"], 0)
                if len(plain) < TOKENS:
                    continue  # it ended its answer
                # The first token is the prompt's, the second step is made as it will be captured.
                self.assertEqual(after["graph_launches"], TOKENS - 2)
                self.assertEqual(after["graphs_captured"], 2)
                self.assertEqual(after["graphs_instantiated"], 2)
                print(f"{checkpoint} {dtype}: calls {before['calls']} without, {after['calls']} with graphs")

    def test_the_same_tokens_drawn(self):
        drawn = [ask("qwen-tied", "bf16", TOKENS, graphs, "--sample", "3") for graphs in (0, 1)]
        self.assertEqual(drawn[1][0], drawn[0][0])
        self.assertGreater(len(drawn[0][0]), 20)
        self.assertEqual(drawn[1][1]["findings"], [])
        self.assertEqual(drawn[1][1]["graph_launches"], len(drawn[0][0]) - 2)

    def test_a_token_costs_a_launch_and_a_copy(self):
        for graphs in (0, 1):
            # The cache has grown, and has room for both.
            counters = {tokens: ask("qwen-untied", "bf16", tokens, graphs)[1] for tokens in (290, 291)}
            one = {key: counters[291][key] - counters[290][key] for key in counters[290] if isinstance(counters[290][key], int)}
            print(f"a token {'with' if graphs else 'without'} graphs:", {key: n for key, n in one.items() if n})
        self.assertEqual((one["launches"], one["gemms"], one["allocations"], one["graph_launches"]), (0, 0, 0, 1))
        self.assertEqual((one["to_device_bytes"], one["to_host_bytes"], one["to_host_copies"]), (0, 4, 1))
        self.assertLessEqual(one["calls"], 8)

    def test_a_call_of_the_mask_decoder_is_a_launch(self):
        """Of four with 64 points the first is made as it is captured. That they find the same: tests/parity/graphs.rs."""
        (before, _), (after, said) = segment(16, 0), segment(16, 1)
        self.assertEqual((before["findings"], after["findings"], said), ([], [], ""))
        self.assertEqual((after["graph_launches"], after["graphs_captured"]), (3, 1))
        products = after["graph_products"] // 3
        self.assertGreater(products, 0)
        self.assertEqual(after["gemms"], before["gemms"] - 3 * products)
        self.assertLess(after["calls"], before["calls"] - 500)
        print(f"four calls of the mask decoder: calls {before['calls']} without, {after['calls']} with graphs")

    def test_steps_go_on_where_a_graph_cannot_be_had(self):
        """That it is told: tests/parity/qwen/answers.rs."""
        plain, _, _ = ask("qwen-untied", "f32", 12, 0)
        for step in ("begin", "capture", "instantiate", "launch"):
            with self.subTest(step=step):
                tokens, counters, _ = ask("qwen-untied", "f32", 12, 1, SOFTCUDA_GRAPH_FAULT=step)
                self.assertEqual(tokens, plain)
                self.assertEqual((counters["findings"], counters["graph_launches"]), ([], 0))
                # No second try: it was captured once at most.
                self.assertEqual(counters["graphs_captured"], int(step in ("instantiate", "launch")))

    def test_every_access_of_a_graphs_kernels(self):
        tokens, counters, _ = ask("qwen-untied", "bf16", 8, 1, SOFTCUDA_CHECK="full", SOFTCUDA_ORDER="random:1")
        self.assertEqual(counters["findings"], [])
        self.assertEqual(counters["graph_launches"], 6)
        self.assertEqual(tokens, ask("qwen-untied", "bf16", 8, 0)[0])


if __name__ == "__main__":
    unittest.main(verbosity=1)
