#!/usr/bin/env python3
"""Compiles kernels/cu with NVIDIA's own compiler for every architecture that ships, and compares what each kernel takes of
one with kernels/cu/registers.json: registers may only fall, and none may spill.

    eval "$(scripts/cuda-toolkit.sh)"; scripts/ci-cubins.py [--write]

Needs nvcc of the toolkit that the image has, on PATH or in CUDA_HOME; no GPU.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLE = ROOT / "kernels/cu/registers.json"
NVCC = str(pathlib.Path(os.environ["CUDA_HOME"], "bin/nvcc")) if os.environ.get("CUDA_HOME") else "nvcc"
ARCHITECTURES = re.search(r"ARCHITECTURES: &\[u32\] = &\[([\d, ]+)\]", (ROOT / "kernels/build.rs").read_text())[1].split(", ")
ENTRY = re.compile(
    r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers", re.S)


def compiled(source, architecture):
    """What ptxas says of each kernel: (name, registers, spilled bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [NVCC, "-cubin", "-O3", "-std=c++17", f"-arch=sm_{architecture}", "-Xptxas", "-v", "-o", f"{folder}/out.cubin", str(source)]
        done = subprocess.run(command, text=True, capture_output=True)
        if done.returncode:
            sys.exit(f"{source.name} for sm_{architecture}:\n{done.stdout}{done.stderr}")
        size = pathlib.Path(folder, "out.cubin").stat().st_size
    said = done.stdout + done.stderr
    found, wanted = ENTRY.findall(said), said.count("Compiling entry function")
    if len(found) != wanted or not found:
        sys.exit(f"{source.name} for sm_{architecture}: {wanted} kernels compiled, {len(found)} understood")
    return size, [(name, int(registers), int(stores) + int(loads) + int(stack)) for name, _, stack, stores, loads, registers in found]


def main():
    table, bytes_of, faults = {}, dict.fromkeys(ARCHITECTURES, 0), []
    jobs = [(source, architecture) for source in sorted((ROOT / "kernels/cu").glob("*.cu")) for architecture in ARCHITECTURES]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (source, architecture), (size, kernels) in zip(jobs, pool.map(lambda job: compiled(*job), jobs)):
            bytes_of[architecture] += size
            for name, registers, spilled in kernels:
                table.setdefault(name, {})[f"sm_{architecture}"] = registers
                if spilled:
                    faults.append(f"{name} on sm_{architecture} keeps {spilled} bytes in memory for want of registers")
    for architecture, size in bytes_of.items():
        print(f"sm_{architecture}: {len(table)} kernels, {size / 1000:.0f} kB")
    if "--write" in sys.argv[1:]:
        TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=2) + "\n")
    allowed = json.loads(TABLE.read_text())
    if allowed.keys() != table.keys():
        faults.append(f"kernels/cu/registers.json lists other kernels: {sorted(allowed.keys() ^ table.keys())}; --write")
    for name in allowed.keys() & table.keys():
        for architecture, registers in table[name].items():
            most = allowed[name].get(architecture, 0)
            if registers > most:
                faults.append(f"{name} on {architecture} takes {registers} registers, the table says {most}")
    if faults:
        sys.exit("\n".join(faults))
    most = max(max(of.values()) for of in table.values())
    print(f"no spills; at most {most} registers a thread")


main()
