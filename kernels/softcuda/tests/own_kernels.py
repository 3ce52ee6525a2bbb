"""Launches of the kernels of ../../cu on sizes that fill no block, and faults in them: what faults.py runs."""

import re


def only(text, kernel):
    """A source without the kernels beside `kernel`, where there are many: a broken copy is compiled for one launch."""
    name, _, suffix = kernel.rpartition("_")
    element = {"f32": "float", "bf16": "__nv_bfloat16", "f16": "__half"}.get(suffix)
    if "#define IMPLICITS" in text and name == "depthwise":
        return text[:text.index("#define IMPLICITS")] + text[text.index("// y = residual + f(sum over the window"):]
    if "#define IMPLICITS" in text:
        unit = "tensor_core::Tf32" if "tf32" in name else element
        join = f'extern "C" __global__ void join_{suffix}(CALL({element})) {{ join(GIVEN_CALL({element})); }}'
        shape = f"{32 if 'narrow' in name else 64}, {'false' if 'uneven' in name else 'true'}"
        kernels = join + "\n" + (f"IMPLICIT({name}, {unit}, {shape}, {suffix}, {element})\n" if name != "join" else "")
        return text[:text.index("#define IMPLICITS")] + kernels
    flash = re.fullmatch(r"flash_(?:(ragged|bias|grid)(\d*)_)?(\d+)", name)
    if not flash or "#define FLASHES" not in text:
        return text
    kind, side, width = flash.groups()
    macro = "FLASH" + (f"_{kind.upper()}" if kind else "")
    arguments = ", ".join(filter(None, [side, width, suffix, element]))
    return text[:text.index("#define FLASHES")] + f"{macro}({arguments})\n"


