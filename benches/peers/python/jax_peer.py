"""JAX: the whole training is one compiled `lax.scan`, sampling included."""

import functools
import time

import common

args = common.options(["scan", "unrolled", "graphs"], devices=("cpu", "cuda"))

import os

os.environ["JAX_PLATFORMS"] = args.device
# It would take three quarters of the GPU's memory at its start, where something else may have some.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
if args.mode == "graphs":
    # The loop of a scan becomes part of a CUDA graph, with what it contains.
    graphs = "--xla_gpu_enable_command_buffer=+WHILE,+CONDITIONAL"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {graphs}".strip()
import jax  # after the number of threads is set
import jax.numpy as jnp

NAME = "jax" + ("" if args.mode == "scan" else f"-{args.mode}") + ("-tf32" if args.tf32 else "")
# Steps in a round of the loop: longer rounds may cost a GPU fewer launches.
UNROLL = 10 if args.mode == "unrolled" else 1
# XLA's default for float32 is TF32 where the GPU has it.
jax.config.update("jax_default_matmul_precision", "default" if args.tf32 else "highest")

try:
    jax.devices()
except (AssertionError, RuntimeError) as error:
    raise SystemExit(f"no JAX for {args.device}: {str(error) or 'its plugin is missing'}")


def forward(parameters, x):
    for w, b in parameters[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = parameters[-1]
    return x @ w + b


def loss_of(parameters, x, labels):
    log_p = jax.nn.log_softmax(forward(parameters, x))
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()


@functools.partial(jax.jit, static_argnames=("steps", "batch"), donate_argnums=0)
def run(parameters, key, x, labels, *, steps, batch):
    indices = jax.random.randint(key, (steps, batch), 0, len(x))

    def step(parameters, indices):
        rows = x.at[indices].get(mode="promise_in_bounds")
        label = labels.at[indices].get(mode="promise_in_bounds")
        loss, gradients = jax.value_and_grad(loss_of)(parameters, rows, label)
        update = lambda p, g: p - common.RATE * g
        return jax.tree.map(update, parameters, gradients), loss

    return jax.lax.scan(step, parameters, indices, unroll=UNROLL)


@jax.jit
def accuracy(parameters, x, labels):
    return (forward(parameters, x).argmax(axis=1) == labels).mean()


def train():
    x, labels, test_x, test_labels = map(jnp.asarray, common.load(args.data))
    key, batch = jax.random.key(args.seed), common.BATCH[args.job]

    def fresh():
        initial = common.initial(args.job, x.shape[1], args.seed)
        return [(jnp.asarray(w), jnp.asarray(b)) for w, b in initial]

    def warm_up():
        jax.block_until_ready(compiled(fresh(), key, x, labels))

    started = time.perf_counter()
    compiled = run.lower(fresh(), key, x, labels, steps=args.steps, batch=batch).compile()
    warm_up()
    warmup_s = time.perf_counter() - started

    def measure():
        # Those of the run before were donated to it.
        parameters = jax.block_until_ready(fresh())
        begun = time.perf_counter()
        parameters, losses = compiled(parameters, key, x, labels)
        losses = jax.device_get(losses)
        train_s = time.perf_counter() - begun
        reached = float(accuracy(parameters, test_x, test_labels))
        common.report(NAME, args, train_s, warmup_s, reached, losses[-20:].mean())

    common.answer(args, warm_up, measure)


def product(m, k, n):
    keys = jax.random.split(jax.random.key(args.seed))
    a, b = (jax.random.normal(key, shape) for key, shape in zip(keys, ((m, k), (k, n))))
    compiled = jax.jit(jnp.matmul).lower(a, b).compile()

    def multiply(count):
        for _ in range(count):
            c = compiled(a, b)
        jax.block_until_ready(c)

    return multiply


if args.job == 3:
    common.matmuls(NAME, args, product)
else:
    train()
