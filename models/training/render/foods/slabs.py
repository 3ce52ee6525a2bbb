"""Slabs, wedges, discs and halves: foods with a top face and sides of their own. Each maker: (rng, device) -> Piece."""

import math

import numpy as np
import torch

from ..dishes import box_distance
from ..field import colour, mix, noise, smooth
from .fruit import Piece, choose
from .shapes import Look, bumpy, half_solid, lobes, mottled, signed_power, slab, torus, tube, turned_solid, vary, wedge_distance


def disc(radius, height, face, side=None, rim=0.12, power=0.22, lob=0.01, count=(1, 1), gloss=0.2, pattern=None, spread=3.0, bump=0.0):
    """Round slices; pattern(rng, device, rho, theta, rgb, u, v) paints the face."""

    def make(rng, device):
        R, H = rng.uniform(*radius), rng.uniform(*height)
        base = vary(rng, choose(rng, face))
        edge = vary(rng, choose(rng, side)) if side else None

        def build(u, v):
            out = lobes(rng, u, v, lob)
            top, bottom = turned_solid(u, v, R, H, 0.5, power, out)
            rho, th = torch.sqrt(u**2 + v**2) / out, torch.atan2(v, u)
            rgb = mottled(rng, device, u, v, base, 0.85 * base, 1.5, 0.4)
            if bump:
                top = top + bumpy(rng, u, v, bump, 0.5) * smooth(top - bottom, 0.0, 0.5)
            if pattern:
                rgb = pattern(rng, device, rho / R, th, rgb, u, v)
            if edge is not None:
                rgb = mix(rgb, colour(device, edge), smooth(rho, R - rim, R - rim * 0.4))
            bands = None if edge is None else [(0.0, edge)]
            return top, bottom, Look(rgb, gloss, under=edge, bands=bands)

        return Piece(R, R, build, count, spread)

    return make


def segments(n, flesh, membrane=(236, 200, 130), core=0.12, rind=0.88):
    def pattern(rng, device, rho, th, rgb, u, v):
        k = choose(rng, list(range(n[0], n[1] + 1)))
        a = ((th * k / (2 * math.pi) + rng.random()) % 1.0 - 0.5).abs() * (2 * math.pi / k) * rho
        line = torch.maximum(smooth(math.pi / k * rho - a, 0.055, 0.02), torch.maximum(smooth(rho, core, core * 0.6), smooth(rho, rind, rind + 0.04)))
        return mix(rgb, colour(device, vary(rng, membrane)), line * 0.85)
    return pattern


def seedy(cells, gel, wall):
    """Tomato and cucumber faces: cells of gel with seeds between walls."""
    def pattern(rng, device, rho, th, rgb, u, v):
        k = choose(rng, list(range(cells[0], cells[1] + 1)))
        a = torch.cos(k * th + rng.uniform(0, 6))
        inner = smooth(a, -0.2, 0.4) * smooth(rho, 0.8, 0.7) * smooth(rho, 0.22, 0.34)
        rgb = mix(rgb, colour(device, vary(rng, gel)), inner * 0.8)
        pips = smooth(noise(u, v, 3, 1.6, rng.random()), 0.8, 1.2) * inner
        return mix(rgb, colour(device, vary(rng, wall)), pips)
    return pattern


def chips(rng, device, rho, th, rgb, u, v):
    if rng.random() < 0.65:
        on = smooth(noise(u, v, 3, 2.6, rng.random()), 0.8, 1.1)
        rgb = mix(rgb, colour(device, vary(rng, (50, 32, 26))), on * 0.95)
    return rgb


def browned(rng, device, rho, th, rgb, u, v):
    return mix(rgb, colour(device, vary(rng, (226, 186, 90))), smooth(noise(u, v, 1, 2.5, rng.random()), 0.4, 1.2) * 0.6 + smooth(rho, 0.88, 1.0))


def sushi_face(rng, device, rho, th, rgb, u, v):
    core = vary(rng, choose(rng, [(226, 110, 80), (200, 40, 40), (240, 150, 90), (110, 160, 70)]))
    rgb = rgb * (1 + 0.14 * noise(u, v, 3, 0.9, rng.random()))[..., None]
    return mix(rgb, colour(device, core), smooth(rho, 0.42, 0.36))


