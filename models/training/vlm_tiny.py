# requires: see common.py
"""VLM-tiny: a Qwen2_5_VLForConditionalGeneration of a few million parameters that names what a crop shows.

Crop contract (the pipeline cuts the same): square around the mask's box, side 1.3 x its longer side (at least 32 px), grey 128
outside the photo, pixels outside the mask drawn 60 % to grey; user message: image, then the text of vlm_tokenizer.PROMPT.
Masks are disturbed in training as those of a segmenter are. An auxiliary class head on the visual tokens speeds learning up
and is dropped; a temperature fitted on held-out crops is folded into the output layer.

  vlm_tiny.py --data D --cache C --minutes 25      trains (resumes <cache>/vlm.pt), evaluates, exports
  vlm_tiny.py ... --eval                            evaluates the exported checkpoint
"""

import json
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

import vlm_tokenizer as vt
from common import CHECKPOINTS, Average, Clock, Optimiser, arguments, learning_rate, load_state, save_state, share_cores, start

SIDE = 140                                   # input of the exported model: 10 x 10 patches, 25 visual tokens
MEAN = np.float32([0.48145466, 0.4578275, 0.40821073]) * 255
STD = np.float32([0.26862954, 0.26130258, 0.27577711]) * 255


def config(t) -> Qwen2_5_VLConfig:
    i = t.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config=dict(vocab_size=len(t), hidden_size=128, intermediate_size=320, num_hidden_layers=3, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-6, bos_token_id=i("<|endoftext|>"),
                         eos_token_id=i("<|im_end|>"), pad_token_id=i("<|endoftext|>"),
                         rope_parameters=dict(rope_type="default", rope_theta=1000000.0, mrope_section=[4, 6, 6])),
        vision_config=dict(depth=6, hidden_size=192, num_heads=6, intermediate_size=448, out_hidden_size=128, patch_size=14,
                           temporal_patch_size=2, spatial_merge_size=2, window_size=56, fullatt_block_indexes=[1, 3, 5], tokens_per_second=2),
        image_token_id=i("<|image_pad|>"), video_token_id=i("<|video_pad|>"), vision_start_token_id=i("<|vision_start|>"),
        vision_end_token_id=i("<|vision_end|>"), tie_word_embeddings=False)


def new_model(t):
    return Qwen2_5_VLForConditionalGeneration._from_config(config(t), attn_implementation="sdpa")


# --- the vision tower over a batch of equal pictures; the class's own forward walks over windows one by one ---

