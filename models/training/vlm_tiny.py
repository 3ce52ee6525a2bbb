# requires: see common.py
"""VLM-tiny: a Qwen2_5_VLForConditionalGeneration of a few million parameters that names what a crop shows.

Crop contract (the pipeline cuts the same): square around the mask's box, side 1.3 x its longer side (at least 32 px), grey 128
outside the photo, pixels outside the mask drawn 60 % to grey; user message: image, then the text of vlm_tokenizer.PROMPT.
Masks are disturbed in training as those of a segmenter are. An auxiliary class head on the visual tokens speeds learning up and
is dropped; a temperature, fitted on a part of the training split that training does not see, is folded into the output layer.

Crops: <cache>/crops.npz of prepare.py and, where there are any, <cache>/crops_*.npz of the same layout (own renderings), which
may still arrive while it trains.

  vlm_tiny.py --data D --cache C --minutes 16      trains (resumes <cache>/<name>.pt), evaluates on the way, exports, evaluates
  vlm_tiny.py ... --eval                            evaluates the exported checkpoint
  vlm_tiny.py ... --export                          exports and evaluates the state of an unfinished training
"""

import json
import time
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

import vlm_tokenizer as vt
from common import CHECKPOINTS, Average, Clock, Grid, Optimiser, arguments, for_export, learning_rate, load_state, save_state, start
from vlm_crops import arrivals, augmented, counts, plain, pools
from vlm_network import Speech, Tower, agrees

SIDE, SMALL = 168, 112                       # input of the exported model: 12 x 12 patches, 36 visual tokens; early training
KINDS = [k for k, _ in vt.answers()]


def config(t) -> Qwen2_5_VLConfig:
    i = t.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config=dict(vocab_size=len(t), hidden_size=128, intermediate_size=320, num_hidden_layers=3, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-6, bos_token_id=i("<|endoftext|>"),
                         eos_token_id=i("<|im_end|>"), pad_token_id=i("<|endoftext|>"),
                         rope_parameters=dict(rope_type="default", rope_theta=1000000.0, mrope_section=[4, 6, 6])),
        vision_config=dict(depth=8, hidden_size=256, num_heads=8, intermediate_size=512, out_hidden_size=128, patch_size=14,
                           temporal_patch_size=2, spatial_merge_size=2, window_size=56, fullatt_block_indexes=[1, 3, 5, 7], tokens_per_second=2),
        image_token_id=i("<|image_pad|>"), video_token_id=i("<|video_pad|>"), vision_start_token_id=i("<|vision_start|>"),
        vision_end_token_id=i("<|vision_end|>"), tie_word_embeddings=False)


def new_model(t):
    return Qwen2_5_VLForConditionalGeneration._from_config(config(t), attn_implementation="sdpa")


def loss_of(model, aux, tower, speech, batch, args):
    """Mean text loss, mean auxiliary loss and the auxiliary head's hits over the part of the batch that is not blended."""
    tokens = tower(model.model.visual, batch.x, args.drop)
    guess = aux(F.dropout(tokens.float().mean(1), 0.2)).float()
    first, second = speech.pair_loss(model, F.dropout(tokens, 0.1), batch.first, batch.second)
    text = (batch.share * first + (1 - batch.share) * second).mean()
    log = guess.log_softmax(-1)
    own = -(batch.share * log.gather(1, batch.first[:, None])[:, 0] + (1 - batch.share) * log.gather(1, batch.second[:, None])[:, 0])
    side = (0.9 * own - 0.1 * log.mean(1)).mean()
    whole = batch.share == 1
    hits = ((guess.argmax(1) == batch.first) & whole).sum() / whole.sum().clamp(min=1)
    return text, side, hits


