"""Pictures as the arrays that the trainings map into memory: the layout of prepare.py's plates.npz and crops.npz."""

import cv2
import numpy as np

from common import KIND_OF_ID
from prepare import blob, crop, hull, neighbours, pieces

from .compose import FOODS, picture_of


def render(seed, device="cpu", long=448, crops=None):
    """One row of arrays for the scene of a seed (see `python -m render --help`); item crops are appended to `crops`."""
    pic = picture_of(seed, device, long)
    cam = pic.camera
    w, h = cam.width, cam.height
    rng = np.random.default_rng([seed, 5])
    name = f"rendered_{seed:07d}"
    photo = cv2.resize(pic.rgb, (w, h), interpolation=cv2.INTER_AREA)
    quality = int(rng.integers(80, 97))
    photo = cv2.imdecode(cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)[..., ::-1]
    u = (np.arange(w) + 0.5 - w / 2) / cam.f
    v = (np.arange(h) + 0.5 - h / 2) / cam.f
    down = -cam.rotation[:, 2]                                                             # the world's down in camera axes
    q = (u[None] * down[0] + v[:, None] * down[1] + down[2]).astype(np.float32)
    z = np.minimum(pic.depth[1::2, 1::2], 3e4)
    # the buffer's pixel lies a quarter of a pixel off the photo's centre: the plane's part of that is taken out exactly
    q1 = sub_sample(q, cam, down)
    r = (cam.position[2] / z + (q - q1) * (pic.ids[1::2, 1::2] == 0)).astype(np.float32)
    side = lambda a: letter(a, long)
    row = dict(rgb=side(photo), ids=side(pic.ids[1::2, 1::2]), r=side(r).astype(np.float16), q=side(q).astype(np.float16), size=np.array([w, h]),
               h=np.float32(cam.position[2] / 100), name=name, held=False, f_px=np.float32(cam.f), pitch=np.float32(cam.pitch),
               food_label=np.array([""] + pic.labels + [""] * (FOODS - 1 - len(pic.labels)), dtype="U24"),
               volume_cm3=np.array([0.0] + pic.volumes + [0.0] * (FOODS - 1 - len(pic.volumes)), np.float32))
    if crops is not None:
        crops.extend(items(pic, name, rng))
    return row


def sub_sample(q, cam, down):
    """q at the centres of the buffer's pixels that `[1::2, 1::2]` keeps."""
    return q + np.float32(0.25 / cam.f * (down[0] + down[1]))


def letter(image, long):
    out = np.zeros((long, long) + image.shape[2:], image.dtype)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def items(pic, name, rng):
    """Crops as prepare.scene_crops makes them: every item and dish, merged neighbours; of tables, rooms and parts of things only some."""
    out, ids = [], pic.ids

    def add(mask, kind, label, part):
        c = crop(pic.rgb, mask) if mask is not None and mask.sum() > 250 else None
        if c is not None:
            out.append((*c, kind, label, 0, 0, name, part))

    for i in np.unique(ids):
        if i not in (0, 250):
            kind = "food" if i < 200 else KIND_OF_ID[int(i)]
            add(ids == i, kind, pic.labels[i - 1] if i < 200 else kind, "item")
    for i in (200, 201, 202):
        if (ids == i).any():
            add((ids == i) | (hull(ids == i) & (ids > 0) & (ids < 200)), KIND_OF_ID[i], KIND_OF_ID[i], "item")
    for value, kind in ((0, "table"), (250, "other")):
        add(blob(rng, ids == value), kind, kind, "item")
    value, kind = ((0, "table"), (0, "table"), (200, "plate"), (201, "bowl"), (202, "board"), (205, "napkin"))[rng.integers(6)]
    if (ids == value).any():
        for m in pieces(rng, pic.rgb, ids == value, 2):
            add(m, kind, kind, "piece")
    for a, b in neighbours(ids)[:1]:
        add((ids == a) | (ids == b), "food", pic.labels[(a if (ids == a).sum() > (ids == b).sum() else b) - 1], "merge")
    return out


CROP_FIELDS = ("rgb", "mask", "kind", "label", "held", "real", "name", "part")


def save(path, rows):
    np.savez(path, **{k: np.stack([np.asarray(r[k]) for r in rows]) for k in rows[0]})


def save_crops(path, crops):
    np.savez(path, **{n: np.stack([np.asarray(c[i]) for c in crops]) for i, n in enumerate(CROP_FIELDS)})
