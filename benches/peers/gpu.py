#!/usr/bin/env python3
"""Runs all tests and measurements on a GPU, the most important first: `python3 benches/peers/gpu.py --help`.

Each stage writes its own file while it runs, so earlier results stay when this program is ended.
Stages share the remaining time. A stage that ends early leaves its time to the others.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import run
from harness import install, machine, places, report, start
from harness.candidates import all_candidates
from harness.places import BUILT, PEERS, ROOT, environment

# Options for criterion, which otherwise takes a minute per figure.
BRIEFLY = ("--bench", "--quiet", "--warm-up-time", "0.5", "--measurement-time", "1")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0].split(":")[0] + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=pathlib.Path, default=ROOT / "target" / "gpu", help="directory of results")
    add("--budget", type=float, default=1200, help="seconds for all stages")
    add("--stages", default=",".join(STAGES), help="comma-separated")
    add("--data", help="this and what follows: as in run.py")
    add("--packed", type=pathlib.Path, metavar="FILE")
    add("--python", metavar="PATH")
    add("--peers", default="")
    add("--repeats", type=int, default=3, help="rounds of each job")
    add("--limit", type=float, default=10, help="seconds of a repeat")
    add("--steps2", type=int)
    add("--steps4", type=int)
    add("--largest", type=int)
    parser.set_defaults(update=False, gpu=True)
    options = parser.parse_args()
    options.stages = options.stages.split(",")
    options.peers = [name for name in options.peers.split(",") if name]
    unknown = set(options.stages) - set(STAGES)
    if unknown:
        parser.error(f"there is no stage {', '.join(sorted(unknown))}")
    if options.repeats < 1 or options.limit <= 0:
        parser.error("--repeats are 1 or more, --limit is above 0")
    if options.packed and not options.packed.exists():
        parser.error(f"there is no {options.packed}")
    options.command = report.command("gpu.py")
    return options


VARIANTS = ("--variants", "tiles", "deep", "medium", "large")
SQUARES = (256, 512, 768, 1024, 2048, 4096, 8192)
SHAPES = ("--shapes", *(f"{n}x{n}x{n}" for n in SQUARES), *run.BOOK, "1024x784x1024", "1024x1024x10")


class OwnPrograms:
    """Our benches and examples. Their output is the result."""

    def __init__(self, *commands):
        self.commands = commands

    def run(self, options, path, deadline):
        env = {**environment(), "MNIST_DIR": str(options.data)}
        env["CRITERION_HOME"] = str(BUILT / "criterion")
        is_good = True
        with path.open("w") as file:
            print(header(options), file=file, flush=True)
            for kind, name, *words in self.commands:
                print("\n$", name, *words, file=file, flush=True)
                command = [install.our_program(name, kind), *words]
                left = max(deadline - time.monotonic(), 0)
                output = {"stdout": file, "stderr": file}
                try:
                    done = subprocess.run(command, **output, env=env, cwd=ROOT, timeout=left)
                    if done.returncode != 0:
                        print(f"ended with code {done.returncode}", file=file, flush=True)
                        is_good = False
                except subprocess.TimeoutExpired:
                    print("no time was left", file=file, flush=True)
                    is_good = False
        return is_good


class OwnTests:
    """Our tests. All test programs run at the same time. The stage's file has their outputs, followed by a
    summary. Nothing is timed."""

    def run(self, options, path, deadline):
        env = {**environment(), "MNIST_DIR": str(options.data)}
        if places.python:
            # One test exchanges weights with PyTorch.
            env["WGRAD_PYTHON"] = str(places.python)
        started = []
        for kind, name in install.TESTS:
            words = tempfile.TemporaryFile("w+", errors="replace")
            output = {"stdout": words, "stderr": words}
            command = [install.our_program(name, kind)]
            started.append((name, words, subprocess.Popen(command, **output, env=env, cwd=ROOT)))
        found, is_good = [], True
        with path.open("w") as file:
            print(header(options), file=file, flush=True)
            for name, words, process in started:
                try:
                    is_good &= process.wait(timeout=max(deadline - time.monotonic(), 0)) == 0
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    is_good = False
                words.seek(0)
                found.append(f"{name}\n{words.read()}")
                words.close()
                print("\n$", found[-1], file=file, flush=True)
            print("\nsummary", *map(summary, found), sep="\n", file=file)
        return is_good


class Long:
    """Runs many steps of job 1 twice, compares the losses bit by bit, and records the GPU's memory."""

    def run(self, options, path, deadline):
        steps = 100_000 if options.hardware else 2_000
        query = ("--query-gpu=memory.used,clocks.sm", "--format=csv,noheader")
        with path.open("w") as file, tempfile.TemporaryDirectory() as directory:
            print(header(options), file=file, flush=True)
            losses = [pathlib.Path(directory) / f"{number}.csv" for number in (1, 2)]
            for each in losses:
                command = [install.our_program("train_gpu"), "--quiet", "--device", "gpu"]
                command += ["--data", str(options.data), "--losses", str(each)]
                command += ["--steps", str(steps), "--eval-every", "0"]
                process = subprocess.Popen(command, stdout=file, stderr=file, env=environment())
                while process.poll() is None and time.monotonic() < deadline:
                    print(machine.output("nvidia-smi", *query), file=file, flush=True)
                    time.sleep(0.2)
                process.kill()
                if process.wait() != 0:
                    return False
            is_same = losses[0].read_bytes() == losses[1].read_bytes()
            print(f"losses of {steps} steps, twice: the same bits: {is_same}", file=file)
        return is_same


