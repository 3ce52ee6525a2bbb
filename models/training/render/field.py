"""The scene's geometry: two layers of solids over the table, each a pair of height maps on a grid aligned with the table.

Layer 0 holds dishes and table objects, layer 1 foods. A column is solid for bottom < z < top, so that what overhangs (a sphere below
its equator, a plate's rim) is kept. Where a column is empty top < bottom, and the two cross smoothly at a silhouette.
Lengths are centimetres; the table top is z = 0; the grid's centre is the origin.
"""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch

CELL = 0.08                 # cm
SIDE = 832                  # cells: 66.6 cm
HALF = CELL * SIDE / 2
EMPTY = 0.6                 # how far top falls below bottom outside a solid, at most (cm)
BANDS = 16                  # colours of a side, from its foot to its top


@lru_cache(maxsize=None)
def noise_bank(device: str):
    """(7,1,512,512) tileable textures of mean 0 and deviation 1: 4 of falling roughness, streaks along x, veins, knobs."""
    rng = np.random.default_rng(20240)
    f = np.fft.fftfreq(512)[:, None] ** 2 + np.fft.fftfreq(512)[None] ** 2
    out = []
    for power, low in ((1.0, 2), (1.5, 3), (2.0, 4), (0.5, 12)):
        spectrum = np.where(f > 0, 1, 0) / (np.sqrt(f) + low / 512) ** power
        out.append(np.fft.ifft2(np.fft.fft2(rng.standard_normal((512, 512))) * spectrum).real)
    fx, fy = np.fft.fftfreq(512)[None], np.fft.fftfreq(512)[:, None]
    streak = 1 / (np.sqrt((fx * 40) ** 2 + fy**2 + 1e-9) + 3 / 512) ** 1.2
    out.append(np.fft.ifft2(np.fft.fft2(rng.standard_normal((512, 512))) * streak).real)
    veins = np.abs(out[1] - out[1].mean())
    out.append(-np.sqrt(veins / veins.std()))
    points = np.ones((512 * 3, 512 * 3), np.uint8)
    at = rng.integers(0, 512, (1500, 2))
    for dx in (0, 512, 1024):
        for dy in (0, 512, 1024):
            points[at[:, 0] + dx, at[:, 1] + dy] = 0
    reach = cv2.distanceTransform(points, cv2.DIST_L2, 5)[512:1024, 512:1024].astype(float)
    out.append(-(np.minimum(reach, 16) ** 2))
    out = [(a - a.mean()) / a.std() for a in out]
    return torch.tensor(np.stack(out)[:, None], dtype=torch.float32, device=device)


def noise(x, y, kind, scale, shift=0.0):
    """Noise at (x, y) cm; `scale` cm is the period of the texture's largest features (an eighth of its side)."""
    bank = noise_bank(str(x.device))[kind, 0]
    u = torch.remainder(x * (64 / scale) + 512 * math.modf(shift * 7.31 + 0.137)[0], 512.0)
    v = torch.remainder(y * (64 / scale) + 512 * math.modf(shift * 3.77 + 0.591)[0], 512.0)
    i, j = u.floor(), v.floor()
    a, b = u - i, v - j
    i, j = i.long() & 511, j.long() & 511
    i1, j1 = (i + 1) & 511, (j + 1) & 511
    flat = bank.reshape(-1)
    top = torch.lerp(flat[j * 512 + i], flat[j * 512 + i1], a)
    low = torch.lerp(flat[j1 * 512 + i], flat[j1 * 512 + i1], a)
    return torch.lerp(top, low, b)


def linear(c):
    """sRGB 0..255 (or 0..1 arrays above 1 never) to linear light."""
    c = np.asarray(c, np.float64) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def colour(device, c):
    return torch.tensor(linear(c), dtype=torch.float32, device=device)


def mix(a, b, t):
    """Between colours a and b (3,) or (...,3) by t (...), clipped to 0..1."""
    return a + (b - a) * t.clamp(0, 1)[..., None]


def smooth(x, lo, hi):
    t = ((x - lo) / (hi - lo)).clamp(0, 1)
    return t * t * (3 - 2 * t)


