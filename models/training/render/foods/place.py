"""Where foods go: packing by their outlines in plan, settling on the dish, writing into the field."""

import math

import numpy as np
import torch

from ..dishes import turned
from ..field import CELL, Field


class Packing:
    """Free places on one dish, on a 0.25 cm raster."""

    STEP = 0.25

    def __init__(self, dish, reach=None):
        self.dish = dish
        self.side = dish.reach if reach is None else reach
        n = int(2 * self.side / self.STEP) + 1
        axis = (np.arange(n) + 0.5) * self.STEP - n * self.STEP / 2
        self.x, self.y = np.meshgrid(axis, axis)
        if dish.half is not None:
            c, s = math.cos(dish.angle), math.sin(dish.angle)
            u, v = c * self.x + s * self.y, c * self.y - s * self.x
            self.free = (abs(u) < dish.half[0]) & (abs(v) < dish.half[1])
        else:
            self.free = np.hypot(self.x, self.y) < dish.reach

    def find(self, rng, a, b, angle=None, near=None, spread=6.0, tries=40, margin=0.15):
        """Centre (cm, world) and angle of an ellipse with half axes a, b on free ground, or None; takes the ground."""
        a, b = a + margin, b + margin
        for k in range(tries):
            th = rng.uniform(0, 2 * math.pi) if angle is None else angle
            if near is None:
                lim = max(0.1, self.side - min(a, b) * 0.9) if k > 3 or len(self.free) == 0 else max(0.1, self.side * 0.35)
                x, y = rng.uniform(-lim, lim, 2)
            else:
                x, y = near[0] - self.dish.x + rng.normal(0, spread * (0.3 + k / tries)), near[1] - self.dish.y + rng.normal(0, spread * (0.3 + k / tries))
            c, s = math.cos(th), math.sin(th)
            dx, dy = self.x - x, self.y - y
            inside = ((c * dx + s * dy) / a) ** 2 + ((c * dy - s * dx) / b) ** 2 < 1
            if inside.sum() * self.STEP**2 > 0.93 * math.pi * a * b - 0.6 and self.free[inside].mean() > 0.985:
                self.free[inside] = False
                return x + self.dish.x, y + self.dish.y, th
        return None


def settle(field: Field, spot, reach, build, mask_id, sink=0.06):
    """Builds a rigid solid at spot (x, y, angle), lets it down on the dish and writes it. Returns its volume as a tensor (cm3) or None."""
    x, y, angle = spot
    got = field.patch(x, y, reach + 0.4)
    if got is None:
        return None
    where, px, py = got
    u, v = turned(px - x, py - y, angle)
    top, bottom, look = build(u, v)
    ground = field.support(where)
    solid = top > bottom
    rise = torch.where(solid, ground - bottom, -10.0).max() - sink
    top, bottom = top + rise, bottom + rise
    bottom = torch.where(solid, torch.minimum(torch.maximum(bottom, ground), top - 0.02), bottom)
    field.put(1, where, top, bottom, look.rgb, look.gloss, field.material(mask_id, under=look.under, bands=look.bands))
    return ((top - bottom) * solid).sum() * CELL**2
