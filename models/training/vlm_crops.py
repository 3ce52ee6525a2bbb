# requires: see common.py
"""Item crops on the training device and their augmentation, batched, without host synchronisation.

Masks are disturbed as those of a segmenter are, and the box that a crop is cut by follows from the disturbed mask, as it does in
the pipeline. Crop files hold squares of side 1.8 x the item's box, so that turns and larger masks find something around it.
"""

import re
import zipfile
import zlib

import numpy as np
import torch
import torch.nn.functional as F

import vlm_tokenizer as vt

GREY = 128.0
MARGIN, FADE = 1.3, 0.6                 # the pipeline's crop: side over the box, share of grey outside the mask
SHARES = {"rendered": 0.30, "own": 0.45, "photos": 0.25}
FOODS, POWER = 0.6, 0.4                 # share of foods in the draws; a class's share grows with the power of its size
LOW = 120                               # side at which masks are disturbed
QUANT = torch.tensor([[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
                      [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
                      [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]]).float()   # JPEG's luminance table


def from_above(name: str) -> bool:
    """ECUSTFD photos say their view; any other picture may be seen from above."""
    view = re.search(r"([ST])\(\d+\)$", name)
    return view is None or view[1] == "T"


def group(name: str, real: bool) -> str:
    """What calibration and training must not share: a scene, or an object photographed many times."""
    return re.sub(r"[ST]\(\d+\)$", "", name) if real else name


def calibration_groups(z, fraction=0.09) -> set[str]:
    """Groups of the training split kept out for calibration; never one with a food that has few others."""
    train = (z["held"] == 0) & (z["kind"] == "food")
    groups = np.array([group(str(n), bool(r)) for n, r in zip(z["name"], z["real"])])
    members = {}
    for g, label, real in zip(groups[train], z["label"][train], z["real"][train]):
        members.setdefault((str(label), int(real)), set()).add(g)
    rare = {g for gs in members.values() if len(gs) < 5 for g in gs}
    return {str(g) for g in set(groups[train]) - rare if zlib.crc32(str(g).encode()) % 1000 < 1000 * fraction}


class Pool:
    """Crops of one kind of source, all on the device, and how often each is drawn."""

    def __init__(self, source, z, index, device):
        names = {a: i for i, a in enumerate(vt.answers())}
        kind, label = z["kind"][index], z["label"][index]
        answer = [("food", str(l)) if k == "food" else (str(k), str(k)) for k, l in zip(kind, label)]
        known = np.array([a in names for a in answer], bool)
        if not known.all():
            print(f"{source}: {(~known).sum()} crops with answers that are not in the vocabulary are left out:",
                  sorted({a[1] for a, k in zip(answer, known) if not k})[:10])
        index = index[known]
        target = np.array([names[a] for a, k in zip(answer, known) if k], int)
        self.source, self.index = source, index
        self.part = z["part"][index] if "part" in z else np.full(len(index), "item")
        self.real, self.name = z["real"][index].astype(bool), z["name"][index]
        here = len(index) == len(z["rgb"])
        self.rgb, self.mask = (torch.as_tensor(z[k] if here else z[k][index]).to(device) for k in ("rgb", "mask"))
        self.target = torch.from_numpy(target).to(device)
        self.above = torch.tensor([from_above(str(n)) for n in self.name], device=device)
        food = kind[known] == "food"
        w = np.bincount(target, minlength=len(names)).astype(float)[target] ** (POWER - 1)
        w[self.part == "merge"] *= 0.5
        if food.any() and not food.all():
            w[food] *= FOODS / w[food].sum()
            w[~food] *= (1 - FOODS) / w[~food].sum()
        self.cumulative = torch.from_numpy(np.cumsum(w / w.sum())).to(device)

    def __len__(self):
        return len(self.rgb)

    def draw(self, n):
        u = torch.rand(n, device=self.rgb.device, dtype=self.cumulative.dtype)
        return torch.searchsorted(self.cumulative, u).clamp(max=len(self) - 1)


def pools(cache, device, held_only=False):
    """(training, calibration, held-out) pools: rendered scenes, ECUSTFD photos."""
    z = dict(np.load(cache / "crops.npz"))
    real, held = z["real"] == 1, z["held"] == 1
    take = lambda which: [Pool(s, z, np.nonzero(which & r)[0], device) for s, r in (("rendered", ~real), ("photos", real))]
    out = take(held)
    if held_only:
        return [], [], out
    groups = calibration_groups(z)
    apart = np.array([group(str(n), bool(r)) in groups for n, r in zip(z["name"], z["real"])])
    merge = z["part"] == "merge" if "part" in z else np.zeros(len(real), bool)
    train, calibration = take(~held & ~apart), take(~held & apart & ~merge)
    return train, calibration, out


def arrivals(cache, device, seen, limit):
    """A pool of the own renderings in files that are not in `seen` (it grows), at most `limit` crops; None if there are none.
    A renderer may be at work: a file without its end is left for later."""
    files = [p for p in sorted(cache.glob("crops_*.npz")) if p not in seen and zipfile.is_zipfile(p)] if limit > 0 else []
    if not files:
        return None
    seen.update(files)
    z = together(files, device, limit)
    return Pool("own", z, np.arange(len(z["kind"])), device) if len(z["kind"]) else None


def together(files, device, limit):
    """Crop files as one, pictures and masks on the device as they are read; at most `limit` crops, evenly from all files."""
    most, rows, small = max(1, limit // len(files)), [], {}
    for path in files:
        z = np.load(path)
        index = np.nonzero(z["held"] == 0)[0]
        index = index[np.linspace(0, len(index) - 1, min(most, len(index))).astype(int)]
        rows.append(index)
        for k in ("kind", "label", "name", "real"):
            small.setdefault(k, []).append(z[k][index])
        small.setdefault("part", []).append(z["part"][index] if "part" in z else np.full(len(index), "item"))
    out = {k: np.concatenate(v) for k, v in small.items()}
    at = np.cumsum([0, *map(len, rows)])
    for key in ("rgb", "mask"):
        for path, index, a, b in zip(files, rows, at[:-1], at[1:]):
            part = torch.from_numpy(np.load(path)[key][index])
            if key not in out:
                out[key] = torch.empty((at[-1], *part.shape[1:]), dtype=torch.uint8, device=device)
            if part.shape[1:] != out[key].shape[1:]:
                raise SystemExit(f"{path}: {key} of shape {tuple(part.shape[1:])}, other files have {tuple(out[key].shape[1:])}")
            out[key][a:b] = part.to(device)
    return out


def counts(train, batch):
    """How many crops of each pool a batch holds."""
    size = {s: sum(len(p) for p in train if p.source == s) for s in SHARES}
    share = np.array([SHARES[p.source] * len(p) / max(1, size[p.source]) for p in train])
    edges = np.round(np.cumsum(share / share.sum()) * batch).astype(int)
    return np.diff(np.concatenate([[0], edges])).tolist()


# --- geometry ---

def uniform(n, low, high, device, *shape):
    return torch.rand(n, *shape, device=device) * (high - low) + low


def chance(n, p, device):
    return torch.rand(n, device=device) < p


def resample(x, matrix, offset, side, nearest=False):
    """x (n,c,S,S) seen through p_in = matrix p_out + offset, coordinates -1..1; 0 outside."""
    theta = torch.cat([matrix, offset[..., None]], -1)
    grid = F.affine_grid(theta, (len(x), 1, side, side), align_corners=False)
    return F.grid_sample(x, grid, mode="nearest" if nearest else "bilinear", padding_mode="zeros", align_corners=False)


def spins(above):
    """Random turns (any angle from above, small ones else), flips, stretches: (n,2,2) of determinant about 1."""
    n, d = len(above), above.device
    free = above & chance(n, 0.6, d)
    a = torch.where(free, uniform(n, 0, 2 * np.pi, d), 0.2 * torch.randn(n, device=d))
    c, s = a.cos(), a.sin()
    r = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    stretch = (0.09 * torch.randn(n, device=d)).exp()
    k = torch.zeros(n, 2, 2, device=d)
    k[:, 0, 0], k[:, 1, 1] = stretch * torch.where(chance(n, 0.5, d), -1.0, 1.0), 1 / stretch
    k[:, 0, 1] = 0.06 * torch.randn(n, device=d)
    return r @ k


def smooth(m, sigma):
    r = int(3 * sigma)
    g = torch.exp(-torch.arange(-r, r + 1, device=m.device).float() ** 2 / (2 * sigma * sigma))
    g = g / g.sum()
    return F.conv2d(F.conv2d(m, g.view(1, 1, 1, -1), padding=(0, r)), g.view(1, 1, -1, 1), padding=(r, 0))


def ellipses(n, device, centre, radius):
    """Masks (n,1,LOW,LOW) of turned ellipses; centre (n,2), radius (n,2), coordinates -1..1."""
    at = (torch.arange(LOW, device=device) + 0.5) / LOW * 2 - 1
    x, y = at[None, None, :] - centre[:, 0, None, None], at[None, :, None] - centre[:, 1, None, None]
    a = uniform(n, 0, np.pi, device)[:, None, None]
    u, v = x * a.cos() + y * a.sin(), y * a.cos() - x * a.sin()
    return ((u / radius[:, 0, None, None]) ** 2 + (v / radius[:, 1, None, None]) ** 2 < 1)[:, None]


def disturb(m):
    """Masks (n,1,LOW,LOW) of 0..1 as a segmenter might give them (bool): eroded, dilated, wobbling, shifted, cut, with parts of
    neighbours, with holes, or only a fragment. An item's box spans about 1/1.8 of the frame."""
    n, d = len(m), m.device
    true = m > 0.5
    area = true.sum((1, 2, 3)).clamp(min=1)
    jitter = chance(n, 0.35, d)[:, None].float()
    near = torch.eye(2, device=d).expand(n, 2, 2) * (1 + 0.05 * torch.randn(n, 1, 1, device=d) * jitter[..., None])
    out = resample(m, near, 0.035 * torch.randn(n, 2, device=d) * jitter, LOW)
    wide = chance(n, 0.35, d)[:, None, None, None]
    soft = torch.where(wide, smooth(out, 4.0), smooth(out, 1.5))
    wobble = F.interpolate(torch.randn(n, 1, 9, 9, device=d), LOW, mode="bicubic", align_corners=False)
    soft = soft + wobble * uniform(n, 0, 0.22, d)[:, None, None, None]
    level = uniform(n, 0.2, 0.75, d)[:, None, None, None]
    out = torch.where(chance(n, 0.7, d)[:, None, None, None], (soft > level) & (smooth(out, 4.0) > 0.05), out > 0.5)
    at = (torch.arange(LOW, device=d) + 0.5) / LOW * 2 - 1
    weight = true.float() / area[:, None, None, None]
    cx, cy = (weight * at).sum((1, 2, 3)), (weight * at[:, None]).sum((1, 2, 3))
    x, y = at - cx[:, None, None, None], at[:, None] - cy[:, None, None, None]
    spread = ((weight * (x * x + y * y)).sum((1, 2, 3)) / 2).sqrt().clamp(min=0.02)
    a = uniform(n, 0, 2 * np.pi, d)[:, None, None, None]
    cut = x * a.cos() + y * a.sin() > (spread * uniform(n, 0.2, 1.6, d))[:, None, None, None]
    out = out & ~(cut & chance(n, 0.2, d)[:, None, None, None])
    angle = uniform(n, 0, 2 * np.pi, d)
    rim = torch.stack([cx + 2.0 * spread * angle.cos(), cy + 2.0 * spread * angle.sin()], -1)
    extra = ellipses(n, d, rim, spread[:, None] * uniform(n, 0.4, 1.1, d, 2))
    out = out | (extra & chance(n, 0.12, d)[:, None, None, None])
    out = out & ~((wobble.flip(0) > 1.0) & chance(n, 0.06, d)[:, None, None, None])
    middle = torch.stack([cx, cy], -1) + spread[:, None] * torch.randn(n, 2, device=d) * 0.7
    piece = ellipses(n, d, middle, spread[:, None] * uniform(n, 0.7, 1.6, d, 2))
    out = torch.where(chance(n, 0.1, d)[:, None, None, None], out & piece, out)
    return torch.where((out.sum((1, 2, 3)) > 0.2 * area)[:, None, None, None], out, true)


def cut(rgb, mask, side, above=None):
    """Crops of the contract from cached squares (n,S,S,3), (n,S,S): pictures (n,3,side,side) of 0..255 and masks (n,1,side,side) bool.
    With `above` the crops are turned, stretched and shifted and their masks disturbed."""
    n, d = len(rgb), rgb.device
    m = F.interpolate(mask[:, None].float() / 255, (LOW, LOW), mode="area")
    eye, none = torch.eye(2, device=d).expand(n, 2, 2), torch.zeros(n, 2, device=d)
    turn, zoom = eye, torch.full((n,), MARGIN, device=d)
    low = m > 0.5
    if above is not None:
        turn = spins(above)
        low = disturb(resample(m, turn, none, LOW))
        zoom = zoom * (0.06 * torch.randn(n, device=d)).exp()
    rows, columns = low.any(3)[:, 0].float(), low.any(2)[:, 0].float()
    x0, x1 = columns.argmax(1), LOW - columns.flip(1).argmax(1)
    y0, y1 = rows.argmax(1), LOW - rows.flip(1).argmax(1)
    centre = torch.stack([(x0 + x1) / LOW - 1, (y0 + y1) / LOW - 1], -1)
    zoom = zoom * torch.maximum(x1 - x0, y1 - y0) / LOW
    if above is not None:
        centre = centre + 0.025 * torch.randn(n, 2, device=d) * zoom[:, None]
    window = eye * zoom[:, None, None]
    picture = resample(rgb.permute(0, 3, 1, 2).float() - GREY, turn @ window, (turn @ centre[..., None])[..., 0], side) + GREY
    return picture, resample(low.float(), window, centre, side) > 0.5


# --- light, blur, noise ---

def jpeg(x):
    """Luminance-like loss of JPEG at random quality, blocks of 8, x (n,3,s,s) with s a multiple of 8."""
    n, c, s, _ = x.shape
    k = torch.arange(8, device=x.device).float()
    dct = torch.cos((2 * k[None] + 1) * k[:, None] * np.pi / 16) * 0.5
    dct[0] *= 0.5**0.5
    b = x.reshape(n, c, s // 8, 8, s // 8, 8).transpose(3, 4) - 128
    f = dct @ b @ dct.T
    q = QUANT.to(x.device) * uniform(n, 0.1, 1.2, x.device).view(n, 1, 1, 1, 1, 1)
    return ((dct.T @ (torch.round(f / q) * q) @ dct) + 128).transpose(3, 4).reshape(n, c, s, s)


def light(x):
    """Exposure, white balance, gamma, contrast, saturation, uneven light, blur, noise, JPEG: pictures of 0..255."""
    n, _, s, _ = x.shape
    d = x.device
    g = lambda sigma, c=1: (sigma * torch.randn(n, c, 1, 1, device=d)).exp()
    k = n // 4                                              # a quarter each; draws are in random order
    half = F.interpolate(F.avg_pool2d(x[: 2 * k], 2), s, mode="bilinear", align_corners=False)
    quarter = F.interpolate(F.avg_pool2d(x[:k], 4), s, mode="bilinear", align_corners=False)
    half[:k] = torch.lerp(half[:k], quarter, uniform(k, 0, 1, d, 1, 1, 1))
    x = torch.cat([torch.lerp(x[: 2 * k], half, uniform(2 * k, 0.1, 1, d, 1, 1, 1)), x[2 * k :]])
    x = x * g(0.07, 3) * g(0.2)
    slope = torch.randn(n, 2, 1, 1, device=d) * 0.12 * chance(n, 0.5, d).view(n, 1, 1, 1)
    at = torch.linspace(-1, 1, s, device=d)
    x = x * (slope[:, :1] * at + slope[:, 1:] * at[:, None]).exp()
    x = 255 * (x / 255).clamp(1e-4, 1) ** g(0.15)
    x = torch.lerp(x.mean((2, 3), keepdim=True), x, g(0.12))
    x = torch.lerp(x.mean(1, keepdim=True), x, g(0.18))
    noise = torch.randn(n, 1, s, s, device=d) + 0.5 * torch.randn_like(x)
    x = (x + noise * uniform(n, 0, 7, d).view(n, 1, 1, 1) * chance(n, 0.4, d).view(n, 1, 1, 1)).clamp(0, 255)
    return torch.cat([x[:k], jpeg(x[k : 2 * k]), x[2 * k :]])


def finish(x, inside):
    """Fades what is not of the mask, rounds as the pipeline does."""
    return torch.where(inside, x, (1 - FADE) * x + FADE * GREY).clamp(0, 255).round()


class Mixed:
    """An augmented batch: pictures (B,3,side,side) of 0..255, answers `first` and `second` (B), share of the first (B)."""

    def __init__(self, x, first, second, share):
        self.x, self.first, self.second, self.share = x, first, second, share


@torch.no_grad()
def augmented(train, number, side, mix=0.3):
    """Draws `number[k]` crops of pool k. `mix`: share of the batch that is blended with, or holds a rectangle of, another crop."""
    drawn = []
    for pool, n in zip(train, number):
        if n:
            i = pool.draw(n)
            drawn.append((*cut(pool.rgb[i], pool.mask[i], 168, pool.above[i]), pool.target[i]))
    x, inside, target = (torch.cat(part) for part in zip(*drawn))
    b, d = len(x), x.device
    order = torch.randperm(b, device=d)
    x, inside, target = x[order], inside[order], target[order]
    swap = chance(b, 0.3, d).view(b, 1, 1, 1) & ~inside     # another crop's surroundings
    x = torch.where(swap, x.roll(1, 0), x)
    plain = uniform(b, 0, 255, d, 3, 1, 1)
    x = torch.where(chance(b, 0.06, d).view(b, 1, 1, 1) & ~inside, plain, x)
    at = torch.arange(168, device=d) / 168
    corner, size = torch.rand(b, 2, device=d), uniform(b, 0.12, 0.4, d, 2)
    inside_1d = lambda k: (at >= corner[:, k, None] - size[:, k, None] / 2) & (at < corner[:, k, None] + size[:, k, None] / 2)
    block = (inside_1d(0)[:, None, :] & inside_1d(1)[:, :, None])[:, None]
    erase, kind = chance(b, 0.3, d).view(b, 1, 1, 1) & block, torch.rand(b, 1, 1, 1, device=d)
    inside = inside & ~(erase & (kind < 0.6))               # an occluder: not of the mask, ...
    x = torch.where(erase & (kind > 0.3), torch.where(kind < 0.6, x.roll(2, 0), plain), x)   # ... or another thing, or a blank
    x = light(x)
    if side != 168:
        x = F.interpolate(x, side, mode="bilinear", antialias=True, align_corners=False)
        inside = F.interpolate(inside.float(), side, mode="area") > 0.5
    x = finish(x, inside)
    second, share = target.clone(), torch.ones(b, device=d)
    k = int(mix * b) // 2
    if k:  # the first k: blends; the next k: a rectangle of another crop, answers by share of its area
        lam = torch.distributions.Beta(torch.tensor(0.4, device=d), torch.tensor(0.4, device=d), validate_args=False).sample((k,)).clamp(0.02, 0.98)
        y, z = x[b - 2 * k : b - k], x[b - k :]
        mixed = lam.view(k, 1, 1, 1) * x[:k] + (1 - lam.view(k, 1, 1, 1)) * y
        area = uniform(k, 0.04, 0.25, d)
        s = area.sqrt().view(k, 1) / 2
        c = torch.rand(k, 2, 1, device=d) * (1 - 2 * s[:, None]) + s[:, None]
        u = (torch.arange(side, device=d) + 0.5) / side
        box = ((u - c[:, 0]).abs() < s)[:, None, None, :] & ((u - c[:, 1]).abs() < s)[:, None, :, None]
        x = torch.cat([mixed, torch.where(box, z, x[k : 2 * k]), x[2 * k :]])
        second[: 2 * k] = target[b - 2 * k :]
        share[: 2 * k] = torch.cat([lam, 1 - 1.6 * area])           # most of the item lies about the middle
        second = torch.where(share < 1, second, target)
    if b >= 128:  # a hundredth: three foods at once, which is nothing known
        m = b // 100
        unknown = vt.answers().index(("food", "unknown"))
        foods = (target[-3 * m :] <= unknown).view(3, m).all(0)
        blend = x[-3 * m :].view(3, m, *x.shape[1:]).mean(0)
        x[-m:] = torch.where(foods.view(m, 1, 1, 1), blend, x[-m:])
        first = target.clone()
        first[-m:] = torch.where(foods, unknown, target[-m:])
        second[-m:] = first[-m:]
        return Mixed(x, first, second, share)
    return Mixed(x, target, second, share)


@torch.no_grad()
def plain(pool, index, side, disturbed=False):
    """Crops as the pipeline cuts them, with true masks or disturbed ones."""
    rgb, mask = pool.rgb[index], pool.mask[index]
    if disturbed:
        mask = disturb(F.interpolate(mask[:, None].float() / 255, (LOW, LOW), mode="area"))[:, 0].byte() * 255
    x, inside = cut(rgb, mask, side)
    return finish(x, inside)
