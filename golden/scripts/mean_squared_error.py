"""Writes golden/vectors/mean_squared_error.safetensors: needs torch, numpy and safetensors.

    python3 golden/scripts/mean_squared_error.py golden/vectors/mean_squared_error.safetensors
"""

import sys

import torch
from safetensors.torch import save_file

SHAPES = {"one": (1, 1), "small": (3, 2), "column": (129, 1), "batch": (100, 10), "wide": (3, 997)}

torch.manual_seed(1)
tensors = {}
for name, shape in SHAPES.items():
    tensors[f"{name}.y"], tensors[f"{name}.targets"] = torch.randn(2, *shape)
# Numbers of both signs, scaled by 2⁻⁴⁰ to 2⁴⁰. A tenth of the targets equal the outputs `y`.
exponents = torch.randint(-40, 41, (2, 50, 7))
y, targets = torch.randn(2, 50, 7) * 2.0**exponents
tensors["extreme.y"] = y
tensors["extreme.targets"] = torch.where(torch.rand(50, 7) < 0.1, y, targets)

for name in [*SHAPES, "extreme"]:
    y = tensors[f"{name}.y"].double().requires_grad_()
    loss = torch.nn.functional.mse_loss(y, tensors[f"{name}.targets"].double())
    loss.backward()
    tensors[f"{name}.loss"], tensors[f"{name}.dy"] = loss.detach(), y.grad
tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
save_file(tensors, sys.argv[1], metadata={"kind": "op", "op": "mean_squared_error"})
