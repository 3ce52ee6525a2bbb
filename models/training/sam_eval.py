# requires: see common.py
"""Held-out figures of SAM-tiny on the device: boxes, points, automatic masks by kind and source, and thresholds for the automatic rules."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from common import KINDS
from sam_augment import MEAN, STD
from sam_data import DISHES, SOURCES

SMALLEST = 150      # pixels at the cached size
IOU_FLOORS, STABLE_FLOORS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88), (0.5, 0.7, 0.8, 0.9, 0.95)
LIKE = 0.7          # boxes that overlap more are one mask, as published


def photo(data, i, side, device):
    """(1,3,S,S) normalised, scaled to the longest side with antialiasing, and the scaled size (w,h)."""
    w, h = data.size[i].tolist()
    k = side / max(w, h)
    nw, nh = int(w * k + 0.5), int(h * k + 0.5)
    x = data.rgb[i, :h, :w].permute(2, 0, 1)[None].float()
    x = F.interpolate(x, (nh, nw), mode="bilinear", antialias=True, align_corners=False).round().clamp(0, 255)
    mean, std = (torch.tensor(a, device=device).view(1, 3, 1, 1) for a in (MEAN, STD))
    return F.pad((x - mean) / std, (0, side - nw, 0, side - nh)), (nw, nh), (w, h)


def things(data, i):
    """(kind, mask (h,w) bool) of everything large enough; dishes are meant with what lies on them."""
    w, h = data.size[i].tolist()
    inst, full, kind = data.inst[i, :h, :w], data.full[i, :h, :w], data.kind[i].tolist()
    out = []
    for n in torch.unique(inst).tolist():
        name = KINDS[kind[n]]
        if n and n != 255 and name not in DISHES and int((inst == n).sum()) > SMALLEST:
            out.append((name, inst == n))
    return out + [("dish", full == n) for n in torch.unique(full).tolist() if n and int((full == n).sum()) > SMALLEST]


def box(mask):
    x, y = mask.any(0).nonzero()[:, 0], mask.any(1).nonzero()[:, 0]
    return [x[0].item(), y[0].item(), x[-1].item() + 1, y[-1].item() + 1]


def inner_point(mask):
    """The pixel farthest from the mask's edge (and from the photo's)."""
    m = cv2.copyMakeBorder(mask.cpu().numpy().astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    y, x = divmod(int(cv2.distanceTransform(m, cv2.DIST_L2, 5).argmax()), m.shape[1])
    return [x - 1, y - 1]


def to_photo(low, side, scaled, size):
    """(N,L,L) logits -> (N,h,w), two interpolations as in the published post-processing."""
    x = F.interpolate(low[None], (side, side), mode="bilinear")[:, :, : scaled[1], : scaled[0]]
    return F.interpolate(x, (size[1], size[0]), mode="bilinear")[0]


def overlap(a, b):
    """IoU of bool masks (N,h,w) and (M,h,w): (N,M)."""
    a, b = a.flatten(1).float(), b.flatten(1).float()
    with torch.autocast(a.device.type, enabled=False):  # counts of pixels need every digit
        both = a @ b.T
    return both / (a.sum(1)[:, None] + b.sum(1)[None] - both).clamp(min=1)


def suppressed(boxes, score):
    """Indices that survive, best first: greedy, boxes overlapping more than LIKE with a better one go."""
    order, kept = np.argsort(-score), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        i, rest = order[0], order[1:]
        kept.append(i)
        wh = np.minimum(boxes[i, 2:], boxes[rest, 2:]) - np.maximum(boxes[i, :2], boxes[rest, :2])
        both = wh.clip(0).prod(1)
        order = rest[both / np.maximum(area[i] + area[rest] - both, 1e-6) <= LIKE]
    return np.array(kept, int)


@torch.no_grad()
def evaluate(model, decode, data, limit: int, side_points: int):
    """Lines of text; `limit` photos spread over the sources, 0 for all."""
    side, device = model.config.vision_config.image_size, data.rgb.device
    source = data.source.tolist()
    order = list(range(len(data)))
    if limit:
        groups = [[i for i in order if source[i] == s] for s in range(len(SOURCES))]
        groups = [g for g in groups if g]
        each = max(1, limit // len(groups))
        order = [i for g in groups for i in g[:: max(1, -(-len(g) // each))]]
    table, grid, hits = {}, {}, {"hit": [], "miss": []}
    photos = 0
    for i in order:
        known = things(data, i)
        if not known:
            continue
        photos += 1
        x, scaled, size = photo(data, i, side, device)
        k = side / max(size)
        truth = torch.stack([m for _, m in known])
        e = model.vision_encoder(x).last_hidden_state
        prompts = model.prompt_encoder(None, None, torch.tensor([[box(m) for m in truth]], device=device).float() * k, None)
        masks, iou = decode(model, e, *prompts)
        boxed = per_thing(masks[0], side, scaled, size, truth)
        p = torch.tensor([[inner_point(m) for m in truth]], device=device).float()[:, :, None] * k
        masks, pointed_iou = decode(model, e, *model.prompt_encoder(p, torch.ones(p.shape[:3], dtype=torch.long, device=device), None, None))
        pointed = per_thing(masks[0], side, scaled, size, truth)
        auto = candidates(model, decode, e, side_points, side, scaled, device)
        cover = overlap(to_photo(auto["masks"], side, scaled, size) > 0, truth) if len(auto["score"]) else torch.zeros(0, len(truth))
        best = cover.max(1).values.float().cpu().numpy() if len(cover) else np.zeros(0)
        hits["hit"] += list(zip(auto["score"][best > 0.8], auto["stable"][best > 0.8]))
        hits["miss"] += list(zip(auto["score"][best < 0.5], auto["stable"][best < 0.5]))
        cover = cover.float().cpu().numpy()
        for a in IOU_FLOORS:
            for s in STABLE_FLOORS:
                index = np.nonzero((auto["score"] > a) & (auto["stable"] >= s))[0]
                index = index[suppressed(auto["boxes"][index], auto["score"][index])]
                reached = cover[index].max(0) if len(index) else np.zeros(len(known))
                for n, (kind, _) in enumerate(known):
                    grid.setdefault((a, s), {}).setdefault((SOURCES[source[i]], kind), []).append(reached[n])
                grid[a, s].setdefault("count", []).append(len(index))
        for n, (kind, _) in enumerate(known):
            row = table.setdefault((SOURCES[source[i]], kind), {})
            choice = int(iou[0, n, 1:].argmax()) + 1
            add = lambda key, v: row.setdefault(key, []).append(float(v))
            add("box single", boxed[n, 0]), add("box", boxed[n, choice]), add("off", abs(iou[0, n, choice] - boxed[n, choice]))
            add("point", pointed[n, int(pointed_iou[0, n, 1:].argmax()) + 1]), add("point best", pointed[n, 1:].max())
            add("grid best", cover[:, n].max() if len(cover) else 0)
    return lines(table, grid, hits, photos)


def per_thing(masks, side, scaled, size, truth):
    """IoU of each of four masks of each prompt with its own thing: (N,4,L,L), (N,h,w) -> (N,4)."""
    n = len(masks)
    full = to_photo(masks.flatten(0, 1), side, scaled, size).view(n, 4, *truth.shape[1:]) > 0
    t = truth[:, None]
    return (full & t).sum((2, 3)) / (full | t).sum((2, 3)).clamp(min=1)


def candidates(model, decode, e, side_points, side, scaled, device):
    """Every mask of a point grid before any filter, empty ones left out."""
    t = (torch.arange(side_points, device=device) + 0.5) / side_points
    p = torch.stack([(t * scaled[0])[None].expand(side_points, -1), (t * scaled[1])[:, None].expand(-1, side_points)], -1).reshape(-1, 2)
    found = []
    for a in p.split(128):
        a = a[None, :, None]
        m, s = decode(model, e, *model.prompt_encoder(a, torch.ones(a.shape[:3], dtype=torch.long, device=device), None, None))
        found.append((m[0, :, 1:].flatten(0, 1), s[0, :, 1:].flatten()))
    masks, score = torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])
    low = -(-scaled[1] * masks.shape[1] // side), -(-scaled[0] * masks.shape[2] // side)
    inside = masks[:, : low[0], : low[1]]
    stable = (inside > 1).sum((1, 2)) / (inside > -1).sum((1, 2)).clamp(min=1)
    keep = ((inside > 0).sum((1, 2)) > 2) & (score > 0.2)
    masks, score, stable, shown = masks[keep], score[keep], stable[keep], inside[keep] > 0
    cols, rows = shown.any(1).float(), shown.any(2).float()
    if len(masks):
        boxes = torch.stack([cols.argmax(1), rows.argmax(1), cols.shape[1] - cols.flip(1).argmax(1), rows.shape[1] - rows.flip(1).argmax(1)], 1)
    else:
        boxes = torch.zeros(0, 4)
    number = lambda v: v.float().cpu().numpy()
    return {"masks": masks, "score": number(score), "stable": number(stable), "boxes": number(boxes)}


def lines(table, grid, hits, photos):
    out = [f"  held out, {photos} photos: mean IoU (box: of the mask that predicts itself best; grid best: any mask of the grid, no filter)"]
    mean = lambda v: float(np.mean(v)) if len(v) else float("nan")
    for (source, kind), row in sorted(table.items(), key=lambda t: (t[0][0], -len(t[1]["box"]))):
        out.append(f"  {source:8} {kind:8} n {len(row['box']):4}  " + "  ".join(f"{k} {mean(v):.3f}" for k, v in row.items()))
    rank = []
    for (a, s), by in grid.items():
        food = [v for (source, kind), v in ((k, v) for k, v in by.items() if k != "count") if kind == "food"]
        rank.append((mean([x for v in food for x in v]), mean(by["count"]), a, s, by))
    if not rank:
        return out
    top = max(r[0] for r in rank)
    # the strictest pair within 0.01 of the best: fewest masks for the same food
    food, count, a, s, by = min((r for r in rank if r[0] >= top - 0.01), key=lambda r: r[1])
    out.append(f"  automatic: predicted IoU > {a}, stability >= {s} (offset 1): food {food:.3f} (best pair {top:.3f}), {count:.1f} masks a photo; "
               + ", ".join(f"{k[0]} {k[1]} {mean(v):.3f}" for k, v in sorted((k, v) for k, v in by.items() if k != "count")))
    for r in sorted(rank, key=lambda r: (r[2], r[3])):
        if r[3] in (0.5, 0.8, 0.95):
            out.append(f"    > {r[2]} >= {r[3]}: food {r[0]:.3f}, {r[1]:.1f} masks")
    for name, pairs in hits.items():
        if pairs:
            v = np.percentile(np.array(pairs), [5, 25, 50, 75, 95], axis=0)
            out.append(f"  grid masks that {name} ({len(pairs)}): predicted IoU p5-95 {np.round(v[:, 0], 2).tolist()}, stability {np.round(v[:, 1], 2).tolist()}")
    return out