# Of ../../cu: sizes that fill no block, and a last row, pixel or element beside the end of its memory.
OWN_LAUNCHES = {
    ("norm.cu", "layer_norm_f32"): """
x, y = d.upload("f", [i % 7 for i in range(5 * 31)]), d.empty("f", 5 * 31)
w, b = d.upload("f", range(31)), d.upload("f", range(31))
d.launch(module, "layer_norm_f32", (2,), (32, 4), [x, w, b, y, i32(5), i32(31), ctypes.c_float(1e-5)])
""",
    ("norm.cu", "rms_norm_f32"): """
x, y, w = d.upload("f", [i % 7 for i in range(5 * 40)]), d.empty("f", 5 * 40), d.upload("f", range(40))
d.launch(module, "rms_norm_f32", (2,), (32, 4), [x, w, y, i32(5), i32(40), ctypes.c_float(1e-5)])
""",
    ("elementwise.cu", "epilogue_f32"): """
x, b, r = d.upload("f", range(7 * 5)), d.upload("f", range(5)), d.upload("f", range(3 * 5))
d.launch(module, "epilogue_f32", (1, 1), (8, 32), [x, b, r, i32(7), i32(5), i32(3), i32(1)])
""",
    ("norm.cu", "layer_norm_f16"): """
x, w, b = (d.upload("H", [0x3c00 + i % 7 for i in range(size)]) for size in (2 * 300, 300, 300))
y = d.empty("H", 2 * 300)
d.launch(module, "layer_norm_f16", (2,), (256,), [x, w, b, y, i32(2), i32(300), ctypes.c_float(1e-5)])
""",
    ("norm.cu", "onto_rms_norm_f32"): """
x, r, both = d.upload("f", [i % 7 for i in range(2 * 300)]), d.upload("f", range(2 * 300)), d.empty("f", 4 * 300)
b, w = d.upload("f", range(300)), d.upload("f", range(300))
d.launch(module, "onto_rms_norm_f32", (2,), (256,), [x, b, r, w, both, i32(2), i32(300), ctypes.c_float(1e-5)])
""",
    ("elementwise.cu", "gated_f32"): """
x, b, y = d.upload("f", range(7 * 10)), d.upload("f", range(10)), d.empty("f", 7 * 5)
d.launch(module, "gated_f32", (1, 1), (8, 32), [x, b, y, i32(7), i32(5)])
""",
    ("softmax.cu", "masked_softmax_f32"): """
x, y = d.upload("f", [i % 7 for i in range(6 * 10)]), d.empty("f", 6 * 10)
down, along = d.upload("f", range(6 * 2)), d.upload("f", range(6 * 5))
d.launch(module, "masked_softmax_f32", (2,), (32, 4),
         [x, y, down, along, u64(0), u64(0), u64(0), u64(0), i32(2), i32(6), i32(2), i32(3), i32(10), i32(0), i32(5), ctypes.c_float(1)])
""",
    ("convolution.cu", "implicit_bf16"): """
# 3 x 3 windows on 13 x 11 pixels of 16 channels, 72 outputs: tiles of one row and of 8 columns, half a step; all at the end of memory.
x, w, b, r = (d.upload("H", bf16(i % 5 for i in range(n))) for n in (13 * 11 * 16, 72 * 144, 72, 143 * 72))
y = d.empty("H", 143 * 72)
d.launch(module, "implicit_bf16", (4,), (128,), [x, w, b, r, y, u64(0), *map(i32, (72, 1, 1, 1, 1, 1)), *map(i32, (1, 13, 11, 16, 3, 3, 1, 1, 13, 11))])
""",
    ("convolution.cu", "implicit_f16"): """
# Transposed: cells of 2 x 3 pixels of 24 outputs.
x, w, b = (d.upload("H", [0x3000 + i % 64 for i in range(n)]) for n in (2 * 35 * 24, 144 * 24, 24))
y = d.empty("H", 2 * 35 * 144)
d.launch(module, "implicit_f16", (3,), (128,), [x, w, b, u64(0), y, u64(0), *map(i32, (24, 2, 3, 0, 1, 1)), *map(i32, (2, 5, 7, 24, 1, 1, 1, 0, 5, 7))])
""",
    ("convolution.cu", "implicit_f32"): """
# Outputs that are no vectors; two blocks share the terms, 10 and a half steps.
x, w, b = (d.upload("f", (i % 5 for i in range(n))) for n in (5 * 4 * 20, 70 * 180, 70))
y, parts = d.empty("f", 6 * 70), d.empty("f", 2 * 6 * 70)
given = [x, w, b, u64(0), y, parts, *map(i32, (70, 1, 1, 0, 2, 0)), *map(i32, (1, 5, 4, 20, 3, 3, 2, 1, 3, 2))]
d.launch(module, "implicit_f32", (4,), (128,), given)
""",
    ("convolution.cu", "join_f32"): """
parts, y = d.upload("f", range(2 * 6 * 70)), d.empty("f", 6 * 70)
given = [y, y, d.upload("f", range(70)), u64(0), y, parts, *map(i32, (70, 1, 1, 0, 2, 0)), *map(i32, (1, 5, 4, 20, 3, 3, 2, 1, 3, 2))]
d.launch(module, "join_f32", (3, 1), (32, 8), given)
""",
    ("convolution.cu", "implicit_narrow_f32"): """
x, w, r = (d.upload("f", (i % 5 for i in range(n))) for n in (7 * 5 * 8, 12 * 72, 35 * 12))
y = d.empty("f", 35 * 12)
d.launch(module, "implicit_narrow_f32", (1,), (128,), [x, w, u64(0), r, y, u64(0), *map(i32, (12, 1, 1, 3, 1, 1)), *map(i32, (1, 7, 5, 8, 3, 3, 1, 1, 7, 5))])
""",
    ("convolution.cu", "implicit_narrow_tf32_f32"): """
x, w, b = (d.upload("f", (i % 5 for i in range(n))) for n in (7 * 5 * 8, 12 * 72, 12))
y = d.empty("f", 35 * 12)
d.launch(module, "implicit_narrow_tf32_f32", (1,), (128,), [x, w, b, u64(0), y, u64(0), *map(i32, (12, 1, 1, 3, 1, 1)), *map(i32, (1, 7, 5, 8, 3, 3, 1, 1, 7, 5))])
""",
    ("convolution.cu", "implicit_uneven_bf16"): """
x, w, r = (d.upload("H", bf16(i % 5 for i in range(n))) for n in (9 * 7 * 3, 33 * 27, 20 * 33))
y = d.empty("H", 20 * 33)
d.launch(module, "implicit_uneven_bf16", (1,), (128,), [x, w, u64(0), r, y, u64(0), *map(i32, (33, 1, 1, 2, 1, 0)), *map(i32, (1, 9, 7, 3, 3, 3, 2, 1, 5, 4))])
""",
    ("convolution.cu", "depthwise_f32"): """
x, w, b, y = d.upload("f", range(5 * 4 * 3)), d.upload("f", range(27)), d.upload("f", range(3)), d.empty("f", 5 * 4 * 3)
d.launch(module, "depthwise_f32", (1, 1), (4, 64), [x, w, b, u64(0), y, i32(0), *map(i32, (1, 5, 4, 3, 3, 3, 1, 1, 5, 4))])
""",
    ("upsample.cu", "upsample_f32"): """
x, y = d.upload("f", range(5 * 4 * 3)), d.empty("f", 9 * 7 * 3)
d.launch(module, "upsample_f32", (1, 1), (4, 64), [x, y, *map(i32, (1, 5, 4, 3, 9, 7, 0))])
""",
    ("flash.cu", "flash_64_bf16"): """
# Two heads on one of keys, causal behind 13 keys; a last row and a last key beside the end of their memory.
h, n, m, w = 2, 37, 50, 64
q, k, v = (d.upload("H", bf16((i * 7 % 31 - 15) / 9 for i in range(size))) for size in (h * n * w, m * w, m * w))
y = d.empty("H", h * n * w)
s = attention_shape(heads=h, pack=2, queries=n, keys=m, d=w, offset=13, tall=64)
d.launch(module, "flash_64_bf16", (s.tiles, 1), (128,), [q, k, v, y, u64(0), s])
""",
    ("flash.cu", "flash_80_f16"): """
# Two segments of a fused projection, its last token at the end of memory.
h, n, w = 2, 100, 72
qkv, y = d.upload("H", [0x3000 + i * 7 % 0x800 for i in range(n * 3 * h * w)]), d.empty("H", n * h * w)
part = lambda i: u64(qkv.at.value + 2 * i * h * w)
s = attention_shape(heads=h, kv_heads=h, queries=n, keys=n, d=w, tall=64, row=3 * h * w)
d.launch(module, "flash_80_f16", (s.tiles * h, 2), (128,), [part(0), part(1), part(2), y, d.upload("I", [0, 30, 100]), s])
""",
    ("flash.cu", "flash_128_bf16"): """
n, m, w = 70, 40, 128
q, k, v = (d.upload("H", bf16((i * 7 % 31 - 15) / 9 for i in range(size * w))) for size in (n, m, m))
y = d.empty("H", n * w)
s = attention_shape(queries=n, keys=m, d=w, tall=64)
d.launch(module, "flash_128_bf16", (s.tiles, 1), (128,), [q, k, v, y, u64(0), s])
""",
    ("flash.cu", "flash_bias_32_bf16"): """
n, m, w = 49, 49, 24
q, k, v = (d.upload("H", bf16((i * 7 % 31 - 15) / 9 for i in range(n * w))) for _ in range(3))
bias, y = d.upload("H", bf16(i % 5 for i in range(n * m))), d.empty("H", n * w)
s = attention_shape(queries=n, keys=m, d=w, tall=64, bias_query=m, bias_key=1)
d.launch(module, "flash_bias_32_bf16", (s.tiles, 1), (128,), [q, k, v, y, bias, s])
""",
    ("flash.cu", "flash_grid16_64_bf16"): """
n, w = 14 * 14, 64
q, k, v = (d.upload("H", bf16((i * 7 % 31 - 15) / 9 for i in range(n * w))) for _ in range(3))
down, along = (d.upload("H", bf16(i % 5 for i in range(n * 14))) for _ in range(2))
y = d.empty("H", n * w)
s = attention_shape(queries=n, keys=n, d=w, tall=64, grid=(14, 14))
d.launch(module, "flash_grid16_64_bf16", (s.tiles, 1), (128,), [q, k, v, y, down, along, s])
""",
    ("flash.cu", "flash_grid64_64_bf16"): """
n, m, w = 65, 3 * 63, 64
q, k, v = (d.upload("H", bf16((i * 7 % 31 - 15) / 9 for i in range(size * w))) for size in (n, m, m))
down, along = (d.upload("H", bf16(i % 5 for i in range(n * size))) for size in (3, 63))
y = d.empty("H", n * w)
s = attention_shape(queries=n, keys=m, d=w, tall=64, grid=(3, 63))
d.launch(module, "flash_grid64_64_bf16", (s.tiles, 1), (128,), [q, k, v, y, down, along, s])
""",
    ("flash.cu", "flash_ragged_64_bf16"): """
h, w, new, cached, room = 4, 40, [9, 0, 1], [0, 5, 70], [9, 6, 71]
q, y = d.upload("H", bf16((i * 7 % 31 - 15) / 9 for i in range(sum(new) * h * w))), d.empty("H", sum(new) * h * w)
caches = [[d.upload("H", bf16(i % 9 / 9 for i in range(2 * r * w))) for r in room] for _ in range(2)]
s = attention_shape(heads=h, kv_heads=2, pack=2, queries=sum(new), d=w, tall=64, tiles=1, cached=True)
d.launch(module, "flash_ragged_64_bf16", (2, 3), (128,), [q, y, sequences(*caches, new, cached, room), u64(0), s])
""",
    ("attention.cu", "attention_64_f32"): """
h, n, m, w = 2, 37, 50, 40
q, k, v = (d.upload("f", ((i * 7 % 31 - 15) / 9 for i in range(size))) for size in (h * n * w, m * w, m * w))
y = d.empty("f", h * n * w)
s = attention_shape(heads=h, pack=2, queries=n, keys=m, d=w, offset=13, tall=64)
d.launch(module, "attention_64_f32", (s.tiles, 1), (128,), [q, k, v, y, u64(0), u64(0), u64(0), u64(0), s])
""",
    ("attention.cu", "attention_128_f32"): """
n, w = 12, 100
q, k, v = (d.upload("f", ((i * 7 % 31 - 15) / 9 for i in range(n * w))) for _ in range(3))
down, along = d.upload("f", range(n * 3)), d.upload("f", range(n * 4))
y = d.empty("f", n * w)
s = attention_shape(queries=n, keys=n, d=w, tall=32, grid=(3, 4))
d.launch(module, "attention_128_f32", (s.tiles, 1), (128,), [q, k, v, y, u64(0), u64(0), down, along, s])
""",
    ("attention.cu", "attention_ragged_32_f32"): """
h, w, new, cached, room = 4, 20, [9, 0, 1], [0, 5, 70], [9, 6, 71]
q, y = d.upload("f", (i % 7 for i in range(sum(new) * h * w))), d.empty("f", sum(new) * h * w)
caches = [[d.upload("f", (i % 9 / 9 for i in range(2 * r * w))) for r in room] for _ in range(2)]
s = attention_shape(heads=h, kv_heads=2, pack=2, queries=sum(new), d=w, tall=64, tiles=1, cached=True)
d.launch(module, "attention_ragged_32_f32", (2, 3), (128,), [q, y, sequences(*caches, new, [9] * 3, room), d.upload("I", cached), s])
""",
    ("rotary.cu", "rotate_f32"): """
b, h, n, half = 2, 3, 5, 3
x, y = d.upload("f", range(b * n * h * 2 * half)), d.empty("f", b * h * n * 2 * half)
cos, sin = d.upload("f", range(n * half)), d.upload("f", range(n * half))
d.launch(module, "rotate_f32", (1, 1), (4, 64), [x, y, cos, sin, *map(u64, (n * h * 2 * half, 2 * half, h * 2 * half, 0)), *map(i32, (b * h * n, h, n, half))])
""",
    ("rotary.cu", "place_f32"): """
h, kv, half, new, cached, room = 4, 2, 3, [4, 0, 1], [0, 5, 2], [4, 6, 3]
qkv, bias = d.upload("f", range(sum(new) * (h + 2 * kv) * 2 * half)), d.upload("f", range((h + 2 * kv) * 2 * half))
q, cos, sin = d.empty("f", sum(new) * h * 2 * half), d.upload("f", range(sum(new) * half)), d.upload("f", range(sum(new) * half))
caches = [[d.empty("f", kv * r * 2 * half) for r in room] for _ in range(2)]
d.launch(module, "place_f32", (1, 3), (256,), [qkv, bias, q, cos, sin, sequences(*caches, new, [9] * 3, room), d.upload("I", cached), i32(h), i32(kv), i32(half)])
""",
    ("masks.cu", "mask_facts_f32"): """
x, which, facts = d.upload("f", (i % 9 - 4 for i in range(3 * 25))), d.upload("I", [2, 0]), d.empty("I", 12)
d.launch(module, "mask_facts_f32", (2,), (256,), [x, which, facts, *map(i32, (5, 0, 5, 1, 5)), *map(ctypes.c_float, (0, 1, -1))])
""",
    ("masks.cu", "draw_masks_f32"): """
# Two masks on 37 x 35 pixels, each of two of 5 cells; the last of them at the end of memory.
side, width, height = 5, 37, 35
x = d.upload("f", (i % 9 - 4 for i in range(2 * side * side)))
axis = lambda pixels: [i * (side - 1) // pixels for i in range(pixels)] + [2 * i for i in range(pixels + 1)]
masks, columns, rows = d.upload("Q", [x.at.value + 4 * side * side, x.at.value]), d.upload("I", axis(width)), d.upload("I", axis(height))
weights, bits, facts = d.upload("f", [0.5] * 2 * width), d.empty("I", 2 * 2 * width), d.zeros("I", 12)
d.launch(module, "draw_masks_f32", (2, 2), (32, 8),
         [masks, columns, rows, weights, bits, facts, *map(i32, (side, width, height)), *map(ctypes.c_float, (0, 1, -1, -1.001))])
""",
    ("masks.cu", "crop_bits_u32"): """
bits, boxes, out = d.upload("I", range(2 * 3 * 7)), d.upload("I", [1, 2, 5, 1, 2, 0, 0, 0, 2, 0, 3, 10]), d.empty("I", 16)
d.launch(module, "crop_bits_u32", (1, 2), (256,), [bits, boxes, out, i32(3), i32(7)])
""",
    ("argmax.cu", "penalise_f32"): """
x, tokens, ends = d.upload("f", range(2 * 5)), d.upload("I", [1 << 31, 3, 4]), d.upload("I", [1, 3])
d.launch(module, "penalise_f32", (1, 2), (256,), [x, tokens, ends, i32(5), ctypes.c_float(2)])
""",
    ("argmax.cu", "argmax_f32"): """
x, best = d.upload("f", (i * 7 % 100 for i in range(3 * 100))), d.zeros("Q", 3)
d.launch(module, "argmax_f32", (2, 3), (32,), [x, best, i32(100)])
""",
    ("decoding.cu", "begin_step_f32"): """
rows, width, half, steps = 3, 10, 4, 2
embedding, tokens, counts = d.upload("f", range(6 * width)), d.upload("I", [5, 0, 2]), d.upload("I", [steps - 1] + [7] * 6)
cosines, sines = (d.upload("f", range(steps * rows * half)) for _ in range(2))
x, cos, sin = (d.empty("f", rows * n) for n in (width, half, half))
d.launch(module, "begin_step_f32", (1, rows), (32,), [embedding, cosines, sines, tokens, counts, x, cos, sin, i32(width), i32(half)])
""",
    ("decoding.cu", "likeliest_f32"): """
x, best = d.upload("f", (i * 7 % 100 for i in range(3 * 100))), d.zeros("Q", 3)
noted, counts = d.upload("B", (i % 4 for i in range(300))), d.upload("I", [1] + [7] * 6)
d.launch(module, "likeliest_f32", (2, 3), (32,), [x, noted, counts, best, i32(100), ctypes.c_float(1.2), i32(4)])
""",
    ("decoding.cu", "end_step_f32"): """
best, noted = d.upload("Q", [0xffffffff - 99] * 3), d.upload("B", [0] * 300)
tokens, counts = d.upload("I", [7, 8, 9]), d.upload("I", [1] + [7] * 3 + [0, 1, 0])
d.launch(module, "end_step_f32", (1,), (64,), [best, noted, tokens, counts, i32(3), i32(100)])
""",
    ("sampling.cu", "count_tokens_f32"): """
x, bins = d.upload("f", (i * 7 % 100 - 50 for i in range(2 * 300))), d.zeros("I", 2 * 4096)
d.launch(module, "count_tokens_f32", (2, 2), (256,), [x, bins, i32(300)])
""",
    ("sampling.cu", "top_tokens_f32"): """
# The second row's bin holds more than are asked for and than are given.
x = d.upload("f", [i * 7 % 300 for i in range(300)] + [1] * 300)
bins, found = d.zeros("I", 2 * 4096), d.zeros("I", 2 * (1 + 2 * 8))
d.launch(module, "count_tokens_f32", (2, 2), (256,), [x, bins, i32(300)])
d.launch(module, "top_tokens_f32", (2, 2), (256,), [x, bins, found, i32(300), i32(2), i32(8)])
""",
    ("sampling.cu", "best_tokens_f32"): """
x, sets = d.upload("f", (i * 7 % 100 - 50 for i in range(2 * 300))), d.upload("I", [0x55555555] * 10 + [0] * 10)
rows, allowed = (d.upload("Q", [buffer.at.value + 4 * n, buffer.at.value]) for buffer, n in ((x, 300), (sets, 10)))
parts = d.empty("Q", 2 * 2 * 2)
d.launch(module, "best_tokens_f32", (2, 2), (256,), [rows, allowed, parts, i32(300)])
""",
    ("picture.cu", "resize_bytes_u8"): """
# Columns of 7 x 5 pixels, two cells each, the last at the end of memory.
x, y = d.upload("B", range(7 * 5 * 3)), d.empty("B", 3 * 5 * 3)
axis, weights = d.upload("I", [0, 2, 5, 0, 2, 4, 6]), d.upload("i", [3, 5] * 3)
d.launch(module, "resize_bytes_u8", (1, 1), (16, 16), [x, axis, weights, y, *map(i32, (3, 5, 7, 3, 3))])
""",
    ("picture.cu", "picture_planes_f32"): """
x, y = d.upload("B", range(7 * 5 * 3)), d.empty("f", 3 * 4 * 9)
axis, weights = d.upload("I", [0, 3, 0, 2, 4]), d.upload("i", [3, 5] * 2)
levels = d.upload("f", range(3 * 256))
d.launch(module, "picture_planes_f32", (1, 1), (16, 16), [x, axis, weights, levels, y, *map(i32, (3, 2, 7, 7, 2, 4, 9))])
""",
    ("picture.cu", "picture_patches_f32"): """
x, y = d.upload("B", range(7 * 4 * 3)), d.empty("f", 8 * 4 * 3 * 2)
axis, weights = d.upload("I", [0, 0, 1, 2, 2, 3, 4, 5, 0, 2, 4, 6, 8, 10, 12, 14, 16]), d.upload("i", [3, 5] * 8)
levels = d.upload("f", range(3 * 256))
d.launch(module, "picture_patches_f32", (1, 1), (256,), [x, axis, weights, levels, y, *map(i32, (3, 1, 7, 8, 4, 2, 2, 2))])
""",
    ("picture.cu", "picture_floats_f32"): """
x, y = d.upload("B", range(7 * 5 * 3)), d.empty("f", 3 * 2 * 3)
columns, rows = d.upload("I", [0, 2, 5, 0, 2, 4, 6]), d.upload("I", [0, 3, 6, 8, 10])
weights, levels, normal = d.upload("d", [0.5] * 10), d.upload("d", range(256)), d.upload("d", range(1, 7))
d.launch(module, "picture_floats_f32", (1, 1), (16, 16), [x, columns, rows, weights, levels, normal, y, *map(i32, (7, 3, 2))])
""",
    ("relative.cu", "relative_f32"): """
h, side, w = 2, 5, 6
q, y = d.upload("f", range(side * side * h * w)), d.empty("f", 2 * h * side ** 3)
down, along = d.upload("f", range(side * w * side)), d.upload("f", range(side * w * side))
d.launch(module, "relative_f32", (h * side, 2), (256,), [q, down, along, y, u64(0), u64(w), u64(h * w), *map(i32, (h, h, side, w))])
""",
}