def box(length, width, height, looks, rounding=0.2, corner=0.2, count=(1, 1), gloss=0.15, bump=0.05, bump_scale=0.8, side=None, spread=3.0, finish=None, amount=0.5, blob=0.0, dome=0.0):
    """Cuboids and blobs with walls; `blob` > 0 makes the outline an irregular ellipse, `dome` lowers the rim."""

    def make(rng, device):
        a, b, H = rng.uniform(*length) / 2, rng.uniform(*width) / 2, rng.uniform(*height)
        pair = choose(rng, looks)
        base, second = pair if isinstance(pair[0], tuple) else (pair, tuple(0.8 * x for x in pair))
        base, second = vary(rng, base), vary(rng, second)
        wall = vary(rng, choose(rng, side)) if side else None

        def build(u, v):
            if blob:
                out = lobes(rng, u / a, v / b, blob)
                rho = torch.sqrt((u / a) ** 2 + (v / b) ** 2) / out
                d = (rho - 1) * math.sqrt(a * b)
                fall = dome * rho.clamp(0, 1) ** 2
            else:
                d = box_distance(u, v, a, b, corner)
                fall = dome * ((u / a) ** 2 + (v / b) ** 2).clamp(0, 1) * 0.5
            height = H * (1 - fall) + bumpy(rng, u, v, bump, bump_scale)
            top, bottom = slab(d, height, rounding)
            look = Look(mottled(rng, device, u, v, base, second, 1.6, amount), gloss, bands=[(0, wall)] if side else None)
            return finish(rng, device, u, v, d, top, bottom, look, a, b) if finish else (top, bottom, look)

        return Piece(a, b, build, count, spread) if blob else Piece(a * 1.18, b * 1.18, build, count, spread)

    return make


def grill(rng, device, u, v, d, top, bottom, look, a, b):
    if rng.random() < 0.6:
        p, th = rng.uniform(1.1, 1.8), rng.uniform(-0.7, 0.7) + (math.pi / 2 if rng.random() < 0.5 else 0)
        s = torch.remainder((u * math.cos(th) + v * math.sin(th)) / p, 1.0)
        on = smooth((s - 0.5).abs(), 0.16, 0.08)
        look.rgb = mix(look.rgb, colour(device, vary(rng, (60, 36, 26))), on * rng.uniform(0.5, 0.95))
        top = top - 0.06 * on
    return top, bottom, look


def salmon(rng, device, u, v, d, top, bottom, look, a, b):
    p = rng.uniform(0.6, 1.0)
    s = torch.remainder(u / p + 0.5 * (v.abs() / b) ** 1.5 + 0.12 * noise(u, v, 1, 4.0, rng.random()), 1.0)
    look.rgb = mix(look.rgb, colour(device, (244, 196, 168)), smooth((s - 0.5).abs(), 0.14, 0.05) * 0.85)
    return top, bottom, look


def loaf(rng, device, u, v, d, top, bottom, look, a, b):
    """Bread slices: a dark crust around the crumb's pores."""
    look.rgb = look.rgb * (1 + 0.07 * noise(u, v, 3, 0.8, rng.random()))[..., None]
    crust = vary(rng, (136, 84, 42))
    look.rgb = mix(look.rgb, colour(device, crust), smooth(d, -0.35, -0.1))
    look.bands, look.under = [(0, crust)], None
    return top, bottom, look


def bread_outline(u, v, a, b):
    """A tin loaf's slice: a square with two shoulders at the top."""
    d = box_distance(u, v, a * 0.94, b, 0.6)
    ears = torch.sqrt((u.abs() - a * 0.55) ** 2 + (v - b * 0.55) ** 2) - a * 0.47
    return torch.minimum(d, ears)


def slice_of_bread(looks):
    def make(rng, device):
        a, H = rng.uniform(4.3, 5.4), rng.uniform(1.1, 1.8)
        base = vary(rng, choose(rng, looks))

        def build(u, v):
            d = bread_outline(u, v, a, a * 0.95)
            top, bottom = slab(d, H + bumpy(rng, u, v, 0.03, 0.5, 3), 0.15)
            look = Look(mottled(rng, device, u, v, base, 0.78 * base, 3.0, 0.6), 0.02)
            return loaf(rng, device, u, v, d, top, bottom, look, a, a)

        return Piece(a * 1.2, a * 1.2, build)

    return make


