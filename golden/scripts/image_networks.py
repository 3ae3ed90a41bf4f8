"""Writes trainings of small networks over images, by PyTorch in doubles:

    python3 golden/scripts/image_networks.py golden/vectors

`residual_images_momentum`: a residual connection around convolutions with batch normalization, pools that overlap,
strides, padding and dilation. `normalized_images_rms_prop`: a training on target values, with layer normalization of
images, average pooling, and a named value (layer "mark") that is added twice. Needs torch and numpy.
"""

import json
import struct
import sys

import numpy as np
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

RESIDUAL = [
    {"layer": "conv2d", "outputs": 3, "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1]},
    {"layer": "batch_norm", "eps": 1e-3, "momentum": 0.2},
    {"layer": "relu"},
    {"layer": "mark", "name": "block"},
    {"layer": "conv2d", "outputs": 3, "kernel": [3, 3], "stride": [1, 1], "padding": [2, 2], "dilation": [2, 2]},
    {"layer": "batch_norm", "eps": 1e-5, "momentum": 0.1},
    {"layer": "leaky_relu", "slope": 0.25},
    {"layer": "add", "name": "block"},
    {"layer": "max_pool2d", "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1]},
    {"layer": "conv2d", "outputs": 4, "kernel": [2, 3], "stride": [2, 1], "padding": [0, 1]},
    {"layer": "batch_norm", "eps": 1e-5, "momentum": 0.1},
    {"layer": "avg_pool2d", "kernel": [2, 2], "stride": [1, 2], "padding": [1, 0]},
    {"layer": "flatten"},
    {"layer": "linear", "outputs": 5},
]
NORMALIZED = [
    {"layer": "layer_norm", "eps": 1e-5},
    {"layer": "conv2d", "outputs": 2, "kernel": [3, 2], "stride": [1, 1], "padding": [0, 0]},
    {"layer": "mark", "name": "here"},
    {"layer": "gelu"},
    {"layer": "add", "name": "here"},
    {"layer": "tanh"},
    {"layer": "add", "name": "here"},
    {"layer": "avg_pool2d", "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1]},
    {"layer": "layer_norm", "eps": 1e-3},
    {"layer": "max_pool2d", "kernel": [2, 2], "stride": [1, 1], "padding": [0, 0]},
    {"layer": "linear", "outputs": 3},
]


def made(layer, shape):
    """The module of a layer, for rows of this shape."""
    kind = layer["layer"]
    if kind == "conv2d":
        sizes = {key: tuple(layer[key]) for key in ("stride", "padding", "dilation") if key in layer}
        return nn.Conv2d(shape[0], layer["outputs"], tuple(layer["kernel"]), **sizes)
    if kind in ("max_pool2d", "avg_pool2d"):
        pool = nn.MaxPool2d if kind == "max_pool2d" else nn.AvgPool2d
        return pool(tuple(layer["kernel"]), tuple(layer["stride"]), tuple(layer["padding"]))
    if kind == "batch_norm":
        return nn.BatchNorm2d(shape[0], layer["eps"], layer["momentum"])
    if kind == "layer_norm":
        return nn.LayerNorm(list(shape), layer["eps"])
    if kind == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), layer["outputs"]))
    if kind == "leaky_relu":
        return nn.LeakyReLU(layer["slope"])
    return {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "flatten": nn.Flatten}[kind]()


class Network(nn.Module):
    def __init__(self, layers, shape):
        super().__init__()
        self.of = layers
        self.made = nn.ModuleDict()
        x = torch.zeros(2, *shape)
        for index, layer in enumerate(layers):
            if layer["layer"] not in ("mark", "add"):
                self.made[str(index)] = made(layer, x.shape[1:])
                # Runs the layer in evaluation mode to get its output's shape, so that no running value changes.
                x = self.made[str(index)].eval()(x)

    def forward(self, x):
        marks = {}
        for index, layer in enumerate(self.of):
            if layer["layer"] == "mark":
                marks[layer["name"]] = x
            elif layer["layer"] == "add":
                x = x + marks[layer["name"]]
            else:
                x = self.made[str(index)](x)
        return x

    def tensors(self, role, of=lambda value: value):
        all_named = list(self.named_parameters()) + [
            (name, value) for name, value in self.named_buffers() if "running_" in name
        ]
        for name, value in all_named:
            index, parameter = name.split(".")[1], name.split(".")[-1]
            value = of(value)
            if value is not None:
                yield f"{role}.layers.{index}.{parameter}", value.detach().numpy().copy()


def save(path, tensors, metadata):
    kinds = {"float32": "F32", "float64": "F64", "int32": "I32"}
    header, body = {"__metadata__": metadata}, b""
    # Files in this format have the tensors with the widest element types first.
    for name, value in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        value = np.ascontiguousarray(value)
        offsets = [len(body), len(body) + value.nbytes]
        kind = kinds[str(value.dtype)]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": offsets}
        body += value.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def train(path, layers, shape, optimizer, settings, loss, rows=96, batch=8, steps=50):
    torch.manual_seed(len(layers))
    network = Network(layers, shape)
    with torch.no_grad():
        for parameter in network.parameters():
            # This noise moves the weights of normalization away from 1, and its biases away from 0.
            parameter += 0.1 * torch.randn_like(parameter)
            parameter.copy_(parameter.float().double())
    x = torch.randn(rows, *shape).float().double()
    outputs = layers[-1]["outputs"]
    if loss == "softmax_cross_entropy":
        t, criterion = torch.randint(0, outputs, (rows,)), nn.CrossEntropyLoss()
    else:
        t, criterion = torch.randn(rows, outputs).float().double(), nn.MSELoss()
    indices = torch.randint(0, rows, (steps, batch))
    network.train()
    rate, others = settings["learning_rate"], {k: v for k, v in settings.items() if k != "learning_rate"}
    updates = optimizer(network.parameters(), lr=rate, **others)
    tensors = {"x": x.float().numpy(), "indices": indices.int().numpy()}
    tensors["t"] = t.int().numpy() if t.dtype == torch.int64 else t.float().numpy()
    init = network.tensors("init", lambda value: value.float())
    tensors.update({name: value for name, value in init if "running_" not in name})
    losses = []
    for step in range(steps):
        updates.zero_grad()
        of_step = criterion(network(x[indices[step]]), t[indices[step]])
        of_step.backward()
        if step == 0:
            tensors.update(network.tensors("first_gradient", lambda value: value.grad))
        losses.append(of_step.item())
        updates.step()
    tensors["losses"] = np.array(losses)
    tensors.update(network.tensors("final"))
    network.eval()
    tensors["evaluated"] = network(x[:40]).detach().numpy()
    metadata = {
        "kind": "network",
        "input": json.dumps(shape),
        "network": json.dumps(layers),
        "loss": loss,
        "optimizer": {torch.optim.SGD: "sgd", torch.optim.RMSprop: "rmsprop"}[optimizer],
        "batch": str(batch),
        "steps": str(steps),
        "data": "tensors",
        **{key: str(value) for key, value in settings.items()},
    }
    save(path, tensors, metadata)


if __name__ == "__main__":
    folder = sys.argv[1]
    settings = {"learning_rate": 0.03125, "momentum": 0.875}
    path = f"{folder}/residual_images_momentum.safetensors"
    train(path, RESIDUAL, [2, 9, 8], torch.optim.SGD, settings, "softmax_cross_entropy")
    settings = {"learning_rate": 0.001, "alpha": 0.9}
    path = f"{folder}/normalized_images_rms_prop.safetensors"
    train(path, NORMALIZED, [2, 6, 7], torch.optim.RMSprop, settings, "mean_squared_error")
