"""A run's random stream in a stack against torch's own DataLoader on the default generator."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.training.batches import Part, StackedSource
from ch12cli.training.streams import Streams, epoch_order, seed_stream

ROWS, EPOCHS = 23, 6


@pytest.fixture(autouse=True)
def stream_put_back() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


def loaded_orders(seed: int, *, offset: int = 0, before: int = 0) -> tuple[list[Tensor], Tensor]:
    """The orders in which a shuffled DataLoader gives its rows, epoch by epoch, and the stream's state after them."""
    torch.manual_seed(seed)
    for _ in range(offset):
        torch.empty((), dtype=torch.int64).random_()
    nn.Linear(3, 2)
    torch.rand(before)
    loader = DataLoader(TensorDataset(torch.arange(ROWS)), batch_size=4, shuffle=True)
    return [torch.cat([rows for (rows,) in loader]) for _ in range(EPOCHS)], torch.get_rng_state()


def begun(seed: int, *, offset: int = 0, before: int = 0) -> None:
    seed_stream(seed, offset=offset)
    nn.Linear(3, 2)
    torch.rand(before)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 - 1])
@pytest.mark.parametrize("offset", [0, 1, 402])
def test_an_epochs_order_equals_the_data_loaders(seed: int, offset: int) -> None:
    expected, state = loaded_orders(seed, offset=offset)
    begun(seed, offset=offset)
    for order in expected:
        assert torch.equal(epoch_order(ROWS), order)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_streams_of_several_runs_are_independent() -> None:
    # what was drawn before the first epoch moves a stream by an odd number of 32-bit draws, too
    runs = [{"seed": 3}, {"seed": 1, "offset": 5, "before": 1}, {"seed": 4, "before": 7}]
    expected = [loaded_orders(**run) for run in runs]
    streams = Streams(EPOCHS)
    for one_run in runs:
        begun(**one_run)
        streams.add(one_run["seed"])
    for epoch in range(EPOCHS):
        orders = streams.orders([0, 1, 2], range(epoch, epoch + 1), ROWS)[0]
        for run, (loaded, _) in enumerate(expected):
            assert torch.equal(orders[run], loaded[epoch])
        assert torch.equal(streams.orders([2, 0], range(epoch, epoch + 1), ROWS)[0], orders[[2, 0]])
    states = streams.states_after([0, 1, 2], EPOCHS)
    assert np.array_equal(states, np.stack([state for _, state in expected]))
    orders = streams.orders([0, 1, 2], range(1), ROWS)[0]
    for one, other in itertools.combinations(orders, 2):
        assert not torch.equal(one, other)


def test_a_streams_state_after_some_epochs_equals_that_of_a_single_run() -> None:
    streams = Streams(EPOCHS)
    begun(9)
    streams.add(9)
    begun(9)
    for epoch in range(EPOCHS):
        assert np.array_equal(streams.states_after([0], epoch), torch.get_rng_state()[None])
        epoch_order(ROWS)


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("classes", [True, False])
def test_a_stacks_batches_are_each_runs_rows_in_its_order(narrow: bool, classes: bool) -> None:
    x = torch.randn(ROWS, 3)
    y = torch.arange(ROWS) if classes else torch.randn(ROWS, 1)
    streams = Streams(EPOCHS)
    for seed in (5, 6, 7, 8):
        begun(seed)
        streams.add(seed)
    source = StackedSource(Part(x, y), streams, batch_size=5, runs_last=narrow)
    for epoch in range(2):
        order = source.order()
        assert torch.equal(order, streams.orders([0, 1, 2, 3], range(epoch, epoch + 1), ROWS)[0])
        found = list(source.batches(order))
        assert [batch.shape[1] for batch, _ in found] == [5, 5, 5, 5, 3]
        assert torch.equal(torch.cat([batch for batch, _ in found], 1), x[order])
        assert torch.equal(torch.cat([target for _, target in found], 1), y[order])
        assert (found[0][0].stride(0) == 1) is narrow
    source.keep([3, 1])
    assert torch.equal(source.order(), streams.orders([3, 1], range(2, 3), ROWS)[0])
    state = source.state_dict()
    fresh = StackedSource(Part(x, y), streams, batch_size=5, runs_last=narrow)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.order(), source.order())


def test_batches_gathered_in_several_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(ROWS, 3), torch.arange(ROWS)
    streams = Streams(1)
    for seed in (5, 6):
        begun(seed)
        streams.add(seed)
    for narrow in (True, False):
        source = StackedSource(Part(x, y), streams, batch_size=5, runs_last=narrow)
        order = streams.orders([0, 1], range(1), ROWS)[0]
        whole = list(source.batches(order))
        monkeypatch.setattr("ch12cli.training.batches.BLOCK", 1)
        cut = list(source.batches(order))
        monkeypatch.undo()
        assert len(cut) == len(whole) == 5
        assert all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(whole, cut, strict=True))
