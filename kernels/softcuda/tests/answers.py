#!/usr/bin/env python3
"""Runs dragunov on the CPU in f32 and on the software device, compares the answers, and holds the device's counters to
budgets. Cases and tolerances, those of bf16 with what was measured: answers.json.

    python3 kernels/softcuda/tests/answers.py [--write-budgets] [--case NAME]...

Needs SOFTCUDA_HOME and DRAGUNOV_SOFT (the binary with feature `cuda`), as scripts/ci-softcuda.sh sets them; the CPU's
answers come from DRAGUNOV_BIN if that is set. Every run on
the device must have found nothing.
"""

import argparse
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUDGETS = ROOT / "kernels/softcuda/budgets.json"
HOME = pathlib.Path(os.environ["SOFTCUDA_HOME"])
BINARY = os.environ["DRAGUNOV_SOFT"]
# Of the ordinary build where there is one: in the CUDA build the CPU's kernels are hardly optimised.
CPU_BINARY = os.environ.get("DRAGUNOV_BIN", BINARY)
COUNTED = ("launches", "gemms", "multiply_adds", "to_device_copies", "to_device_bytes", "pageable_bytes", "to_host_copies", "to_host_bytes",
           "on_device_copies", "on_device_bytes", "allocations", "peak_bytes", "returned_bytes", "syncs", "events", "modules", "calls")
PHOTO = ROOT / "fixtures/plates/scene_015/photo.jpg"
MORE_PHOTOS = [ROOT / f"fixtures/plates/scene_{n}/photo.jpg" for n in ("005", "025", "030")]
SCAN = ["scan", str(PHOTO), "--pitch", "23.4", "--plate", "26.5"]
# Fields that say how the answer was come by, not what it is.
NOT_COMPARED = {"timings_ms", "device", "dtype", "memory", "request_id", "id", "warnings"}


def device_run(arguments, stdout=subprocess.DEVNULL, **settings):
    """Runs the binary on the software device, its output into a file; returns its counters and findings."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        environment = os.environ | {"LD_LIBRARY_PATH": f"{HOME}/lib", "SOFTCUDA_REPORT": report.name} | settings
        begun = time.monotonic()
        done = subprocess.run([BINARY, *arguments, "--device", "cuda:0"], env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True)
        sys.stderr.write(done.stderr)
        done.check_returncode()
        if "not launched as graphs" in done.stderr:
            sys.exit(f"{arguments[0]} went on without the graphs that it was asked for")
        if "smaller batches" in done.stderr:
            sys.exit(f"{arguments[0]} ran out of the memory that it said it needs")
        counters = json.loads(pathlib.Path(report.name).read_text())
        counters["seconds"] = time.monotonic() - begun
        return counters


def needed_memory():
    """What the scan's refusal says that the models and their work need, in bytes."""
    environment = os.environ | {"LD_LIBRARY_PATH": f"{HOME}/lib", "SOFTCUDA_MEMORY": "1M"}
    done = subprocess.run([BINARY, *SCAN, "--dtype", "f32", "--device", "cuda:0"], env=environment, capture_output=True, text=True)
    return str(int(float(re.search(r"the models need ([\d.]+) GB", done.stderr)[1]) * 1e9) + 1_000_000)  # it is told to the megabyte


def cpu_run(arguments, stdout=subprocess.DEVNULL):
    """What the device is compared with: f32 on the CPU."""
    arguments = ["f32" if before == "--dtype" else word for before, word in zip([None, *arguments], arguments)]
    environment = os.environ | {"LD_LIBRARY_PATH": f"{HOME}/lib"}
    subprocess.run([CPU_BINARY, *arguments, "--device", "cpu"], env=environment, check=True, stdout=stdout)


def numbers(value, at=""):
    """All leaves of an answer by their paths."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in NOT_COMPARED:
                yield from numbers(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from numbers(inner, f"{at}/{index}")
    else:
        yield at, value


def largest_gap(one, other):
    """Largest relative difference of two answers and where it is; infinite where they differ in anything but numbers."""
    a, b = dict(numbers(one)), dict(numbers(other))
    if a.keys() != b.keys():
        return math.inf, f"fields differ: {sorted(a.keys() ^ b.keys())[:5]}"
    worst, where = 0.0, "nowhere"
    for at, left in a.items():
        right = b[at]
        if isinstance(left, (int, float)) and not isinstance(left, bool) and isinstance(right, (int, float)):
            gap = abs(left - right) / max(abs(left), abs(right), 1e-6)
        else:
            gap = 0.0 if left == right else math.inf
        if gap > worst:
            worst, where = gap, f"{at}: {left} on the CPU, {right} on the device"
    return worst, where


def scans(arguments, tolerance, **settings):
    """A scan on both, compared."""
    with tempfile.TemporaryDirectory() as folder:
        cpu, device = pathlib.Path(folder, "cpu.json"), pathlib.Path(folder, "device.json")
        cpu_run([*arguments, "--json", str(cpu)])
        counters = device_run([*arguments, "--json", str(device)], **settings)
        one, other = json.loads(cpu.read_text()), json.loads(device.read_text())
    gap, where = largest_gap(one, other)
    return counters, gap, where


def npy(path):
    """Values of a .npy file of f32, without numpy."""
    import array
    data = pathlib.Path(path).read_bytes()
    begin = 10 + int.from_bytes(data[8:10], "little")
    assert b"'<f4'" in data[:begin], data[:begin]
    return array.array("f", data[begin:])


def depths(checkpoint, dtype):
    """Depth on both: counters, largest difference over the largest value."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["depth", "--checkpoint", str(checkpoint), "--image", str(PHOTO), "--dtype", dtype, "--out"]
        cpu_run([*arguments, f"{folder}/cpu.npy"])
        counters = device_run([*arguments, f"{folder}/device.npy"])
        return counters, array_gap(f"{folder}/cpu.npy", f"{folder}/device.npy")


