"""Writes golden/vectors/residual_values_adam.safetensors, in doubles and with nothing but Python.

    python3 golden/scripts/residual_values_adam.py golden/vectors/residual_values_adam.safetensors

A training on values with two residual connections and every activation, each formula and its derivative written out.
"""

import json
import math
import random
import struct
import sys

ROWS, BATCH, STEPS, RATE = 48, 8, 40, 0.01
NETWORK = [
    {"layer": "flatten"},
    {"layer": "linear", "outputs": 5},
    {"layer": "leaky_relu", "slope": 0.1},
    {"layer": "mark", "name": "first"},
    {"layer": "linear", "outputs": 5},
    {"layer": "gelu"},
    {"layer": "mark", "name": "second"},
    {"layer": "linear", "outputs": 5},
    {"layer": "add", "name": "first"},
    {"layer": "tanh"},
    {"layer": "add", "name": "second"},
    {"layer": "sigmoid"},
    {"layer": "relu"},
    {"layer": "linear", "outputs": 2},
]
random.seed(1)


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def normal(rows, columns, scale=1.0):
    return [[single(random.gauss(0, scale)) for _ in range(columns)] for _ in range(rows)]


def distribution(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def density(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def logistic(x):
    return 1 / (1 + math.exp(-x))


# Each activation and its derivative.
ACTIVATIONS = {
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "leaky_relu": (lambda x: x if x > 0 else 0.1 * x, lambda x: 1.0 if x > 0 else 0.1),
    "gelu": (lambda x: x * distribution(x), lambda x: distribution(x) + x * density(x)),
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "sigmoid": (logistic, lambda x: logistic(x) * (1 - logistic(x))),
}


def by_element(function, *matrices):
    return [[function(*values) for values in zip(*rows)] for rows in zip(*matrices)]


def forward(parameters, x):
    """Returns all values, and for each layer the index of the value that it reads, or of both values that it adds."""
    values, operands, marks, here = [x], [], {}, 0
    for index, layer in enumerate(NETWORK):
        kind, taken = layer["layer"], [here]
        if kind == "linear":
            w, b = parameters[f"{index}.weight"], parameters[f"{index}.bias"][0]
            output = lambda row: [sum(map(lambda p, q: p * q, row, of)) + c for of, c in zip(w, b)]
            values.append([output(row) for row in values[here]])
        elif kind in ACTIVATIONS:
            values.append(by_element(ACTIVATIONS[kind][0], values[here]))
        elif kind == "add":
            taken.append(marks[layer["name"]])
            values.append(by_element(lambda p, q: p + q, *(values[at] for at in taken)))
        elif kind == "mark":
            marks[layer["name"]] = here
        if kind not in ("mark", "flatten"):
            operands.append((index, taken))
            here = len(values) - 1
    return values, operands


def loss_and_gradients(parameters, x, targets):
    values, operands = forward(parameters, x)
    outputs = values[-1]
    count = len(outputs) * len(outputs[0])
    loss = sum(sum(row) for row in by_element(lambda y, t: (y - t) ** 2, outputs, targets)) / count
    by_value = [[[0.0] * len(row) for row in value] for value in values]
    by_value[-1] = by_element(lambda y, t: 2 * (y - t) / count, outputs, targets)
    gradients = {}
    for at in reversed(range(len(operands))):
        index, taken = operands[at]
        dy, x = by_value[at + 1], values[taken[0]]
        if NETWORK[index]["layer"] == "linear":
            w, columns = parameters[f"{index}.weight"], list(zip(*dy))
            gradients[f"{index}.weight"] = [
                [sum(d * row[i] for d, row in zip(column, x)) for i in range(len(x[0]))]
                for column in columns
            ]
            gradients[f"{index}.bias"] = [[sum(column) for column in columns]]
            dx = [[sum(d * of[i] for d, of in zip(row, w)) for i in range(len(x[0]))] for row in dy]
        elif NETWORK[index]["layer"] == "add":
            dx = dy
        else:
            slope = ACTIVATIONS[NETWORK[index]["layer"]][1]
            dx = by_element(lambda x, d: d * slope(x), x, dy)
        for operand in taken:
            by_value[operand] = by_element(lambda p, q: p + q, by_value[operand], dx)
    return loss, gradients


parameters, inputs = {}, 6
for index, layer in enumerate(NETWORK):
    if layer["layer"] == "linear":
        parameters[f"{index}.weight"] = normal(layer["outputs"], inputs, 0.6)
        parameters[f"{index}.bias"] = normal(1, layer["outputs"], 0.3)
        inputs = layer["outputs"]
x, t = normal(ROWS, 6), normal(ROWS, 2)
indices = [[random.randrange(ROWS) for _ in range(BATCH)] for _ in range(STEPS)]
tensors = {"x": ("F32", [ROWS, 2, 3], x), "t": ("F32", [ROWS, 2], t)}
tensors["indices"] = ("I32", [STEPS, BATCH], indices)


def add(role, kind, matrices):
    for name, matrix in matrices.items():
        shape = [len(matrix), len(matrix[0])]
        shape = shape[1:] if name.endswith("bias") else shape
        tensors[f"{role}.layers.{name}"] = (kind, shape, matrix)


add("init", "F32", parameters)
losses, mean, square = [], {}, {}
for step, rows in enumerate(indices, 1):
    loss, gradients = loss_and_gradients(parameters, [x[row] for row in rows], [t[row] for row in rows])
    losses.append(loss)
    if step == 1:
        add("first_gradient", "F64", gradients)
    for name, gradient in gradients.items():
        zeros = by_element(lambda g: 0.0, gradient)
        mean[name] = by_element(lambda m, g: 0.9 * m + 0.1 * g, mean.get(name, zeros), gradient)
        square[name] = by_element(
            lambda v, g: 0.999 * v + 0.001 * g * g, square.get(name, zeros), gradient
        )
        rate, bias = RATE / (1 - 0.9**step), 1 - 0.999**step
        parameters[name] = by_element(
            lambda p, m, v: p - rate * m / (math.sqrt(v / bias) + 1e-8),
            parameters[name],
            mean[name],
            square[name],
        )
add("final", "F64", parameters)
tensors["losses"] = ("F64", [STEPS], [losses])
tensors["evaluated"] = ("F64", [20, 2], forward(parameters, x[:20])[0][-1])

header, data = {}, b""
header["__metadata__"] = {
    "kind": "network",
    "input": "[2, 3]",
    "network": json.dumps(NETWORK),
    "data": "tensors",
    "loss": "mean_squared_error",
    "optimizer": "adam",
    "learning_rate": str(RATE),
    "batch": str(BATCH),
    "steps": str(STEPS),
}
for name, (kind, shape, matrix) in sorted(tensors.items(), key=lambda item: (-int(item[1][0][1:]), item[0])):
    letter = {"F32": "f", "F64": "d", "I32": "i"}[kind]
    values = [value for row in matrix for value in row]
    start = len(data)
    data += struct.pack(f"<{len(values)}{letter}", *values)
    header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, len(data)]}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
