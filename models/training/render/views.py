# requires: python>=3.11 torch>=1.13 numpy opencv-python-headless>=4.6 pillow>=9
"""Renders meals from two or more sides with exact truth, as a data set of `dragunov eval`:
`python -m render.views --count 60 --seed 9000000 --out FOLDER`.

One seed, one meal, seen by as many cameras: the first as `python -m render` draws it, the others from another side, tilt and distance.
With `--change` the second photo has what the first lacks: a tilt, a higher lens, the whole dish, a bank card beside it.
A run that was broken off goes on where it stopped. Writes manifest.jsonl with the photos' `meal`, and per photo a JPEG with a focal length in EXIF, ids, and depth in tenths of a millimetre.
"""

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from . import clutter
from .camera import Camera, look
from .compose import compose, picture
from .light import sensor

MIN_AREA = 1 / 1500                                   # of the photo; what shows less is not asked for
DISHES = {200: "plate", 201: "bowl", 202: "board"}
REFERENCES = {207: "coin", 208: "card"}
OTHERS = (203, 204, 205, 206, 209, 250)
COIN_CM = 2.5


def subject(camera):
    """What a camera looks at on the table, from how far (cm), and from where about the vertical."""
    forward = camera.rotation[2]
    reach = camera.position[2] / -forward[2]
    aim = camera.position + reach * forward
    return aim, reach, math.atan2(aim[0] - camera.position[0], aim[1] - camera.position[1])


def aimed(camera, aim, reach, azimuth, pitch_deg, roll=0.0):
    """The same lens over `aim`, `reach` cm away from it."""
    pitch = math.radians(pitch_deg)
    flat = reach * math.sin(pitch)
    position = np.array([aim[0] - flat * math.sin(azimuth), aim[1] - flat * math.cos(azimuth), reach * math.cos(pitch)])
    return Camera(camera.width, camera.height, camera.f, position, look(position, aim, roll), pitch_deg)


def moved(camera, rng):
    """The same subject from another side."""
    aim, reach, azimuth = subject(camera)
    aim = aim + np.array([rng.normal(0, 1), rng.normal(0, 1), 0])
    azimuth += math.radians(rng.uniform(40, 140)) * rng.choice([-1, 1])
    pitch = float(np.clip(rng.normal(37, 10), 18, 58))
    cos = math.cos(math.radians(pitch))
    reach = float(np.clip(reach * rng.uniform(0.85, 1.15), 22 / cos, 60 / cos))
    roll = rng.uniform(-4, 4) if rng.random() < 0.3 else 0.0
    return aimed(camera, aim, reach, azimuth, pitch, roll)


def cameras(change, camera, count, rng):
    """The cameras of one meal: the first is the photo that could be better, the others have what `change` names."""
    aim, reach, azimuth = subject(camera)
    tilted = lambda low, high: aimed(camera, aim, reach, azimuth, float(rng.uniform(low, high)))
    if change == "side":
        return [camera] + [moved(camera, rng) for _ in range(count - 1)]
    if change == "tilt":
        return [tilted(0, 8), tilted(25, 40)]
    if change == "higher":
        return [tilted(60, 68), tilted(30, 45)]
    if change == "back":
        whole = tilted(25, 40)
        near = aim + np.array([rng.uniform(4, 8) * rng.choice([-1, 1]), rng.normal(0, 2), 0])
        return [aimed(camera, near, 0.62 * reach, azimuth, whole.pitch), whole]
    return [tilted(20, 45)] * 2


def lay_card(scene, rng):
    """A bank card on the table, on the camera's side of the dish."""
    _, _, azimuth = subject(scene.camera)
    main = scene.main
    away = (main.diameter / 2 if main.diameter else main.reach if main.half is None else max(main.half)) + 6.0
    at = azimuth + math.pi + rng.uniform(-0.7, 0.7)
    clutter.card(scene.field, rng, main.x + away * math.sin(at), main.y + away * math.cos(at))


def sized(scene, kind):
    return dict(diameter_cm=scene.main.diameter) if kind == scene.main.kind and scene.main.diameter else {}


def save(folder, name, camera, scene, image, ids, depth, rng):
    """One photo and its truth; its line of the manifest."""
    w, h = camera.width, camera.height
    f35 = round(camera.f * 43.2666153 / math.hypot(w, h))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Renderer", "Views"
    exif[0x8769] = {0xA405: f35}
    photo = Image.fromarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))
    photo.save(folder / f"{name}.jpg", quality=int(rng.integers(85, 96)), exif=exif)
    Image.fromarray(ids).save(folder / f"{name}_ids.png")
    Image.fromarray(np.clip(np.round(depth * 100), 0, 65535).astype(np.uint16)).save(folder / f"{name}_depth.png")
    shown = lambda i: (ids == i).sum() >= MIN_AREA * w * h
    mask = lambda i: dict(file=f"{name}_ids.png", value=int(i))
    down = -camera.rotation[:, 2]
    meal = name.rsplit("_", 1)[0]
    items = [dict(label=str(label), volume_cm3=float(volume), mask=mask(i), object=f"{meal}_{i}")
             for i, (label, volume) in enumerate(zip(scene.labels, scene.volumes), 1) if shown(i)]
    references = [dict(kind=kind, mask=mask(i), **(dict(diameter_cm=COIN_CM) if kind == "coin" else {}))
                  for i, kind in REFERENCES.items() if shown(i)]
    return dict(id=name, meal=meal, image=f"{name}.jpg", width=w, height=h, pitch_deg=math.degrees(math.acos(down[2])),
                roll_deg=math.degrees(math.atan2(down[0], down[1])), camera=dict(focal_px=camera.f, f35_mm=f35, height_cm=camera.position[2]),
                references=references, dishes=[dict(kind=k, mask=mask(i), **sized(scene, k)) for i, k in DISHES.items() if shown(i)],
                others=[mask(i) for i in OTHERS if (ids == i).any()], items=items, depth=dict(file=f"{name}_depth.png", unit_m=1e-4))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--seed", type=int, default=9_000_000)
    p.add_argument("--views", type=int, default=2)
    p.add_argument("--change", choices=("side", "tilt", "higher", "back", "card"), default="side")
    p.add_argument("--long", type=int, default=1024, help="longer side of a photo in pixels")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--device", default="cpu")
    args = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "manifest.jsonl"
    done = [json.loads(line)["meal"] for line in path.read_text().splitlines()] if path.exists() else []
    with open(path, "a") as manifest:
        for seed in range(args.seed, args.seed + args.count):
            if f"meal{seed}" in done:
                continue
            scene, rng = compose(seed, args.device, args.long)
            views, rows = np.random.default_rng([seed, 11]), []
            for k, camera in enumerate(cameras(args.change, scene.camera, args.views, views)):
                scene.camera = camera
                if args.change == "card" and k == 1:
                    lay_card(scene, views)
                rgb, ids, depth = picture(scene, rng)
                image = sensor(rng, rgb, 1.4).cpu().numpy()
                rows.append(save(args.out, f"meal{seed}_{'abcdef'[k]}", camera, scene, image, ids[1::2, 1::2].cpu().numpy(),
                                 depth[1::2, 1::2].cpu().numpy(), views))
            manifest.writelines(json.dumps(row) + "\n" for row in rows)
            manifest.flush()


if __name__ == "__main__":
    main()