# As FAULTS of faults.py.
OWN_FAULTS = [
    ("norm.cu", "layer_norm_f32", "if (row >= (size_t)rows) return;", "", "out of bounds", "sum += wide(x[i])"),
    ("norm.cu", "layer_norm_f32", "i < n; i += blockDim.x) {\n        const", "i <= n; i += blockDim.x) {\n        const", "out of bounds", "centred = wide(x[i])"),
    ("norm.cu", "rms_norm_f32", "i < n; i += blockDim.x) {\n        y[i] = narrow<T>(wide(narrow", "i <= n; i += blockDim.x) {\n        y[i] = narrow<T>(wide(narrow", "race between blocks", "y[i] = narrow<T>(wide(narrow"),
    ("elementwise.cu", "epilogue_f32", "    if (column >= columns) return;\n", "", "out of bounds", "wide(bias[column])"),
    ("elementwise.cu", "epilogue_f32", "row % residual_rows * (size_t)columns", "row * (size_t)columns", "out of bounds", "wide(residual["),
    ("norm.cu", "layer_norm_f16", "    __syncthreads();  // until all have read the sum before\n", "", "race on shared memory", "of_warps["),
    ("norm.cu", "onto_rms_norm_f32", "    __syncthreads();\n    x = 0", "    x = 0", "race on shared memory", "of_warps[i]"),
    ("norm.cu", "onto_rms_norm_f32", "y + (size_t)rows * n, n, eps)", "y + (size_t)(rows + 1) * n, n, eps)", "out of bounds", "y[i] = narrow<T>(wide(narrow"),
    ("elementwise.cu", "gated_f32", "    if (column >= inner) return;\n", "", "out of bounds", "shifted"),
    ("elementwise.cu", "gated_f32", "of_row[inner + column]", "of_row[2 * inner + column]", "out of bounds", "of_row[2 * inner"),
    ("softmax.cu", "masked_softmax_f32", "down += row * (keys / side);", "down += row * side;", "out of bounds", "wide(down[key / side])"),
    ("convolution.cu", "implicit_bf16", "next copies take.\n        __syncthreads();", "next copies take.", "race on shared memory", "tensor_core::ldmatrix_x4(a, rows"),
    ("convolution.cu", "implicit_bf16", "    __syncthreads();\n    float* laid", "    float* laid", "race on shared memory", "*reinterpret_cast<float2*>(at)"),
    ("convolution.cu", "implicit_bf16", "sums.lay(laid);\n    __syncthreads();", "sums.lay(laid);", "race on shared memory", "sums[e] = activated("),
    ("convolution.cu", "implicit_bf16", "% STAGES * TILE);\n        else", "% 2 * TILE);\n        else", "race on shared memory", "tensor_core::ldmatrix_x4("),
    ("convolution.cu", "implicit_bf16", "top[i] = row < c.rows() ? y", "top[i] = row <= c.rows() ? y", "out of bounds", "copy_async_16(to + 32 * i * PITCH"),
    ("convolution.cu", "implicit_bf16", "unsigned(top[i] + y) < unsigned(call.g.height)", "top[i] + y < call.g.height", "out of bounds", "copy_async_16(to + 32 * i * PITCH"),
    ("convolution.cu", "implicit_bf16", "at < length && column + 32 * i < call.columns()", "at < length", "out of bounds", "copy_async_16(to + (ROWS"),
    ("convolution.cu", "implicit_bf16", "const bool there = at < length && column", "const bool there = column", "out of bounds", "copy_async_16(to + (ROWS"),
    ("convolution.cu", "implicit_bf16", "PITCH_BYTES = 80", "PITCH_BYTES = 72", "misaligned access", "copy_async_16(to"),
    ("convolution.cu", "implicit_bf16", "if (row < rows && column < columns) call.write_vector", "if (column < columns) call.write_vector", "out of bounds", "*reinterpret_cast<Vector<T>*>(y + at) = out"),
    ("convolution.cu", "implicit_f16", "cell_rows + cell / cell_columns;", "cell_rows + cell % cell_columns;", "race between blocks", "*reinterpret_cast<Vector<T>*>(y + at) = out"),
    ("convolution.cu", "implicit_f16", "bias[column % outputs + e]", "bias[column + e]", "out of bounds", "bias[column + e]"),
    ("convolution.cu", "implicit_f32", "(share * (size_t)rows + row) * columns + column] = sum", "row * columns + column] = sum", "race between blocks", "+ column] = sum"),
    ("convolution.cu", "implicit_f32", "if (row >= rows || column >= columns) continue;", "if (row >= rows) continue;", "race between blocks", "+ column] = sum"),
    ("convolution.cu", "join_f32", "share < call.shares", "share <= call.shares", "out of bounds", "sum += call.parts["),
    ("convolution.cu", "join_f32", "    if (column >= columns) return;\n", "", "out of bounds", "sum += call.parts["),
    ("convolution.cu", "implicit_narrow_f32", "next copies take.\n        __syncthreads();", "next copies take.", "race on shared memory", "a[i] = *reinterpret_cast<const float4*>"),
    ("convolution.cu", "implicit_narrow_f32", "if (row < rows && column < columns) call.write_vector", "if (row < rows) call.write_vector", "race on global memory", "*reinterpret_cast<Vector<T>*>(y + at) = out"),
    ("convolution.cu", "implicit_narrow_tf32_f32", "lane / 8 % 2 * WIDTH<T>", "lane / 8 % 2 * 2", "misaligned access", "ldmatrix_x4(b[n]"),
    ("convolution.cu", "implicit_uneven_bf16", "at + e < length && column", "column", "out of bounds", "call.weight["),
    ("convolution.cu", "implicit_uneven_bf16", "inside(i, y, x) ? call.x[from]", "inside(i, y, 0) ? call.x[from]", "out of bounds", "? call.x[from]"),
    ("convolution.cu", "depthwise_f32", "i < g.kh && top + i < g.height", "i < g.kh", "out of bounds", "sum += wide(x[from])"),
    ("upsample.cu", "upsample_f32", "min(top + 1, height - 1)", "top + 1", "out of bounds", "wide(image["),
    ("flash.cu", "flash_64_bf16", "the next takes.\n        __syncthreads();", "the next takes.", "race on shared memory", "tensor_core::ldmatrix_x4(b, k +"),
    ("flash.cu", "flash_64_bf16", "const int key = mine.key + tile * KEYS + place;\n        return key < mine.keys", "const int key = mine.key + tile * KEYS + place;\n        return key <= mine.keys", "out of bounds", "copy_async_16(into"),
    ("flash.cu", "flash_64_bf16", "        if (row >= mine.rows) continue;\n", "", "out of bounds", "*reinterpret_cast<uint32_t*>(out + column)"),
    ("flash.cu", "flash_64_bf16", "return r < mine.rows ?", "return r <= mine.rows ?", "out of bounds", "copy_async_16(into"),
    ("flash.cu", "flash_64_bf16", "PITCH = D + 8;\n    constexpr int GROUPS", "PITCH = D + 4;\n    constexpr int GROUPS", "misaligned access", "tensor_core::ldmatrix_x4(b, k +"),
    ("flash.cu", "flash_80_f16", "fetch<D>(values[tile % 2], mine.v, KEYS, s.d, aligned, of(s.v_token));", "fetch<D>(values[0], mine.v, KEYS, s.d, aligned, of(s.v_token));", "race on shared memory", "tensor_core::ldmatrix_x4_trans(b, v"),
    ("flash.cu:attention.cuh", "flash_80_f16", "mine.keys = segments ? int(segments[blockIdx.y + 1])", "mine.keys = segments ? int(segments[blockIdx.y + 2])", "out of bounds", "segments[blockIdx.y + 2]"),
    ("flash.cu", "flash_128_bf16", "k * 16);\n        }\n        __syncthreads();", "k * 16);\n        }", "race on shared memory", "copy_async_16(into"),
    ("flash.cu", "flash_bias_32_bf16", "BIASED && seen", "BIASED", "out of bounds", "wide(biases[i / 2]"),
    ("flash.cu", "flash_grid16_64_bf16", "y < s.grid_rows && x < s.grid_columns", "x < s.grid_columns", "out of bounds", "copy_async_16(into"),
    ("flash.cu", "flash_grid16_64_bf16", "y < s.grid_rows ? wide(downs[half][y]) * LOG2_E : NEVER", "wide(downs[half][y]) * LOG2_E", "out of bounds", "wide(downs[half][y])"),
    ("flash.cu", "flash_grid64_64_bf16", "x < s.grid_columns ? wide(along", "x <= s.grid_columns ? wide(along", "out of bounds", "wide(along["),
    ("flash.cu:attention.cuh", "flash_ragged_64_bf16", "mine.keys = min(mine.keys, last + mine.offset + 1);", "mine.keys = last + mine.offset + 2;", "out of bounds", "copy_async_16(into"),
    ("attention.cu", "attention_64_f32", "s.v_token : -1; });\n        __syncthreads();", "s.v_token : -1; });", "race on shared memory", "const float4 key ="),
    ("attention.cu", "attention_64_f32", "        __syncwarp();\n", "", "race on shared memory", "share[i] = shares["),
    ("attention.cu", "attention_64_f32", "            }\n        }\n        __syncthreads();\n    }", "            }\n        }\n    }", "race on shared memory", "= x;"),
    ("attention.cu", "attention_64_f32", "(first + i) * s.k_token : -1", "(first + i) * s.q_token : -1", "out of bounds", "x = *reinterpret_cast<const float4*>"),
    ("attention.cu", "attention_128_f32", "if (seen && down)", "if (down)", "out of bounds", "added = down["),
    ("attention.cu:attention.cuh", "attention_ragged_32_f32", "mine.rows = all.queries[sequence]", "mine.rows = all.keys[sequence]", "out of bounds", "*reinterpret_cast<const float4*>"),
    ("rotary.cu", "rotate_f32", "    if (i >= half) return;\n    for (int row", "    for (int row", "out of bounds", "turn(from[0]"),
    ("rotary.cu", "place_f32", "behind + token) *", "behind + token + 1) *", "out of bounds", "out[i"),
    ("rotary.cu", "place_f32", "(row - heads) % kv_heads", "row - heads", "out of bounds", "out[i"),
    ("masks.cu", "mask_facts_f32", "~0u : 0;\n    __syncthreads();", "~0u : 0;", "uninitialised read", "atomicAdd(&found[1]"),
    ("masks.cu", "mask_facts_f32", "bottom);\n    __syncthreads();", "bottom);", "race on shared memory", "atomicAdd(&found[0]"),
    ("masks.cu", "mask_facts_f32", "atomicAdd(&found[1], above_low)", "found[1] += above_low", "race on shared memory", "found[1] += above_low"),
    ("masks.cu", "mask_facts_f32", "(y1 - y0);", "(y1 - y0 + 1);", "out of bounds", "value = wide(mask["),
    ("masks.cu", "draw_masks_f32", "row < bottom", "row <= bottom", "out of bounds", "near |= wide(cells"),
    ("masks.cu", "draw_masks_f32", "j < end; ++j", "j <= end; ++j", "out of bounds", "tall = __fadd_rn"),
    ("masks.cu", "draw_masks_f32", "words + word) * width + x", "words + word) * (width + 1) + x", "out of bounds", "words + word) * (width + 1) + x"),
    ("masks.cu", "draw_masks_f32", "(size_t)words + word)", "(size_t)words + 0)", "race on global memory", "(size_t)words + 0)"),
    ("masks.cu", "draw_masks_f32", "if (place < 6) found[place] = 0;", "", "uninitialised read", "atomicAdd(&found[0]"),
    ("masks.cu", "draw_masks_f32", "if (!__syncthreads_or(near)) return;", "", "race on shared memory", "found[place] = 0"),
    ("masks.cu", "draw_masks_f32", "    __syncthreads();\n    if (place < 2)", "    if (place < 2)", "race on shared memory", "found[place])"),
    ("masks.cu", "draw_masks_f32", "atomicAdd(&facts[blockIdx.y * 6 + place], found[place])", "facts[blockIdx.y * 6 + place] += found[place]", "race between blocks", "facts[blockIdx.y * 6 + place] +="),
    ("masks.cu", "crop_bits_u32", "i < n; i +=", "i <= n; i +=", "out of bounds", "out[box[5] + i]"),
    ("masks.cu", "crop_bits_u32", "(box[0] * (size_t)words", "(box[0] * (size_t)width", "out of bounds", "out[box[5] + i]"),
    ("argmax.cu", "penalise_f32", "tokens[i] & 0x7fffffffu", "tokens[i]", "out of bounds", "= -INFINITY"),
    ("argmax.cu", "penalise_f32", "i < end; i +=", "i <= end; i +=", "out of bounds", "float& logit"),
    ("argmax.cu", "argmax_f32", "token < vocabulary; token", "token <= vocabulary; token", "out of bounds", "row[token]"),
    ("decoding.cu", "begin_step_f32", "if (i >= half) continue;", "", "out of bounds", "cos[row * half + i]"),
    ("decoding.cu", "begin_step_f32", "(counts[STEPS] *", "((counts[STEPS] + 1) *", "out of bounds", "cos[row * half + i]"),
    ("decoding.cu", "likeliest_f32", "token < vocabulary; token", "token <= vocabulary; token", "out of bounds", "noted[first + token]"),
    ("decoding.cu", "likeliest_f32", "atomicMax(&best[blockIdx.y], own)", "best[blockIdx.y] = own", "race between blocks", "best[blockIdx.y] = own"),
    ("decoding.cu", "end_step_f32", "    if (row >= rows) return;\n", "", "out of bounds", "best[row] == 0"),
    ("decoding.cu", "end_step_f32", "row * (size_t)vocabulary + token]", "(row + 1) * (size_t)vocabulary + token]", "out of bounds", "(of_it & ENDS)"),
    ("sampling.cu", "count_tokens_f32", "token < vocabulary; token", "token <= vocabulary; token", "out of bounds", "atomicAdd(&bins["),
    ("sampling.cu", "count_tokens_f32", "atomicAdd(&bins[blockIdx.y * BINS + (order_of(row[token]) >> BIN_SHIFT)], 1u)", "bins[blockIdx.y * BINS + (order_of(row[token]) >> BIN_SHIFT)] += 1", "race between blocks", "] += 1"),
    ("sampling.cu", "top_tokens_f32", "        if (at >= most) continue;\n", "", "out of bounds", "found[1 + 2 * at]"),
    ("sampling.cu", "top_tokens_f32", "sums[threadIdx.x] = sum;\n    __syncthreads();", "sums[threadIdx.x] = sum;", "uninitialised read", "while (group > 0"),
    ("sampling.cu", "top_tokens_f32", "    }\n    __syncthreads();\n    const float* row", "    }\n    const float* row", "race on shared memory", "< lowest"),
    ("sampling.cu", "best_tokens_f32", "token < vocabulary; token += step) {\n        if (!(bits[token / 32] >> token % 32 & 1) || !(row[token] > -INFINITY)) continue;\n        const", "token <= vocabulary; token += step) {\n        if (!(row[token] > -INFINITY)) continue;\n        const", "out of bounds", "row[token] > -INFINITY"),
    ("sampling.cu", "best_tokens_f32", "keys[threadIdx.x] = keys[threadIdx.x + half];\n        __syncthreads();", "keys[threadIdx.x] = keys[threadIdx.x + half];", "race on shared memory", "keys[threadIdx.x + half]"),
    ("sampling.cu", "best_tokens_f32", "    if (threadIdx.x > 0) return;\n", "", "race on global memory", "parts[0] = key"),
    ("picture.cu", "resize_bytes_u8", "i < axis[n + to + 1]; ++i, cells += step) sum", "i <= axis[n + to + 1]; ++i, cells += step) sum", "out of bounds", "sum += weights[i]"),
    ("picture.cu", "resize_bytes_u8", "row * (size_t)to * inner + i] = mixed", "row * (size_t)from * inner + i] = mixed", "out of bounds", "] = mixed("),
    ("picture.cu", "picture_planes_f32", "levels[channel * 256 + pass.at(column, row, channel)] : 0.f", "levels[(channel + 1) * 256 + pass.at(column, row, channel)] : 0.f", "out of bounds", "narrow<T>(inside"),
    ("picture.cu", "picture_planes_f32", "    if (column >= columns) return;\n    for (int line = blockIdx.y * blockDim.y + threadIdx.y; line < CHANNELS * rows", "    for (int line = blockIdx.y * blockDim.y + threadIdx.y; line < CHANNELS * rows", "out of bounds", "narrow<T>(inside"),
    ("picture.cu", "picture_patches_f32", "(plane * (size_t)frames + frame)", "(plane * (size_t)frames + frame + 1)", "out of bounds", "frame + 1) * square"),
    ("picture.cu", "picture_patches_f32", "inner / merge) * side", "inner / merge + 1) * side", "out of bounds", "sum += weights[i]"),
    ("picture.cu", "picture_floats_f32", "j < end; ++j", "j <= end; ++j", "out of bounds", "wide = __dadd_rn"),
    ("picture.cu", "picture_floats_f32", "cells[(j - begin) * CHANNELS]", "cells[(j - begin + 1) * CHANNELS]", "out of bounds", "wide = __dadd_rn"),
    ("argmax.cu", "argmax_f32", "atomicMax(&best[blockIdx.y], own)", "best[blockIdx.y] = own", "race between blocks", "best[blockIdx.y] = own"),
    ("relative.cu", "relative_f32", "    __syncthreads();\n", "", "race on shared memory", "tokens[(y + i * 16)"),
    ("relative.cu", "relative_f32", "if (at < side && x", "if (x", "out of bounds", "to[token"),
]
