"""What lies around the dishes: coin, bank card, phone, napkin, cutlery, glass, with their true sizes."""

import math

import numpy as np
import torch

from .dishes import box_distance, turned
from .field import colour, mix, noise, smooth
from .table import CLOTHS, jitter


def flat(field, rng, x, y, angle, a, b, r, h, mask_id, paint, gloss, metal=0.0, under=None):
    """A rounded rectangular slab on the table; paint(u, v) gives its linear colours."""
    got = field.patch(x, y, math.hypot(a, b) + 0.3)
    if got is None:
        return
    where, px, py = got
    u, v = turned(px - x, py - y, angle)
    d = box_distance(u, v, a, b, r)
    base = field.support(where) if mask_id != 205 else 0.0
    top = torch.where(d < 0, base + h, base + h / 2 - d * 6)
    bottom = torch.where(d < 0, base + 0.0, base + h / 2 + d * 6)
    field.put(0, where, top, bottom, paint(u, v), gloss, field.material(mask_id, metal=metal, under=under))


def coin(field, rng, x, y):
    base = jitter(rng, [(190, 150, 90), (196, 160, 70), (176, 176, 176), (180, 120, 80)][rng.integers(4)])
    got = field.patch(x, y, 1.6)
    if got is None:
        return
    where, px, py = got
    rho = torch.sqrt((px - x) ** 2 + (py - y) ** 2)
    d = rho - 1.25
    s = field.support(where)
    relief = 0.02 * (rho > 1.1) + 0.012 * noise(px, py, 0, 1.0, rng.random()) * (rho < 0.95)
    top = torch.where(d < 0, s + 0.19 + relief, s + 0.1 - d * 6)
    bottom = torch.where(d < 0, s, s + 0.1 + d * 6)
    two = rng.random() < 0.3
    c = colour(field.device, base).expand(*rho.shape, 3)
    if two:
        c = mix(c, colour(field.device, (190, 188, 184)), (rho < 0.85).float())
    field.put(0, where, top, bottom, c, 1.0, field.material(207, metal=0.8))


def card(field, rng, x, y):
    a, b = rng.uniform(20, 220, 3), rng.uniform(20, 220, 3)
    d, s = field.device, rng.random()

    def paint(u, v):
        rgb = mix(colour(d, a), colour(d, b), 0.5 + 0.15 * u + 0.3 * noise(u, v, 2, 8.0, s))
        rgb = mix(rgb, colour(d, (200, 170, 90)), smooth(box_distance(u + 2.6, v - 0.3, 0.6, 0.45, 0.1), 0.05, -0.05))
        rgb = mix(rgb, colour(d, (225, 225, 225)), smooth((v + 0.6).abs(), 0.22, 0.16) * (u.abs() < 3.2) * (torch.sin(u * 9) > -0.5) * 0.8)
        return mix(rgb, colour(d, (220, 90, 40)), ((u - 3) ** 2 + (v + 1.6) ** 2 < 0.5).float())

    flat(field, rng, x, y, rng.uniform(0, 2 * math.pi), 4.28, 2.699, 0.32, 0.076, 208, paint, 0.5)


def phone(field, rng, x, y):
    c, d = rng.uniform(8, 40), field.device
    frame = rng.uniform(20, 160)

    def paint(u, v):
        e = box_distance(u, v, 3.3, 7.1, 0.7)
        return mix(colour(d, (c, c, c * 1.1)), colour(d, (frame, frame, frame)), smooth(e, 0.0, 0.1))

    flat(field, rng, x, y, rng.normal(0, 0.3) + rng.integers(2) * math.pi, 3.575, 7.335, 0.8, 0.77, 206, paint, 1.0)


def napkin(field, rng, x, y):
    side, d = rng.uniform(9, 18), field.device
    pair = CLOTHS[rng.integers(len(CLOTHS))]
    a, b = jitter(rng, pair[0]), jitter(rng, pair[1], 30)
    style, period = rng.random(), rng.uniform(1.2, 3.5)
    if style > 0.75:
        a = rng.uniform(40, 230, 3)

    def paint(u, v):
        stripe = lambda w: (torch.sin(w * 2 * math.pi / period) > 0).float()
        t = (stripe(u) + stripe(v)) / 2 if style < 0.5 else stripe(u) if style < 0.75 else torch.zeros_like(u)
        return mix(colour(d, a), colour(d, b), t) * (1 + 0.04 * noise(u, v, 3, 0.8, 0.2))[..., None]

    flat(field, rng, x, y, rng.normal(0, 0.25), side / 2, side / 2 * rng.uniform(0.6, 1.3), 0.2, rng.uniform(0.15, 0.4), 205, paint, 0.0)


