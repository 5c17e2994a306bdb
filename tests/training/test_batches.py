"""Batches and their order against torch's own DataLoader, with and without worker processes."""

import gc
import os
import signal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.errors import MachineError
from ch12cli.training import batches as module
from ch12cli.training.batches import Part, Shuffled, StreamedPart, batches
from ch12cli.training.streams import epoch_order, seed_stream

CPU = torch.device("cpu")


def part_of(rows: int = 23) -> Part:
    generator = torch.Generator().manual_seed(9)
    return Part(torch.randn(rows, 3, generator=generator), torch.randint(4, (rows,), generator=generator))


def source(part: Part, *, batch_size: int, workers: int = 0) -> Shuffled:
    return Shuffled(part, batch_size=batch_size, workers=workers, device=CPU, pin_memory=False)


def by_torch(part: Part, batch_size: int, epochs: int, seed: int) -> list[list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(part.x, part.y), batch_size, shuffle=True)
    return [[(x, y) for x, y in loader] for _ in range(epochs)]


def equal(mine: list[tuple[Tensor, Tensor]], theirs: list[tuple[Tensor, Tensor]]) -> bool:
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(mine, theirs, strict=True))


@pytest.mark.sample(3)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_batches_and_stream_are_those_of_a_shuffled_dataloader(batch_size: int, workers: int) -> None:
    part = part_of()
    with torch.random.fork_rng():
        expected = by_torch(part, batch_size, 3, seed=11)
        after = torch.rand(3)
        torch.manual_seed(11)
        mine = source(part, batch_size=batch_size, workers=workers)
        found = [list(mine.batches(mine.order())) for _ in range(3)]
        assert torch.equal(torch.rand(3), after)
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.equal(found[0][0][0], found[1][0][0])  # the epochs differ


