"""Photos as Pillow reads them and as a scan reads them: seeded mutations of the fixtures, pixel by pixel.

Requirements: pillow==13.*, pillow-heif==1.8.*, numpy==2.*; `cargo build --example decode`.
usage: python scripts/differential.py [mutations a file, 40] [path of the example]

What must hold:
- tidy and untidy files (trailers, stray bytes between segments, fill bytes, no end mark): read, with Pillow's pixels;
- damaged files: refused, or read with Pillow's pixels. Pillow repairs many that a scan refuses: damage is never a photo.
Listed exceptions, read here though Pillow refuses or differs:
- a missing end mark of a PNG or JPEG, all rows being there (Pillow calls the file truncated);
- HEICs with halved colours differ by MEAN on average: they are widened in another way. Of damaged HEICs nothing is compared:
  what a decoder makes of wrong arithmetic code is its own affair, and libheif paints over it;
- JPEG, lossless and animated WebP have no checksum: of their damages the shares in UNSEEN are seen by no decoder, or by one
  of the two only (tests/intake/damage.rs bounds them too).
"""

import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[1]
EACH = int(sys.argv[1]) if len(sys.argv) > 1 else 40
EXAMPLE = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "target/debug/examples/decode"
# Levels by which a HEIC may differ on average; all others are the same.
MEAN = 3
# Share of one file's damages.
UNSEEN = {".jpg": 0.2, ".png": 0, ".webp": 0.4}
pillow_heif.register_heif_opener()


def segments(data):
    """Positions of a JPEG's header segments behind the first."""
    at, found = 2, []
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append(at)
    return found


def untidy(name, data, rng):
    """The same picture in a file that is not quite as it should be."""
    kinds = [data, data + rng.randbytes(rng.randrange(1, 400))]
    if name.endswith(".jpg"):
        at = rng.choice(segments(data))
        stray = bytes(b for b in rng.randbytes(rng.randrange(1, 20)) if b != 0xFF)
        kinds += [data[:at] + stray + data[at:], data[:at] + b"\xff" * rng.randrange(1, 5) + data[at:]]
        comment = rng.randbytes(rng.randrange(1, 200))
        kinds.append(data[:at] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[at:])
    return rng.choice(kinds)


def endless(name, data):
    """All rows there, and no end mark."""
    return data[:-2] if name.endswith(".jpg") else data[:-12] if name.endswith(".png") else None


def damaged(data, rng):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at, length = rng.randrange(20, len(data)), rng.choice([1, 1, 4, 16, 100])
        end = min(at + length, len(data))
        match rng.randrange(4):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at:end] = bytes(end - at)
            case 2:
                data[at:end] = rng.randbytes(end - at)
            case 3:
                del data[at:end]
        if len(data) < 40:
            break
    return bytes(data)


def pillow(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                if image.format not in ("JPEG", "PNG", "WEBP", "HEIF"):
                    return None
                image.load()
                turned = ImageOps.exif_transpose(image)
                return np.asarray(turned.convert("RGB"))
        except Exception:  # Pillow refuses in many ways
            return None


def main():
    sources = sorted((ROOT / "fixtures/tiny/jpeg").glob("*.jpg")) + sorted((ROOT / "fixtures/tiny/jpeg").glob("*.png"))
    sources += sorted((ROOT / "fixtures/tiny/damage").iterdir())
    sources += [p for p in sorted((ROOT / "fuzz/corpus/photo").iterdir()) if p.suffix in (".png", ".webp")]
    sources += sorted((ROOT / "fixtures/tiny/heif").glob("*.heic"))
    rng = random.Random(20261129)
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for source in sources:
            data = source.read_bytes()
            for n in range(EACH):
                kind, made = ("untidy", untidy(source.name, data, rng)) if n % 4 == 0 else ("damaged", damaged(data, rng))
                if n == 0:
                    kind, made = "tidy", data
                elif source.suffix == ".heic":
                    if n > 8:
                        break
                    kind, made = "untidy", data + rng.randbytes(rng.randrange(1, 400))
                cases.append((source, kind, made))
            if (open_end := endless(source.name, data)) is not None:
                cases.append((source, "endless", open_end))
        paths = []
        for i, (source, kind, made) in enumerate(cases):
            path = Path(folder) / f"{i:06}-{kind}{source.suffix}"
            path.write_bytes(made)
            paths.append(path)
        ran = subprocess.run([EXAMPLE], input="\n".join(map(str, paths)), text=True, capture_output=True, check=True)
        counts, wrong, unseen = {}, [], {}
        for (source, kind, _), path, said in zip(cases, paths, ran.stdout.splitlines(), strict=True):
            theirs, ours = pillow(path), None
            if said.startswith("ok"):
                width, height = map(int, said.split()[1:])
                ours = np.fromfile(f"{path}.rgb", np.uint8).reshape(height, width, 3)
            if ours is None:
                outcome = "both refuse" if theirs is None else "only we refuse"
            elif theirs is None:
                outcome = "only we read"
            elif ours.shape != theirs.shape:
                outcome = "sizes differ"
            else:
                apart = np.abs(ours.astype(int) - theirs.astype(int))
                same = apart.mean() <= MEAN if source.suffix == ".heic" else apart.max() == 0
                outcome = "same" if same else "pixels differ"
            counts[kind, outcome] = counts.get((kind, outcome), 0) + 1
            fine = {
                "tidy": ["same"],
                "untidy": ["same"],
                "endless": ["same", "only we read"],
                "damaged": ["same", "both refuse", "only we refuse"],
            }
            if kind == "damaged" and outcome in ("only we read", "pixels differ"):
                unseen[source] = unseen.get(source, 0) + 1
                if unseen[source] <= UNSEEN[source.suffix] * EACH:
                    continue
            if outcome not in fine[kind]:
                wrong.append(f"{source.name}: {kind}: {outcome} ({said})")
                kept = Path(tempfile.gettempdir()) / f"differential-{path.name}"
                kept.write_bytes(path.read_bytes())
    for (kind, outcome), n in sorted(counts.items()):
        print(f"{kind:8} {outcome:16} {n:6}")
    print("\n".join(wrong[:40]))
    print(f"{len(cases)} files, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
