"""Writes tests/training/learning_rates.json: needs torch.

    python3 tests/training/learning_rates.py tests/training/learning_rates.json

Learning rates by PyTorch's OneCycleLR and ReduceLROnPlateau, as factors of a rate of 1, in doubles.
"""

import json
import math
import random
import sys
from pathlib import Path

import torch
from torch.optim import lr_scheduler


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def one_cycle(total_steps, **settings):
    """The factor of every step."""
    sgd = optimizer()
    cycle = lr_scheduler.OneCycleLR(
        sgd, max_lr=1.0, total_steps=total_steps, cycle_momentum=False, **settings
    )
    factors = [sgd.param_groups[0]["lr"]]
    for _ in range(total_steps - 1):
        sgd.step()
        cycle.step()
        factors.append(sgd.param_groups[0]["lr"])
    return {"total_steps": total_steps, **settings, "factors": factors}


def plateau(mode, metrics, **settings):
    """The factor after each metric."""
    sgd = optimizer()
    # `eps`, the smallest change that is made, is 0: PyTorch compares it with a change of the rate, not of the factor.
    scheduler = lr_scheduler.ReduceLROnPlateau(sgd, mode, eps=0, **settings)
    factors = []
    for metric in metrics:
        scheduler.step(metric)
        factors.append(sgd.param_groups[0]["lr"])
    return {"mode": mode, "metrics": metrics, **settings, "factors": factors}


def falling(seed, count):
    """Losses that fall less and less, with noise."""
    numbers = random.Random(seed)
    return [math.exp(-step / 8) + 0.2 + 0.02 * numbers.random() for step in range(count)]


table = {
    "one_cycle": [
        one_cycle(100),
        one_cycle(37, pct_start=0.1),
        one_cycle(50, div_factor=4.0, final_div_factor=10.0),
        one_cycle(20, pct_start=0.0),
        one_cycle(20, pct_start=1.0),
        one_cycle(2),
        one_cycle(1),
    ],
    "plateau": [
        plateau("min", falling(1, 120)),
        plateau("min", falling(2, 60), factor=0.5, patience=2),
        plateau("min", falling(3, 60), factor=0.5, patience=0, min_lr=0.05),
        plateau("min", falling(4, 60), factor=0.3, patience=1, cooldown=4, threshold=0.1),
        plateau("max", [1.3 - loss for loss in falling(5, 60)], factor=0.5, patience=3),
        plateau("max", [-loss for loss in falling(6, 40)], factor=0.5, patience=1, threshold=0.0),
        # With the default threshold, 0.9999 does not count as better than 1, but the next metric does.
        plateau("min", [1.0, 0.9999, 0.99989, 0.99989], patience=0),
        plateau("max", [1.0, 1.0001, 1.00011, 1.00011], patience=0),
    ],
}

def lines(cases):
    return "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"


members = [f"{json.dumps(name)}: {lines(cases)}" for name, cases in table.items()]
Path(sys.argv[1]).write_text("{" + ",\n".join(members) + "}\n")
