"""Plates, bowls and boards: profiles turned about the vertical, glazes and patterns."""

import math

import numpy as np
import torch

from .field import colour, mix, noise, smooth
from .table import WOODS, jitter

GLAZES = [(236, 236, 232)] * 9 + [(214, 208, 196), (150, 170, 180), (60, 72, 92), (80, 110, 140), (150, 160, 130), (196, 150, 124), (200, 188, 184),
                                  (70, 74, 80), (170, 196, 200), (188, 190, 150), (230, 222, 204), (60, 130, 160)]
INKS = [(40, 60, 120), (150, 40, 40), (40, 100, 70), (170, 120, 50), (60, 60, 64), (50, 130, 150), (110, 60, 40)]


class Dish:
    """Where foods may lie: kind, centre (cm), radius of the level part, radius at most, half size for boards, height of the level part,
    outer diameter of what is round."""

    def __init__(self, kind, x, y, level, reach, half=None, angle=0.0, height=0.0, depth=0.0, diameter=None):
        self.kind, self.x, self.y, self.level, self.reach, self.half, self.angle = kind, x, y, level, reach, half, angle
        self.height, self.depth, self.diameter = height, depth, diameter


def glaze(rng, device, x, y, rho, radius, dots):
    """Linear albedo of glazed ware: rings, dots or speckles near the rim."""
    base, ink = jitter(rng, GLAZES[rng.integers(len(GLAZES))], 10), jitter(rng, INKS[rng.integers(len(INKS))], 20)
    rgb = colour(device, base).expand(*rho.shape, 3)
    ink_t = colour(device, ink)
    kind = rng.choice(["plain", "line", "two", "rim", "dots"], p=[0.58, 0.15, 0.08, 0.09, 0.10])
    d = radius - rho
    if kind in ("line", "two"):
        a = rng.uniform(0.15, 0.9)
        t = smooth((d - a).abs(), 0.16, 0.08)
        if kind == "two":
            t = torch.maximum(t, smooth((d - a - rng.uniform(0.4, 1.2)).abs(), 0.16, 0.08))
        rgb = mix(rgb, ink_t, t * 1.0)
    elif kind == "rim":
        rgb = mix(rgb, ink_t, smooth(d, rng.uniform(0.3, 2.2), 0.2))
    elif kind == "dots" and dots:
        n, ring = int(rng.integers(16, 40)), rng.uniform(1.0, 2.2)
        theta = torch.atan2(y, x) * (n / (2 * math.pi))
        off = (theta - theta.round()) * (2 * math.pi / n) * (radius - ring)
        r = ((off / rng.uniform(0.3, 0.55)) ** 2 + ((d - ring) / rng.uniform(0.2, 0.4)) ** 2).sqrt()
        rgb = mix(rgb, ink_t, smooth(r, 1.1, 0.9))
    if rng.random() < 0.2:
        speck = noise(x, y, 3, 2.2, rng.random())
        rgb = mix(rgb, ink_t * 0.7, smooth(speck, 2.0, 2.5) * 0.7)
    return rgb * (1 + 0.012 * noise(x, y, 1, 4.0, rng.random()))[..., None]


def plate(field, rng, x, y, diameter=None):
    R = (diameter or rng.uniform(20, 30)) / 2
    height, well = rng.uniform(1.5, 2.8), rng.uniform(0.55, 0.75)
    level, foot = R * rng.uniform(0.58, 0.7), R * rng.uniform(0.5, 0.62)
    got = field.patch(x, y, R + 0.5)
    if got is None:
        return None
    where, px, py = got
    px, py = px - x, py - y
    rho = torch.sqrt(px**2 + py**2)
    u = ((rho - level) / (R - level)).clamp_min(0)
    coupe = rng.random() < 0.35
    if coupe:
        rise = u**2
    else:                                                                                  # a step up to a flat rim
        k = rng.uniform(0.25, 0.45)
        rise = 0.6 * smooth(u, 0.0, k) + 0.4 * (u - k * 0.6).clamp_min(0) / (1 - k * 0.6)
    top = well + (height - well) * rise
    under = (rho - foot).clamp_min(0) / (R - foot)
    bottom = torch.where(rho < foot, 0.0, 0.02 + (height - 0.45) * under**1.3)
    edge = (R - rho)
    top = torch.where(edge > 0, top - 0.2 + 0.2 * (1 - (1 - (edge / 0.25).clamp(0, 1)) ** 2).sqrt(), height - 0.3 + edge * 3)
    bottom = torch.where(edge > 0, bottom, height - 0.3 - edge * 3)
    rgb = glaze(rng, field.device, px, py, rho, R, True)
    field.put(0, where, top, bottom, rgb, rng.uniform(0.35, 1.0), field.material(200))
    return Dish("plate", x, y, level, R * 0.86, height=well, diameter=2 * R)


