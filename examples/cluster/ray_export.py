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

import ray


def quantscope(model, out, args, *more):
    program = os.environ.get("QUANTSCOPE", "quantscope")
    done = subprocess.run([program, "--batch", model, "--out", out, *args, *more], capture_output=True, text=True)
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
    own, args = parser.parse_args(words[:cut]), words[cut + 1 :]
    model, out = os.path.abspath(own.model), os.path.abspath(own.out)

    ray.init()
    made = [make_part.remote(model, out, args, number, own.parts) for number in range(1, own.parts + 1)]
    while made:
        (done, *_), made = ray.wait(made)
        print(ray.get(done), end="", flush=True)
    print(quantscope(model, out, args, "--finish"), end="")


if __name__ == "__main__":
    main()
