"""Compares the renderer with geometry: the plane's disparity, a ball's height, width and volume, a camera's rays, seeds."""

import math

import numpy as np
import torch

from .camera import Camera, look
from .compose import picture_of
from .field import Field, colour
from .foods.place import settle
from .foods.shapes import Look, turned_solid
from .march import Tracer


def expect(name, value, want, tolerance):
    ok = abs(value - want) <= tolerance
    print(f"{'ok ' if ok else 'BAD'} {name}: {value:.4f}, want {want:.4f} +- {tolerance}")
    return ok


def check(device):
    """Prints each comparison; exits with 1 when one fails."""
    good = []
    field, R = Field(device), 3.0
    build = lambda u, v: (*turned_solid(u, v, R, 2 * R), Look(colour(field.device, (200, 80, 60)).expand(*u.shape, 3), 0.2))
    volume = float(settle(field, (0.0, 0.0, 0.0), R, build, 1, sink=0.0))
    good.append(expect("ball volume cm3", volume, 4 / 3 * math.pi * R**3, 1.5))
    position = np.array([0.0, 0.0, 30.0])
    camera = Camera(200, 200, 240.0, position, look(position, np.zeros(3), 0), 0.0)
    rays = camera.rays(field.device)
    tracer = Tracer(field)
    origin = torch.tensor(position, dtype=torch.float32, device=field.device)
    depth, _ = tracer.trace(origin, rays)
    depth = depth.reshape(400, 400).cpu()
    good.append(expect("ball height cm", 30 - float(depth.min()), 2 * R, 0.03))
    seen = torch.isfinite(depth).sum().sqrt() * 2 / math.sqrt(math.pi) / 2                 # diameter in photo pixels
    good.append(expect("ball silhouette px", float(seen), 2 * 240 * R / math.sqrt((30 - R) ** 2 - R**2), 0.5))
    side = np.array([0.0, -30.0, 20.0])
    camera = Camera(200, 200, 240.0, side, look(side, np.array([0, 0, R]), 3.0), 60.0)
    rays, origin = camera.rays(field.device), torch.tensor(side, dtype=torch.float32, device=field.device)
    depth, hit = tracer.trace(origin, rays)
    p = origin + depth[hit][:, None] * rays[hit]
    centre = torch.tensor([0, 0, R], device=field.device)
    off = ((p - centre).norm(dim=1) - R).abs()
    good.append(expect("ball from the side: mean error cm", float(off.mean()), 0.0, 0.02))
    good.append(expect("lowest point seen below the equator cm", float(p[:, 2].min()), R - R * math.sqrt(1 - ((20 - R) / math.hypot(30, 17)) ** 2), 0.35))
    from .export import render
    row, again = render(3, device), render(3, device)
    on = (row["ids"] == 0) & (row["r"] > 0)
    on[row["size"][1]:], on[:, row["size"][0]:] = False, False
    good.append(expect("table: largest |r - q|", float(np.abs(row["r"].astype(float) - row["q"])[on].max()), 0.0, 0.003))
    good.append(expect("same seed, same picture: differing bytes", float((row["rgb"] != again["rgb"]).sum()), 0.0, 0.0))
    pic = picture_of(3, device)
    good.append(expect("ids of foods without a label", float(sum(1 for i in np.unique(pic.ids) if len(pic.labels) < i < 200)), 0, 0))
    raise SystemExit(0 if all(good) else 1)
