"""Row orders drawn for many runs at once: bit for bit those of torch.randperm."""

import numpy as np
import pytest
import torch

from ch12cli.fused import compiler
from ch12cli.fused.orders import draw_orders

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")


@pytest.mark.parametrize("rows", [1, 2, 7, 100, 398, 624, 625, 626, 1249, 3000])
def test_orders_are_those_of_torch(rows: int) -> None:
    seeds = np.random.default_rng(rows).integers(0, 2**63 - 1, 11)
    for seed, order in zip(seeds.tolist(), draw_orders(seeds, rows), strict=True):
        assert torch.equal(order, torch.randperm(rows, generator=torch.Generator().manual_seed(seed)))


def test_no_runs_have_no_orders() -> None:
    assert draw_orders(np.empty(0, np.int64), 5).shape == (0, 5)
