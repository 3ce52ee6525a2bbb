"""Closed shapes in local coordinates (u, v) cm: height maps top and bottom over z = 0, smooth beyond their outline.

Each function returns (top, bottom); `Look` paints them.
"""

import math
from dataclasses import dataclass, field as dc_field
from typing import Any

import numpy as np
import torch

from ..field import colour, mix, noise, smooth


def signed_power(t, p):
    return torch.sign(t) * t.abs().clamp_min(1e-9) ** p


def lobes(rng, u, v, amount, orders=(2, 3, 4, 5)):
    """A factor on the radius by direction, 1 on average."""
    theta = torch.atan2(v, u)
    out = torch.ones_like(u)
    for k in orders:
        out = out + rng.normal(0, amount / k) * torch.cos(k * theta + rng.uniform(0, 6.28))
    return out


def turned_solid(u, v, R, H, equator=0.5, power=0.5, outline=None, dimple=0.0, dimple_width=0.25):
    """Solid of revolution about the vertical: a ball at power 0.5, nearly a disc at 0.2; widest at equator * H."""
    rho = torch.sqrt(u**2 + v**2) / (1.0 if outline is None else outline)
    s = signed_power(1 - (rho / R) ** 2, power).clamp_min(-0.6)
    top = equator * H + (1 - equator) * H * s - dimple * H * torch.exp(-((rho / (R * dimple_width)) ** 2))
    return top, equator * H * (1 - s)


def torus(u, v, R, r, squash=1.0):
    d = torch.sqrt(u**2 + v**2) - R
    s = signed_power(1 - (d / r) ** 2, 0.5).clamp_min(-0.6)
    return r * squash * (1 + s), r * squash * (1 - s)


def spine(u, v, bend):
    """Along and across an arc of curvature `bend` (1/cm) through the origin."""
    if abs(bend) < 1e-3:
        return u, v
    R = 1 / bend
    phi = torch.atan2(u * math.copysign(1, R), (R - v) * math.copysign(1, R))
    return phi * abs(R), R - math.copysign(1, R) * torch.sqrt(u**2 + (R - v) ** 2)


def tube(u, v, L, radius, bend=0.0, squash=1.0, rest=0.6):
    """Swept along an arc of length L; radius(x) in cm at x in -1..1 along it, falling to 0 at the ends."""
    s, d = spine(u, v, bend)
    x = 2 * s / L
    r = torch.where(x.abs() < 1, radius(x.clamp(-1, 1)), -0.02 - (x.abs() - 1) * L / 2)
    peak = float(radius(torch.linspace(-1, 1, 41, device=u.device)).max())
    half = torch.where(r > 0, signed_power(r * r - d * d, 0.5), -torch.sqrt(d * d + r * r)).clamp_min(-0.6) * squash
    mid = (rest * r.clamp_min(0) + (1 - rest) * peak) * squash
    return mid + half, mid - half, x, d / r.clamp_min(0.05)


def slab(d, H, rounding=0.2, foot=0.1):
    """Upright walls of an outline given by its signed distance d, rounded at the top edge and a little at the foot."""
    e = (-d / rounding).clamp(0, 1)
    f = (-d / foot).clamp(0, 1)
    top = H - rounding + rounding * (1 - (1 - e) ** 2).clamp_min(0).sqrt()
    bottom = foot - foot * (1 - (1 - f) ** 2).clamp_min(0).sqrt()
    mid = (H - rounding + foot) / 2
    return torch.where(d < 0, top, mid - 8 * d), torch.where(d < 0, bottom, mid + 8 * d)


def wedge_distance(u, v, R, opening, r=0.15):
    """Sector with its point at (-0.6 R, 0), of radius R."""
    x = u + 0.6 * R
    h = opening / 2
    side = x * -math.sin(h) + v.abs() * math.cos(h)
    return torch.maximum(side, torch.sqrt(x**2 + v**2) - R) + 0 * r


def half_solid(u, v, a, b, depth, taper=0.0):
    """Half of an egg-shaped solid, cut side up: (t, top, bottom), t 1 in the middle and 0 on the outline."""
    x = u / a
    y = v / (b * (1 + taper * x.clamp(-1.3, 1.3)))
    t = 1 - x * x - y * y
    s = signed_power(t, 0.5).clamp_min(-0.3)
    return t, torch.where(t > 0, depth, depth * 0.93 + depth * s), depth * (1 - s)


@dataclass
class Look:
    """How a solid is painted: top colours (h,w,3) linear, gloss, colour of the underside, bands of the sides, bump already in the heights."""

    rgb: Any
    gloss: Any = 0.1
    under: Any = None
    bands: Any = None


def mottled(rng, device, u, v, base, other, scale=1.5, amount=0.5, kind=1, grain=0.025):
    """Two colours mixed by noise, with a fine grain of lightness."""
    s = rng.random()
    t = 0.5 * amount + 0.35 * amount * noise(u, v, kind, scale, s)
    return mix(colour(device, base), colour(device, other), t) * (1 + grain * noise(u, v, 3, 0.8, s + 0.1))[..., None]


def bumpy(rng, u, v, amount, scale, kind=1):
    return amount * noise(u, v, kind, scale, rng.random())


def vary(rng, c, spread=10, light=0.12):
    return np.clip(np.asarray(c, float) * rng.uniform(1 - light, 1 + light) + rng.normal(0, spread * 0.5, 3), 4, 252)
