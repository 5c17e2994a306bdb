"""Batches of an epoch, in a given order of the rows."""

import ctypes
import math
import mmap
import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ch12cli.errors import InputError, MachineError
from ch12cli.training.streams import Streams, epoch_order
from ch12cli.training.torch_internals import aligned_size, workers_of

ALIGNMENT = 64  # bytes, of new tensors: the bits of a matrix product depend on it
BLOCK = 2**20  # number of values gathered at once; larger blocks only use more memory
SENT = 2**20  # the same for streamed rows that a DataLoader worker puts into shared memory
AHEAD = 2  # how many blocks each DataLoader worker is asked for at a time, as torch does

# Gives x of some rows, (rows, …), in the order asked. The epoch is counted from 0; it is None in evaluation.
Fetch = Callable[[NDArray[np.int64], int | None], NDArray[Any]]
Arrange = Callable[[NDArray[np.int64], int | None], None]


class Part:
    """One part of a data set on its device. x: (rows, features); y: (rows,) classes or (rows, 1) values.

    rows: how many of them a run has, if they are the rows of several folds, one after the other; None: all.
    order_dtype: of the order of the rows in an epoch.
    """

    sequential = False  # whether the rows can only be gathered in their own order

    def __init__(self, x: Tensor, y: Tensor, *, rows: int | None = None) -> None:
        self.x, self.y = x, y
        self.rows = len(x) if rows is None else rows
        self.order_dtype = torch.int64

    def __len__(self) -> int:
        return self.rows

    @property
    def values(self) -> int:
        """The number of values of a row of x."""
        return self.x[0].numel()

    @property
    def device(self) -> torch.device:
        """Where the rows are gathered."""
        return self.x.device

    def rows_at_once(self, batch_size: int, *, sent: bool) -> int:
        """Returns how many rows are best gathered at once: whole batches. sent: by a DataLoader worker."""
        return batch_size if sent else self.rows_of(BLOCK, batch_size)

    def rows_of(self, values: int, batch_size: int) -> int:
        """Returns how many rows have about so many values, in whole batches, of which there is at least one."""
        size = aligned_size(batch_size * self.values, self.x.dtype)  # values of a batch in memory
        return max(1, values // max(1, size)) * batch_size

    def arrange(self, order: Tensor, epoch: int | None) -> None:
        """Is called with the order of the rows, (rows,), before they are gathered. epoch: as in gather."""

    def gather(self, rows: Tensor, epoch: int | None = None) -> tuple[Tensor, Tensor]:
        """Returns x and y of some rows, in the order asked. epoch: of training, counted from 0; None: in evaluation."""
        return self.x[rows], self.y[rows]

    def head(self, rows: int) -> tuple[Tensor, Tensor]:
        """Returns x and y of the first rows."""
        return self.x[:rows], self.y[:rows]

    def blocks(self, rows: int, *, runs: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields x and y of so many rows at a time, in order, (runs, rows, …) if there are runs."""
        for x, y in zip(self.x.split(rows), self.y.split(rows), strict=True):
            yield (x, y) if runs is None else (x.expand(runs, *x.shape), y.expand(runs, *y.shape))

    def targets(self, *, runs: int | None) -> Tensor:
        """Returns y of all rows, (runs, rows, …) if there are runs."""
        return self.y if runs is None else self.y.expand(runs, *self.y.shape)

    def keep(self, runs: Tensor) -> None:
        """Drops the runs that are not in `runs`, (kept,)."""


class FoldedPart(Part):
    """A part of several folds with equally many rows. x, y: (folds, rows, …); fold: that of each run, (runs,)."""

    def __init__(self, x: Tensor, y: Tensor, fold: Tensor) -> None:
        super().__init__(x, y, rows=x.shape[1])
        self.fold = fold

    @property
    def values(self) -> int:
        return self.x[0, 0].numel()

    @property
    def starts(self) -> Tensor:
        """Where each run's rows begin in `flat`, (runs,)."""
        return self.fold * self.rows

    def flat(self) -> Part:
        """Returns the rows of all folds, one fold after the other."""
        return Part(self.x.flatten(0, 1), self.y.flatten(0, 1), rows=self.rows)

    def blocks(self, rows: int, *, runs: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(self.x.split(rows, 1), self.y.split(rows, 1), strict=True):
            yield x[self.fold], y[self.fold]

    def targets(self, *, runs: int | None) -> Tensor:
        times = 1 if runs is None else runs // len(self.fold)  # as the epochs of a run, which are like further runs
        return self.y[self.fold.repeat(times)]

    def keep(self, runs: Tensor) -> None:
        self.fold = self.fold[runs]


class StreamedPart(Part):
    """A part whose x is fetched when it is needed, and y held. Its batches have the bits of a Part with the same rows.

    y: class numbers may be of any integers; batches have int64.

    fetch: gives x, and may be called in DataLoader workers, which are forked; it must keep no state. arrange: is called
    with the order of the rows before they are fetched. shape: of a row of x; dtype: of the network; device: where x
    goes; at_once: how many values are best fetched at once, 0: a batch.
    """

    def __init__(
        self,
        fetch: Fetch,
        y: Tensor,
        *,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        at_once: int = 0,
        sequential: bool = False,
        arrange: Arrange | None = None,
    ) -> None:
        super().__init__(torch.empty(0, *shape, dtype=dtype, device=device), y, rows=len(y))
        self.fetch, self.at_once, self.sequential = fetch, at_once, sequential
        self.order_dtype = torch.int32 if len(y) < 2**31 else torch.int64  # of so many rows it matters
        self.call_arrange = arrange
        self.loader: BatchLoader | None = None  # gathers the rows in evaluation, where there is one

    @property
    def values(self) -> int:
        return math.prod(self.x.shape[1:])

    def rows_at_once(self, batch_size: int, *, sent: bool) -> int:
        return self.rows_of(min(self.at_once, SENT) if sent else self.at_once, batch_size)

    def arrange(self, order: Tensor, epoch: int | None) -> None:
        if self.call_arrange is not None:
            self.call_arrange(order.cpu().numpy(), epoch)

    def gather(self, rows: Tensor, epoch: int | None = None) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(self.fetch(rows.cpu().numpy(), epoch))
        y = self.y[rows.to(self.y.device)]
        if not y.is_floating_point():
            y = y.long()
        moved = x.to(self.device, self.x.dtype)
        return moved if moved.data_ptr() % ALIGNMENT == 0 else moved.clone(), y

    def head(self, rows: int) -> tuple[Tensor, Tensor]:
        return self.gather(torch.arange(min(rows, len(self))))

    def targets(self, *, runs: int | None) -> Tensor:
        y = self.y if self.y.is_floating_point() else self.y.long()
        return y if runs is None else y.expand(runs, *y.shape)

    def blocks(self, rows: int, *, runs: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self), dtype=self.order_dtype)
        self.arrange(order, None)
        blocks: Iterator[tuple[Tensor, Tensor]] = map(self.gather, order.split(rows))
        if self.loader is not None:
            blocks = regrouped(self.loader.epoch(order, None), rows)
        for x, y in blocks:
            yield (x, y) if runs is None else (x.expand(runs, *x.shape), y.expand(runs, *y.shape))


def regrouped(pairs: Iterable[tuple[Tensor, Tensor]], rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields x and y of so many rows at a time from pairs of any size, each aligned in memory like a new tensor."""
    held: list[tuple[Tensor, Tensor]] = []
    for pair in pairs:
        held.append(pair)
        while (count := sum(len(y) for _, y in held)) >= rows:
            x, y = (torch.cat(values) for values in zip(*held, strict=True))
            yield (x, y) if count == rows else (x[:rows].clone(), y[:rows].clone())
            held = [(x[rows:], y[rows:])] if count > rows else []
    if held:
        x, y = (torch.cat(values) for values in zip(*held, strict=True))
        yield x, y


def batches(part: Part, order: Tensor, batch_size: int, epoch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the batches of one epoch: x (batch, features), y (batch[, 1]). order: (rows,)."""
    for block in order.split(part.rows_at_once(batch_size, sent=False)):
        yield from split_pair(part.gather(block, epoch), batch_size)


def split_pair(block: tuple[Tensor, Tensor], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the batches of newly gathered rows. block: x and y of the rows."""
    return zip(*(split(values, batch_size) for values in block), strict=True)


def split(rows: Tensor, batch_size: int) -> Sequence[Tensor]:
    """Returns the batches of newly gathered rows, each aligned in memory like a tensor of its own.

    The bits of a matrix product depend on the alignment, and a DataLoader makes a new tensor for each batch.
    """
    size = batch_size * rows[0].numel()
    place = aligned_size(size, rows.dtype)
    if size == place or len(rows) <= batch_size:
        return torch.split(rows, batch_size)
    whole = len(rows) // batch_size * batch_size  # rows in full batches
    full = rows[:whole].unflatten(0, (-1, batch_size))  # (batches, batch, ...)
    batches: tuple[Tensor, ...] = rows.new_empty(len(full), place)[:, :size].view(full.shape).copy_(full).unbind()
    return batches if whole == len(rows) else (*batches, rows[whole:].clone())


class Asked(NamedTuple):
    """What a DataLoader worker is asked for: rows of a part, (rows,), in an epoch, counted from 0, put into a slot."""

    rows: NDArray[np.int64]
    epoch: int | None
    slot: int


def shared_empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """Returns a new tensor in memory that DataLoader workers share."""
    if multiprocessing.get_start_method() != "fork":
        shared: Tensor = torch.empty(*shape, dtype=dtype).share_memory_()
        return shared
    size = math.prod(shape) * dtype.itemsize
    memory = mmap.mmap(-1, max(1, size))  # not in /dev/shm, which containers keep small
    return torch.frombuffer(memory, dtype=torch.uint8)[:size].view(dtype).view(*shape)


class Slots:
    """Memory that processes share, in which workers put rows. It is used again and again: new memory costs more.

    count: how many slots; rows: how many of `part` each holds.
    """

    def __init__(self, part: Part, *, count: int, rows: int) -> None:
        y_dtype = part.y.dtype if part.y.is_floating_point() else torch.int64
        self.x = shared_empty(count, rows, *part.x.shape[1:], dtype=part.x.dtype)
        self.y = shared_empty(count, rows, *part.y.shape[1:], dtype=y_dtype)

    def put(self, slot: int, x: Tensor, y: Tensor) -> None:
        self.x[slot, : len(y)] = x
        self.y[slot, : len(y)] = y

    def get(self, slot: int, rows: int) -> tuple[Tensor, Tensor]:
        """Returns x and y of the first rows of a slot, which the next put changes."""
        return self.x[slot, :rows], self.y[slot, :rows]


class Filled(NamedTuple):
    """What a DataLoader worker answers: where the rows are, and how many."""

    slot: int
    rows: int


class RowDataset(Dataset[tuple[Tensor, Tensor]]):
    """A part as a Dataset that gathers many rows at once, into slots."""

    def __init__(self, part: Part, slots: Slots) -> None:
        self.part, self.slots = part, slots

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = self.part.gather(torch.tensor([row]))
        return x[0], y[0]

    def __getitems__(self, asked: Asked) -> "Filled | InputError":
        """Gathers some rows. Returns an InputError, which torch would raise as another text."""
        try:
            x, y = self.part.gather(torch.from_numpy(asked.rows), asked.epoch)
        except InputError as error:
            return InputError(error.problems)
        self.slots.put(asked.slot, x, y)
        return Filled(asked.slot, len(y))


class Order(Sampler[Asked]):
    """A batch sampler that yields the rows of the current epoch, so many at once, each with the next of the slots."""

    def __init__(self, rows_at_once: int, slots: int) -> None:
        self.rows_at_once, self.slots = rows_at_once, slots
        self.rows = np.empty(0, np.int64)
        self.epoch: int | None = 0

    def __iter__(self) -> Iterator[Asked]:
        for number, start in enumerate(range(0, len(self.rows), self.rows_at_once)):
            yield Asked(self.rows[start : start + self.rows_at_once], self.epoch, number % self.slots)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.rows_at_once)


def unchanged(gathered: Any) -> Any:
    """Returns its argument; the collate_fn for rows that are gathered at once."""
    return gathered


def init_loader_worker(_number: int, *, parent: int) -> None:
    """Initialises a DataLoader worker, so that it exits with the run and ignores Ctrl-C, which the run handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.excepthook = print_unless_disconnected
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a worker holds the run's lock too
    if os.getppid() != parent:
        os._exit(1)


def print_unless_disconnected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an exception of a DataLoader worker, except when the run was interrupted and closed the connection."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def exit_codes_of(processes: Sequence[Any]) -> dict[int, int]:
    """Returns the exit codes of the processes that have ended, by process ID.

    Waits briefly for those that are ending.
    """
    for process in processes:
        process.join(0.1)
    return {process.pid: process.exitcode for process in processes if process.exitcode is not None}


def describe_failure(exit_codes: Mapping[int, int]) -> str:
    """Returns why there are no more batches. exit_codes: of the workers that have ended, by process ID."""
    if not exit_codes:
        return ""
    number, code = next(iter(exit_codes.items()))
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"a loader process died (process {number}, {how}); try fewer workers, or workers=0"


def as_bytes(values: Tensor) -> NDArray[np.uint8]:
    """Returns the memory of contiguous values, (bytes,)."""
    return values.view(-1).view(torch.uint8).numpy()


class BatchLoader:
    """Fetches batches with persistent DataLoader workers. The batches are the same as without workers."""

    def __init__(self, part: Part, *, batch_size: int, workers: int, device: torch.device, pin_memory: bool) -> None:
        self.device, self.batch_size = device, batch_size
        self.pin_memory = pin_memory and device.type == "cuda"
        if part.sequential:
            workers = min(workers, 1)  # of which each would go through all rows
        rows = part.rows_at_once(batch_size, sent=True)
        count = workers * AHEAD + 1  # the next is asked for before this process has copied the one that it got
        self.slots = Slots(part, count=count, rows=min(rows, len(part)))
        self.order = Order(rows, count)
        self.loader = DataLoader(
            RowDataset(part, self.slots),
            batch_sampler=cast(Any, self.order),  # torch's type is for lists of rows
            num_workers=workers,
            prefetch_factor=AHEAD,
            collate_fn=unchanged,
            worker_init_fn=partial(init_loader_worker, parent=os.getpid()),
            persistent_workers=True,
            generator=torch.Generator(),  # separate: iterating must not draw from the run's stream
        )
        self.started = False

    def epoch(self, order: Tensor, epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch, counted from 0; None: of an evaluation. order: (rows,).

        Raises MachineError if a worker died, and what a worker met in the rows.
        """
        self.order.rows, self.order.epoch = order.numpy(), epoch
        try:
            found = iter(self.loader)
            self.put_off_alarm(found)
            for block in found:
                if isinstance(block, InputError):
                    raise block
                x, y = (self.copied(values) for values in self.slots.get(*block))
                yield from split_pair((x, y), self.batch_size)
        except (RuntimeError, OSError, EOFError) as error:  # OSError and EOFError occur while a batch is received
            reason = self.reason(error)
            if not reason:
                raise
            raise MachineError(f"workers={self.loader.num_workers}: {reason}") from error

    def copied(self, values: Tensor) -> Tensor:
        """Returns new values on the device."""
        if self.device.type != "cpu":
            return (values.pin_memory() if self.pin_memory else values).to(self.device, non_blocking=self.pin_memory)
        new = torch.empty_like(values)
        np.copyto(as_bytes(new), as_bytes(values))  # torch's threads would wait for the cores of the workers
        return new

    def reason(self, error: Exception) -> str:
        """Returns why there are no batches if a DataLoader worker is the cause; else an empty text."""
        workers = workers_of(self.loader)
        if workers is not None:
            return describe_failure(exit_codes_of(workers))
        if isinstance(error, OSError):
            return f"cannot start loader processes, which need shared memory: {error.strerror}; use workers=0"
        return ""

    def put_off_alarm(self, found: object) -> None:
        """Disables torch's SIGCHLD handler, so that the next fetch reports a dead worker.

        The handler would raise at once, anywhere in the program. It is restored with the last batch iterator.
        """
        if not self.started and threading.current_thread() is threading.main_thread():
            ALARM.put_off()
            weakref.finalize(found, ALARM.restore).atexit = False
        self.started = True


class Alarm:
    """The program's handler of SIGCHLD while batch iterators do without it, of which several may live at a time."""

    def __init__(self) -> None:
        self.iterators = 0
        self.handler: Any = None

    def put_off(self) -> None:
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if not self.iterators:
            self.handler = handler
        self.iterators += 1

    def restore(self) -> None:
        self.iterators -= 1
        if not self.iterators:
            signal.signal(signal.SIGCHLD, self.handler)


ALARM = Alarm()


class Shuffled:
    """The batches of a single run, shuffled in each epoch from torch's default random stream."""

    def __init__(self, part: Part, *, batch_size: int, workers: int, device: torch.device, pin_memory: bool) -> None:
        self.part, self.batch_size, self.device = part, batch_size, device
        self.loader = (
            BatchLoader(part, batch_size=batch_size, workers=workers, device=device, pin_memory=pin_memory)
            if workers
            else None
        )

    def order(self) -> Tensor:
        """Returns the order of the rows in the next epoch, (rows,)."""
        rows, dtype = len(self.part), self.part.order_dtype
        return torch.arange(rows, dtype=dtype) if self.part.sequential else epoch_order(rows, dtype)

    def batches(self, order: Tensor, epoch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        self.part.arrange(order, epoch)
        if self.loader is not None:
            return self.loader.epoch(order, epoch)
        return batches(self.part, order.to(self.part.device), self.batch_size, epoch)

    def state_dict(self) -> dict[str, Any]:
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)


class StackedSource:
    """The batches of all runs of a stack. members: the indices of its runs in `streams`.

    starts: where each run's rows begin in the part, (runs,), if it has those of several folds.
    """

    def __init__(
        self, part: Part, streams: Streams, *, batch_size: int, runs_last: bool, starts: Tensor | None = None
    ) -> None:
        self.part, self.streams, self.batch_size, self.runs_last = part, streams, batch_size, runs_last
        self.starts = None if starts is None else starts.cpu()
        self.members = list(range(len(streams)))
        self.epoch = 0  # number of epochs ordered so far

    def order(self) -> Tensor:
        """Returns the order of the rows of each run in the next epoch, (runs, rows)."""
        return self.orders(1)[0]

    def orders(self, epochs: int) -> Tensor:
        """Returns the order of the rows of each run in the next epochs, (epochs, runs, rows)."""
        self.epoch += epochs
        orders = self.streams.orders(self.members, range(self.epoch - epochs, self.epoch), len(self.part))
        return orders if self.starts is None else orders + self.starts[self.members].unsqueeze(1).to(orders.device)

    def batches(self, order: Tensor, epoch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields x (runs, batch, features), y (runs, batch[, 1]), in the memory layout of the stack."""
        order = order.to(self.part.x.device)
        size = max(1, self.part.x[0].numel() * order.shape[0])
        block_rows = max(1, 4 * BLOCK // size // self.batch_size) * self.batch_size
        for block in order.split(block_rows, 1):
            if self.runs_last:
                last = block.t().contiguous()  # (rows, runs); gathered values have the same memory layout
                x = self.part.x.t()[:, last].permute(2, 1, 0)  # (features, rows, runs) -> (runs, rows, features)
                y = self.part.y[last].transpose(0, 1)  # (rows, runs[, 1]) -> (runs, rows[, 1])
            else:
                x, y = self.part.x[block], self.part.y[block]
            yield from zip(x.split(self.batch_size, 1), y.split(self.batch_size, 1), strict=True)

    def keep(self, rows: list[int]) -> None:
        self.members = [self.members[row] for row in rows]

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "members": list(self.members)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.members = state["epoch"], list(state["members"])