class Layer:
    def __init__(self, device):
        s = (SIDE, SIDE)
        self.top = torch.full(s, -EMPTY / 2, device=device)
        self.bottom = torch.full(s, EMPTY / 2, device=device)
        self.albedo = torch.zeros(s + (4,), device=device)      # linear rgb, gloss
        self.material = torch.zeros(s, dtype=torch.long, device=device)


class Field:
    """Two layers and the table of materials: mask id, colour of undersides, bands of a side's colours."""

    def __init__(self, device):
        self.device = torch.device(device)
        self.layers = [Layer(self.device), Layer(self.device)]
        self.ids, self.under, self.bands = [0], [None], [None]
        self.metal, self.glass = [0.0], [(0.0, 0.0)]

    def material(self, mask_id, under=None, bands=None, metal=0.0, glass=(0.0, 0.0)):
        self.ids.append(mask_id), self.under.append(under), self.bands.append(bands)
        self.metal.append(metal), self.glass.append(glass)
        return len(self.ids) - 1

    def patch(self, x, y, reach):
        """Slices and the cells' coordinates (cm) of the square within `reach` of (x, y); None when outside the grid."""
        i0, i1 = (max(0, int((c - reach + HALF) / CELL)) for c in (x, y))
        j0, j1 = (min(SIDE, int((c + reach + HALF) / CELL) + 2) for c in (x, y))
        if j0 - i0 < 3 or j1 - i1 < 3:
            return None
        xs = (torch.arange(i0, j0, device=self.device) + 0.5) * CELL - HALF
        ys = (torch.arange(i1, j1, device=self.device) + 0.5) * CELL - HALF
        return (slice(i1, j1), slice(i0, j0)), xs[None].expand(j1 - i1, -1), ys[:, None].expand(-1, j0 - i0)

    def support(self, where):
        """Height of the dish or table under the foods."""
        d = self.layers[0]
        t, b = d.top[where], d.bottom[where]
        return torch.where(t > b, t, 0.0).clamp_min(0)

    def put(self, layer, where, top, bottom, albedo, gloss, material):
        """Writes a solid where it is more solid than what is there; albedo linear (3,) or (h,w,3), gloss number or (h,w)."""
        d = self.layers[layer]
        gap = (top - bottom).clamp_min(-EMPTY)
        mid = (top + bottom) / 2
        outside = top < bottom
        top, bottom = torch.where(outside, mid + gap / 2, top), torch.where(outside, mid - gap / 2, bottom)
        win = gap >= (d.top[where] - d.bottom[where])
        h, w = win.shape
        if not torch.is_tensor(gloss):
            gloss = torch.full((h, w), float(gloss), device=self.device)
        rgba = torch.cat([albedo.expand(h, w, 3).clamp(0.0, 1.0), gloss[..., None]], -1)
        d.top[where] = torch.where(win, top, d.top[where])
        d.bottom[where] = torch.where(win, bottom, d.bottom[where])
        d.albedo[where] = torch.where(win[..., None], rgba, d.albedo[where])
        d.material[where] = torch.where(win, material, d.material[where])

    def tables(self):
        """Material tables as tensors: ids (M,), under (M,4: rgb, used), bands (M,BANDS,4), metal (M,), glass (M,)."""
        m = len(self.ids)
        under, bands = np.zeros((m, 4), np.float32), np.zeros((m, BANDS, 4), np.float32)
        for i in range(m):
            if self.under[i] is not None:
                under[i] = [*linear(self.under[i]), 1]
            if self.bands[i] is not None:
                edges = [e for e, _ in self.bands[i]]
                for k in range(BANDS):
                    j = max(0, sum(e <= (k + 0.5) / BANDS for e in edges) - 1)
                    bands[i, k] = [*linear(self.bands[i][j][1]), 1]
        put = lambda a: torch.as_tensor(np.asarray(a), device=self.device)
        return (put(np.array(self.ids, np.uint8)), put(under), put(bands),
                put(np.array(self.metal, np.float32)), put(np.array(self.glass, np.float32)))
