"""The benchmarks of benches/suites in PyTorch (eager, CPU, f32); benches/paired.py runs them beside ours.

Requirements: torch==2.15.* (any CPU build), transformers==5.23.*, numpy.
"""

import torch
import torch.nn.functional as F
from protocol import serve
from whole_models import MODELS


def linear(m, k, n):
    layer, x = torch.nn.Linear(k, n), torch.randn(1, m, k)
    return lambda: layer(x)


def fused_qkv(batch, tokens, heads, d):
    qkv = torch.randn(batch, tokens, 3, heads, d) * 0.5
    return qkv.permute(2, 0, 3, 1, 4).unbind(0)


def sam_attention(batch, side, heads, d):
    """The eager attention of SAM's encoder: scores, decomposed relative positions, softmax, all materialised."""
    tokens = side * side
    q, k, v = fused_qkv(batch, tokens, heads, d)
    rel_h = torch.randn(batch, heads, tokens, side, 1) * 0.5
    rel_w = torch.randn(batch, heads, tokens, 1, side) * 0.5

    def run():
        scores = (q * d**-0.5) @ k.transpose(-2, -1)
        scores = scores.view(batch, heads, tokens, side, side) + rel_h + rel_w
        weights = scores.view(batch, heads, tokens, tokens).softmax(-1, dtype=torch.float32)
        return weights @ v

    return run


def sdpa(q, k, v, **kw):
    return lambda: F.scaled_dot_product_attention(q, k, v, **kw)


def segments(tokens, heads, d, length):
    """Windows one after the other, as transformers' Qwen2.5-VL does it with SDPA."""
    q, k, v = fused_qkv(1, tokens, heads, d)

    def run():
        parts = (t.split(length, dim=2) for t in (q, k, v))
        return torch.cat([F.scaled_dot_product_attention(*w) for w in zip(*parts)], 2)

    return run


def conv(size, cin, cout, k, **kw):
    layer, x = torch.nn.Conv2d(cin, cout, k, **kw), torch.randn(1, cin, size, size)
    return lambda: layer(x)


def norm_case():
    y, norm = torch.randn(1, 4096, 768), torch.nn.LayerNorm(768, eps=1e-6)
    return lambda: norm(y)


def gelu_case():
    x = torch.randn(1, 4096, 3072)
    return lambda: F.gelu(x)


def upsample_case():
    z = torch.randn(1, 64, 148, 148).contiguous(memory_format=torch.channels_last)
    return lambda: F.interpolate(z, (296, 296), mode="bilinear", align_corners=True)


def cross(q, kv, **kw):
    kv = torch.randn(*kv)
    return sdpa(torch.randn(*q), kv, kv, **kw)


def in_bf16(model):
    """The network, its weights and its inputs in bf16, as PyTorch's users ask for it."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        return model().call
    finally:
        torch.set_default_dtype(torch.float32)


# What makes the inputs and gives the work.
CASES = {
    "linear/sam_b_fc1": lambda: linear(4096, 768, 3072),
    "linear/sam_b_fc2": lambda: linear(4096, 3072, 768),
    "linear/sam_b_qkv": lambda: linear(4096, 768, 2304),
    "linear/dav2_s_fc1": lambda: linear(1370, 384, 1536),
    "linear/qwen_3b_vision_gate": lambda: linear(1024, 1280, 3420),
    "linear/qwen_3b_prefill_gate": lambda: linear(256, 2048, 11008),
    "linear/qwen_3b_decode_gate": lambda: linear(1, 2048, 11008),
    "linear/qwen_3b_decode_down": lambda: linear(1, 11008, 2048),
    "gelu/4096x3072": gelu_case,
    "layer_norm/4096x768": norm_case,
    "attention/sam_b_global": lambda: sam_attention(1, 64, 12, 64),
    "attention/sam_b_windows": lambda: sam_attention(25, 14, 12, 64),
    "attention/dav2_s": lambda: sdpa(*fused_qkv(1, 1370, 6, 64)),
    "attention/qwen_3b_vision_windows": lambda: segments(1024, 16, 80, 64),
    "attention/qwen_3b_prefill": lambda: cross((1, 16, 512, 128), (1, 2, 512, 128), is_causal=True, enable_gqa=True),
    "attention/qwen_3b_decode": lambda: cross((1, 16, 1, 128), (1, 2, 1024, 128), enable_gqa=True),
    "attention/sam_decoder_64_tokens_to_image": lambda: cross((64, 8, 7, 16), (64, 8, 4096, 16)),
    "conv/dav2_s_fusion": lambda: conv(148, 64, 64, 3, padding=1),
    "conv/dav2_s_head": lambda: conv(518, 32, 32, 3, padding=1),
    "conv/sam_neck": lambda: conv(64, 256, 256, 3, padding=1),
    "conv/mobile_sam_expand": lambda: conv(256, 64, 256, 1),
    "conv/mobile_sam_depthwise": lambda: conv(256, 256, 256, 3, padding=1, groups=256),
    "conv/dav2_s_patches": lambda: conv(518, 3, 384, 14, stride=14),
    "upsample/dav2_s_148_to_296": upsample_case,
    **{name: lambda model=model: model().call for name, model in MODELS.items()},
    **{
        name.replace("model/", "bf16/"): lambda model=model: in_bf16(model)
        for name, model in MODELS.items()
        if "decoder" not in name
    },
}


def prepare(threads):
    import transformers.models  # noqa: F401 - not a cost of a case

    torch.set_num_threads(threads)


if __name__ == "__main__":
    with torch.inference_mode():
        serve(__doc__, CASES, prepare)
