"""Numbers of ../../cu/convolution.cu against plain Python, and faults that only numbers show. Run by faults.py."""

import math

from values import furthest

VALUES = "value = lambda i, seed: ((i * 7919 + seed * 104729) % 17 - 8) / 8\n"
# 3 x 2 windows two pixels apart on 9 x 8 pixels of 24 channels, 24 outputs, ReLU and a residual, in f16: four and a half steps.
WINDOWS = VALUES + """
half = lambda values: [int.from_bytes(struct.pack('<e', v), 'little') for v in values]
x, w, b, r = ([value(i, seed) for i in range(n)] for seed, n in enumerate((9 * 8 * 24, 24 * 144, 24, 25 * 24)))
y = d.empty('H', 25 * 24)
d.launch(module, 'implicit_f16', (1,), (128,), [*(d.upload('H', half(t)) for t in (x, w, b, r)), y, u64(0), *map(i32, (24, 1, 1, 3, 1, 1)),
                                                *map(i32, (1, 9, 8, 24, 3, 2, 2, 1, 5, 5))])
result = [x, w, b, r, [struct.unpack('<e', v.to_bytes(2, 'little'))[0] for v in y.read()]]
"""
# Cells of 2 x 3 on 3 x 4 pixels, 12 outputs, whose 40 terms two blocks share, in f32: one step and one and a half.
CELLS = VALUES + """
x, w, b = ([value(i, seed) for i in range(n)] for seed, n in enumerate((12 * 40, 72 * 40, 12)))
y, parts = d.empty('f', 12 * 72), d.empty('f', 2 * 12 * 72)
given = [*(d.upload('f', t) for t in (x, w, b)), u64(0), y, parts, *map(i32, (12, 2, 3, 0, 2, 1)), *map(i32, (1, 3, 4, 40, 1, 1, 1, 0, 3, 4))]
d.launch(module, 'implicit_f32', (4,), (128,), given)
d.launch(module, 'join_f32', (3, 2), (32, 8), given)
result = [x, w, b, y.read()]
"""
# 5 x 3 windows on 6 x 7 pixels of 3 channels, 10 outputs, in f32.
UNEVEN = VALUES + """
x, w = ([value(i, seed) for i in range(n)] for seed, n in enumerate((42 * 3, 10 * 45)))
y = d.empty('f', 54 * 10)
d.launch(module, 'implicit_uneven_f32', (1,), (128,), [d.upload('f', x), d.upload('f', w), u64(0), u64(0), y, u64(0), *map(i32, (10, 1, 1, 0, 1, 0)),
                                                       *map(i32, (1, 6, 7, 3, 5, 3, 1, 2, 6, 9))])
result = [x, w, y.read()]
"""
# 2 x 2 windows on 5 x 5 pixels of 12 channels, 40 outputs, as TF32: values of 12 bits, of which 11 count.
COARSE = """
x, w = ([(1 + (i * 7919 + seed) % 4096 / 4096) * (-1) ** (i // 3 % 2) for i in range(n)] for seed, n in enumerate((25 * 12, 40 * 48)))
y = d.empty('f', 16 * 40)
d.launch(module, 'implicit_tf32_f32', (1,), (128,), [d.upload('f', x), d.upload('f', w), u64(0), u64(0), y, u64(0), *map(i32, (40, 1, 1, 0, 1, 1)),
                                                     *map(i32, (1, 5, 5, 12, 2, 2, 1, 0, 4, 4))])
result = [x, w, y.read()]
"""


