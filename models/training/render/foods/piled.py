"""Foods in heaps and in bowls: grains, legumes, pasta, salads, mashes, soups. Each is a Heap entry: what is stamped on a mound."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..field import CELL, colour, mix, noise, smooth
from .fruit import choose
from .heaps import mound, paint, stamp
from .shapes import mottled, vary


@dataclass
class Heap:
    """radius and height of the mound on a plate (cm); base colours; layers of stamps (size, per cm2, shape, palette, kwargs)."""

    radius: tuple
    height: tuple
    base: list
    stamps: list
    gloss: float = 0.2
    lumps: float = 0.12
    texture: str = ""
    liquid: bool = False
    bowl: float = 0.2          # share of servings that come in a bowl
    power: float = 0.85


def build(field, rng, heap, spot, mask_id, dish=None):
    """Writes the heap at spot; in a bowl (`dish` given) up to a fill line. Returns the volume tensor (cm3) or None."""
    x, y, _ = spot
    R, H = spot_radius(rng, heap, spot)
    longest = max([s[0][0] for s in heap.stamps], default=0.0)
    reach = R * 1.35 + 0.7 * longest if dish is None else dish.reach + 0.1
    got = field.patch(x, y, reach + 0.3)
    if got is None:
        return None
    where, px, py = got
    dev = field.device
    u, v = px - x, py - y
    rho, theta = torch.sqrt(u**2 + v**2), torch.atan2(v, u)
    ground = field.support(where)
    if dish is not None:
        level = dish.height + (dish.depth - dish.height) * rng.uniform(0.45, 0.85)
        rise = 0.0 if heap.liquid else rng.uniform(0.1, 0.9) * heap.height[1] * 0.6
        inside = rho < dish.reach + 0.05
        surface = level + rise * (1 - (rho / dish.reach) ** 2).clamp_min(-0.3)
        h = torch.where(inside, surface - ground, -0.4)
    else:
        h, _ = mound(rng, rho, theta, R, H, heap.power, heap.lumps)
    h = h.clamp_min(-0.5)
    base = vary(rng, choose(rng, heap.base))
    rgb = mottled(rng, dev, u, v, base, 0.85 * base, 2.0, 0.5)
    if heap.texture == "swirl":
        phase = rho * (2 * math.pi / rng.uniform(0.8, 1.4)) + theta * rng.choice([-1, 1])
        h = h + 0.17 * torch.sin(phase) * smooth(h, 0.1, 0.6) * rng.uniform(0.5, 1.2) * (rng.random() < 0.75)
    if heap.texture == "lumpy":
        h = h + 0.28 * noise(u, v, 1, 2.2, rng.random()) * smooth(h, 0.0, 0.5)
    if heap.texture == "fine":
        h = h + 0.06 * noise(u, v, 3, 0.7, rng.random()) * smooth(h, 0.0, 0.3)
    solid = h > 0
    area = float(solid.sum()) * CELL**2
    surface = ground + h
    gloss = torch.full_like(h, heap.gloss)
    edge = solid & (h > (0.12 if dish is None else 0.05))
    cells, inner = torch.nonzero(edge), torch.nonzero(h > 0.45 * h.max())
    thin = 0.0
    if len(cells):
        for size, density, shape, palette, extra in heap.stamps:
            if isinstance(palette[0], list):                                               # variants of one food
                palette = choose(rng, palette)
            extra = dict(extra)
            n = int(min(9000, extra.pop("n", None) or density * area * rng.uniform(0.8, 1.2)))
            weights, skip = extra.pop("weights", None), extra.pop("chance", 1.0)
            if n < 1 or rng.random() > skip:
                continue
            among = inner if size[0] > 1.5 and dish is None else cells
            pick = among[torch.as_tensor(rng.integers(0, len(among), n), device=dev)].cpu().numpy()
            thin = max(thin, size[2])
            scale = rng.uniform(0.9, 1.12)
            tone = [vary(rng, c, 8, 0.08) for c in palette]
            new, who = stamp(rng, surface, n, pick[:, 1], pick[:, 0], ground + h.clamp_min(0), [s * scale for s in size], shape, **extra)
            if dish is not None:
                new = torch.where(rho < dish.reach + 0.1, new, surface)
            relief = (new - (ground + h)) / max(size[2], 0.1)
            painted = paint(rng, dev, rgb, who, tone, weights)
            shade = (0.72 + 0.28 * relief.clamp(-1, 1))[..., None] if shape != "leaf" else 1.0
            rgb = torch.where((who >= 0)[..., None], painted * shade, rgb)
            surface = new
    solid = solid | (surface > ground + h.clamp_min(0) + 0.05)
    top = torch.where(solid, torch.maximum(surface, ground + 0.03), ground + h - 0.02)
    beyond = solid & (h <= 0)                                                              # ends of sticks over the dish
    bottom = torch.where(solid, ground + 0.01, ground + 0.02 - h)
    bottom = torch.where(beyond, torch.maximum(bottom, top - 2 * thin), bottom)
    field.put(1, where, top, bottom, rgb, gloss, field.material(mask_id))
    return ((top - bottom) * solid).sum() * CELL**2


def spot_radius(rng, heap, spot):
    return (spot[2][0], spot[2][1])


G = lambda l, w=None, h=None: (l, w or l, h or w or l)
RICE = [(222, 220, 214), (206, 202, 196), (232, 230, 226)]
HEAPS = {
    "white rice": Heap((4.3, 6.4), (1.9, 3.5), [(190, 188, 182)], [((0.38, 0.13, 0.12), 34, "grain", RICE, {})], 0.1),
    "brown rice": Heap((4.6, 6), (2.4, 4.0), [(150, 118, 84)], [((0.38, 0.14, 0.12), 32, "grain", [[(176, 140, 104), (156, 122, 88)], [(160, 136, 98), (176, 150, 110)], [(150, 110, 86), (170, 130, 100)]], {})], 0.1, bowl=0.5),
    "fried rice": Heap((4.4, 6.6), (2.0, 3.8), [(176, 140, 84)], [((0.38, 0.13, 0.12), 24, "grain", [(204, 170, 110), (190, 150, 90), (216, 184, 124)], {}),
                       ((0.34, 0.32, 0.26), 2.2, "cube", [(216, 110, 40), (96, 150, 50), (226, 190, 80), (190, 70, 50)], {})], 0.2),
    "couscous": Heap((3.7, 5.3), (1.8, 2.8), [(196, 160, 100)], [((0.11, 0.11, 0.1), 60, "grain", [(214, 180, 118), (200, 160, 98), (224, 194, 140)], {}),
                     ((0.24, 0.2, 0.16), 1.1, "cube", [(190, 50, 36), (80, 130, 50)], {"chance": 0.7})], 0.1),
    "lentils": Heap((3.6, 5.6), (2.0, 3.2), [(140, 90, 52)], [((0.28, 0.26, 0.13), 26, "grain", [[(206, 104, 44), (190, 90, 40)], [(140, 100, 64), (120, 88, 56)], [(84, 70, 56), (104, 88, 64)], [(170, 110, 70), (150, 96, 60)]], {}),
                    ((0.32, 0.3, 0.2), 0.5, "cube", [(220, 120, 40)], {"chance": 0.5})], 0.45),
    "beans": Heap((3.4, 5.4), (1.6, 2.7), [(90, 76, 64)], [((0.62, 0.36, 0.32), 9, "grain", [[(44, 36, 36), (58, 46, 44)], [(110, 40, 36), (130, 50, 42)], [(214, 206, 180), (200, 190, 160)], [(160, 130, 96), (144, 112, 82)], [(190, 200, 176), (170, 180, 160)]], {})], 0.6),
    "baked beans": Heap((3.9, 5.3), (2.0, 2.9), [(170, 80, 36)], [((0.56, 0.36, 0.3), 8, "grain", [[(196, 104, 52), (180, 90, 44)], [(166, 96, 56), (150, 84, 46)]], {})], 0.8, bowl=0.05),
    "peas": Heap((3.0, 4.3), (1.6, 2.6), [(70, 120, 40)], [((0.42, 0.42, 0.4), 11, "grain", [(92, 160, 50), (80, 146, 44), (104, 170, 62)], {})], 0.45, bowl=0.0),
    "sweetcorn": Heap((2.8, 4.3), (1.5, 2.4), [(190, 150, 40)], [((0.44, 0.36, 0.34), 11, "grain", [(230, 190, 56), (214, 170, 44), (238, 206, 84)], {})], 0.5, bowl=0.0),
    "mixed vegetables": Heap((3.7, 5.3), (2.0, 3.2), [(140, 110, 50)], [((0.42, 0.42, 0.38), 5, "grain", [(92, 156, 50), (228, 186, 56)], {}), ((0.48, 0.46, 0.36), 6, "cube", [(226, 116, 36), (214, 100, 36), (110, 160, 60)], {})], 0.35, bowl=0.0),
    "minced meat": Heap((4.5, 5.8), (1.8, 3.0), [(86, 56, 44)], [((0.4, 0.34, 0.3), 12, "grain", [[(104, 68, 54), (88, 56, 46), (118, 78, 60)], [(136, 92, 72), (116, 76, 60)]], {})], 0.35, lumps=0.2, bowl=0.0),
    "granola": Heap((5, 6.5), (1.8, 2.6), [(190, 150, 96)], [((0.4, 0.32, 0.2), 14, "grain", [(206, 166, 104), (186, 140, 84), (222, 190, 136)], {}), ((0.34, 0.26, 0.22), 2.4, "grain", [(80, 44, 40), (120, 60, 44), (60, 36, 44), (150, 96, 60)], {})], 0.15, bowl=1.0),
    "blueberries": Heap((3.0, 4.0), (1.3, 2.0), [(50, 54, 84)], [((0.72, 0.72, 0.7), 4.5, "grain", [(58, 64, 104), (50, 56, 92), (70, 76, 116)], {"sink": 0.2, "tilt": 0.0})], 0.3, lumps=0.25, bowl=0.0),
    "spaghetti": Heap((4.9, 6.3), (2.9, 4.2), [(196, 164, 100)], [((2.6, 0.15, 0.16), 4.5, "strand", [[(226, 200, 134), (214, 184, 116)], [(214, 180, 104), (200, 160, 90)]], {"bend": 0.24, "tilt": 0.03, "drape": 0.85, "sink": 0.8})], 0.3, bowl=0.1),
    "fried noodles": Heap((5.0, 6.7), (2.4, 4.0), [(166, 122, 66)], [((2.5, 0.18, 0.17), 3.6, "strand", [[(206, 160, 90), (190, 142, 78)], [(150, 112, 70), (170, 126, 76)]], {"bend": 0.26, "tilt": 0.03, "drape": 0.8, "sink": 0.8}),
                          ((1.0, 0.3, 0.2), 0.35, "cube", [(216, 100, 40), (96, 140, 60), (150, 70, 50)], {})], 0.4, bowl=0.3),
    "penne pasta": Heap((5.2, 6.9), (1.9, 3.2), [(180, 150, 90)], [((1.7, 0.46, 0.46), 1.9, "strand", [[(228, 208, 150), (216, 192, 130)], [(214, 130, 60), (200, 116, 52)], [(206, 170, 100), (192, 152, 88)]], {"sink": 0.2, "tilt": 0.12, "drape": 0.5})], 0.3, bowl=0.1),
    "french fries": Heap((5.2, 6.8), (2.4, 3.8), [(190, 138, 56)], [((2.8, 0.42, 0.44), 1.3, "cube", [[(226, 174, 72), (208, 150, 56)], [(236, 196, 96), (222, 176, 80)], [(200, 146, 66), (184, 128, 56)]], {"sink": 0.0, "tilt": 0.10, "drape": 0.5})], 0.1, lumps=0.2, bowl=0.0),
    "green beans": Heap((3.0, 4.1), (1.0, 1.8), [(50, 84, 36)], [((3.3, 0.36, 0.36), 1.0, "strand", [(70, 116, 50), (60, 100, 44), (84, 130, 60)], {"bend": 0.04, "sink": 0.0, "tilt": 0.05, "drape": 0.6})], 0.3, lumps=0.25, bowl=0.0),
    "green salad": Heap((3.8, 5.2), (2.0, 3.8), [(70, 110, 40)], [((1.9, 1.5, 0.35), 1.3, "leaf", [(110, 160, 60), (84, 136, 48), (140, 184, 84), (70, 116, 44)], {"tilt": 0.45}),
                        ((1.2, 1.1, 0.8), 0.06, "grain", [(190, 46, 34), (206, 60, 40)], {"chance": 0.5}), ((1.5, 1.4, 0.3), 0.04, "cube", [(196, 206, 150)], {"chance": 0.4})], 0.3, lumps=0.2, bowl=0.4),
    "scrambled eggs": Heap((4.3, 5.8), (1.6, 2.4), [(226, 180, 70)], [((0.9, 0.75, 0.5), 2.2, "grain", [(240, 204, 96), (230, 186, 76), (244, 216, 130)], {})], 0.3, lumps=0.18, texture="lumpy", bowl=0.0),
    "mashed potato": Heap((4.2, 5.8), (2.4, 4.4), [(226, 212, 164), (222, 212, 180)], [], 0.2, lumps=0.1, texture="swirl", bowl=0.35),
    "mashed sweet potato": Heap((4.6, 6), (2.6, 4.2), [(214, 130, 60), (224, 148, 76)], [], 0.2, lumps=0.1, texture="swirl", bowl=0.3),
    "soup": Heap((5, 6), (1, 2), [(206, 110, 50), (90, 130, 60), (206, 150, 80), (190, 60, 40), (150, 90, 50), (216, 170, 60)], [((0.7, 0.6, 0.35), 0.18, "grain", [(220, 110, 40), (100, 150, 60), (226, 214, 180), (180, 60, 40)], {"sink": 0.3, "tilt": 0.1}),
                 ((0.16, 0.1, 0.05), 0.5, "grain", [(70, 110, 50)], {"chance": 0.5, "tilt": 0})], 0.9, liquid=True, bowl=1.0),
    "curry": Heap((5, 7), (1.8, 3), [(176, 110, 50), (150, 70, 36), (190, 130, 60), (140, 120, 60)], [((1.1, 0.95, 0.7), 0.22, "grain", [(214, 120, 50), (150, 90, 50), (220, 190, 130), (110, 150, 70)], {"sink": 0.4, "tilt": 0.2})], 0.75, liquid=True, bowl=0.7),
    "stew": Heap((5, 7), (1.8, 3), [(120, 60, 34), (190, 120, 54), (140, 70, 40)], [((1.3, 1.1, 0.8), 0.25, "grain", [(214, 120, 50), (110, 66, 44), (214, 180, 110), (150, 90, 60)], {"sink": 0.4, "tilt": 0.2})], 0.75, liquid=True, bowl=0.8),
    "porridge": Heap((5, 7), (1, 2), [(216, 204, 176), (196, 180, 150)], [((0.5, 0.5, 0.4), 0.05, "grain", [(56, 60, 96), (180, 40, 46)], {"chance": 0.8, "tilt": 0})], 0.3, texture="fine", liquid=True, bowl=1.0),
    "yogurt": Heap((5, 7), (1, 2), [(236, 232, 226), (226, 222, 214)], [((0.55, 0.55, 0.45), 0.08, "grain", [(56, 60, 100), (190, 40, 46), (60, 60, 96)], {"chance": 0.5, "tilt": 0}), ((0.3, 0.2, 0.14), 0.1, "grain", [(180, 130, 76)], {"chance": 0.3})], 0.35, texture="swirl", liquid=True, bowl=1.0),
}
