"""The benchmarks of benches/suites in PyTorch (eager, CPU, f32); benches/paired.py runs them beside ours.

Requirements: torch==2.15.* (any CPU build), transformers==5.23.*, numpy.

Reads `load NAME` (answered by `ready`) and `run` (answered by milliseconds, and the peak of the process's memory since
`load` in MiB above what it held before) from stdin; `--list` prints the names.
"""

import argparse
import sys
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


# --- whole models ----------------------------------------------------------------------------------------------------


def sam_encoder():
    from transformers import SamConfig, SamModel

    model = SamModel._from_config(SamConfig()).vision_encoder.eval()
    pixels = torch.randn(1, 3, 1024, 1024)
    return lambda: model(pixels)


def sam_decoder():
    """64 points on one embedding, three masks each."""
    from transformers import SamConfig, SamModel

    # The vision encoder is not run: keep it small.
    config = SamConfig(vision_config=dict(num_hidden_layers=0, global_attn_indexes=[]))
    model = SamModel._from_config(config).eval()
    embedding = torch.randn(1, 256, 64, 64)
    points = torch.rand(1, 64, 1, 2) * 1024
    labels = torch.ones(1, 64, 1, dtype=torch.long)
    return lambda: model(image_embeddings=embedding, input_points=points, input_labels=labels, multimask_output=True)


def mobile_sam_encoder():
    from tiny_vit import TinyVit

    model, pixels = TinyVit().eval(), torch.randn(1, 3, 1024, 1024)
    return lambda: model(pixels)


def depth_small():
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14,
        out_indices=[3, 6, 9, 12], reshape_hidden_states=False,
    )
    model = DepthAnythingForDepthEstimation._from_config(DepthAnythingConfig(backbone_config=backbone)).eval()
    pixels = torch.randn(1, 3, 518, 518)
    return lambda: model(pixel_values=pixels)


def qwen():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=512, hidden_size=2048, intermediate_size=11008, num_hidden_layers=1, num_attention_heads=16,
            num_key_value_heads=2, bos_token_id=500, eos_token_id=501, pad_token_id=500,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]),
        ),
        vision_config=dict(
            depth=1, hidden_size=1280, num_heads=16, intermediate_size=3420, out_hidden_size=2048, window_size=112,
            fullatt_block_indexes=[],
        ),
        image_token_id=505, video_token_id=506, vision_start_token_id=502, vision_end_token_id=503,
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration._from_config(config).eval().model


def qwen_vision():
    model = qwen().visual
    patches, grid = torch.randn(32 * 32, 1176), torch.tensor([[1, 32, 32]])
    return lambda: model(patches, grid_thw=grid)


def qwen_layer(before, n):
    from transformers import DynamicCache

    model = qwen().language_model
    cache = DynamicCache(config=model.config)
    place = lambda first, length: torch.arange(first, first + length).expand(3, 1, -1)
    if before:
        model(inputs_embeds=torch.randn(1, before, 2048), position_ids=place(0, before), past_key_values=cache)
    x, positions = torch.randn(1, n, 2048), place(before, n)

    def run():
        if cache.get_seq_length() > before:
            cache.crop(before - cache.get_seq_length())
        return model(inputs_embeds=x, position_ids=positions, past_key_values=cache, use_cache=True)

    return run


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
    "model/sam_b_encoder": sam_encoder,
    "model/mobile_sam_encoder": mobile_sam_encoder,
    "model/sam_decoder_64_points": sam_decoder,
    "model/dav2_s_518": depth_small,
    "model/qwen_3b_vision_block": qwen_vision,
    "model/qwen_3b_layer_prefill": lambda: qwen_layer(0, 512),
    "model/qwen_3b_layer_decode": lambda: qwen_layer(512, 1),
}


def memory_kib(field):
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith(field)).split()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(CASES))
        return
    torch.set_num_threads(args.threads)
    work, before = None, 0
    with torch.inference_mode():
        for line in sys.stdin:
            command, _, name = line.strip().partition(" ")
            if command == "load" and name in CASES:
                import transformers.models  # noqa: F401 - not a cost of the case

                before = memory_kib("VmRSS:")
                work = CASES[name]()
                print("ready", flush=True)
            elif command == "run" and work:
                begun = time.perf_counter()
                result = work()
                ms = 1e3 * (time.perf_counter() - begun)
                del result
                print(ms, max(0, memory_kib("VmHWM:") - before) // 1024, flush=True)
            else:
                print("unknown", flush=True)


if __name__ == "__main__":
    main()