def train(args):
    start(args)
    device, t = args.device, vt.build()
    model = new_model(t).to(device)
    if args.init:
        model.load_state_dict(Qwen2_5_VLForConditionalGeneration.from_pretrained(args.init, dtype=torch.float32).state_dict())
    aux = torch.nn.Linear(128, len(KINDS)).to(device)
    average, grid = Average(model, args.average), Grid(model, args.grid_share)
    named = list(model.named_parameters()) + [(f"aux.{n}", p) for n, p in aux.named_parameters()]
    optimiser = Optimiser(named, args.lr, args.decay)
    clock, step, state_path = Clock(args.minutes), 0, args.cache / f"{args.name}.pt"
    state = load_state(state_path)
    if state:
        model.load_state_dict(state["model"]), aux.load_state_dict(state["aux"])
        average = Average(model, args.average)
        step = state["step"]
        if state["phase"] == args.phase:  # an interrupted run goes on; a new phase starts its own schedule
            optimiser.load_state_dict(state["optimiser"])
            clock, average.n = Clock(args.minutes, state["spent"]), state["n"]
            average.state = {k: v.to(device) for k, v in state["average"].items()}
    torch.manual_seed(args.seed + step)
    data, calibration, held = pools(args.cache, device)
    seen, number = set(), None
    print(f"calibration {[len(p) for p in calibration]}, held out {[len(p) for p in held]}; {len(KINDS)} answers, vocabulary {len(t)}, "
          f"{sum(q.numel() for q in model.parameters()) / 1e6:.2f} M parameters, {device}, step {step}, {clock.spent:.0f} s spent", flush=True)
    compute = torch.compile(loss_of) if args.compile else loss_of
    shown, saved, looked, side, began = [], time.time(), clock.spent, 0, (step, clock.spent)
    while clock.share < 1:
        if number is None:  # at the start and every minute: renderings that came meanwhile
            new = arrivals(args.cache, device, seen, args.own - sum(len(p) for p in data if p.source == "own"))
            data += [new] if new else []
            number = counts(data, args.batch)
            if new or step == began[0]:
                print(", ".join(f"{p.source}: {len(p)} crops of {p.rgb.shape[1]} px, {n} a batch" for p, n in zip(data, number)), flush=True)
        want = SMALL if clock.share < args.small_share else SIDE
        if want != side:
            side = want
            tower, speech = Tower(model.config, side, device), Speech(model.config, t, side, device)
        for g in optimiser.param_groups:
            g["lr"] = learning_rate(clock.share, args.lr)
        batch = augmented(data, number, side, args.mix if clock.share < 0.85 else 0.0)
        with grid.rounded(clock.share > args.grid_from):
            with torch.autocast(device.type, torch.bfloat16):
                text, other, hits = compute(model, aux, tower, speech, batch, args)
            optimiser.zero_grad()
            (text + args.aux * other).backward()
        torch.nn.utils.clip_grad_norm_([q for _, q in named], 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        shown.append(torch.stack([text.detach(), other.detach(), hits]))
        if step % args.show == 0:
            pace = (clock.spent - began[1]) / (step - began[0])
            print(step, f"share {clock.share:.3f} side {side}", "text %.3f aux %.3f acc %.3f" % tuple(torch.stack(shown).mean(0).tolist()), f"{pace:.3f} s/step", flush=True)
            shown = []
        if clock.spent - looked > 60 * args.every:
            looked = clock.spent
            judge = average.into(new_model(t).to(device)).eval()
            report(judge, t, held, brief=True)
            del judge
        if time.time() - saved > 60 or clock.share >= 1:
            save_state(state_path, model=model.state_dict(), aux=aux.state_dict(), optimiser=optimiser.state_dict(),
                       average=average.state, n=average.n, step=step, spent=clock.spent, phase=args.phase)
            saved, number = time.time(), None
    return average.into(new_model(t).to(device)).eval(), t, held, calibration


# --- evaluation ---

@contextmanager
def same_draws(device, seed):
    """Random draws that repeat, and leave those of the training as they were."""
    with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def scores(model, t, pool, disturbed=False, temperature=1.0, step=128):
    """Log-probability of every answer for every crop of a pool (N,answers), on the CPU, by exact scoring as the pipeline does it."""
    device = pool.rgb.device
    tower, speech = Tower(model.config, SIDE, device), Speech(model.config, t, SIDE, device)
    out = []
    with same_draws(device, 1), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for i in torch.arange(len(pool), device=device).split(step):
            tokens = tower(model.model.visual, plain(pool, i, SIDE, disturbed))
            out.append(speech.score(speech.edges(model, tokens), temperature).cpu())
    return torch.cat(out)


def decide(log):
    """As the pipeline: the likeliest kind, then the likeliest label of it. (answer number, confidence), arrays of N."""
    p = log.exp().double()
    p = p / p.sum(1, keepdim=True)
    of = torch.tensor([sorted(set(KINDS)).index(k) for k in KINDS])
    kinds = torch.zeros(len(p), int(of.max()) + 1, dtype=p.dtype).index_add_(1, of, p)
    best = torch.where(kinds.argmax(1)[:, None] == of[None], p, -1.0).argmax(1)
    return best.numpy(), p.gather(1, best[:, None])[:, 0].numpy()


def report(model, t, held, brief=False):
    """Prints held-out figures: food label top-1, food told from the rest, kind of the rest; true masks, then disturbed ones."""
    names, food = vt.answers(), np.array([k == "food" for k in KINDS])
    rate = lambda x: round(float(np.mean(x)), 3) if len(x) else None
    out, pairs = {}, {}
    for disturbed in (False,) if brief else (False, True):
        sure, right = [], []
        for pool in held:
            got, p = decide(scores(model, t, pool, disturbed))
            want = pool.target.cpu().numpy()
            item, merge = pool.part == "item", pool.part == "merge"
            isfood = food[want]
            kind_ok = np.array([KINDS[a] == KINDS[b] for a, b in zip(want, got)])
            a, b, c = isfood & item, ~isfood & item, ~isfood & ~item
            sure.append(p[a | b]), right.append((want == got)[a | b])
            out[pool.source + (" disturbed" if disturbed else "")] = {
                "food_label_top1": rate((want == got)[a]), "food_kind": rate(kind_ok[a]), "n_food": int(a.sum()), "confidence": rate(p[a]),
                "other_kind": rate(kind_ok[b]), "other_not_food": rate(~food[got][b]), "n_other": int(b.sum()),
                "pieces_kind": rate(kind_ok[c]), "pieces_not_food": rate(~food[got][c]), "n_pieces": int(c.sum()),
                "merge_food": rate(food[got][merge & isfood]), "merge_label": rate((want == got)[merge & isfood])}
            if not disturbed:
                for k in np.nonzero((want != got) & ~merge)[0]:
                    key = f"{pool.source} {names[want[k]][1]} -> {names[got[k]][1]}"
                    pairs[key] = pairs.get(key, 0) + 1
        p, ok = np.concatenate(sure), np.concatenate(right).astype(float)
        bins = np.digitize(p, np.linspace(0, 1, 11))
        out["ece" + (" disturbed" if disturbed else "")] = round(float(sum(abs(p[bins == b].mean() - ok[bins == b].mean()) * (bins == b).mean() for b in set(bins))), 4)
    print(json.dumps(out, indent=None if brief else 1))
    print(json.dumps(dict(sorted(pairs.items(), key=lambda x: -x[1])[: 12 if brief else 60])), flush=True)
    return out


@torch.no_grad()
def calibrate(model, t, calibration):
    """Temperature that minimises the loss of the true answers, over crops with disturbed masks that training has not seen; foods count
    as much as the rest. Folded into the output layer."""
    best = (np.inf, 1.0)
    device = calibration[0].rgb.device
    tower, speech = Tower(model.config, SIDE, device), Speech(model.config, t, SIDE, device)
    edges, wants, weight = [], [], []
    for pool in (p for p in calibration if len(p)):
        isfood = torch.tensor([k == "food" for k in KINDS], device=device)[pool.target]
        n = isfood.sum().clamp(min=1), (~isfood).sum().clamp(min=1)
        weight.append(torch.where(isfood, 1 / n[0], 1 / n[1]))
        wants.append(pool.target)
        with same_draws(device, 2):
            for i in torch.arange(len(pool), device=device).split(128):
                edges.append(speech.edges(model, tower(model.model.visual, plain(pool, i, SIDE, True))))
    want, weight = torch.cat(wants), torch.cat(weight)
    for temperature in np.geomspace(0.5, 4.0, 43):
        log = torch.cat([speech.score(e, float(temperature)) for e in edges])
        loss = -(log.gather(1, want[:, None])[:, 0] * weight).sum() / weight.sum()
        best = min(best, (float(loss), float(temperature)))
    model.lm_head.weight.div_(best[1])
    return best[1]


def export(model, t, out, share):
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("model*.safetensors"), *out.glob("model.safetensors.index.json")]:
        old.unlink()
    model.generation_config.update(do_sample=False, repetition_penalty=1.0, max_new_tokens=32, eos_token_id=[t.convert_tokens_to_ids(s) for s in ("<|im_end|>", "<|endoftext|>")],
                                   pad_token_id=t.convert_tokens_to_ids("<|endoftext|>"), bos_token_id=t.convert_tokens_to_ids("<|endoftext|>"))
    for_export(model, share).save_pretrained(out, max_shard_size="15MB")
    vt.save(t, out)
    (out / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor", "do_convert_rgb": True, "do_resize": True, "resample": 3,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        # square crops of any size become SIDE x SIDE; the slack keeps smart_resize's floor and ceil away from rounding
        "min_pixels": (SIDE - 4) ** 2, "max_pixels": (SIDE + 4) ** 2,
        "size": {"shortest_edge": (SIDE - 4) ** 2, "longest_edge": (SIDE + 4) ** 2}}, indent=2) + "\n")


