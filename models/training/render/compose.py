"""One scene from one seed: table, dishes, foods, references, light and camera; and its picture with exact truth."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from . import clutter, dishes
from .camera import sample
from .field import BANDS, CELL, Field, noise
from .foods.catalogue import BOWL, BREAKFAST, DINNER, ECUSTFD, FRUIT, HEAPS, SNACK, piece
from .foods.fruit import Piece
from .foods.piled import build
from .foods.place import Packing, settle
from .light import Lights, develop, sensor, shade
from .march import Tracer
from .table import Table

FOODS = 32


@dataclass
class Scene:
    field: Field
    table: Table
    lights: Lights
    camera: object
    labels: list            # of food ids 1..
    volumes: list           # tensors, cm3
    main: object            # the dish that most lies on


@dataclass
class Picture:
    """rgb (H,W,3) u8, ids (H,W) u8, depth (H,W) cm f32, all at the buffer's size (2x); camera; labels and volumes by food id - 1."""

    rgb: np.ndarray
    ids: np.ndarray
    depth: np.ndarray
    camera: object
    labels: list
    volumes: list


class Kitchen:
    """Serves foods on the dishes of one scene."""

    def __init__(self, field, rng):
        self.field, self.rng, self.labels, self.volumes = field, rng, [], []

    def serve(self, label, packing, shrink=1.0, centre=False):
        rng, mask_id = self.rng, len(self.labels) + 1
        dish, volume = packing.dish, []
        if label in HEAPS:
            heap = HEAPS[label]
            if dish.kind == "bowl":
                volume.append(build(self.field, rng, heap, (dish.x, dish.y, (dish.reach, 1.0)), mask_id, dish))
                packing.free[:] = False
            else:
                for k in range(3):
                    R = rng.uniform(*heap.radius) * shrink * (1 - 0.18 * k)
                    H = rng.uniform(*heap.height) * shrink**0.7
                    spot = packing.find(rng, R * 1.03, R * 1.03, tries=30)
                    if spot:
                        volume.append(build(self.field, rng, heap, (spot[0], spot[1], (R, H)), mask_id))
                        break
        else:
            first, n, kin = None, 1, int(rng.integers(1 << 30)) if rng.random() < 0.85 else None
            for k in range(12):
                p = piece(label, rng, self.field.device) if kin is None else alike(label, kin, rng, self.field.device)
                if k == 0:
                    n = int(rng.integers(p.count[0], p.count[1] + 1))
                if k >= n:
                    break
                near = first if first is not None else ((dish.x, dish.y) if centre else None)
                spot = packing.find(rng, p.a, p.b, near=near, spread=p.spread if first else 1.5, tries=40)
                if spot:
                    volume.append(settle(self.field, spot, math.hypot(p.a, p.b) if p.a < 3 else max(p.a, p.b) * 1.25, p.build, mask_id))
                    first = first or spot[:2]
        volume = [v for v in volume if v is not None]
        if volume:
            self.labels.append(label)
            self.volumes.append(sum(volume))
        return bool(volume)


def alike(label, kin, rng, device):
    """One of several of a kind: the size, colours and shape that `kin` draws, a little larger or smaller, with its own details."""
    own = np.random.default_rng(kin)
    p, k = piece(label, own, device), rng.uniform(0.92, 1.08)
    own.bit_generator.state = np.random.default_rng(int(rng.integers(1 << 30))).bit_generator.state

    def build(u, v):
        top, bottom, look = p.build(u / k, v / k)
        return top * k, bottom * k, look

    return Piece(p.a * k, p.b * k, build, p.count, p.spread)


