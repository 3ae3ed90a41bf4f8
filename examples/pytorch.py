"""Loads weights that wgrad has saved, and saves weights of a PyTorch network for wgrad.

    python3 examples/pytorch.py DIRECTORY

Reads three files in that directory: `widths.txt` (such as `784 50 10`: linear layers with ReLU between
them), the weights `ours.safetensors`, and `x.f32` (rows of features). Writes the network's outputs for these
rows as `ours.f32`. Also writes the weights of another network as `theirs.safetensors`, and its outputs for the
same rows as `theirs.f32`. Needs `pip install torch safetensors numpy`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file


class Net(torch.nn.Module):
    """A network whose parameters have the names that wgrad gives them: layers.0.weight, …"""

    def __init__(self, widths):
        super().__init__()
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.layers(x)


def main(directory):
    widths = [int(width) for width in (directory / "widths.txt").read_text().split()]
    x = np.fromfile(directory / "x.f32", np.float32).reshape(-1, widths[0])
    x = torch.from_numpy(x)

    ours = Net(widths)
    tensors = load_file(directory / "ours.safetensors")
    # A file saved during training also holds the optimizer's state.
    weights = {name: t for name, t in tensors.items() if not name.startswith("optimizer.")}
    ours.load_state_dict(weights)
    theirs = Net(widths)
    save_file(theirs.state_dict(), directory / "theirs.safetensors")
    with torch.no_grad():
        for name, net in [("ours", ours), ("theirs", theirs)]:
            net(x).numpy().tofile(directory / f"{name}.f32")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
