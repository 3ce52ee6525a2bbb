# requires: python>=3.11 torch==2.15.* transformers==5.23.* numpy>=2 pillow>=12 opencv-python-headless>=4.10 safetensors>=0.8
"""What the three trainings share: the data's places, the held-out split, labels, seeds, resumable state."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE.parent / "checkpoints" / "plate-tiny"

# masks.png values of the rendered scenes -> kind; 0 is the table top, 1..N are foods
KIND_OF_ID = {200: "plate", 201: "bowl", 202: "board", 203: "glass", 204: "cutlery", 205: "napkin", 206: "phone",
              207: "coin", 208: "card", 209: "napkin", 250: "other"}
KINDS = ["food", "plate", "bowl", "glass", "cutlery", "coin", "card", "board", "napkin", "phone", "table", "other"]

# ECUSTFD folder names -> plain English, where the published name is a slip of the pen
ECUSTFD_LABEL = {"qiwi": "kiwi", "fired_dough_twist": "fried dough twist"}
# GrabCut did not find these foods (the data's README); boxes stand in for their masks
ECUSTFD_NO_MASK = {"fired_dough_twist", "grape", "bread"}


def ecustfd_label(food: str) -> str:
    return ECUSTFD_LABEL.get(food, food.replace("_", " "))


def arguments(doc: str) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=doc)
    p.add_argument("--data", type=Path, default=os.environ.get("PLATE_DATA"), help="folder with plates/ and ecustfd/")
    p.add_argument("--cache", type=Path, default=os.environ.get("PLATE_CACHE", ".cache/training"))
    p.add_argument("--minutes", type=float, default=30.0, help="wall-clock budget of this run")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--device", type=torch.device, default=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=None, help="checkpoint folder to write")
    p.add_argument("--init", type=Path, default=None, help="exported folder whose weights a new training begins from")
    p.add_argument("--grid-share", type=float, default=0.226, help="step of the exported weights' grid, of their standard deviation")
    p.add_argument("--grid-from", type=float, default=0.65, help="share of the run from which the weights are rounded while training")
    return p


def read_split(name: str) -> list[str]:
    return [s for s in (HERE / "splits" / name).read_text().split("\n") if s]


def labels() -> list[str]:
    return [s for s in (CHECKPOINTS / "vlm" / "labels.txt").read_text().split("\n") if s]


def scenes(data: Path) -> list[str]:
    return sorted(p.name for p in (data / "plates").iterdir() if (p / "scene.json").exists())


def scene(data: Path, name: str) -> dict:
    return json.loads((data / "plates" / name / "scene.json").read_text())


def ecustfd_rows(data: Path) -> list[dict]:
    with open(data / "ecustfd" / "photos.csv") as f:
        return list(csv.DictReader(f))


class Clock:
    """The share of the budget that is spent, over all runs of one training (state survives an interruption)."""

    def __init__(self, minutes: float, before: float = 0.0):
        self.budget, self.before, self.start = minutes * 60.0, before, time.time()

    @property
    def spent(self) -> float:
        return self.before + time.time() - self.start

    @property
    def share(self) -> float:
        return min(1.0, self.spent / self.budget)


def share_cores(limit: int):
    """Takes up to `limit` threads, but one while other processes run: a pool that waits for a busy core is slower than none."""
    running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]) if Path("/proc/loadavg").exists() else 1
    want = limit if running <= torch.get_num_threads() else 1
    if want != torch.get_num_threads():
        torch.set_num_threads(want)


def learning_rate(share: float, peak: float, warm: float = 0.03, floor: float = 0.01) -> float:
    """Linear warm-up, then half a cosine, by share of the time budget."""
    if share < warm:
        return peak * max(share / warm, 0.02)
    return peak * (floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * (share - warm) / (1 - warm))))


class Muon:
    """torch.optim.Muon's rule (Nesterov momentum, five quintic Newton-Schulz steps, steps as large as AdamW's), for all
    matrices of one shape at once: few large products instead of many small ones. Nothing is read back from the device."""

    COEFFICIENTS = (3.4445, -4.775, 2.0315)

    def __init__(self, matrices, rate: float, decay: float, momentum: float = 0.95):
        shapes = {}
        for p in matrices:
            shapes.setdefault(tuple(p.shape), []).append(p)
        self.groups, self.momentum = list(shapes.values()), momentum
        self.buffers = [torch.zeros(len(g), *g[0].shape, device=g[0].device) for g in self.groups]
        self.param_groups = [{"lr": rate, "weight_decay": decay}]

    @torch.no_grad()
    def orthogonal(self, x):
        """The nearest semi-orthogonal matrices, roughly; (N,rows,columns) in bf16."""
        a, b, c = self.COEFFICIENTS
        tall = x.shape[1] > x.shape[2]
        x = x.bfloat16().mT if tall else x.bfloat16()
        x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
        for _ in range(5):
            g = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(g, g, g, beta=b, alpha=c), x, beta=a)
        return x.mT if tall else x

    @torch.no_grad()
    def step(self):
        rate, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        for matrices, buffer in zip(self.groups, self.buffers):
            grad = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in matrices])
            buffer.lerp_(grad, 1 - self.momentum)
            move = self.orthogonal(grad.lerp(buffer, self.momentum)).to(buffer.dtype)
            torch._foreach_mul_(matrices, 1 - rate * decay)
            torch._foreach_add_(matrices, list(move.unbind(0)), alpha=-rate * 0.2 * max(matrices[0].shape) ** 0.5)

    def zero_grad(self):
        for matrices in self.groups:
            for p in matrices:
                p.grad = None

    def state_dict(self):
        return {"buffers": self.buffers}

    def load_state_dict(self, state):
        for mine, theirs in zip(self.buffers, state["buffers"], strict=True):
            mine.copy_(theirs)


class Optimiser:
    """Muon on the hidden matrices, AdamW on the rest (embeddings, convolutions, norms, biases, output layers)."""

    REST = ("embed", "head", "tokens", "iou_token", "aux")

    def __init__(self, named, rate: float, decay: float):
        named = [(n, p) for n, p in named if p.requires_grad]
        hidden = [p for n, p in named if p.ndim == 2 and min(p.shape) > 8 and not any(k in n for k in self.REST)]
        taken = {id(p) for p in hidden}
        rest = [(n, p) for n, p in named if id(p) not in taken]
        self.parts = [Muon(hidden, rate, decay),
                      torch.optim.AdamW([{"params": [p for n, p in rest if p.ndim > 1 and "embed" not in n], "weight_decay": decay},
                                         {"params": [p for n, p in rest if p.ndim <= 1 or "embed" in n], "weight_decay": 0.0}],
                                        lr=rate, betas=(0.9, 0.98), fused=rest[0][1].is_cuda)]

    @property
    def param_groups(self):
        return [g for o in self.parts for g in o.param_groups]

    def zero_grad(self):
        for o in self.parts:
            o.zero_grad()

    def step(self):
        for o in self.parts:
            o.step()

    def state_dict(self):
        return [o.state_dict() for o in self.parts]

    def load_state_dict(self, states):
        for o, s in zip(self.parts, states):
            o.load_state_dict(s)


class Average:
    """Exponential moving average of the weights; what is evaluated and exported."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay, self.n = decay, 0
        self.state = {k: v.detach().clone().float() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module):
        self.n += 1
        d = min(self.decay, (1 + self.n) / (10 + self.n))
        mine, theirs = [], []
        for k, v in model.state_dict().items():
            if v.dtype.is_floating_point:
                mine.append(self.state[k]), theirs.append(v)
            else:
                self.state[k].copy_(v)
        torch._foreach_lerp_(mine, theirs, 1 - d)

    def into(self, model: torch.nn.Module) -> torch.nn.Module:
        model.load_state_dict(self.state)
        return model


