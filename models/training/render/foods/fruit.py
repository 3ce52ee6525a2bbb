"""Whole fruit, roots and balls: solids of revolution standing or lying, and swept tubes. Each maker: (rng, device) -> Piece."""

import math
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch

from ..field import colour, mix, noise, smooth
from .shapes import Look, bumpy, lobes, mottled, signed_power, tube, turned_solid, vary


@dataclass
class Piece:
    """Half axes of the outline (cm) for packing, and build(u, v) -> (top, bottom, Look)."""

    a: float
    b: float
    build: Callable
    count: tuple = (1, 1)
    spread: float = 3.0


def choose(rng, options):
    return options[rng.integers(len(options))]


def stalk(rgb, u, v, r, c=(70, 50, 30)):
    return mix(rgb, colour(u.device, c), smooth(torch.sqrt(u**2 + v**2), r, r * 0.6))


def with_stalk(top, u, v, r, height):
    """A stalk of radius r in the middle, `height` above the ground."""
    rho = torch.sqrt((u - 0.12) ** 2 + v**2)
    return torch.where(rho < r, torch.maximum(top, torch.full_like(top, height)), top)


def apple(rng, device):
    R, H = rng.uniform(3.4, 4.1), rng.uniform(6.0, 7.2)
    base, other = choose(rng, [((110, 158, 40), (150, 180, 60)), ((150, 30, 26), (200, 80, 40)), ((222, 190, 60), (230, 205, 90)), ((190, 50, 36), (220, 170, 80))])
    base, other = vary(rng, base), vary(rng, other)
    stem = rng.random() < 0.8

    def build(u, v):
        top, bottom = turned_solid(u, v, R, H, 0.55, 0.5, lobes(rng, u, v, 0.04), 0.16, 0.28)
        th = torch.atan2(v, u)
        streak = noise(th * 3, torch.sqrt(u**2 + v**2) * 0.3, 0, 2.0, rng.random())
        rgb = mix(colour(device, base), colour(device, other), 0.35 + 0.3 * streak + 0.25 * noise(u, v, 1, 4.0, rng.random()))
        rgb = mix(rgb, colour(device, (110, 100, 40)), smooth(torch.sqrt(u**2 + v**2), 0.9, 0.2) * 0.8)
        if stem:
            top, rgb = with_stalk(top, u, v, 0.14, H * 1.03), stalk(rgb, u - 0.12, v, 0.2)
        return top, bottom, Look(rgb, 0.45)

    return Piece(R, R, build)


def ball(radius, height, looks, gloss=0.2, bump=0.0, bump_scale=0.4, lob=0.02, equator=0.5, power=0.5, count=(1, 1), other=None, amount=0.5, scale=2.0, spread=3.0, finish=None):
    """A maker of balls and domes; looks: base colours to draw from (pairs for mottled skins)."""

    def make(rng, device):
        R, H = rng.uniform(*radius), rng.uniform(*height)
        pair = choose(rng, looks)
        base, second = (pair if isinstance(pair[0], tuple) else (pair, tuple(0.82 * x for x in pair)))
        base, second = vary(rng, base), vary(rng, second)

        def build(u, v):
            top, bottom = turned_solid(u, v, R, H, equator, power, lobes(rng, u, v, lob))
            if bump:
                b = bumpy(rng, u, v, bump, bump_scale)
                top, bottom = top + b * smooth(top - bottom, 0.0, 0.5), bottom + 0.5 * b * smooth(top - bottom, 0.0, 0.5)
            look = Look(mottled(rng, device, u, v, base, second, scale, amount), gloss)
            return finish(rng, device, u, v, top, bottom, look, R, H) if finish else (top, bottom, look)

        return Piece(R * 1.02, R * 1.02, build, count, spread)

    return make


def calyx(rng, device, u, v, top, bottom, look, R, H):
    th, rho = torch.atan2(v, u), torch.sqrt(u**2 + v**2)
    top = top - 0.09 * H * torch.exp(-((rho / (0.25 * R)) ** 2))
    star = rho < R * (0.13 + 0.3 * torch.cos(2.5 * (th + rng.uniform(0, 6))).abs() ** 3)
    on = star & (rho < 0.5 * R) if rng.random() < 0.7 else rho < 0.12 * R
    look.rgb = mix(look.rgb, colour(device, vary(rng, (80, 130, 50))), on.float())
    return top + 0.12 * on, bottom, look


