"""Random streams: draws the row orders of a shuffled DataLoader without a DataLoader."""

import zlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def seed_stream(seed: int, *, offset: int = 0, devices: bool = True) -> None:
    """Seeds torch's default random stream, then skips `offset` 64-bit numbers.

    devices: whether to seed GPU streams too. torch queues these calls until a GPU is used.
    """
    if devices:
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
    torch.empty(offset, dtype=torch.int64).random_()


def epoch_order(rows: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Returns the order of the rows in one epoch, (rows,) integers, from torch's default stream.

    Draws the same numbers as `DataLoader(…, shuffle=True)` when it is iterated: a base seed for its workers, unused
    here, and the seed of the permutation. They do not depend on the dtype.
    """
    _base_seed, seed = torch.empty(2, dtype=torch.int64).random_().tolist()
    generator = torch.Generator()
    generator.manual_seed(seed)
    return torch.randperm(rows, generator=generator, dtype=dtype)


class Streams:
    """The random streams of many runs, each starting from its state after the run's network was built.

    add: records the default stream as the next run's, and draws the seeds of its row orders for all epochs. The orders
    equal those of a single run unless something else, such as dropout, draws from its stream.
    draw: draws the orders (runs, rows) of many seeds at once as torch.randperm does; None: torch draws them one by one.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.states: list[Tensor] = []
        self.seeds: list[NDArray[np.int64]] = []  # seeds of each run's orders, (epochs,)
        self.table: NDArray[np.int64] | None = None  # all of them, (runs, epochs)
        self.generator = torch.Generator()
        self.draw: Callable[[NDArray[np.int64], int], Tensor] | None = None

    def add(self) -> None:
        self.table = None
        self.states.append(torch.get_rng_state())
        self.seeds.append(torch.empty(self.epochs, 2, dtype=torch.int64).random_()[:, 1].numpy().copy())

    def orders(self, runs: list[int], epochs: range, rows: int) -> Tensor:
        """Returns the orders of the rows of some runs in epochs, counted from 0: (epochs, runs, rows) int64."""
        if self.table is None:
            self.table = np.stack(self.seeds)
        seeds = self.table[runs, epochs.start : epochs.stop].T  # (epochs, runs)
        if self.draw is not None:
            return self.draw(seeds.ravel(), rows).view(*seeds.shape, rows)
        orders = torch.empty(*seeds.shape, rows, dtype=torch.int64)
        for order, seed in zip(orders.view(-1, rows), seeds.ravel().tolist(), strict=True):
            self.generator.manual_seed(seed)
            torch.randperm(rows, generator=self.generator, out=order)
        return orders

    def state_after(self, run: int, epochs: int) -> Tensor:
        """Returns the state of a run's stream after `epochs` epochs, in the form of torch.get_rng_state."""
        return advanced(self.states[run], epochs)


def advanced(state: Tensor, epochs: int) -> Tensor:
    """Returns the state of a stream after the orders of `epochs` more epochs were drawn from it."""
    generator = torch.Generator()
    generator.set_state(state)
    torch.empty(epochs, 2, dtype=torch.int64).random_(generator=generator)
    return generator.get_state()


def drawn_state(seed: int, draws: int) -> Tensor:
    """Returns the state of a stream that was seeded, and from which so many 32-bit numbers were drawn."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    torch.empty(draws, dtype=torch.int32).random_(generator=generator)
    return generator.get_state()


BLOCK = 624  # numbers that the generator makes at once
MOST_BLOCKS = 32  # a network that draws more has so many weights that its state is small beside them


def draws_of(state: Tensor, seed: int, *, likely: int | None) -> int | None:
    """Returns how many 32-bit numbers were drawn from a stream since it was seeded; None if that is not found.

    likely: what is tried first, such as the number of another run with the same network.
    """
    if likely is not None and torch.equal(drawn_state(seed, likely), state):
        return likely
    for blocks in range(MOST_BLOCKS):
        used = int.from_bytes(state.numpy()[16:24].tobytes(), "little")  # of the block that it draws from now
        if torch.equal(drawn_state(seed, blocks * BLOCK + used), state):
            return blocks * BLOCK + used
    return None


def checksum_of(state: Tensor) -> int:
    """Returns the CRC-32 of a state."""
    return zlib.crc32(state.numpy().tobytes())
