"""How many runs a stack takes: as many as are fastest, and fit into memory."""

import os
from collections.abc import Mapping
from typing import Any

from ch12cli.run.task import choose_device
from ch12cli.sweep.groups import Group

RUNS_AT_LEAST = 32  # in one stack, before a second process is worth its start
RUNS_AT_MOST = 4096  # in one stack: beyond, nothing is gained
MEMORY = 512 * 2**20  # bytes that one stack may take
# Bytes that a step of a stack may go through on a CPU. What fits into the processor's cache is there for the next step:
# with 8 to 256 runs of widths 32 to 256, 128 to 4,096 of widths 16 and 32, and convolutions, 8 to 24 MiB were fastest:
# by up to a third on one core, by a twentieth to a seventh in whole sweeps on two, which share a cache of 32 MiB.
CACHE = 16 * 2**20
STREAM = 6000  # bytes of a run's random stream
PASSES = 2  # in which what the layers give is held: forward and backward
COPIES = 14  # of its parameters that a run holds: gradient, optimiser, best epoch, last epoch, what is being computed
COPIES_OF_STEP = 6  # of them that a step goes through


def bytes_of_step(group: Group, *, copies: int = COPIES_OF_STEP) -> int:
    """About how much memory a step goes through for one run of a stack."""
    size = 8 if group.settings["precision"] == "float64" else 4
    batch_size: int = group.settings["batch_size"]
    return size * (copies * group.parameters + PASSES * batch_size * group.values)


def bytes_of_run(group: Group) -> int:
    """About how much memory one run of a stack takes."""
    history = 10 * 8 * int(group.settings["epochs"])
    return bytes_of_step(group, copies=COPIES) + history + STREAM


def runs_that_fit(group: Group) -> int:
    """Most runs of a group that one stack may take."""
    asked = group.settings["sweep"]["max_stacked"]
    if asked != "auto":
        return int(asked)
    return max(2, min(RUNS_AT_MOST, MEMORY // bytes_of_run(group)))


def runs_that_suit(group: Group) -> int:
    """Most runs of a group that one stack takes where it is free to take fewer."""
    runs = runs_that_fit(group)
    if group.settings["sweep"]["max_stacked"] != "auto" or choose_device(group.settings["device"]).type != "cpu":
        return runs
    return max(2, min(runs, CACHE // max(1, bytes_of_step(group))))


def processes_for(settings: Mapping[str, Any]) -> int:
    """How many processes train the stacks of jobs with these settings: one a core; one for a GPU, which all share."""
    asked = settings["sweep"]["processes"]
    if asked != "auto":
        return int(asked)
    on_cpu = choose_device(settings["device"]).type == "cpu"
    return len(os.sched_getaffinity(0)) if on_cpu and hasattr(os, "sched_getaffinity") else 1


def stacks_of(group: Group, runs: int) -> list[int]:
    """How many of so many runs of a group go into each stack."""
    return stack_sizes(runs, at_most=runs_that_suit(group), processes=processes_for(group.settings))


def stack_sizes(runs: int, *, at_most: int, processes: int) -> list[int]:
    """How many runs go into each stack: as few stacks as fit, but as many for each process if they are worth it."""
    stacks = max(-(-runs // at_most), min(processes, runs // RUNS_AT_LEAST), 1)
    even = -(-stacks // processes) * processes
    if runs >= even * RUNS_AT_LEAST:  # or one process would work on while the others have nothing left to do
        stacks = even
    return [runs // stacks + (place < runs % stacks) for place in range(stacks)]