def cake(rng, device):
    R, op, H = rng.uniform(8.5, 11), rng.uniform(0.55, 0.8), rng.uniform(6, 7.8)
    crumb, cream = choose(rng, [((60, 36, 28), (90, 56, 44)), ((170, 40, 44), (236, 230, 222)), ((226, 190, 120), (240, 228, 200)), ((70, 42, 32), (226, 210, 190))])
    crumb, cream = vary(rng, crumb), vary(rng, cream)
    bands = [(0, crumb), (0.42, cream), (0.5, crumb), (0.9, cream)] if rng.random() < 0.8 else [(0, crumb), (0.3, cream), (0.36, crumb), (0.62, cream), (0.68, crumb), (0.92, cream)]

    def build(u, v):
        d = wedge_distance(u, v, R, op)
        top, bottom = slab(d, H + bumpy(rng, u, v, 0.03, 1.0), 0.12)
        return top, bottom, Look(mottled(rng, device, u, v, cream, 0.9 * cream, 2.0, 0.4), 0.1, bands=bands)

    return Piece(R * 0.5, R * 0.42, build)


def pizza(rng, device):
    R, op, H = rng.uniform(15, 18), rng.uniform(0.7, 0.85), rng.uniform(0.8, 1.1)
    pepperoni = rng.random() < 0.65

    def build(u, v):
        x = u + 0.6 * R
        d = wedge_distance(u, v, R, op)
        rho = torch.sqrt(x**2 + v**2)
        crust = smooth(rho, R - 2.4, R - 1.6)
        top, bottom = slab(d, H + 1.0 * crust * (1 - ((rho - R + 1.1) / 1.2) ** 2).clamp_min(0) + bumpy(rng, u, v, 0.07, 1.2), 0.2)
        rgb = mottled(rng, device, u, v, vary(rng, (232, 190, 110)), vary(rng, (214, 120, 60)), 2.0, 0.7)
        rgb = mix(rgb, colour(device, vary(rng, (190, 120, 60))), crust)
        if pepperoni:
            for i in range(7):
                r = rng.uniform(0.3, 0.8) * R
                t = rng.uniform(-1, 1) * (op / 2 - 1.4 / r)
                on = smooth(torch.sqrt((x - r * math.cos(t)) ** 2 + (v - r * math.sin(t)) ** 2), 1.35, 1.2)
                rgb, top = mix(rgb, colour(device, vary(rng, (176, 40, 32))), on), top + 0.1 * on * (d < -0.1)
        return top, bottom, Look(rgb, 0.25, bands=[(0, vary(rng, (206, 150, 84)))])

    return Piece(R * 0.52, R * 0.38, build)


def watermelon(rng, device):
    R, op, H = rng.uniform(8.5, 11), rng.uniform(0.8, 1.15), rng.uniform(2.0, 3.0)
    flesh = vary(rng, (206, 56, 64))

    def build(u, v):
        d = wedge_distance(u, v, R, op)
        rho = torch.sqrt((u + 0.6 * R) ** 2 + v**2)
        top, bottom = slab(d, H, 0.08)
        rgb = mottled(rng, device, u, v, flesh, 1.12 * flesh, 1.2, 0.5)
        seeds = smooth(noise(u, v, 3, 2.2, rng.random()), 1.5, 1.7) * smooth(rho, 0.4 * R, 0.5 * R) * smooth(rho, 0.85 * R, 0.8 * R)
        rgb = mix(rgb, colour(device, (30, 20, 18)), seeds)
        rgb = mix(rgb, colour(device, (222, 226, 200)), smooth(rho, R - 1.3, R - 0.8))
        rgb = mix(rgb, colour(device, vary(rng, (50, 100, 50))), smooth(rho, R - 0.4, R - 0.25))
        return top, bottom, Look(rgb, 0.25)

    return Piece(R * 0.52, R * 0.5, build)


def half(length, width, depth, flesh, rind, pit=None, taper=0.0, gloss=0.15, count=(1, 1), centre=None, spread=3.5, tilt=0.25):
    """Halved fruit and eggs, cut side up and tilted a little; pit (radius share, colour) bulges, or leaves a hollow."""

    def make(rng, device):
        a, b, D = rng.uniform(*length) / 2, rng.uniform(*width) / 2, rng.uniform(*depth)
        f, s = vary(rng, choose(rng, flesh)), vary(rng, choose(rng, rind))
        lean = rng.uniform(-tilt, tilt, 2).tolist()
        full = rng.random() < 0.7

        def build(u, v):
            t, top, bottom = half_solid(u, v, a, b, D, taper)
            rho = (1 - t).clamp_min(0).sqrt()
            rgb = mottled(rng, device, u, v, f, 0.94 * f, 1.5, 0.5)
            if centre:
                rgb = centre(rng, device, u, v, rho, t, rgb)
            rgb = mix(rgb, colour(device, s), smooth(rho, 0.955, 0.985))
            if pit:
                pr, tint = pit[0] * min(a, b), vary(rng, pit[1])
                q = 1 - ((u - 0.2 * a) ** 2 + v**2) / pr**2
                if full:
                    top = torch.where(q > 0, top + 0.75 * pr * q.clamp_min(0).sqrt(), top)
                    rgb = mix(rgb, colour(device, tint), (q > 0).float())
                else:
                    top = torch.where(q > 0, top - 0.7 * pr * q.clamp_min(0).sqrt(), top)
                    rgb = mix(rgb, colour(device, 0.8 * f), (q > 0).float() * 0.7)
            shear = lean[0] * u * 0.8 + lean[1] * v
            return top + shear, bottom + shear, Look(rgb, gloss, under=s)

        return Piece(a * 1.02, b * 1.05, build, count, spread)

    return make


