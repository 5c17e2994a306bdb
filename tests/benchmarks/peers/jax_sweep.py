"""Many Iris networks trained at once in JAX: jit(vmap(scan)) over epochs and steps, Adam by hand. Writes nothing.

jax_sweep.py ROWS.NPZ RUNS EPOCHS BATCH: rows x (rows, 4), y (rows,); prints the mean last loss.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

rows = np.load(sys.argv[1])
X, Y = jnp.asarray(rows["x"], jnp.float32), jnp.asarray(rows["y"])
RUNS, EPOCHS, BATCH = map(int, sys.argv[2:5])
STEPS = len(X) // BATCH
tree = jax.tree.map


def init(key):
    k1, k2, k3, k4 = jax.random.split(key, 4)
    bound1, bound2 = 4**-0.5, 16**-0.5  # torch's default
    return {
        "w1": jax.random.uniform(k1, (4, 16), minval=-bound1, maxval=bound1),
        "b1": jax.random.uniform(k2, (16,), minval=-bound1, maxval=bound1),
        "w2": jax.random.uniform(k3, (16, 3), minval=-bound2, maxval=bound2),
        "b2": jax.random.uniform(k4, (3,), minval=-bound2, maxval=bound2),
    }


def loss_of(p, x, y):
    z = jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))


def train(seed, lr):
    key = jax.random.PRNGKey(seed)
    p = init(key)
    m = v = tree(jnp.zeros_like, p)

    def step(carry, batch):
        p, m, v, t = carry
        t = t + 1
        loss, g = jax.value_and_grad(loss_of)(p, X[batch], Y[batch])
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        p = tree(lambda p, m, v: p - lr * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), p, m, v)
        return (p, m, v, t), loss

    def epoch(carry, number):
        order = jax.random.permutation(jax.random.fold_in(key, number), len(X))[: STEPS * BATCH].reshape(STEPS, BATCH)
        carry, losses = jax.lax.scan(step, carry, order)
        return carry, losses.mean()

    (p, *_), losses = jax.lax.scan(epoch, (p, m, v, jnp.zeros(())), jnp.arange(EPOCHS))
    return p, losses


_, losses = jax.block_until_ready(jax.jit(jax.vmap(train))(jnp.arange(RUNS), jnp.full(RUNS, 0.001)))
print(float(losses[:, -1].mean()))