def compose(seed, device="cpu", long=448):
    rng = np.random.default_rng([seed, 77])
    field, table, lights = Field(device), Table(rng, torch.device(device)), Lights(rng)
    kitchen, taken, subject = Kitchen(field, rng), [], 27.0
    style = rng.choice(["dinner", "breakfast", "fruit", "snack", "bowl", "two", "single", "ecustfd"], p=[0.34, 0.12, 0.13, 0.13, 0.09, 0.09, 0.06, 0.04])
    place = "plate"
    if style in ("fruit", "snack", "single"):
        place = rng.choice(["plate", "board", "table"], p=[0.58, 0.25, 0.17])
    many = lambda menu, lo, hi: list(rng.choice(menu, min(len(menu), int(rng.integers(lo, hi + 1))), replace=False))
    pick = dict(dinner=(DINNER, 2, 4), breakfast=(BREAKFAST, 2, 4), fruit=(FRUIT, 1, 4), snack=(SNACK, 1, 3), bowl=(BOWL, 1, 1), two=(DINNER, 1, 3),
                single=(DINNER + SNACK, 1, 1), ecustfd=(ECUSTFD, 1, 1))[style]
    menu = many(*pick)
    main = None
    if style == "bowl":
        main = dishes.bowl(field, rng, 0, 0)
        kitchen.serve(menu[0], Packing(main))
        subject = 2 * main.reach + rng.uniform(1, 9)
        taken.append((0, 0, main.reach + 0.5))
    else:
        if place == "board":
            main = dishes.board(field, rng, 0, 0)
        elif place == "table":
            main = dishes.Dish("table", 0, 0, 12.0, 12.0)
        else:
            main = dishes.plate(field, rng, 0, 0, rng.uniform(20, 24) if style == "ecustfd" else None)
        packing = Packing(main)
        shrink = 1.0 if len(menu) < 3 else rng.uniform(0.88, 1.0)
        subject = 2 * (main.reach if main.half is None else main.half[0]) + 2
        for label in menu:
            if label in HEAPS and HEAPS[label].bowl > 0.95:
                continue
            kitchen.serve(label, packing, shrink, centre=len(menu) == 1 or style == "ecustfd")
        taken.append((0, 0, main.reach + (2.0 if main.kind == "plate" else 0)))
    if style == "two" or (style == "bowl" and rng.random() < 0.6):
        a, r = rng.uniform(0.2, math.pi - 0.2) if rng.random() < 0.8 else rng.uniform(-3, 3), main.reach
        if style == "two":
            R = rng.uniform(11.8, 16)
            gap = r + 3 + R / 2
            side = dishes.bowl(field, rng, gap * math.cos(a), gap * math.sin(a), R)
            extra = rng.choice(BOWL)
        elif rng.random() < 0.6:
            R = rng.uniform(15, 20)
            gap = r + 1.5 + R / 2
            side = dishes.plate(field, rng, gap * math.cos(a), gap * math.sin(a), R)
            extra = rng.choice(FRUIT + SNACK)
        else:
            gap, R = r + 7, 10
            side = dishes.Dish("table", gap * math.cos(a), gap * math.sin(a), 5, 5.5)
            extra = rng.choice(["apple", "orange", "bread roll", "croissant", "pear", "banana", "peach"])
        if side is not None:
            kitchen.serve(extra, Packing(side), centre=True)
            taken.append((side.x, side.y, R / 2 + 1))
            subject += 0.5 * R
    if style == "ecustfd" and rng.random() < 0.8:
        t = rng.uniform(0, 6.28)
        clutter.coin(field, rng, (main.reach - 2) * math.cos(t), (main.reach - 2) * math.sin(t))
    clutter.around(field, rng, main, taken)
    if main.kind == "table":
        subject = 22.0
    camera = sample(rng, long, subject, style == "ecustfd")
    return Scene(field, table, lights, camera, kitchen.labels, kitchen.volumes, main), rng


