# requires: see common.py
"""Prompts and their answers, drawn on the device from the maps of a batch.

What is meant by a prompt is a code: level * 256 + value, level 0 `inst`, 1 `full` (a dish with what lies on it), 2 `part` (one piece of a
food). A box means what it was drawn around; so do several points. One point is ambiguous: the three outputs then mean, from small to
large, the piece under it, the whole food or thing, and the dish. A point on a dish's own surface means the dish.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from common import KINDS
from sam_augment import Batch, constant
from sam_data import DISHES

LEAST = 80          # pixels a thing must have to be asked for
FULL, PART = 256, 512
BOX = {"food": 3.0, "table": 0.0, "plate": 0.0, "bowl": 0.0, "board": 0.0, "coin": 2.5}
POINT = {"food": 3.0, "table": 0.7, "plate": 0.8, "bowl": 0.8, "board": 0.5, "coin": 2.5}
OTHER = 1.5         # weight of every other kind
WHOLE, PIECE = 2.0, 0.5


@dataclass
class Prompts:
    boxes: torch.Tensor    # (B,KB,4) pixels of the input
    points: torch.Tensor   # (B,KP,P,2)
    marks: torch.Tensor    # (B,KP,P) 1 in, 0 out
    target: torch.Tensor   # (B,KB+KP,4,L,L) share of each cell that belongs: single output, then part, thing, dish
    valid: torch.Tensor    # (B,KB+KP) 0: the photo shows nothing to ask for


def counts(maps):
    """(B,3,S,S) uint8 -> pixels of each code (B,768), counted on every fourth."""
    few = maps[:, :, ::2, ::2].flatten(2).long()
    return torch.zeros(*few.shape[:2], 256, device=maps.device).scatter_add_(2, few, torch.ones_like(few, dtype=torch.float32)).flatten(1) * 4


def weights(many, kind, table):
    """Chance of each code being asked for (B,768), not normalised."""
    of_kind = constant(tuple(table.get(k, OTHER) for k in KINDS), many.device)
    w = torch.cat([of_kind[kind.long()], torch.full_like(many[:, FULL:PART], WHOLE), torch.full_like(many[:, PART:], PIECE)], 1)
    w[:, ::256] = 0
    return w * (many > LEAST)


def distinct(w, n):
    """n codes by weight without repetition while there are any, then in turn again (B,n); and how many there are (B,)."""
    noise = -torch.log(-torch.log(torch.rand_like(w).clamp(1e-6, 1 - 1e-6)))
    order = torch.where(w > 0, w.clamp(min=1e-9).log() + noise, -torch.inf).topk(n, 1).indices
    there = (w > 0).sum(1)
    turn = torch.arange(n, device=w.device)[None] % there.clamp(1, n)[:, None]
    return order.gather(1, turn), there


def masks_of(maps, code):
    """(B,3,S,S) maps, (B,K) codes -> bool (B,K,S,S)."""
    b = torch.arange(len(maps), device=maps.device)[:, None]
    return maps[b, code // 256] == (code % 256).to(torch.uint8)[..., None, None]


def tight(masks):
    """Boxes of masks (B,K,S,S): x0, y0, x1, y1 with upper edges exclusive, (B,K,4)."""
    side = masks.shape[-1]
    cols, rows = masks.any(2).float(), masks.any(3).float()
    first, last = lambda a: a.argmax(-1), lambda a: side - a.flip(-1).argmax(-1)
    return torch.stack([first(cols), first(rows), last(cols), last(rows)], -1).float()


def pixel_in(masks):
    """A random pixel of each mask (B,K,S,S): x, y (B,K), on one of the four half-size lattices."""
    oy, ox = (int(v) for v in torch.randint(0, 2, (2,)))
    half = masks[:, :, oy::2, ox::2]
    side = half.shape[-1]
    c = half.flatten(2).float().cumsum(-1)
    i = torch.searchsorted(c, torch.rand_like(c[..., :1]) * c[..., -1:], right=True)[..., 0].clamp(max=side * side - 1)
    return i % side * 2 + ox, i // side * 2 + oy


def at(maps, x, y):
    """Values of the maps at pixels (B,K): (B,3,K)."""
    return maps.flatten(2).gather(2, (y * maps.shape[-1] + x)[:, None].expand(-1, 3, -1)).long()


def is_dish(kind, value):
    """Whether `inst` values (B,K) are a dish's own surface."""
    dish = constant(tuple(k in DISHES for k in KINDS), kind.device)
    return dish[kind.gather(1, value).long()]


