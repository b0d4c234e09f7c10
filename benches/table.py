#!/usr/bin/env python3
"""Times exports next to copying the same checkpoint, and prints one table for the README.

    benches/table.py CHECKPOINT [--times N] [--formats nvfp4,int8,...] [--binary quantscope]
                     [--peer PYTHON]

Every run is followed by its peer, and the middle of N ratios is shown, so that a machine that is busy for a while
does not favour one of them. Read and written is on the disk of CHECKPOINT. The file cache is warm: everything is
read once before. Two pairs are timed: an export that does not wait for the disk (--no-sync) next to `cp -r`, and
one that does next to `cp -r` and `sync` of what it wrote. With --peer also what Python tools need for the same
tensors and the same format, by `benches/peers.py` run by that interpreter, where they are installed. CHECKPOINT may
be an ONNX model: ONNX Runtime's quantizer is the reference then.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
LAYOUTS = {"nvfp4": "modelopt", "fp8": "modelopt"}
FORMATS = ["nvfp4", "fp8", "fp8-block", "mxfp4", "int8", "int4-g128", "int4-asym-g128", "int4-g32"]


def watch(pid, peaks):
    """Notes the most memory that a process has had, in MiB, until it ends."""
    try:
        while True:
            lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            peaks.append(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
            time.sleep(0.01)
    except (OSError, StopIteration):
        pass


def timed(command, folder=None):
    """Seconds, seconds of processor time and peak MiB of a command; then syncs, outside of the time."""
    start = time.monotonic()
    with open(os.devnull, "wb") as nothing:
        child = subprocess.Popen([str(word) for word in command], stdout=nothing, stderr=subprocess.PIPE)
        # Not what the system says at the end, which counts this program, that the command was begun from.
        peak = threading.Thread(target=watch, args=(child.pid, peaks := [0]))
        peak.start()
        said = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        peak.join()
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"{command} failed: {said.decode(errors='replace')[-500:]}")
    if folder:
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    os.sync()
    return seconds, used.ru_utime + used.ru_stime, max(peaks)


def copied(source, target, sync):
    words = f'cp -r "$0" "$1"' + (' && sync -f "$1"' if sync else "")
    return timed(["sh", "-c", words, source, target], target)[0]


def exported(args, target, form, sync):
    command = [args.binary, "--batch", args.checkpoint, "--out", target, "--quiet", "--device", "cpu", "--format", form]
    layout = "onnx" if args.checkpoint.suffix == ".onnx" else LAYOUTS.get(form, "compressed-tensors")
    command += ["--export", layout] + ([] if sync else ["--no-sync"])
    return timed(command, target)


def peer_seconds(args, form):
    """What the tool whose bytes a format has needs for them; None where it is not installed."""
    if not args.peer:
        return None
    with tempfile.TemporaryDirectory(dir=args.folder) as place:
        out = "out.onnx" if args.checkpoint.suffix == ".onnx" else "out"
        command = [args.peer, HERE / "peers.py", form, args.checkpoint, pathlib.Path(place) / out]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 3:
        return None
    if done.returncode != 0:
        sys.exit(f"{command} failed: {done.stderr[-500:]}")
    name, seconds = done.stdout.split()
    return name, float(seconds)


def machine():
    def first(file, key):
        try:
            lines = pathlib.Path(file).read_text().splitlines()
        except OSError:
            return "?"
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "?")

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = int(first("/proc/meminfo", "MemTotal").split()[0] or 0) / 2**20 if os.path.exists("/proc/meminfo") else 0
    return f"{first('/proc/cpuinfo', 'model name')}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--formats")
    parser.add_argument("--binary", default=HERE.parent / "target/release/quantscope")
    parser.add_argument("--peer")
    args = parser.parse_args()
    args.folder = args.checkpoint.resolve().parent
    formats = FORMATS if args.checkpoint.suffix != ".onnx" else ["int4-g32", "int8-g32"]
    formats = args.formats.split(",") if args.formats else formats
    size = 0
    for file in [args.checkpoint, *args.checkpoint.rglob("*")]:
        if file.is_file():
            size += file.stat().st_size
            with open(file, "rb") as data:
                while data.read(8 << 20):
                    pass
    print(f"{size / 1e9:.2f} GB; {machine()}\n", flush=True)
    print("| format | seconds | `cp -r` | ratio | with the disk | `cp -r`, `sync` | ratio | CPU seconds | peak MiB | reference tool |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for form in formats:
        rows = []
        for _ in range(args.times):
            with tempfile.TemporaryDirectory(dir=args.folder) as place:
                target = pathlib.Path(place) / "out"
                own = exported(args, target, form, False)
                copy = copied(args.checkpoint, target, False)
                synced = exported(args, target, form, True)
                synced_copy = copied(args.checkpoint, target, True)
            rows.append((own[0], copy, own[0] / copy, synced[0], synced_copy, synced[0] / synced_copy, own[1], own[2]))
        middle = [statistics.median(column) for column in zip(*rows)]
        peer = peer_seconds(args, form)
        said = f"{peer[1]:.0f} s ({peer[0]}), {peer[1] / middle[3]:.0f}×" if peer else "–"
        print("| `{}` | {:.2f} | {:.2f} | **{:.2f}** | {:.2f} | {:.2f} | **{:.2f}** | {:.2f} | {:.0f} | {} |".format(form, *middle, said), flush=True)


if __name__ == "__main__":
    main()
