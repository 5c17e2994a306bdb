"""What a worker tells of the item that it does."""

from typing import NamedTuple

from ch12cli.files.result_json import Result


class Done(NamedTuple):
    """A job that has ended, by its number, and its result."""

    number: int
    result: Result

    @property
    def status(self) -> str:
        return self.result.status


class Progress(NamedTuple):
    """How far a stack is. best: the monitored metric's best value among its runs so far; minimise: less is better."""

    epoch: int
    running: int
    best: float
    minimise: bool = True


class Unstacked(NamedTuple):
    """A stack of so many runs could not go on. then: how its jobs are trained instead."""

    reason: str
    runs: int
    then: str


class Trying(NamedTuple):
    """The network of a job is about to be built by itself; None: that has been done with all of an item."""

    number: int | None


Told = Done | Progress | Unstacked
Event = Told | Trying
