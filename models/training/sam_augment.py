# requires: see common.py
"""Batches of SAM-tiny's training, made on the device: geometry, foods pasted in, light, colour, blur, noise, JPEG blocks.

Nothing here waits for the device: no value is read back, and every choice is made per photo by random tensors.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from sam_data import PASTED, Data

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PASTES = 2


@dataclass
class Batch:
    x: torch.Tensor      # (B,3,S,S) normalised, zero outside the photo
    inst: torch.Tensor   # (B,S,S) uint8, as in Data
    full: torch.Tensor
    part: torch.Tensor
    kind: torch.Tensor   # (B,256) uint8


@lru_cache(maxsize=None)
def constant(values, device):
    """A tuple as a tensor, sent to the device once: each sending waits for it."""
    return torch.tensor(values, device=device)


def uniform(n, low, high, device):
    return torch.rand(n, device=device) * (high - low) + low


def by_weight(cumulated, n):
    """n indices drawn by a cumulated weight."""
    r = torch.rand(n, device=cumulated.device) * cumulated[-1]
    return torch.searchsorted(cumulated, r, right=True).clamp(max=len(cumulated) - 1)


def inverse_affine(scale_x, scale_y, turn, mirror, centre, to):
    """(B,2,3): output position -> source position, for a source that is scaled, mirrored, turned and moved (centre -> to)."""
    c, s = turn.cos(), turn.sin()
    row_x = torch.stack([mirror * c / scale_x, mirror * s / scale_x], -1)
    row_y = torch.stack([-s / scale_y, c / scale_y], -1)
    a = torch.stack([row_x, row_y], 1)
    return torch.cat([a, (centre - (a @ to[..., None])[..., 0])[..., None]], -1)


def positions(m, side):
    """Source position of every output pixel's centre under (B,2,3) maps: x and y, (B,side,side) each."""
    p = torch.arange(side, device=m.device, dtype=torch.float32) + 0.5
    x = m[:, 0, 0, None, None] * p[None, None, :] + m[:, 0, 1, None, None] * p[None, :, None] + m[:, 0, 2, None, None]
    y = m[:, 1, 0, None, None] * p[None, None, :] + m[:, 1, 1, None, None] * p[None, :, None] + m[:, 1, 2, None, None]
    return x, y


