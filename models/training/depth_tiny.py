# requires: see common.py
"""Depth-tiny: a DepthAnythingForDepthEstimation (DINOv2 backbone, DPT head) that predicts tabletop disparity.

Target r = h/Z (h: camera height over the table), which on the table equals q = g.ray: disparity with scale 1 and shift 0, so
that the shift prior of a straight-down photo (b near 0) holds. The loss is the product's own figure: heights over the table after
the product's fit of d = a q + b (depth_loss.py), per pixel and per food, beside the plain error of r. ECUSTFD top views train with
pseudo heights (prepare.py). Data live and are augmented on the training device (depth_data.py).

  depth_tiny.py --cache C --minutes 16 --batch 32    trains (resumes <cache>/<name>.pt), evaluates, exports
  depth_tiny.py ... --eval                           evaluates the exported checkpoint on the held-out scenes
"""

import json
import time
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from common import CHECKPOINTS, Average, Clock, Grid, Optimiser, arguments, for_export, learning_rate, load_state, save_state, start
from depth_data import MEAN, REAL, RENDERED, STD, Batch, Photos, Sampler, load, more, ramp_at
from depth_loss import heights, losses, total

SHORT = 252               # shorter side of the exported model's input


def config(drop=0.0) -> DepthAnythingConfig:
    backbone = Dinov2Config(hidden_size=256, num_hidden_layers=8, num_attention_heads=4, mlp_ratio=3, image_size=252, patch_size=14,
                            out_indices=[2, 4, 6, 8], apply_layernorm=True, reshape_hidden_states=False, layerscale_value=1.0,
                            drop_path_rate=drop)
    return DepthAnythingConfig(backbone_config=backbone, reassemble_hidden_size=256, reassemble_factors=[4, 2, 1, 0.5],
                               neck_hidden_sizes=[48, 64, 96, 128], fusion_hidden_size=64, head_hidden_size=32)


def waves(side: int, width: int) -> torch.Tensor:
    """(side*side, width): sines and cosines of row and column, from half a period to eight over the picture, and the plain ramps."""
    at = torch.linspace(0, 1, side)
    f = torch.pi * torch.logspace(0, 3, width // 4, base=2.0)
    one = torch.cat([(at[:, None] * f).sin(), (at[:, None] * f).cos()], 1)
    one[:, :6] = 2 * at[:, None] - 1
    rows, columns = one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)
    return 0.5 * torch.cat([rows, columns], -1).reshape(side * side, width)


def new_model(drop=0.0):
    model = DepthAnythingForDepthEstimation._from_config(config(drop))
    with torch.no_grad():
        # the table is a ramp over the picture: positions must be legible from the first step
        model.backbone.embeddings.position_embeddings[0, 1:] = waves(252 // 14, config().backbone_config.hidden_size)
        model.head.conv3.bias.fill_(0.8)  # the final ReLU must not start dead
        for p in (model.head.conv1, model.head.conv2):
            torch.nn.init.kaiming_normal_(p.weight)
    return model


def predict(model, x, half=True):
    """Disparity (B,H,W) f32. The backbone and neck in bf16; the head's last bits are heights, so it stays in f32."""
    rows, columns = x.shape[-2] // 14, x.shape[-1] // 14
    with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
        maps = model.backbone.forward_with_filtered_kwargs(x).feature_maps
        maps = model.neck(maps, rows, columns)
    return model.head([m.float() for m in maps[-1:]], rows, columns)


def input_of(photos: Photos, i: int, short: int):
    """The exported preprocessor's input (1,3,H,W) of a photo."""
    w, h = photos.size[i].tolist()
    k = short / min(w, h)
    size = (max(1, round(h * k / 14)) * 14, max(1, round(w * k / 14)) * 14)
    x = photos.rgb[i, :h, :w].permute(2, 0, 1)[None].float()
    x = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 255)
    mean, std = (torch.from_numpy(a).to(x.device)[:, None, None] for a in (MEAN, STD))
    return (x - mean) / std


def truth(photos: Photos, i: int) -> Batch:
    w, h = photos.size[i].tolist()
    ids, t = photos.ids[None, i, :h, :w].long(), photos.t[None, i, :h, :w].float()
    q = ramp_at(photos.ramp[i:i + 1], photos.ids.shape[-1])[:, :h, :w]
    known = (t > -1) & (q > 0.15) & (ids != 250)
    return Batch(None, torch.where(known, t, 0.0), torch.where(known, q, 1.0), ids, known, photos.source[i:i + 1], photos.h[i:i + 1])


