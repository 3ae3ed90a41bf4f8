"""JAX: one compiled `lax.scan` samples and trains. Convolution on a CPU takes one call per step."""

import functools
import time

import common

args = common.options(["scan", "unrolled", "graphs"], devices=("cpu", "cuda"))

import os

os.environ["JAX_PLATFORMS"] = args.device
# JAX would otherwise reserve three quarters of the GPU's memory at its start, and fail if others use it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
if args.mode == "graphs":
    # The loop of a scan and its body become part of a CUDA graph.
    graphs = "--xla_gpu_enable_command_buffer=+WHILE,+CONDITIONAL"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {graphs}".strip()
import jax  # after the number of threads is set
import jax.numpy as jnp
import numpy as np

NAME = "jax" + ("" if args.mode == "scan" else f"-{args.mode}") + ("-tf32" if args.tf32 else "")
# Steps per iteration of the loop: with more steps, a GPU may need fewer launches.
UNROLL = 10 if args.mode == "unrolled" else 1
# XLA's default for float32 is TF32 if the GPU supports it.
jax.config.update("jax_default_matmul_precision", "default" if args.tf32 else "highest")

try:
    jax.devices()
except (AssertionError, RuntimeError) as error:
    raise SystemExit(f"no JAX for {args.device}: {str(error) or 'its plugin is missing'}")


def forward(parameters, x):
    if args.job == 4:
        x, parameters = pooled(*parameters[0], x), parameters[1:]
    for w, b in parameters[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = parameters[-1]
    return x @ w + b


def pooled(filters, b, x):
    """The first layers of job 4."""
    images = x.reshape(-1, common.SIDE, common.SIDE, 1)
    w = filters.reshape(common.KERNEL, common.KERNEL, 1, -1)
    layout = ("NHWC", "HWIO", "NHWC")
    z = jax.lax.conv_general_dilated(images, w, (1, 1), "VALID", dimension_numbers=layout)
    y = jax.nn.relu(z + b)
    # Pools by two calls of `maximum`: the gradient of `reduce_window` takes a CPU several times as long as
    # all the rest.
    y = jnp.maximum(y[:, 0::2], y[:, 1::2])
    y = jnp.maximum(y[:, :, 0::2], y[:, :, 1::2])
    return y.reshape(len(y), -1)


def loss_of(parameters, x, labels):
    log_p = jax.nn.log_softmax(forward(parameters, x))
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()


def begin(parameters):
    """The state that a step updates: the parameters and, for Adam, both means and the step count."""
    if args.job != 4:
        return (parameters,)
    zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
    return parameters, zeros(), zeros(), jnp.zeros(())


def sgd(parameters, *, gradients):
    return (jax.tree.map(lambda p, g: p - common.RATE * g, parameters, gradients),)


def adam(parameters, m, v, taken, *, gradients):
    taken += 1
    mean = lambda beta: lambda old, new: beta * old + (1 - beta) * new
    m = jax.tree.map(mean(common.BETA1), m, gradients)
    v = jax.tree.map(mean(common.BETA2), v, jax.tree.map(jnp.square, gradients))
    first, second = 1 - common.BETA1**taken, 1 - common.BETA2**taken
    rate, epsilon = common.ADAM_RATE / first, common.EPSILON
    update = lambda p, m, v: p - rate * m / (jnp.sqrt(v / second) + epsilon)
    return jax.tree.map(update, parameters, m, v), m, v, taken


def step(state, gather, each):
    """The new state, and the loss of the minibatch with the indices `each`."""
    loss, gradients = jax.value_and_grad(loss_of)(state[0], *gather(each))
    return (adam if args.job == 4 else sgd)(*state, gradients=gradients), loss


def forward_step(state, gather, each):
    """The forward part of `step`."""
    return state, loss_of(state[0], *gather(each))


def gather_from(x, labels):
    def gather(each):
        rows = x.at[each].get(mode="promise_in_bounds")
        return rows, labels.at[each].get(mode="promise_in_bounds")

    return gather


def looped(step, state, *arrays, steps, batch):
    """All steps as one compiled program, which reuses the memory of the state."""

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, key, x, labels):
        indices = jax.random.randint(key, (steps, batch), 0, len(x))
        one = functools.partial(step, gather=gather_from(x, labels))
        body = lambda state, each: one(state, each=each)
        return jax.lax.scan(body, state, indices, unroll=UNROLL)

    return run.lower(state, *arrays).compile()


def called(step, state, *arrays, steps, batch):
    """One call from Python per step: on a CPU, XLA's convolutions are slow inside a loop."""

    @functools.partial(jax.jit, donate_argnums=0)
    def one(state, x, labels, each):
        return step(state, gather=gather_from(x, labels), each=each)

    @jax.jit
    def draw(key):
        return jax.random.randint(key, (steps, batch), 0, len(arrays[1]))

    def run(state, key, x, labels, most=steps):
        losses = []
        for each in np.asarray(draw(key))[:most]:
            state, loss = one(state, x, labels, each)
            losses.append(loss)
        return state, jnp.stack(losses)

    return run


@jax.jit
def accuracy(parameters, x, labels):
    # In parts, because the output of the convolution takes much more memory than the images.
    parts = jax.lax.map(lambda rows: forward(parameters, rows), x.reshape(-1, 1000, x.shape[1]))
    return (parts.reshape(len(x), -1).argmax(axis=1) == labels).mean()


def train():
    x, labels, test_x, test_labels = map(jnp.asarray, common.load(args.data))
    key = jax.random.key(args.seed)
    size = {"steps": args.steps, "batch": common.BATCH[args.job]}
    prepare = called if args.job == 4 and args.device == "cpu" else looped
    # A compiled loop always takes all its steps.
    few = {"most": common.warmup_steps(args)} if prepare is called else {}

    def fresh():
        initial = common.initial(args.job, x.shape[1], args.seed)
        return begin([(jnp.asarray(w), jnp.asarray(b)) for w, b in initial])

    def warm_up():
        for each in filter(None, (run, run_forward)):
            jax.block_until_ready(each(fresh(), key, x, labels, **few))

    started = time.perf_counter()
    problem = (fresh(), key, x, labels)
    run, run_forward = prepare(step, *problem, **size), None
    if args.job == 4:
        run_forward = prepare(forward_step, *problem, **size)
    warm_up()
    warmup_s = time.perf_counter() - started

    def seconds(run, state):
        begun = time.perf_counter()
        state, losses = run(state, key, x, labels)
        losses = jax.device_get(losses)
        return time.perf_counter() - begun, state, losses[-20:].mean()

    def measure():
        # Starts from a new state, because a run overwrites the memory of its initial state.
        train_s, state, loss = seconds(run, jax.block_until_ready(fresh()))
        reached = float(accuracy(state[0], test_x, test_labels))
        forward_s = seconds(run_forward, state)[0] if run_forward else None
        common.report(NAME, args, train_s, warmup_s, reached, loss, forward_s)

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
