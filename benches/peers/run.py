#!/usr/bin/env python3
"""Compares wgrad with its peers on this machine: `python3 benches/peers/run.py --help`.

Needs Python 3.9 or newer and Rust; installs everything else under target/peers. A machine without
network or Rust runs programs that were packed on another machine.
"""

import argparse
import contextlib
import math
import pathlib
import signal
import subprocess
import sys
import time

from harness import chart, install, machine, measure, places, report
from harness.candidates import GPU, all_candidates, chosen, needs_cuda, on_gpu
from harness.places import ROOT, environment, has_mnist, mnist, removed

BOOK = ["100x784x50", "784x100x50"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].split(":")[0] + ".")
    add = parser.add_argument
    add("--data", help="directory of the IDX files (default: $MNIST_DIR, else wgrad's cache)")
    add("--pack", type=pathlib.Path, metavar="FILE.tar.xz", help="build what --packed needs")
    add("--packed", type=pathlib.Path, metavar="FILE.tar.xz", help="build nothing, run this")
    add("--python", metavar="PATH", help="take this interpreter's packages, install none")
    add("--jobs", default="1,2,3,4", help="which, comma-separated (default: 1,2,3,4)")
    add("--peers", default="", help="names, or beginnings of names, comma-separated (default: all)")
    add("--gpu", action="store_true", help="only programs on a GPU, and wgrad's CPU path")
    add("--repeats", type=int, default=5)
    add("--threads", type=int, help="of CPU peers (default: the faster of 1 and all)")
    add("--steps2", type=int, help="steps of job 2 (default: 600 on a GPU, else 60)")
    add("--steps4", type=int, help="steps of job 4 (default: 1200 on a GPU, else 200)")
    add("--largest", type=int, help="largest size of job 3 (default: 8192 on a GPU, else 1024)")
    add("--limit", type=float, default=20, help="seconds of a repeat; slower ones take fewer steps")
    add("--budget", type=float, default=math.inf, help="seconds for all jobs (default: no end)")
    add("--update", action="store_true", help="take the newest versions of the peers")
    add("--record", action="store_true", help="write benches/record/<machine>/<date>.txt")
    add("--results", type=pathlib.Path, metavar="FILE", help="write the record here, every round")
    add("--chart", type=pathlib.Path, metavar="FILE.svg", help="draw job 1; implies --record")
    add("--from-record", type=pathlib.Path, metavar="FILE", help="draw this, run nothing")
    options = parser.parse_args()
    try:
        options.jobs = sorted({int(job) for job in options.jobs.split(",")})
    except ValueError:
        parser.error("--jobs are of 1, 2, 3 and 4, with commas between them")
    options.peers = [name for name in options.peers.split(",") if name]
    if options.from_record and not options.chart:
        parser.error("--from-record needs --chart")
    if options.pack and not options.pack.name.endswith(install.ARCHIVE):
        parser.error(f"--pack names a file that ends in {install.ARCHIVE}")
    if options.repeats < 1 or options.limit <= 0 or not set(options.jobs) <= {1, 2, 3, 4}:
        parser.error("--repeats are 1 or more, --limit is above 0, --jobs of 1, 2, 3 and 4")
    for file in (options.packed, options.from_record):
        if file and not file.exists():
            parser.error(f"there is no {file}")
    options.command = report.command("run.py")
    return options


def say(text):
    print(text, flush=True)


