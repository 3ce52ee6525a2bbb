"""Pinhole cameras as phones hold them over a meal; distributions follow the evaluation scenes."""

import math
from dataclasses import dataclass

import numpy as np
import torch

Z_FAR = 400.0


@dataclass
class Camera:
    width: int                 # of the photo; the buffer is twice that
    height: int
    f: float                   # px of the photo
    position: np.ndarray       # cm, z up
    rotation: np.ndarray       # rows: the camera's right, down, forward axes in the world
    pitch: float               # degrees from looking straight down

    def rays(self, device, scale=2):
        """(H*W, 3) directions with unit depth along the optical axis, pixel centres of the buffer."""
        w, h = self.width * scale, self.height * scale
        u = ((torch.arange(w, device=device) + 0.5) / scale - self.width / 2) / self.f
        v = ((torch.arange(h, device=device) + 0.5) / scale - self.height / 2) / self.f
        r = torch.tensor(self.rotation, dtype=torch.float32, device=device)
        return (r[2] + u[None, :, None] * r[0] + v[:, None, None] * r[1]).reshape(-1, 3)


def look(position, aim, roll_deg):
    """Rotation rows (right, down, forward) of a camera at `position` looking at `aim`; a roll leans the scene's up to the right."""
    forward = aim - position
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right = np.array([1.0, 0, 0]) if np.linalg.norm(right) < 1e-6 else right / np.linalg.norm(right)
    down = np.cross(forward, right)
    a = math.radians(-roll_deg)
    return np.stack([math.cos(a) * right + math.sin(a) * down, math.cos(a) * down - math.sin(a) * right, forward])


def sample(rng, long, subject_cm, top_view=False):
    """A camera over a subject of this diameter; `top_view` is the near vertical one of single foods on a plate."""
    portrait = rng.random() < 0.63
    w, h = (round(long * 0.75), long) if portrait else (long, round(long * 0.75))
    f = math.hypot(w, h) / 2 / math.tan(math.radians(rng.uniform(74.6, 87)) / 2)
    kind = rng.random()
    pitch = rng.uniform(0, 6) if kind < 0.11 or top_view else float(np.clip(rng.normal(37, 13), 4, 60 if kind < 0.97 else 70))
    roll = rng.uniform(-4, 4) if rng.random() < 0.3 else 0.0
    fill = rng.uniform(0.5, 0.92)
    distance = subject_cm * f / (fill * min(w, h))
    if top_view:
        distance = rng.uniform(24, 32)
    az = rng.normal(0, 0.25) if rng.random() < 0.7 else rng.uniform(-math.pi, math.pi)
    p = math.radians(pitch)
    height = float(np.clip(distance * math.cos(p), 25 if not top_view else 22, 60))
    distance = height / math.cos(p)
    aim = np.array([rng.normal(0, 1.5), rng.normal(0, 1.5) + 0.04 * distance * math.sin(p), rng.uniform(0, 2)])
    back = distance * math.sin(p)
    position = np.array([aim[0] + back * math.sin(az), aim[1] - back * math.cos(az), height])
    return Camera(w, h, f, position, look(position, aim, roll), pitch)