def cutlery(field, rng, x, y, kind, angle):
    """Fork, knife or spoon of some 19 cm; v runs from the handle's end to the tip."""
    L = rng.uniform(17.5, 21)
    got = field.patch(x, y, L / 2 + 1)
    if got is None:
        return
    where, px, py = got
    u, v = turned(px - x, py - y, angle)
    s = v / L + 0.5                                                                        # 0 handle's end, 1 tip
    w = 0.35 + 0.45 * smooth(s, 0.5, 0.0)                                                  # half width of the handle
    sq = lambda t: t.clamp_min(0).sqrt()
    lift, thick = torch.zeros_like(s), 0.22
    if kind == "knife":
        w = torch.where(s > 0.48, 0.95 * sq(1 - ((s - 0.48) / 0.52).clamp(0, 1) ** 6) * smooth(s, 0.46, 0.52), 0.75 + 0 * s)
    elif kind == "spoon":
        head = 2.1 * sq(1 - ((s - 0.855) / 0.145) ** 2)
        w = torch.where(s > 0.72, torch.maximum(head, 0.35 * (s < 0.8)), w)
        lift = torch.where(s > 0.7, 0.55 * ((u / 2.1) ** 2 + ((s - 0.855) / 0.145) ** 2).clamp(0, 1), 0.5 * smooth(s, 0.2, 0.7))
    else:
        head = 1.25 * sq(1 - ((0.84 - s).clamp_min(0) / 0.14) ** 2)
        tines = torch.where((s > 0.83) & (torch.cos(u / 0.62 * 2 * math.pi * 0.98 + math.pi) > 0.25), 0.0, 1.0)
        w = torch.where(s > 0.70, torch.maximum(head * (s < 1), 0.35 * (s < 0.78)) * tines, w)
        lift = 0.9 * smooth((s - 0.75).abs(), 0.25, 0.0) * (s > 0.4)
    w = torch.where((s < 0) | (s > 1), 0.0, w)
    d = torch.where(w > 0.02, u.abs() - w, 0.3)
    base = lift + 0.05
    top = torch.where(d < 0, base + thick * (0.6 + 0.4 * sq(1 - (u / w.clamp_min(0.1)) ** 2)), base + thick / 3 - d * 4)
    bottom = torch.where(d < 0, base, base + thick / 3 + d * 4)
    tone = rng.uniform(120, 200)
    rgb = colour(field.device, (tone, tone, tone)).expand(*s.shape, 3)
    if rng.random() < 0.12:
        rgb = mix(rgb, colour(field.device, rng.uniform(30, 90, 3)), (s < 0.45).float())
    field.put(0, where, top, bottom, rgb, 1.0, field.material(204, metal=1.0))


def glass(field, rng, x, y):
    R, H = rng.uniform(2.9, 4.2), rng.uniform(8, 15)
    got = field.patch(x, y, R + 0.4)
    if got is None:
        return
    where, px, py = got
    rho = torch.sqrt((px - x) ** 2 + (py - y) ** 2)
    base = R * rng.uniform(0.72, 0.95)
    filled = rng.random() < 0.6
    level = H * rng.uniform(0.3, 0.8) if filled else 0.4
    d = rho - R
    bottom = torch.where(rho < base, 0.0, (rho - base).clamp_min(0) / max(R - base, 0.05) * H)
    bottom = torch.where(d < 0, bottom.clamp(max=H - 0.1), H + d * 6)
    top = torch.where(d < 0, torch.where(d > -0.2, H, torch.full_like(d, level)), H - d * 6)
    drink = [(120, 52, 30), (214, 120, 40), (60, 30, 24), (150, 40, 36), (200, 204, 200), (224, 214, 190)][rng.integers(6)]
    c = colour(field.device, jitter(rng, drink))
    clear = 0.15 if filled and drink[0] != 200 else 0.9
    field.put(0, where, top, bottom, c, 0.9, field.material(203, glass=(clear, level)))


def around(field, rng, dish, taken):
    """Adds up to four references at the places where tables hold them; `taken` (x, y, r) are avoided."""
    r = dish.reach + 1.5 if dish.half is None else dish.half[0] + 1.5
    n = rng.choice(5, p=[0.14, 0.26, 0.31, 0.21, 0.08])
    kinds = rng.permutation(["napkin", "fork", "spoon", "knife", "glass", "coin", "card", "phone", "coin", "glass", "napkin"])[:n]
    for kind in dict.fromkeys(kinds):
        for _ in range(8):
            side = -1 if kind in ("napkin", "fork") else 1
            size = dict(napkin=7, fork=1.5, spoon=2, knife=1.2, glass=4.5, coin=1.6, card=5, phone=4.5)[kind]
            if kind in ("coin", "card", "glass", "phone"):
                a = rng.uniform(-math.pi, math.pi) if kind != "glass" else rng.uniform(0.2, 2.9)
                x, y = dish.x + (r + size + rng.uniform(0, 4)) * math.cos(a), dish.y + (r + size + rng.uniform(0, 4)) * math.sin(a)
            else:
                x, y = dish.x + side * (r + size + rng.uniform(0, 5)), dish.y + rng.normal(0, 2)
            if all(math.hypot(x - a, y - b) > c + size for a, b, c in taken):
                break
        else:
            continue
        taken.append((x, y, size))
        if kind in ("fork", "spoon", "knife"):
            cutlery(field, rng, x, y, kind, rng.normal(0, 0.12))
        else:
            {"napkin": napkin, "glass": glass, "coin": coin, "card": card, "phone": phone}[kind](field, rng, x, y)
