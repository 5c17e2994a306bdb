"""Batches of an epoch, in a given order of the rows."""

import ctypes
import errno
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ch12cli.errors import MachineError
from ch12cli.training.streams import Streams, epoch_order
from ch12cli.training.torch_internals import aligned_size, exit_if_batch_is_not_sent, workers_of

NO_SHARED_MEMORY = errno.ENOSPC  # exit code of a DataLoader worker that could not pass a batch on
BLOCK = 2**20  # number of values gathered at once; larger blocks only use more memory


class Part:
    """One part of a data set on its device. x: (rows, features); y: (rows,) classes or (rows, 1) values.

    rows: how many of them a run has, if they are the rows of several folds, one after the other; None: all.
    """

    def __init__(self, x: Tensor, y: Tensor, *, rows: int | None = None) -> None:
        self.x, self.y = x, y
        self.rows = len(x) if rows is None else rows

    def __len__(self) -> int:
        return self.rows

    @property
    def values(self) -> int:
        """The number of values of a row of x."""
        return self.x[0].numel()

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
        return self.y[self.fold]

    def keep(self, runs: Tensor) -> None:
        self.fold = self.fold[runs]


def batches(part: Part, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the batches of one epoch: x (batch, features), y (batch[, 1]). order: (rows,)."""
    size = aligned_size(batch_size * part.x[0].numel(), part.x.dtype)  # values of a batch in memory
    for block in order.split(max(1, BLOCK // max(1, size)) * batch_size):
        yield from zip(split(part.x[block], batch_size), split(part.y[block], batch_size), strict=True)


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


class RowDataset(Dataset[tuple[Tensor, Tensor]]):
    """A part as a Dataset that fetches a batch at a time."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.part.x[row], self.part.y[row]

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        return self.part.x[rows], self.part.y[rows]


class Order(Sampler[list[int]]):
    """A batch sampler that yields the rows of the current epoch."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.rows: list[int] = []

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.rows), self.batch_size):
            yield self.rows[start : start + self.batch_size]

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)


def whole_batch(batch: Any) -> Any:
    """Returns the batch unchanged; the collate_fn for batches that are fetched at once."""
    return batch


def init_loader_worker(_number: int, *, parent: int) -> None:
    """Initialises a DataLoader worker, so that it exits with the run and ignores Ctrl-C, which the run handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.excepthook = print_unless_disconnected
    exit_if_batch_is_not_sent(exit_worker)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a worker holds the run's lock too
    if os.getppid() != parent:
        os._exit(1)


def exit_worker(error: BaseException, _batch: object) -> NoReturn:
    """Exits a DataLoader worker that cannot pass a batch on. The exit code gives the reason."""
    os._exit(NO_SHARED_MEMORY if "shared memory" in str(error) else 1)


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
    if NO_SHARED_MEMORY in exit_codes.values():
        return "the shared memory of the loader processes (/dev/shm) is full; use workers=0, or a smaller batch_size"
    number, code = next(iter(exit_codes.items()))
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"a loader process died (process {number}, {how}); try fewer workers, or workers=0"


class BatchLoader:
    """Fetches batches with persistent DataLoader workers. The batches are the same as without workers."""

    def __init__(self, part: Part, *, batch_size: int, workers: int, device: torch.device, pin_memory: bool) -> None:
        self.device = device
        self.order = Order(batch_size)
        self.loader = DataLoader(
            RowDataset(part),
            batch_sampler=self.order,
            num_workers=workers,
            collate_fn=whole_batch,
            worker_init_fn=partial(init_loader_worker, parent=os.getpid()),
            persistent_workers=workers > 0,
            pin_memory=pin_memory and device.type == "cuda",
            generator=torch.Generator(),  # separate: iterating must not draw from the run's stream
        )
        self.started = False

    def epoch(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch. order: (rows,). Raises MachineError if a worker died."""
        self.order.rows = order.tolist()
        try:
            found = iter(self.loader)
            self.put_off_alarm(found)
            for x, y in found:
                yield x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
        except (RuntimeError, OSError, EOFError) as error:  # OSError and EOFError occur while a batch is received
            reason = self.reason(error)
            if not reason:
                raise
            raise MachineError(f"workers={self.loader.num_workers}: {reason}") from error

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

        The handler would raise at once, anywhere in the program. It is restored when the batch iterator is deleted.
        """
        if not self.started and threading.current_thread() is threading.main_thread():
            handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            weakref.finalize(found, signal.signal, signal.SIGCHLD, handler).atexit = False
        self.started = True


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
        return epoch_order(len(self.part))

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        if self.loader is not None:
            return self.loader.epoch(order)
        return batches(self.part, order.to(self.part.x.device), self.batch_size)

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
        self.members = list(range(len(streams.states)))
        self.epoch = 0  # number of epochs ordered so far

    def order(self) -> Tensor:
        """Returns the order of the rows of each run in the next epoch, (runs, rows)."""
        self.epoch += 1
        order = self.streams.orders(self.members, self.epoch - 1, len(self.part))
        return order if self.starts is None else order + self.starts[self.members].unsqueeze(1)

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
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
