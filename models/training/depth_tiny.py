# requires: see common.py
"""Depth-tiny: a DepthAnythingForDepthEstimation (DINOv2 backbone, DPT head) that predicts tabletop disparity.

Target r = h/Z (h: camera height over the table), which on the table equals q = g.ray: disparity with scale 1 and shift 0, so
that the shift prior of a straight-down photo (b near 0) holds. Relief is a small part of r, so the loss is taken after the
error's best fit on table pixels is removed, with extra weight on food and dishes, plus the plain error and its gradients.
ECUSTFD top views train with pseudo heights (prepare.py).

  depth_tiny.py --data D --cache C --minutes 25     trains (resumes <cache>/depth.pt), evaluates, exports
  depth_tiny.py ... --eval                           evaluates the exported checkpoint on the held-out scenes
"""

import json
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from common import CHECKPOINTS, Average, Clock, Optimiser, arguments, learning_rate, load_state, save_state, share_cores, start
from sam_tiny import affine, colour

SHORT = 252               # shorter side of the exported model's input; training may begin smaller (--short)
MEAN, STD = np.float32([0.485, 0.456, 0.406]) * 255, np.float32([0.229, 0.224, 0.225]) * 255


def config() -> DepthAnythingConfig:
    backbone = Dinov2Config(hidden_size=192, num_hidden_layers=6, num_attention_heads=3, mlp_ratio=3, image_size=252, patch_size=14,
                            out_indices=[2, 3, 4, 6], apply_layernorm=True, reshape_hidden_states=False, layerscale_value=1.0)
    return DepthAnythingConfig(backbone_config=backbone, reassemble_hidden_size=192, reassemble_factors=[4, 2, 1, 0.5],
                               neck_hidden_sizes=[32, 48, 64, 96], fusion_hidden_size=32, head_hidden_size=16)


def waves(side: int, width: int) -> torch.Tensor:
    """(side*side, width): sines and cosines of row and column, from half a period to eight over the picture, and the plain ramps."""
    at = torch.linspace(0, 1, side)
    f = torch.pi * torch.logspace(0, 3, width // 4, base=2.0)
    one = torch.cat([(at[:, None] * f).sin(), (at[:, None] * f).cos()], 1)
    one[:, :6] = 2 * at[:, None] - 1
    rows, columns = one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)
    return 0.5 * torch.cat([rows, columns], -1).reshape(side * side, width)


def new_model():
    model = DepthAnythingForDepthEstimation._from_config(config())
    with torch.no_grad():
        # the table is a ramp over the picture: positions must be legible from the first step
        model.backbone.embeddings.position_embeddings[0, 1:] = waves(252 // 14, config().backbone_config.hidden_size)
        model.head.conv3.bias.fill_(0.8)  # the final ReLU must not start dead
        for p in (model.head.conv1, model.head.conv2):
            torch.nn.init.kaiming_normal_(p.weight)
    return model


@torch.no_grad()
def warm_start(model, sam: dict):
    """Copies SAM-tiny's encoder blocks (same widths, same norms and GELU) and its patch filters, shrunk from 16 to 14 px."""
    mine = model.backbone.state_dict()
    kernel = F.interpolate(sam["vision_encoder.patch_embed.projection.weight"], (14, 14), mode="bicubic", antialias=True)
    new = {"embeddings.patch_embeddings.projection.weight": kernel * (16 / 14) ** 2,
           "embeddings.patch_embeddings.projection.bias": sam["vision_encoder.patch_embed.projection.bias"]}
    for i in range(model.config.backbone_config.num_hidden_layers):
        a = f"vision_encoder.layers.{i}."
        b = next(k for k in mine if k.endswith(f"layer.{i}.norm1.weight"))[: -len("norm1.weight")]
        for x, y in (("layer_norm1", "norm1"), ("layer_norm2", "norm2"), ("mlp.lin1", "mlp.fc1"), ("mlp.lin2", "mlp.fc2")):
            for p in ("weight", "bias"):
                new[f"{b}{y}.{p}"] = sam[f"{a}{x}.{p}"]
        names = [k for k in mine if k.startswith(b + "attention")]
        for p in ("weight", "bias"):
            for part, keys in zip(sam[f"{a}attn.qkv.{p}"].chunk(3), (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))):
                new[next(n for n in names if n.endswith(p) and any(k in n for k in keys))] = part
            new[next(n for n in names if n.endswith(p) and ("output.dense" in n or "o_proj" in n))] = sam[f"{a}attn.proj.{p}"]
    assert all(mine[k].shape == v.shape for k, v in new.items())
    model.backbone.load_state_dict(new, strict=False)
    print(f"warm start: {len(new)} tensors of SAM-tiny", flush=True)


