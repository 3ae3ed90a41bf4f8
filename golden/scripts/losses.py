"""Writes golden files of losses with settings, in doubles and with nothing but Python.

    python3 golden/scripts/losses.py golden/vectors

`softmax_cross_entropy_combined` has class weights and label smoothing together. The other files are trainings of
a small network: `labels_sgd` with several labels per row, each a probability; `outliers_sgd` by a Huber loss;
`weighted_sgd` on classes with weights and smoothing. Each loss is written element by element, as PyTorch documents it.
"""

import json
import math
import os
import random
import struct
import sys

ROWS, BATCH, STEPS, RATE = 40, 8, 30, 0.2
INPUTS, HIDDEN, OUTPUTS = 4, 5, 3
NETWORK = [
    {"layer": "linear", "outputs": HIDDEN},
    {"layer": "tanh"},
    {"layer": "linear", "outputs": OUTPUTS},
]
random.seed(7)


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def normal(rows, columns, scale=1.0):
    return [[single(random.gauss(0, scale)) for _ in range(columns)] for _ in range(rows)]


def binary(z, t):
    """−t·log σ(z) − (1−t)·log(1 − σ(z)) and its slope, computed from e^−|z|, which cannot overflow."""
    e = math.exp(-abs(z))
    log_sigmoid = min(z, 0.0) - math.log1p(e)
    log_other = min(-z, 0.0) - math.log1p(e)
    sigmoid = (1.0 if z >= 0 else e) / (1.0 + e)
    return -t * log_sigmoid - (1.0 - t) * log_other, sigmoid - t


def huber(delta):
    def of(y, t):
        d = y - t
        if abs(d) <= delta:
            return d * d / 2, d
        return delta * (abs(d) - delta / 2), math.copysign(delta, d)

    return of


def mean_of_elements(of):
    """The loss over all outputs, and its gradient."""

    def loss(outputs, targets):
        pairs = [[of(y, t) for y, t in zip(*rows)] for rows in zip(outputs, targets)]
        count = len(outputs) * len(outputs[0])
        total = math.fsum(value for row in pairs for value, _ in row)
        return total / count, [[slope / count for _, slope in row] for row in pairs]

    return loss


def cross_entropy(weights, smoothing):
    """The weighted mean of (1−ε)·w_y·l_y + ε/C·Σ w_c·l_c, and its gradient term by term."""

    def loss(logits, labels):
        classes = len(logits[0])
        of_classes = weights or [1.0] * classes
        weight = math.fsum(of_classes[label] for label in labels)
        total, gradient = [], []
        for row, label in zip(logits, labels):
            largest = max(row)
            powers = [math.exp(z - largest) for z in row]
            both = math.fsum(powers)
            l = [math.log(both) - (z - largest) for z in row]
            p = [power / both for power in powers]
            uniform = math.fsum(w * x for w, x in zip(of_classes, l)) / classes
            total.append((1 - smoothing) * of_classes[label] * l[label] + smoothing * uniform)
            slopes = []
            for c in range(classes):
                own = (1 - smoothing) * of_classes[label] * (p[c] - (c == label))
                terms = [w * (p[c] - (c == k)) for k, w in enumerate(of_classes)]
                slopes.append((own + smoothing / classes * math.fsum(terms)) / weight)
            gradient.append(slopes)
        return math.fsum(total) / weight, gradient

    return loss


def forward(parameters, x):
    w1, b1, w2, b2 = parameters
    affine = lambda rows, w, b: [
        [math.fsum(p * q for p, q in zip(row, of)) + c for of, c in zip(w, b[0])] for row in rows
    ]
    hidden = [[math.tanh(z) for z in row] for row in affine(x, w1, b1)]
    return hidden, affine(hidden, w2, b2)


def gradients(parameters, x, dy, hidden):
    products = lambda dy, x: [
        [math.fsum(d[o] * row[i] for d, row in zip(dy, x)) for i in range(len(x[0]))]
        for o in range(len(dy[0]))
    ]
    sums = lambda dy: [[math.fsum(row[o] for row in dy) for o in range(len(dy[0]))]]
    w2 = parameters[2]
    dh = [
        [(1 - h * h) * math.fsum(d * of[i] for d, of in zip(row, w2)) for i, h in enumerate(of_row)]
        for row, of_row in zip(dy, hidden)
    ]
    return [products(dh, x), sums(dh), products(dy, hidden), sums(dy)]


