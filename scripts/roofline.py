#!/usr/bin/env python3
"""What the attention and the convolutions of the published models must cost at least on four GPUs: FLOPs and bytes of
kernels/cu/flash.cu, relative.cu and convolution.cu, counted from their loops with the padding of their tiles, and the larger of FLOPs /
peak and bytes / bandwidth.

    python3 scripts/roofline.py

Peaks are the vendor's data sheets': dense bf16 with f32 sums, f32, memory bandwidth, TF32. These are floors, not measurements; nothing
here was timed.
"""

from dataclasses import dataclass

# TFLOP/s on tensor cores, TFLOP/s in f32, TB/s
GPUS = {"A100": (312, 19.5, 2.04), "H100": (989, 67, 3.35), "L4": (121, 30.3, 0.30), "4090": (165, 82.6, 1.01)}
TF32 = {"A100": 156, "H100": 495, "L4": 60.5, "4090": 82.6}
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


@dataclass
class Conv:
    """`count` convolutions (B, side, side, channels) to `out` channels, or transposed ones of cells of `cell` x `cell` pixels."""

    side: int
    channels: int
    out: int
    kernel: int = 1
    stride: int = 1
    count: int = 1
    size: int = 4  # bytes of an element
    epilogue: bool = True
    residual: bool = False
    cell: int = 1
    tf32: bool = False  # multiplied as TF32, before in f32

    def shape(self):
        """Rows, columns and terms of the product."""
        padding = 1 if self.kernel == 3 else 0
        side = (self.side + 2 * padding - self.kernel) // self.stride + 1
        return side * side, self.out * self.cell ** 2, self.kernel ** 2 * self.channels

    def is_product(self):
        """Whether cuBLAS computes it, as kernels/src/ops/conv2d/cuda.rs decides."""
        pixels = self.kernel == 1 and self.stride == 1 and self.cell == 1
        return pixels and (self.out < 16 or not self.tf32 and (not self.epilogue or self.channels * self.size > 1024))

    def tile(self):
        """Columns and terms of a tile."""
        rows, columns, terms = self.shape()
        even = self.channels * self.size % 16 == 0
        return (32 if even and columns <= 32 and self.size == 4 else 64), 64 // self.size

    def shares(self):
        rows, columns, terms = self.shape()
        wide, deep = self.tile()
        blocks = -(-rows // 128) * -(-columns // wide)
        return max(1, min(216 // blocks, -(-terms // deep) // 16))

    def useful(self):
        rows, columns, terms = self.shape()
        return 2 * self.count * rows * columns * terms

    def padded(self):
        rows, columns, terms = self.shape()
        wide, deep = self.tile()
        return 2 * self.count * -(-rows // 128) * 128 * -(-columns // wide) * wide * -(-terms // deep) * deep

    def steps(self, before):
        """Launches of one of them, each FLOPs and bytes."""
        rows, columns, terms = self.shape()
        x, weight, y = (self.size * n for n in (self.side ** 2 * self.channels, columns * terms, rows * columns))
        added = y if self.residual else 0
        flops = self.useful() / self.count
        epilogue = [(0, 2 * y + added)] if self.epilogue else []
        if self.is_product():
            return [(flops, x + weight + y), *epilogue]
        if before and self.cell > 1:  # a product, candle's copy in another order, an epilogue
            return [(flops, x + weight + y), (0, 2 * y), *epilogue]
        if before:
            patches = self.size * rows * terms
            pixels = self.kernel == 1 and self.stride == 1
            return [*([] if pixels else [(0, x + patches)]), (flops, (x if pixels else patches) + weight + y), *epilogue]
        parts = 4 * self.shares() * rows * columns
        if self.shares() > 1:
            return [(self.padded() / self.count, x + weight + parts), (0, parts + y + added)]
        return [(self.padded() / self.count, x + weight + y + added)]

    def launches(self, before):
        return self.count * len(self.steps(before))

    def bytes(self, before):
        return self.count * sum(moved for _, moved in self.steps(before))

    def floor_ms(self, gpu, before):
        tensor, plain, memory = GPUS[gpu]
        peak = tensor if self.size == 2 else TF32[gpu] if self.tf32 and not before and not self.is_product() else plain
        return 1e3 * self.count * sum(max(flops / peak / 1e12, moved / memory / 1e12) for flops, moved in self.steps(before))


def dpt(rows, neck, width, fusion, hidden):
    """The head of Depth Anything V2 on rows x rows patches of 14 pixels, in f32."""
    sides = [4 * rows, 2 * rows, rows, (rows + 1) // 2]
    levels = [Conv(rows, width, n) for n in neck]
    resized = [Conv(rows, neck[0], neck[0], cell=4), Conv(rows, neck[1], neck[1], cell=2), Conv(rows, neck[3], neck[3], 3, 2)]
    to_fusion = [Conv(side, n, fusion, 3, epilogue=False) for side, n in zip(sides, neck)]
    refined = [Conv(side, fusion, fusion, 3, count=1 if side == sides[3] else 2, residual=of) for side in sides for of in (False, True)]
    projected = [Conv(side, fusion, fusion) for side in (8 * rows, *sides[:3])]
    head = [Conv(8 * rows, fusion, fusion // 2, 3), Conv(14 * rows, fusion // 2, hidden, 3), Conv(14 * rows, hidden, 1)]
    return [*levels, *resized, *to_fusion, *refined, *projected, *head]


MOBILE_SAM = [
    Conv(1024, 3, 32, 3, 2), Conv(512, 32, 64, 3, 2),
    Conv(256, 64, 256, count=2), Conv(256, 256, 64, count=2, residual=True), Conv(256, 64, 128), Conv(128, 128, 128),
    Conv(128, 128, 160), Conv(64, 160, 160), Conv(64, 160, 320), Conv(64, 320, 320)]
LARGE = dpt(37, [256, 512, 1024, 1024], 1024, 256, 32)
CONVOLUTIONS = {
    "Depth Anything V2 Large, head at 518 x 518, f32": LARGE,
    "  the same behind bf16, now as TF32": [Conv(**(vars(c) | {"tf32": True})) for c in LARGE],
    "  its 3 x 3 convolutions at 148 x 148": [Conv(148, 256, 256, 3, count=2, residual=of) for of in (False, True)],
    "  its last 3 x 3 convolution": [Conv(518, 128, 32, 3)],
    "  its transposed convolutions": [Conv(37, 256, 256, cell=4), Conv(37, 512, 512, cell=2)],
    "Depth Anything V2 Small, head at 518 x 518, f32": dpt(37, [48, 96, 192, 384], 384, 64, 32),
    "Depth Anything V2 Large, patches, bf16": [Conv(518, 3, 1024, 14, 14, size=2)],
    "MobileSAM's encoder, all but depthwise, bf16": [Conv(**(vars(c) | {"size": 2})) for c in MOBILE_SAM],
    "  its convolutions of single pixels": [Conv(**(vars(c) | {"size": 2})) for c in MOBILE_SAM if c.kernel == 1],
    "Both SAMs' necks, 3 x 3, bf16": [Conv(64, 256, 256, 3, size=2, epilogue=False)],
}


@dataclass
class Linear:
    """`count` layers in bf16: a product (rows, inputs) x (inputs, outputs) by cuBLAS, and what the launch after it reads and writes for
    each output: 2 without a residual, 3 with one; 1.5 halves of a gate, 4 with a residual and a norm."""

    count: int
    rows: int
    inputs: int
    outputs: int
    touched: float

    def product_ms(self, gpu):
        tensor, _, memory = GPUS[gpu]
        moved = 2 * (self.rows * (self.inputs + self.outputs) + self.inputs * self.outputs)
        return 1e3 * self.count * max(2 * self.rows * self.inputs * self.outputs / tensor / 1e12, moved / memory / 1e12)

    def after(self):
        return 2 * self.count * self.rows * self.outputs * self.touched

    def after_ms(self, gpu):
        return 1e3 * self.after() / GPUS[gpu][2] / 1e12


LINEARS = {
    "SAM ViT-B": [Linear(12, 4096, 768, 2304, 2), Linear(12, 4096, 768, 768, 3), Linear(12, 4096, 768, 3072, 2), Linear(12, 4096, 3072, 768, 3)],
    "Depth Anything V2 Large": [Linear(24, 1370, 1024, 3072, 2), Linear(24, 1370, 1024, 1024, 3), Linear(24, 1370, 1024, 4096, 2),
                                Linear(24, 1370, 4096, 1024, 3)],
    "Qwen2.5-VL 3B, prefill of 13 x 350 tokens": [Linear(36, 4550, 2048, 2560, 2), Linear(36, 4550, 2048, 2048, 4),
                                                  Linear(36, 4550, 2048, 22016, 1.5), Linear(36, 4550, 11008, 2048, 4)],
    "Qwen2.5-VL 3B, a step of 13 sequences": [Linear(36, 13, 2048, 2560, 2), Linear(36, 13, 2048, 2048, 4), Linear(36, 13, 2048, 22016, 1.5),
                                              Linear(36, 13, 11008, 2048, 4)],
}


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
    print(f"\n| convolutions of | launches | GFLOP, with padding | MB | {', '.join(GPUS)}: floor before, ms | now |")
    print("|---|---|---|---|---|---|")
    for name, convs in CONVOLUTIONS.items():
        total = lambda of: sum(of(conv) for conv in convs)
        launches, moved = ([total(lambda conv: getattr(conv, what)(before)) for before in (True, False)] for what in ("launches", "bytes"))
        floors = [", ".join(f"{total(lambda conv: conv.floor_ms(gpu, before)):.2f}" for gpu in GPUS) for before in (True, False)]
        flops = [total(Conv.useful), total(lambda conv: conv.useful() if conv.is_product() else conv.padded())]
        print(f"| {name} | {launches[0]}, now {launches[1]} | {flops[0] / 1e9:.1f}, {flops[1] / 1e9:.1f} | "
              f"{moved[0] / 1e6:.0f}, now {moved[1] / 1e6:.0f} | {floors[0]} | {floors[1]} |")
    print(f"\n| linear layers of | products | {', '.join(GPUS)}: floor, ms | MB after them | of these, ms |")
    print("|---|---|---|---|---|")
    for name, layers in LINEARS.items():
        floors = [", ".join(f"{sum(of(layer, gpu) for layer in layers):.2f}" for gpu in GPUS) for of in (Linear.product_ms, Linear.after_ms)]
        print(f"| {name} | {sum(layer.count for layer in layers)} | {floors[0]} | {sum(map(Linear.after, layers)) / 1e6:.0f} | {floors[1]} |")


main()
