"""Runs candidates: prepares each and chooses its threads, then measures all in turns."""

import math
import os
import queue
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

from . import install
from .places import environment

# The least test accuracy after all steps, by job. A training with less has not learned the task.
ENOUGH = {1: 0.96, 4: 0.85}
LONGEST_S = 3600


class Failed(Exception):
    """The reason why a run gave no figure."""


class OutOfTime(Exception):
    """There is no time left for another run."""


@dataclass
class Figures:
    """The results of a candidate in a job, or at one shape of job 3."""

    candidate: object
    job: int
    what: str
    steps: int = 0
    values: list = field(default_factory=list)
    accuracy: float = None
    threads: object = "-"
    # For each repeat whose program reports it: the forward pass's share of the time.
    forward: list = field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def is_good(self):
        """Whether it is known to reach the required accuracy."""
        enough = ENOUGH.get(self.job)
        return enough is None or (self.accuracy is not None and self.accuracy >= enough)

    @property
    def behind_forward(self):
        """Time of the backward pass and the update, as a multiple of the forward pass's time."""
        return 1 / statistics.median(self.forward) - 1 if self.forward else None


def command_of(candidate, job, data, steps=0, shapes=(), threads=None):
    command = list(candidate.command)
    if candidate.is_ours and job == 3:
        return [install.our_program("matmul"), *command, "--shapes", *shapes]
    if candidate.is_ours:
        command.insert(0, install.our_program("jobs", "bench"))
    command += ["--job", str(job)]
    training = ["--data", str(data), "--steps", str(steps)]
    command += ["--shapes", *shapes] if job == 3 else training
    command += ["--threads", str(threads)] if threads else []
    return command


def first_step(candidate, data, losses):
    """The command of a process that takes one step of job 1 and evaluates. For wgrad it is the example
    that users run, which writes the step's loss to a file."""
    if not candidate.is_ours:
        return command_of(candidate, 1, data, steps=1)
    command = [install.our_program("train_gpu"), *candidate.command, "--quiet", "--data", str(data)]
    return [*command, "--steps", "1", "--eval-every", "0", "--losses", str(losses)]


def time_left(deadline):
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime
    return min(left, LONGEST_S)


def too_slow(limit):
    return Failed(f"took more than {LONGEST_S} s") if limit == LONGEST_S else OutOfTime()


def ended(code, words):
    return Failed(f"ended with code {code}: {install.last_words(words)}")


def figures_in(lines):
    """The `key=value` pairs of each line with a figure."""
    found = [line for line in lines if any(f in line for f in ("steps_per_s=", "gflops="))]
    if not found:
        words = install.last_words("\n".join(lines))
        raise Failed(f"printed no figure: {words}")
    return [dict(pair.split("=", 1) for pair in line.split() if "=" in pair) for line in found]


def run(command, deadline=math.inf, env=()):
    """Runs a process for one measurement."""
    limit = time_left(deadline)
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
        raise too_slow(limit) from error
    if done.returncode != 0:
        raise ended(done.returncode, done.stderr or done.stdout)
    return figures_in(done.stdout.splitlines())


class Served:
    """A process that stays running: it prepares itself once, then measures at each request."""

    def __init__(self, candidate, job, data, **more):
        # A pipe that nobody reads would block the process. A file takes all its output.
        self.words = tempfile.TemporaryFile("w+", errors="replace")
        self.lines = queue.SimpleQueue()
        try:
            self.process = subprocess.Popen(
                [*command_of(candidate, job, data, **more), "--serve"],
                env=environment(),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.words,
                # A new session: its children, such as a compiler's workers, can be ended with it.
                start_new_session=True,
            )
        except OSError as error:
            self.words.close()
            raise Failed(f"cannot be run: {error}") from error
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """Reads lines in a thread of its own, because reading has no time limit."""
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.strip())
        self.lines.put(None)

    def until(self, last, deadline):
        """Waits for the line `last`, and returns the lines before it."""
        limit = min(deadline - time.monotonic(), LONGEST_S)
        end = time.monotonic() + limit
        lines = []
        while True:
            left = end - time.monotonic()
            try:
                line = self.lines.get(timeout=max(min(left, 0.5), 0))
            except queue.Empty as error:
                # The output may stay open after the process has ended, because its children have it open, too.
                if self.process.poll() is not None:
                    raise self.died(lines) from error
                if left <= 0:
                    raise too_slow(limit) from error
                continue
            if line is None:
                raise self.died(lines)
            if line == last:
                return lines
            lines.append(line)

    def died(self, lines):
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return Failed("closed its output and went on")
        self.words.seek(0)
        return ended(code, self.words.read() or "\n".join(lines))

    def ready(self, deadline):
        self.until("ready", deadline)

    def measure(self, deadline):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError:
            # The process has died; `until` reports how.
            pass
        return figures_in(self.until("done", deadline))

    def end(self):
        """Kills the process and its children: they have nothing to save."""
        if hasattr(os, "killpg"):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            self.process.kill()
        self.process.wait()
        self.words.close()


