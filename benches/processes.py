#!/usr/bin/env python3
"""Times training by several processes, each on a core of its own, beside one process on one core.

    cargo build --release --features mpi --example train_gpu
    python3 benches/processes.py

Programs take turns; medians of the rounds are printed. Needs mpirun, and as many cores as processes.
"""

import argparse
import os
import re
import statistics
import subprocess

PROGRAM = "target/release/examples/train_gpu"
JOBS = {
    "784-50-10, batch 100": (39_760, "--steps 4000"),
    "784-1024-1024-10, batch 1024": (1_863_690, "--hidden 1024,1024 --batch 1024 --steps 60"),
}


def environment():
    # One thread each; as root only where we are.
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
            "1 process, without --mpi": ("taskset -c 0", words),
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
        median = {name: statistics.median(one[name] for one in rounds) for name in variants}
        alone = median["1 process, without --mpi"]
        for name, found in median.items():
            each = ", ".join(f"{one[name]:.1f}" for one in rounds)
            print(f"  {name:<28} {found:>8.1f}  {found / alone:.2f}   ({each})")


if __name__ == "__main__":
    main()
