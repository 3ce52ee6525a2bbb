#!/usr/bin/env python3
"""What the attention of the published models must cost at least on four GPUs: FLOPs and bytes of kernels/cu/flash.cu and
relative.cu in bf16, counted from their loops with the padding of their tiles, and the larger of FLOPs / peak and bytes / bandwidth.

    python3 scripts/roofline.py

Peaks are the vendor's data sheets': dense bf16 with f32 sums, f32, memory bandwidth. These are floors, not measurements; nothing
here was timed.
"""

from dataclasses import dataclass

# TFLOP/s on tensor cores, TFLOP/s in f32, TB/s
GPUS = {"A100": (312, 19.5, 2.04), "H100": (989, 67, 3.35), "L4": (121, 30.3, 0.30), "4090": (165, 82.6, 1.01)}
TALL = 64  # rows of a block


@dataclass
class Attention:
    """`count` calls of one launch each; `batch` may be segments. Keys per query: of a causal one, on average."""

    name: str
    count: int
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    d: int
    grid: int = 0
    causal: bool = False

    def tile(self):
        return 32 if self.d > 80 else 64

    def places(self):
        """Keys with the padding of their tiles."""
        if self.grid:
            side = 16 if self.grid <= 16 else 64
            rows = self.tile() // side
            return -(-self.grid // rows) * self.tile()
        keys = (self.keys + self.tile()) / 2 if self.causal else self.keys
        return -(-int(keys) // self.tile()) * self.tile()

    def rows(self):
        group = self.heads // self.kv_heads
        return -(-self.queries * group // TALL) * TALL * self.kv_heads

    def useful(self):
        return 4 * self.count * self.batch * self.heads * self.queries * (self.keys / (2 if self.causal else 1)) * self.d

    def flops(self):
        return 4 * self.count * self.batch * self.rows() * self.places() * self.d

    def bytes(self):
        tokens = 2 * self.heads * self.queries + 2 * self.kv_heads * self.keys
        return 2 * self.count * self.batch * (tokens * self.d + 2 * self.heads * self.queries * self.grid)

    def floor_ms(self, gpu):
        tensor, _, memory = GPUS[gpu]
        return 1e3 * max(self.flops() / tensor / 1e12, self.bytes() / memory / 1e12)


@dataclass
class Relative:
    """Products with the tables of relative positions, in f32 outside tensor cores."""

    name: str
    count: int
    batch: int
    heads: int
    side: int
    d: int

    def flops(self):
        padded = -(-self.side // 16) * 16
        return 4 * self.count * self.batch * self.heads * self.side * padded * padded * self.d

    def useful(self):
        return 4 * self.count * self.batch * self.heads * self.side ** 3 * self.d

    def bytes(self):
        return 2 * self.count * self.batch * self.heads * self.side ** 2 * (2 * self.d + 2 * self.side)

    def floor_ms(self, gpu):
        _, plain, memory = GPUS[gpu]
        return 1e3 * max(self.flops() / plain / 1e12, self.bytes() / memory / 1e12)


CASES = [
    Attention("SAM ViT-B, 4 global layers", 4, 1, 12, 12, 4096, 4096, 64, grid=64),
    Relative("  their relative positions", 4, 1, 12, 64, 64),
    Attention("SAM ViT-B, 8 layers of 25 windows", 8, 25, 12, 12, 196, 196, 64, grid=14),
    Relative("  their relative positions", 8, 25, 12, 14, 64),
    Attention("SAM ViT-H, 4 global layers", 4, 1, 16, 16, 4096, 4096, 80, grid=64),
    Attention("Depth Anything V2 Large, 24 layers", 24, 1, 16, 16, 1370, 1370, 64),
    Attention("Qwen2.5-VL vision, 28 layers of 16 windows", 28, 16, 16, 16, 64, 64, 80),
    Attention("Qwen2.5-VL vision, 4 layers, 1024 patches", 4, 1, 16, 16, 1024, 1024, 80),
    Attention("Qwen2.5-VL 3B, prefill of 13 x 350 tokens", 36, 13, 16, 2, 350, 350, 128, causal=True),
    Attention("Qwen2.5-VL 3B, a step of 13 sequences", 36, 13, 16, 2, 1, 400, 128),
    Attention("SAM decoder, 64 prompts, image to tokens", 2, 64, 8, 8, 4096, 9, 16),
]


def main():
    print(f"| attention of | launches | GFLOP, with padding | MB | {', '.join(GPUS)}: floor, ms |")
    print("|---|---|---|---|---|")
    for case in CASES:
        floors = ", ".join(f"{case.floor_ms(gpu):.2f}" for gpu in GPUS)
        print(f"| {case.name} | {case.count} | {case.useful() / 1e9:.1f}, {case.flops() / 1e9:.1f} | {case.bytes() / 1e6:.0f} | {floors} |")


main()