def bowl(field, rng, x, y, diameter=None):
    R = (diameter or rng.uniform(11.8, 19.9)) / 2
    height, well = rng.uniform(4.2, 7.7), rng.uniform(0.6, 0.9)
    level, power = R * rng.uniform(0.3, 0.5), rng.uniform(1.5, 2.4)
    got = field.patch(x, y, R + 0.5)
    if got is None:
        return None
    where, px, py = got
    px, py = px - x, py - y
    rho = torch.sqrt(px**2 + py**2)
    inner = R - 0.35
    top = well + (height - well) * ((rho - level).clamp_min(0) / (inner - level)) ** power
    foot = level * 0.95
    bottom = torch.where(rho < foot, 0.0, 0.1 + (height - 0.1) * ((rho - foot).clamp_min(0) / (R - foot)) ** (power * 1.05) * 0.97)
    edge = R - rho
    top = torch.where(edge > 0.35, top, torch.where(edge > 0, height + 0.08 * (1 - ((edge - 0.17) / 0.18) ** 2).clamp_min(0), height - 0.2 + edge * 4))
    bottom = torch.where(edge > 0, bottom.clamp(max=height - 0.15), height - 0.2 - edge * 4)
    rgb = glaze(rng, field.device, px, py, rho, R, False)
    out = None if rng.random() < 0.5 else jitter(rng, GLAZES[rng.integers(len(GLAZES))], 10)
    field.put(0, where, top, bottom, rgb, rng.uniform(0.3, 1.0), field.material(201, under=out))
    return Dish("bowl", x, y, level, inner - 0.2, height=well, depth=height, diameter=2 * R)


def board(field, rng, x, y):
    a, b, h = rng.uniform(26, 40) / 2, rng.uniform(18, 26) / 2, rng.uniform(1.3, 1.95)
    angle, r = rng.normal(0, 0.2), rng.uniform(0.3, 3)
    got = field.patch(x, y, math.hypot(a, b) + 0.3)
    if got is None:
        return None
    where, px, py = got
    u, v = turned(px - x, py - y, angle)
    d = box_distance(u, v, a, b, r)
    top = torch.where(d < 0, h - 0.15 + 0.15 * (1 - (1 + d.clamp(-0.15, 0) / 0.15) ** 2).clamp_min(0).sqrt(), h / 2 - d * 8)
    bottom = torch.where(d < 0, 0.0, h / 2 + d * 8)
    c = colour(field.device, jitter(rng, WOODS[rng.integers(len(WOODS))]))
    row = (v / rng.uniform(4, 8)).floor()
    streak = noise(u * 0.5 + row * 31, v, 4, 9.0, rng.random())
    rgb = c * (1 + 0.16 * streak + 0.1 * torch.sin(row * 5.1))[..., None].clamp(0.3, 1.5)
    field.put(0, where, top, bottom, rgb, rng.uniform(0, 0.3), field.material(202))
    return Dish("board", x, y, min(a, b) * 0.9, math.hypot(a, b), half=(a * 0.92, b * 0.9), angle=angle, height=h)


def turned(x, y, angle):
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def box_distance(u, v, a, b, r=0.0):
    """Signed distance to a rectangle of half sides a, b with corners of radius r; negative inside."""
    qx, qy = u.abs() - a + r, v.abs() - b + r
    return torch.sqrt(qx.clamp_min(0) ** 2 + qy.clamp_min(0) ** 2) + torch.maximum(qx, qy).clamp(max=0) - r
