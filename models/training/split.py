"""Writes the held-out lists (splits/) and the label vocabulary from the data's index. Deterministic, no arguments but --data.

Scenes: every fifth. ECUSTFD: whole groups of physical objects (objects seen in one mixed photo stay together), about a
fifth of each food; a food with a single object stays in training. Lists hold one scene or photo stem a line.
"""

import csv

from common import CHECKPOINTS, HERE, arguments, ecustfd_label, ecustfd_rows, scene, scenes


def main():
    data = arguments(__doc__).parse_args().data
    names = scenes(data)
    held = {n for i, n in enumerate(names) if i % 5 == 4}
    rows = ecustfd_rows(data)
    with open(data / "ecustfd" / "objects.csv") as f:
        objects = list(csv.DictReader(f))
    foods: dict[str, list[dict]] = {}
    for o in objects:
        foods.setdefault(o["food"], []).append(o)
    groups = {o["object"]: o["group"] for o in objects}
    size = {g: sum(v == g for v in groups.values()) for g in groups.values()}
    held_groups = set()
    for food, mine in sorted(foods.items()):
        if len(mine) < 2:
            continue
        # objects that stand alone first, from the end of the list, so that no group drags a second food along needlessly
        order = sorted(mine, key=lambda o: (size[o["group"]] > 1, -int(o["object"][-3:])))
        want = max(1, round(0.2 * len(mine)))
        have = sum(o["group"] in held_groups for o in mine)
        for o in order:
            if have >= want or len(mine) - have <= 1:
                break
            if o["group"] not in held_groups:
                held_groups.add(o["group"])
                have += 1
    held_objects = sorted(o for o, g in groups.items() if g in held_groups)
    photos = {r["image"]: False for r in rows}
    for r in rows:
        photos[r["image"]] |= r["object"] in held_objects
    out = HERE / "splits"
    out.mkdir(exist_ok=True)

    def write(name, lines):
        (out / name).write_text("".join(f"{s}\n" for s in lines))

    stem = lambda image: image.rsplit(".", 1)[0]
    write("plates_train.txt", [n for n in names if n not in held])
    write("plates_heldout.txt", sorted(held))
    write("ecustfd_train.txt", sorted(stem(p) for p, h in photos.items() if not h))
    write("ecustfd_heldout.txt", sorted(stem(p) for p, h in photos.items() if h))
    write("ecustfd_heldout_objects.txt", held_objects)
    found = {f["label"] for n in names for f in scene(data, n)["foods"]} | {ecustfd_label(r["food"]) for r in rows}
    (CHECKPOINTS / "vlm" / "labels.txt").write_text("".join(f"{s}\n" for s in sorted(found)))
    print(f"held out: {len(held)} of {len(names)} scenes, {len(held_objects)} of {len(groups)} objects, "
          f"{sum(photos.values())} of {len(photos)} photos; {len(found)} labels")


if __name__ == "__main__":
    main()
