"""Times PyTorch (eager, CPU, f32) on the shapes of benches/suites and puts criterion's figures beside them.

Requirements: torch==2.15.* (any CPU build), numpy.
Usage: torch_times.py [--filter TEXT] [--threads 2] [--criterion target/criterion]

Prints one row per benchmark: PyTorch's median, this project's median from criterion's last run, and the ratio
(ours / PyTorch's, smaller is better). Run it right after `cargo bench`; benches/compare.sh alternates the two.
"""

import argparse
import json
import pathlib
import statistics
import time

import torch
import torch.nn.functional as F


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


def cases():
    r = torch.randn
    yield "linear/sam_b_fc1", linear(4096, 768, 3072)
    yield "linear/sam_b_fc2", linear(4096, 3072, 768)
    yield "linear/sam_b_qkv", linear(4096, 768, 2304)
    yield "linear/dav2_s_fc1", linear(1370, 384, 1536)
    yield "linear/qwen_3b_vision_gate", linear(1024, 1280, 3420)
    yield "linear/qwen_3b_prefill_gate", linear(256, 2048, 11008)
    yield "linear/qwen_3b_decode_gate", linear(1, 2048, 11008)
    x = r(1, 4096, 3072)
    yield "gelu/4096x3072", lambda: F.gelu(x)
    y, norm = r(1, 4096, 768), torch.nn.LayerNorm(768, eps=1e-6)
    yield "layer_norm/4096x768", lambda: norm(y)
    yield "attention/sam_b_global", sam_attention(1, 64, 12, 64)
    yield "attention/sam_b_windows", sam_attention(25, 14, 12, 64)
    yield "attention/dav2_s", sdpa(*fused_qkv(1, 1370, 6, 64))
    yield "attention/qwen_3b_vision_windows", segments(1024, 16, 80, 64)
    kv = r(1, 2, 512, 128)
    yield "attention/qwen_3b_prefill", sdpa(r(1, 16, 512, 128), kv, kv, is_causal=True, enable_gqa=True)
    kv1 = r(1, 2, 1024, 128)
    yield "attention/qwen_3b_decode", sdpa(r(1, 16, 1, 128), kv1, kv1, enable_gqa=True)
    kv2 = r(64, 8, 4096, 16)
    yield "attention/sam_decoder_64_tokens_to_image", sdpa(r(64, 8, 7, 16), kv2, kv2)
    yield "conv/dav2_s_fusion", conv(148, 64, 64, 3, padding=1)
    yield "conv/dav2_s_head", conv(518, 32, 32, 3, padding=1)
    yield "conv/sam_neck", conv(64, 256, 256, 3, padding=1)
    yield "conv/mobile_sam_expand", conv(256, 64, 256, 1)
    yield "conv/mobile_sam_depthwise", conv(256, 256, 256, 3, padding=1, groups=256)
    yield "conv/dav2_s_patches", conv(518, 3, 384, 14, stride=14)
    z = r(1, 64, 148, 148)
    yield "upsample/dav2_s_148_to_296", lambda: F.interpolate(z, (296, 296), mode="bilinear", align_corners=True)


def median_ms(run, budget):
    run()
    times = []
    start = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - start < budget and len(times) < 100):
        t = time.perf_counter()
        run()
        times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e3


def criterion_ms(folder, name):
    # criterion replaces the slash by a folder only for groups; plain names keep an underscore.
    for path in (folder / name, folder / name.replace("/", "_")):
        file = path / "new" / "estimates.json"
        if file.exists():
            return json.loads(file.read_text())["median"]["point_estimate"] / 1e6
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=0.5, help="seconds per case")
    parser.add_argument("--criterion", type=pathlib.Path, default=pathlib.Path("target/criterion"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"| benchmark | PyTorch {torch.__version__} ms | dragunov ms | ratio |\n|---|---|---|---|")
    with torch.inference_mode():
        for name, run in cases():
            if args.filter not in name:
                continue
            theirs, ours = median_ms(run, args.budget), criterion_ms(args.criterion, name)
            shown = ("-", "-") if ours is None else (f"{ours:.2f}", f"{ours / theirs:.2f}")
            print(f"| {name} | {theirs:.2f} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
