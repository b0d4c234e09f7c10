#!/usr/bin/env python3
"""Exports a checkpoint on a Ray cluster, whose machines share the disk with MODEL and OUT.

    ray_export.py --parts 8 MODEL OUT -- --format nvfp4 --max-shard-size 5GB

What follows `--` is given to quantscope as it is. A part that fails, or whose machine is lost, is tried again and
goes on where it was. The result is that of one machine, byte by byte.
"""

import argparse
import os
import subprocess
import sys
import time

import ray


def quantscope(model, out, args, *more):
    program = os.environ.get("QUANTSCOPE", "quantscope")
    command = [program, "--batch", model, "--out", out, *args, *more]
    for _ in range(60):
        done = subprocess.run(command, capture_output=True, text=True)
        # What a worker that was lost had begun may still be at work.
        if "another run is at work" not in done.stderr:
            break
        time.sleep(10)
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@ray.remote(max_retries=3, retry_exceptions=True)
def make_part(model, out, args, number, parts):
    return quantscope(model, out, args, "--resume", "--part", f"{number}/{parts}")


def main():
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--parts", type=int, required=True, help="how many parts to make")
    parser.add_argument("--cpus", type=int, default=1, help="CPU cores for each part")
    own, args = parser.parse_args(words[:cut]), words[cut + 1 :]
    model, out = os.path.abspath(own.model), os.path.abspath(own.out)

    ray.init()
    part = make_part.options(num_cpus=own.cpus)
    threads = ["--threads", str(own.cpus)]
    made = [part.remote(model, out, args + threads, number, own.parts) for number in range(1, own.parts + 1)]
    while made:
        (done, *_), made = ray.wait(made)
        print(ray.get(done), end="", flush=True)
    print(quantscope(model, out, args, "--finish"), end="")


if __name__ == "__main__":
    main()
