"""What is drawn for many runs at once: bit for bit what torch draws for one after another."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from ch12cli.fused import compiler
from ch12cli.fused.twister import draw_beginnings, draw_orders, drawn_states
from ch12cli.models.init import uniform_draws

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")


@pytest.mark.parametrize("rows", [1, 2, 7, 100, 398, 624, 625, 626, 1249, 3000])
def test_orders_are_those_of_torch(rows: int) -> None:
    seeds = np.random.default_rng(rows).integers(0, 2**63 - 1, 11)
    for seed, order in zip(seeds.tolist(), draw_orders(seeds, rows), strict=True):
        assert torch.equal(order, torch.randperm(rows, generator=torch.Generator().manual_seed(seed)))


def test_no_runs_have_no_orders() -> None:
    assert draw_orders(np.empty(0, np.int64), 5).shape == (0, 5)


SEEDS = [
    0,
    1,
    2**31,
    2**32 - 1,
    *np.random.default_rng(0).integers(0, 2**32, 14).tolist(),
]  # more than a block of lanes


@pytest.mark.parametrize("numbers", [0, 1, 131, 623, 624, 625, 1247, 1248, 1249, 5000])
def test_states_are_those_of_torch_after_so_many_numbers(numbers: int) -> None:
    for seed, state in zip(SEEDS, drawn_states(np.array(SEEDS), numbers), strict=True):
        generator = torch.Generator().manual_seed(seed)
        torch.empty(numbers, dtype=torch.int32).random_(generator=generator)
        assert np.array_equal(state, generator.get_state())


@pytest.mark.parametrize("sizes", [[4, 16, 3], [1, 1], [7, 300, 2]])
@pytest.mark.parametrize("offset", [0, 1, 402])
def test_weights_and_seeds_of_orders_are_those_that_torch_draws(sizes: list[int], offset: int) -> None:
    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        torch.empty(offset, dtype=torch.int64).random_()
        return nn.Sequential(*(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)))

    with torch.random.fork_rng(devices=[]):
        draws = uniform_draws(made(0))
        assert draws is not None
        weights, order_seeds = draw_beginnings(np.array(SEEDS), 2 * offset, draws, 5)
        states = drawn_states(np.array(SEEDS), 2 * offset + weights.shape[1])
        for run, seed in enumerate(SEEDS):
            network = made(seed)
            assert np.array_equal(
                weights[run], torch.cat([tensor.detach().flatten() for tensor in network.parameters()])
            )
            assert np.array_equal(states[run], torch.get_rng_state())
            assert np.array_equal(order_seeds[run], torch.empty(5, 2, dtype=torch.int64).random_()[:, 1])