def seeds(rng, device, u, v, top, bottom, look, R, H):
    """A bun: darker on top, pale below, sometimes sesame."""
    rho = torch.sqrt(u**2 + v**2) / R
    look.rgb = mix(look.rgb, colour(device, vary(rng, (226, 180, 110))), smooth(rho, 0.72, 1.05) * 0.8)
    look.under = vary(rng, (222, 178, 112))
    if rng.random() < 0.4:
        cell = noise(u, v, 3, 1.7, rng.random())
        on = smooth(cell, 1.55, 1.7) * smooth(rho, 0.75, 0.6)
        look.rgb = mix(look.rgb, colour(device, (236, 220, 180)), on)
        top = top + 0.07 * on
    return top, bottom, look


def leafy(rng, device, u, v, top, bottom, look, R, H):
    return top, bottom, look


def rod(length, radius, looks, profile, bend=(0, 0), squash=1.0, gloss=0.2, bump=0.0, bump_scale=0.5, rest=0.6, count=(1, 1), amount=0.5, scale=2.0, spread=3.0, finish=None, grain=0.025):
    """A maker of lying solids swept along an arc; profile(x, rng) is the relative radius along it."""

    def make(rng, device):
        L, r0 = rng.uniform(*length), rng.uniform(*radius)
        k = rng.uniform(*bend)
        pair = choose(rng, looks)
        base, second = (pair if isinstance(pair[0], tuple) else (pair, tuple(0.8 * x for x in pair)))
        base, second = vary(rng, base), vary(rng, second)
        skew = rng.uniform(-1, 1)

        def build(u, v):
            top, bottom, x, d = tube(u, v, L, lambda t: r0 * profile(t, skew), k, squash, rest)
            if bump:
                b = bumpy(rng, u, v, bump, bump_scale) * smooth(top - bottom, 0.0, 0.6)
                top = top + b
            look = Look(mottled(rng, device, u, v, base, second, scale, amount, grain=grain), gloss)
            return finish(rng, device, x, d, top, bottom, look, r0) if finish else (top, bottom, look)

        sag = L * L * abs(k) / 8
        return Piece(L / 2 * 0.97, r0 * 1.02 + sag * 0.6, build, count, spread)

    return make


power_end = lambda n: lambda x, k: (1 - x.abs().clamp(max=1) ** n).clamp_min(0) ** 0.5
egg_end = lambda k0: lambda x, k: (1 - x * x).clamp_min(0) ** 0.5 * (1 + k0 * x)


def pear_profile(x, k):
    t = (x + 1) / 2
    return ((t * 1.0).clamp(0, 1) ** 0.55) * (1 - ((t - 0.62).clamp_min(0) / 0.38) ** 2).clamp_min(0) ** 0.5 * (0.42 + 0.58 * torch.sin(t * 1.95) ** 2)


def lemon_profile(x, k):
    return 0.93 * (1 - (x.abs() / 0.88).clamp(max=1) ** 2.2).clamp_min(0) ** 0.5 + 0.2 * (1 - x.abs() ** 8).clamp_min(0) * smooth(x.abs(), 0.7, 0.95) * (1 - x.abs()).clamp(0, 1) * 6


def banana_profile(x, k):
    return (1 - x.abs() ** 5).clamp_min(0) ** 0.6 * (1 - 0.62 * smooth(x, 0.72, 0.95)) * (1 - 0.25 * smooth(-x, 0.6, 1.0))


def banana_look(rng, device, x, d, top, bottom, look, r0):
    look.rgb = mix(look.rgb, colour(device, (70, 54, 30)), smooth(x.abs(), 0.93, 0.99) + 0.0 * d)
    look.rgb = mix(look.rgb, colour(device, vary(rng, (150, 150, 60))), smooth(x, 0.7, 0.92) * 0.5)
    ridge = torch.cos(d.clamp(-1, 1) * 4.2)
    look.rgb = look.rgb * (1 + 0.06 * ridge)[..., None]
    if rng.random() < 0.5:
        look.rgb = mix(look.rgb, colour(device, (90, 66, 34)), smooth(noise(x * 8, d, 3, 1.2, rng.random()), 1.6, 2.2) * 0.7)
    return top + 0.06 * ridge * (top > bottom), bottom, look


def pear_look(rng, device, x, d, top, bottom, look, r0):
    rosy = colour(device, choose(rng, [vary(rng, (190, 110, 50)), vary(rng, (150, 140, 60)), vary(rng, (196, 150, 80))]))
    look.rgb = mix(look.rgb, rosy, 0.4 + 0.4 * noise(x * 2, d, 1, 3.0, rng.random()))
    look.rgb = mix(look.rgb, colour(device, (70, 50, 30)), smooth(x, -0.9, -0.96))
    return top, bottom, look


