"""`ch12 resume`: a run goes on where it stopped, as if it never had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.config.check import check
from ch12cli.config.choices import flatten
from ch12cli.config.compose import Composer, hydra_session
from ch12cli.config.recorded import read_recorded, with_later_keys
from ch12cli.config.suggest import did_you_mean
from ch12cli.config.values import shown
from ch12cli.errors import InputError
from ch12cli.runs.directory import BEST, CHECKPOINTS, HYDRA, LAST, RESULT, claim_new, read_result
from ch12cli.runs.environment import environment
from ch12cli.runs.files import locked, machine_errors
from ch12cli.sweep.interrupts import interrupts_kept, termination_exits
from ch12cli.sweep.jobs import with_changes
from ch12cli.sweep.saved import Saved, read_saved, refuse_links, require_same_data, require_sound

if TYPE_CHECKING:
    from ch12cli.sweep.alone import Outcome
    from ch12cli.sweep.watcher import Watcher

# What may change when a run goes on, because it does not change what is computed in an epoch.
# (Data from another place are compared with those of the run.)
FREE = (
    "epochs",
    "workers",
    "threads",
    "device",
    "pin_memory",
    "logger",
    "checkpoint.every",
    "dataset.file",
    "dataset.folder",
)


def changes_of(lines: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that overrides change, by dotted key. InputError for what is no key=value of the run's own keys."""
    problems: list[str] = []
    present = dict(flatten(settings))
    changes = {}
    with hydra_session():
        for override in Composer().parse(lines, problems):
            key, value = override.key_or_group, override.value()
            if key not in present:
                problems.append(f"{override.input_line}: the run has no such key{did_you_mean(key, present)}")
            elif value != present[key] or type(value) is not type(present[key]):
                changes[key] = value
    if problems:
        raise InputError(problems)
    return changes


def resume_run(
    directory: Path, lines: Sequence[str], *, watcher: Watcher, fork: bool = False, trust: bool = False
) -> Outcome | None:
    """Trains a run on from its newest good checkpoint; None if there is nothing left to do.

    lines: overrides; what changes the computation is refused unless fork, which makes a new run that knows its parent.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory")
    if fork:
        return go_on(directory, lines, watcher=watcher, fork=True, trust=trust)
    # before anything is read: what another process is about to write must not be taken for where the run stopped
    with locked(directory, key=str(directory)):
        return go_on(directory, lines, watcher=watcher, fork=False, trust=trust)


def go_on(directory: Path, lines: Sequence[str], *, watcher: Watcher, fork: bool, trust: bool) -> Outcome | None:
    saved = read_saved(directory, trust=trust) if has_checkpoint(directory) else read_unbegun(directory, trust=trust)
    begun = "network" in saved.state
    for message in saved.passed_over:
        watcher.message(f"passed over: {message}", warning=True)
    changes = changes_of(lines, saved.settings)
    settings = with_changes(saved.settings, changes)
    refuse_changes(saved, settings, changes, fork=fork)
    done = int(saved.state["epoch"])
    result = result_so_far(directory)
    ended = result is not None and (result["status"] == "diverged" or "stopped_early" in result)
    # without a result it was killed after its last epoch, and has its ends to write
    complete = result is not None and result["status"] == "finished" and done >= settings["epochs"]
    if not fork and (complete or ended):
        return None
    with interrupts_kept():
        from ch12cli.sweep.alone import prepare_job, take_up, train_job, train_locked
        from ch12cli.sweep.logged import Logged
        from ch12cli.sweep.machine import torch_settings

    with termination_exits(), torch_settings(settings) as device:
        logged = Logged(watcher, settings, saved.chosen)
        job = prepare_job(settings, saved.chosen, device)
        if begun:
            require_same_data(saved, job.task.data.table.digest)
            take_up(job, saved.state)
        different = differences(saved.environment, environment()) if begun else []
        if different:
            watcher.message(f"the environment has changed since: {'; '.join(different)}", warning=True)
        sitting = {"epoch": done, "changes": dict(changes), "environment": different}
        job.spent = sum(float(row.get("seconds", 0.0)) for row in job.rows)
        if fork:
            job.history = {"parent": {"directory": str(directory.resolve()), **sitting}}
            return train_job(job, fork_directory(directory), logged)
        job.history = {"resumed": [*earlier_sittings(result), sitting]}
        return train_locked(job, directory, logged)


def has_checkpoint(directory: Path) -> bool:
    """Whether a run ever got as far as a checkpoint, be it damaged. What is no run's directory is not judged here."""
    folder = directory / CHECKPOINTS
    if not folder.is_dir():  # a directory is there before what a run keeps in it
        with machine_errors(f"cannot read {directory}"):
            return any(path.name != HYDRA for path in directory.iterdir())
    return any(os.path.lexists(folder / name) for name in (LAST, "previous.pt", BEST))


def read_unbegun(directory: Path, *, trust: bool) -> Saved:
    """A run that was killed before its first checkpoint, out of the configuration that it was to train."""
    if not trust:
        refuse_links(directory)
    settings, chosen = read_recorded(directory / HYDRA)
    settings = with_later_keys(settings)
    require_sound(settings, chosen, where=str(directory), trust=trust)
    return Saved(directory, {"epoch": 0}, settings, chosen, {}, [])


def refuse_changes(saved: Saved, settings: Mapping[str, Any], changes: Mapping[str, Any], *, fork: bool) -> None:
    problems = check(settings, {k: v for k, v in saved.chosen.items() if isinstance(v, str)})
    before = dict(flatten(saved.settings))
    refused = [key for key in changes if key not in FREE]
    if refused and not fork:
        problems += [
            f"{key}: {shown(before[key])} in the run, {shown(changes[key])} now; it would not be the same run: "
            "leave it out, or add --fork for a new run that goes on from here"
            for key in refused
        ]
    done = int(saved.state["epoch"])
    if "epochs" in changes and isinstance(changes["epochs"], int) and changes["epochs"] < done:
        problems.append(f"epochs={changes['epochs']}: the run has trained {done} epochs already; give more, or none")
    if problems:
        raise InputError(problems)


def result_so_far(directory: Path) -> dict[str, Any] | None:
    """The run's result.json; None if it has none, or a damaged one: the checkpoint is what counts."""
    try:
        return read_result(directory / RESULT)
    except InputError:
        return None


def earlier_sittings(result: Mapping[str, Any] | None) -> list[Any]:
    """What a result says of the sittings before; nothing where it is not such as ch12 writes it."""
    sittings = (result or {}).get("resumed")
    return sittings if isinstance(sittings, list) else []


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments, as `torch 2.13.0 -> 2.14.0`."""
    names = ("ch12", "git", "python", "torch", "numpy", "platform", "machine")
    return [f"{name} {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def fork_directory(parent: Path) -> Path:
    """A new directory beside the parent's, claimed, with the parent's configuration in it."""
    directory = claim_new(parent.resolve().with_name(f"{parent.resolve().name}-fork"))
    for file in (parent / HYDRA).glob("*.yaml"):
        shutil.copyfile(file, directory / HYDRA / file.name)
    return directory