class Trial:
    """A job with one candidate."""

    def __init__(self, candidate, job, options):
        self.candidate, self.job, self.options = candidate, job, options
        self.data = options.data
        software = candidate.device_class == "gpu" and not options.hardware
        self.steps = options.steps_on(job, candidate.device_class)
        self.shapes = options.shapes_on(candidate.device_class)
        self.probe_steps = {1: 200 if software else 2000, 3: 0}.get(job, 3 if software else 10)
        self.figures = {}
        # The runs of one repeat, and the running processes for them.
        self.rounds = []
        self.served = []
        self.is_ready = False
        self.deadline = math.inf

    def thread_counts(self):
        if not self.candidate.is_threaded:
            return [None]
        if self.options.threads:
            return [self.options.threads]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return sorted({1, cores})

    def run(self, **more):
        command = command_of(self.candidate, self.job, self.data, **more)
        return run(command, deadline=self.deadline)

    def start(self):
        """Chooses threads, steps and shapes, and starts the processes. It measures no figure."""
        if self.candidate.is_prepared_beside_others:
            # While other peers are prepared, no speed can be measured to choose steps and shapes. A GPU
            # runs all steps and shapes.
            self.take_all()
        elif self.job == 3:
            self.choose_shapes()
        else:
            self.choose_steps()
        if self.job in self.candidate.stays:
            for more in self.rounds:
                self.served.append(Served(self.candidate, self.job, self.data, **more))

    def ready(self):
        for served in self.served:
            served.ready(self.deadline)
        self.is_ready = True
        self.check_accuracy()

    def end(self):
        while self.served:
            self.served.pop().end()

    def take_all(self):
        self.rounds = [{"shapes": self.shapes} if self.job == 3 else {"steps": self.steps}]
        for what in self.shapes if self.job == 3 else [f"job {self.job}"]:
            self.figures[what] = Figures(self.candidate, self.job, what, self.steps)

    def choose_steps(self):
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

    def check_accuracy(self):
        """Checks the accuracy in a full training if repeats are shortened, because the candidate is slow."""
        if self.job in ENOUGH and self.rounds[0]["steps"] < self.steps:
            row = self.run(**{**self.rounds[0], "steps": self.steps})[0]
            self.figures[f"job {self.job}"].accuracy = float(row["test_accuracy"])

    def choose_shapes(self):
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
        for at, more in enumerate(self.rounds):
            rows = self.served[at].measure(self.deadline) if self.served else self.run(**more)
            self.candidate.device = rows[0].get("device", self.candidate.device)
            for row in rows:
                figures = self.figures[row.get("shape", f"job {self.job}")]
                figures.values.append(float(row.get("steps_per_s") or row["gflops"]))
                if "forward_s" in row:
                    figures.forward.append(float(row["forward_s"]) / float(row["train_s"]))
                if "test_accuracy" in row and more["steps"] == self.steps:
                    reached = float(row["test_accuracy"])
                    figures.accuracy = min(reached, figures.accuracy or 1)


def groups(trials):
    """Groups of trials that are prepared at the same time, in order; wgrad comes first."""
    ours = [t for t in trials if t.candidate.is_ours]
    beside = [t for t in trials if t.candidate.is_prepared_beside_others]
    others = [t for t in trials if t not in ours + beside]
    found = [*([t] for t in ours), beside, *([t] for t in others)]
    return [group for group in found if group]


def compare(candidates, job, options, say, deadline=math.inf):
    """Yields the figures of all working candidates after each round. The other candidates keep their
    failures. The caller must close the generator, which ends all processes."""
    trials = [Trial(c, job, options) for c in candidates if job in c.jobs]
    try:
        prepare(trials, job, say, deadline)
        yield from rounds(trials, job, options, say, deadline)
    finally:
        for trial in trials:
            trial.end()


def alive(trials):
    return [t for t in trials if f"job {t.job}" not in t.candidate.failures]


def fail(trial, why, say):
    trial.end()
    trial.candidate.failures[f"job {trial.job}"] = why
    say(f"  {trial.candidate.name}: {why}")


def prepare(trials, job, say, deadline):
    # At least half of the time is for figures. A peer that hangs leaves half of the remaining
    # preparation time to the later ones.
    now = time.monotonic()
    warm = now + (deadline - now) / 2

    def attempt(trial, what):
        try:
            what()
        except Failed as failure:
            fail(trial, str(failure), say)
        except OutOfTime:
            # A speed is useful even if the table lacks the accuracy.
            if not trial.is_ready:
                fail(trial, "its part of the time for warm-ups was too short", say)

    in_order = groups(trials)
    for group in in_order:
        say(f"job {job}: preparing {', '.join(trial.candidate.name for trial in group)}")
        now = time.monotonic()
        for trial in group:
            takes_all = trial.candidate.is_ours or group is in_order[-1]
            trial.deadline = warm if takes_all else now + (warm - now) / 2
            attempt(trial, trial.start)
        for trial in alive(group):
            attempt(trial, trial.ready)


def rounds(trials, job, options, say, deadline):
    for trial in trials:
        trial.deadline = deadline
    for repeat in range(options.repeats):
        say(f"job {job}: round {repeat + 1} of {options.repeats}")
        running = alive(trials)
        # The order rotates, so that no candidate always follows the same other candidate, which has heated
        # the machine.
        shift = repeat % max(len(running), 1)
        is_late = False
        try:
            for trial in running[shift:] + running[:shift]:
                try:
                    trial.repeat()
                except Failed as failure:
                    fail(trial, str(failure), say)
        except OutOfTime:
            is_late = True
        yield [figures for trial in alive(trials) for figures in trial.figures.values()]
        if is_late:
            say(f"job {job}: no time is left")
            return
