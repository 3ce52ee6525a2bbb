"""Table tops (wood, cloth, stone) as colours of (x, y) in cm, and the room beyond the table's edge."""

import math

import numpy as np
import torch

from .field import colour, mix, noise, smooth

WOODS = [(92, 66, 50), (140, 104, 74), (172, 128, 86), (186, 160, 124), (120, 78, 52), (150, 140, 124), (70, 52, 46), (196, 150, 100)]
STONES = [(150, 146, 140), (190, 186, 178), (92, 90, 92), (168, 150, 136), (74, 100, 112), (142, 60, 52), (120, 118, 116)]
CLOTHS = [((214, 208, 196), (150, 40, 44)), ((222, 220, 210), (60, 66, 80)), ((220, 214, 200), (46, 96, 84)), ((190, 168, 110), (104, 48, 70)),
          ((110, 150, 100), (60, 90, 120)), ((214, 206, 192), (160, 140, 120)), ((70, 76, 90), (206, 180, 140)), ((216, 210, 198), (70, 100, 150))]
WALLS = [(150, 140, 136), (110, 116, 118), (176, 160, 140), (96, 104, 112), (134, 96, 84), (88, 92, 84), (170, 170, 168), (120, 108, 116)]
THINGS = [(110, 52, 40), (52, 70, 96), (148, 84, 50), (90, 128, 132), (60, 64, 72), (180, 150, 110), (70, 44, 38), (120, 132, 140), (190, 186, 180)]


def jitter(rng, c, spread=14):
    """A colour nearby: common lightness and a little hue."""
    return np.clip(np.asarray(c, float) * rng.uniform(0.82, 1.18) + rng.normal(0, spread * 0.4, 3), 8, 250)


