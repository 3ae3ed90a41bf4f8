"""Shared by the Python peers: options, threads, data, matmul timing, the last line, --serve.

Imports no framework at the top: `options` must set the number of threads first.
"""

import argparse
import gzip
import math
import os
import pathlib
import statistics
import sys
import time

# SGD of jobs 1 and 2.
RATE = 0.1
# Adam of job 4, as in PyTorch: epsilon is added to the root of the corrected mean.
ADAM_RATE, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-8
HIDDEN = {1: [50], 2: [1024, 1024]}
BATCH = {1: 100, 2: 1024, 4: 100}
# Job 4: the sides of the one-channel image and of the filters, and the side of the filters' output
# before and after 2x2 pooling.
SIDE, FILTERS, KERNEL = 28, 30, 5
CONVOLVED = SIDE - KERNEL + 1
POOLED = CONVOLVED // 2
INIT_STD = 0.01


def options(modes, devices=("cpu",)):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--data", type=pathlib.Path, help="directory of the four IDX files")
    parser.add_argument("--job", type=int, choices=[1, 2, 3, 4], default=1)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shapes", nargs="*", default=[], help="job 3: MxKxN ...")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--device", choices=devices, default=devices[0])
    parser.add_argument("--tf32", action="store_true", help="CUDA: matrix products in TF32")
    parser.add_argument("--serve", action="store_true", help="measure once for each line of stdin")
    args = parser.parse_args()
    if args.job != 3 and args.data is None:
        parser.error("--data is required for jobs 1, 2 and 4")
    limit_threads(args.threads)
    return args


def limit_threads(count):
    """Limits all thread pools. Each reads one of these variables, or counts the process's cores."""
    for name in ("OMP", "MKL", "OPENBLAS", "VECLIB_MAXIMUM", "NUMEXPR"):
        os.environ[name + "_NUM_THREADS"] = str(count)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:count])


def read_idx(directory, name):
    path = directory / name
    opened = path.open("rb") if path.exists() else gzip.open(str(path) + ".gz")
    with opened as file:
        content = file.read()
    dimensions = content[3]
    shape = [
        int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)
    ]
    return shape[0], content[4 + 4 * dimensions :]


def load(directory):
    """x as float32 in 0...1 and labels as int64, for the training set and the test set."""
    import numpy

    arrays = []
    for part in ("train", "t10k"):
        count, pixels = read_idx(directory, part + "-images-idx3-ubyte")
        _, labels = read_idx(directory, part + "-labels-idx1-ubyte")
        x = numpy.frombuffer(pixels, numpy.uint8).reshape(count, -1)
        arrays.append(x.astype(numpy.float32) / numpy.float32(255))
        arrays.append(numpy.frombuffer(labels, numpy.uint8).astype(numpy.int64))
    return arrays


def shapes(job, inputs):
    """Shapes of the weight matrices (inputs, outputs). Job 4's filters come first."""
    if job == 4:
        return [(KERNEL**2, FILTERS), (FILTERS * POOLED**2, 100), (100, 10)]
    widths = [inputs, *HIDDEN[job], 10]
    return list(zip(widths, widths[1:]))


def initial(job, inputs, seed):
    """Weights (inputs, outputs) drawn from 0.01 N(0, 1) and zero biases, layer by layer."""
    import numpy

    rng = numpy.random.default_rng(seed)
    for rows, columns in shapes(job, inputs):
        w = rng.standard_normal((rows, columns), dtype=numpy.float32)
        yield w * numpy.float32(INIT_STD), numpy.zeros(columns, numpy.float32)


def report(peer, args, train_s, warmup_s, accuracy, losses, forward_s=None):
    """`losses` is the mean loss of the last steps. A run that diverged is not a measurement.

    `forward_s` is the time of the forward passes of as many steps as `train_s`.
    """
    if not losses < 10:
        raise SystemExit(f"{peer}: the loss is {losses}")
    print(
        f"peer={peer} job={args.job} steps={args.steps} train_s={train_s:.4f} "
        f"warmup_s={warmup_s:.2f} steps_per_s={args.steps / train_s:.1f} "
        f"test_accuracy={accuracy:.4f}"
        + ("" if forward_s is None else f" forward_s={forward_s:.4f}"),
        flush=True,
    )


def warmup_steps(args):
    return min(args.steps, 100 if args.job == 1 else 5)


def answer(args, warm_up, measure):
    """Measures once, or with --serve once for each line of the input.

    The caller has prepared the run, with one `warm_up()`. While other programs are measured, clock rates
    and the contents of caches change, so each line starts with another `warm_up()`.
    """
    if not args.serve:
        return measure()
    print("ready", flush=True)
    for _ in sys.stdin:
        warm_up()
        measure()
        print("done", flush=True)


def sample(multiply, minimum_s=0.3):
    """Seconds per product: the median of seven samples, each long enough for the clock's resolution.

    The number of products per sample is determined again in each call, for two reasons: the products that
    this takes warm up the device, and times measured while several peers are prepared mean nothing.
    """
    multiply(1)
    count, spent = 1, 0.0
    while spent < minimum_s / 7:
        started = time.perf_counter()
        multiply(count)
        spent = time.perf_counter() - started
        count = count if spent >= minimum_s / 7 else 2 * count
    samples = []
    for _ in range(7):
        started = time.perf_counter()
        multiply(count)
        samples.append((time.perf_counter() - started) / count)
    return statistics.median(samples)


def matmuls(peer, args, make):
    """`make(m, k, n)` returns a function that computes `count` products and waits for the last."""
    sizes = {shape: [int(size) for size in shape.split("x")] for shape in args.shapes}
    products = {shape: make(*sizes[shape]) for shape in args.shapes}

    def warm_up():
        for multiply in products.values():
            multiply(1)

    def measure():
        for shape, multiply in products.items():
            gflops = 2e-9 * math.prod(sizes[shape]) / sample(multiply)
            print(f"peer={peer} job=3 shape={shape} gflops={gflops:.1f}", flush=True)

    warm_up()
    answer(args, warm_up, measure)
