"""Makes network.safetensors, a PyTorch network with its outputs. Tests read it on machines without PyTorch.

    python3 tests/checkpoint/network.py

Holds the weights of 3 → 4 → ReLU → 2 as `save_file` writes them, rows of features as `x`, and the network's
outputs for these rows as `outputs`. Needs `pip install torch safetensors numpy`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

torch.manual_seed(1)
layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
net = torch.nn.Module()
net.layers = layers
x = torch.randn(5, 3)
with torch.no_grad():
    tensors = {**net.state_dict(), "x": x, "outputs": layers(x)}
save_file(tensors, Path(__file__).with_suffix(".safetensors"), metadata={"format": "pt"})