def masks(checkpoint, dtype):
    """Logits on both: in f32 the largest difference on one photo; in bf16, where a random network makes that a matter of luck,
    the root of the mean square, on average over photos. Counters are those of the first."""
    if dtype == "f32":
        return masks_of(PHOTO, checkpoint, dtype, array_gap)
    runs = [masks_of(photo, checkpoint, dtype, array_rms) for photo in [PHOTO, *MORE_PHOTOS]]
    return runs[0][0], sum(gap for _, gap in runs) / len(runs)


def masks_of(photo, checkpoint, dtype, gap):
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["segment", "--checkpoint", str(checkpoint), "--image", str(photo), "--dtype", dtype, "--point", "300,220,1", "--out"]
        cpu_run([*arguments, f"{folder}/cpu"])
        counters = device_run([*arguments, f"{folder}/device"])
        return counters, gap(f"{folder}/cpu/logits.npy", f"{folder}/device/logits.npy")


def tokens(checkpoint, dtype, more):
    """Answers on both: counters, and 0 where all tokens are the same."""
    arguments = ["ask", "--checkpoint", str(checkpoint), "--image", str(PHOTO), "--max-pixels", "40000", "--prompt", "What is this?",
                 "--max-new-tokens", "8", "--dtype", dtype, "--json", *more]
    with tempfile.TemporaryFile("w+") as cpu, tempfile.TemporaryFile("w+") as device:
        cpu_run(arguments, cpu)
        counters = device_run(arguments, device)
        for file in (cpu, device):
            file.seek(0)
        one, other = (json.load(file)["token_ids"] for file in (cpu, device))
    assert len(one) == 8, one
    return counters, 0.0 if one == other else math.inf


def array_rms(one, other):
    a, b = npy(one), npy(other)
    assert len(a) == len(b) > 0
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)) / max(1.0, max(map(abs, a)))


def array_gap(one, other):
    a, b = npy(one), npy(other)
    assert len(a) == len(b) > 0
    largest = max(1.0, max(map(abs, a)))
    return max(abs(x - y) for x, y in zip(a, b)) / largest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-budgets", action="store_true")
    parser.add_argument("--case", action="append", help="only this one, by its name in answers.json")
    given = parser.parse_args()
    tiny = ROOT / "fixtures/tiny"
    failures, spent = [], {}

    def checked(name, counters, gap, tolerance, where="", unsteady=()):
        spent[name] = {key: counters[key] for key in COUNTED if key not in unsteady}
        found = counters["findings"]
        print(f"{name}: off by {gap:.2e} of {tolerance:g} allowed, {counters['launches']} launches, {counters['gemms']} products, "
              f"{counters['to_device_bytes'] / 1e6:.2f} MB in, {counters['to_host_bytes'] / 1e6:.2f} MB out, {counters['allocations']} allocations, "
              f"peak {counters['peak_bytes'] / 1e6:.1f} MB, {counters['syncs']} waits, {counters['seconds']:.1f} s", flush=True)
        if not gap <= tolerance:
            failures.append(f"{name}: off by {gap:.3e}, more than {tolerance:g}; {where}")
        failures.extend(f"{name}: {f['kind']} in {f['kernel']} at {f['place'] or '-'}: {f['what']}" for f in found)

    for case in json.loads((pathlib.Path(__file__).parent / "answers.json").read_text()):
        name, tolerance = case["name"], case["tolerance"]
        if given.case and name not in given.case:
            continue
        if case["what"] == "scan":
            # On a device that has no more than the least that is let in.
            settings = {"SOFTCUDA_MEMORY": needed_memory()} | case.get("settings", {})
            counters, gap, where = scans([*SCAN, "--dtype", case["dtype"]], tolerance, **settings)
        elif case["what"] == "depth":
            (counters, gap), where = depths(tiny / case["checkpoint"], case["dtype"]), ""
        elif case["what"] == "ask":
            (counters, gap), where = tokens(tiny / case["checkpoint"], case["dtype"], case["more"]), "other tokens"
        else:
            (counters, gap), where = masks(tiny / case["checkpoint"], case["dtype"]), ""
        checked(name, counters, gap, tolerance, where, case.get("unsteady", ()))

    allowed = json.loads(BUDGETS.read_text()) if BUDGETS.exists() else {}
    if given.write_budgets:
        BUDGETS.write_text(json.dumps(allowed | spent, indent=2) + "\n")
    else:
        for name, counts in spent.items():
            if name not in allowed:
                print(f"{name}: no budget yet; --write-budgets makes one")
                continue
            for key, count in counts.items():
                most = allowed[name].get(key)
                if most is None:
                    print(f"{name}: {count} {key}, which has no budget yet; --write-budgets makes one")
                elif count > most:
                    failures.append(f"{name}: {count} {key}, the budget is {most}")
                elif count < most:
                    print(f"{name}: {key} fell from {most} to {count}; --write-budgets keeps it there")
    if failures:
        sys.exit("\n".join(failures))


main()