class Data:
    def __init__(self, cache, held: bool):
        p = np.load(cache / "plates.npz")
        i = np.nonzero(p["held"] == held)[0]
        parts = {k: [p[k][i]] for k in ("rgb", "ids", "r", "q", "size", "name")}
        self.h = list(p["h"][i])
        e = np.load(cache / "ecustfd.npz")
        i = np.nonzero((e["held"] == held) & e["deep"])[0]
        for k in ("rgb", "ids", "r", "size", "name"):
            parts[k].append(e[k][i])
        parts["q"].append(np.ones_like(parts["r"][1]))
        self.rgb, self.ids, self.r, self.q, self.size, self.name = (np.concatenate(parts[k]) for k in ("rgb", "ids", "r", "q", "size", "name"))
        self.real = np.arange(len(self.rgb)) >= len(self.h)


def draw(data, rng, b):
    """(pixels (B,3,H,W), r, q, ids, known (B,H,W), real (B,)) of one orientation."""
    tall = rng.random() < 0.4
    H, W = (SHORT * 4 // 3, SHORT) if tall else (SHORT, SHORT * 4 // 3)
    plates, real = np.nonzero(~data.real)[0], np.nonzero(data.real)[0]
    x, ids = np.zeros((b, H, W, 3), np.uint8), np.zeros((b, H, W), np.uint8)
    r, q, known = (np.zeros((b, H, W), np.float32) for _ in range(3))
    pick = np.array([rng.choice(real) if rng.random() < 0.25 else rng.choice(plates) for _ in range(b)])
    for i, j in enumerate(pick):
        w, h = data.size[j]
        turn = rng.choice([0, 1, 2, 3]) if data.real[j] else 0   # top views have no up
        fit = max(W / w, H / h) if turn % 2 == 0 else max(W / h, H / w)
        s = fit * np.exp(abs(rng.normal(0, 0.15)))
        m = affine(rng, s, (w / 2, h / 2), (0, 0), 6 if rng.random() < 0.5 else 1)
        for _ in range(turn):
            m = np.float32([[0, -1, 0], [1, 0, 0]])[:, :2] @ m
        corners = m[:, :2] @ np.float32([[0, w, 0, w], [0, 0, h, h]]) + m[:, 2:]
        lo, hi = corners.min(1), corners.max(1)
        m[:, 2] += [rng.uniform(min(W - hi[0], -lo[0]), max(W - hi[0], -lo[0])), rng.uniform(min(H - hi[1], -lo[1]), max(H - hi[1], -lo[1]))]
        warp = lambda a, f, mode=cv2.BORDER_CONSTANT: cv2.warpAffine(np.ascontiguousarray(a[:h, :w]), m, (W, H), flags=f, borderMode=mode)
        src = data.rgb[j]
        if s < 0.62:
            src = cv2.GaussianBlur(src, (0, 0), 0.4 / s)
        x[i] = warp(src, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
        ids[i] = warp(data.ids[j], cv2.INTER_NEAREST)
        r[i] = warp(data.r[j].astype(np.float32), cv2.INTER_NEAREST)
        q[i] = warp(data.q[j].astype(np.float32), cv2.INTER_LINEAR)
        known[i] = warp(np.ones((h, w), np.float32), cv2.INTER_NEAREST)
    known *= (r > 0.15) & (q > 0.15) & (ids != 250)
    x = colour(x, rng)
    if rng.random() < 0.5:
        x, ids, r, q, known = (np.ascontiguousarray(a[:, :, ::-1]) for a in (x, ids, r, q, known))
    t = torch.from_numpy((x.astype(np.float32) - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    return t, *(torch.from_numpy(a) for a in (r, q, ids.astype(np.int64), known)), torch.from_numpy(data.real[pick])


def relief_error(e, q, table, real):
    """The error less its best fit on table pixels: [q, 1] for renderings, [u, v, 1] for top views (their tilt is unknown)."""
    b, h, w = e.shape
    u = torch.linspace(-1, 1, w).expand(h, w)[None].expand(b, -1, -1)
    v = torch.linspace(-1, 1, h)[:, None].expand(h, w)[None].expand(b, -1, -1)
    f = real[:, None, None].float()
    basis = torch.stack([torch.ones_like(e), f * u + (1 - f) * q, f * v], -1).flatten(1, 2)
    wgt = table.flatten(1)[..., None]
    lhs = (basis * wgt).transpose(1, 2) @ basis / wgt.sum((1, 2), keepdim=True).clamp(min=1) + torch.diag(torch.tensor([1e-6, 1e-3, 1e-3]))
    rhs = (basis * wgt).transpose(1, 2) @ e.flatten(1)[..., None] / wgt.sum((1, 2), keepdim=True).clamp(min=1)
    x = torch.linalg.solve(lhs, rhs)
    enough = (table.flatten(1).sum(1) > 400).float()[:, None, None]
    return e - (basis @ (x * enough)).reshape(b, h, w)


def losses(d, r, q, ids, known, real):
    e = d - r
    table = known * (ids == 0)
    left = relief_error(e, q, table, real)
    mean = lambda x, m: ((x * m).flatten(1).sum(1) / m.flatten(1).sum(1).clamp(min=50))
    food, dish = known * (ids > 0) * (ids < 200), known * (ids >= 200)
    f = real.float()
    a = left.abs()
    relief = 4 * mean(a, food) + mean(a, table) + (1 - f) * 2 * mean(a, dish)
    plain = (1 - f) * mean(e.abs(), known) + f * 0.3 * mean(e.abs(), table)
    slope = 0
    shown = known * torch.where(real[:, None, None], (ids > 0) & (ids < 200), torch.ones_like(ids, dtype=torch.bool)).float()
    for k in (1, 2, 4):
        for axis in (1, 2):
            n = e.shape[axis] - k
            g = (left.narrow(axis, k, n) - left.narrow(axis, 0, n)).abs()
            slope = slope + mean(g, shown.narrow(axis, k, n) * shown.narrow(axis, 0, n))
    return relief.mean(), plain.mean(), slope.mean()


def train(args):
    start(args)
    model = new_model()
    sam = load_state(args.cache / "sam.pt")
    if sam:
        warm_start(model, {k: v.float() for k, v in sam["average"].items()})
    average = Average(model, 0.998)
    optimiser = Optimiser(model.named_parameters(), args.lr, 0.05)
    clock, step, state_path = Clock(args.minutes), 0, args.cache / f"{args.name}.pt"
    state = load_state(state_path)
    if state:
        model.load_state_dict(state["model"])
        average = Average(model, 0.998)
        step = state["step"]
        if state["phase"] == args.phase:  # an interrupted run goes on; a new phase starts its own schedule
            optimiser.load_state_dict(state["optimiser"])
            clock, average.n = Clock(args.minutes, state["spent"]), state["n"]
            average.state = state["average"]
    rng = np.random.default_rng(args.seed + step)
    data, held = Data(args.cache, False), Data(args.cache, True)
    print(f"{len(data.rgb)} photos ({data.real.sum()} with pseudo heights), {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    shown, saved = [], time.time()
    while clock.share < 1:
        share_cores(args.threads)
        for g in optimiser.param_groups:
            g["lr"] = learning_rate(clock.share, args.lr)
        x, r, q, ids, known, real = draw(data, rng, args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            d = model(x).predicted_depth
        relief, plain, slope = losses(d.float(), r, q, ids, known, real)
        loss = 10 * (relief + 3 * plain + 2 * slope)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        shown.append((relief.item(), plain.item(), slope.item()))
        if step % 50 == 0:
            print(step, f"share {clock.share:.3f}", "relief %.4f plain %.4f slope %.4f" % tuple(np.mean(shown[-50:], 0)), f"{clock.spent / step:.2f} s/step", flush=True)
        if time.time() - saved > 120 or clock.share >= 1:
            save_state(state_path, model=model.state_dict(), optimiser=optimiser.state_dict(), average=average.state, n=average.n, step=step, spent=clock.spent, phase=args.phase)
            saved = time.time()
    return average.into(new_model()).eval(), held


def align(d, q, table):
    """Robust d = A q + b on table pixels with the prior b ~ N(0, (0.15 d)^2), which only matters near straight down."""
    y, x = d[table], q[table]
    weight = np.ones_like(y)
    sigma, prior = 0.02, 20.0 / len(y)  # neighbours are not independent: about 20 measurements
    for _ in range(8):
        s2 = max(sigma, 2e-3) ** 2
        w = weight * prior
        lhs = np.array([[np.sum(w * x * x), np.sum(w * x)], [np.sum(w * x), np.sum(w)]]) / s2
        lhs[1, 1] += 1 / (0.15 * np.median(y)) ** 2
        A, b = np.linalg.solve(lhs, np.array([np.sum(w * x * y), np.sum(w * y)]) / s2)
        e = np.abs(y - A * x - b)
        sigma = 1.4826 * np.median(e)
        weight = np.minimum(1, 1.345 * sigma / np.maximum(e, 1e-9))
    return A, b


@torch.no_grad()
def evaluate(model, held):
    """Held-out scenes: height error over food after alignment on the table; relief sums; ECUSTFD: pseudo relief ratio."""
    medians, means, ratios, flat, real_ratio, nadir = [], [], [], [], [], []
    for i in range(len(held.rgb)):
        w, h = held.size[i]
        k = SHORT / min(w, h)
        size = (max(1, round(w * k / 14)) * 14, max(1, round(h * k / 14)) * 14)
        x = cv2.resize(held.rgb[i][:h, :w], size, interpolation=cv2.INTER_AREA).astype(np.float32)
        d = model(torch.from_numpy((x - MEAN) / STD).permute(2, 0, 1)[None]).predicted_depth
        d = F.interpolate(d[None], (int(h), int(w)), mode="bicubic")[0, 0].numpy()
        ids, q, r = held.ids[i][:h, :w], held.q[i][:h, :w].astype(np.float32), held.r[i][:h, :w].astype(np.float32)
        food, table = (ids > 0) & (ids < 200), (ids == 0) & (q > 0.15)
        if held.real[i]:
            base = np.median(d[table])
            real_ratio.append(float(np.mean(1 - base / np.maximum(d[food], 0.3)) / np.mean(1 - 1 / r[food])))
            continue
        if table.sum() < 300 or not food.any():
            continue
        A, b = align(d, q, table)
        height = held.h[i] * 1000 * (1 - A * q / np.maximum(d - b, 1e-3))
        truth = held.h[i] * 1000 * (1 - q / np.maximum(r, 1e-3))
        error = np.abs(height - truth)[food]
        medians.append(np.median(error)), means.append(np.mean(error))
        ratios.append(height[food].mean() / truth[food].mean())
        flat.append(np.median(np.abs(height)[table]))
        if q.min() > 0.9 * q.max():
            nadir.append(np.median(error))
    return {"food_height_error_mm": {"median_of_medians": round(float(np.median(medians)), 2), "mean_of_medians": round(float(np.mean(medians)), 2),
                                     "mean": round(float(np.mean(means)), 2)},
            "relief_ratio": {"median": round(float(np.median(ratios)), 3), "mape": round(float(np.mean(np.abs(np.array(ratios) - 1))), 3)},
            "table_height_mm": round(float(np.median(flat)), 2), "scenes": len(medians),
            "ecustfd_pseudo_relief": {"median_ratio": round(float(np.median(real_ratio)), 3), "mape": round(float(np.mean(np.abs(np.array(real_ratio) - 1))), 3), "photos": len(real_ratio)}}


def export(model, out):
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "DPTImageProcessor", "do_resize": True, "size": {"height": SHORT, "width": SHORT}, "keep_aspect_ratio": True,
        "ensure_multiple_of": 14, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_pad": False, "size_divisor": None}, indent=2) + "\n")


def main():
    global SHORT
    p = arguments(__doc__)
    p.add_argument("--name", default="depth")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--short", type=int, default=SHORT)
    p.add_argument("--phase", default="final", help="name of this stretch of training; a new name keeps weights, not the schedule")
    p.add_argument("--eval", action="store_true")
    args = p.parse_args()
    SHORT = args.short
    cv2.setNumThreads(1)
    out = args.out or CHECKPOINTS / "depth"
    if args.eval:
        torch.set_num_threads(args.threads)
        held = Data(args.cache, True)
    else:
        model, held = train(args)
        export(model, out)
    model = DepthAnythingForDepthEstimation.from_pretrained(out, dtype=torch.float32).eval()
    print(json.dumps(evaluate(model, held), indent=1))


if __name__ == "__main__":
    main()
