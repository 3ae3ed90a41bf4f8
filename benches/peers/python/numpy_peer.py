"""NumPy: formulas by hand, every result into a buffer that is allocated once."""

import time

import common

args = common.options(["numpy"])

import numpy as np  # after the number of threads is set

ROW = np.arange(common.BATCH.get(args.job, 0))


class Network:
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
        last = len(self.w) - 1
        inputs = [self.x, *self.z]
        for i, (w, b) in enumerate(zip(self.w, self.b)):
            np.dot(inputs[i], w, out=self.z[i])
            self.z[i] += b
            if i < last:
                np.maximum(self.z[i], 0, out=self.z[i])

        p = self.dz[last]
        np.max(self.z[last], axis=1, keepdims=True, out=self.column)
        np.subtract(self.z[last], self.column, out=p)
        shifted = p[ROW, label]
        np.exp(p, out=p)
        np.sum(p, axis=1, keepdims=True, out=self.column)
        loss = (np.log(self.column[:, 0]) - shifted).mean()
        p /= self.column
        p[ROW, label] -= 1
        # The learning rate here, on the smallest matrix, scales every gradient behind it.
        p *= common.RATE / len(p)

        for i in range(last, -1, -1):
            np.dot(inputs[i].T, self.dz[i], out=self.dw[i])
            if i > 0:
                np.dot(self.dz[i], self.w[i].T, out=self.dz[i - 1])
                np.greater(self.z[i - 1], 0, out=self.is_positive[i - 1])
                self.dz[i - 1] *= self.is_positive[i - 1]
            self.w[i] -= self.dw[i]
            self.b[i] -= self.ones @ self.dz[i]
        return loss

    def accuracy(self, x, labels):
        for i, (w, b) in enumerate(zip(self.w, self.b)):
            x = x @ w + b
            x = np.maximum(x, 0) if i < len(self.w) - 1 else x
        return (x.argmax(axis=1) == labels).mean()


def train():
    x, labels, test_x, test_labels = common.load(args.data)
    batch, rng = common.BATCH[args.job], np.random.default_rng(args.seed)

    def run(network, steps):
        losses = np.empty(steps, np.float32)
        indices = rng.integers(len(x), size=(steps, batch))
        for step in range(steps):
            losses[step] = network.step(x, labels, indices[step])
        return losses

    def network():
        return Network(common.initial(args.job, x.shape[1], args.seed), batch)

    def warm_up():
        run(network(), common.warmup_steps(args))

    started = time.perf_counter()
    warm_up()
    warmup_s = time.perf_counter() - started

    def measure():
        trained = network()
        begun = time.perf_counter()
        losses = run(trained, args.steps)
        train_s = time.perf_counter() - begun
        accuracy = trained.accuracy(test_x, test_labels)
        common.report("numpy", args, train_s, warmup_s, accuracy, losses[-20:].mean())

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
