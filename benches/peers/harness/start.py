"""Measures a program from the start of its process to its end, with one step of job 1."""

import shutil
import tempfile
import time
from pathlib import Path

from .measure import Failed, OutOfTime, first_step, run

# The variables that set where drivers, compilers and libraries cache compiled code.
CACHES = (
    "CUDA_CACHE_PATH",
    "MESA_SHADER_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "XDG_CACHE_HOME",
    "__GL_SHADER_DISK_CACHE_PATH",
)


def measure(candidates, data, deadline, say):
    """Reports each program's times, with empty caches and with caches that the run before has filled.
    Returns whether all are complete."""
    is_complete = True
    say("seconds from the start of a process to its end: it reads MNIST, takes one step, evaluates;")
    say("first_step: of wgrad, to the end of that step")
    for candidate in candidates:
        found = {"empty": [], "filled": []}
        try:
            for _ in range(5 if candidate.is_ours else 1):
                directory = tempfile.mkdtemp()
                try:
                    for seconds in found.values():
                        seconds.append(once(candidate, data, deadline, directory))
                finally:
                    # A compiler's workers may still be writing there.
                    shutil.rmtree(directory, ignore_errors=True)
        except Failed as failure:
            is_complete = False
            say(f"{candidate.name}: {failure}")
        except OutOfTime:
            is_complete = False
            say(f"{candidate.name}: no time was left")
        for state, seconds in found.items():
            if not seconds:
                continue
            figures = f"seconds={joined(end for end, _ in seconds)}"
            if candidate.is_ours:
                figures += f" first_step={joined(step for _, step in seconds)}"
            say(f"start peer={candidate.name} caches={state} {figures}")
    return is_complete


def once(candidate, data, deadline, caches):
    """Seconds from the start of a process to its end and, for wgrad, to the end of its step."""
    env = {name: caches for name in CACHES}
    with tempfile.TemporaryDirectory() as directory:
        losses = Path(directory) / "losses.csv"
        # `time.time` is the clock of file times. `train_gpu` writes the loss to the file after the readback of
        # the loss, and writes nothing to it later. So the time of the file is the end of the step.
        begun = time.time()
        run(first_step(candidate, data, losses), deadline=deadline, env=env)
        end = time.time() - begun
        return end, losses.stat().st_mtime - begun if candidate.is_ours else None


def joined(seconds):
    return ",".join(f"{value:.2f}" for value in seconds)
