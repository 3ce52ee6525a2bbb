"""Times this project, PyTorch (eager, CPU, f32) and, for whole networks, ONNX Runtime on the same shapes, run by run in turn.

Requirements: torch==2.15.* (any build), transformers==5.23.*, numpy; onnxruntime==1.32.*, onnx and onnxscript, or
ONNX Runtime's columns are left out.
Usage: benches/compare.sh builds the benchmark and calls this; or
       paired.py BENCH_BINARY [--filter TEXT] [--threads 2] [--pairs 9] [--out FILE.md]

A round is one run of each side, each after a pause in which the others' threads fall asleep, and short runs after others of
their kind. The ratio (ours over theirs, smaller is better) is the median over the rounds of each round's
ratio, so that a busy machine disturbs all sides alike. Memory is the peak of a fresh process minus what it held before the
case was loaded: weights, inputs and everything in between.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time

# Runs shorter than this follow untimed ones of this long together: after a pause Linux may keep two woken threads on one
# processor for some 40 ms, which the decoding of many tokens sees once and a single short run sees whole.
WARM_MS = 100

HERE = os.path.dirname(os.path.abspath(__file__))


class Ours:
    def __init__(self, binary, threads, name):
        env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
        command = [binary, "--paired", "--bench"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.ready = self.ask(f"load {name}") == "ready"

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def run(self):
        ms, peak = self.ask("run").split()
        return float(ms), float(peak)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Theirs(Ours):
    def __init__(self, script, threads, name):
        command = [sys.executable, os.path.join(HERE, "reference", script), "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.ask(f"load {name}") == "ready"


def warm(side):
    spent = 0
    while spent < WARM_MS:
        spent += side.run()[0]


def names(script):
    command = [sys.executable, os.path.join(HERE, "reference", script), "--list"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def row(*cells):
    return f"| {' | '.join(cells)} |"


def alternate(sides, args):
    """Rounds of one run of each side: (milliseconds, MiB) by side."""
    first = max(side.run()[0] for side in sides.values())  # touches fresh memory
    rounds, begun = [], time.monotonic()
    while len(rounds) < args.pairs and (len(rounds) < 3 or time.monotonic() - begun < args.seconds):
        got = {}
        turn = len(rounds) % len(sides)
        order = list(sides)
        for side in order[turn:] + order[:turn]:
            time.sleep(args.pause)
            if first < WARM_MS:
                warm(sides[side])
            got[side] = sides[side].run()
        rounds.append(got)
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--filter", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before every run")
    parser.add_argument("--seconds", type=float, default=90, help="at most, for one case")
    parser.add_argument("--out", help="append the table to this file")
    args = parser.parse_args()
    peers = {"PyTorch": "torch_cases.py"}
    if importlib.util.find_spec("onnxruntime"):
        peers["ONNX Runtime"] = "onnx_cases.py"
        os.environ.setdefault("ONNX_CASES", tempfile.mkdtemp(prefix="onnx-cases-"))
    has = {peer: names(script) for peer, script in peers.items()}
    lines = [row("benchmark", "dragunov ms", *(f"{p} {what}" for p in peers for what in ("ms", "ratio", "quartiles")),
                 "dragunov MiB", *(f"{p} MiB" for p in peers))]
    lines.append("|---" * lines[0].count(" | ") + "|---|")
    print("\n".join(lines), flush=True)
    for name in has["PyTorch"]:
        if args.filter not in name:
            continue
        sides = {"ours": Ours(args.binary, args.threads, name)}
        sides |= {peer: Theirs(script, args.threads, name) for peer, script in peers.items() if name in has[peer]}
        absent = [side for side in sides if not sides[side].ready]
        if absent:
            print(f"| {name} | not there: {', '.join(absent)} |", flush=True)
            continue
        rounds = alternate(sides, args)
        for side in sides.values():
            side.close()
        ms = {side: statistics.median(r[side][0] for r in rounds) for side in sides}
        mib = {side: max(r[side][1] for r in rounds) for side in sides}
        cells = [f"{ms['ours']:.2f}"]
        for peer in peers:
            if peer not in sides:
                cells += ["", "", ""]
                continue
            ratios = sorted(r["ours"][0] / r[peer][0] for r in rounds)
            low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            cells += [f"{ms[peer]:.2f}", f"{statistics.median(ratios):.2f}", f"{low:.2f}-{high:.2f}"]
        cells += [f"{mib['ours']:.0f}", *(f"{mib[p]:.0f}" if p in sides else "" for p in peers)]
        lines.append(row(name, *cells))
        print(lines[-1], flush=True)
    if args.out:
        with open(args.out, "a") as f:
            f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
