"""A saved run trained again in memory: in one go, or in the sittings in which its settings were changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ch12cli.config.rules import is_whole
from ch12cli.config.settings import with_changes
from ch12cli.errors import InputError
from ch12cli.files.history import changes_in, sittings_of
from ch12cli.files.hydra_folder import flatten
from ch12cli.run.build import build_stack
from ch12cli.run.callbacks import Callback
from ch12cli.run.recorder import Row, row_of
from ch12cli.run.train import Job, prepare_job, take_up
from ch12cli.saved.load import Saved, require_sound
from ch12cli.saved.network import require_fits
from ch12cli.training.loop import Epoch
from ch12cli.training.stack import CannotStackError

COMPUTING = "epochs"  # of what a run may change on its way without a fork, all that may change its figures

Weights = dict[str, Tensor]


class Part(NamedTuple):
    """A run trained with these settings up to that epoch."""

    settings: Mapping[str, Any]
    until: int


def parts_of(saved: Saved, settings: Mapping[str, Any], *, trust: bool) -> list[Part]:
    """The run in parts of equal settings, in order. settings: those of the last part.

    InputError if its record does not say what they were before, or if they are not such as `ch12 train` accepts.
    """
    parts = [Part(settings, int(saved.state["epoch"]))]
    for one in reversed(sittings_of(saved.history)):
        before, epoch = told(saved, one), one.get("epoch")
        if before:
            if not is_whole(epoch) or not 0 <= epoch <= parts[0].until:
                raise InputError(f"{saved.directory}: the epochs of its sittings are not such as ch12 writes them")
            parts.insert(0, Part(with_changes(parts[0].settings, before), epoch))
    if len(parts) > 1 and saved.state.get("stacked"):
        raise InputError(
            f"{saved.directory}: was trained in a stack, and then on by itself with changes; that cannot be repeated"
        )
    for part in parts[:-1]:
        require_sound(part.settings, saved.chosen, where=str(saved.directory), trust=trust)
        if not trust:
            require_fits(part.settings, saved.state, where=str(saved.directory))
    return parts


def told(saved: Saved, one: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings that a sitting changed were before it, of those that may change the figures."""
    present, before, changes = dict(flatten(saved.settings)), changes_in(one, "before"), changes_in(one)
    computing = [key for key in changes if one.get("directory") or key == COMPUTING]
    if not all(key in before and key in present for key in computing):
        raise InputError(
            f"{saved.directory}: was trained in several sittings with changes, and its record does not say from what; "
            "that cannot be repeated as one run"
        )
    return {key: before[key] for key in computing}


def again(
    parts: Sequence[Part],
    chosen: Mapping[str, str | None],
    device: torch.device,
    callback: Callback,
    rows: list[Row],
    *,
    stacked: bool,
) -> tuple[Weights, Weights]:
    """The weights after the last part and those of the best epoch; the rows are appended to `rows`.

    stacked: trained as a stack of one, whose dropout masks are those that the run had in its stack.
    """
    job = prepare_job(parts[0].settings, chosen, device)
    if stacked:
        with suppress(CannotStackError):
            training, stack, _ = build_stack([job.settings], job.task, job.device)
            run(training.epochs(), parts[-1].until, callback, rows)
            found = (stack.parameters.detach(), training.best_state["parameters"])
            return stack.state_of(found[0][0].cpu()), stack.state_of(found[1][0].cpu())
    for number, part in enumerate(parts):
        if number:
            job = followed(job, part, rows, device)
        run(job.training.epochs(), part.until - len(rows), callback, rows)
        if len(rows) < part.until:  # the loss ceased to be finite
            break
    best = {name: value.cpu() for name, value in job.training.best_state.items()}
    return {name: value.cpu() for name, value in job.network.snapshot().items()}, best


def followed(job: Job, part: Part, rows: Sequence[Row], device: torch.device) -> Job:
    """The job that goes on from where another one is, with the settings of the next part: as a resume does."""
    job.rows = list(rows)
    state = job.state(job.training.state_dict())
    following = prepare_job(part.settings, job.chosen, device)
    take_up(following, state)
    return following


def run(training: Iterator[Epoch], epochs: int, callback: Callback, rows: list[Row]) -> None:
    for _, epoch in zip(range(epochs), training, strict=False):
        if epoch.diverged_at[0]:
            return
        rows.append(row_of(epoch))
        callback.on_epoch_end(rows[-1])
