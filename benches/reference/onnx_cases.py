"""The whole networks of whole_models.py in ONNX Runtime (CPU, f32); benches/paired.py runs them beside ours.

Requirements: onnxruntime==1.32.*, onnx, onnxscript, and those of torch_cases.py.

Usage beside the protocol: onnx_cases.py --export NAME FILE writes a network and its inputs (FILE.npz). Each is exported in a
process of its own, once, into the folder $ONNX_CASES, so that PyTorch's memory is not counted as ONNX Runtime's.
"""

import os
import subprocess
import sys

import numpy as np
import onnxruntime
from protocol import serve

NAMES = (
    "model/sam_b_encoder", "model/mobile_sam_encoder", "model/sam_decoder_64_points", "model/dav2_s_518",
    "model/qwen_3b_vision_block", "model/qwen_3b_layer_prefill", "model/qwen_3b_layer_decode",
)
OPTIONS = onnxruntime.SessionOptions()


def export(name, file):
    """Writes the network, and refuses one whose answers differ from PyTorch's by over 1e-3 of their size."""
    import torch
    from whole_models import MODELS

    torch.manual_seed(1)
    model = MODELS[name]()
    # The vision tower splits its windows by lengths that it computes: only a trace knows them.
    with torch.inference_mode():
        torch.onnx.export(model.module, model.inputs, file, dynamo="vision_block" not in name)
        want = model.module(*model.inputs)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), model.inputs)}
    want = (want[0] if isinstance(want, tuple) else want).numpy()
    off = np.abs(session.run(None, feed)[0] - want).max() / np.abs(want).max()
    if not off < 1e-3:
        sys.exit(f"{name}: ONNX Runtime is off by {off:.1e}")
    np.savez(f"{file}.npz", **feed)


def load(name):
    file = os.path.join(os.environ["ONNX_CASES"], name.replace("/", "-") + ".onnx")
    if not os.path.exists(f"{file}.npz"):
        subprocess.run([sys.executable, __file__, "--export", name, file], check=True, stdout=sys.stderr)
    session = onnxruntime.InferenceSession(file, OPTIONS, providers=["CPUExecutionProvider"])
    feed = dict(np.load(f"{file}.npz"))
    return lambda: session.run(None, feed)


def prepare(threads):
    OPTIONS.intra_op_num_threads = threads


if __name__ == "__main__":
    if sys.argv[1:2] == ["--export"]:
        export(*sys.argv[2:])
    else:
        serve(__doc__, {name: lambda name=name: load(name) for name in NAMES}, prepare)