def save(name, metadata, tensors):
    header, data = {"__metadata__": metadata}, b""
    order = sorted(tensors.items(), key=lambda item: (-int(item[1][0][1:]), item[0]))
    for tensor, (kind, shape, matrix) in order:
        letter = {"F32": "f", "F64": "d", "I32": "i"}[kind]
        values = [value for row in matrix for value in row]
        start = len(data)
        data += struct.pack(f"<{len(values)}{letter}", *values)
        header[tensor] = {"dtype": kind, "shape": shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(sys.argv[1], f"{name}.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def train(name, loss, settings, t, of_t):
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    shapes = [[HIDDEN, INPUTS], [HIDDEN], [OUTPUTS, HIDDEN], [OUTPUTS]]
    parameters = [
        normal(HIDDEN, INPUTS, 0.6),
        normal(1, HIDDEN, 0.3),
        normal(OUTPUTS, HIDDEN, 0.6),
        normal(1, OUTPUTS, 0.3),
    ]
    x = normal(ROWS, INPUTS)
    indices = [[random.randrange(ROWS) for _ in range(BATCH)] for _ in range(STEPS)]
    tensors = {
        "x": ("F32", [ROWS, INPUTS], x),
        "t": of_t,
        "indices": ("I32", [STEPS, BATCH], indices),
    }
    add = lambda role, kind, values: tensors.update(
        {f"{role}.layers.{n}": (kind, s, v) for n, s, v in zip(names, shapes, values)}
    )
    add("init", "F32", parameters)
    losses = []
    for step, rows in enumerate(indices):
        chosen = [x[row] for row in rows]
        hidden, outputs = forward(parameters, chosen)
        value, dy = loss(outputs, [t[row] for row in rows])
        losses.append(value)
        by = gradients(parameters, chosen, dy, hidden)
        if step == 0:
            add("first_gradient", "F64", by)
        parameters = [
            [[p - RATE * g for p, g in zip(*rows)] for rows in zip(parameter, gradient)]
            for parameter, gradient in zip(parameters, by)
        ]
    add("final", "F64", parameters)
    tensors["losses"] = ("F64", [STEPS], [losses])
    tensors["evaluated"] = ("F64", [20, OUTPUTS], forward(parameters, x[:20])[1])
    metadata = {
        "kind": "network",
        "input": f"[{INPUTS}]",
        "network": json.dumps(NETWORK),
        "data": "tensors",
        "optimizer": "sgd",
        "learning_rate": str(RATE),
        "batch": str(BATCH),
        "steps": str(STEPS),
    }
    save(name, metadata | settings, tensors)


def cases():
    options, tensors = {}, {}
    for case, (rows, classes, spread, smoothing) in {
        "both": (20, 4, 2.0, 0.1),
        "one": (1, 3, 1.0, 0.5),
        "all_smoothed": (7, 5, 1.0, 1.0),
        "wide": (3, 97, 3.0, 0.2),
        "far": (9, 4, 500.0, 0.05),
    }.items():
        weights = [single(random.uniform(0.1, 3.0)) for _ in range(classes)]
        weights[-1] = 0.0
        labels = [random.randrange(classes) for _ in range(rows)]
        labels[0] = 0
        x = normal(rows, classes, spread)
        loss, dx = cross_entropy(weights, smoothing)(x, labels)
        options[case] = {"label_smoothing": smoothing}
        tensors[f"{case}.x"] = ("F32", [rows, classes], x)
        tensors[f"{case}.labels"] = ("I32", [rows], [labels])
        tensors[f"{case}.class_weights"] = ("F32", [classes], [weights])
        tensors[f"{case}.loss"] = ("F64", [1], [[loss]])
        tensors[f"{case}.dx"] = ("F64", [rows, classes], dx)
    op = "softmax_cross_entropy_options"
    metadata = {"kind": "op", "op": op, "cases": json.dumps(options)}
    save("softmax_cross_entropy_combined", metadata, tensors)


cases()
soft = lambda: random.choice([0.0, 1.0, single(random.random())])
t = [[soft() for _ in range(OUTPUTS)] for _ in range(ROWS)]
binary_loss = {"loss": "binary_cross_entropy_with_logits"}
train("labels_sgd", mean_of_elements(binary), binary_loss, t, ("F32", [ROWS, OUTPUTS], t))
t = normal(ROWS, OUTPUTS)
huber_loss = {"loss": "huber", "delta": "0.3"}
train("outliers_sgd", mean_of_elements(huber(0.3)), huber_loss, t, ("F32", [ROWS, OUTPUTS], t))
t = [random.randrange(OUTPUTS) for _ in range(ROWS)]
weights = [0.5, 2.0, 1.25]
weighted = {
    "loss": "softmax_cross_entropy",
    "label_smoothing": "0.15",
    "class_weights": json.dumps(weights),
}
train("weighted_sgd", cross_entropy(weights, 0.15), weighted, t, ("I32", [ROWS], [t]))
