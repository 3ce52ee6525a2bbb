"""What benches/paired.py says to a side: `load NAME` (answered by `ready`) and `run` (answered by milliseconds, and the peak
of the process's memory since `load` in MiB above what it held before), on stdin; `--list` prints the names."""

import argparse
import sys
import time


def memory_kib(field):
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith(field)).split()[1])


def serve(about, cases, prepare):
    """`cases` gives by name what makes the inputs and returns the work; `prepare(threads)` comes before everything."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(cases))
        return
    prepare(args.threads)
    work, before = None, 0
    for line in sys.stdin:
        command, _, name = line.strip().partition(" ")
        if command == "load" and name in cases:
            before = memory_kib("VmRSS:")
            work = cases[name]()
            print("ready", flush=True)
        elif command == "run" and work:
            begun = time.perf_counter()
            result = work()
            ms = 1e3 * (time.perf_counter() - begun)
            del result
            print(ms, max(0, memory_kib("VmHWM:") - before) // 1024, flush=True)
        else:
            print("unknown", flush=True)
