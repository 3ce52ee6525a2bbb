"""Decodes both data sets once into uint8 arrays that the trainings map into memory.

<cache>/plates.npz   rgb (N,448,448,3) letterboxed top left, ids (N,448,448), ratio r = h/Z (f16), q (f16), sizes, food labels
<cache>/ecustfd.npz  rgb, ids (0 unknown, 1 food, 200 dish, 207 coin), ratio from pseudo heights (f16), sizes, label, usable flags
<cache>/crops.npz    rgb (M,176,176,3) and mask (M,176,176) of single items, box side 1.8 x the longer side; kind, label, split

r = h/Z is the depth target: disparity scaled so that on the table r = q (models of the height above it: H/h = 1 - q/r).
For ECUSTFD (no depth) the food's height is a pseudo height: an ellipsoid or slab of the object's weighed volume over its mask.
"""

import json

import cv2
import numpy as np

from common import (ECUSTFD_NO_MASK, KIND_OF_ID, arguments, ecustfd_label, ecustfd_rows, read_split, scene, scenes)

SIDE = 448            # longest side of the cached photos
CROP, CROP_SCALE = 176, 1.8
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


def plates(args, crops):
    rows, held = [], set(read_split("plates_heldout.txt"))
    for name in scenes(args.data):
        d, p = scene(args.data, name), args.data / "plates" / name
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
        rows.append(dict(rgb=letterbox(rgb, size, cv2.INTER_AREA), ids=letterbox(ids, size, cv2.INTER_NEAREST),
                         r=letterbox(r, size, cv2.INTER_NEAREST).astype(np.float16), q=letterbox(q, size, cv2.INTER_LINEAR).astype(np.float16),
                         size=size, h=d["table_plane"]["d"], name=name, held=name in held))
        split = int(name in held)
        label = {f["id"]: f["label"] for f in d["foods"]}
        for i in np.unique(ids):
            if i == 0 or i == 250:
                continue
            kind = "food" if i < 200 else KIND_OF_ID[int(i)]
            c = crop(rgb, ids == i)
            if c is not None:
                crops.append((*c, kind, label[int(i)] if i < 200 else kind, split, 0, name))
        # dishes with what lies on them: what a box around a dish selects
        for i in (200, 201, 202):
            if (ids == i).any():
                hull = np.zeros_like(ids)
                points = np.argwhere(ids == i)[:, ::-1].astype(np.int32)
                cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
                c = crop(rgb, (ids == i) | ((hull > 0) & (ids > 0) & (ids < 200)))
                crops.append((*c, KIND_OF_ID[i], KIND_OF_ID[i], split, 0, name))
        rng = np.random.default_rng(d["seed"])
        for _ in range(3):  # pieces of table (and one of the room if seen)
            c = blob(rng, rgb, ids == 0)
            if c is not None:
                crops.append((*c, "table", "table", split, 0, name))
        c = blob(rng, rgb, ids == 250)
        if c is not None:
            crops.append((*c, "other", "other", split, 0, name))
    save(args.cache / "plates", rows)


def blob(rng, rgb, free):
    """A random ellipse that lies mostly on free pixels."""
    h, w = free.shape
    for _ in range(12):
        m = np.zeros((h, w), np.uint8)
        a, b = rng.uniform(0.05, 0.25, 2) * max(h, w)
        cv2.ellipse(m, ((rng.uniform(0, w), rng.uniform(0, h)), (2 * a, 2 * b), rng.uniform(0, 180)), 1, -1)
        m = m > 0
        if m.sum() > 400 and (m & free).sum() > 0.9 * m.sum():
            return crop(rgb, m & free)
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