def drum_profile(x, k):
    t = (x + 1) / 2
    meat = (1 - ((t - 0.66) / 0.36).abs().clamp(max=1) ** 2).clamp_min(0) ** 0.5
    return torch.maximum(torch.maximum(meat, 0.2 + 0.62 * smooth(t, 0.12, 0.5) * (t < 0.66)), 0.23 * (t < 0.4) + 0.09 * (t < 0.1)) * (1 - ((t - 0.97).clamp_min(0) / 0.03) ** 2).clamp_min(0) ** 0.5 * (1 - ((0.03 - t).clamp_min(0) / 0.03) ** 2).clamp_min(0) ** 0.5


def drum_look(rng, device, x, d, top, bottom, look, r0):
    look.rgb = mix(look.rgb, colour(device, vary(rng, (214, 196, 166))), smooth(x, -0.6, -0.68))
    return top, bottom, look


def croissant_profile(x, k):
    ribs = 0.05 * torch.cos(x * 22).abs() * (1 - x.abs())
    return (1 - x.abs() ** 2.0).clamp_min(0) ** 0.55 * (0.92 + ribs * 2)


def croissant_look(rng, device, x, d, top, bottom, look, r0):
    n = rng.uniform(14, 22)
    saw = torch.remainder(x * n / 2 + 0.15 * d.abs(), 1.0)
    look.rgb = mix(look.rgb, colour(device, vary(rng, (224, 170, 96))), smooth(saw, 0.80, 0.95) * 0.8)
    return top + 0.28 * (saw - 0.5) * smooth(top - bottom, 0.2, 1.5), bottom, look


def corn_look(rng, device, x, d, top, bottom, look, r0):
    n, a = 9.0, torch.asin(d.clamp(-1, 1))
    row = torch.cos(a * 12 / 1.57 * 1.0) * 0.5 + 0.5
    ring = torch.cos(x * 3.14159 * n * 1.6 + 1.57 * torch.sign(torch.cos(a * 6 / 1.57))) * 0.5 + 0.5
    k = (row * ring).clamp_min(0) ** 0.5
    look.rgb = look.rgb * (0.5 + 0.6 * k)[..., None]
    look.rgb = mix(look.rgb, colour(device, (226, 212, 160)), smooth(x.abs(), 0.95, 0.98))
    return top + 0.18 * (k - 0.5) * smooth(top - bottom, 0.1, 0.8), bottom, look


def strawberry_look(rng, device, x, d, top, bottom, look, r0):
    pits = noise(x * 3, d * 2, 3, 0.9, rng.random())
    look.rgb = mix(look.rgb, colour(device, (226, 190, 90)), smooth(pits, 1.35, 1.7))
    leaf = smooth(-x + 0.12 * torch.sin(d * 9), 0.66, 0.74)
    look.rgb = mix(look.rgb, colour(device, vary(rng, (70, 120, 44))), leaf)
    return top + 0.05 * leaf - 0.06 * smooth(pits, 1.2, 1.7), bottom, look


def sausage_look(rng, device, x, d, top, bottom, look, r0):
    look.rgb = look.rgb * (1 - 0.5 * smooth(noise(x * 3, d, 1, 2.0, rng.random()), 0.8, 2.0))[..., None]
    look.rgb = mix(look.rgb, colour(device, (90, 50, 36)), smooth(x.abs(), 0.94, 1.0))
    return top, bottom, look


def sweet_cut(rng, device, x, d, top, bottom, look, r0):
    """Sweet potatoes: some halved, the orange flesh up."""
    if rng.random() < 0.35:
        cut = float(rng.uniform(0.75, 1.1)) * r0
        look.rgb = mix(look.rgb, colour(device, vary(rng, (222, 120, 44))) * (1 + 0.08 * noise(x * 4, d, 1, 2.0, rng.random()))[..., None], (top > cut).float())
        top = top.clamp(max=cut)
    return top, bottom, look


def potato_flat(rng, device, x, d, top, bottom, look, r0):
    """Half the potatoes are boiled and pale; some have a cut face."""
    if rng.random() < 0.4:
        cut = float(rng.uniform(0.75, 0.95)) * r0 * 1.5
        face = top > cut
        look.rgb = mix(look.rgb, colour(device, vary(rng, (226, 196, 120))), face.float())
        top = top.clamp(max=cut)
    return top, bottom, look