class Table:
    def __init__(self, rng, device):
        self.device = device
        self.kind = ("wood", "stone", "cloth")[rng.choice(3, p=[0.5, 0.25, 0.25])]
        self.angle, self.shift = rng.uniform(0, 2 * math.pi) if rng.random() < 0.3 else rng.normal(0, 0.12) + rng.integers(2) * math.pi / 2, rng.random()
        self.gloss = rng.uniform(0.0, 0.5) if self.kind == "wood" else rng.uniform(0.0, 0.6) if self.kind == "stone" else 0.0
        self.half = (rng.uniform(45, 95), rng.uniform(32, 62))
        self.style = rng.random()
        pick = lambda table: jitter(rng, table[rng.integers(len(table))])
        if self.kind == "wood":
            self.a = pick(WOODS)
            self.a = self.a.mean() + (self.a - self.a.mean()) * rng.uniform(0.35, 1.0)
            self.b = self.a * rng.uniform(0.62, 0.9)
            self.plank = rng.uniform(7, 14) if rng.random() < 0.6 else 0.0
            self.grain = rng.uniform(2.5, 7)
        elif self.kind == "stone":
            self.a = pick(STONES)
            self.b = np.clip(self.a * (rng.uniform(1.25, 1.8) if rng.random() < 0.6 else rng.uniform(0.5, 0.8)), 10, 245)
            self.grain = rng.uniform(4, 14)
        else:
            pair = CLOTHS[rng.integers(len(CLOTHS))]
            self.a, self.b = jitter(rng, pair[0]), jitter(rng, pair[1], 30)
            if rng.random() < 0.2:
                self.b = rng.uniform(30, 190, 3)
            self.period = rng.uniform(1.6, 5.5)
        self.room = Room(rng, device)

    def albedo(self, x, y):
        """Linear rgb (n,3) of the table top."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = c * x + s * y, c * y - s * x
        a, b = colour(self.device, self.a), colour(self.device, self.b)
        if self.kind == "wood":
            row = (v / self.plank).floor() if self.plank else torch.zeros_like(v)
            shift = row * 37.7
            streak = noise(u * 0.5 + shift, v, 4, self.grain * 1.6, self.shift)
            wave = noise(u * 0.18 + shift, v + shift, 1, self.grain, self.shift + 0.3)
            t = 0.45 + 0.22 * torch.sin(wave * 2.0 + streak * 0.7) + 0.17 * streak
            out = mix(a, b, t)
            if self.plank:
                tone = 1 + 0.13 * torch.sin(row * 12.9898 + self.shift * 9)
                gap = ((v / self.plank - row) * self.plank).minimum((row + 1 - v / self.plank) * self.plank)
                out = out * (tone * (0.45 + 0.55 * smooth(gap, 0.02, 0.14)))[:, None]
            return out
        if self.kind == "stone":
            if self.style < 0.35:                                                           # granite
                n = noise(x, y, 3, 1.2, self.shift) + 0.6 * noise(x, y, 0, 3.0, self.shift)
                return mix(a, b, 0.4 + 0.25 * n)
            if self.style < 0.65:                                                           # marble
                wx = noise(x, y, 1, self.grain, self.shift) * 2.5
                vein = noise(x + wx, y - wx, 5, self.grain * 2.2, self.shift)
                return mix(a, b, smooth(vein, 0.6, 2.6) * 0.9 + 0.12 * noise(x, y, 1, self.grain, 0.4))
            return a * (1 + 0.09 * noise(x, y, 2, self.grain, self.shift) + 0.012 * noise(x, y, 3, 1.0, self.shift)).clamp(0.4, 1.6)[:, None]
        weave = 1 + 0.05 * noise(x, y, 3, 0.9, self.shift)
        e = 0.04 * self.period
        stripe = lambda w: smooth((torch.remainder(w / self.period, 1.0) - 0.5).abs() * self.period, self.period / 4 - e, self.period / 4 + e)
        if self.style < 0.5:
            t = (stripe(u) + stripe(v)) / 2
        elif self.style < 0.8:
            t = stripe(u)
        else:
            t = 0.15 * noise(u, v, 0, 9.0, self.shift)
        return mix(a, b, t) * weave[:, None]

    def on(self, x, y):
        return (x.abs() < self.half[0]) & (y.abs() < self.half[1])


class Room:
    """A floor 75 cm below, walls around, and boxes of plain colours before them."""

    def __init__(self, rng, device):
        self.device, self.shift = device, rng.random()
        self.wall, self.floor = (jitter(rng, WALLS[rng.integers(len(WALLS))]) for _ in range(2))
        self.distance = rng.uniform(110, 300)
        self.yaw = rng.normal(0, 0.2)
        self.bright = rng.uniform(0.45, 1.0)
        n = rng.integers(2, 7)
        self.things = [(rng.uniform(-3, 3), rng.uniform(15, 70), rng.uniform(-75, 60), rng.uniform(60, 100), jitter(rng, THINGS[rng.integers(len(THINGS))])) for _ in range(n)]

    def shade(self, origin, rays):
        """Linear rgb (n,3) and depth (n,) where rays that miss the table end."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        inf = torch.full_like(rays[:, 0], 1e9)
        ahead = s * rays[:, 0] + c * rays[:, 1]
        tw = torch.where(ahead.abs() > 1e-3, (self.distance * torch.sign(ahead) - (s * origin[0] + c * origin[1])) / ahead, inf).clamp_min(1)
        side = c * rays[:, 0] - s * rays[:, 1]
        ts = torch.where(side.abs() > 1e-3, (self.distance * torch.sign(side) - (c * origin[0] - s * origin[1])) / side, inf).clamp_min(1)
        tf = torch.where(rays[:, 2] < -1e-3, (-75 - origin[2]) / rays[:, 2], inf)
        t = torch.minimum(torch.minimum(tw, ts), tf)
        p = origin + t[:, None] * rays
        along = torch.where(ts < tw, s * p[:, 0] + c * p[:, 1], c * p[:, 0] - s * p[:, 1])
        rgb = colour(self.device, self.wall).expand(len(t), 3) * (1 - 0.2 * (ts < tw).float())[:, None]
        for centre, half, low, high, paint in self.things:
            d = torch.maximum((along - centre * 60).abs() - half, torch.maximum(p[:, 2] - high, -p[:, 2] - 75))
            rgb = torch.where((d < 0)[:, None] & (tf > t)[:, None], colour(self.device, paint) * 1.0, rgb)
        rgb = torch.where((tf <= t)[:, None], colour(self.device, self.floor) * (0.7 + 0.1 * noise(p[:, 0], p[:, 1], 1, 30.0))[:, None], rgb)
        return rgb * self.bright * 2.0, t
