#!/usr/bin/env python3
"""scripts/gpu-report without a GPU and without its programs: what a bundle holds, and what a report says of good and bad answers.

The driver, dragunov, the kernels' tests and the networks are stand-ins; needs gcc and binutils. Its programs themselves are tried by
`scripts/softcuda scripts/gpu-report run --software`.
"""

import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from gpu_report_table import GPUS, cells, place  # noqa: E402

DRIVER = r"""
#include <string.h>
int cuInit(unsigned flags) { return DEVICES ? 0 : 100; }
int cuDeviceGet(int *device, int which) { return *device = 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "NVIDIA L4", length); return 0; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 24ul << 30; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : 9; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
"""
# Off by $OFF on the device; ends as $ENDS says. `networks` has no room for the vision-language model and forgets one network.
PROGRAMS = {
    "dragunov": r"""
import json, os, pathlib, struct, sys
said = dict(zip(sys.argv, sys.argv[1:]))
off = float(os.environ.get("OFF", 0)) * (said["--device"] != "cpu")
if os.environ.get("ENDS") and said["--device"] != "cpu":
    sys.exit(os.environ["ENDS"])
if "--out" in said:
    out = pathlib.Path(said["--out"])
    if sys.argv[1] == "segment":
        out.mkdir()
        out = out / "logits.npy"
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"
    out.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + struct.pack("<2f", 1, 4 + off))
items = [{"label": "peas"}, {"label": "rice"}]
answer = json.dumps({"token_ids": [1, 2 + round(off)], "items": items, "totals": {"mass_g": {"p50": 300 * (1 + off)}}})
if sys.argv[1] == "scan":
    pathlib.Path(said["--json"]).write_text(answer)
else:
    print(answer)
""",
    "agreement": r"""
import os
bad = "OFF" in os.environ
print("test on_device::linear ... " + ("FAILED" if bad else "ok"))
print(f"test result: {'FAILED. 4 passed; 1 failed' if bad else 'ok. 5 passed; 0 failed'}; 0 ignored")
raise SystemExit(101 * bad)
""",
    "networks": r"""
import sys
for line in sys.stdin:
    if "qwen" in line:
        sys.exit("thread 'main' panicked at benches/x.rs:1:\ncalled `Result::unwrap()` on an `Err` value: DriverError(CUDA_ERROR_OUT_OF_MEMORY)")
    print("unknown" if "dav2_b" in line else "ready" if "load" in line else "7.5 100", flush=True)
""",
}


def stand_ins(folder):
    for name, text in PROGRAMS.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)


def run(top, driver, **environment):
    """(exit code, output, report or None) of the bundle's own script, far from the repository."""
    out = pathlib.Path(tempfile.mkdtemp(dir=top.parent))
    done = subprocess.run([top / "gpu-report", "run", "--out", out], cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=os.environ | {"LD_LIBRARY_PATH": str(driver)} | environment)
    written = list(out.glob("*-nvidia-l4.md"))
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout, written[0].read_text() if written else None


def line(report, what):
    return next(l for l in report.splitlines() if l.startswith(f"| {what}"))


def main():
    folder = pathlib.Path(sys.argv[1])
    packed = folder / "bundle.tar.xz"
    true = ["/bin/true"] * 3
    made = subprocess.run([HERE / "gpu-report", "bundle", "--binary", true[0], "--agreement", true[1], "--networks", true[2], "--out", packed,
                           "--preset", "0"],
                          check=True, stdout=subprocess.PIPE, text=True)
    assert "MB" in made.stdout
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    top = folder / "gpu-report"
    held = {str(p.relative_to(top)) for p in top.rglob("*") if p.is_file()}
    wanted = {"gpu-report", "gpu_report_table.py", "dragunov", "agreement", "networks", "heldout_check.py", "reference/gpu_cases.py",
              "reference/protocol.py", "reference/whole_models.py", "fixtures/plates/scene_015/photo.jpg", "checkpoints/sam/model.safetensors",
              "checkpoints/vlm/tokenizer.json", "checkpoints/depth/config.json", "checkpoints/mobile-sam/config.json"}
    assert wanted <= held, wanted - held
    stand_ins(top)

    drivers = {}
    for devices in (0, 1):
        drivers[devices] = folder / f"driver{devices}"
        drivers[devices].mkdir()
        subprocess.run(["gcc", "-shared", "-fPIC", f"-DDEVICES={devices}", "-x", "c", "-", "-o", drivers[devices] / "libcuda.so.1"],
                       input=DRIVER, text=True, check=True)

    code, said, report = run(top, drivers[0])
    assert code == 3 and report is None and "did not run" in said and "cuInit answers 100" in said, said

    code, said, report = run(top, drivers[1])
    assert report.startswith("# NVIDIA L4, 20") and "24 GiB, compute capability 8.9" in report, report
    assert "| every kernel against the CPU's | ok | 5 passed; 0 failed |" in report, report
    assert "300.0 g; on the CPU peas, rice, 300.0 g" in line(report, "a scan by plate-tiny"), report
    sam = line(report, "SAM ViT-B, encoder, 1024 px | bf16")
    assert "| 26.0 | 7.50 (7.50-7.50) |" in sam, sam
    assert "| at least 32.0 | 7.50" in line(report, "SAM ViT-B, encoder, 1024 px | f32"), report
    assert "too little memory on this GPU" in line(report, "Qwen2.5-VL 3B, a token"), report
    assert "knows no such network" in line(report, "Depth Anything V2 Base"), report
    assert "FAILED" not in report and code == 1, "only a network that is not there is a failure"
    assert "added up" not in report, "a scan without all of its networks"

    code, said, report = run(top, drivers[1], OFF="0.6")
    for what in ("every kernel", "tiny sam", "tiny depth", "tiny vlm", "a scan"):
        assert "| FAILED |" in line(report, what), report
    assert "on_device::linear" in line(report, "every kernel") and code == 1, report

    code, said, report = run(top, drivers[1], ENDS="dragunov: libcublas.so.13: cannot open shared object file: No such file")
    assert code == 1 and "libcublas.so.13 is not there" in line(report, "the device starts"), report
    assert "every kernel" not in report, report

    # Names of GPUs that contain others'.
    names = "NVIDIA H100 PCIe", "NVIDIA H200", "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090", "NVIDIA L4", "NVIDIA L40S", "Tesla T4"
    found = [place(name) is not None and GPUS[place(name)] for name in names]
    assert found == ["H100", "H100", "A100", "4090", "L4", False, False], found
    row = {"what": "x", "name": "qwen_3b_token", "dtype": "bf16", "ours": [4, 5, 6], "theirs": [10, 10, 10]}
    want = ["27.0, 37 tok/s", "5.00 (4.00-6.00), 200 tok/s", "10.00 (10.00-10.00)", "0.50"]
    assert cells(row, "NVIDIA L4")[2:] == want, cells(row, "NVIDIA L4")
    assert cells(row | {"dtype": "f32"}, "NVIDIA L4")[2] == "at least 41.0", cells(row, "NVIDIA L4")
    print("gpu-report: the bundle holds what it reads, reports say what came out")


if len(sys.argv) > 1:
    main()
else:
    with tempfile.TemporaryDirectory() as scratch:
        sys.argv.append(scratch)
        main()