def summary(output):
    """How many tests passed and failed, and which failed. `output` starts with the program's name."""
    name = output.split(maxsplit=1)[0]
    counts = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed", output, re.MULTILINE)
    failed = re.findall(r"^test (.+) \.\.\. FAILED$", output, re.MULTILINE)
    # A test may print the output of a process that it started. The last result is the program's own.
    passed = "{} passed, {} failed".format(*counts[-1]) if counts else "did not come to its end"
    return f"{name}: {passed}" + (f": {', '.join(failed)}" if failed else "")


class Job:
    """A job of run.py, which writes its record after every round."""

    def __init__(self, number):
        self.number = number

    def run(self, options, path, deadline):
        # Leave some time to write the record.
        left = max(deadline - time.monotonic() - 5, 0)
        command = [sys.executable, str(PEERS / "run.py"), "--gpu", "--jobs", str(self.number)]
        command += ["--results", str(path), "--budget", f"{left:.0f}"]
        passed = ("data", "packed", "python", "peers", "repeats", "limit", "steps2", "steps4", "largest")
        for name in passed:
            value = getattr(options, name)
            if value is not None and value != []:
                command += [f"--{name}", ",".join(value) if name == "peers" else str(value)]
        return subprocess.run(command).returncode == 0


class Start:
    """The time from the start of a process to the end of its first step."""

    def run(self, options, path, deadline):
        asked = [candidate for candidate in all_candidates() if 1 in candidate.jobs]
        candidates, unavailable = run.install_all(asked, options)
        with path.open("w") as file:

            def say(text):
                print(text, file=file, flush=True)

            say(f"{header(options)}\n{run.describe(unavailable)}\n")
            return start.measure(candidates, options.data, deadline, say)


# The stages, each with its weight: its share of the time relative to the others.
STAGES = {
    # Checks that the results of the timed programs are right.
    "tests": (6, OwnTests()),
    "job1": (8, Job(1)),
    "job4": (8, Job(4)),
    "dispatches": (
        3,
        OwnPrograms(("bench", "kernels", *BRIEFLY, "dispatch"), ("bench", "dispatches")),
    ),
    "job2": (8, Job(2)),
    "job3": (4, Job(3)),
    "start": (3, Start()),
    "long": (1, Long()),
    "kernels": (4, OwnPrograms(("example", "matmul", "--repeats", "5", *VARIANTS, *SHAPES))),
    "training": (3, OwnPrograms(("bench", "training", *BRIEFLY))),
}


def header(options):
    lines = [f"{name}: {fact}" for name, fact in machine.facts(options, options.load)]
    return report.without_paths("\n".join(lines), options.data)


def main():
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    options.load = machine.load()
    places.use(options.packed, options.python)
    run.prepare(options)
    try:
        install.install("wgrad-more")
    except install.Missing as missing:
        raise SystemExit(str(missing))
    print(f"adapter: {options.adapter or options.no_adapter}", flush=True)
    # The budget starts after the build.
    end = time.monotonic() + options.budget
    failed = []
    for at, name in enumerate(options.stages):
        weight, stage = STAGES[name]
        now = time.monotonic()
        seconds = (end - now) * weight / sum(STAGES[later][0] for later in options.stages[at:])
        print(f"{name}: up to {seconds:.0f} s", flush=True)
        path = options.out / f"{name}.txt"
        try:
            is_good = stage.run(options, path, now + seconds)
        except (OSError, SystemExit, install.Missing) as error:
            # Later stages may still succeed.
            is_good = False
            with path.open("a") as file:
                print(f"\nthis stage ended: {error}", file=file)
        if not is_good:
            failed.append(name)
        print(f"{name}: {time.monotonic() - now:.0f} s", flush=True)
    if failed:
        print(f"not complete, or wrong: {', '.join(failed)}: see {options.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