def test_the_labels_of_two_epochs_equal_the_chapters() -> None:
    """Seed 1, four rows of rand(4, 3) with labels 0 to 3, batch 2, shuffled: one pass, then two epochs."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        part = Part(torch.rand(4, 3), torch.arange(4))
        torch.manual_seed(1)
        mine = source(part, batch_size=2)
        labels = [[y.tolist() for _, y in mine.batches(mine.order())] for _ in range(3)]
    assert labels == [[[2, 0], [1, 3]], [[0, 2], [1, 3]], [[3, 2], [0, 1]]]


def test_an_epochs_order_draws_two_numbers_of_64_bits() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        epoch_order(10)
        after = torch.rand(2)
        torch.manual_seed(3)
        for _ in range(2):
            torch.empty((), dtype=torch.int64).random_()
        assert torch.equal(torch.rand(2), after)


@pytest.mark.parametrize("offset", [0, 1, 402])
def test_stream_offset_skips_the_first_numbers_of_the_stream(offset: int) -> None:
    with torch.random.fork_rng():
        seed_stream(5, offset=offset)
        mine = torch.rand(3)
        torch.manual_seed(5)
        for _ in range(offset):
            torch.empty((), dtype=torch.int64).random_()
        assert torch.equal(torch.rand(3), mine)


def test_a_restored_state_gives_the_same_orders() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        mine = source(part_of(), batch_size=5)
        mine.order()
        state = mine.state_dict()
        orders = [mine.order() for _ in range(2)]
        torch.manual_seed(99)
        mine.load_state_dict(state)
        assert all(torch.equal(mine.order(), order) for order in orders)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
@pytest.mark.parametrize("features", [1, 5, 16])
def test_each_batch_is_aligned_in_memory_like_a_new_tensor(features: int, batch_size: int, dtype: torch.dtype) -> None:
    part = Part(torch.rand(131, features, dtype=dtype), torch.arange(131))
    order = torch.randperm(131)
    found = list(batches(part, order, batch_size))
    assert torch.equal(torch.cat([y for _, y in found]), order)
    assert torch.equal(torch.cat([x for x, _ in found]), part.x[order])
    for x, y in found:
        assert x.is_contiguous()
        assert (x.data_ptr() % 64, y.data_ptr() % 64) == (0, 0)


@pytest.mark.parametrize("block", [1, 10, 60, 10**6])
def test_the_size_of_the_blocks_changes_no_batch(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of()
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(module, "BLOCK", block)
    found = list(batches(part, order, 4))
    assert [len(x) for x, _ in found] == [4, 4, 4, 4, 4, 3]
    assert torch.equal(torch.cat([x for x, _ in found]), part.x[order])
    assert torch.equal(torch.cat([y for _, y in found]), part.y[order])


def test_a_killed_loader_process_raises_a_machine_error_in_every_phase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)  # seconds; torch's are 5
    with torch.random.fork_rng():
        mine = source(part_of(4000), batch_size=2, workers=2)
        found = iter(mine.batches(mine.order()))
        next(found)
        assert mine.loader is not None
        iterator = mine.loader.loader._iterator
        assert iterator is not None
        worker = iterator._workers[0]  # type: ignore[attr-defined]
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        assert sum(range(100_000)) > 0  # elsewhere nothing is raised
        with pytest.raises(MachineError, match="workers=0"):
            list(found)


@pytest.mark.slow
def test_the_programs_signal_handlers_are_restored() -> None:
    seen = []
    before = signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
    try:
        with torch.random.fork_rng():
            first, second = (source(part_of(), batch_size=4, workers=1) for _ in range(2))  # to train, to validate
            for each in (first, second):
                assert len(list(each.batches(each.order()))) == 6
            assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
            del first, each
            gc.collect()
            assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
            del second
            gc.collect()
        assert callable(signal.getsignal(signal.SIGCHLD))
    finally:
        signal.signal(signal.SIGCHLD, before)


def streamed(part: Part, at_once: int = 0, dtype: torch.dtype = torch.float32) -> StreamedPart:
    """The same rows, fetched from float64 as a file holds them."""
    held = part.x.double().numpy()
    return StreamedPart(
        lambda rows, _epoch: held[rows], part.y, shape=part.x.shape[1:], dtype=dtype, device=CPU, at_once=at_once
    )


@pytest.mark.sample(2)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at_once", [0, 30, 10**6])
def test_the_batches_of_a_streamed_part_are_those_of_one_in_memory(workers: int, at_once: int) -> None:
    part = part_of(131)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        held = source(part, batch_size=5)
        expected = [list(held.batches(held.order())) for _ in range(2)]
        torch.manual_seed(2)
        mine = source(streamed(part, at_once), batch_size=5, workers=workers)
        found = [list(mine.batches(mine.order(), epoch)) for epoch in range(2)]
    for one, other in zip(found, expected, strict=True):
        assert equal(one, other)
        assert [x.data_ptr() % 64 for x, _ in one] == [0] * len(one)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_epoch_reaches_the_fetch_of_a_streamed_part(workers: int) -> None:
    """x of a row is its number and the epoch, so that the number of workers changes nothing."""

    def fetch(rows: NDArray[np.int64], epoch: int | None) -> NDArray[np.float64]:
        return np.stack([rows, np.full(len(rows), -1 if epoch is None else epoch)], 1).astype(np.float64)

    part = StreamedPart(fetch, torch.arange(9), shape=(2,), dtype=torch.float32, device=CPU)
    mine = source(part, batch_size=4, workers=workers)
    for epoch in (0, 1):
        order = mine.order()
        x = torch.cat([x for x, _ in mine.batches(order, epoch)])
        assert x.tolist() == [[row, epoch] for row in order.tolist()]
    assert part.head(2)[0].tolist() == [[0, -1], [1, -1]]


def test_a_streamed_part_is_evaluated_in_order() -> None:
    part = part_of(23)
    blocks = list(streamed(part).blocks(10, runs=None))
    assert [len(x) for x, _ in blocks] == [10, 10, 3]
    assert equal(blocks, list(part.blocks(10, runs=None)))