def yolk(rng, device, u, v, rho, t, rgb):
    c = choose(rng, [(238, 160, 40), (232, 176, 60), (226, 140, 40)])
    o = rng.normal(0, 0.15, 2).tolist()
    r = torch.sqrt((u - o[0]) ** 2 + (v - o[1]) ** 2)
    return mix(rgb, colour(device, vary(rng, c)), smooth(r, 1.35, 1.25))


def kiwi_face(rng, device, u, v, rho, t, rgb):
    th = torch.atan2(v, u)
    rays = torch.cos(th * rng.integers(22, 34)) * 0.5 + 0.5
    rgb = rgb * (0.9 + 0.2 * rays * smooth(rho, 0.3, 0.5))[..., None]
    seeds = smooth(rays, 0.7, 0.95) * smooth((rho - 0.42).abs(), 0.1, 0.05)
    rgb = mix(rgb, colour(device, (30, 34, 16)), seeds)
    return mix(rgb, colour(device, (226, 230, 180)), smooth(rho, 0.26, 0.18))


def avocado_face(rng, device, u, v, rho, t, rgb):
    return mix(rgb, colour(device, vary(rng, (140, 165, 70))), smooth(rho, 0.72, 0.95))


def fried_egg(rng, device):
    R = rng.uniform(4.3, 5.4)
    o = rng.normal(0, 0.7, 2).tolist()
    tone = vary(rng, (240, 234, 224), 6, 0.05)

    def build(u, v):
        rho = torch.sqrt(u**2 + v**2) / lobes(rng, u, v, 0.16)
        d = rho - R
        r = torch.sqrt((u - o[0]) ** 2 + (v - o[1]) ** 2)
        height = 0.45 + 0.35 * smooth(r, 3.4, 1.2) + 0.7 * (1 - (r / 1.85) ** 2).clamp_min(0).sqrt() + bumpy(rng, u, v, 0.07, 1.6)
        top, bottom = slab(d, height, 0.25)
        rgb = mottled(rng, device, u, v, tone, 0.93 * tone, 1.5, 0.4)
        if rng.random() < 0.6:
            rgb = mix(rgb, colour(device, vary(rng, (176, 120, 60))), smooth(d + 0.25 * noise(u, v, 0, 2.0, rng.random()), -0.45, -0.05) * 0.8)
        rgb = mix(rgb, colour(device, vary(rng, (240, 168, 40))), smooth(r, 1.85, 1.72))
        return top, bottom, Look(rgb, 0.5 * (r < 1.8) + 0.2)

    return Piece(R, R, build)


def doughnut(rng, device):
    R, r = rng.uniform(2.7, 3.1), rng.uniform(1.5, 1.75)
    icing = rng.random() < 0.6
    dough = vary(rng, (176, 124, 70))
    glaze = vary(rng, choose(rng, [(96, 56, 40), (226, 150, 170), (236, 226, 214), (110, 66, 44)]))

    def build(u, v):
        top, bottom = torus(u, v, R, r, rng.uniform(0.85, 1.0))
        rgb = mottled(rng, device, u, v, dough, 0.85 * dough, 2.0, 0.4)
        if icing:
            rho = torch.sqrt(u**2 + v**2)
            on = smooth((rho - R).abs() + 0.12 * noise(u, v, 0, 2.0, rng.random()), r * 0.9, r * 0.8)
            rgb = mix(rgb, colour(device, glaze), on)
            if rng.random() < 0.6:
                for c in ((236, 80, 90), (90, 170, 220), (240, 220, 90), (240, 240, 240)):
                    rgb = mix(rgb, colour(device, c), smooth(noise(u, v, 3, 1.8, rng.random()), 1.75, 1.9) * on)
        return top, bottom, Look(rgb, 0.35, under=dough)

    return Piece(R + r, R + r, build)


