# requires: see common.py
"""SAM-tiny: a SamModel of 320 px trained from scratch on boxes and points over food, dishes and table objects.

Each step draws photos, turns, scales, colours them and pastes foods of one photo on another (sam_augment), then asks for masks by
jittered boxes and by one to three points (sam_prompts). Losses: BCE weighted by the error, and dice, on the low-resolution logits of the
single output and of the three nested ones (piece, thing, dish), squared error of the predicted IoU, a second look at one mask with a
correcting point, and an auxiliary dense head that is dropped. Data and draws live on the device; see sam_data.

  sam_tiny.py --data D --cache C --minutes 15         trains (resumes <cache>/sam.pt), evaluates, exports
  sam_tiny.py ... --eval                               evaluates the exported checkpoint on the held-out split
"""

import contextlib
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import SamConfig, SamModel

import sam_eval
from common import (CHECKPOINTS, KINDS, Average, Clock, Grid, Optimiser, arguments, for_export, learning_rate, load_state, save_state,
                    share_cores, start)
from sam_augment import draw
from sam_data import load
from sam_prompts import ask, correct


def config(args) -> SamConfig:
    """No relative positions (use_rel_pos false): their bias forbids fused attention. Windows of a half or a third of the side."""
    side, heads = args.size // 16, args.width // 32
    window = next(w for w in (12, 10, 8, 14, side) if side % w == 0)
    looks = [i for i in range(args.layers) if i % 3 == 2 or i == args.layers - 1]
    return SamConfig(
        vision_config=dict(hidden_size=args.width, output_channels=128, num_hidden_layers=args.layers, num_attention_heads=heads,
                           image_size=args.size, use_rel_pos=False, patch_size=16, window_size=window, global_attn_indexes=looks,
                           num_pos_feats=64, mlp_ratio=2.5, mlp_dim=args.width * 5 // 2, initializer_range=0.02),
        prompt_encoder_config=dict(hidden_size=128, image_size=args.size, patch_size=16, mask_input_channels=16),
        mask_decoder_config=dict(hidden_size=128, mlp_dim=384, num_hidden_layers=2, num_attention_heads=4, iou_head_hidden_dim=128))


def new_model(args) -> SamModel:
    model = SamModel._from_config(config(args), attn_implementation="sdpa")
    if args.device.type == "cpu":
        model.mask_decoder.config._attn_implementation = "eager"  # few tokens: plain products beat the fused kernel there
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
    return model.to(args.device)


def fitting(state: dict, model: SamModel) -> dict:
    """Those weights of another run that have a place here, with the position table interpolated to this input size."""
    mine = model.state_dict()
    key = "vision_encoder.pos_embed"
    if key in state and state[key].shape[-1] == mine[key].shape[-1]:
        state = state | {key: F.interpolate(state[key].float().permute(0, 3, 1, 2), mine[key].shape[1:3], mode="bicubic").permute(0, 2, 3, 1)}
    return {k: v.float() for k, v in state.items() if k in mine and v.shape == mine[k].shape}


def decode(model, embeddings, sparse, dense):
    """All four masks (B,K,4,L,L) and IoU predictions (B,K,4); SamMaskDecoder.forward without its final choice of outputs."""
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
    side = 4 * embeddings.shape[-1]
    masks = torch.stack([taken[i] for i in range(4)], 2) @ taken["up"].reshape(b, k, -1, side * side)
    return masks.float().view(b, k, 4, side, side), taken["iou"].float()


def losses(masks, iou, target, valid, balance):
    """Mask loss, IoU loss and mean IoU of (B,K,4,L,L) logits, (B,K,4) predictions, targets of the masks' shape and weights (B,K).

    `balance` (0 to 1, a tensor) lets a mask's inside count as much as its outside: without it small things stay empty for long.
    """
    z, t = masks.flatten(3), target.flatten(3)
    p = z.sigmoid()
    bce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
    bce = (0.3 + (p - t).abs().detach()) * bce
    inside, outside = ((bce * m).sum(-1) / m.sum(-1).clamp(min=1) for m in (t, 1 - t))
    bce = (1 - 0.7 * balance) * bce.mean(-1) + 0.2 * balance * (inside + outside)
    dice = 1 - (2 * (p * t).sum(-1) + 1) / (p.sum(-1) + t.sum(-1) + 1)
    each = (8 * bce + dice).mean(-1)
    with torch.no_grad():
        a, s = (z > 0).float(), (t > 0.5).float()
        one = a.sum(-1)[..., :, None] + s.sum(-1)[..., None, :]
        both = a @ s.transpose(-1, -2)                      # (B,K,4,4): every output against every meaning
        truth = both / (one - both).clamp(min=1)
        truth = torch.cat([truth[..., :1, 0], truth[..., 1:, 1:].amax(-1)], -1)
    count = valid.sum().clamp(min=1)
    mean = lambda v: (v * valid).sum() / count
    return mean(each), mean(((iou - truth) ** 2).mean(-1)), mean(truth.mean(-1))


class Dense(torch.nn.Module):
    """Auxiliary: what stands at each of the 4x4 cells of an embedding position. Not exported."""

    def __init__(self, width=128):
        super().__init__()
        self.head = torch.nn.Conv2d(width, 16 * len(KINDS), 1)

    def forward(self, x):
        return F.pixel_shuffle(self.head(x), 4)


def dense_loss(seg, batch):
    small = batch.inst[:, 2::4, 2::4].long()
    kind = batch.kind.long().gather(1, small.flatten(1)).view(small.shape)
    return F.cross_entropy(seg.float(), torch.where(small == 0, -100, kind), ignore_index=-100)


def step_losses(model, dense, batch, args, parts, share):
    """Of one batch: losses of masks, predicted IoU, second look, dense head; and the mean IoU reached."""
    ask_for = ask(batch, args.boxes, args.points, random.choice([1, 1, 1, 2, 3]))
    with torch.autocast(args.device.type, torch.bfloat16):
        sb, db = model.prompt_encoder(None, None, ask_for.boxes, None)
        sp, _ = model.prompt_encoder(ask_for.points, ask_for.marks, None, None)
        e = parts["encoder"](batch.x).last_hidden_state
        if sb.shape[2] == sp.shape[2]:
            masks, iou = decode(model, e, torch.cat([sb, sp], 1), db)
        else:
            masks, iou = (torch.cat(t, 1) for t in zip(decode(model, e, sb, db), decode(model, e, sp, db)))
        seg = dense(e)
        # the first box's mask goes in again, with a point where it is wrong
        first = masks[:, 0, 0].detach()
        point, mark = correct(first, ask_for.target[:, 0, 0], batch.x.shape[-1])
        sc, dc = model.prompt_encoder(point, mark, ask_for.boxes[:, :1] if random.random() < 0.5 else None, first[:, None].clamp(-32, 32))
        again, iou_again = decode(model, e, sc, dc)
    balance = torch.full((), max(0.1, 1 - 2 * share), device=masks.device)
    lm, li, reached = parts["losses"](masks, iou, ask_for.target, ask_for.valid, balance)
    rm, ri, _ = parts["losses"](again, iou_again, ask_for.target[:, :1], ask_for.valid[:, :1], balance)
    return lm, li + 0.2 * ri, rm, dense_loss(seg, batch), reached


def compiled(model, args):
    """The functions that are worth compiling; plain ones without --compile."""
    if not args.compile:
        return {"encoder": model.vision_encoder, "losses": losses}
    import torch._dynamo
    torch._dynamo.config.suppress_errors = True
    for layer in model.vision_encoder.layers:
        layer.compile(dynamic=False)
    return {"encoder": model.vision_encoder, "losses": torch.compile(losses)}


def train(args):
    start(args)
    random.seed(args.seed)
    data, watch = (load(args.cache, held, args.photos, args.workers) for held in (False, True))
    data, watch = data.to(args.device), watch.to(args.device)
    state_path = args.cache / f"{args.name}.pt"
    model, dense = new_model(args), Dense().to(args.device)
    if args.init and args.init.exists():
        kept = fitting(dict(SamModel.from_pretrained(args.init).state_dict()), model)
        print(f"{len(kept)} of {len(model.state_dict())} tensors from {args.init}", flush=True)
        model.load_state_dict(kept, strict=False)
    state = load_state(state_path)
    named = [*model.named_parameters(), *((f"aux.{n}", p) for n, p in dense.named_parameters())]
    optimiser = Optimiser(named, args.lr, 0.05)
    average, clock, step = Average(model, args.average), Clock(args.minutes), 0
    if state:
        kept = fitting(state["model"], model)
        model.load_state_dict(kept, strict=False), dense.load_state_dict(state["dense"])
        average = Average(model, args.average)
        if state.get("phase") == args.phase and len(kept) == len(state["model"]):  # an interrupted run goes on
            optimiser.load_state_dict(state["optimiser"])
            step, clock, average.n = state["step"], Clock(args.minutes, state["spent"]), state["n"]
            average.state = {k: v.to(args.device) for k, v in state["average"].items()}
            torch.manual_seed(args.seed + step), random.seed(args.seed + step)
    parts = compiled(model, args)
    shadow, grid = new_model(args).eval(), Grid(model, args.grid_share)
    every = list(model.parameters())
    print(f"{sum(p.numel() for p in every) / 1e6:.2f} M parameters", flush=True)
    saved, looked, begun, sums, since = time.time(), time.time(), step, torch.zeros(5, device=args.device), 0
    while clock.share < 1 and (not args.steps or step < args.steps):
        if args.device.type == "cpu":
            share_cores(args.threads)
        rate = learning_rate(clock.share, args.lr)
        for g in optimiser.param_groups:
            g["lr"] = rate
        batch = draw(data, args.batch, args.size)
        with grid.rounded(clock.share > args.grid_from):
            lm, li, rm, ls, reached = step_losses(model, dense, batch, args, parts, clock.share)
            loss = lm + li + 0.2 * rm + 1.5 * ls * (1 - 0.7 * clock.share)
            optimiser.zero_grad()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(every, 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        sums += torch.stack([lm, li, rm, ls, reached]).detach()
        since += 1
        if step % args.show == 0:
            values = (sums / since).tolist()
            sums.zero_()
            since = 0
            print(step, f"share {clock.share:.3f}", "mask %.3f iou %.4f again %.3f dense %.3f, IoU %.3f" % tuple(values),
                  f"{(clock.spent - clock.before) / (step - begun):.3f} s/step", flush=True)
        if time.time() - looked > 60 * args.look:
            average.into(shadow)
            report(shadow, watch, args, 40)
            export(shadow, args)
            looked = time.time()
        if time.time() - saved > 120 or clock.share >= 1:
            save_state(state_path, model=model.state_dict(), dense=dense.state_dict(), optimiser=optimiser.state_dict(),
                       average=average.state, n=average.n, step=step, spent=clock.spent, phase=args.phase)
            saved = time.time()
    return average.into(shadow), watch


def report(model, watch, args, limit):
    begun = time.time()
    with torch.autocast(args.device.type, torch.bfloat16) if args.device.type == "cuda" else contextlib.nullcontext():
        lines = sam_eval.evaluate(model, decode, watch, limit, args.grid)
    print("\n".join(lines), f"\n  ({time.time() - begun:.0f} s)", flush=True)


def export(model, args):
    out, size = args.out, args.size
    out.mkdir(parents=True, exist_ok=True)
    copy = SamModel(model.config)
    copy.load_state_dict({k: v.float().cpu() for k, v in model.state_dict().items()})
    for_export(copy, args.grid_share).save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "SamImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"longest_edge": size},
        "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225], "do_pad": True, "pad_size": {"height": size, "width": size},
        "mask_size": {"longest_edge": size // 4}, "mask_pad_size": {"height": size // 4, "width": size // 4}}, indent=2) + "\n")


def main():
    p = arguments(__doc__)
    p.add_argument("--name", default="sam")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--size", type=int, default=320)
    p.add_argument("--width", type=int, default=224, help="of the encoder, a multiple of 32")
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--boxes", type=int, default=6, help="box prompts for each photo")
    p.add_argument("--points", type=int, default=6, help="point prompts for each photo")
    p.add_argument("--average", type=float, default=0.999, help="decay of the weight average")
    p.add_argument("--phase", default="final", help="name of this stretch of training; a new name keeps weights, not the schedule")
    p.add_argument("--compile", action="store_true", help="compile the encoder's blocks and the losses")
    p.add_argument("--steps", type=int, default=0, help="stop after this many steps, for tests")
    p.add_argument("--photos", type=int, default=0, help="at most this many photos a file, for tests")
    p.add_argument("--workers", type=int, default=1, help="processes that label photos at the start")
    p.add_argument("--show", type=int, default=100)
    p.add_argument("--look", type=float, default=3.0, help="minutes between evaluations and exports")
    p.add_argument("--grid", type=int, default=14, help="points a side of the automatic evaluation")
    p.add_argument("--eval", action="store_true")
    p.add_argument("--limit", type=int, default=150, help="evaluate this many photos at most; 0: all, -1: none")
    args = p.parse_args()
    args.out = args.out or CHECKPOINTS / "sam"
    if args.eval:
        torch.set_num_threads(args.threads)
        watch = load(args.cache, True, args.photos, args.workers).to(args.device)
        model = SamModel.from_pretrained(args.out, dtype=torch.float32).to(args.device).eval()
    else:
        model, watch = train(args)
        export(model, args)
    if args.limit >= 0:
        report(model, watch, args, args.limit)


if __name__ == "__main__":
    main()