@torch.no_grad()
def evaluate(model, photos: Photos, short: int, half=False, limit=None, thin=1) -> dict:
    """Height error over food after the product's fit on the table; mean food height against the true one; ECUSTFD: visible
    volume over the food's mask against that of the weighed mass, by food: [median, mean absolute error]. `thin`: of ECUSTFD,
    one photo in so many."""
    rows, volumes = [], {}
    for i in range(len(photos))[:limit]:
        if i % thin and photos.label[i]:
            continue
        truth_i = truth(photos, i)
        food = truth_i.food
        if food.sum() < 100 or truth_i.table.sum() < 1000:
            continue
        d = predict(model, input_of(photos, i, short), half)
        d = F.interpolate(d[:, None], truth_i.t.shape[1:], mode="bicubic")[:, 0]
        seen = heights(d, truth_i)
        got, true, h = seen[food], truth_i.t[food], truth_i.h[0]
        if photos.source[i] == REAL:
            column = lambda t: (t * (1 - t).square()).sum()
            volumes.setdefault(photos.label[i], []).append(column(got) / column(true))
            continue
        e = (got - true).abs() * h
        wide = truth_i.q[truth_i.known]
        rows.append(torch.stack([e.median(), e.mean(), got.mean() / true.mean(), (seen[truth_i.table].abs() * h).median(),
                                 (wide.min() > 0.9 * wide.max()).float(),
                                 (d - truth_i.r).abs()[truth_i.table].median()]))
    out = {}
    if rows:
        median, average, ratio, table, nadir, plain = torch.stack(rows).cpu().numpy().T
        one = lambda x: round(float(x), 3)
        out = {"scenes": len(rows), "food_height_error_mm": {"median_of_medians": one(np.median(median)), "mean_of_medians": one(median.mean()),
                                                            "p90_of_medians": one(np.quantile(median, 0.9)), "mean": one(average.mean()),
                                                            "median_straight_down": one(np.median(median[nadir > 0])) if nadir.any() else None},
               "mean_height_ratio": {"median": one(np.median(ratio)), "mape": one(np.abs(ratio - 1).mean()),
                                     "p10": one(np.quantile(ratio, 0.1)), "p90": one(np.quantile(ratio, 0.9))},
               "table_height_mm": one(np.median(table)), "table_disparity_error": one(np.median(plain))}
    if volumes:
        by = {k: np.array([float(x) for x in v]) for k, v in sorted(volumes.items())}
        every = np.concatenate(list(by.values()))
        out["ecustfd_volume_ratio"] = {"photos": len(every), "median": round(float(np.median(every)), 3),
                                       "mape": round(float(np.abs(every - 1).mean()), 3),
                                       **{k: [round(float(np.median(v)), 2), round(float(np.abs(v - 1).mean()), 2)] for k, v in by.items()}}
    return out


def short_line(e: dict) -> str:
    a, b, c = e.get("food_height_error_mm", {}), e.get("mean_height_ratio", {}), e.get("ecustfd_volume_ratio", {})
    return (f"height error mm: median {a.get('median_of_medians')} mean {a.get('mean')} p90 {a.get('p90_of_medians')} nadir {a.get('median_straight_down')}; "
            f"mean height ratio {b.get('median')} mape {b.get('mape')}; table mm {e.get('table_height_mm')} d {e.get('table_disparity_error')}; ECUSTFD volume {c}")


def sampler_of(photos: Photos, args, step: int) -> Sampler:
    count = [int((photos.source == s).sum()) for s in range(3)]
    mix = list(args.mix)
    # a few hundred renderings of our own do not deserve the share of thousands
    mix[RENDERED] *= min(1.0, count[RENDERED] / 1000)
    mix[0] += args.mix[RENDERED] - mix[RENDERED]
    print(f"{count} photos to train on (bundled, rendered, ECUSTFD), mixed {[round(m, 2) for m in mix]}", flush=True)
    return Sampler(photos, mix, args.short, args.seed + step, augment=not args.overfit)


