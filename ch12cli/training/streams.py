"""Random streams: draws the row orders of a shuffled DataLoader without a DataLoader."""

import zlib
from collections.abc import Callable, Sequence

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


StatesOf = Callable[[NDArray[np.int64], int], NDArray[np.uint8]]
Origin = tuple[int, int, int]  # a stream's seed, how many 32-bit numbers were drawn from it, the CRC-32 of its state


class Streams:
    """The random streams of many runs, each starting from its state after the run's network was built.

    add: records the default stream as the next run's, and draws the seeds of its row orders for all epochs. The orders
    equal those of a single run unless something else, such as dropout, draws from its stream.
    begin: takes the streams of all runs, whose numbers were drawn at once.
    draw: draws the orders (runs, rows) of many seeds at once as torch.randperm does; None: torch draws them one by one.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.seeds: list[int] = []
        self.states: list[Tensor] = []  # of the runs that were added
        self.order_seeds: list[NDArray[np.int64]] = []  # of each run, (epochs,)
        self.table: NDArray[np.int64] | None = None  # all of them, (runs, epochs)
        self.likely: int | None = None  # how many numbers the network of the run before drew, of those that were added
        self.drawn: tuple[int, StatesOf] | None = None  # what `begin` was given
        self.generator = torch.Generator()
        self.draw: Callable[[NDArray[np.int64], int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def add(self, seed: int) -> None:
        """Adds the default stream, which was seeded with `seed`."""
        self.table = None
        self.seeds.append(seed)
        self.states.append(torch.get_rng_state())
        self.order_seeds.append(torch.empty(self.epochs, 2, dtype=torch.int64).random_()[:, 1].numpy().copy())

    def begin(self, seeds: Sequence[int], draws: int, order_seeds: NDArray[np.int64], states_of: StatesOf) -> None:
        """Takes streams from each of which `draws` numbers were drawn before the seeds of the orders, (runs, epochs).

        states_of: returns the states of streams that were seeded, after so many 32-bit numbers, (runs, bytes).
        """
        self.seeds, self.table, self.drawn = list(seeds), order_seeds, (draws, states_of)

    def orders(self, runs: list[int], epochs: range, rows: int) -> Tensor:
        """Returns the orders of the rows of some runs in epochs, counted from 0: (epochs, runs, rows) int64."""
        if self.table is None:
            self.table = np.stack(self.order_seeds)
        seeds = self.table[runs, epochs.start : epochs.stop].T  # (epochs, runs)
        if self.draw is not None:
            return self.draw(seeds.ravel(), rows).view(*seeds.shape, rows)
        orders = torch.empty(*seeds.shape, rows, dtype=torch.int64)
        for order, seed in zip(orders.view(-1, rows), seeds.ravel().tolist(), strict=True):
            self.generator.manual_seed(seed)
            torch.randperm(rows, generator=self.generator, out=order)
        return orders

    def states_after(self, runs: list[int], epochs: int) -> NDArray[np.uint8]:
        """Returns the states of runs' streams after `epochs` epochs, as torch.get_rng_state has them: (runs, bytes)."""
        if self.drawn is None:
            return np.stack([advanced(self.states[run], epochs).numpy() for run in runs])
        draws, states_of = self.drawn
        return states_of(np.array(self.seeds)[runs], draws + NUMBERS_OF_EPOCH * epochs)

    def origins(self, runs: list[int]) -> list[Origin | None]:
        """Returns how the streams of runs are made again as they were before the first epoch. None: it is not known."""
        return [
            self.origin(self.seeds[run], state) for run, state in zip(runs, self.states_after(runs, 0), strict=True)
        ]

    def origin(self, seed: int, state: NDArray[np.uint8]) -> Origin | None:
        """Returns the origin of a stream that is in this state before the first epoch."""
        if self.drawn is None:
            draws = draws_of(state, seed, likely=self.likely)
            self.likely = self.likely if draws is None else draws
        else:
            draws = self.drawn[0]
        return None if draws is None else (seed, draws, checksum_of(state))


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


NUMBERS_OF_EPOCH = 4  # of 32 bits: the base seed of the workers, and the seed of the permutation
BLOCK = 624  # numbers that the generator makes at once
MOST_BLOCKS = 32  # a network that draws more has so many weights that its state is small beside them


def draws_of(state: NDArray[np.uint8], seed: int, *, likely: int | None) -> int | None:
    """Returns how many 32-bit numbers were drawn from a stream since it was seeded; None if that is not found.

    likely: what is tried first, such as the number of another run with the same network.
    """
    if likely is not None and np.array_equal(drawn_state(seed, likely), state):
        return likely
    for blocks in range(MOST_BLOCKS):
        used = int.from_bytes(state[16:24].tobytes(), "little")  # of the block that it draws from now
        if np.array_equal(drawn_state(seed, blocks * BLOCK + used), state):
            return blocks * BLOCK + used
    return None


def checksum_of(state: NDArray[np.uint8]) -> int:
    """Returns the CRC-32 of a state."""
    return zlib.crc32(state.data)
