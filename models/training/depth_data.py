# requires: see common.py
"""Photos for depth_tiny.py, all of them on the training device, augmented in batches there.

What is stored of depth is the relative height t = H/h over the table (0 on it), because no change of view of the picture plane
touches it: crops, flips and turns only move it. The ramp q = g.ray is linear in pixel coordinates, so three numbers a photo hold
it exactly. The network's target is r = h/Z = q / (1 - t).
"""

import zipfile
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

MEAN, STD = np.float32([0.485, 0.456, 0.406]) * 255, np.float32([0.229, 0.224, 0.225]) * 255
PLATE, RENDERED, REAL = 0, 1, 2          # where a photo comes from
TOP_VIEW_H = 300.0                       # mm: ECUSTFD's usual camera height, to weigh its errors
UNKNOWN = -9.0                           # t where there is no depth
SIDE = 448                               # all photos lie in the top left of squares of this side
FIELDS = ("rgb", "ids", "t", "ramp", "size", "h", "source")


@dataclass
class Batch:
    """x (B,3,H,W) normalised; t, q (B,H,W) f32; ids (B,H,W) int64; known (B,H,W) bool; source (B,); h (B,) in mm."""

    x: torch.Tensor
    t: torch.Tensor
    q: torch.Tensor
    ids: torch.Tensor
    known: torch.Tensor
    source: torch.Tensor
    h: torch.Tensor

    @property
    def real(self):
        return self.source == REAL

    @property
    def r(self):
        return self.q / (1 - self.t)

    @property
    def food(self):
        return self.known & (self.ids > 0) & (self.ids < 200)

    @property
    def dish(self):
        return self.known & (self.ids >= 200)

    @property
    def table(self):
        return self.known & (self.ids == 0)