def train(args):
    start(args)
    device = args.device
    torch.backends.cudnn.benchmark = True
    model = new_model(args.drop).to(device).train()
    if args.init:
        model.load_state_dict(DepthAnythingForDepthEstimation.from_pretrained(args.init, dtype=torch.float32).state_dict())
    average, grid = Average(model, args.average), Grid(model, args.grid_share)
    optimiser = Optimiser(model.named_parameters(), args.lr, args.decay)
    state_path, step, before = args.cache / f"{args.name}.pt", 0, 0.0
    state = load_state(state_path)
    if state:
        model.load_state_dict(state["model"])
        average = Average(model, args.average)
        step = state["step"]
        if state["phase"] == args.phase:  # an interrupted run goes on; a new phase starts its own schedule
            optimiser.load_state_dict(state["optimiser"])
            before, average.n = state["spent"], state["n"]
            average.state = {k: v.to(device) for k, v in state["average"].items()}
    at = time.time()
    (photos, held), rendered = load(args.cache, device, args.limit), set()
    photos = more(args.cache, photos, rendered, args.limit)
    if args.overfit:
        held = photos
    sampler = sampler_of(photos, args, step)
    print(f"{len(held)} held out, read in {time.time() - at:.0f} s; {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters; {device}", flush=True)
    if args.compile:
        for layer in model.backbone.encoder.layer if hasattr(model.backbone, "encoder") else model.backbone.layers:
            layer.compile(dynamic=False)
        model.neck.compile(dynamic=False)
        model.head.compile(dynamic=False)
    watched = new_model().to(device).eval()
    clock, saved, looked, begun, first = Clock(args.minutes, before), time.time(), time.time(), time.time(), step
    shown = torch.zeros(5, device=device)
    parameters = list(model.parameters())
    while clock.share < 1:
        for g in optimiser.param_groups:
            g["lr"] = learning_rate(clock.share, args.lr)
        with torch.no_grad():
            batch = sampler.draw(args.batch)
        with grid.rounded(clock.share > args.grid_from):
            d = predict(model, batch.x)
            parts = losses(d, batch)
            loss = total(parts, 1.0 if args.init else min(1.0, clock.share / args.ease) ** 2)
            optimiser.zero_grad()
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for p in parameters:
            if p.grad is not None:
                p.grad.nan_to_num_(0, 0, 0)
        optimiser.step()
        average.update(model)
        step += 1
        shown += torch.stack([*(v.detach() for v in parts.values()), norm])
        if step % args.every == 0:
            print(step, f"share {clock.share:.3f}", " ".join(f"{k} {v:.3f}" for k, v in zip([*parts, "norm"], (shown / args.every).tolist())),
                  f"{1000 * (time.time() - begun) / (step - first):.0f} ms/step", flush=True)
            shown.zero_()
        if time.time() - saved > 60 or clock.share >= 1:
            save_state(state_path, model=model.state_dict(), optimiser=optimiser.state_dict(), average=average.state, n=average.n, step=step, spent=clock.spent, phase=args.phase)
            saved = time.time()
            grown = more(args.cache, photos, rendered, args.limit)
            if grown is not photos:
                photos, sampler = grown, sampler_of(grown, args, step)
        if time.time() - looked > 60 * args.look and clock.share < 0.97:
            at = time.time()
            print(f"held out at {step}:", short_line(evaluate(average.into(watched), held, args.short, True, thin=3)), flush=True)
            print(f"  trained on, first 40: {short_line(evaluate(watched, photos, args.short, True, 40))} ({time.time() - at:.0f} s)", flush=True)
            looked = time.time()
    return average.into(watched), held


def export(model, out, args):
    out.mkdir(parents=True, exist_ok=True)
    for_export(model, args.grid_share).save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "DPTImageProcessor", "do_resize": True, "size": {"height": args.short, "width": args.short}, "keep_aspect_ratio": True,
        "ensure_multiple_of": 14, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_pad": False, "size_divisor": None}, indent=2) + "\n")


def main():
    p = arguments(__doc__)
    p.add_argument("--name", default="depth")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--decay", type=float, default=0.05)
    p.add_argument("--drop", type=float, default=0.05, help="stochastic depth")
    p.add_argument("--average", type=float, default=0.999)
    p.add_argument("--mix", type=float, nargs=3, default=(0.35, 0.45, 0.2), help="shares of plates.npz, rendered_*.npz, ecustfd.npz")
    p.add_argument("--short", type=int, default=SHORT)
    p.add_argument("--ease", type=float, default=0.08, help="share of the run over which the loss on heights comes in")
    p.add_argument("--phase", default="final", help="name of this stretch of training; a new name keeps weights, not the schedule")
    p.add_argument("--look", type=float, default=3.0, help="minutes between evaluations")
    p.add_argument("--every", type=int, default=100, help="steps between lines of the log")
    p.add_argument("--limit", type=int, help="photos of each file, for a trial")
    p.add_argument("--overfit", action="store_true", help="trial: no augmentation, evaluated on the photos trained on")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--eval", action="store_true")
    args = p.parse_args()
    out = args.out or CHECKPOINTS / "depth"
    if args.eval:
        start(args)
        _, held = load(args.cache, args.device, args.limit)
    else:
        model, held = train(args)
        export(model, out, args)
    model = DepthAnythingForDepthEstimation.from_pretrained(out, dtype=torch.float32).to(args.device).eval()
    print(json.dumps(evaluate(model, held, args.short), indent=1))


if __name__ == "__main__":
    main()