def colours_at(rgb, x, y):
    """uint8 (B,H,H,3) at positions, bilinear: float (B,3,S,S), 0..255."""
    h = rgb.shape[1]
    grid = torch.stack([x, y], -1) * (2 / h) - 1
    return F.grid_sample(rgb.permute(0, 3, 1, 2).float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def index_at(x, y, side):
    """Flat index of the nearest source pixel, (B,S*S)."""
    return (y.floor().clamp(0, side - 1) * side + x.floor().clamp(0, side - 1)).long().flatten(1)


def values_at(ids, index, shape):
    return ids.flatten(1).gather(1, index).view(shape)


def blur(x, sigma):
    """Gaussian of one sigma a photo (pixels; below 0.2 next to none) on (B,C,S,S); 9 taps."""
    b, c, h, w = x.shape
    t = torch.arange(-4, 5, device=x.device, dtype=x.dtype)
    k = torch.exp(-0.5 * (t / sigma.clamp(min=0.1)[:, None]) ** 2)
    k = (k / k.sum(1, keepdim=True)).repeat_interleave(c, 0)
    y = F.pad(x.reshape(1, b * c, h, w), (4, 4, 4, 4), mode="replicate")
    y = F.conv2d(y, k[:, None, None, :], groups=b * c)
    return F.conv2d(y, k[:, None, :, None], groups=b * c).view(b, c, h, w)


def dct_matrix(device):
    k, n = torch.arange(8, device=device, dtype=torch.float32)[:, None], torch.arange(8, device=device, dtype=torch.float32)[None]
    m = torch.cos(math.pi * (2 * n + 1) * k / 16) * 0.5
    m[0] *= math.sqrt(0.5)
    return m


def jpeg(x, step):
    """JPEG's loss without its coding on (B,3,S,S) 0..255: 8 x 8 cosine blocks of luma and chroma, rounded to steps that grow with
    frequency. `step` (B,) is the luma step of the lowest frequencies."""
    b, _, h, w = x.shape
    d = dct_matrix(x.device)
    r, g, bl = x.unbind(1)
    luma = 0.299 * r + 0.587 * g + 0.114 * bl
    y = torch.stack([luma, 0.564 * (bl - luma), 0.713 * (r - luma)], 1)
    y = y.view(b, 3, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    f = d @ y @ d.T
    k = torch.arange(8, device=x.device, dtype=torch.float32)
    rise = 1 + 0.7 * (k[:, None] + k[None])
    q = step.view(b, 1, 1, 1, 1, 1) * rise * constant((1.0, 1.6, 1.6), x.device).view(1, 3, 1, 1, 1, 1)
    y = d.T @ ((f / q).round() * q) @ d
    luma, cb, cr = y.permute(0, 1, 2, 4, 3, 5).reshape(b, 3, h, w).unbind(1)
    r, bl = luma + cr / 0.713, luma + cb / 0.564
    return torch.stack([r, (luma - 0.299 * r - 0.114 * bl) / 0.587, bl], 1)


def some(b, share, device):
    """(B,1,1,1) bool: true for a share of the photos."""
    return (torch.rand(b, device=device) < share).view(b, 1, 1, 1)


def colour(x):
    """Light, colour, contrast, blur, JPEG, noise on float (B,3,S,S) 0..255."""
    b, dev = len(x), x.device
    normal = lambda *shape: torch.randn(*shape, device=dev)
    x = x * torch.exp(normal(b, 3, 1, 1) * 0.12 + normal(b, 1, 1, 1) * 0.25)
    x = 255 * (x / 255).clamp(1e-4, 1) ** torch.exp(normal(b, 1, 1, 1) * 0.22)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * torch.exp(normal(b, 1, 1, 1) * 0.3)
    level = x.mean((1, 2, 3), keepdim=True)
    x = level + (x - level) * torch.exp(normal(b, 1, 1, 1) * 0.15)
    # light that falls off to one side
    side = x.shape[-1]
    ramp = torch.linspace(-1, 1, side, device=dev)
    x = x * torch.exp(normal(b, 1, 1, 1) * 0.15 * ramp.view(1, 1, 1, side) + normal(b, 1, 1, 1) * 0.15 * ramp.view(1, 1, side, 1))
    x = torch.where(some(b, 0.35, dev), blur(x, uniform(b, 0.3, 1.8, dev)), x)
    x = torch.where(some(b, 0.35, dev), jpeg(x, torch.exp(uniform(b, 0.7, 2.8, dev))), x)
    noise = normal(b, 1, side, side) + 0.5 * normal(*x.shape)
    x = x + some(b, 0.35, dev) * uniform(b, 1, 9, dev).view(b, 1, 1, 1) * noise
    return x.clamp(0, 255)


def paste(data: Data, x, inst, full, part, cover, number: int):
    """One food of another photo on each photo of a share of the batch, with a soft shadow; a food mostly on a dish belongs to it."""
    b, side, dev = len(x), x.shape[-1], x.device
    row = data.foods[by_weight(data.foods_weight, b)]
    j, value, corner = row[:, 0], row[:, 1], row[:, 2:].float()
    extent = (corner[:, 2:] - corner[:, :2]).amax(1)
    scale = (torch.exp(uniform(b, math.log(0.08), math.log(0.4), dev)) * side / extent).clamp(0.3, 1.8)
    to = uniform((b, 2), 0.08, 0.92, dev) * side
    mirror = (torch.rand(b, device=dev) < 0.5) * 2.0 - 1
    m = inverse_affine(scale, scale, uniform(b, -math.pi, math.pi, dev), mirror, (corner[:, :2] + corner[:, 2:]) / 2, to)
    u, v = positions(m, side)
    h = data.rgb.shape[1]
    within = (u >= 0) & (v >= 0) & (u < h) & (v < h)
    k = (values_at(data.inst[j], index_at(u, v, h), inst.shape) == value.view(b, 1, 1)) & within & cover
    k &= (torch.rand(b, device=dev) < 0.45).view(b, 1, 1)
    k &= k.sum((1, 2), keepdim=True) > 60
    soft = k[:, None].float()
    shift = torch.randint(-5, 6, (b, 2), device=dev)
    p = torch.arange(side, device=dev)
    ys, xs = (p[None] - shift[:, :1].abs()).clamp(0, side - 1), (p[None] - shift[:, 1:]).clamp(0, side - 1)
    moved = soft[:, 0][torch.arange(b, device=dev)[:, None, None], ys[:, :, None], xs[:, None, :]]
    shade = blur(moved[:, None], uniform(b, 1.5, 4, dev))
    x = x * (1 - uniform(b, 0, 0.6, dev).view(b, 1, 1, 1) * shade)
    soft = blur(soft, torch.full((b,), 0.6, device=dev))
    x = x * (1 - soft) + colours_at(data.rgb[j], u, v) * soft
    on = full[:, ::2, ::2].flatten(1).long()
    votes = torch.zeros(b, 256, device=dev).scatter_add_(1, on, k[:, ::2, ::2].flatten(1).float())
    most, dish = votes[:, 1:].max(1)
    owner = torch.where(most > 0.5 * votes.sum(1), dish + 1, 0).to(torch.uint8).view(b, 1, 1)
    inst = torch.where(k, PASTED + number, inst)
    part = torch.where(k, 251 + number, part)
    return x, inst.to(torch.uint8), torch.where(k, owner, full), part.to(torch.uint8)


@torch.no_grad()
def draw(data: Data, b: int, side: int) -> Batch:
    """A batch of `b` photos of `side` pixels (a multiple of 8)."""
    dev = data.rgb.device
    pick = by_weight(data.weight, b)
    size = data.size[pick].float()
    longest = size.amax(1)
    scale = side / longest * torch.exp(uniform(b, -0.25, 0.8, dev))
    stretch = torch.exp(torch.randn(b, device=dev) * 0.06)
    turn = torch.randn(b, device=dev) * torch.where(torch.rand(b, device=dev) < 0.5, 0.35, 0.06)
    mirror = (torch.rand(b, device=dev) < 0.5) * 2.0 - 1
    m = inverse_affine(scale * stretch, scale / stretch, turn, mirror, size * uniform((b, 2), 0.3, 0.7, dev), side * uniform((b, 2), 0.4, 0.6, dev))
    plain = torch.zeros_like(m)  # as at inference: upper left, no turn
    plain[:, 0, 0] = plain[:, 1, 1] = longest / side
    m = torch.where(torch.rand(b, 1, 1, device=dev) < 0.25, plain, m)
    u, v = positions(m, side)
    cover = (u >= 0) & (v >= 0) & (u < size[:, 0, None, None]) & (v < size[:, 1, None, None])
    x = colours_at(data.rgb[pick], u, v)
    index = index_at(u, v, data.rgb.shape[1])
    inst, full, part = (values_at(a[pick], index, cover.shape) * cover for a in (data.inst, data.full, data.part))
    for number in range(PASTES):
        x, inst, full, part = paste(data, x, inst, full, part, cover, number)
    x = colour(x)
    mean, std = (constant(a, dev).view(1, 3, 1, 1) for a in (MEAN, STD))
    return Batch((x - mean) / std * cover[:, None], inst, full, part, data.kind[pick])
