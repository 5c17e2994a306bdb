"""Groups of jobs with the same structure, and the sizes of the stacks that they are trained in."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ch12cli.config.run_settings import RunSettings
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plain_values import is_finite_number
from ch12cli.run.task import choose_device
from ch12cli.sweeps.jobs import IRRELEVANT, SweepJob
from ch12cli.training.optimizers import OPTIMIZERS

# What may differ between the runs of a stack, where it is a number.
FREE = (
    "seed",
    "stream_offset",
    "clip_grad_norm",
    "clip_grad_value",
    "early_stopping.patience",
    "early_stopping.min_delta",
)
FREE_GROUPS = ("optimizer.", "scheduler.")


@dataclass(frozen=True)
class Group:
    """Jobs of one structure. reason: why they are trained one by one, empty if they are trained as a stack.

    parameters: of one network; values: that its layers give for a row of data; both 0 before a trial build.
    """

    jobs: Sequence[SweepJob]
    reason: str = ""
    parameters: int = 0
    values: int = 0

    @cached_property
    def settings(self) -> RunSettings:
        """Those of its first job, which all share but for what may differ."""
        return self.jobs[0].run_settings


def structure(job: SweepJob, shared: dict[int, dict[str, str]]) -> tuple[tuple[str, str], ...]:
    """What must be equal for jobs to be stacked: every setting but those that a stack has for each run.

    shared: of the bases that have been seen, by id.
    """
    base = id(job.base)
    if base not in shared:
        paths = [(path, kind(path, value)) for path, value in flatten(job.base.resolved)]
        shared[base] = {path: text for path, text in paths if not path.startswith(IRRELEVANT)}
    changes = {path: kind(path, value) for path, value in job.changes.items() if not path.startswith(IRRELEVANT)}
    return tuple({**shared[base], **changes}.items())


def kind(path: str, value: Any) -> str:
    """A value as far as it matters for stacking: of what may differ, only that it is a number."""
    if path in FREE or path.startswith(FREE_GROUPS):
        if is_finite_number(value) or path == "early_stopping.patience":  # null is a number of epochs too: never
            return "number"
        if isinstance(value, list) and all(map(is_finite_number, value)):
            return "numbers"
    return repr(value)


def why_single(settings: RunSettings) -> str:
    """Why jobs with these settings cannot be stacked, as far as can be told without torch; empty if they can."""
    optimizer = settings.optimizer.target.path
    if optimizer not in OPTIMIZERS:
        return f"{optimizer} has no stacked form"
    if settings.model.precision == "bfloat16":
        return "precision=bfloat16 has no stacked form"
    if settings.model.compile:
        return "compile=true compiles one network"
    return ""


def why_not_halved(group: Group) -> str:
    """Why `sweep.halving` does nothing for the jobs of a group; empty if it does, or is not asked for."""
    halving, epochs = group.settings.sweep.halving, group.settings.loop.epochs
    if not halving:
        return ""
    late = f"min_epochs={halving.min_epochs} is not before the last of {epochs} epochs"
    return group.reason or (late if halving.min_epochs >= epochs else "")


def groups_of(jobs: Sequence[SweepJob]) -> list[Group]:
    """The jobs by structure, in the order of their first jobs."""
    members: dict[tuple[tuple[str, str], ...], list[SweepJob]] = {}
    shared: dict[int, dict[str, str]] = {}
    for job in jobs:
        members.setdefault(structure(job, shared), []).append(job)
    alone = "the only job of its structure"
    return [
        Group(found, why_single(found[0].run_settings) or (alone if len(found) == 1 else ""))
        for found in members.values()
    ]


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
    size = 8 if group.settings.model.precision == "float64" else 4
    batch_size = group.settings.loop.batch_size
    return size * (copies * group.parameters + PASSES * batch_size * group.values)


def bytes_of_run(group: Group) -> int:
    """About how much memory one run of a stack takes."""
    history = 10 * 8 * group.settings.loop.epochs
    return bytes_of_step(group, copies=COPIES) + history + STREAM


def runs_that_fit(group: Group) -> int:
    """Most runs of a group that one stack may take."""
    asked = group.settings.sweep.max_stacked
    if asked is not None:
        return asked
    return max(2, min(RUNS_AT_MOST, MEMORY // bytes_of_run(group)))


def runs_that_suit(group: Group) -> int:
    """Most runs of a group that one stack takes where it is free to take fewer."""
    runs = runs_that_fit(group)
    if group.settings.sweep.max_stacked is not None or choose_device(group.settings.machine.device).type != "cpu":
        return runs
    return max(2, min(runs, CACHE // max(1, bytes_of_step(group))))


def processes_for(settings: RunSettings) -> int:
    """How many processes train the stacks of jobs with these settings: one a core; one for a GPU, which all share."""
    asked = settings.sweep.processes
    if asked is not None:
        return asked
    on_cpu = choose_device(settings.machine.device).type == "cpu"
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
