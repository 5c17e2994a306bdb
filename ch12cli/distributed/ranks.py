"""The processes that train one run together, and what they tell each other."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ch12cli.errors import MachineError

Value = TypeVar("Value")

PATIENCE = 1.0  # seconds in which a signal of this process, or the reason of another one's end, may still arrive
POLL = 0.05  # seconds between two looks for such a reason


class LostRankError(MachineError):
    """Raised if another process of the run has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class Ranks:
    """All processes of a run, as one of them sees them. This one is alone.

    rank: its number; the process 0 leads: it records and speaks. world: how many there are.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> None:
        """Replaces the values by their sum over all processes."""

    def gather(self, values: Tensor) -> Tensor:
        """Returns the values of all processes, (world, *shape), in the order of their numbers."""
        return values.unsqueeze(0)

    def broadcast(self, value: Value) -> Value:
        """Returns the value that process 0 gave."""
        return value


@dataclass(frozen=True)
class ConnectedRanks(Ranks):
    """Processes connected by torch.distributed.

    store: where a process that fails says why. describe_dead: says how processes ended; empty if it is not known.
    """

    store: Any = None
    describe_dead: Callable[[], str] = str

    def sum(self, values: Tensor) -> None:
        try:
            torch.distributed.all_reduce(values)
        except RuntimeError as error:
            raise self.lost() from error

    def gather(self, values: Tensor) -> Tensor:
        gathered = [torch.empty_like(values) for _ in range(self.world)]
        try:
            torch.distributed.all_gather(gathered, values.contiguous())
        except RuntimeError as error:
            raise self.lost() from error
        return torch.stack(gathered)

    def broadcast(self, value: Value) -> Value:
        values: list[Any] = [value]
        try:
            torch.distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        except RuntimeError as error:
            raise self.lost() from error
        sent: Value = values[0]
        return sent

    def report(self, reason: str) -> None:
        """Leaves for process 0 why this one ends."""
        with suppress(RuntimeError):
            self.store.set(f"failed/{self.rank}", reason)

    def lost(self) -> LostRankError:
        """Returns the error that others have ended, with their reason.

        Waits for it a little. If a signal ended all processes, this one's own arrives meanwhile.
        """
        deadline = time.monotonic() + PATIENCE
        reason = ""
        while not reason and time.monotonic() < deadline:
            time.sleep(POLL)
            reason = self.reported() or self.describe_dead()
        return LostRankError(f"devices={self.world}: {reason or 'the connection to another process was lost'}")

    def reported(self) -> str:
        """Returns why another process failed, if it said so."""
        with suppress(RuntimeError):
            for rank in range(self.world):
                if rank != self.rank and self.store.check([f"failed/{rank}"]):
                    return f"process {rank} failed: {self.store.get(f'failed/{rank}').decode()}"
        return ""