def hamburger(rng, device):
    R, H = rng.uniform(4.8, 5.4), rng.uniform(6.7, 7.5)
    bun = vary(rng, (176, 106, 50))
    bands = [(0, vary(rng, (214, 160, 90))), (0.27, vary(rng, (76, 44, 32))), (0.47, vary(rng, (230, 170, 60))), (0.51, vary(rng, (110, 150, 60))),
             (0.57, vary(rng, (200, 60, 40))), (0.62, vary(rng, (216, 160, 92))), (0.7, bun)]

    def build(u, v):
        out = lobes(rng, u, v, 0.02)
        rho = torch.sqrt(u**2 + v**2) / out
        dome = torch.where(rho < R, 0.6 * H + 0.4 * H * (1 - (rho / R) ** 2).clamp_min(0) ** 0.5, 0.6 * H - 6 * (rho - R))
        skirt = R * (1.05 + 0.05 * torch.sin(7 * torch.atan2(v, u)))
        top = torch.where((rho >= R * 0.99) & (rho < skirt), 0.55 * H, dome)
        bottom = torch.where(rho < R * 0.97, 0.25 * (rho / R) ** 8, torch.where(rho < skirt, 0.45 * H + 0 * rho, 0.6 * H + 6 * (rho - R)))
        rgb = mottled(rng, device, u, v, bun, 1.2 * bun, 3.0, 0.5)
        seeds = smooth(noise(u, v, 3, 1.7, rng.random()), 1.5, 1.65) * smooth(rho, 0.8 * R, 0.7 * R)
        rgb = mix(rgb, colour(device, (236, 220, 180)), seeds)
        rgb = mix(rgb, colour(device, vary(rng, (100, 150, 56))), smooth(rho, R * 0.985, R * 1.0))
        return top + 0.06 * seeds, bottom, Look(rgb, 0.3, bands=bands)

    return Piece(R * 1.05, R * 1.05, build)


def pancakes(rng, device):
    R, n = rng.uniform(4.8, 6.2), int(rng.integers(1, 5))
    brown, pale = vary(rng, (166, 100, 44)), vary(rng, (232, 190, 110))
    H = 0.9 * n
    bands = [(k / n + s, c) for k in range(n) for s, c in ((0, brown), (0.25 / n, pale), (0.8 / n, brown))]
    butter = rng.random() < 0.5

    def build(u, v):
        rho = torch.sqrt(u**2 + v**2) / lobes(rng, u, v, 0.02)
        top, bottom = slab(rho - R, H + 0.1 * smooth(rho, R, 0.0), 0.25)
        rgb = browned(rng, device, rho / R, rho, mottled(rng, device, u, v, brown, 1.25 * brown, 2.0, 0.5), u, v)
        if butter:
            d = box_distance(u - 0.5, v, 0.85, 0.85, 0.15)
            rgb, top = mix(rgb, colour(device, (244, 214, 120)), smooth(d, 0.03, -0.03)), top + 0.6 * (d < 0)
        return top, bottom, Look(rgb, 0.2, bands=bands)

    return Piece(R, R, build)


def floret(stem, heads):
    """Broccoli and cauliflower: a head of knobs over a stem, standing or leaning."""

    def make(rng, device):
        R, H = rng.uniform(1.8, 2.7), rng.uniform(3.8, 5.2)
        base = vary(rng, choose(rng, heads))

        def build(u, v):
            o = rng.uniform(-0.4, 0.4, 2).tolist()
            knobs = noise(u, v, 6, rng.uniform(3.0, 4.5), rng.random()) * 0.17 + noise(u, v, 6, 1.3, rng.random()) * 0.05
            top, bottom = turned_solid(u, v, R, H, 0.55, 0.5, lobes(rng, u, v, 0.12))
            rho = torch.sqrt((u - o[0]) ** 2 + (v - o[1]) ** 2)
            bottom = torch.where(rho < 1.05, torch.zeros_like(bottom), bottom.clamp_min(0) + 0.16 * H * (top > bottom))
            top = top + knobs * smooth(top - bottom, 0.0, 0.6)
            rgb = colour(device, base) * (1 + 0.55 * knobs)[..., None]
            return top, bottom, Look(rgb, 0.05, under=vary(rng, stem))

        return Piece(R, R, build, (1, 3))

    return make
