"""Numbers of ../../cu/flash.cu against plain Python, and faults that only numbers show. Run by faults.py."""

import math

from values import furthest

# Two query heads on one head of keys, causal behind 20 keys, in f16; three tiles of keys, of which the last is ragged.
CAUSAL = """
half = lambda values: [int.from_bytes(struct.pack('<e', v), 'little') for v in values]
h, n, m, w, offset = 2, 70, 150, 24, 80
value = lambda i, seed: ((i * 7919 + seed * 104729) % 1009 - 504) / 252
q, k, v = ([value(i, seed) for i in range(size)] for seed, size in ((1, n * h * w), (2, m * w), (3, m * w)))
y = d.empty('H', n * h * w)
s = attention_shape(heads=h, pack=h, queries=n, keys=m, d=w, offset=offset, tall=64)
d.launch(module, 'flash_32_f16', (s.tiles, 1), (128,), [*(d.upload('H', half(t)) for t in (q, k, v)), y, u64(0), s])
result = [q, k, v, [struct.unpack('<e', x.to_bytes(2, 'little'))[0] for x in y.read()]]
"""
# One head on a grid of 3 rows and 5 columns.
GRID = """
half = lambda values: [int.from_bytes(struct.pack('<e', v), 'little') for v in values]
n, rows, columns, w = 9, 7, 5, 16
value = lambda i, seed: ((i * 7919 + seed * 104729) % 1009 - 504) / 252
sizes = (n * w, rows * columns * w, rows * columns * w, n * rows, n * columns)
q, k, v, down, along = ([value(i, seed) for i in range(size)] for seed, size in enumerate(sizes))
y = d.empty('H', n * w)
s = attention_shape(queries=n, keys=rows * columns, d=w, tall=64, grid=(rows, columns))
given = [d.upload('H', half(t)) for t in (q, k, v)], [d.upload('H', half(t)) for t in (down, along)]
d.launch(module, 'flash_grid16_32_f16', (s.tiles, 1), (128,), [*given[0], y, *given[1], s])
result = [q, k, v, down, along, [struct.unpack('<e', x.to_bytes(2, 'little'))[0] for x in y.read()]]
"""


def attended(q, k, v, w, added):
    """One row: softmax of q . k / sqrt(w) + added(key), times v; an added None hides a key."""
    scores = [None if added(j) is None else sum(a * b for a, b in zip(q, k[j * w:])) * w ** -0.5 + added(j) for j in range(len(k) // w)]
    most = max(s for s in scores if s is not None)
    shares = [0 if s is None else math.exp(s - most) for s in scores]
    return [sum(p * v[j * w + c] for j, p in enumerate(shares)) / sum(shares) for c in range(w)]


def causal(q, k, v, got):
    h, n, w, offset = 2, 70, 24, 80
    gap = 0
    for row in range(0, n * h, 7):
        want = attended(q[row * w:(row + 1) * w], k, v, w, lambda j: 0 if j <= row // h + offset else None)
        gap = max(gap, furthest(want, got[row * w:]))
    return gap


def grid(q, k, v, down, along, got):
    n, rows, columns, w = 9, 7, 5, 16
    gap = 0
    for row in range(n):
        want = attended(q[row * w:(row + 1) * w], k, v, w, lambda j: down[row * rows + j // columns] + along[row * columns + j % columns])
        gap = max(gap, furthest(want, got[row * w:]))
    return gap


# (case, what to replace, by what): each leaves every access in bounds and in order.
FAULTS = [
    (causal, "key <= of_query[i / 2] + mine.offset", "key < of_query[i / 2] + mine.offset"),
    (causal, "first + KEYS - 1 <= mine.row / s.pack + mine.offset", "first <= mine.row / s.pack + mine.offset"),
    (causal, "                sums[n][half * 2] *= kept;\n", ""),
    (causal, "total[half] = total[half] * kept + sum;", "total[half] += sum;"),
    (causal, "ldmatrix_x4_trans(b, v", "ldmatrix_x4(b, v"),
    (causal, "product(score[2 * n + 1], query[step], right, T());", "product(score[2 * n + 1], query[step], left, T());"),
    (causal, "const float scale = s.scale * LOG2_E;", "const float scale = s.scale;"),
    (causal, "of(s.v_token));\n        tensor_core::copy_commit();", "of(s.v_token));"),
    (grid, "const int y = tile * GROUPS + group;", "const int y = tile * GROUPS;"),
    (grid, "x = place % PLACES;", "x = (place + 1) % PLACES;"),
    (grid, "x < s.grid_columns ? wide(along[at * s.grid_columns + x]) * LOG2_E : NEVER", "x < s.grid_columns ? wide(along[at * s.grid_columns + x]) * LOG2_E : 0"),
]


SOURCE = "flash.cu"
CASES = {causal: (CAUSAL, "flash_32_f16"), grid: (GRID, "flash_grid16_32_f16")}
TOLERANCE, SHOWN = 2e-3, 1e-2  # the rounding of f16, and what a fault must be off by