class Grid:
    """Large weights on a grid of even steps, a power of two near `share` of each tensor's standard deviation: compressed, a file of
    such numbers takes half the room. Trained with (straight through: gradients move the exact weights), the rounding costs little."""

    LEAST = 4096          # numbers a tensor must have

    def __init__(self, model: torch.nn.Module, share: float):
        self.share, self.age = share, 0
        self.large = [p for p in model.parameters() if p.ndim > 1 and p.numel() >= self.LEAST]

    def measure(self):
        deviation = torch.stack([p.detach().float().std() for p in self.large]).clamp(min=1e-8).tolist()
        self.steps = [2.0 ** round(math.log2(self.share * d)) for d in deviation]

    @torch.no_grad()
    def round(self):
        torch._foreach_mul_(self.large, [1 / s for s in self.steps])
        torch._foreach_round_(self.large)
        torch._foreach_mul_(self.large, self.steps)

    @contextmanager
    def rounded(self, now: bool):
        """Rounds the weights for a forward and backward pass, if `now`; the exact ones are back afterwards."""
        if not now:
            yield
            return
        if self.age % 100 == 0:
            self.measure()
        self.age += 1
        exact = [p.detach().clone() for p in self.large]
        self.round()
        yield
        with torch.no_grad():
            torch._foreach_copy_(self.large, exact)


@torch.no_grad()
def for_export(model: torch.nn.Module, share: float) -> torch.nn.Module:
    """The model on the CPU in f16: large weights on their grid, the others rounded to 8 significant bits, so that files compress."""
    model = model.cpu().float()
    grid = Grid(model, share)
    grid.measure()
    grid.round()
    on_grid = {id(p) for p in grid.large}
    for p in [*model.parameters(), *model.buffers()]:
        if p.dtype == torch.float32 and id(p) not in on_grid:
            mantissa, exponent = torch.frexp(p)
            p.copy_(torch.ldexp(torch.round(mantissa * 256) / 256, exponent))
    return model.half()


def save_state(path: Path, **things):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(things, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def load_state(path: Path) -> dict | None:
    return torch.load(path, map_location="cpu", weights_only=False) if path.exists() else None


def start(args) -> torch.Generator:
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    return torch.Generator().manual_seed(args.seed)