def linear_ramp(q: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """(N,3): c0 + c1 x + c2 y (pixel centres at +0.5) through q (N,S,S), which is linear over the photo's w x h part."""
    n, side, _ = q.shape
    at = torch.arange(side, device=q.device) + 0.5
    mx, my = (at < size[:, :1]).double(), (at < size[:, 1:]).double()
    w, h = mx.sum(1), my.sum(1)
    x, y = (at - w[:, None] / 2) * mx, (at - h[:, None] / 2) * my
    q = q.double()
    rows, columns = (q * mx[:, None]).sum(2) / w[:, None], (q * my[..., None]).sum(1) / h[:, None]
    c1, c2 = (columns * x).sum(1) / (x * x).sum(1), (rows * y).sum(1) / (y * y).sum(1)
    mean = (rows * my).sum(1) / h
    return torch.stack([mean - c1 * w / 2 - c2 * h / 2, c1, c2], 1).float()


class Photos:
    """Photos padded to S = 448 px: rgb (N,S,S,3), ids (N,S,S) uint8, t (N,S,S) f16, ramp (N,3), size (N,2) as (w,h), h (N,) mm."""

    def __init__(self, device):
        self.device, self.name, self.label, self.parts, self.held_arrays = device, [], [], {}, {}

    def hold(self, key: str, array: np.ndarray):
        """One array of the file that the next `add` takes in."""
        self.held_arrays[key] = array

    def add(self, source: int, step=256):
        a, self.held_arrays = self.held_arrays, {}
        n = len(a["rgb"])
        for i in range(0, n, step):
            def cut(k):
                piece = a[k][i:i + step]
                if piece.ndim > 2 and piece.shape[1] < SIDE:
                    piece = np.pad(piece, [(0, 0)] + 2 * [(0, SIDE - piece.shape[1])] + [(0, 0)] * (piece.ndim - 3))
                return torch.from_numpy(np.ascontiguousarray(piece)).to(self.device)

            r, ids, size = cut("r").float(), cut("ids"), cut("size").long()
            if "q" in a:
                ramp = linear_ramp(cut("q"), size)
            else:
                ramp = torch.tensor([1.0, 0, 0], device=self.device).repeat(len(r), 1)
            t = 1 - ramp_at(ramp, r.shape[-1]) / r.clamp(min=1e-3)
            bare = ids == 0                                        # the table is level: there q and r differ by rounding only
            t = torch.where(bare, torch.where(t.abs() < 0.1, 0.0, UNKNOWN), t)
            t = torch.where((r > 0.15) & (t < 0.9), t, UNKNOWN)
            h = 1000 * cut("h").float() if "h" in a else torch.full((len(r),), TOP_VIEW_H, device=self.device)
            new = dict(rgb=cut("rgb"), ids=ids, t=t.half(), ramp=ramp, size=size, h=h, source=torch.full((len(r),), source, device=self.device))
            for k, v in new.items():
                self.parts.setdefault(k, []).append(v)
        self.name += [str(s) for s in a["name"]]
        self.label += [str(s) for s in a["label"]] if "label" in a else [""] * n

    def ready(self):
        for k in list(self.parts):
            one = self.parts.pop(k)
            whole = torch.empty((sum(map(len, one)), *one[0].shape[1:]), dtype=one[0].dtype, device=self.device)
            at = 0
            while one:           # pieces are freed on the way: at no time does all lie in memory twice
                piece = one.pop(0)
                whole[at:at + len(piece)] = piece
                at += len(piece)
            setattr(self, k, whole)
        return self

    def joined(self, other: "Photos") -> "Photos":
        out = Photos(self.device)
        for k in FIELDS:
            out.parts[k] = [getattr(self, k), getattr(other, k)]
        out.name, out.label = self.name + other.name, self.label + other.label
        return out.ready()

    def __len__(self):
        return len(self.name)


def ramp_at(ramp, side):
    at = torch.arange(side, device=ramp.device) + 0.5
    return ramp[:, 0, None, None] + ramp[:, 1, None, None] * at[None, None] + ramp[:, 2, None, None] * at[None, :, None]


def take(path, source: int, train: "Photos", held: "Photos | None" = None, limit=None) -> bool:
    """Adds a file's photos to `train` and, where marked so, to `held`; False for a file of another layout."""
    with np.load(path) as z:
        if not {"rgb", "ids", "r", "size", "name"} <= set(z.files):
            return False
        if max(z["size"].max(), 1) > SIDE:
            print(f"{path.name}: photos of more than {SIDE} px", flush=True)
            return False
        wanted = ("rgb", "ids", "r", "size", "name", "label") + (() if source == REAL else ("h", "q"))
        apart = z["held"] if "held" in z.files else np.zeros(len(z["size"]), bool)
        use = z["deep"] if source == REAL else np.ones(len(apart), bool)
        sides = [(train, np.nonzero(use & ~apart)[0][:limit])] + ([(held, np.nonzero(use & apart)[0][:limit])] if held is not None else [])
        for k in wanted:     # one array at a time: they are large
            if k in z.files:
                array = z[k]
                for out, i in sides:
                    out.hold(k, array[i] if len(i) < len(array) else array)
                del array
    for out, _ in sides:
        out.add(source)
    return True


def load(cache, device, limit=None) -> tuple[Photos, Photos]:
    """(training, held-out) photos of plates.npz and ecustfd.npz (top views)."""
    train, held = Photos(device), Photos(device)
    for source, name in ((PLATE, "plates.npz"), (REAL, "ecustfd.npz")):
        if (cache / name).exists():
            take(cache / name, source, train, held, limit)
        else:
            print(f"{name}: absent", flush=True)
    return train.ready(), held.ready()


def more(cache, photos: Photos, seen: set, limit=None) -> Photos:
    """The photos and those of rendered_*.npz that came since; `seen` grows. A file still being written is left for later."""
    new = Photos(photos.device)
    for path in sorted(cache.glob("rendered_*.npz")):
        if path.name not in seen:
            try:
                used = take(path, RENDERED, new, None, limit)
            except (zipfile.BadZipFile, EOFError, ValueError, OSError):
                continue
            seen.add(path.name)
            print(f"{path.name}: {'taken' if used else 'another layout'}", flush=True)
    return photos.joined(new.ready()) if len(new) else photos


class Sampler:
    """Draws augmented batches. `mix`: shares of the bundled renderings, of rendered_*.npz, of ECUSTFD."""

    def __init__(self, photos: Photos, mix, short: int, seed: int, augment=True):
        self.photos, self.short, self.augment = photos, short, augment
        self.host = np.random.default_rng(seed)
        self.rng = torch.Generator(photos.device).manual_seed(seed)
        # constants live on the device: a copy from the host would wait for it
        self.mean, self.std = (torch.from_numpy(a).to(photos.device)[:, None, None] for a in (MEAN, STD))
        tall = photos.size[:, 1] > photos.size[:, 0]
        # seen from straight above there is no up, and a photo may lie either way
        edge = photos.ramp[:, 1:].abs() * photos.size
        self.level = (photos.source == REAL) | (edge.sum(1) < 0.1)
        weight = torch.zeros(len(photos), device=photos.device)
        for source, share in enumerate(mix):
            mine = photos.source == source
            weight += share * mine / mine.sum().clamp(min=1)
        self.weight = [weight * (tall | self.level if up else ~tall | self.level) for up in (False, True)]
        steep = weight * ~self.level
        self.tall_share = float((steep * tall).sum() / steep.sum()) if steep.sum() > 0 else 0.5

    def uniform(self, *shape, low=0.0, high=1.0):
        return torch.rand(*shape, generator=self.rng, device=self.photos.device) * (high - low) + low

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.rng, device=self.photos.device)

    def chance(self, p, *shape):
        return self.uniform(*shape) < p

    def draw(self, b: int, pick: torch.Tensor | None = None, tall: bool | None = None) -> Batch:
        photos = self.photos
        tall = bool(self.host.random() < self.tall_share) if tall is None else tall
        H, W = (self.short * 4 // 3, self.short) if tall else (self.short, self.short * 4 // 3)
        H, W = round(H / 14) * 14, round(W / 14) * 14
        if pick is None:
            pick = torch.multinomial(self.weight[tall], b, replacement=True, generator=self.rng)
        at = self.places(pick, H, W, tall)
        ids, t, q, known = self.labels(pick, at)
        x = self.pixels(pick, at, ids)
        source = photos.source[pick]
        return Batch(x, t, q, ids, known, source, photos.h[pick])

    def places(self, pick, H, W, tall):
        """(B,H,W,2): the source position of every output pixel."""
        b, dev = len(pick), self.photos.device
        size = self.photos.size[pick].float()
        lies = (size[:, 1] > size[:, 0]) != tall       # lies the other way: to be transposed if it has no up
        turn = lies & self.level[pick]
        across = torch.where(turn[:, None], size.flip(1), size)
        scale = torch.maximum(W / across[:, 0], H / across[:, 1])
        one = torch.ones(b, device=dev)
        angle, sx, sy, shift = 0 * one, one, one, torch.zeros(b, 2, device=dev)
        if self.augment:
            zoom = (0.18 * self.normal(b).abs()).exp().clamp(max=1.6)
            scale = scale * torch.where(self.chance(0.6, b), zoom, one)
            angle = torch.deg2rad(torch.where(self.chance(0.5, b), self.uniform(b, low=-6, high=6), 0 * one))
            sx = torch.where(self.chance(0.5, b), -one, one)
            sy = torch.where(self.chance(0.5, b) & self.level[pick], -one, one)
            shift = self.uniform(b, 2, low=-1, high=1)
        X, Y = torch.meshgrid(torch.arange(W, device=dev) + 0.5 - W / 2, torch.arange(H, device=dev) + 0.5 - H / 2, indexing="xy")
        k = 1 / scale
        c, s = (angle.cos() * k)[:, None, None], (angle.sin() * k)[:, None, None]
        u, v = X * sx[:, None, None], Y * sy[:, None, None]
        u, v = c * u + s * v, c * v - s * u
        u, v = torch.where(turn[:, None, None], v, u), torch.where(turn[:, None, None], u, v)
        half = torch.stack([W / 2 * k, H / 2 * k], 1)
        half = torch.where(turn[:, None], half.flip(1), half)
        centre = size / 2 + shift * (size / 2 - half).clamp(min=0)
        return torch.stack([u + centre[:, None, None, 0], v + centre[:, None, None, 1]], -1)

    def labels(self, pick, at):
        photos = self.photos
        side = photos.ids.shape[-1]
        size = photos.size[pick][:, None, None]
        cell = at.floor().long()
        inside = ((cell >= 0) & (cell < size)).all(-1)
        cell = torch.minimum(cell.clamp(min=0), size - 1)
        cell = (cell[..., 1] * side + cell[..., 0]) + pick[:, None, None] * (side * side)
        ids, t = photos.ids.view(-1)[cell].long(), photos.t.view(-1)[cell].float()
        ramp = photos.ramp[pick][:, None, None]
        q = ramp[..., 0] + ramp[..., 1] * at[..., 0] + ramp[..., 2] * at[..., 1]
        known = inside & (t > UNKNOWN + 1) & (q > 0.15) & (ids != 250)
        return ids, torch.where(known, t, 0.0), torch.where(known, q, 1.0), known

    def pixels(self, pick, at, ids):
        photos = self.photos
        side = photos.rgb.shape[1]
        size = photos.size[pick][:, None, None].float()
        # mirrored at the photo's own edge, half a pixel inside of it so that the padding is never read
        span = size - 1
        p = (at - 0.5).abs().remainder(2 * span)
        p = torch.where(p > span, 2 * span - p, p) + 0.5
        x = photos.rgb[pick].permute(0, 3, 1, 2).float()
        x = F.grid_sample(x, p * (2 / side) - 1, mode="bilinear", padding_mode="border", align_corners=False)
        if self.augment:
            x = self.light(x, ids, photos.source[pick])
        return (x - self.mean) / self.std

    def light(self, x, ids, source):
        """Colour, light, contrast, blur and noise on 0..255."""
        b, _, H, W = x.shape
        one = lambda sd, *s: (sd * self.normal(b, *s, 1, 1)).exp()
        # things of a rendering change colour one by one (the table and dishes more than food)
        sd = torch.full((256,), 0.06, device=x.device)
        sd[0], sd[200:] = 0.25, 0.2
        gain = (self.normal(b, 256, 3) * 0.4 + self.normal(b, 256, 1)) * sd[:, None] * (self.chance(0.5, b) & (source != REAL))[:, None, None]
        gain = gain.exp().view(-1, 3)[ids + 256 * torch.arange(b, device=x.device)[:, None, None]]
        x = x * gain.permute(0, 3, 1, 2)
        # uneven light: a smooth field
        field = F.interpolate(self.normal(b, 1, 3, 3), (H, W), mode="bicubic", align_corners=True)
        x = x * (field * self.uniform(b, 1, 1, 1, high=0.15)).exp() * one(0.12, 3) * one(0.25, 1)
        x = 255 * (x / 255).clamp(1e-4, 1).pow(one(0.2, 1))
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * one(0.25, 1)
        middle = x.mean((1, 2, 3), keepdim=True)
        x = middle + (x - middle) * one(0.12, 1)
        # blur and sharpening: one kernel a photo
        sigma = torch.where(self.chance(0.5, b), self.uniform(b, low=0.25, high=1.3), 0 * self.uniform(b) + 0.05)
        k = torch.arange(-3, 4, device=x.device) / sigma[:, None]
        k = (-0.5 * k * k).exp()
        k = (k / k.sum(1, keepdim=True)).repeat_interleave(3, 0)
        soft = F.conv2d(F.pad(x.reshape(1, b * 3, H, W), (3, 3, 3, 3), mode="reflect"), k[:, None, :, None], groups=b * 3)
        soft = F.conv2d(soft, k[:, None, None, :], groups=b * 3).view(b, 3, H, W)
        sharp = torch.where(self.chance(0.25, b), self.uniform(b, low=-1.0, high=0.0), 0 * sigma + 1)[:, None, None, None]
        x = x + (soft - x) * sharp
        noise = torch.where(self.chance(0.4, b), self.uniform(b, low=1, high=10), 0 * sigma)[:, None, None, None]
        x = x + noise * (self.normal(b, 1, H, W) + 0.5 * self.normal(b, 3, H, W))
        return x.clamp(0, 255)


