"""What was predicted of a GPU, and the report that scripts/gpu-report writes beside it."""

import re
import statistics

# Milliseconds in bf16 that were predicted, from counted launches, bytes and FLOPs, before any of this ran on a GPU.
GPUS = ("H100", "A100", "4090", "L4")
PREDICTED = {
    "sam_b_encoder": (4, 8, 11, 26),
    "mobile_sam_encoder": (2, 2, 2, 8),
    "dav2_l_518": (6, 13, 15, 36),
    "qwen_3b_token": (1e3 / 290, 1e3 / 200, 1e3 / 113, 1e3 / 37),
}
# In f32 at least: multiply-adds, twice, over TFLOP/s outside tensor cores; weights over TB/s. By the vendor's data sheets.
TFLOP = {"sam_b_encoder": 0.97, "mobile_sam_encoder": 0.075}
TFLOP_PER_S = (67, 19.5, 82.6, 30.3)
TB = {"qwen_3b_token": 0.0123}
TB_PER_S = (3.35, 2.04, 1.01, 0.30)
PREDICTED_SCAN = (400, 800, 1200, 2600)
# What a scan with the set `base` runs of them, and how often: one photo of 1,024 image tokens, an answer of 70 tokens.
SCAN = {"sam_b_encoder": 1, "sam_decoder_64_points": 1, "dav2_b_518": 1, "qwen_3b_vision_4096": 1, "qwen_3b_prefill_1100": 1,
        "qwen_3b_token": 70}
NETWORKS = {
    "sam_b_encoder": "SAM ViT-B, encoder, 1024 px",
    "mobile_sam_encoder": "MobileSAM, encoder, 1024 px",
    "dav2_l_518": "Depth Anything V2 Large, 518 px",
    "qwen_3b_token": "Qwen2.5-VL 3B, a token behind 1,100",
    "sam_decoder_64_points": "SAM, mask decoder, 64 points",
    "dav2_b_518": "Depth Anything V2 Base, 518 px",
    "qwen_3b_vision_4096": "Qwen2.5-VL 3B, vision, 4,096 patches",
    "qwen_3b_prefill_1100": "Qwen2.5-VL 3B, reading 1,100 tokens",
}


def place(name):
    """Where the GPU called `name` stands in GPUS; an H200 computes as an H100 does."""
    return next((i for i, gpu in enumerate(GPUS) if re.search(rf"\b{gpu}\b", name.replace("H200", "H100"))), None)


def predicted(row, name):
    """What was predicted for a row of times on the GPU called `name`, as text."""
    at, what = place(name), row["name"]
    if at is None:
        return ""
    if row["dtype"] == "bf16":
        return in_ms(PREDICTED[what][at], what) if what in PREDICTED else ""
    least = max(1e3 * size[what] / speed[at] if what in size else 0 for size, speed in ((TFLOP, TFLOP_PER_S), (TB, TB_PER_S)))
    return f"at least {least:.1f}" if least else ""


def in_ms(ms, what):
    return f"{ms:.1f}" + (f", {1e3 / ms:.0f} tok/s" if what == "qwen_3b_token" else "")


def span(times):
    return f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})"


def cells(row, name):
    """A row of the table of times."""
    shown = [span(row[side]) if row[side] else row.get(f"{side} not", "") for side in ("ours", "theirs")]
    if row["name"] == "qwen_3b_token" and row["ours"]:
        shown[0] += f", {1e3 / statistics.median(row['ours']):.0f} tok/s"
    both = row["ours"] and row["theirs"]
    ratio = f"{statistics.median(row['ours']) / statistics.median(row['theirs']):.2f}" if both else ""
    return [row["what"], row["dtype"], predicted(row, name), *shown, ratio]


def scan_row(times, name):
    """The networks of a scan added up, once all of them were timed in bf16."""
    took = {row["name"]: statistics.median(row["ours"]) for row in times if row["dtype"] == "bf16" and row["ours"]}
    if not set(SCAN) <= set(took):
        return None
    guess = "" if place(name) is None else str(PREDICTED_SCAN[place(name)])
    return ["the networks of a scan with `base`, added up", "bf16", guess,
            f"{sum(runs * took[what] for what, runs in SCAN.items()):.0f}", "", ""]


def table(head, rows):
    clean = ([" ".join(str(cell).split()).replace("|", "/") for cell in row] for row in rows)
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in clean)])


def report(about, day, dry, seconds, checks, times, repeat):
    """The report as Markdown. `about`: the GPU; `checks`: (what, state, detail); `times`: rows as `cells` takes them."""
    facts = ", ".join(filter(None, [f"driver {about['driver']}" if about.get("driver") else "", f"CUDA {about['cuda']}",
                                    f"{about['memory'] / 2**30:.0f} GiB", f"compute capability {about['capability']}"]))
    warning = "This was a dry run: its times say nothing of a GPU.\n\n" if dry else ""
    wrong = sum(state == "FAILED" for _, state, _ in checks)
    parts = [f"# {about['name']}, {day}\n\n{warning}{facts}. `scripts/gpu-report run`, {seconds:.0f} s; {len(checks)} checks, {wrong} failed.\n",
             table(["what", "", ""], checks)]
    if times:
        rows = [cells(row, about["name"]) for row in times]
        rows += [row for row in [scan_row(times, about["name"])] if row]
        head = ["network", "in", "predicted ms", "ms", "transformers ms", "ratio"]
        parts.append(f"\nPublished sizes, random weights, batch 1; median of {repeat} runs (least-most). Predictions are for bf16 and were made "
                     "before anything ran on a GPU. transformers is PyTorch eager on this GPU, f32 without TF32; MobileSAM's peer is TinyViT in "
                     "PyTorch. A scan: " + "; ".join(f"{runs} x {NETWORKS[name]}" for name, runs in SCAN.items()) + ".\n")
        parts.append(table(head, rows))
    return "\n".join(parts) + "\n"
