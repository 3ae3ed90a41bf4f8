"""Writes golden/vectors/scheduled_sgd.safetensors and scheduled_adam.safetensors: needs torch, numpy and safetensors.

    python3 golden/scripts/scheduled.py golden/vectors

Trainings on classes in doubles, with a learning rate that a scheduler of PyTorch's changes after each step.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.optim import lr_scheduler

ROWS, FEATURES, CLASSES, BATCH, STEPS, ASKED = 48, 6, 3, 8, 40, 20
NETWORK = [
    {"layer": "linear", "outputs": 7},
    {"layer": "tanh"},
    {"layer": "linear", "outputs": CLASSES},
]
WARM_UP = 5


def step_lr(optimizer):
    return lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.5)


def warm_up_and_cosine(optimizer):
    """In five steps, raises the learning rate from 1/5 of it to all of it. Then it falls to 0 by half a cosine wave."""
    warm_up = lr_scheduler.LinearLR(optimizer, start_factor=1 / WARM_UP, total_iters=WARM_UP - 1)
    wave = lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS - WARM_UP)
    return lr_scheduler.SequentialLR(optimizer, [warm_up, wave], milestones=[WARM_UP])


def train(optimizer, rate, scheduler, settings, path):
    torch.manual_seed(1)
    layers = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 7), torch.nn.Tanh(), torch.nn.Linear(7, CLASSES)
    )
    net = torch.nn.Module()
    net.layers = layers
    parameters = lambda role: {
        f"{role}.{name}": value.detach().clone() for name, value in net.state_dict().items()
    }
    x, t = torch.randn(ROWS, FEATURES), torch.randint(CLASSES, (ROWS,))
    indices = torch.randint(ROWS, (STEPS, BATCH))
    tensors = {"x": x, "t": t.int(), "indices": indices.int(), **parameters("init")}
    net.double()
    optimizer = optimizer(net.parameters(), lr=rate)
    scheduler = scheduler(optimizer)
    losses = []
    for step, rows in enumerate(indices):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layers(x[rows].double()), t[rows])
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            for name, parameter in net.named_parameters():
                tensors[f"first_gradient.{name}"] = parameter.grad.clone()
        optimizer.step()
        scheduler.step()
    tensors |= parameters("final")
    tensors["losses"] = torch.stack(losses)
    tensors["evaluated"] = layers(x[:ASKED].double()).detach()
    metadata = {
        "kind": "network",
        "input": f"[{FEATURES}]",
        "network": json.dumps(NETWORK),
        "data": "tensors",
        "loss": "softmax_cross_entropy",
        "learning_rate": str(rate),
        "batch": str(BATCH),
        "steps": str(STEPS),
        **settings,
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)


directory = Path(sys.argv[1])
settings = {"optimizer": "sgd", "scheduler": "step_lr", "step_size": "7", "gamma": "0.5"}
train(torch.optim.SGD, 0.6, step_lr, settings, directory / "scheduled_sgd.safetensors")
settings = {
    "optimizer": "adam",
    "scheduler": "cosine_annealing_lr",
    "T_max": str(STEPS - WARM_UP),
    "warm_up": str(WARM_UP),
}
train(torch.optim.Adam, 0.05, warm_up_and_cosine, settings, directory / "scheduled_adam.safetensors")