def find_data(options):
    options.data = mnist(options.data)
    if has_mnist(options.data):
        return
    say(f"no MNIST in {options.data}; wgrad downloads it ...")
    program = [install.our_program("train_gpu"), "--device", "cpu", "--steps", "1", "--quiet"]
    try:
        subprocess.run(program, env=environment(), capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        pass
    if not has_mnist(options.data):
        raise SystemExit(
            f"there is no MNIST in {options.data} and it could not be downloaded: copy its four "
            "IDX files into a directory and name that with --data"
        )


def install_all(candidates, options):
    """The candidates that can be run, and the reasons why the others cannot."""
    found = []
    asked = chosen(candidates, options.peers)
    candidates = on_gpu(asked) if options.gpu else asked
    unavailable = {c.name: "runs on the CPU" for c in asked if c not in candidates}
    has_cuda = install.nvidia_driver() is not None
    parts = {"wgrad": None}
    for candidate in candidates:
        if needs_cuda(candidate) and not has_cuda:
            unavailable[candidate.name] = "no NVIDIA GPU: nvidia-smi finds none"
            continue
        if candidate.name in ("wgrad-gpu", "burn-wgpu") and options.adapter is None:
            unavailable[candidate.name] = options.no_adapter
            continue
        if candidate.name == "burn-vulkan" and not options.hardware:
            unavailable[candidate.name] = "no hardware GPU: its SPIR-V crashes software drivers"
            continue
        if candidate.name == "burn-wgpu" and not options.hardware:
            # Software drivers bind at most 128 MiB; MNIST as f32 has 180 MiB.
            candidate.command.append("--host-rows")
        if candidate.part not in parts:
            try:
                parts[candidate.part] = install.install(candidate.part, options.update)
            except install.Missing as missing:
                parts[candidate.part] = str(missing)
        if parts[candidate.part]:
            unavailable[candidate.name] = parts[candidate.part]
        else:
            found.append(candidate)
    say(describe(unavailable))
    return found, unavailable


def describe(unavailable):
    """One line per reason."""
    names = {}
    for name, why in unavailable.items():
        names.setdefault(why, []).append(name)
    return "\n".join(f"not measured: {', '.join(who)}: {why}" for why, who in names.items())


def prepare(options):
    """Adds data, adapter and the settings that depend on them to `options`."""
    if removed():
        say(f"not passed on to any program, ours or a peer: {', '.join(removed())}")
    try:
        install.install("wgrad")
    except install.Missing as missing:
        raise SystemExit(str(missing))
    find_data(options)
    options.adapter, options.no_adapter = machine.adapter(options.data)
    options.hardware = bool(options.adapter) and not machine.is_software(options.adapter)

    def is_fast(device_class):
        return device_class == GPU and options.hardware

    def steps(job, device_class):
        asked = {1: 10_000, 2: options.steps2, 3: 0, 4: options.steps4}[job]
        if asked is None:
            on_gpu, on_cpu = {2: (600, 60), 4: (1200, 200)}[job]
            asked = on_gpu if is_fast(device_class) else on_cpu
        return asked

    def shapes(device_class):
        largest = options.largest or (8192 if is_fast(device_class) else 1024)
        sizes = [size for size in (256, 512, 1024, 2048, 4096, 8192) if size <= largest]
        return [f"{size}x{size}x{size}" for size in sizes] + BOOK

    options.shapes_on, options.steps_on = shapes, steps


def pack(options):
    options.data = mnist(options.data)
    # Peers on the CPU are left out: they are compiled for this processor only.
    peers = on_gpu(chosen(all_candidates(), options.peers)) if options.peers else []
    try:
        install.pack(options.pack, peers, options.data, machine.describe_build())
    except install.Missing as missing:
        raise SystemExit(str(missing))
    data = "with" if has_mnist(options.data) else "without"
    say(f"{options.pack}: {options.pack.stat().st_size / 1e6:.1f} MB, {data} MNIST")


def main():
    options = parse()
    if options.from_record:
        chart.draw(options.from_record, options.chart)
        return 0
    if options.pack:
        pack(options)
        return 0
    places.use(options.packed, options.python)
    prepare(options)
    candidates, unavailable = install_all(all_candidates(), options)
    deadline = time.monotonic() + options.budget
    started_load, figures = machine.load(), []

    def record():
        missing = dict(unavailable)
        for candidate in candidates:
            for job, why in candidate.failures.items():
                missing[f"{candidate.name}, {job}"] = why
        parts = [f"{name}: {fact}" for name, fact in machine.facts(options, started_load)]
        parts += ["", report.table(figures), ""]
        parts += [describe(missing), "", report.repeats(figures), ""]
        return report.without_paths("\n".join(parts), options.data)

    for at, job in enumerate(options.jobs):
        # The time that a job does not use goes to the later jobs.
        now = time.monotonic()
        share = now + (deadline - now) / (len(options.jobs) - at)
        before = figures
        with contextlib.closing(measure.compare(candidates, job, options, say, share)) as rounds:
            for found in rounds:
                figures = before + found
                if options.results:
                    options.results.write_text(record())
    text = record()
    say("\n" + text)
    if options.record or options.chart:
        name = options.adapter.split(":")[0] if options.hardware else machine.cpu_model()
        path = report.write(name, text)
        say(f"record: {path.relative_to(ROOT)}")
        if options.chart:
            chart.draw(path, options.chart)
    is_good = all(f.is_good for f in figures if f.values)
    return 0 if is_good and not any(c.failures for c in candidates) else 1


if __name__ == "__main__":
    # Exit normally, so that the processes that serve measurements are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    sys.exit(main())
