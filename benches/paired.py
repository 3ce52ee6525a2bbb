"""Times this project and PyTorch (eager, CPU, f32) on the same shapes, run by run in turn.

Requirements: torch==2.15.* (any CPU build), transformers==5.23.*, numpy.
Usage: benches/compare.sh builds the benchmark and calls this; or
       paired.py BENCH_BINARY [--filter TEXT] [--threads 2] [--pairs 9] [--out FILE.md]

A round is one run of ours and one of PyTorch's, each after a pause in which the other's threads fall asleep, and short runs
after others of their kind. The ratio (ours over PyTorch's, smaller is better) is the median over the rounds of each round's
ratio, so that a busy machine disturbs both sides alike. Memory is the peak of a fresh process minus what it held before the
case was loaded: weights, inputs and everything in between.
"""

import argparse
import os
import statistics
import subprocess
import sys
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
    def __init__(self, threads, name):
        command = [sys.executable, os.path.join(HERE, "reference", "torch_cases.py"), "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.ask(f"load {name}") == "ready"


def warm(side):
    spent = 0
    while spent < WARM_MS:
        spent += side.run()[0]


def names():
    command = [sys.executable, os.path.join(HERE, "reference", "torch_cases.py"), "--list"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--filter", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before every run")
    parser.add_argument("--seconds", type=float, default=90, help="at most, for one case")
    parser.add_argument("--out", help="append the table to this file")
    args = parser.parse_args()
    lines = ["| benchmark | dragunov ms | PyTorch ms | ratio | quartiles | dragunov MiB | PyTorch MiB |", "|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for name in names():
        if args.filter not in name:
            continue
        ours, theirs = Ours(args.binary, args.threads, name), Theirs(args.threads, name)
        if not (ours.ready and theirs.ready):
            print(f"| {name} | not on both sides |", flush=True)
            continue
        first = max(ours.run()[0], theirs.run()[0])  # touches fresh memory
        pairs, begun = [], time.monotonic()
        while len(pairs) < args.pairs and (len(pairs) < 3 or time.monotonic() - begun < args.seconds):
            sides = [ours, theirs] if len(pairs) % 2 else [theirs, ours]
            got = {}
            for side in sides:
                time.sleep(args.pause)
                if first < WARM_MS:
                    warm(side)
                got[side] = side.run()
            pairs.append((got[ours], got[theirs]))
        ours.close(), theirs.close()
        ratios = sorted(a[0] / b[0] for a, b in pairs)
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        ms = [statistics.median(p[i][0] for p in pairs) for i in (0, 1)]
        mib = [max(p[i][1] for p in pairs) for i in (0, 1)]
        lines.append(
            f"| {name} | {ms[0]:.2f} | {ms[1]:.2f} | {statistics.median(ratios):.2f} | {low:.2f}-{high:.2f} "
            f"| {mib[0]:.0f} | {mib[1]:.0f} |"
        )
        print(lines[-1], flush=True)
    if args.out:
        with open(args.out, "a") as f:
            f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
