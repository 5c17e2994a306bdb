"""Which jobs can be trained together: those whose structure is the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ch12cli.config.rules import is_number
from ch12cli.files.hydra_folder import flatten
from ch12cli.sweep.jobs import IRRELEVANT, SweepJob
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
    def settings(self) -> dict[str, Any]:
        """Those of its first job, which all share but for what may differ."""
        return self.jobs[0].settings


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
        if is_number(value) or path == "early_stopping.patience":  # null is a number of epochs too: never
            return "number"
        if isinstance(value, list) and all(map(is_number, value)):
            return "numbers"
    return repr(value)


def why_single(settings: Mapping[str, Any]) -> str:
    """Why jobs with these settings cannot be stacked, as far as can be told without torch; empty if they can."""
    if settings["optimizer"]["_target_"] not in OPTIMIZERS:
        return f"{settings['optimizer']['_target_']} has no stacked form"
    if settings["precision"] == "bfloat16":
        return "precision=bfloat16 has no stacked form"
    if settings["compile"]:
        return "compile=true compiles one network"
    return ""


def why_not_halved(group: Group) -> str:
    """Why `sweep.halving` does nothing for the jobs of a group; empty if it does, or is not asked for."""
    halving, epochs = group.settings["sweep"].get("halving"), group.settings["epochs"]
    if not halving:
        return ""
    late = f"min_epochs={halving['min_epochs']} is not before the last of {epochs} epochs"
    return group.reason or (late if halving["min_epochs"] >= epochs else "")


def groups_of(jobs: Sequence[SweepJob]) -> list[Group]:
    """The jobs by structure, in the order of their first jobs."""
    members: dict[tuple[tuple[str, str], ...], list[SweepJob]] = {}
    shared: dict[int, dict[str, str]] = {}
    for job in jobs:
        members.setdefault(structure(job, shared), []).append(job)
    alone = "the only job of its structure"
    return [
        Group(found, why_single(found[0].settings) or (alone if len(found) == 1 else "")) for found in members.values()
    ]