def main():
    p = arguments(__doc__)
    p.add_argument("--name", default="vlm")
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--decay", type=float, default=0.15)
    p.add_argument("--drop", type=float, default=0.15, help="stochastic depth of the last vision block")
    p.add_argument("--mix", type=float, default=0.3, help="share of the batch that is blended, until 85 %% of the time")
    p.add_argument("--aux", type=float, default=1.0, help="weight of the auxiliary head's loss")
    p.add_argument("--average", type=float, default=0.999)
    p.add_argument("--small-share", type=float, default=0.3, help="share of the time at 112 px before the final size")
    p.add_argument("--own", type=int, default=60000, help="how many own renderings (crops_*.npz) are kept in memory")
    p.add_argument("--every", type=float, default=3.0, help="minutes between evaluations")
    p.add_argument("--show", type=int, default=100, help="steps between lines of the log")
    p.add_argument("--phase", default="final", help="name of this stretch of training; a new name keeps weights, not the schedule")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--eval", action="store_true")
    p.add_argument("--export", action="store_true")
    args = p.parse_args()
    out = args.out or CHECKPOINTS / "vlm"
    if args.eval:
        torch.set_num_threads(args.threads)
        t, held = vt.build(), pools(args.cache, args.device, held_only=True)[2]
    else:
        if args.export:
            args.minutes = 1e-9
        model, t, held, calibration = train(args)
        print("temperature", calibrate(model, t, calibration), flush=True)
        export(model, t, out, args.grid_share)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(out, dtype=torch.float32).eval().to(args.device)
    print("largest difference of a log-probability from the class's own forward:", agrees(model, t, SIDE, plain(held[0], torch.arange(2, device=args.device), SIDE).byte()))
    report(model, t, held)


if __name__ == "__main__":
    main()
