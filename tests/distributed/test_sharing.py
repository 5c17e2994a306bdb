"""Which rows of each batch a process computes, against a loop over the batches."""

import itertools

import pytest
import torch

from ch12cli.distributed.ranks import Ranks
from ch12cli.distributed.shared_network import shares_of
from ch12cli.distributed.sharing import SharedSource, Sharing, shard_bounds
from ch12cli.training.batches import Part

CPU = torch.device("cpu")
WORLDS = [(1, 4), (2, 2), (2, 4), (3, 3), (3, 6), (4, 4)]  # processes, shards


def sharing_of_rank(rank: int, world: int, shards: int) -> Sharing:
    return Sharing(Ranks(rank, world), shards, is_exact=True)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 64])
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_shards_follow_one_another_and_are_as_even_as_possible(rows: int, shards: int) -> None:
    bounds = shard_bounds(rows, shards)
    assert [row for start, end in bounds for row in range(start, end)] == list(range(rows))
    sizes = [end - start for start, end in bounds]
    assert len(sizes) == shards
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("rows", "batch_size"), [(20, 8), (16, 4), (5, 2), (3, 7), (9, 4), (1, 1)])
@pytest.mark.parametrize(("world", "shards"), WORLDS)
def test_each_row_of_an_epoch_is_computed_once(rows: int, batch_size: int, world: int, shards: int) -> None:
    every = [sharing_of_rank(0, world, shards).places_of(rank, rows, min(rows, batch_size)) for rank in range(world)]
    assert sorted(itertools.chain(*every)) == list(range(rows))


@pytest.mark.parametrize(("rows", "batch_size"), [(20, 8), (16, 4), (5, 2), (3, 7), (9, 4)])
@pytest.mark.parametrize(("world", "shards"), WORLDS)
def test_the_shards_of_all_processes_are_the_batches_of_one(
    rows: int, batch_size: int, world: int, shards: int
) -> None:
    x = torch.arange(rows * 3.0).view(rows, 3)
    part = Part(x, 10 * x[:, :1])
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(rows))
    sources = [
        SharedSource(
            part, sharing_of_rank(rank, world, shards), batch_size=batch_size, workers=0, device=CPU, pin_memory=False,
            y=part.y,
        )
        for rank in range(world)
    ]  # fmt: skip
    epochs = [list(source.batches(order)) for source in sources]
    batches = order.split(batch_size)
    assert {len(epoch) for epoch in epochs} == {len(batches)}
    for number, batch in enumerate(batches):
        found = [shard for epoch in epochs for shard in epoch[number][0]]
        bounds = shard_bounds(len(batch), shards)
        for shard, (start, end) in zip(found, bounds, strict=True):
            expected = x[batch[start:end]] if end > start else x[batch[:1]]  # without rows: the first, which counts 0
            assert torch.equal(shard, expected)
            assert shard.data_ptr() % 64 == 0  # aligned like a tensor of its own, for the same bits
        assert all(torch.equal(epoch[number][1], part.y[batch]) for epoch in epochs)


def test_a_loss_counts_by_its_rows_or_their_weights() -> None:
    y = torch.tensor([0, 1, 2, 2, 0])
    assert shares_of(torch.nn.CrossEntropyLoss(), y, 2) == [3 / 5, 2 / 5]
    assert shares_of(torch.nn.CrossEntropyLoss(), y, 6) == [1 / 5] * 5 + [0]
    weighted = shares_of(torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), y, 2)
    assert torch.allclose(torch.stack(weighted), torch.tensor([6 / 10, 4 / 10]).double())
    assert shares_of(torch.nn.MSELoss(reduction="sum"), y[:1], 2) == [1, 0]
