"""How long a program takes from the start of its process to its end, with one step of job 1."""

import shutil
import tempfile
import time

from .measure import Failed, OutOfTime, first_step, run

# Where drivers, compilers and libraries keep what they compiled.
CACHES = (
    "CUDA_CACHE_PATH",
    "MESA_SHADER_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "XDG_CACHE_HOME",
    "__GL_SHADER_DISK_CACHE_PATH",
)


def measure(candidates, data, deadline, say):
    """Lines for each program: with caches that are empty, and with what the run before left there.
    Whether all are complete."""
    is_complete = True
    say("seconds from the start of a process to its end: it reads MNIST, takes one step, evaluates")
    for candidate in candidates:
        seconds = {"empty": [], "filled": []}
        try:
            for _ in range(5 if candidate.is_ours else 1):
                directory = tempfile.mkdtemp()
                try:
                    env = {name: directory for name in CACHES}
                    for caches in seconds.values():
                        begun = time.perf_counter()
                        run(first_step(candidate, data), deadline=deadline, env=env)
                        caches.append(time.perf_counter() - begun)
                finally:
                    # A compiler's workers may still write there.
                    shutil.rmtree(directory, ignore_errors=True)
        except Failed as failure:
            is_complete = False
            say(f"{candidate.name}: {failure}")
        except OutOfTime:
            is_complete = False
            say(f"{candidate.name}: no time was left")
        for state, found in seconds.items():
            if not found:
                continue
            values = ",".join(f"{value:.2f}" for value in found)
            say(f"start peer={candidate.name} caches={state} seconds={values}")
    return is_complete
