"""From points and colours to a photo: key light, sky, room, bounce, gloss, then the camera's exposure, balance, noise and curve."""

import math

import numpy as np
import torch
import torch.nn.functional as F


class Lights:
    def __init__(self, rng):
        elevation, azimuth = math.radians(rng.uniform(32, 80)), rng.uniform(0, 2 * math.pi)
        self.towards = np.array([math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)], np.float32)
        warm = rng.normal(0, 0.07)
        self.key = np.array([1 + warm, 1 + 0.1 * warm, 1 - warm], np.float32) * rng.uniform(0.6, 1.1)
        cool = rng.normal(-0.02, 0.05)
        self.ambient = np.array([1 + cool, 1.0, 1 - cool], np.float32) * rng.uniform(0.5, 0.95)
        self.softness = rng.uniform(0.05, 0.45)


def shade(lights, albedo, gloss, metal, normal, view, seen, sky, near, bounce):
    """Linear radiance (n,3). view: unit vectors to the camera; seen: share of the key light; near: mean colour of the solids around."""
    dev = albedo.device
    L, key, amb = (torch.tensor(a, device=dev) for a in (lights.towards, lights.key, lights.ambient))
    nl = (normal @ L).clamp_min(0)
    wrap = 0.5 + 0.5 * normal[:, 2]
    ambient = amb * (wrap * sky)[:, None]
    ground = (bounce + 0.25 * near) * ((1 - wrap) * (0.35 + 0.65 * sky))[:, None]
    diffuse = key * (nl * seen)[:, None] + ambient + ground
    rgb = albedo * diffuse * (1 - 0.75 * metal)[:, None]
    h = L + view
    h = h / h.norm(dim=1, keepdim=True)
    power = 18 + 160 * gloss
    spark = (normal * h).sum(1).clamp_min(0) ** power * seen * gloss * (0.5 + 0.4 * metal) * (power + 8) / 60
    nv = (normal * view).sum(1).clamp(0, 1)
    fresnel = 0.03 + 0.6 * (1 - nv) ** 5
    r = 2 * nv[:, None] * normal - view
    window = 0.35 + 0.5 * r[:, 2].clamp(-0.5, 1) + 1.3 * torch.exp(-((r - L) ** 2).sum(1) / 0.25)
    mirror = (window * sky)[:, None] * amb
    rgb = rgb + mirror * (fresnel * gloss * (1 - metal) * 0.8)[:, None] + mirror * albedo * (metal * 1.1)[:, None]
    return rgb + key * spark[:, None]


def develop(rng, rgb, weight, width, height):
    """(2h,2w,3) linear radiance to sRGB floats 0..1 at the buffer's size: exposure by the mean, balance, vignette, shoulder, blur, curve."""
    dev = rgb.device
    target = float(np.clip(rng.normal(0.235, 0.035), 0.12, 0.34))
    lum = (rgb.clamp(max=3).mean(-1) * weight).sum() / weight.sum().clamp_min(1)
    rgb = rgb * (target / lum.clamp_min(1e-4))
    balance = torch.tensor(1 + rng.normal(0, 0.035, 3), dtype=torch.float32, device=dev)
    h, w = rgb.shape[:2]
    yy = (torch.arange(h, device=dev) / h - 0.5)[:, None]
    xx = (torch.arange(w, device=dev) / w - 0.5)[None]
    rgb = rgb * balance * (1 - rng.uniform(0, 0.35) * (xx**2 + yy**2))[..., None]
    rgb = torch.where(rgb < 0.35, rgb, 0.35 + 0.62 * torch.tanh((rgb - 0.35) / 0.62))
    grey = rgb.mean(-1, keepdim=True)
    rgb = (grey + (rgb - grey) * rng.uniform(0.85, 1.12)).clamp(0, 1)
    return torch.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb.clamp_min(1e-6) ** (1 / 2.4) - 0.055)


def sensor(rng, image, scale):
    """Blur and noise of a photo (h,w,3) 0..1 -> uint8."""
    dev = image.device
    t = image.permute(2, 0, 1)[None]
    if rng.random() < 0.35:
        s = rng.uniform(0.3, 0.75) * scale
        k = torch.exp(-torch.arange(-2, 3, device=dev) ** 2 / (2 * s * s))
        k = (k / k.sum()).expand(3, 1, 1, 5)
        t = F.conv2d(F.conv2d(F.pad(t, (2, 2, 2, 2), mode="replicate"), k, groups=3), k.transpose(2, 3), groups=3)
    g = torch.Generator(device=dev).manual_seed(int(rng.integers(2**31)))
    t = t + torch.randn(t.shape, generator=g, device=dev) * rng.uniform(0.0, 0.012)
    return (t[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8)