def low(masks):
    """Share of each 4 x 4 cell, (B,K,S/4,S/4)."""
    return F.avg_pool2d(masks.to(torch.float16 if masks.is_cuda else torch.float32), 4).float()


@torch.no_grad()
def ask(batch: Batch, n_boxes: int, n_points: int, many: int) -> Prompts:
    """`n_boxes` boxes and `n_points` prompts of `many` points for each photo."""
    maps = torch.stack([batch.inst, batch.full, batch.part], 1)
    side, dev = maps.shape[-1], maps.device
    number = counts(maps)
    meant, there_b = distinct(weights(number, batch.kind, BOX), n_boxes)
    boxed = masks_of(maps, meant)
    boxes = tight(boxed)
    reach = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    loose = torch.rand(*boxes.shape[:2], 1, device=dev) < 0.75
    boxes = (boxes + torch.randn_like(boxes) * reach * 0.06 * loose).clamp(0, side)

    code, there_p = distinct(weights(number, batch.kind, POINT), n_points)
    x, y = pixel_in(masks_of(maps, code))
    here = at(maps, x, y)
    dish = (here[:, 1] > 0)
    surface = is_dish(batch.kind, here[:, 0]) & dish
    thing = torch.where(surface | ((here[:, 0] == 0) & dish), here[:, 1] + FULL, here[:, 0])
    whole = torch.where(dish, here[:, 1] + FULL, thing)
    piece = torch.where((here[:, 2] > 0) & ~surface, here[:, 2] + PART, thing)
    single = torch.where(code < FULL, thing, code)
    points, marks = [torch.stack([x, y], -1)], [torch.ones_like(x)]
    if many > 1:  # what all points mean is no longer ambiguous
        whole = piece = thing = single
        asked = masks_of(maps, single)
        for _ in range(many - 1):
            x, y = pixel_in(asked)
            anywhere = torch.rand(x.shape, device=dev) < 0.4
            x, y = (torch.where(anywhere, torch.randint_like(v, 0, side), v) for v in (x, y))
            points.append(torch.stack([x, y], -1))
            marks.append(asked.flatten(2).gather(2, (y * side + x)[..., None])[..., 0].long())
    box_answer = low(boxed)[:, :, None].expand(-1, -1, 4, -1, -1)
    answers = [low(masks_of(maps, c)) for c in ((single, piece, thing, whole) if many == 1 else (single,))]
    point_answer = torch.stack(answers, 2).expand(-1, -1, 4, -1, -1)
    valid = torch.cat([(there_b > 0).float()[:, None].expand(-1, n_boxes), (there_p > 0).float()[:, None].expand(-1, n_points)], 1)
    return Prompts(boxes, torch.stack(points, 2).float(), torch.stack(marks, 2), torch.cat([box_answer, point_answer], 1), valid)


@torch.no_grad()
def correct(logits, target, side: int):
    """One point where a mask is wrong: logits and target (B,L,L) -> point (B,1,1,2), mark (B,1,1). Anywhere if nothing is wrong."""
    truth = target > 0.5
    wrong = ((logits > 0) != truth).flatten(1).float() + 1e-6
    c = wrong.cumsum(1)
    i = torch.searchsorted(c, torch.rand_like(c[:, :1]) * c[:, -1:], right=True).clamp(max=c.shape[1] - 1)
    l = truth.shape[-1]
    p = torch.stack([i % l, i // l], -1).float() * (side / l) + side / l / 2 - 0.5
    return p[:, None], truth.flatten(1).gather(1, i).long()[:, None]
