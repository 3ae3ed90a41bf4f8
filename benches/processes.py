#!/usr/bin/env python3
"""Compares training by several processes, each on its own core, with one process on one core.

    cargo build --release --features mpi --example train_gpu
    python3 benches/processes.py

In each round, every variant runs once. For each variant, the median of all rounds is printed, and the best
round, which is the speed on an otherwise idle machine. Needs mpirun, and as many cores as processes.
"""

import argparse
import os
import re
import statistics
import subprocess

ALONE = "1 process, without --mpi"
PROGRAM = "target/release/examples/train_gpu"
JOBS = {
    "784-50-10, batch 100": (39_760, "--steps 4000"),
    "784-1024-1024-10, batch 1024": (1_863_690, "--hidden 1024,1024 --batch 1024 --steps 60"),
}


def environment():
    # One thread per process. Open MPI must be told to run as root, if this user is root.
    ours = {"WGRAD_THREADS": "1"}
    if os.geteuid() == 0:
        ours |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return os.environ | ours


def rate(start, words):
    always = "--device cpu --eval-every 0 --quiet"
    line = f"{start} {PROGRAM} {always} {words}"
    done = subprocess.run(line.split(), env=environment(), capture_output=True, text=True)
    found = re.search(r"steps_per_s=([0-9.]+)", done.stdout)
    if not found:
        raise SystemExit(f"{line}\n{done.stdout}{done.stderr}")
    return float(found[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = options.processes
    mpirun = f"mpirun -n {count} --bind-to core"
    for job, (parameters, words) in JOBS.items():
        variants = {
            ALONE: ("taskset -c 0", words),
            f"1 process, {count} shards": ("mpirun -n 1 --bind-to core", f"{words} --mpi --shards {count}"),
        }
        for shards in (count, 2 * count):
            name = f"{count} processes, {shards} shards"
            variants[name] = (mpirun, f"{words} --mpi --shards {shards}")
        for local in (5, 20):
            name = f"{count} processes, {local} local steps"
            variants[name] = (mpirun, f"{words} --mpi --shards {count} --local-steps {local}")
        rounds = [{name: rate(*line) for name, line in variants.items()} for _ in range(options.rounds)]
        print(f"\n{job}: {parameters:,} parameters; steps/s, and what they are of one process")
        print(f"  {'':<28} {'median':>8} {'':>5} {'best':>8}")
        middle, best = ({name: of(one[name] for one in rounds) for name in variants} for of in (statistics.median, max))
        for name in variants:
            each = ", ".join(f"{one[name]:.1f}" for one in rounds)
            shares = [f"{of[name]:>8.1f} {of[name] / of[ALONE]:>5.2f}" for of in (middle, best)]
            print(f"  {name:<28} {' '.join(shares)}   ({each})")


if __name__ == "__main__":
    main()
