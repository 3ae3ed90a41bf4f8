"""PyTorch: eager, the whole step compiled, or CUDA graphs of either."""

import math
import time

import common

MODES = ["eager", "compile", "graphs", "compile-graphs"]
args = common.options(MODES, devices=("cpu", "cuda"))

import torch  # after the number of threads is set
from torch.nn import functional as F

NAME = "torch-" + args.mode + ("-tf32" if args.tf32 else "")
ON_CUDA = args.device == "cuda"

torch.set_num_threads(args.threads)
torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
torch.manual_seed(args.seed)


def synchronize():
    if ON_CUDA:
        torch.cuda.synchronize()


def forward(parameters, x):
    layers = list(zip(parameters[::2], parameters[1::2]))
    for w, b in layers[:-1]:
        x = torch.relu(torch.addmm(b, x, w))
    w, b = layers[-1]
    return torch.addmm(b, x, w)


def loss_of(parameters, x, labels):
    return F.cross_entropy(forward(parameters, x), labels)


def gather(x, labels, indices):
    return x.index_select(0, indices), labels.index_select(0, indices)


def eager_step(parameters, x, labels, indices):
    loss = loss_of(parameters, *gather(x, labels, indices))
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        torch._foreach_add_(parameters, gradients, alpha=-common.RATE)
    return loss.detach()


def whole_step(parameters, x, labels, indices):
    """The same as one graph for the compiler."""
    rows = gather(x, labels, indices)
    gradients, loss = torch.func.grad_and_value(loss_of)(parameters, *rows)
    for parameter, gradient in zip(parameters, gradients):
        parameter.sub_(common.RATE * gradient)
    return loss


def looped(step, parameters, x, labels, batch):
    def run(steps):
        indices = torch.randint(len(x), (steps, batch), device=x.device)
        losses = [step(parameters, x, labels, each) for each in indices.unbind(0)]
        return torch.stack(losses)

    return run


def capture(work):
    """A CUDA graph of `work()`, and what it returned: memory that every replay writes anew."""
    # What is compiled, loaded or chosen at first use must be so before: on a stream of its own, as
    # capturing is not allowed on the default one.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result


def captured(step, parameters, x, labels, batch, steps):
    """Replays a CUDA graph of some steps, in which the minibatches are drawn as well: the default
    generator goes on from replay to replay."""
    count = math.gcd(steps, 100)
    some = looped(step, parameters, x, labels, batch)
    graph, losses = capture(lambda: some(count))

    def run(steps):
        history = torch.empty(steps, device=x.device)
        for first in range(0, steps, count):
            graph.replay()
            history[first : first + count].copy_(losses)
        return history

    return run


def train():
    arrays = common.load(args.data)
    x, labels, test_x, test_labels = (torch.from_numpy(a).to(args.device) for a in arrays)
    layers = common.initial(args.job, x.shape[1], args.seed)
    initial = [torch.from_numpy(array).to(args.device) for layer in layers for array in layer]
    is_compiled, is_captured = "compile" in args.mode, "graphs" in args.mode
    parameters = [p.clone().requires_grad_(not is_compiled) for p in initial]
    step = torch.compile(whole_step, dynamic=False) if is_compiled else eager_step
    problem = (step, parameters, x, labels, common.BATCH[args.job])

    started = time.perf_counter()
    run = captured(*problem, args.steps) if is_captured else looped(*problem)

    def warm_up():
        run(args.steps if is_captured else common.warmup_steps(args))
        synchronize()

    warm_up()
    warmup_s = time.perf_counter() - started

    def measure():
        # Into the same memory, which a CUDA graph has captured.
        with torch.no_grad():
            torch._foreach_copy_(parameters, initial)
        synchronize()
        begun = time.perf_counter()
        losses = run(args.steps).cpu()
        train_s = time.perf_counter() - begun
        with torch.no_grad():
            hits = forward(parameters, test_x).argmax(1) == test_labels
        accuracy, loss = hits.double().mean().item(), losses[-20:].mean().item()
        common.report(NAME, args, train_s, warmup_s, accuracy, loss)

    common.answer(args, warm_up, measure)


def product(m, k, n):
    a, b = (torch.randn(shape, device=args.device) for shape in ((m, k), (k, n)))
    c = torch.empty(m, n, device=args.device)
    # A small product is over before Python has launched the next.
    together = max(1, min(100, 2**30 // (m * k * n))) if args.mode == "graphs" else 1

    def some(count):
        for _ in range(count):
            torch.mm(a, b, out=c)

    graph = capture(lambda: some(together))[0] if args.mode == "graphs" else None

    def multiply(count):
        replays, rest = divmod(count, together) if graph else (0, count)
        for _ in range(replays):
            graph.replay()
        some(rest)
        synchronize()

    return multiply


if args.job == 3:
    common.matmuls(NAME, args, product)
else:
    train()
