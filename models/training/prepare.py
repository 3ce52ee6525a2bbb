"""Decodes both data sets once into uint8 arrays that the trainings map into memory.

<cache>/plates.npz   rgb (N,448,448,3) letterboxed top left, ids (N,448,448), ratio r = h/Z (f16), q (f16), sizes, food labels
<cache>/ecustfd.npz  rgb, ids (0 unknown, 1 food, 200 dish, 207 coin), ratio from pseudo heights (f16), sizes, label, usable flags
<cache>/crops.npz    rgb (M,240,240,3) and mask (M,240,240) of single items, box side 1.8 x the longer side; kind, label, held, real,
                     name of the photo, part: "item" (a whole one), "piece" (of a table or dish) or "merge" (of two foods)

r = h/Z is the depth target: disparity scaled so that on the table r = q (models of the height above it: H/h = 1 - q/r).
For ECUSTFD (no depth) the food's height is a pseudo height: an ellipsoid or slab of the object's weighed volume over its mask.
"""

import json
import multiprocessing
import os
import tarfile
import zlib
from functools import partial

import cv2
import numpy as np

from common import (ECUSTFD_NO_MASK, KIND_OF_ID, arguments, ecustfd_label, ecustfd_rows, read_split, scene, scenes)

SIDE = 448            # longest side of the cached photos
CROP, CROP_SCALE = 240, 1.8
FLAT = {"bread", "bun", "doughnut", "mooncake", "sachima", "fired_dough_twist", "grape", "banana"}


def upright(path, orientation):
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
    turn = {6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE, 3: cv2.ROTATE_180}.get(orientation)
    return np.ascontiguousarray(image if turn is None else cv2.rotate(np.ascontiguousarray(image), turn))


def letterbox(image, size, inter):
    out = np.zeros((SIDE, SIDE) + image.shape[2:], image.dtype)
    out[: size[1], : size[0]] = cv2.resize(image, size, interpolation=inter)
    return out


def crop(rgb, mask, side_scale=CROP_SCALE):
    """Square cut around the mask's box, grey outside the photo; None for slivers."""
    ys, xs = np.nonzero(mask)
    if len(ys) < 60:
        return None
    x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    side = max(32.0, 1.3 * max(x1 - x0, y1 - y0)) / 1.3 * side_scale
    s = CROP / side
    m = np.float32([[s, 0, CROP / 2 - s * (x0 + x1) / 2], [0, s, CROP / 2 - s * (y0 + y1) / 2]])
    inter = cv2.INTER_LINEAR
    if s < 0.6:  # area-average first, warpAffine alone would alias
        k = s / 0.6
        small = (max(1, round(rgb.shape[1] * k)), max(1, round(rgb.shape[0] * k)))
        kx, ky = small[0] / rgb.shape[1], small[1] / rgb.shape[0]
        rgb, mask = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), cv2.resize(mask.astype(np.uint8), small, interpolation=cv2.INTER_AREA)
        m = m @ np.float32([[1 / kx, 0, 0], [0, 1 / ky, 0], [0, 0, 1]])
    c = cv2.warpAffine(rgb, m, (CROP, CROP), flags=inter, borderMode=cv2.BORDER_CONSTANT, borderValue=(128, 128, 128))
    k = cv2.warpAffine(mask.astype(np.uint8) * 255, m, (CROP, CROP), flags=inter)
    return c, k


