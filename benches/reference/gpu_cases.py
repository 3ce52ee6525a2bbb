"""The networks of benches/suites/published.rs in PyTorch and transformers, on $DRAGUNOV_BENCH_DEVICE (cuda:0); eager, f32 without
TF32. scripts/gpu-report times them beside ours.

Requirements: torch, transformers.
"""

import os

import torch
import whole_models as whole
from protocol import serve

DEVICE = os.environ.get("DRAGUNOV_BENCH_DEVICE", "cuda:0")
LARGE = dict(width=1024, layers=24, taps=(5, 12, 18, 24), neck=(256, 512, 1024, 1024), fusion=256)
NETWORKS = {
    "sam_b_encoder": whole.sam_encoder,
    "mobile_sam_encoder": whole.mobile_sam_encoder,
    "sam_decoder_64_points": whole.sam_decoder,
    "dav2_b_518": lambda: whole.depth(768, neck=(96, 192, 384, 768), fusion=128),
    "dav2_l_518": lambda: whole.depth(**LARGE),
    "qwen_3b_vision_4096": lambda: whole.qwen_vision(64, blocks=32, full=(7, 15, 23, 31)),
    "qwen_3b_prefill_1100": lambda: whole.qwen_text(1100, step=False),
    "qwen_3b_token": lambda: whole.qwen_text(1100, step=True),
}


def on_device(network, dtype):
    def load():
        torch.set_default_dtype(dtype)
        torch.set_default_device(DEVICE)
        model = network()

        def work():
            result = model.call()
            if DEVICE != "cpu":
                torch.cuda.synchronize()
            return result

        return work

    return load


CASES = {
    f"published/{name}/{what}": on_device(network, dtype)
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16))
    for what, network in NETWORKS.items()
}


def prepare(threads):
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


if __name__ == "__main__":
    with torch.inference_mode():
        serve(__doc__, CASES, prepare)
