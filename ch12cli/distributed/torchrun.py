"""The place of this process among those that torchrun started, as its environment says."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ch12cli.errors import InputError, Problem
from ch12cli.files.plain_values import whole_number_in

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """One of several processes that train a run. rank: its number; world: how many there are; local: on its machine."""

    rank: int
    world: int
    local_rank: int
    local_world: int


def torchrun_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Returns the place of this process; None if torchrun did not start it, or started it alone."""
    numbers = [whole_number_in(environment.get(name, "")) for name in VARIABLES]
    if None in numbers or not all(map(environment.get, ADDRESS)):
        return None
    rank, world, local_rank, local_world = (number for number in numbers if number is not None)
    return Place(rank, world, local_rank, local_world) if world > 1 else None


def with_devices(overrides: Sequence[str], place: Place | None) -> list[str]:
    """Returns the overrides with `devices`, the number of processes that torchrun started, if it did.

    Raises InputError if they name another number.
    """
    if place is None:
        return list(overrides)
    given = [override for override in overrides if override.partition("=")[0] == "devices"]
    if any(override != f"devices={place.world}" for override in given):
        rule = f"torchrun started {place.world} processes"
        raise InputError(Problem.with_override(given[-1], rule, "leave it out, or train without torchrun"))
    return [*overrides, *([] if given else [f"devices={place.world}"])]


def refuse_sweep(command: str) -> None:
    """Raises InputError if torchrun started this process. command: that of the sweep, without torchrun."""
    if torchrun_place() is not None:
        rule = "a sweep starts processes of its own"
        raise InputError(Problem("torchrun", None, rule, f"leave torchrun out: {command}"))