def plate_scene(name, data, held):
    """One rendered scene: (row of plates.npz, crops)."""
    d, p = scene(data, name), data / "plates" / name
    rgb = upright(p / "photo.jpg", d["exif"].get("Orientation", 1))
    ids = cv2.imread(str(p / "masks.png"), -1)
    z = cv2.imread(str(p / "depth.png"), -1).astype(np.float32) * d["files"]["depth_unit_m"]
    h, w = ids.shape
    assert rgb.shape[:2] == (h, w) == z.shape, name
    u, v = (np.arange(w) + 0.5 - d["cx"]) / d["fx"], (np.arange(h) + 0.5 - d["cy"]) / d["fy"]
    n = d["table_plane"]["n"]
    q = -(n[0] * u[None] + n[1] * v[:, None] + n[2]).astype(np.float32)
    r = np.where(z > 0, d["table_plane"]["d"] / np.maximum(z, 1e-3), 0).astype(np.float32)
    k = SIDE / max(w, h)
    size = (round(w * k), round(h * k))
    row = dict(rgb=letterbox(rgb, size, cv2.INTER_AREA), ids=letterbox(ids, size, cv2.INTER_NEAREST),
               r=letterbox(r, size, cv2.INTER_NEAREST).astype(np.float16), q=letterbox(q, size, cv2.INTER_LINEAR).astype(np.float16),
               size=size, h=d["table_plane"]["d"], name=name, held=name in held)
    labels = {f["id"]: f["label"] for f in d["foods"]}
    return row, [(*c, int(name in held), 0, name, part) for c, part in scene_crops(rgb, ids, labels, np.random.default_rng(d["seed"]))]


def scene_crops(rgb, ids, labels, rng):
    """Every item of a picture with an id map, pieces of tables and dishes, merges of neighbours: ((rgb, mask, kind, label), part)."""
    out = []

    def add(mask, kind, label, part):
        c = crop(rgb, mask)
        if c is not None:
            out.append(((*c, kind, label), part))

    for i in np.unique(ids):
        if i not in (0, 250):
            kind = "food" if i < 200 else KIND_OF_ID[int(i)]
            add(ids == i, kind, labels[int(i)] if i < 200 else kind, "item")
    for i in (200, 201, 202):  # dishes with what lies on them: what a box around a dish selects
        if (ids == i).any():
            add((ids == i) | (hull(ids == i) & (ids > 0) & (ids < 200)), KIND_OF_ID[i], KIND_OF_ID[i], "item")
    for _ in range(3):  # pieces of table (and one of the room if seen)
        m = blob(rng, ids == 0)
        if m is not None:
            add(m, "table", "table", "item")
    m = blob(rng, ids == 250)
    if m is not None:
        add(m, "other", "other", "item")
    for kind, region, count in [("table", ids == 0, 6), *((KIND_OF_ID[i], ids == i, 4) for i in (200, 201, 202, 205))]:
        for m in pieces(rng, rgb, region, count):
            add(m, kind, kind, "piece")
    for a, b in neighbours(ids):
        large = a if (ids == a).sum() > (ids == b).sum() else b
        add((ids == a) | (ids == b), "food", labels[large], "merge")
    return out


def hull(mask):
    """The convex hull of a mask, as a mask."""
    out = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return out > 0


