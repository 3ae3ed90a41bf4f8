"""Loads weights that wgrad has saved into PyTorch, and saves PyTorch's for wgrad.

    python3 examples/pytorch.py DIRECTORY

Reads `ours.safetensors` (784 → 50 → 10 with ReLU) and `x.f32` (rows of 784 floats) in that directory;
writes the logits of x as `ours.f32`, another network as `theirs.safetensors`, and its logits as
`theirs.f32`. Needs `pip install torch safetensors numpy`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file


class Net(torch.nn.Module):
    """A network whose parameters have the names that wgrad gives them: layers.0.weight, …"""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10)
        )

    def forward(self, x):
        return self.layers(x)


def main(directory):
    x = np.fromfile(directory / "x.f32", np.float32).reshape(-1, 784)
    x = torch.from_numpy(x)

    ours = Net()
    tensors = load_file(directory / "ours.safetensors")
    # A training's file also holds what its optimizer keeps.
    weights = {name: t for name, t in tensors.items() if not name.startswith("optimizer.")}
    ours.load_state_dict(weights)
    theirs = Net()
    save_file(theirs.state_dict(), directory / "theirs.safetensors")
    with torch.no_grad():
        for name, net in [("ours", ours), ("theirs", theirs)]:
            net(x).numpy().tofile(directory / f"{name}.f32")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
