"""NumPy: hand-written formulas. Every large result goes into a buffer that is allocated once."""

import math
import time

import common

args = common.options(["numpy"])

import numpy as np  # after the number of threads is set

ROW = np.arange(common.BATCH.get(args.job, 0))


class Dense:
    """Jobs 1 and 2: linear layers with ReLU between them, trained by SGD."""

    def __init__(self, parameters, batch):
        self.w, self.b = (list(each) for each in zip(*parameters))
        self.x = np.empty((batch, self.w[0].shape[0]), np.float32)
        self.z = [np.empty((batch, w.shape[1]), np.float32) for w in self.w]
        self.dz = [np.empty_like(z) for z in self.z]
        self.is_positive = [np.empty(z.shape, bool) for z in self.z]
        self.dw = [np.empty_like(w) for w in self.w]
        self.column = np.empty((batch, 1), np.float32)
        self.ones = np.ones(batch, np.float32)

    def step(self, x, labels, indices):
        # mode="clip" writes into `out` directly; indices are in range by construction.
        np.take(x, indices, axis=0, out=self.x, mode="clip")
        label = labels[indices]
        loss = self.forward(self.x, label)
        # The learning rate multiplies the smallest matrix, and so scales every gradient computed from it.
        self.begin_backward(label, common.RATE)
        self.backward(self.x)
        for w, b, dw, dz in zip(self.w, self.b, self.dw, self.dz):
            w -= dw
            b -= self.ones @ dz
        return loss

    def forward(self, x, label):
        """Returns the loss, and leaves the probabilities in the last `dz`."""
        last = len(self.w) - 1
        for i, (w, b) in enumerate(zip(self.w, self.b)):
            np.dot(self.z[i - 1] if i else x, w, out=self.z[i])
            self.z[i] += b
            if i < last:
                np.maximum(self.z[i], 0, out=self.z[i])
        p = self.dz[last]
        np.max(self.z[last], axis=1, keepdims=True, out=self.column)
        np.subtract(self.z[last], self.column, out=p)
        shifted = p[ROW, label]
        np.exp(p, out=p)
        np.sum(p, axis=1, keepdims=True, out=self.column)
        p /= self.column
        return (np.log(self.column[:, 0]) - shifted).mean()

    def begin_backward(self, label, scale):
        """Replaces the probabilities by the gradient of the logits, times `scale`."""
        p = self.dz[-1]
        p[ROW, label] -= 1
        p *= scale / len(p)

    def backward(self, x):
        for i in range(len(self.w) - 1, -1, -1):
            np.dot((self.z[i - 1] if i else x).T, self.dz[i], out=self.dw[i])
            if i > 0:
                np.dot(self.dz[i], self.w[i].T, out=self.dz[i - 1])
                np.greater(self.z[i - 1], 0, out=self.is_positive[i - 1])
                self.dz[i - 1] *= self.is_positive[i - 1]

    def accuracy(self, x, labels):
        for i, (w, b) in enumerate(zip(self.w, self.b)):
            x = x @ w + b
            x = np.maximum(x, 0) if i < len(self.w) - 1 else x
        return (x.argmax(axis=1) == labels).mean()


