"""Writes tests/training/steering.safetensors: needs torch, numpy and safetensors.

    python3 tests/training/steering.py tests/training/steering.safetensors

Trainings in doubles that are steered: frozen layers, groups of parameters, a moving average, another learning rate and
another optimizer on the way, and steps that add up the gradients of several minibatches. Settings are rounded to 32-bit
floats first, because wgrad stores them so.
"""

import sys

import numpy
import torch
from safetensors.torch import save_file

ROWS, BATCH, STEPS = 40, 8, 30


def single(value):
    return float(numpy.float32(value))


def product(a, b):
    return float(numpy.float32(a) * numpy.float32(b))


def by_adam(kind, parameters, rate, **settings):
    betas = (single(0.9), single(0.999))
    return kind(parameters, lr=single(rate), betas=betas, eps=single(1e-8), **settings)


def groups(net, decay):
    """Weights, which decay, and biases, which do not."""
    named = [pair for pair in net.named_parameters() if pair[1].requires_grad]
    weights = [value for name, value in named if name.endswith("weight")]
    biases = [value for name, value in named if name.endswith("bias")]
    return [
        {"params": weights, "weight_decay": single(decay)},
        {"params": biases, "weight_decay": 0.0},
    ]


torch.manual_seed(3)
layers = [torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 8), torch.nn.Tanh()]
net = torch.nn.Module()
net.layers = torch.nn.Sequential(*layers, torch.nn.Linear(8, 3))
x, t = torch.randn(ROWS, 6), torch.randn(ROWS, 3)
indices = torch.randint(ROWS, (STEPS, BATCH))
initial = {name: value.detach().clone() for name, value in net.state_dict().items()}
tensors = {"x": x, "t": t, "indices": indices.int()}
tensors |= {f"init.{name}": value for name, value in initial.items()}
x, t = x.double(), t.double()
net.double()


def minibatches_of(step, count):
    """The `count` minibatches of a step. Steps take the list in order; after its end, they start at its beginning."""
    steps = indices.reshape(-1, count, BATCH)
    return steps[step % len(steps)]


def train(
    case,
    optimizer,
    before_step=lambda step, optimizer: optimizer,
    clip=None,
    decay=None,
    accumulated=lambda step: 1,
):
    average = {name: value.detach().clone() for name, value in net.named_parameters()}
    losses = []
    for step in range(STEPS):
        optimizer = before_step(step, optimizer)
        net.zero_grad()
        loss, count = 0, accumulated(step)
        for rows in minibatches_of(step, count):
            part = torch.nn.functional.mse_loss(net.layers(x[rows]), t[rows]) / count
            part.backward()
            loss += part.detach()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(net.parameters(), single(clip))
        optimizer.step()
        losses.append(loss)
        if decay is not None:
            share = float(numpy.float32(1) - numpy.float32(decay))
            for name, value in net.named_parameters():
                average[name] += share * (value.detach() - average[name])
    tensors[f"{case}.losses"] = torch.stack(losses)
    for name, value in net.named_parameters():
        tensors[f"{case}.final.{name}"] = value.detach().clone()
        if decay is not None:
            tensors[f"{case}.average.{name}"] = average[name]
        value.requires_grad_(True)
    begin_anew()


def begin_anew():
    net.load_state_dict({name: value.double() for name, value in initial.items()})


begin_anew()

net.layers[0].requires_grad_(False)
trained = [value for value in net.parameters() if value.requires_grad]
train("frozen", by_adam(torch.optim.Adam, trained, 0.02))


def by_adam_in_groups():
    first, later = net.layers[0], [net.layers[2], net.layers[4]]
    slow = product(0.02, 0.1)
    groups = [
        {"params": [first.weight], "lr": slow, "weight_decay": single(0.5)},
        {"params": [first.bias], "lr": slow, "weight_decay": 0.0},
        {"params": [layer.weight for layer in later], "weight_decay": single(0.05)},
        {"params": [layer.bias for layer in later], "weight_decay": 0.0},
    ]
    return by_adam(torch.optim.AdamW, groups, 0.02)


train("groups", by_adam_in_groups())

momentum = torch.optim.SGD(net.parameters(), lr=single(0.05), momentum=single(0.9))
train("average", momentum, decay=0.9)


def rate_and_optimizer(step, optimizer):
    if step == 15:
        for group in optimizer.param_groups:
            group["lr"] = single(0.01)
    if step == 20:
        state = optimizer.state
        optimizer = by_adam(torch.optim.AdamW, groups(net, 0.5), 0.01)
        optimizer.state = state
    return optimizer


train("changes", by_adam(torch.optim.Adam, net.parameters(), 0.02), rate_and_optimizer)

net.layers[2].requires_grad_(False)
train("clipped", torch.optim.SGD(groups(net, 0.05), lr=single(0.3)), clip=0.25)

train("accumulated", by_adam_in_groups(), accumulated=lambda step: 3)

# Among the steps of five minibatches, and among those of two, the gradients of some are clipped, and of others not.
net.layers[0].requires_grad_(False)
train(
    "accumulated_later",
    torch.optim.SGD(groups(net, 0.05), lr=single(0.1), momentum=single(0.9)),
    clip=0.35,
    decay=0.9,
    accumulated=lambda step: [1, 5, 2][step // 10],
)

save_file({name: value.contiguous() for name, value in tensors.items()}, sys.argv[1])
