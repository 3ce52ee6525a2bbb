# requires: python>=3.11 torch>=2.11 numpy>=2 opencv-python-headless>=4.10
"""Renders tabletop meals with exact truth: `python -m render --count 1000 --seed 0 --out $PLATE_CACHE --device cuda`.

Writes shards rendered_000.npz (rgb, ids, r = h/Z, q, size, h, name, held, f_px, pitch, food_label, volume_cm3) and crops_000.npz of
at most --shard scenes. One seed, one scene: scene i has the seed --seed + i.
"""

import argparse
import time
from pathlib import Path

import cv2
import torch


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("rendered"))
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--long", type=int, default=448, help="longer side of a photo in pixels")
    p.add_argument("--shard", type=int, default=400)
    p.add_argument("--first-shard", type=int, default=0, help="number of the first shard written")
    p.add_argument("--minutes", type=float, default=float("inf"), help="begin no scene after this long")
    p.add_argument("--no-crops", action="store_true")
    p.add_argument("--check", action="store_true", help="compares depth and sizes with geometry, writes nothing")
    args = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.check:
        from .check import check
        return check(args.device)
    from .export import render, save, save_crops
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    for k, first in enumerate(range(0, args.count, args.shard)):
        rows, crops = [], None if args.no_crops else []
        for i in range(first, min(first + args.shard, args.count)):
            if time.time() - start > 60 * args.minutes:
                break
            rows.append(render(args.seed + i, args.device, args.long, crops))
        if not rows:
            break
        save(args.out / f"rendered_{k + args.first_shard:03d}", rows)
        if crops:
            save_crops(args.out / f"crops_{k + args.first_shard:03d}", crops)
        done = first + len(rows)
        print(f"{done} scenes, {(time.time() - start) / done:.3f} s each", flush=True)


if __name__ == "__main__":
    main()