class Convolutional:
    """Job 4: im2col and a matrix product, max pooling by argmax, then the layers of `Dense`; Adam.

    The output of the convolution has the product's layout: (filter, image, row, column).
    """

    def __init__(self, parameters, batch):
        # Views of one array, so that Adam updates all parameters at once.
        layers = list(parameters)
        shapes = [array.shape for layer in layers for array in layer]
        self.p = np.concatenate([array.ravel() for layer in layers for array in layer])
        self.g, self.m, self.v = (np.zeros_like(self.p) for _ in range(3))
        self.scratch = np.empty_like(self.p)
        (self.w, self.b), *dense = pairs(views(self.p, shapes))
        (self.dw, self.db), *gradients = pairs(views(self.g, shapes))
        self.dense = Dense(dense, batch)
        self.dense.dw, self.dense_db = map(list, zip(*gradients))
        self.taken = 0

        k, filters, side, pooled = common.KERNEL, common.FILTERS, common.CONVOLVED, common.POOLED
        self.x = np.empty((batch, common.SIDE**2), np.float32)
        self.columns = np.empty((k * k, batch * side**2), np.float32)
        self.z = np.empty((filters, batch * side**2), np.float32)
        self.dz = np.empty_like(self.z)
        # (filter, image, window row, row in the window, window column, column in the window)
        self.six = (filters, batch, pooled, 2, pooled, 2)
        self.windows = np.empty((filters, batch, pooled, pooled, 2, 2), np.float32)
        self.first = np.arange(0, self.windows.size, 4)
        self.pooled = np.empty((filters, batch, pooled**2), np.float32)
        self.is_positive = np.empty(self.pooled.shape, bool)
        self.features = np.empty((batch, filters, pooled**2), np.float32)
        self.dfeatures = np.empty_like(self.features)
        self.ones = np.ones(batch * side**2, np.float32)

    def step(self, x, labels, indices):
        loss = self.loss(x, labels, indices)
        self.dense.begin_backward(labels[indices], 1)
        self.dense.backward(self.rows(self.features))
        for db, dz in zip(self.dense_db, self.dense.dz):
            np.dot(self.dense.ones, dz, out=db)
        self.backward()
        self.adam()
        return loss

    def rows(self, images):
        return images.reshape(len(images), -1)

    def loss(self, x, labels, indices):
        np.take(x, indices, axis=0, out=self.x, mode="clip")
        self.forward()
        return self.dense.forward(self.rows(self.features), labels[indices])

    def forward(self):
        """From `x` to `features`. The index of each window's largest value goes to `chosen`."""
        k, side = common.KERNEL, common.CONVOLVED
        images = self.x.reshape(-1, common.SIDE, common.SIDE)
        columns = self.columns.reshape(k, k, len(images), side, side)
        for i in range(k):
            for j in range(k):
                columns[i, j] = images[:, i : i + side, j : j + side]
        np.dot(self.w.T, self.columns, out=self.z)
        self.z += self.b[:, None]
        np.maximum(self.z, 0, out=self.z)
        self.windows[:] = self.z.reshape(self.six).transpose(0, 1, 2, 4, 3, 5)
        self.chosen = self.windows.reshape(-1, 4).argmax(axis=1)
        self.chosen += self.first
        np.take(self.windows, self.chosen, out=self.pooled.reshape(-1), mode="clip")
        self.features[:] = self.pooled.swapaxes(0, 1)

    def backward(self):
        """From the first dense layer's gradient to `dw` and `db`. Pixels need no gradient."""
        np.dot(self.dense.dz[0], self.dense.w[0].T, out=self.rows(self.dfeatures))
        # ReLU's derivative, for the values that pooling has chosen. The gradient of all others is 0.
        np.greater(self.pooled, 0, out=self.is_positive)
        np.multiply(self.dfeatures.swapaxes(0, 1), self.is_positive, out=self.pooled)
        self.windows.fill(0)
        self.windows.reshape(-1)[self.chosen] = self.pooled.reshape(-1)
        self.dz.reshape(self.six)[:] = self.windows.transpose(0, 1, 2, 4, 3, 5)
        np.dot(self.columns, self.dz.T, out=self.dw)
        np.dot(self.dz, self.ones, out=self.db)

    def adam(self):
        self.taken += 1
        self.m *= common.BETA1
        self.m += np.multiply(self.g, 1 - common.BETA1, out=self.scratch)
        self.v *= common.BETA2
        np.multiply(self.g, self.g, out=self.scratch)
        self.scratch *= 1 - common.BETA2
        self.v += self.scratch
        # Both bias corrections are applied through scalars, which saves passes over the arrays.
        root = (1 - common.BETA2**self.taken) ** 0.5
        np.sqrt(self.v, out=self.scratch)
        self.scratch += common.EPSILON * root
        np.divide(self.m, self.scratch, out=self.scratch)
        self.scratch *= common.ADAM_RATE * root / (1 - common.BETA1**self.taken)
        self.p -= self.scratch

    def accuracy(self, x, labels):
        hits, batch = 0, len(self.x)
        for first in range(0, len(x), batch):
            self.x[:] = x[first : first + batch]
            self.forward()
            rows = self.rows(self.features)
            hits += self.dense.accuracy(rows, labels[first : first + batch]) * batch
        return hits / len(x)


def views(flat, shapes):
    """Arrays of these shapes that share the memory of `flat`, one after the other."""
    sizes = [math.prod(shape) for shape in shapes]
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def pairs(arrays):
    return list(zip(arrays[::2], arrays[1::2]))


def train():
    x, labels, test_x, test_labels = common.load(args.data)
    batch, rng = common.BATCH[args.job], np.random.default_rng(args.seed)

    def run(step, steps):
        losses = np.empty(steps, np.float32)
        indices = rng.integers(len(x), size=(steps, batch))
        for at in range(steps):
            losses[at] = step(x, labels, indices[at])
        return losses

    def network():
        kind = Convolutional if args.job == 4 else Dense
        return kind(common.initial(args.job, x.shape[1], args.seed), batch)

    def warm_up():
        run(network().step, common.warmup_steps(args))

    started = time.perf_counter()
    warm_up()
    warmup_s = time.perf_counter() - started

    def measure():
        trained = network()
        begun = time.perf_counter()
        losses = run(trained.step, args.steps)
        train_s = time.perf_counter() - begun
        forward_s = None
        if args.job == 4:
            begun = time.perf_counter()
            run(trained.loss, args.steps)
            forward_s = time.perf_counter() - begun
        accuracy = trained.accuracy(test_x, test_labels)
        loss = losses[-20:].mean()
        common.report("numpy", args, train_s, warmup_s, accuracy, loss, forward_s)

    common.answer(args, warm_up, measure)


def product(m, k, n):
    rng = np.random.default_rng(args.seed)
    a, b = (rng.standard_normal(shape, dtype=np.float32) for shape in ((m, k), (k, n)))
    c = np.empty((m, n), np.float32)

    def multiply(count):
        for _ in range(count):
            np.dot(a, b, out=c)

    return multiply


if args.job == 3:
    common.matmuls("numpy", args, product)
else:
    train()
