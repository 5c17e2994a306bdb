"""An epoch of many small networks in JAX, jit(vmap(scan)) over its steps, with the order of the rows given.

jax_step.py SIZES BATCH ACTIVATION OPTIMIZER RUNS: for each line on its standard input, prints the microseconds of
processor time for a step of one run, on one thread. SIZES: widths, as 4-16-3.
"""

import os
import sys
import time
from itertools import pairwise

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np

ROWS, LR, EPS = 100, 0.001, 1e-8
SIZES, BATCH, RUNS = [int(width) for width in sys.argv[1].split("-")], int(sys.argv[2]), int(sys.argv[5])
STEPS = ROWS // BATCH
activation = {"ReLU": jax.nn.relu, "Tanh": jnp.tanh, "Sigmoid": jax.nn.sigmoid, "GELU": jax.nn.gelu}[sys.argv[3]]
tree = jax.tree.map
random = np.random.default_rng(0)
X = jnp.asarray(random.normal(size=(ROWS, SIZES[0])), jnp.float32)
Y = jnp.asarray(random.integers(0, SIZES[-1], ROWS))


def loss_of(p, x, y):
    for weight, bias in p[:-1]:
        x = activation(x @ weight + bias)
    z = x @ p[-1][0] + p[-1][1]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))


def adam(p, g, state, t, decay=0.0):
    m = tree(lambda m, g: 0.9 * m + 0.1 * g, state[0], g)
    v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, state[1], g)
    first, second = 1 - 0.9**t, 1 - 0.999**t
    p = tree(lambda p, m, v: p * (1 - LR * decay) - LR * (m / first) / (jnp.sqrt(v / second) + EPS), p, m, v)
    return p, (m, v)


def adamw(p, g, state, t):
    return adam(p, g, state, t, decay=0.01)


def rmsprop(p, g, state, t):
    v = tree(lambda v, g: 0.99 * v + 0.01 * g * g, state[0], g)
    return tree(lambda p, g, v: p - LR * g / (jnp.sqrt(v) + EPS), p, g, v), (v, state[1])


def sgd(p, g, state, t):
    m = tree(lambda m, g: 0.9 * m + g, state[0], g)
    return tree(lambda p, m: p - LR * m, p, m), (m, state[1])


update = {"Adam": adam, "AdamW": adamw, "RMSprop": rmsprop, "SGD": sgd}[sys.argv[4]]


def epoch(p, state, t, order):
    def step(carry, batch):
        p, state, t = carry
        loss, g = jax.value_and_grad(loss_of)(p, X[batch], Y[batch])
        p, state = update(p, g, state, t + 1)
        return (p, state, t + 1), loss

    return jax.lax.scan(step, (p, state, t), order)


def values(*shape):
    return jnp.asarray(random.normal(size=(RUNS, *shape)) * 0.3, jnp.float32)


p = [(values(before, width), values(width)) for before, width in pairwise(SIZES)]
carry = (p, (tree(jnp.zeros_like, p), tree(jnp.zeros_like, p)), jnp.zeros(RUNS))
train = jax.jit(jax.vmap(epoch))
orders = np.stack([random.permutation(ROWS)[: STEPS * BATCH].reshape(STEPS, BATCH) for _ in range(RUNS)])
carry, _ = jax.block_until_ready(train(*carry, orders))
for _ in sys.stdin:
    start = time.process_time()
    carry, _ = jax.block_until_ready(train(*carry, orders))
    print((time.process_time() - start) / (STEPS * RUNS) * 1e6, flush=True)