def neighbours(ids):
    """Pairs of foods that touch within 9 px."""
    found = set()
    grown = {int(i): cv2.dilate((ids == i).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0 for i in np.unique(ids) if 0 < i < 200}
    for a in grown:
        for b in grown:
            if a < b and (grown[a] & (ids == b)).any():
                found.add((a, b))
    return sorted(found)


def pieces(rng, rgb, region, count):
    """Up to `count` parts of a region as automatic segmentation finds them: patches of like colour (a stripe of cloth, a shadow,
    a rim, a glint), crescents along its edge, arbitrary patches."""
    if region.sum() < 800:
        return []
    found = []
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), 2), cv2.COLOR_RGB2LAB).astype(np.float32)
    sample = lab[region]
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    k = int(rng.integers(2, 5))
    _, _, centres = cv2.kmeans(sample[rng.choice(len(sample), min(len(sample), 3000))], k, None, (3, 10, 1.0), 1, cv2.KMEANS_RANDOM_CENTERS)
    near = ((lab[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
    for c in range(k):
        m = cv2.morphologyEx((region & (near == c)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        _, parts, stats, _ = cv2.connectedComponentsWithStats(m)
        found += [parts == i for i in range(1, len(stats)) if 300 < stats[i][4] < 0.9 * region.sum()][:4]
    inner = cv2.erode(region.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    a = rng.uniform(0, 2 * np.pi)
    ys, xs = np.nonzero(region)
    slope = np.cos(a) * np.arange(region.shape[1])[None] + np.sin(a) * np.arange(region.shape[0])[:, None]
    half = slope > np.quantile(slope[ys, xs], rng.uniform(0.3, 0.8))
    found += [m for m in (region & ~inner & half, region & half) if m.sum() > 300]
    m = blob(rng, region)
    if m is not None:
        found.append(m)
    return [found[i] for i in rng.permutation(len(found))[:count]]


def blob(rng, free):
    """A random ellipse that lies mostly on free pixels; None where there is no room."""
    h, w = free.shape
    for _ in range(12):
        m = np.zeros((h, w), np.uint8)
        a, b = rng.uniform(0.05, 0.25, 2) * max(h, w)
        cv2.ellipse(m, ((rng.uniform(0, w), rng.uniform(0, h)), (2 * a, 2 * b), rng.uniform(0, 180)), 1, -1)
        m = m > 0
        if m.sum() > 400 and (m & free).sum() > 0.9 * m.sum():
            return m & free
    return None


def pseudo_height(mask, volume_cm3, f_over_h_px, h_cm, food):
    """Height (cm) per pixel of an object of this volume over its top-view mask; h_cm camera height, f in px."""
    area_px = float(mask.sum())
    c = 2.0
    for _ in range(20):  # the silhouette lies c above the support: its true area shrinks with its distance
        area = area_px * ((h_cm - 0.5 - c) / (f_over_h_px * h_cm)) ** 2
        c = 0.5 * min(1.5 * volume_cm3 / area, 10.0) if food not in FLAT else 0.5 * min(1.15 * volume_cm3 / area, 8.0)
    dt = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    rho = 1 - np.clip(dt / max(dt.max(), 1), 0, 1)
    if food in FLAT:
        return 0.5 + 2 * c * np.clip(1 - rho**4, 0, 1) ** 0.5 * (mask > 0)
    return 0.5 + (c + c * np.sqrt(np.clip(1 - rho * rho, 0, 1))) * (mask > 0)


def ecustfd_photo(photo, data, cache, densities, held):
    """One ECUSTFD photo, `photo` = (file name, its rows of photos.csv): (row of ecustfd.npz, crops), or None if it is missing."""
    image, items = photo
    stem, row = image.rsplit(".", 1)[0], items[0]
    rgb = cv2.imread(str(data / "ecustfd" / "photos" / image))
    if rgb is None:
        return None
    rgb = np.ascontiguousarray(rgb[..., ::-1])
    scale, (h, w) = float(row["stored_scale"]), rgb.shape[:2]
    split, crops = int(stem in held), []
    ids = np.zeros((h, w), np.uint8)
    number = lambda k: float(row[k]) * scale if row[k] else None

    def ellipse(kind, value):
        keys = ("cx", "cy", "major", "minor")
        if row[f"{kind}_cx"]:
            x, y, a, b = (number(f"{kind}_{k}") for k in keys)
            cv2.ellipse(ids, ((x, y), (a, b), float(row[f"{kind}_ang"])), value, -1)

    def add(mask, kind, label, part="item"):
        c = crop(rgb, mask)
        if c is not None:
            crops.append((*c, kind, label, split, 1, stem, part))

    plate_known = bool(row["plate_cx"])
    ellipse("plate", 200)
    ellipse("coin", 207)
    mask_path = cache / "gc" / "masks" / f"{stem}.png"
    good = (mask_path.exists() and row["food"] not in ECUSTFD_NO_MASK and not (row["food"] == "banana" and row["view"] == "S")
            and len(items) == 1)
    boxed = np.zeros((h, w), bool)
    for item in items:
        box = [float(item[f"food_{k}"]) * scale if item[f"food_{k}"] else None for k in ("x0", "y0", "x1", "y1")]
        if None in box or item["boxes_ok"] != "1":
            good = False
            continue
        m = np.zeros((h, w), np.uint8)
        boxed[max(0, int(box[1]) - 6) : int(box[3]) + 6, max(0, int(box[0]) - 6) : int(box[2]) + 6] = True
        if good:
            m = (cv2.resize(cv2.imread(str(mask_path), 0), (w, h), interpolation=cv2.INTER_AREA) > 127).astype(np.uint8)
            ids[m > 0] = 1
        else:
            cv2.ellipse(m, (((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[2] - box[0], box[3] - box[1]), 0), 1, -1)
        add(m, "food", ecustfd_label(item["food"]))
    if (ids == 207).sum() > 40:
        add(ids == 207, "coin", "coin")
    if plate_known:
        rng = np.random.default_rng(zlib.crc32(stem.encode()))
        whole = ids > 0
        if not row["coin_on_plate"] == "1":
            whole &= ids != 207
        for m in (whole, ids == 200):
            add(m, "plate", "plate")
        m = blob(rng, ids == 0)
        if m is not None:
            add(m, "table", "table")
        for kind, region in (("plate", (ids == 200) & ~boxed), ("table", (ids == 0) & ~boxed)):
            for m in pieces(rng, rgb, region, 2):
                add(m, kind, kind, "piece")
    r = np.zeros((h, w), np.float32)
    deep = False
    if good and row["view"] == "T" and plate_known and row["coin_major"] and row["mass_g"] and ids.any():
        f = 0.87 * max(w, h)
        h_cm = f * 2.5 / number("coin_major")
        if 20 < h_cm < 45:
            volume = float(row["mass_g"]) / densities[row["food"]]
            r = 1 / (1 - pseudo_height(ids == 1, volume, f / h_cm, h_cm, row["food"]) / h_cm)
            r = np.where(ids == 1, r, 1.0).astype(np.float32)
            deep = True
    k = SIDE / max(w, h)
    size = (round(w * k), round(h * k))
    return dict(rgb=letterbox(rgb, size, cv2.INTER_AREA), ids=letterbox(ids, size, cv2.INTER_NEAREST),
                r=letterbox(r, size, cv2.INTER_LINEAR).astype(np.float16), size=size, name=stem, held=bool(split),
                segment=good, plate=plate_known, deep=deep, top=row["view"] == "T", label=ecustfd_label(row["food"])), crops


def save(path, rows):
    np.savez(path, **{k: np.stack([np.asarray(r[k]) for r in rows]) for k in rows[0]})


def gather(results, path):
    """Collects what the workers return; writes the rows (unless `path` is None), gives the crops back."""
    rows, crops = [], []
    for done in results:
        if done is not None:
            rows.append(done[0] if path else None)
            crops += done[1]
    if path:
        save(path, rows)
    return crops


def main():
    p = arguments(__doc__)
    p.add_argument("--processes", type=int, default=os.cpu_count())
    p.add_argument("--crops-only", action="store_true", help="leave plates.npz and ecustfd.npz alone")
    args = p.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    if not (args.cache / "gc").exists():
        tarfile.open(args.data / "ecustfd" / "masks_grabcut.tar.gz").extractall(args.cache / "gc", filter="data")
    measured, by_photo = {}, {}
    for row in ecustfd_rows(args.data):
        by_photo.setdefault(row["image"], []).append(row)
        measured.setdefault(row["food"], []).extend([float(row["mass_g"]) / float(row["volume_cm3"])] if row["volume_suspect"] == "0" and row["volume_cm3"] else [])
    densities = {k: float(np.median(v)) for k, v in measured.items() if v}
    crops = []
    with multiprocessing.Pool(args.processes, cv2.setNumThreads, (1,)) as pool:
        work = partial(plate_scene, data=args.data, held=set(read_split("plates_heldout.txt")))
        crops += gather(pool.imap(work, scenes(args.data), 4), None if args.crops_only else args.cache / "plates")
        work = partial(ecustfd_photo, data=args.data, cache=args.cache, densities=densities, held=set(read_split("ecustfd_heldout.txt")))
        crops += gather(pool.imap(work, sorted(by_photo.items()), 8), None if args.crops_only else args.cache / "ecustfd")
    names = ["rgb", "mask", "kind", "label", "held", "real", "name", "part"]
    np.savez(args.cache / "crops", **{n: np.stack([np.asarray(c[i]) for c in crops]) for i, n in enumerate(names)})
    print(f"{len(crops)} crops; densities {json.dumps({k: round(v, 2) for k, v in densities.items()})}")


if __name__ == "__main__":
    main()