@torch.no_grad()
def picture(scene, rng):
    """Traces and shades a scene at twice the photo's size."""
    field, camera, table = scene.field, scene.camera, scene.table
    dev = field.device
    W, H = camera.width * 2, camera.height * 2
    rays = camera.rays(dev)
    n = rays.shape[0]
    origin = torch.tensor(camera.position, dtype=torch.float32, device=dev)
    tracer = Tracer(field)
    depth, hit = tracer.trace(origin, rays)
    towards = torch.tensor(scene.lights.towards, device=dev)
    ids = torch.full((n,), 250, dtype=torch.uint8, device=dev)
    rgb = torch.zeros((n, 3), device=dev)
    # the table, for every ray that comes to it (also behind glass)
    t = torch.where(rays[:, 2] < -1e-4, -origin[2] / rays[:, 2].clamp(max=-1e-4), float("inf"))
    solid = torch.isfinite(depth)
    id_table, under, bands, metal, glass = field.tables()
    layer, below, normal, frac, thick = tracer.surface(origin + depth[hit][:, None] * rays[hit])
    p = origin + depth[hit][:, None] * rays[hit]
    cell, _ = tracer.cell(p[:, 0], p[:, 1])
    a, b = field.layers
    ours, other = b.material.reshape(-1)[cell], a.material.reshape(-1)[cell]
    material = torch.where(layer, ours, other)
    material = torch.where(material > 0, material, torch.maximum(ours, other))             # a silhouette's cell may be the neighbour's
    see = glass[material, 0]
    pool = glass[material, 1]
    through = torch.zeros(n, dtype=torch.bool, device=dev)
    through[hit] = see > 0
    ground = torch.nonzero((~solid | through) & torch.isfinite(t)).squeeze(1)
    g = origin + t[ground][:, None] * rays[ground]
    on = table.on(g[:, 0], g[:, 1])
    ground, g = ground[on], g[on]
    base = table.albedo(g[:, 0], g[:, 1])
    mean = base.mean(0) if len(base) else torch.zeros(3, device=dev)
    view = -rays / rays.norm(dim=1, keepdim=True)
    seen, sky = table_light(tracer, towards, scene.lights.softness, g)
    up = torch.zeros_like(g)
    up[:, 2] = 1
    flat = torch.zeros(len(g), device=dev)
    bounce = mean * 0.3 * (scene.lights.ambient.mean() + 0.5 * scene.lights.key.mean())
    rgb[ground] = shade(scene.lights, base, flat + table.gloss, flat, up, view[ground], seen, sky, tracer.sky(g)[1], bounce)
    table_seen = torch.zeros(n, dtype=torch.bool, device=dev)
    table_seen[ground] = True
    far = torch.nonzero((~solid | through) & ~table_seen).squeeze(1)
    if len(far):
        room, z = table.room.shade(origin, rays[far])
        rgb[far] = room * torch.tensor(scene.lights.ambient, device=dev)
        depth[far] = torch.where(solid[far], depth[far], z)
    free = ground[~solid[ground]]
    depth[free] = t[free]
    ids[free] = 0
    # solids
    rows = torch.where(layer[:, None], tracer.bilinear(b.albedo.reshape(-1, 4), p[:, 0], p[:, 1]), tracer.bilinear(a.albedo.reshape(-1, 4), p[:, 0], p[:, 1]))
    albedo, gloss = rows[:, :3], rows[:, 3]
    albedo = torch.where(layer[:, None], albedo.clamp_min(1e-4) ** 0.92, albedo)            # light scattered within foods
    paint = under[material]
    albedo = torch.where((below & (normal[:, 2] < 0.35))[:, None] & (paint[:, 3:] > 0), paint[:, :3] * (0.9 + 0.2 * (albedo.mean(1, keepdim=True) > 0.3)), albedo)
    side = bands[material, (frac * BANDS).long().clamp(0, BANDS - 1)]
    albedo = torch.where(((normal[:, 2].abs() < 0.5) & (side[:, 3] > 0))[:, None], side[:, :3], albedo)
    wall = normal[:, 2].abs() < 0.4                                                        # colours of (x, y) would smear down a wall
    grain = noise(p[:, 0] + p[:, 1], 1.7 * p[:, 2], 0, 1.5, 0.3)
    albedo = torch.where(wall[:, None], albedo * (1 + 0.07 * grain)[:, None], albedo)
    lit = tracer.light(p + normal * 0.06, towards, scene.lights.softness)
    sky, near = tracer.sky(p + normal * 0.1)
    colour = shade(scene.lights, albedo, gloss, metal[material], normal, view[hit], lit, sky, near, bounce)
    clear = (see > 0) & ((p[:, 2] > pool) | (see > 0.5))
    edge = 0.2 + 0.8 * (1 - (normal * view[hit]).sum(1).abs()).clamp(0, 1) ** 3
    sheen = colour.mean(1, keepdim=True).clamp(max=0.6) * 0.25 + 0.1
    behind = rgb[hit] * (1 - 0.55 * edge[:, None]) + sheen * edge[:, None] * 0.5
    rgb[hit] = torch.where(clear[:, None], behind, colour)
    ids[hit] = id_table[material]
    weight = (ids != 250).float().reshape(H, W) * 0.75 + 0.25
    out = develop(rng, rgb.reshape(H, W, 3), weight, camera.width, camera.height)
    return out, ids.reshape(H, W), depth.reshape(H, W)


def table_light(tracer, towards, softness, g):
    """Key light and sky on the table, worked out on a 0.16 cm grid and read between its points."""
    dev, n, step = g.device, tracer.coarse_side * 2, CELL * 2
    axis = (torch.arange(n, device=dev) + 0.5) * step - n * step / 2
    q = torch.stack([axis[None].expand(n, n), axis[:, None].expand(n, n), torch.full((n, n), 0.01, device=dev)], -1).reshape(-1, 3)
    seen = tracer.light(q, towards, softness)
    sky, _ = tracer.sky(q)
    both = torch.stack([seen, sky]).reshape(1, 2, n, n)
    at = (g[:, :2] / (n * step / 2))[None, None]
    out = F.grid_sample(both, at, padding_mode="border", align_corners=False)[0, :, 0]
    return out[0], out[1]


def picture_of(seed, device="cpu", long=448):
    """The scene of a seed as a Picture at twice the photo's size; None when nothing was served."""
    scene, rng = compose(seed, device, long)
    rgb, ids, depth = picture(scene, rng)
    image = sensor(rng, rgb, 1.4)
    volumes = [float(v) for v in scene.volumes]
    return Picture(image.cpu().numpy(), ids.cpu().numpy(), depth.cpu().numpy(), scene.camera, scene.labels, volumes)
