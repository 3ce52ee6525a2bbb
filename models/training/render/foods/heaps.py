"""Heaps: a mound with stamped grains, strands, cubes or leaves, as a height field over the dish."""

import math

import numpy as np
import torch

from ..field import CELL, colour, mix, noise, smooth
from .shapes import vary


def stamp(rng, height, n, xs, ys, base, size, shape="grain", bend=0.0, spread=0.4, sink=0.4, tilt=0.3, drape=0.0):
    """Puts n grains at (xs, ys) (cells of `height`, (h,w)) on the surface `base`: the highest wins.

    size (length, width, thickness) half axes in cm, each grain's own factor 1 +- spread/2. Returns the new heights, the winning
    grain's number (-1 where none). `drape` 1 lays a grain along the surface, 0 keeps it level.
    """
    h, w = height.shape
    dev = height.device
    n = len(xs)
    T = lambda a: torch.as_tensor(a, dtype=torch.float32, device=dev)
    factor = T(rng.uniform(1 - spread / 2, 1 + spread / 2, n))[:, None, None]
    l, b, c = (s * factor for s in size)
    yaw = T(rng.uniform(0, 2 * math.pi, n))[:, None, None]
    k = int(math.ceil(max(size[0], size[1]) * (1 + spread / 2) / CELL)) + 1
    o = torch.arange(-k, k + 1, device=dev)
    ix, iy = T(xs).long(), T(ys).long()
    cx, cy = ix[:, None, None] + o[None, None, :], iy[:, None, None] + o[None, :, None]
    dx, dy = (o * CELL)[None, None, :].float(), (o * CELL)[None, :, None].float()
    u, v = dx * yaw.cos() + dy * yaw.sin(), dy * yaw.cos() - dx * yaw.sin()
    if bend:
        bends = T(rng.normal(0, bend, n))[:, None, None]
        v = v - bends * u * u + bends * l * l * 0.3
    if shape == "grain":
        q = (u / l) ** 2 + (v / b) ** 2
        z = c * (1 - q).clamp_min(0).sqrt()
    elif shape == "strand":
        q = (v / b) ** 2 + ((u.abs() - l + b).clamp_min(0) / b) ** 2
        z = c * (1 - q).clamp_min(0).sqrt()
    elif shape == "cube":
        q = torch.maximum((u / l).abs(), (v / b).abs())
        z = c * (1 - 0.35 * q**6)
    else:                                                                                  # leaf: a cupped, wavy sheet
        wob = 1 + 0.22 * torch.sin(5 * torch.atan2(v, u) + 20 * yaw)
        q = ((u / l) ** 2 + (v / b) ** 2) / wob**2
        z = c * (0.2 + 0.9 * q + 0.3 * torch.sin(u * 3 + 9 * yaw) * q)
    slope = T(rng.normal(0, tilt, (2, n)))[:, :, None, None]
    z = z + slope[0] * u + slope[1] * v
    at = (cy.clamp(0, h - 1) * w + cx.clamp(0, w - 1))
    level = (1 - drape) * base.reshape(-1)[iy * w + ix][:, None, None] + drape * base.reshape(-1)[at] - sink * c * T(rng.uniform(0, 2, n))[:, None, None]
    z = z + level
    ok = (q < 1) & (cx >= 0) & (cx < w) & (cy >= 0) & (cy < h)
    key = ((z + 4).clamp(0, 40) * 20000).long() * 16384 + torch.arange(n, device=dev)[:, None, None]
    flat = at.expand_as(key)
    best = torch.zeros(h * w, dtype=torch.long, device=dev)
    best.scatter_reduce_(0, flat[ok], key[ok], "amax")
    best = best.reshape(h, w)
    z = (best // 16384).float() / 20000 - 4
    who = torch.where((best > 0) & (z > height), best % 16384, -1)
    return torch.where(who >= 0, z, height), who


def scatter(rng, mask_fn, n, reach):
    """n points (cm) uniform in the square +-reach."""
    return rng.uniform(-reach, reach, (2, n))


def paint(rng, device, rgb, who, palette, weights=None, light=0.18):
    """Colours of the stamped grains from a palette."""
    if not len(palette):
        return rgb
    n = int(who.max()) + 1
    if n <= 0:
        return rgb
    pick = rng.choice(len(palette), n, p=None if weights is None else np.array(weights) / sum(weights))
    c = np.asarray(palette, float)[pick] * rng.uniform(1 - light, 1 + light, (n, 1))
    c = colour(device, np.clip(c, 3, 252))
    return torch.where((who >= 0)[..., None], c[who.clamp_min(0)], rgb)


def mound(rng, rho, theta, R, H, shape=0.85, lumps=0.12):
    """Heights of a mound with a lobed outline; below 0 beyond it."""
    out = torch.ones_like(rho)
    for k in (1, 2, 3, 4, 6):
        out = out + rng.normal(0, lumps / (k + 1)) * torch.cos(k * theta + rng.uniform(0, 6.28))
    t = 1 - (rho / (R * out)) ** 2
    return torch.where(t > 0, H * t.clamp_min(0) ** shape, t.clamp_min(-0.5) * 0.8), t
