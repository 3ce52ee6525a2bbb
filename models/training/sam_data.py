# requires: see common.py
"""SAM-tiny's photos and what is known of every pixel, held as uint8 on the training device.

Three maps a photo: `inst`, the visible instances (0 unknown, 255 table); `full`, dishes with all that lies on them (0 none);
`part`, connected pieces of foods (0 none). Sources: rendered scenes of others (plates.npz), own renderings
(rendered_*.npz, the same arrays, all for training but a few) and ECUSTFD photos with pseudo masks (ecustfd.npz).
"""

import mmap
import multiprocessing
import time
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch

from common import KIND_OF_ID, KINDS

SOURCES = ["plates", "own", "ecustfd"]
SHARE = (0.30, 0.45, 0.25)       # of the draws, by source; what is missing is left out
OWN_HELD = 16                    # at most, and a fiftieth at most: scenes at the end of each file of own renderings that are only looked at
DISHES = ("plate", "bowl", "board")
PASTED = 150                     # ids from here to 199 are free for foods pasted in; in `part` from 251
PARTS = 250
FOOD = KINDS.index("food")


def hull(mask):
    """Filled convex hull of a mask, as bool."""
    out = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return out > 0


def maps(ids, real: bool):
    """ids as prepare.py stores them (H,W) -> inst, full, part (H,W) uint8 and kind (256,): index in KINDS by `inst` value."""
    inst, full, part = np.zeros_like(ids), np.zeros_like(ids), np.zeros_like(ids)
    kind = np.zeros(256, np.uint8)
    foods = np.where(ids < PASTED, ids, 0)
    inst[foods > 0] = foods[foods > 0]
    kind[:200] = FOOD
    piece = 1
    for value in np.unique(foods[foods > 0]):
        n, comp, stats, _ = cv2.connectedComponentsWithStats((foods == value).astype(np.uint8))
        for j in range(1, n):
            if stats[j, cv2.CC_STAT_AREA] >= 60 and piece <= PARTS:
                part[comp == j] = piece
                piece += 1
    number = 200
    for value, name in KIND_OF_ID.items():
        mask = ids == value
        if value == 250 or not mask.any():
            continue
        whole = mask
        if name in DISHES:  # one component of dish and food together, so that food does not cut a plate in two
            whole = mask | ((foods > 0) & hull(mask))
        n, comp = cv2.connectedComponents(whole.astype(np.uint8))
        for j in range(1, n):
            one = (comp == j) & mask
            if one.sum() < 40 or number > 250:
                continue
            inst[one], kind[number] = number, KINDS.index(name)
            if name in DISHES:
                inside = hull(one)
                full[one | (inside & (foods > 0)) | (inside & (ids == 207) & real)] = number
            number += 1
    if not real:
        inst[ids == 0] = 255
        kind[255] = KINDS.index("table")
        inst[ids == 250] = 0
    return inst, full, part, kind


def boxes_of(inst):
    """Rows (id, x0, y0, x1, y1) of the foods that are large enough to be pasted elsewhere."""
    rows = []
    for value in np.unique(inst[(inst > 0) & (inst < PASTED)]):
        x, y, w, h = cv2.boundingRect((inst == value).astype(np.uint8))
        if w * h > 900 and w > 12 and h > 12:
            rows.append((int(value), x, y, x + w, y + h))
    return rows


def shared(shape):
    """A uint8 array that forked workers write into."""
    return np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)


_WORK = {}


def _one(i):
    w = _WORK
    w["inst"][i], w["full"][i], w["part"][i], w["kind"][i] = maps(w["ids"][i], bool(w["real"][i]))
    return [(i, *row) for row in boxes_of(w["inst"][i])]


def annotate(ids, real, workers: int):
    """Maps of all photos, in `workers` processes."""
    cv2.setNumThreads(1)
    _WORK.update(ids=ids, real=real, kind=shared((len(ids), 256)), **{k: shared(ids.shape) for k in ("inst", "full", "part")})
    if workers > 1:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            rows = pool.map(_one, range(len(ids)), chunksize=8)
    else:
        rows = [_one(i) for i in range(len(ids))]
    out = {k: _WORK[k] for k in ("inst", "full", "part", "kind")}
    _WORK.clear()
    return out, np.array([r for row in rows for r in row], np.int64).reshape(-1, 6)


@dataclass
class Data:
    """Photos letterboxed top left. Tensors on one device; N photos of side H."""

    rgb: torch.Tensor       # (N,H,H,3) uint8
    inst: torch.Tensor      # (N,H,H) uint8
    full: torch.Tensor      # (N,H,H) uint8
    part: torch.Tensor      # (N,H,H) uint8
    kind: torch.Tensor      # (N,256) uint8
    size: torch.Tensor      # (N,2) width, height
    source: torch.Tensor    # (N,) index in SOURCES
    foods: torch.Tensor     # (M,6) photo, id, x0, y0, x1, y1
    weight: torch.Tensor    # (N,) cumulated chance of being drawn
    foods_weight: torch.Tensor  # (M,)

    def __len__(self):
        return len(self.rgb)

    def to(self, device) -> "Data":
        return Data(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def read(cache, held: bool, limit: int = 0):
    """(rgb, ids, size, source) of one split, as numpy arrays; at most `limit` photos a file if it is not 0."""
    parts = []
    files = [(0, cache / "plates.npz"), *((1, p) for p in sorted(cache.glob("rendered_*.npz"))), (2, cache / "ecustfd.npz")]
    for source, path in files:
        if not path.exists():
            continue
        with np.load(path) as z:
            n = len(z["size"])
            if source == 1:
                cut = n - min(OWN_HELD, max(1, n // 50))
                index = np.arange(cut, n) if held else np.arange(cut)
            else:
                keep = z["held"] == held
                index = np.nonzero(keep & z["segment"] if source == 2 else keep)[0]
            if limit:
                index = index[:: max(1, len(index) // limit)][:limit]
            if len(index):
                parts.append((z["rgb"][index], z["ids"][index], z["size"][index], np.full(len(index), source)))
    if not parts:
        raise SystemExit(f"no photos in {cache}: run prepare.py")
    return [np.concatenate(a) if len(parts) > 1 else a[0] for a in zip(*parts)]


def load(cache, held: bool, limit: int = 0, workers: int = 1) -> Data:
    """A split, on the host: every split is loaded before the device is used, since forked workers label the photos."""
    begun = time.time()
    rgb, ids, size, source = read(cache, held, limit)
    known, foods = annotate(ids, source == 2, max(1, min(workers, len(ids) // 32)))
    share = np.array([SHARE[s] for s in source])
    count = np.bincount(source, minlength=len(SOURCES))
    weight = share / count[source]
    put = lambda a: torch.from_numpy(np.ascontiguousarray(a))
    data = Data(put(rgb), put(known["inst"]), put(known["full"]), put(known["part"]), put(known["kind"]), put(size).long(), put(source),
                put(foods), put(weight.cumsum()).float(), put(weight[foods[:, 0]].cumsum()).float())
    named = ", ".join(f"{s} {n}" for s, n in zip(SOURCES, count) if n)
    print(f"{'held out' if held else 'train'}: {named}; {len(foods)} foods to paste; {time.time() - begun:.0f} s", flush=True)
    return data
