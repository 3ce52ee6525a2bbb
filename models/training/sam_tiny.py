# requires: see common.py
"""SAM-tiny: a SamModel of 384 px trained from scratch on boxes and points over food, dishes and table objects.

Each step draws photos, turns, scales, colours them and pastes foods of one photo on another, then asks for masks by
jittered boxes and by one to three points. Losses: BCE weighted by the error, and dice, on the low-resolution logits (best of the three
multimask outputs, and the single output), squared error of the predicted IoU, and an auxiliary dense head that is dropped.

  sam_tiny.py --data D --cache C --minutes 30         trains (resumes <cache>/sam.pt), evaluates, exports
  sam_tiny.py ... --eval                               evaluates the exported checkpoint on the held-out split
"""

import json
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import SamConfig, SamModel

from common import (CHECKPOINTS, KIND_OF_ID, KINDS, Average, Clock, Optimiser, arguments, learning_rate, load_state, save_state, share_cores, start)

SIZE = 384                # of the exported model; training may begin smaller (--size), nothing but pos_embed depends on it
LOW = SIZE // 4
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
BOXES, POINTS = 2, 4      # prompts of each kind per photo


def config() -> SamConfig:
    """No relative positions (use_rel_pos false): their bias forbids fused attention, which training on a CPU lives by."""
    return SamConfig(
        vision_config=dict(hidden_size=192, output_channels=128, num_hidden_layers=6, num_attention_heads=3, image_size=SIZE, use_rel_pos=False,
                           patch_size=16, window_size=SIZE // 32, global_attn_indexes=[2, 5], num_pos_feats=64, mlp_ratio=3.0,
                           mlp_dim=576, initializer_range=0.02),
        prompt_encoder_config=dict(hidden_size=128, image_size=SIZE, patch_size=16, mask_input_channels=16),
        mask_decoder_config=dict(hidden_size=128, mlp_dim=384, num_hidden_layers=2, num_attention_heads=4, iou_head_hidden_dim=128))


def new_model() -> SamModel:
    model = SamModel._from_config(config(), attn_implementation="sdpa")
    model.mask_decoder.config._attn_implementation = "eager"  # few tokens: plain products beat the fused kernel
    with torch.no_grad():
        # the class draws with standard deviation hidden/2; published SAM uses 1, and lower frequencies learn faster
        model.shared_image_embedding.positional_embedding.normal_(0, 1.0)
        model.vision_encoder.pos_embed.normal_(0, 0.02)
        for module in model.mask_decoder.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.xavier_uniform_(module.weight), torch.nn.init.zeros_(module.bias)
        for name, module in model.mask_decoder.named_modules():
            if name.endswith(("token_to_image", "image_to_token")):
                # queries and keys through one matrix: attention starts at like positions instead of nowhere
                module.q_proj.weight.normal_(0, 0.1)
                module.k_proj.weight.copy_(module.q_proj.weight)
    return model


def set_size(size: int):
    global SIZE, LOW
    SIZE, LOW = size, size // 4