def convolved(x, w, height, width, channels, kh, kw, stride, padding):
    """Sums of every pixel, output by output."""
    window = kh * kw * channels
    for top in range(-padding, height + padding - kh + 1, stride):
        for left in range(-padding, width + padding - kw + 1, stride):
            inside = [(tap, (top + tap // kw) * width + left + tap % kw) for tap in range(kh * kw)
                      if 0 <= top + tap // kw < height and 0 <= left + tap % kw < width]
            for output in range(len(w) // window):
                yield sum(x[pixel * channels + c] * w[output * window + tap * channels + c] for tap, pixel in inside for c in range(channels))


def windows(x, w, b, r, got):
    sums = convolved(x, w, 9, 8, 24, 3, 2, 2, 1)
    return furthest((max(0, s + b[i % 24]) + r[i] for i, s in enumerate(sums)), got)


def cells(x, w, b, got):
    want = [None] * len(got)
    for i, s in enumerate(convolved(x, w, 3, 4, 40, 1, 1, 1, 0)):
        pixel, (cell, output) = i // 72, divmod(i % 72, 12)
        row, column = pixel // 4 * 2 + cell // 3, pixel % 4 * 3 + cell % 3
        want[(row * 12 + column) * 12 + output] = s + b[output]
    return furthest(want, got)


def uneven(x, w, got):
    return furthest(convolved(x, w, 6, 7, 3, 5, 3, 1, 2), got)


def coarse(x, w, got):
    """A thousand times, as sums of the rounded are right to f32."""
    tf32 = lambda values: [math.copysign(math.floor(abs(v) * 1024 + 0.5) / 1024, v) for v in values]
    return 1000 * furthest(convolved(tf32(x), tf32(w), 5, 5, 12, 2, 2, 1, 0), got)


# (case, what to replace, by what): each leaves every access in bounds and in order.
FAULTS = [
    (windows, "copy_wait<STAGES - 2>", "copy_wait<STAGES - 1>"),
    (windows, "if (++along == g.kw) along = 0, ++down;", "if (++down == g.kh) down = 0, ++along;"),
    (windows, "            channel += VECTORS * WIDTH<T>;\n", ""),
    (windows, "{b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]}", "{b[n / 2][n % 2], b[n / 2][n % 2 + 2]}"),
    (windows, "lane / 8 % 2 * WIDTH<T>;", "lane / 16 * WIDTH<T>;"),
    (windows, "(m * 16 + i % 4 / 2 * 8) * (COLUMNS + 8)", "(m * 16 + i % 2 * 8) * (COLUMNS + 8)"),
    (windows, "sums.add(tiles + step % STAGES * TILE);", "sums.add(tiles + (step + 1) % STAGES * TILE);"),
    (windows, "narrow<T>(residual ? sums[e] + wide(added.of[e]) : sums[e])", "narrow<T>(sums[e])"),
    (windows, "% g.out_height * g.stride - g.padding", "% g.out_height * g.stride"),
    (cells, "end = steps * (share + 1) / call.shares", "end = steps"),
    (cells, "if (begin + step < end) source", "if (begin + step + 1 < end) source"),
    (cells, "row % g.out_width * cell_columns + cell % cell_columns", "row % g.out_width * cell_columns + (cell + 1) % cell_columns"),
    (cells, "of[i][j] += a[i].w * b.w;", "of[i][j] += a[i].w * b.z;"),
    (windows, "            down = tap / g.kw;", "            down = tap;"),
    (coarse, "                tensor_core::round_for_product(a, UNIT());\n", ""),
    (coarse, "                tensor_core::round_for_product(b[n], UNIT());\n", ""),
    (uneven, "tap = (at + e) / g.channels, y = tap / g.kw, x = tap % g.kw", "tap = (at + e) / g.channels, y = tap / g.kh, x = tap % g.kh"),
    (uneven, "(size_t)(pixel[i] + y * g.width + x)", "(size_t)(pixel[i] + y * g.out_width + x)"),
]

SOURCE = "convolution.cu"
CASES = {coarse: (COARSE, "implicit_tf32_f32"), windows: (WINDOWS, "implicit_f16"), cells: (CELLS, "implicit_f32"), uneven: (UNEVEN, "implicit_uneven_f32")}
TOLERANCE, SHOWN = 2e-2, 1e-1  # the rounding of f16 at sums of some 30, and what a fault must be off by