def ecustfd(args, crops):
    held = set(read_split("ecustfd_heldout.txt"))
    by_photo = {}
    for row in ecustfd_rows(args.data):
        by_photo.setdefault(row["image"], []).append(row)
    rows = []
    for image, items in sorted(by_photo.items()):
        stem, row = image.rsplit(".", 1)[0], items[0]
        rgb = cv2.imread(str(args.data / "ecustfd" / "photos" / image))
        if rgb is None:
            continue
        rgb = np.ascontiguousarray(rgb[..., ::-1])
        scale, (h, w) = float(row["stored_scale"]), rgb.shape[:2]
        split = int(stem in held)
        ids = np.zeros((h, w), np.uint8)
        number = lambda k: float(row[k]) * scale if row[k] else None

        def ellipse(kind, value):
            keys = ("cx", "cy", "major", "minor")
            if row[f"{kind}_cx"]:
                x, y, a, b = (number(f"{kind}_{k}") for k in keys)
                cv2.ellipse(ids, ((x, y), (a, b), float(row[f"{kind}_ang"])), value, -1)

        plate_known = bool(row["plate_cx"])
        ellipse("plate", 200)
        ellipse("coin", 207)
        mask_path = args.cache / "gc" / "masks" / f"{stem}.png"
        good = (mask_path.exists() and row["food"] not in ECUSTFD_NO_MASK and not (row["food"] == "banana" and row["view"] == "S")
                and len(items) == 1)
        height = np.zeros((h, w), np.float32)
        for item in items:
            box = [float(item[f"food_{k}"]) * scale if item[f"food_{k}"] else None for k in ("x0", "y0", "x1", "y1")]
            if None in box or item["boxes_ok"] != "1":
                good = False
                continue
            m = np.zeros((h, w), np.uint8)
            if good:
                m = (cv2.resize(cv2.imread(str(mask_path), 0), (w, h), interpolation=cv2.INTER_AREA) > 127).astype(np.uint8)
                ids[m > 0] = 1
            else:
                cv2.ellipse(m, (((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[2] - box[0], box[3] - box[1]), 0), 1, -1)
            label = ecustfd_label(item["food"])
            c = crop(rgb, m)
            if c is not None:
                crops.append((*c, "food", label, split, 1, stem))
        if (ids == 207).sum() > 40:
            c = crop(rgb, ids == 207)
            if c is not None:
                crops.append((*c, "coin", "coin", split, 1, stem))
        if plate_known:
            hull = ids > 0
            if not row["coin_on_plate"] == "1":
                hull &= ids != 207
            for m in (hull, ids == 200):
                crops.append((*crop(rgb, m), "plate", "plate", split, 1, stem))
            rng = np.random.default_rng(len(rows))
            c = blob(rng, rgb, ids == 0)
            if c is not None:
                crops.append((*c, "table", "table", split, 1, stem))
        r = np.zeros((h, w), np.float32)
        deep = False
        if good and row["view"] == "T" and plate_known and row["coin_major"] and row["mass_g"] and ids.any():
            f = 0.87 * max(w, h)
            h_cm = f * 2.5 / number("coin_major")
            if 20 < h_cm < 45:
                volume = float(row["mass_g"]) / args.density[row["food"]]
                r = 1 / (1 - pseudo_height(ids == 1, volume, f / h_cm, h_cm, row["food"]) / h_cm)
                r = np.where(ids == 1, r, 1.0).astype(np.float32)
                deep = True
        k = SIDE / max(w, h)
        size = (round(w * k), round(h * k))
        rows.append(dict(rgb=letterbox(rgb, size, cv2.INTER_AREA), ids=letterbox(ids, size, cv2.INTER_NEAREST),
                         r=letterbox(r, size, cv2.INTER_LINEAR).astype(np.float16), size=size, name=stem, held=bool(split),
                         segment=good, plate=plate_known, deep=deep, top=row["view"] == "T", label=ecustfd_label(row["food"])))
    save(args.cache / "ecustfd", rows)


def save(path, rows):
    np.savez(path, **{k: np.stack([np.asarray(r[k]) for r in rows]) for k in rows[0]})


def main():
    args = arguments(__doc__).parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    if not (args.cache / "gc").exists():
        import tarfile
        tarfile.open(args.data / "ecustfd" / "masks_grabcut.tar.gz").extractall(args.cache / "gc", filter="data")
    density = {}
    for row in ecustfd_rows(args.data):
        density[row["food"]] = density.get(row["food"], []) + ([float(row["mass_g"]) / float(row["volume_cm3"])] if row["volume_suspect"] == "0" and row["volume_cm3"] else [])
    args.density = {k: float(np.median(v)) for k, v in density.items() if v}
    crops = []
    plates(args, crops)
    ecustfd(args, crops)
    names = ["rgb", "mask", "kind", "label", "held", "real", "name"]
    np.savez(args.cache / "crops", **{n: np.stack([np.asarray(c[i]) for c in crops]) for i, n in enumerate(names)})
    print(f"{len(crops)} crops; densities {json.dumps({k: round(v, 2) for k, v in args.density.items()})}")


if __name__ == "__main__":
    main()
