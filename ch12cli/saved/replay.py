"""Retrains a saved run in memory, in one part or in several if its settings were changed between sessions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ch12cli.config.run_settings import RunSettings
from ch12cli.config.untrusted_settings import Use
from ch12cli.errors import InputError
from ch12cli.files.history import ancestry_of, changes_in, sessions_of
from ch12cli.files.hydra_folder import flatten, with_changes
from ch12cli.files.plain_values import is_integer
from ch12cli.run.build import build_stack
from ch12cli.run.callbacks import Callback
from ch12cli.run.recorder import MetricsRow, metrics_row
from ch12cli.run.train import Job, continued, prepare_job
from ch12cli.saved.gate import require_valid_settings
from ch12cli.saved.load import Saved
from ch12cli.saved.network import require_fits
from ch12cli.training.loop import Epoch, Training
from ch12cli.training.stack import CannotStackError

USES = Use.DATA | Use.COMPILER  # of the settings: metrics go to no tracker
LONGEST_LINE = 4096  # steps of an ancestry that are repeated
COMPUTING = "epochs"  # the only setting that a resume may change and that may affect the metrics

Weights = dict[str, Tensor]


class ReplayPart(NamedTuple):
    """Settings, and the last epoch trained with them."""

    settings: RunSettings
    until: int


def replay_parts(saved: Saved, settings: RunSettings, *, trust: bool) -> list[ReplayPart]:
    """Returns the parts of the run that have constant settings, in order. settings: those of the last part.

    Raises InputError if the history does not record the earlier settings, or if `ch12 train` would not accept them.
    """
    parts = [ReplayPart(settings, int(saved.state["epoch"]))]
    if steps := ancestry_of(saved.history):
        return [*ancestors(saved, settings, steps, trust=trust), *parts]
    for session in reversed(sessions_of(saved.history)):
        before, epoch = settings_before(saved, session), session.get("epoch")
        if not before:
            continue
        if not is_integer(epoch) or not 0 <= epoch <= parts[0].until:
            raise InputError(f"{saved.directory}: the epochs of its sessions were not written by ch12, or are corrupt")
        if saved.state.get("stacked"):
            raise InputError(
                f"{saved.directory}: was trained in a stack, and then continued as a single run with changes; "
                "that cannot be repeated"
            )
        config = with_changes(parts[0].settings.config, before)
        require_valid_settings(config, settings.choices, directory=saved.directory, trust=trust, uses=USES)
        earlier = RunSettings.from_config(config, settings.choices)
        if not trust:
            require_fits(earlier, saved.state, where=str(saved.directory))
        parts.insert(0, ReplayPart(earlier, epoch))
    return parts


def ancestors(
    saved: Saved, settings: RunSettings, steps: Sequence[Mapping[str, Any]], *, trust: bool
) -> list[ReplayPart]:
    """Returns the parts before the last of a run of a population, in order. steps: its ancestry.

    Raises InputError as `replay_parts`, and if the run was resumed alone afterwards.
    """
    where, parts, last = str(saved.directory), list[ReplayPart](), 0
    pbt, until = settings.sweep.pbt, int(saved.state["epoch"])
    if any(map(changes_in, sessions_of(saved.history))):
        raise InputError(f"{where}: was trained in a population, and then continued alone; that cannot be repeated")
    for step in steps:
        before, epoch = changes_in(step, "before"), step.get("epoch")
        known = pbt is not None and before.keys() <= {*pbt.numbers, "seed"}
        if not known or not is_integer(epoch) or not last < epoch <= until or len(steps) > LONGEST_LINE:
            raise InputError(f"{where}: its ancestry was not written by ch12, or is corrupt")
        config = with_changes(settings.config, before)
        require_valid_settings(config, settings.choices, directory=saved.directory, trust=trust, uses=USES)
        parts.append(ReplayPart(RunSettings.from_config(config, settings.choices), epoch))
        last = epoch
    return parts


def settings_before(saved: Saved, session: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values, before a session, of the settings that it changed and that may affect the metrics."""
    present, before, changes = dict(flatten(saved.settings.config)), changes_in(session, "before"), changes_in(session)
    computing = [key for key in changes if session.get("directory") or key == COMPUTING]
    if not all(key in before and key in present for key in computing):
        raise InputError(
            f"{saved.directory}: was trained in several sessions with changes, and its record does not say from what; "
            "that cannot be repeated as one run"
        )
    return {key: before[key] for key in computing}


def retrain(
    parts: Sequence[ReplayPart],
    device: torch.device,
    callback: Callback,
    rows: list[MetricsRow],
    *,
    stacked: bool,
) -> tuple[Weights, Weights]:
    """Trains the parts and returns the final weights and the weights of the best epoch. Appends to `rows`.

    stacked: train as a stack, so that dropout draws the same masks as in the original one. A run that went on from
    others in it is trained with them: each has a row, and hands it on to the next.
    """
    job = prepare_job(parts[0].settings, device)
    if stacked:
        with suppress(CannotStackError):
            training, stack, _ = build_stack([part.settings for part in parts], job.task, job.device)
            for row, part in enumerate(parts):
                if row:
                    hand_on(training, parts, row)
                replay_epochs(training.epochs(), part.until - len(rows), callback, rows, row=row)
            found = (stack.parameters.detach(), training.best_state["parameters"])
            return stack.state_of(found[0][-1].cpu()), stack.state_of(found[1][-1].cpu())
    for number, part in enumerate(parts):
        if number:
            job = next_job(job, part, rows, device)
        replay_epochs(job.training.epochs(), part.until - len(rows), callback, rows)
        if len(rows) < part.until:  # the loss was no longer finite
            break
    best = {name: value.cpu() for name, value in job.training.best_state.items()}
    return {name: value.cpu() for name, value in job.network.snapshot().items()}, best


def next_job(job: Job, part: ReplayPart, rows: Sequence[MetricsRow], device: torch.device) -> Job:
    """Returns the job that continues another one with the settings of the next part, as a resume does."""
    state = job.state(job.training.state_dict(), rows)
    return continued(prepare_job(part.settings, device), state)


def hand_on(training: Training, parts: Sequence[ReplayPart], row: int) -> None:
    """Lets a row of a stack go on from the row before. Each row has the numbers of its part."""
    pbt = parts[row].settings.sweep.pbt
    keys = [] if pbt is None else list(pbt.numbers)
    values = [dict(flatten(part.settings.config)) for part in parts]
    numbers = {key: np.array([value[key] for value in values], np.float64) for key in keys}
    training.copy_runs(np.array([row - 1]), np.array([row]), numbers)


def replay_epochs(
    training: Iterator[Epoch], epochs: int, callback: Callback, rows: list[MetricsRow], *, row: int = 0
) -> None:
    """Trains epochs and appends the rows of one run. row: its place in a stack."""
    for _, epoch in zip(range(epochs), training, strict=False):
        if epoch.diverged_at[row]:
            return
        rows.append(metrics_row(epoch, row))
        callback.on_epoch_end(rows[-1])
