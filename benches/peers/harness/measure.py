"""Runs candidates: once to warm up and to choose the threads, then in turns."""

import math
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field

from . import install
from .places import environment

# Of 10,000 steps. Less is no training of that network.
ENOUGH = 0.96
LONGEST_S = 3600


class Failed(Exception):
    """Why a run gave no figure."""


class OutOfTime(Exception):
    """There is no time left for another run."""


@dataclass
class Figures:
    """What a candidate reached in a job, or at one shape of job 3."""

    candidate: object
    job: int
    what: str
    steps: int = 0
    values: list = field(default_factory=list)
    accuracy: float = None
    threads: object = "-"

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def is_good(self):
        """Whether it learns; it is not, while nobody knows."""
        return self.job != 1 or (self.accuracy is not None and self.accuracy >= ENOUGH)


def run(candidate, job, data, steps=0, shapes=(), threads=None, deadline=math.inf, env=()):
    """The `key=value` pairs of each line that has a figure."""
    command = list(candidate.command)
    if candidate.is_ours and job == 3:
        command = [install.our_program("matmul"), *command, "--shapes", *shapes]
    elif candidate.is_ours:
        # One evaluation before the steps, as a warm-up, and one behind them.
        command = [install.our_program("train_gpu"), *command, "--quiet", "--data", str(data)]
        command += ["--steps", str(steps), "--eval-every", str(steps)]
        command += ["--hidden", "1024,1024", "--batch", "1024"] if job == 2 else []
    else:
        command += ["--job", str(job)]
        training = ["--data", str(data), "--steps", str(steps)]
        command += ["--shapes", *shapes] if job == 3 else training
        command += ["--threads", str(threads)] if threads else []
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime
    limit = min(left, LONGEST_S)
    try:
        done = subprocess.run(
            command,
            env={**environment(), **dict(env)},
            text=True,
            capture_output=True,
            timeout=limit,
        )
    except OSError as error:
        raise Failed(f"cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        if limit < LONGEST_S:
            raise OutOfTime from error
        raise Failed(f"took more than {LONGEST_S} s") from error
    if done.returncode != 0:
        words = install.last_words(done.stderr or done.stdout)
        raise Failed(f"ended with code {done.returncode}: {words}")
    figures = ("steps_per_s=", "gflops=")
    lines = [line for line in done.stdout.splitlines() if any(f in line for f in figures)]
    if not lines:
        raise Failed(f"printed no figure: {install.last_words(done.stdout)}")
    return [dict(pair.split("=", 1) for pair in line.split() if "=" in pair) for line in lines]


class Trial:
    """A job, for one candidate."""

    def __init__(self, candidate, job, options):
        self.candidate, self.job, self.options = candidate, job, options
        self.data = options.data
        software = candidate.device_class == "gpu" and not options.hardware
        self.steps = {1: 10_000, 2: options.steps2_on(candidate.device_class)}.get(job, 0)
        self.shapes = options.shapes_on(candidate.device_class)
        self.probe_steps = {1: 200 if software else 2000, 2: 3 if software else 10}.get(job, 0)
        self.figures = {}
        self.rounds = []
        self.deadline = math.inf

    def thread_counts(self):
        if not self.candidate.is_threaded:
            return [None]
        if self.options.threads:
            return [self.options.threads]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return sorted({1, cores})

    def run(self, **more):
        rows = run(self.candidate, self.job, self.data, deadline=self.deadline, **more)
        self.candidate.device = rows[0].get("device", self.candidate.device)
        return rows

    def prepare(self):
        """Chooses threads and steps; nothing of it is a figure."""
        if self.job == 3:
            return self.prepare_shapes()
        rates = {}
        counts = self.thread_counts()
        for _ in range(min(len(counts), 2)):
            for threads in counts:
                found = float(self.run(steps=self.probe_steps, threads=threads)[0]["steps_per_s"])
                rates[threads] = max(found, rates.get(threads, 0))
        threads = max(rates, key=rates.get)
        fitting = int(rates[threads] * self.options.limit)
        steps = self.steps
        if steps > fitting:
            steps = max(fitting // 100 * 100 or fitting, self.probe_steps)
        self.rounds = [{"steps": steps, "threads": threads}]
        figures = Figures(self.candidate, self.job, f"job {self.job}", steps)
        figures.threads = threads or "-"
        self.figures[figures.what] = figures
        if steps < self.steps and self.job == 1:
            # Too slow for full repeats, but what it learns is checked in full.
            row = self.run(steps=self.steps, threads=threads)[0]
            figures.accuracy = float(row["test_accuracy"])

    def prepare_shapes(self):
        best = {}
        for threads in self.thread_counts():
            for row in self.run(shapes=self.shapes, threads=threads):
                rate = float(row["gflops"])
                if row["shape"] not in best or rate > best[row["shape"]][0]:
                    best[row["shape"]] = (rate, threads)
        for shape, (_, threads) in best.items():
            figures = Figures(self.candidate, self.job, shape, threads=threads or "-")
            self.figures[shape] = figures
        for threads in {threads for _, threads in best.values()}:
            shapes = [shape for shape in self.shapes if best[shape][1] == threads]
            self.rounds.append({"shapes": shapes, "threads": threads})

    def repeat(self):
        for more in self.rounds:
            for row in self.run(**more):
                figures = self.figures[row.get("shape", f"job {self.job}")]
                figures.values.append(float(row.get("steps_per_s") or row["gflops"]))
                if "test_accuracy" in row and more["steps"] == self.steps:
                    reached = float(row["test_accuracy"])
                    figures.accuracy = min(reached, figures.accuracy or 1)


def compare(candidates, job, options, say, deadline=math.inf):
    """After every round, the figures of all candidates that could be measured; failures are left in
    the others."""
    trials = [Trial(c, job, options) for c in candidates if job in c.jobs]

    def attempt(trial, what):
        try:
            what()
        except Failed as failure:
            trial.candidate.failures[f"job {job}"] = str(failure)
            say(f"  {trial.candidate.name}: {failure}")

    def alive():
        return [t for t in trials if f"job {job}" not in t.candidate.failures]

    # At least half of the time is for figures; a peer that hangs leaves half of the rest to others.
    now = time.monotonic()
    warm = now + (deadline - now) / 2
    for trial in trials:
        now = time.monotonic()
        trial.deadline = warm if trial.candidate.is_ours else now + (warm - now) / 2
        say(f"job {job}: warming up {trial.candidate.name}")
        try:
            attempt(trial, trial.prepare)
        except OutOfTime:
            # A speed is worth something without the accuracy, which the table then lacks.
            if not trial.figures:
                trial.candidate.failures[f"job {job}"] = "its part of the time for warm-ups was too short"
        trial.deadline = deadline
    for repeat in range(options.repeats):
        say(f"job {job}: round {repeat + 1} of {options.repeats}")
        running = alive()
        # Nobody always comes behind the same neighbour's heat.
        shift = repeat % max(len(running), 1)
        is_late = False
        try:
            for trial in running[shift:] + running[:shift]:
                attempt(trial, trial.repeat)
        except OutOfTime:
            is_late = True
        yield [figures for trial in alive() for figures in trial.figures.values()]
        if is_late:
            say(f"job {job}: no time is left")
            return