def plan(visual, side):
    """Window order, its inverse, rotary tables and the window mask of one side x side picture."""
    g = side // 14
    grid = torch.tensor([[1, g, g]])
    c = visual.config
    index, cu = qwen.get_vision_window_index(grid, spatial_merge_size=2, window_size=c.window_size, patch_size=14)
    cu = torch.unique_consecutive(torch.as_tensor(cu))
    window = torch.zeros(g * g, dtype=torch.long)
    for a, b in zip(cu[:-1], cu[1:]):
        window[a:b] = a
    pos = qwen.get_vision_position_ids(grid, 2)
    cos, sin = visual.rotary_pos_emb(torch.zeros(1), pos)
    order = lambda x: x.reshape(g * g // 4, 4, -1)[index].reshape(g * g, -1)
    return dict(index=index, inverse=torch.argsort(index), cos=order(cos)[None, None], sin=order(sin)[None, None],
                mask=(window[:, None] == window[None]), side=side)


def rotate(x, p):
    h = x.shape[-1] // 2
    return x * p["cos"].to(x.dtype) + torch.cat([-x[..., h:], x[..., :h]], -1) * p["sin"].to(x.dtype)


def look(visual, patches, p):
    """patches (B,N,1176) in merge-block order -> visual tokens (B,N/4,out)."""
    b, n, _ = patches.shape
    x = F.linear(patches, visual.patch_embed.proj.weight.reshape(visual.config.hidden_size, -1))
    x = x.reshape(b, n // 4, 4, -1)[:, p["index"]].reshape(b, n, -1)
    for k, block in enumerate(visual.blocks):
        a = block.attn
        q, key, v = a.qkv(block.norm1(x)).reshape(b, n, 3, a.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        q, key = rotate(q, p), rotate(key, p)
        s = (q @ key.transpose(-1, -2)) * a.scaling
        if k not in visual.fullatt_block_indexes:
            s = s.masked_fill(~p["mask"], -1e4)
        y = s.softmax(-1).to(v.dtype) @ v
        x = x + a.proj(y.transpose(1, 2).reshape(b, n, -1))
        x = x + block.mlp(block.norm2(x))
    return visual.merger(x).reshape(b, n // 4, -1)[:, p["inverse"]]


def patchify(x):
    """uint8 (B,S,S,3) -> (B,N,1176), columns (C,T,14,14), rows in 2x2 merge blocks."""
    b, s = x.shape[:2]
    t = torch.from_numpy((x.astype(np.float32) - MEAN) / STD)
    g = s // 28
    t = t.reshape(b, g, 2, 14, g, 2, 14, 3).permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(b, g * g * 4, 3, 1, 196)
    return t.expand(-1, -1, -1, 2, -1).reshape(b, g * g * 4, 1176)


# --- data ---

class Data:
    def __init__(self, cache, held: bool):
        z = np.load(cache / "crops.npz")
        index = np.nonzero(z["held"] == int(held))[0]
        self.rgb, self.mask, self.real, self.name = z["rgb"][index], z["mask"][index], z["real"][index], z["name"][index]
        self.answer = [("food", str(l)) if k == "food" else (str(k), str(k)) for k, l in zip(z["kind"][index], z["label"][index])]
        names = vt.answers()
        self.target = np.array([names.index(a) for a in self.answer])


def weights(target, count):
    """Sampling weight per crop: classes by the square root of their size, kinds other than food kept to a third."""
    n = np.bincount(target, minlength=count).astype(float)
    foods = count - 11
    w = np.sqrt(n)
    w[foods:] *= 0.5 * w[:foods].sum() / max(w[foods:].sum(), 1)
    per = w / np.maximum(n, 1)
    p = per[target]
    return p / p.sum()


def disturb(rng, m):
    """A mask as a segmenter might give it."""
    t = rng.random()
    m = (m > 127).astype(np.uint8)
    size = np.sqrt(m.sum())
    if t < 0.25:
        k = max(1, int(size * rng.uniform(0.01, 0.08)))
        e = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * k + 1, 2 * k + 1))
        out = cv2.dilate(m, e) if rng.random() < 0.6 else cv2.erode(m, e)
    elif t < 0.35:
        d = rng.normal(0, 0.05 * size, 2)
        out = cv2.warpAffine(m, np.float32([[1, 0, d[0]], [0, 1, d[1]]]), m.shape[::-1])
    elif t < 0.50:
        ys, xs = np.nonzero(m)
        a = rng.uniform(0, 2 * np.pi)
        s = np.cos(a) * np.arange(m.shape[1])[None] + np.sin(a) * np.arange(m.shape[0])[:, None]
        cut = np.quantile(s[ys, xs], rng.uniform(0.5, 0.95)) if len(ys) else 0
        out = m * (s <= cut)
    elif t < 0.58:
        out = cv2.morphologyEx(m, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        out = cv2.GaussianBlur(out.astype(np.float32) + 0.6 * cv2.resize(rng.normal(0, 1, (8, 8)).astype(np.float32), m.shape[::-1], interpolation=cv2.INTER_CUBIC), (0, 0), 2) > 0.5
        out = out.astype(np.uint8) & cv2.dilate(m, np.ones((15, 15), np.uint8))
    else:
        out = m
    return out if out.sum() > 0.3 * m.sum() else m


def cut(rng, rgb, mask, side, train):
    """One crop of the contract from a cached one (its centre and margin allow jitter)."""
    m = disturb(rng, mask) if train else (mask > 127).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(m)
    s = side / (1.3 * max(w, h, 4))
    c, a, flip = np.array([x + w / 2, y + h / 2]), 0.0, 1.0
    if train:
        s *= np.exp(rng.normal(0, 0.06))
        a = rng.choice([0.0, np.pi / 2, np.pi, -np.pi / 2], p=[0.7, 0.1, 0.1, 0.1]) + rng.normal(0, 0.25)
        flip = rng.choice([-1.0, 1.0])
        c = c + rng.normal(0, 0.02, 2) * max(w, h)
    r = s * np.array([[np.cos(a) * flip, -np.sin(a)], [np.sin(a) * flip, np.cos(a)]])
    t = np.float32(np.concatenate([r, (side / 2 - r @ c)[:, None]], 1))
    if s < 0.7:
        rgb = cv2.GaussianBlur(rgb, (0, 0), 0.45 / s)
    image = cv2.warpAffine(rgb, t, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(128, 128, 128))
    inside = cv2.warpAffine(m, t, (side, side), flags=cv2.INTER_NEAREST)
    return image, inside


def batch(data, rng, index, side, train):
    out = np.empty((len(index), side, side, 3), np.float32)
    inside = np.empty((len(index), side, side, 1), np.float32)
    for k, i in enumerate(index):
        out[k], inside[k, ..., 0] = cut(rng, data.rgb[i], data.mask[i], side, train)
    if train:
        b = len(index)
        swap = rng.random(b) < 0.3   # another crop's surroundings
        out[swap] = np.where(inside[swap] > 0, out[swap], out[rng.permutation(b)[: swap.sum()]])
        n = lambda s, *shape: rng.normal(0, s, (b, *shape)).astype(np.float32)
        out = out * np.exp(n(0.06, 1, 1, 3) + n(0.18, 1, 1, 1))
        out = 255 * np.clip(out / 255, 0, 1) ** np.exp(n(0.12, 1, 1, 1))
        grey = out.mean(-1, keepdims=True)
        out = grey + (out - grey) * np.exp(n(0.15, 1, 1, 1))
        for k in range(b):
            t = rng.random()
            if t < 0.15:
                out[k] = cv2.GaussianBlur(out[k], (0, 0), rng.uniform(0.5, 1.5))
            elif t < 0.3:
                out[k] += rng.normal(0, rng.uniform(2, 8), (side, side, 1))
            elif t < 0.45:  # an occluder
                x, y = rng.integers(0, side, 2)
                inside[k, y : y + side // 4, x : x + side // 4] = 0
        out = np.clip(out, 0, 255)
    out = np.round(np.where(inside > 0, out, 0.4 * out + 0.6 * 128))
    return out.astype(np.uint8)


# --- the language model on visual tokens ---

class Speech:
    """Prompt and answers as token ids, positions (M-RoPE), for one picture size."""

    def __init__(self, model, t, side):
        n = (side // 28) ** 2
        self.prompt = torch.tensor(vt.prompt_ids(t, n))
        eos = t.convert_tokens_to_ids("<|im_end|>")
        ids = [t(vt.answer(*a))["input_ids"] + [eos] for a in vt.answers()]
        self.longest = max(map(len, ids))
        self.answers = torch.full((len(ids), self.longest), -100)
        for i, a in enumerate(ids):
            self.answers[i, : len(a)] = torch.tensor(a)
        self.image = self.prompt == model.config.image_token_id
        full = torch.cat([self.prompt, torch.zeros(self.longest, dtype=torch.long)])
        g = side // 14
        pos, _ = model.model.get_rope_index(full[None], mm_token_type_ids=(full == model.config.image_token_id).int()[None],
                                            image_grid_thw=torch.tensor([[1, g, g]]))
        self.position = pos  # (3,1,L)

    def logits(self, model, visual, answer_ids):
        """visual (B,n,D), answer ids (B,A) -> logits that predict each answer token (B,A+1,V)."""
        b, a = answer_ids.shape
        ids = torch.cat([self.prompt.expand(b, -1), answer_ids], 1)
        e = model.model.language_model.embed_tokens(ids)
        where = torch.cat([self.image, torch.zeros(a, dtype=torch.bool)])
        e = torch.cat([e[:, : where.nonzero()[0, 0]], visual.to(e.dtype), e[:, where.nonzero()[-1, 0] + 1 :]], 1)
        h = model.model.language_model(inputs_embeds=e, position_ids=self.position[:, :, : e.shape[1]].expand(-1, b, -1), use_cache=False).last_hidden_state
        return model.lm_head(h[:, len(self.prompt) - 1 :])


def train(args):
    rng0 = start(args)
    t = vt.build()
    model = new_model(t)
    classes = len(vt.answers())
    aux = torch.nn.Linear(128, classes)
    average = Average(model, 0.999)
    named = list(model.named_parameters()) + [(f"aux.{n}", p) for n, p in aux.named_parameters()]
    optimiser = Optimiser(named, args.lr, 0.08)
    clock, step, state_path = Clock(args.minutes), 0, args.cache / f"{args.name}.pt"
    state = load_state(state_path)
    if state:
        model.load_state_dict(state["model"]), aux.load_state_dict(state["aux"])
        average = Average(model, 0.999)
        step = state["step"]
        if state["phase"] == args.phase:  # an interrupted run goes on; a new phase starts its own schedule
            optimiser.load_state_dict(state["optimiser"])
            clock, average.n = Clock(args.minutes, state["spent"]), state["n"]
            average.state = state["average"]
    rng = np.random.default_rng(args.seed + step)
    data, held = Data(args.cache, False), Data(args.cache, True)
    p = weights(data.target, classes)
    print(f"{len(data.rgb)} crops, {classes} answers, vocabulary {len(t)}, prompt {len(vt.prompt_ids(t, 1))} tokens, "
          f"{sum(q.numel() for q in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    shown, saved, side = [], time.time(), 0
    while clock.share < 1:
        share_cores(args.threads)
        want = 112 if clock.share < args.small_share else SIDE
        if want != side:
            side = want
            view, speech = plan(model.model.visual, side), Speech(model, t, side)
        for g in optimiser.param_groups:
            g["lr"] = learning_rate(clock.share, args.lr)
        index = rng.choice(len(p), args.batch, p=p)
        x = batch(data, rng, index, side, True)
        target = torch.from_numpy(data.target[index])
        k = max(1, args.batch // 50)  # a few half-and-half foods: unknown
        two = [i for i in range(args.batch - 1) if data.answer[index[i]][0] == data.answer[index[i + 1]][0] == "food" and target[i] != target[i + 1]][:k]
        for i in two:
            x[i], target[i] = (x[i].astype(np.uint16) + x[i + 1]) // 2, vt.answers().index(("food", "unknown"))
        ids = speech.answers[target]
        with torch.autocast("cpu", torch.bfloat16):
            tokens = look(model.model.visual, patchify(x), view)
            guess = aux(tokens.mean(1)).float()
            out = speech.logits(model, tokens, ids.clamp(min=0)[:, :-1]).float()
        text = F.cross_entropy(out.transpose(1, 2), ids, ignore_index=-100, reduction="none").sum(1).mean()
        side_loss = F.cross_entropy(guess, target, label_smoothing=0.05)
        loss = text + side_loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([q for _, q in named], 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        shown.append((text.item(), side_loss.item(), (guess.argmax(1) == target).float().mean().item()))
        if step % 100 == 0:
            print(step, f"share {clock.share:.3f}", "text %.3f aux %.3f acc %.3f" % tuple(np.mean(shown[-100:], 0)), f"{clock.spent / step:.3f} s/step", flush=True)
        if time.time() - saved > 120 or clock.share >= 1:
            save_state(state_path, model=model.state_dict(), aux=aux.state_dict(), optimiser=optimiser.state_dict(),
                       average=average.state, n=average.n, step=step, spent=clock.spent, phase=args.phase)
            saved = time.time()
    return average.into(new_model(t)).eval(), t, held


@torch.no_grad()
def evaluate(model, t, data, side=SIDE, limit=None):
    """Greedy answers on held-out crops: top-1 of the kind, of the food's label, calibration. Returns (summary, log-prob per answer)."""
    view, speech = plan(model.model.visual, side), Speech(model, t, side)
    order = np.arange(len(data.rgb))
    if limit and len(order) > limit:
        order = order[np.random.default_rng(1).choice(len(order), limit, replace=False)]
    names = vt.answers()
    hits, sure, rows = [], [], []
    for a in range(0, len(order), 64):
        index = order[a : a + 64]
        visual = look(model.model.visual, patchify(batch(data, None, index, side, False)), view)
        ids = torch.zeros((len(index), 0), dtype=torch.long)
        log, done = torch.zeros(len(index)), torch.zeros(len(index), dtype=torch.bool)
        eos = t.convert_tokens_to_ids("<|im_end|>")
        for _ in range(speech.longest):
            step = speech.logits(model, visual, ids)[:, -1].float().log_softmax(-1)
            best, token = step.max(-1)
            log += torch.where(done, 0.0, best)
            token = torch.where(done, eos, token)
            done |= token == eos
            ids = torch.cat([ids, token[:, None]], 1)
            if done.all():
                break
        texts = [t.decode(r, skip_special_tokens=True) for r in ids]
        for i, text, l in zip(index, texts, log):
            want = names[data.target[i]]
            try:
                d = json.loads(text)
                got = (d["kind"], d["label"])
            except (ValueError, KeyError, TypeError):
                got = ("invalid", text)
            rows.append((int(data.real[i]), want, got, float(l), str(data.name[i])))
    rate = lambda r, f: round(float(np.mean([f(x) for x in r])), 3) if r else None
    out = {}
    for name, real in (("plates", 0), ("ecustfd", 1)):
        mine = [r for r in rows if r[0] == real]
        foods = [r for r in mine if r[1][0] == "food"]
        out[name] = {"food_label_top1": rate(foods, lambda r: r[1] == r[2]), "food_kind": rate(foods, lambda r: r[2][0] == "food"), "n_food": len(foods),
                     "other_kind": rate([r for r in mine if r[1][0] != "food"], lambda r: r[1][0] == r[2][0]), "n_other": sum(r[1][0] != "food" for r in mine),
                     "confidence": rate(foods, lambda r: np.exp(r[3]))}
    p = np.exp([r[3] for r in rows])
    ok = np.array([r[1] == r[2] for r in rows], float)
    out["ece"] = round(float(sum(abs(p[k].mean() - ok[k].mean()) * k.mean() for k in (np.digitize(p, np.linspace(0, 1, 11)) == b for b in range(12)) if k.any())), 4)
    return out, rows


@torch.no_grad()
def calibrate(model, t, data, side=SIDE):
    """Temperature that minimises the loss of the true answers on held-out crops, folded into the output layer."""
    view, speech = plan(model.model.visual, side), Speech(model, t, side)
    kept, ids_all = [], []
    for a in range(0, len(data.rgb), 64):
        index = np.arange(a, min(a + 64, len(data.rgb)))
        visual = look(model.model.visual, patchify(batch(data, None, index, side, False)), view)
        ids = speech.answers[torch.from_numpy(data.target[index])]
        kept.append(speech.logits(model, visual, ids.clamp(min=0)[:, :-1]).float()), ids_all.append(ids)
    logits, ids = torch.cat(kept), torch.cat(ids_all)
    best = min(np.geomspace(0.5, 4.0, 43), key=lambda s: float(F.cross_entropy((logits / s).transpose(1, 2), ids, ignore_index=-100)))
    model.lm_head.weight.div_(float(best))
    return float(best)


def export(model, t, out):
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(do_sample=False, repetition_penalty=1.0, max_new_tokens=32, eos_token_id=[t.convert_tokens_to_ids(s) for s in ("<|im_end|>", "<|endoftext|>")],
                                   pad_token_id=t.convert_tokens_to_ids("<|endoftext|>"), bos_token_id=t.convert_tokens_to_ids("<|endoftext|>"))
    model.half().save_pretrained(out)
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
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1.2e-3)
    p.add_argument("--small-share", type=float, default=0.5, help="share of the time at 112 px before the final size")
    p.add_argument("--phase", default="final", help="name of this stretch of training; a new name keeps weights, not the schedule")
    p.add_argument("--eval", action="store_true")
    args = p.parse_args()
    cv2.setNumThreads(1)
    out = args.out or CHECKPOINTS / "vlm"
    if args.eval:
        torch.set_num_threads(args.threads)
        t, held = vt.build(), Data(args.cache, True)
    else:
        model, t, held = train(args)
        print("temperature", calibrate(model, t, held))
        export(model, t, out)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(out, dtype=torch.float32).eval()
    summary, rows = evaluate(model, t, held)
    print(json.dumps(summary, indent=1))
    wrong = {}
    for real, want, got, _, _ in rows:
        if want != got:
            wrong[f"{'real ' if real else ''}{want[1]} -> {got[1]}"] = wrong.get(f"{'real ' if real else ''}{want[1]} -> {got[1]}", 0) + 1
    print(json.dumps(dict(sorted(wrong.items(), key=lambda x: -x[1])[:40])))


if __name__ == "__main__":
    main()