def resized(state: dict) -> dict:
    """Weights trained at another input size, with the position table interpolated."""
    old = state["vision_encoder.pos_embed"]
    new = F.interpolate(old.float().permute(0, 3, 1, 2), (SIZE // 16, SIZE // 16), mode="bicubic").permute(0, 2, 3, 1)
    return state | {"vision_encoder.pos_embed": new}


class Data:
    """Photos with two id maps: visible instances, and dishes with all that lies on them."""

    def __init__(self, cache, held: bool):
        rgb, inst, full, kind, size, real = [], [], [], [], [], []
        p = np.load(cache / "plates.npz")
        ids = p["ids"]
        for i in np.nonzero(p["held"] == held)[0]:
            a, b, k = instances(ids[i])
            inst.append(a), full.append(b), kind.append(k), size.append(p["size"][i]), real.append(0)
        index = np.nonzero(p["held"] == held)[0]
        rgb.append(p["rgb"][index])
        e = np.load(cache / "ecustfd.npz")
        index = np.nonzero((e["held"] == held) & e["segment"])[0]
        ids = e["ids"][index]
        for a, s in zip(ids, e["size"][index]):
            a, b, k = instances(a, real=True)
            inst.append(a), full.append(b), kind.append(k), size.append(s), real.append(1)
        rgb.append(e["rgb"][index])
        self.rgb = np.concatenate(rgb)
        self.inst, self.full, self.kind = np.stack(inst), np.stack(full), np.stack(kind)
        self.size, self.real = np.stack(size), np.array(real)


def instances(ids, real=False):
    """(visible instances, full dishes, kind index per instance id). 0 = nothing known, 255 = table (rendered only)."""
    inst, full = np.zeros_like(ids), np.zeros_like(ids)
    kind = np.zeros(256, np.int64)
    foods = ids * (ids < 200)
    inst[foods > 0] = foods[foods > 0]
    kind[1:200] = KINDS.index("food")
    nxt = 200
    for value, name in KIND_OF_ID.items():
        mask = ids == value
        if value == 250 or not mask.any():
            continue
        if name in ("plate", "bowl", "board"):
            # one dish a component of dish and food together, so that food does not cut a plate in two
            n, comp = cv2.connectedComponents((mask | ((foods > 0) & hull(mask))).astype(np.uint8))
        else:
            n, comp = cv2.connectedComponents(mask.astype(np.uint8))
        for j in range(1, n):
            part = (comp == j) & mask
            if part.sum() < 40 or nxt > 250:
                continue
            inst[part], kind[nxt] = nxt, KINDS.index(name)
            if name in ("plate", "bowl", "board"):
                full[part | (hull(part) & (foods > 0)) | (hull(part) & (ids == 207) & real)] = nxt
            nxt += 1
    if not real:
        inst[ids == 0] = 255
        kind[255] = KINDS.index("table")
        inst[ids == 250] = 0
    return inst, full, kind


def hull(mask):
    out = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return out > 0


def normalise(rgb, size):
    """uint8 (B,H,W,3) -> normalised (B,3,H,W), zero outside the photo as SAM's padding."""
    x = torch.from_numpy((rgb.astype(np.float32) - MEAN) / STD).permute(0, 3, 1, 2)
    for i, (w, h) in enumerate(size):
        x[i, :, h:], x[i, :, :, w:] = 0, 0
    return x


def colour(rgb, rng):
    """Light, colour, contrast, noise on float 0..255 (B,H,W,3)."""
    b = len(rgb)
    gain = np.exp(rng.normal(0, 0.12, (b, 1, 1, 3)) + rng.normal(0, 0.25, (b, 1, 1, 1))).astype(np.float32)
    x = rgb.astype(np.float32) * gain
    gamma = np.exp(rng.normal(0, 0.2, (b, 1, 1, 1))).astype(np.float32)
    x = 255 * np.power(np.clip(x / 255, 0, 1), gamma)
    grey = x.mean(-1, keepdims=True)
    x = grey + (x - grey) * np.exp(rng.normal(0, 0.25, (b, 1, 1, 1))).astype(np.float32)
    for i in range(b):
        t = rng.random()
        if t < 0.25:
            k = int(rng.choice([3, 5]))
            x[i] = cv2.GaussianBlur(x[i], (k, k), 0)
        elif t < 0.5:
            q = int(rng.integers(25, 80))
            x[i] = cv2.imdecode(cv2.imencode(".jpg", np.clip(x[i], 0, 255).astype(np.uint8), [1, q])[1], 1)
        if rng.random() < 0.3:
            x[i] += rng.normal(0, rng.uniform(2, 10), x[i].shape[:2] + (1,)).astype(np.float32)
    return np.clip(x, 0, 255).astype(np.uint8)


def draw(data: Data, rng, b: int):
    """A batch: pixel values (B,3,S,S), instance and dish maps (B,S,S) uint8, kinds (B,256)."""
    plates, real = np.nonzero(data.real == 0)[0], np.nonzero(data.real == 1)[0]
    pick = np.where(rng.random(b) < 0.6, rng.choice(plates, b), rng.choice(real, b))
    x, inst, full = np.zeros((b, SIZE, SIZE, 3), np.uint8), np.zeros((b, SIZE, SIZE), np.uint8), np.zeros((b, SIZE, SIZE), np.uint8)
    cover = np.zeros((b, SIZE, SIZE), np.uint8)
    for i, j in enumerate(pick):
        w, h = data.size[j]
        s = SIZE / max(w, h) * np.exp(rng.uniform(-0.15, 0.5))
        m = affine(rng, s, (w / 2, h / 2), (SIZE * rng.uniform(0.35, 0.65), SIZE * rng.uniform(0.35, 0.65)), 25 if rng.random() < 0.5 else 5)
        if rng.random() < 0.25:  # as at inference: upper left, no turn
            m = np.float32([[SIZE / max(w, h), 0, 0], [0, SIZE / max(w, h), 0]])
        src = data.rgb[j][:h, :w]
        x[i] = cv2.warpAffine(src, m, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        inst[i] = cv2.warpAffine(data.inst[j][:h, :w], m, (SIZE, SIZE), flags=cv2.INTER_NEAREST)
        full[i] = cv2.warpAffine(data.full[j][:h, :w], m, (SIZE, SIZE), flags=cv2.INTER_NEAREST)
        cover[i] = cv2.warpAffine(np.ones((h, w), np.uint8), m, (SIZE, SIZE), flags=cv2.INTER_NEAREST)
        if rng.random() < 0.5:  # paste foods of other photos
            for _ in range(rng.integers(1, 3)):
                paste(data, rng, x[i], inst[i], full[i], cover[i])
    x = colour(x, rng)
    if rng.random() < 0.5:
        x, inst, full, cover = x[:, :, ::-1], inst[:, :, ::-1], full[:, :, ::-1], cover[:, :, ::-1]
    t = torch.from_numpy((x.astype(np.float32) - MEAN) / STD) * torch.from_numpy(np.ascontiguousarray(cover)).float()[..., None]
    return (t.permute(0, 3, 1, 2).contiguous(), np.ascontiguousarray(inst), np.ascontiguousarray(full), data.kind[pick])


def affine(rng, scale, centre, to, turn):
    a = np.deg2rad(rng.uniform(-turn, turn))
    c, s = scale * np.cos(a), scale * np.sin(a)
    return np.float32([[c, -s, to[0] - c * centre[0] + s * centre[1]], [s, c, to[1] - s * centre[0] - c * centre[1]]])


def paste(data, rng, x, inst, full, cover):
    j = rng.integers(len(data.rgb))
    foods = [k for k in np.unique(data.inst[j]) if 0 < k < 200]
    if not foods:
        return
    w, h = data.size[j]
    m = (data.inst[j][:h, :w] == rng.choice(foods)).astype(np.uint8)
    bx, by, bw, bh = cv2.boundingRect(m)
    if bw * bh < 400:
        return
    s = rng.uniform(0.12, 0.4) * SIZE / max(bw, bh)
    t = affine(rng, s, (bx + bw / 2, by + bh / 2), (rng.uniform(0.1, 0.9) * SIZE, rng.uniform(0.1, 0.9) * SIZE), 180)
    k = cv2.warpAffine(m, t, (SIZE, SIZE), flags=cv2.INTER_NEAREST) * cover
    free = [i for i in range(150, 200) if not (inst == i).any()]
    new = free[0]
    hit = k > 0
    if hit.sum() < 60:
        return
    pixels = cv2.warpAffine(data.rgb[j][:h, :w], t, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    # a contact shadow, then a soft edge
    shade = cv2.GaussianBlur(np.roll(k.astype(np.float32), (int(rng.integers(0, 6)), int(rng.integers(-5, 6))), (0, 1)), (0, 0), 5)
    x[:] = (x * (1 - rng.uniform(0, 0.5) * shade[..., None])).astype(np.uint8)
    soft = cv2.GaussianBlur(k.astype(np.float32), (3, 3), 0)[..., None]
    x[:] = (x * (1 - soft) + pixels * soft).astype(np.uint8)
    inst[hit] = new
    on = full[hit]  # a food that lies mostly on a dish belongs to its full mask, else it cuts it
    if (on > 0).mean() > 0.5:
        full[hit] = np.bincount(on[on > 0]).argmax()
    else:
        full[hit] = 0


def prompts(rng, inst, full, kinds):
    """Boxes (B,KB,4), points (B,KP,P,2) with labels, and per prompt its target and an alternative target (B,K,LOW,LOW)."""
    b = len(inst)
    many = int(rng.choice([1, 1, 2, 3]))
    boxes = np.zeros((b, BOXES, 4), np.float32)
    points, marks = np.zeros((b, POINTS, many, 2), np.float32), np.ones((b, POINTS, many), np.int64)
    target = np.zeros((b, BOXES + POINTS, SIZE, SIZE), bool)
    other = np.zeros_like(target)
    valid = np.zeros((b, BOXES + POINTS), np.float32)
    for i in range(b):
        count = np.bincount(inst[i].ravel(), minlength=256)
        dishes = np.bincount(full[i].ravel(), minlength=256)
        pool = []
        for k in np.nonzero(count > 80)[0]:
            if k == 0:
                continue
            kind = KINDS[kinds[i][k]] if k < 150 or k >= 200 else "food"
            weight = {"food": 3.0, "table": 0.6, "plate": 0.4, "bowl": 0.4, "board": 0.3}.get(kind, 1.5)
            pool.append((inst[i], k, weight, kind))
        pool += [(full[i], k, 2.0, "dish") for k in np.nonzero(dishes > 400)[0] if k]
        if not pool:
            continue
        weight = np.array([p[2] for p in pool])
        no_table = weight * np.array([p[3] not in ("table", "plate", "bowl", "board") for p in pool])
        for n in range(BOXES + POINTS):
            w = no_table if n < BOXES and no_table.sum() else weight
            image, k, _, kind = pool[rng.choice(len(pool), p=w / w.sum())]
            m = image == k
            target[i, n], valid[i, n] = m, 1
            ys, xs = np.nonzero(m)
            if n < BOXES:
                x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
                sx, sy = (x1 - x0) * 0.06, (y1 - y0) * 0.06
                boxes[i, n] = np.clip(np.float32([x0, y0, x1, y1]) + rng.normal(0, 1, 4) * [sx, sy, sx, sy], 0, SIZE)
                continue
            for t in range(many):
                if t and rng.random() < 0.4:
                    x, y = rng.integers(0, SIZE, 2)
                    marks[i, n - BOXES, t] = int(m[y, x])
                else:
                    a = rng.integers(len(ys))
                    x, y = xs[a], ys[a]
                points[i, n - BOXES, t] = x + 0.0, y + 0.0
            x, y = points[i, n - BOXES, 0].astype(int)
            under, visible = full[i, y, x], inst[i, y, x]
            if image is inst[i] and under:
                other[i, n] = full[i] == under
            elif visible:
                other[i, n] = inst[i] == visible
    low = lambda m: F.avg_pool2d(torch.from_numpy(m).float(), SIZE // LOW)
    return torch.from_numpy(boxes), torch.from_numpy(points), torch.from_numpy(marks), low(target), low(other), torch.from_numpy(valid)


def decode(model, embeddings, sparse, dense):
    """All four masks and IoU predictions; SamMaskDecoder.forward without its final choice of outputs."""
    pe = model.get_image_wide_positional_embeddings().repeat(len(embeddings), 1, 1, 1)
    d = model.mask_decoder
    taken = {}
    hook = d.iou_prediction_head.register_forward_hook(lambda m, i, o: taken.update(iou=o))
    hyper = [mlp.register_forward_hook(lambda m, i, o, k=k: taken.update({k: o})) for k, mlp in enumerate(d.output_hypernetworks_mlps)]
    up = d.upscale_conv2.register_forward_hook(lambda m, i, o: taken.update(up=d.activation(o)))
    d(image_embeddings=embeddings, image_positional_embeddings=pe, sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True)
    for h in (hook, up, *hyper):
        h.remove()
    b, k = sparse.shape[:2]
    masks = torch.stack([taken[i] for i in range(4)], 2) @ taken["up"].reshape(b, k, -1, LOW * LOW)
    return masks.float(), taken["iou"].float()  # (B,K,4,LOW*LOW), (B,K,4)


def overlap(logits, target):
    """IoU of the thresholded low-resolution mask with the target."""
    a, t = (logits > 0).float(), (target > 0.5).float()
    inter = (a * t).sum(-1)
    return inter / (a.sum(-1) + t.sum(-1) - inter).clamp(min=1)


def losses(masks, iou, target, other, valid):
    t = target.flatten(2)[:, :, None]
    p = masks.sigmoid()
    bce = F.binary_cross_entropy_with_logits(masks, t.expand_as(masks), reduction="none")
    hard = (p - t).abs()
    bce = ((0.3 + hard) * bce).mean(-1)
    dice = 1 - (2 * (p * t).sum(-1) + 1) / (p.sum(-1) + t.sum(-1) + 1)
    each = 8 * bce + dice                                   # (B,K,4)
    with torch.no_grad():
        truth = overlap(masks, t)
        truth[..., 1:] = torch.maximum(truth[..., 1:], overlap(masks, other.flatten(2)[:, :, None])[..., 1:])
    best = each[..., 1:].min(-1).values + 0.05 * each[..., 1:].mean(-1)
    mask_loss = ((best + 0.6 * each[..., 0]) * valid).sum() / valid.sum().clamp(min=1)
    iou_loss = (((iou - truth) ** 2).mean(-1) * valid).sum() / valid.sum().clamp(min=1)
    return mask_loss, iou_loss


class Dense(torch.nn.Module):
    """Auxiliary: what stands at each of the 4x4 cells of an embedding position. Not exported."""

    def __init__(self, width=128):
        super().__init__()
        self.head = torch.nn.Conv2d(width, 16 * len(KINDS), 1)

    def forward(self, x):
        return F.pixel_shuffle(self.head(x), 4)


def train(args):
    start(args)
    state_path = args.cache / f"{args.name}.pt"
    model, dense = new_model(), Dense()
    state = load_state(state_path)
    average = Average(model, 0.998)
    named = [*model.named_parameters(), *((f"aux.{n}", p) for n, p in dense.named_parameters())]
    optimiser = Optimiser(named, args.lr, 0.05)
    clock, step = Clock(args.minutes), 0
    if state:
        kept = {k: v for k, v in resized(state["model"]).items() if not (args.fresh_decoder and state.get("phase") != args.phase and "mask_decoder" in k)}
        model.load_state_dict(kept, strict=not args.fresh_decoder), dense.load_state_dict(state["dense"])
        average = Average(model, 0.998)
        step = state["step"]
        if state.get("phase") == args.phase:  # an interrupted run goes on; a new phase starts its own schedule
            optimiser.load_state_dict(state["optimiser"])
            clock, average.n = Clock(args.minutes, state["spent"]), state["n"]
            average.state = state["average"]
    rng = np.random.default_rng(args.seed + step)
    data = Data(args.cache, held=False)
    print(f"{len(data.rgb)} photos, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    saved, shown = time.time(), []
    while clock.share < 1:
        share_cores(args.threads)
        rate = learning_rate(clock.share, args.lr)
        for g in optimiser.param_groups:
            g["lr"] = rate
        x, inst, full, kinds = draw(data, rng, args.batch)
        boxes, points, marks, target, other, valid = prompts(rng, inst, full, kinds)
        with torch.autocast("cpu", torch.bfloat16):
            e = model.vision_encoder(x).last_hidden_state
            sb, db = model.prompt_encoder(None, None, boxes, None)
            sp, dp = model.prompt_encoder(points, marks, None, None)
            mb, ib = decode(model, e, sb, db)
            mp, ip = decode(model, e, sp, dp)
            seg = dense(e)
        lm, li = losses(torch.cat([mb, mp], 1), torch.cat([ib, ip], 1), target, other, valid)
        small = inst[:, 2::4, 2::4].astype(np.int64)
        kind = np.take_along_axis(kinds, small.reshape(len(small), -1), 1).reshape(small.shape)
        kind[(small >= 150) & (small < 200)] = KINDS.index("food")
        kind[small == 0] = -100
        ls = F.cross_entropy(seg.float(), torch.from_numpy(kind), ignore_index=-100)
        loss = lm + li + 1.5 * ls * (1 - 0.7 * clock.share)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.parameters()), 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        shown.append((lm.item(), li.item(), ls.item()))
        if step % 50 == 0:
            print(step, f"share {clock.share:.3f}", "mask %.3f iou %.4f dense %.3f" % tuple(np.mean(shown[-50:], 0)), f"{clock.spent / step:.2f} s/step", flush=True)
        if time.time() - saved > 120 or clock.share >= 1:
            save_state(state_path, model=model.state_dict(), dense=dense.state_dict(), optimiser=optimiser.state_dict(),
                       average=average.state, n=average.n, step=step, spent=clock.spent, phase=args.phase)
            saved = time.time()
    return average.into(new_model()).eval()


@torch.no_grad()
def evaluate(model, args, limit=None):
    """Held-out: IoU with the true box, with one central point, and automatic (best match of the point grid) at cache size."""
    data = Data(args.cache, held=True)
    out = {"plates": {}, "ecustfd": {}}
    order = list(range(len(data.rgb)))
    if limit:
        plates, real = [i for i in order if not data.real[i]], [i for i in order if data.real[i]]
        order = plates[: limit // 2] + real[:: max(1, -(-len(real) // (limit // 2)))]
    for i in order:
        w, h = data.size[i]
        k = SIZE / max(w, h)
        nw, nh = int(w * k + 0.5), int(h * k + 0.5)
        canvas = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        canvas[0, :nh, :nw] = cv2.resize(data.rgb[i][:h, :w], (nw, nh), interpolation=cv2.INTER_AREA)
        e = model.vision_encoder(normalise(canvas, [(nw, nh)])).last_hidden_state
        inst = data.inst[i][:h, :w]
        things = [(KINDS[data.kind[i][n]], inst == n) for n in np.unique(inst) if n and n != 255 and (inst == n).sum() > 150]
        things = [t for t in things if t[0] not in ("plate", "bowl", "board")]
        full = data.full[i][:h, :w]
        things += [("dish", full == n) for n in np.unique(full) if n]
        if not things:
            continue
        boxes = torch.tensor([[(np.nonzero(m.any(0))[0][0]) * k, np.nonzero(m.any(1))[0][0] * k, (np.nonzero(m.any(0))[0][-1] + 1) * k, (np.nonzero(m.any(1))[0][-1] + 1) * k] for _, m in things]).float()[None]
        masks, iou = decode(model, e, *model.prompt_encoder(None, None, boxes, None))
        boxed = to_photo(masks[0], (nw, nh), (w, h))
        side = 16
        grid = [((x + 0.5) / side * nw, (y + 0.5) / side * nh) for y in range(side) for x in range(side)]
        auto = automatic(model, e, grid, (nw, nh), (w, h)) if args.automatic else []
        for n, (kind, m) in enumerate(things):
            d = out["ecustfd" if data.real[i] else "plates"].setdefault(kind, {"box": [], "single": [], "auto": [], "iou_error": []})
            best = int(iou[0, n, 1:].argmax()) + 1
            values = [jaccard(boxed[n, j] > 0, m) for j in range(4)]
            d["box"].append(values[best]), d["single"].append(values[0])
            d["iou_error"].append(abs(float(iou[0, n, best]) - values[best]))
            if args.automatic:
                d["auto"].append(max([jaccard(a, m) for a in auto] or [0.0]))
    return {s: {k: {n: round(float(np.mean(v)), 3) for n, v in d.items() if v} | {"n": len(d["box"])} for k, d in kinds.items()} for s, kinds in out.items()}


def to_photo(low, reshaped, size):
    """(N,M,LOW*LOW) logits -> (N,M,h,w) at the photo's size, two interpolations as in the published post-processing."""
    n, m = low.shape[:2]
    x = F.interpolate(low.reshape(n, m, LOW, LOW), (SIZE, SIZE), mode="bilinear")[:, :, : reshaped[1], : reshaped[0]]
    return F.interpolate(x, (size[1], size[0]), mode="bilinear").numpy()


def automatic(model, e, grid, reshaped, size, iou_floor=0.6, stability_floor=0.8):
    """Masks of a point grid that pass the thresholds, after box NMS."""
    found = []
    for a in range(0, len(grid), 64):
        p = torch.tensor(grid[a : a + 64])[None, :, None].float()
        masks, iou = decode(model, e, *model.prompt_encoder(p, torch.ones(p.shape[:3], dtype=torch.long), None, None))
        masks, iou = masks[0, :, 1:].flatten(0, 1), iou[0, :, 1:].flatten()
        keep = iou > iou_floor
        stable = (masks > 1).sum(-1) / (masks > -1).sum(-1).clamp(min=1)
        keep &= stable >= stability_floor
        found += list(zip(iou[keep].tolist(), masks[keep]))
    found.sort(key=lambda t: -t[0])
    kept = []
    for score, m in found:
        k = m > 0
        if all(((k & o).sum() / (k | o).sum().clamp(min=1)) < 0.7 for _, o in kept):
            kept.append((m, k))
    if not kept:
        return []
    return list(to_photo(torch.stack([m for m, _ in kept])[:, None], reshaped, size)[:, 0] > 0)


def jaccard(a, b):
    return float((a & b).sum() / max(1, (a | b).sum()))


def export(model, out):
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "SamImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"longest_edge": SIZE},
        "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225], "do_pad": True, "pad_size": {"height": SIZE, "width": SIZE},
        "mask_size": {"longest_edge": LOW}, "mask_pad_size": {"height": LOW, "width": LOW}}, indent=2) + "\n")


def main():
    p = arguments(__doc__)
    p.add_argument("--name", default="sam")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--size", type=int, default=SIZE)
    p.add_argument("--phase", default="final", help="name of this stretch of training; a new name keeps weights, not the schedule")
    p.add_argument("--eval", action="store_true")
    p.add_argument("--fresh-decoder", action="store_true", help="a new phase keeps the encoder alone")
    p.add_argument("--automatic", action="store_true", help="evaluate automatic masks too (slow)")
    p.add_argument("--limit", type=int, default=None, help="evaluate this many photos at most; 0: none")
    args = p.parse_args()
    set_size(args.size)
    cv2.setNumThreads(1)
    out = args.out or CHECKPOINTS / "sam"
    if args.eval:
        torch.set_num_threads(args.threads)
        model = SamModel.from_pretrained(out, dtype=torch.float32).eval()
    else:
        model = train(args)
        export(model, out)
        model = SamModel.from_pretrained(out, dtype=torch.float32).eval()
    if args.limit != 0:
        print(json.dumps(evaluate(model, args, args.limit), indent=1))


if __name__ == "__main__":
    main()
