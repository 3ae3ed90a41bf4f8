"""PyTorch: eager mode, the whole step compiled, or CUDA graphs of either."""

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
    if args.job == 4:
        x, parameters = pooled(*parameters[:2], x), parameters[2:]
    layers = list(zip(parameters[::2], parameters[1::2]))
    for w, b in layers[:-1]:
        x = torch.relu(torch.addmm(b, x, w))
    w, b = layers[-1]
    return torch.addmm(b, x, w)


def pooled(filters, b, x):
    """The first layers of job 4."""
    images = x.view(-1, 1, common.SIDE, common.SIDE)
    return F.max_pool2d(torch.relu(F.conv2d(images, filters, b)), 2).flatten(1)


def loss_of(parameters, x, labels):
    return F.cross_entropy(forward(parameters, x), labels)


def gather(x, labels, indices):
    return x.index_select(0, indices), labels.index_select(0, indices)


class Sgd:
    def __init__(self, parameters):
        self.parameters = parameters

    def begin(self):
        pass

    def eager(self, gradients):
        torch._foreach_add_(self.parameters, gradients, alpha=-common.RATE)

    def whole(self, gradients):
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.sub_(common.RATE * gradient)


class Adam:
    """PyTorch's own Adam for eager steps. For the compiler, its formula with the step count in a tensor."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.m, self.v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        self.taken = torch.zeros((), device=args.device)
        # In a CUDA graph, the step count must be on the device.
        more = {"capturable": True} if ON_CUDA else {}
        betas = (common.BETA1, common.BETA2)
        self.own = torch.optim.Adam(
            parameters, common.ADAM_RATE, betas, common.EPSILON, fused=True, **more
        )

    def begin(self):
        """Resets the state in place: a CUDA graph has captured its memory."""
        states = [tensor for state in self.own.state.values() for tensor in state.values()]
        torch._foreach_zero_([self.taken, *self.m, *self.v, *states])

    def eager(self, gradients):
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        self.own.step()

    def whole(self, gradients):
        self.taken.add_(1)
        first, second = 1 - common.BETA1**self.taken, 1 - common.BETA2**self.taken
        for parameter, gradient, m, v in zip(self.parameters, gradients, self.m, self.v):
            m.lerp_(gradient, 1 - common.BETA1)
            v.lerp_(gradient * gradient, 1 - common.BETA2)
            root = (v / second).sqrt() + common.EPSILON
            parameter.sub_(common.ADAM_RATE / first * m / root)


def eager_step(optimizer, x, labels, indices):
    parameters = optimizer.parameters
    loss = loss_of(parameters, *gather(x, labels, indices))
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        optimizer.eager(gradients)
    return loss.detach()


def whole_step(optimizer, x, labels, indices):
    """A step as one graph for the compiler."""
    rows = gather(x, labels, indices)
    gradients, loss = torch.func.grad_and_value(loss_of)(optimizer.parameters, *rows)
    optimizer.whole(gradients)
    return loss


def forward_step(optimizer, x, labels, indices):
    """The forward part of a step. It also saves the values for a backward pass, unless autograd is off."""
    return loss_of(optimizer.parameters, *gather(x, labels, indices)).detach()


def looped(step, optimizer, x, labels, batch):
    def run(steps):
        indices = torch.randint(len(x), (steps, batch), device=x.device)
        losses = [step(optimizer, x, labels, each) for each in indices.unbind(0)]
        return torch.stack(losses)

    return run


def capture(work):
    """A CUDA graph of `work()`, and the result of `work()`: memory that every replay overwrites."""
    # Run first, so that everything is compiled, loaded and chosen before the capture. It uses another
    # stream, because the default stream cannot be captured.
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


def captured(step, optimizer, x, labels, batch, steps):
    """Replays a CUDA graph of some steps. The graph also draws the minibatches: the default generator
    continues from replay to replay."""
    count = math.gcd(steps, 100)
    some = looped(step, optimizer, x, labels, batch)
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
    if args.job == 4:
        initial[0] = initial[0].t().reshape(-1, 1, common.KERNEL, common.KERNEL).contiguous()
    is_compiled, is_captured = "compile" in args.mode, "graphs" in args.mode
    parameters = [p.clone().requires_grad_(not is_compiled) for p in initial]
    optimizer = (Adam if args.job == 4 else Sgd)(parameters)

    def prepared(step):
        step = torch.compile(step, dynamic=False) if is_compiled else step
        problem = (step, optimizer, x, labels, common.BATCH[args.job])
        return captured(*problem, args.steps) if is_captured else looped(*problem)

    def warm_up():
        for each in filter(None, (run, run_forward)):
            each(args.steps if is_captured else common.warmup_steps(args))
        synchronize()

    started = time.perf_counter()
    run = prepared(whole_step if is_compiled else eager_step)
    run_forward = prepared(forward_step) if args.job == 4 else None
    warm_up()
    warmup_s = time.perf_counter() - started

    def seconds(run):
        synchronize()
        begun = time.perf_counter()
        losses = run(args.steps).cpu()
        return time.perf_counter() - begun, losses[-20:].mean().item()

    def measure():
        # In place: a CUDA graph has captured the memory.
        with torch.no_grad():
            torch._foreach_copy_(parameters, initial)
        optimizer.begin()
        train_s, loss = seconds(run)
        forward_s = seconds(run_forward)[0] if run_forward else None
        with torch.no_grad():
            logits = torch.cat([forward(parameters, rows) for rows in test_x.split(1000)])
        accuracy = (logits.argmax(1) == test_labels).double().mean().item()
        common.report(NAME, args, train_s, warmup_s, accuracy, loss, forward_s)

    common.answer(args, warm_up, measure)


def product(m, k, n):
    a, b = (torch.randn(shape, device=args.device) for shape in ((m, k), (k, n)))
    c = torch.empty(m, n, device=args.device)
    # A small product ends before Python has launched the next one. So a CUDA graph has up to 100 products.
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
