#!/usr/bin/env python3
"""What a better photo gains, against what is stated: scans the first photo of each meal of a data set that `python -m render.views --change
ACTION` rendered, then the second one (of a second side: both as one meal), and compares the intervals of the meal's weight.

    benches/reshoot.py MANIFEST ACTION [--plate] [--program PROGRAM] [--append FILE]

ACTION is one of tilt, higher, back, card, side. With --plate the plate's diameter is told of both photos. Prints means; --append adds a
line a pair, with what the stated gain is computed from. Python's standard library only.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
from statistics import mean

ACTIONS = dict(tilt="tilt", higher="hold_higher", back="step_back", card="lay_card", side="second_photo")


def scan(program, photos, rows, told):
    pitches = ",".join(f"{row['pitch_deg']:.1f}" for row in rows)
    command = [program, "scan", *photos, "--pitch", pitches, "--json", "-", *told, *(["--meal"] if len(photos) > 1 else [])]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        return None
    answer = json.loads(out.stdout)
    return answer[0] if isinstance(answer, list) else answer


def sigma(e):
    return math.log(e["p90"] / e["p10"]) / (2 * 1.2815515655446004)


def parts(answer):
    mass = sum(item["mass_g"]["p50"] for item in answer["items"])
    for item in answer["items"]:
        shared, own = item["volume_sigma_ln"]["shared"], item["volume_sigma_ln"]["own"]
        rest = max(sigma(item["mass_g"]) ** 2 - shared**2 - own**2, 0)
        yield dict(share=round(item["mass_g"]["p50"] / mass, 4), shared=round(shared, 4), own=round(own, 4), food=round(rest**0.5, 4),
                   cut_off="touches_edge" in item["flags"])


def off(answer, rows):
    truth = {item["object"]: item["volume_cm3"] for row in rows for item in row["items"]}
    return abs(math.log(sum(item["volume_cm3"]["p50"] for item in answer["items"]) / sum(truth.values())))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("manifest", type=pathlib.Path)
    p.add_argument("action", choices=ACTIONS)
    p.add_argument("--plate", action="store_true")
    p.add_argument("--program", default="target/release/dragunov")
    p.add_argument("--append", type=pathlib.Path)
    args = p.parse_args()
    meals = {}
    for line in args.manifest.read_text().splitlines():
        row = json.loads(line)
        meals.setdefault(row["meal"], []).append(row)
    pairs = []
    for meal, (first, second) in meals.items():
        plate = [d["diameter_cm"] for d in first["dishes"] if d["kind"] == "plate" and d.get("diameter_cm")]
        if args.plate and not plate:
            continue
        told = ["--plate", f"{plate[0]:.1f}"] if args.plate else []
        photo = lambda row: str(args.manifest.parent / row["image"])
        before = scan(args.program, [photo(first)], [first], told)
        both = [first, second] if args.action == "side" else [second]
        after = scan(args.program, [photo(row) for row in both], both, ["--card"] if args.action == "card" else told)
        if not before or not after:
            print(f"{meal}: not measured", file=sys.stderr)
            continue
        if args.action == "card" and not any(c["used"] and c["source"] == "card" for c in after["scale"]["candidates"]):
            print(f"{meal}: the card was not found", file=sys.stderr)
            continue
        scale = before["scale"]
        shot = dict(tilt_deg=round(before["camera"]["tilt_deg"], 1), height_sigma_ln=round(sigma(scale["camera_height_cm"]), 4),
                    size_told=any(c["used"] and not is_prior(c["source"]) for c in scale["candidates"]), photos=1)
        stated = next((r["gain"] for r in before.get("reshoot", []) if r["action"] == ACTIONS[args.action]), None)
        b, a = sigma(before["totals"]["mass_g"]), sigma(after["totals"]["mass_g"])
        pairs.append(dict(meal=meal, action=ACTIONS[args.action], shot=shot, parts=list(parts(before)), before=round(b, 4), after=round(a, 4),
                          stated=stated, off=round(off(before, [first]), 3), off_after=round(off(after, both), 3)))
        print(f"{meal}: stated {stated if stated is None else round(stated, 2)}, interval {b:.2f} -> {a:.2f}, off {pairs[-1]['off']:.2f} -> {pairs[-1]['off_after']:.2f}", flush=True)
    said = [pair for pair in pairs if pair["stated"] is not None]
    if said:
        print(f"{args.action}: {len(said)} of {len(pairs)} pairs: stated {mean(x['stated'] for x in said):.3f}, "
              f"got {mean(1 - x['after'] / x['before'] for x in said):.3f}; error {mean(x['off'] for x in said):.3f} -> {mean(x['off_after'] for x in said):.3f}")
    if args.append:
        with open(args.append, "a") as file:
            for pair in said:
                file.write(json.dumps(pair) + "\n")


def is_prior(source):
    return source.endswith("_prior") or source == "metric_depth"


if __name__ == "__main__":
    main()
