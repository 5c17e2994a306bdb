"""`ch12 resume`: continues a run from its newest checkpoint, with the same results as an uninterrupted run."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.formatting import count_of
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.recorded import read_recorded, with_later_keys
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import Target
from ch12cli.config.untrusted_settings import EVERY_USE
from ch12cli.config.values import shown
from ch12cli.distributed.torchrun import torchrun_place, with_devices
from ch12cli.errors import InputError, Problem
from ch12cli.files.atomic import machine_errors, write_whole
from ch12cli.files.command import command_of_run, override_key, replace_overrides, train_command
from ch12cli.files.history import forked, resumed
from ch12cli.files.hydra_folder import flatten, read_hydra, read_overrides, to_yaml, with_changes
from ch12cli.files.locks import locked
from ch12cli.files.plan_json import read_plan
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import (
    BEST,
    CHECKPOINTS,
    HYDRA,
    LAST,
    RESULT,
    STATE,
    SWEEP,
    claim,
    claim_new,
    refuse_links,
)
from ch12cli.files.sealed_json import NewerFormatError
from ch12cli.files.sweep_csv import SweepRow, SweepTable, is_sweep, read_sweep_csv
from ch12cli.run.sessions import session_record
from ch12cli.run.signals import interrupts_kept, termination_exits
from ch12cli.run.start import train_log
from ch12cli.saved.gate import require_valid_settings, settings_problems
from ch12cli.saved.load import Saved, read_saved, refuse_ensemble, require_same_data
from ch12cli.saved.unpack import unpack_job
from ch12cli.shell import shell_line, shell_word
from ch12cli.suggest import suggestion

if TYPE_CHECKING:
    from ch12cli.run.callbacks import Callback
    from ch12cli.run.train import Outcome

RUN_DIR = "hydra.run.dir"  # names the directory of a fork

# Settings that a resume may change, because they do not affect the computation of an epoch. The exception is `epochs`
# with a schedule that spans all epochs, which causes a warning. Data from a new path must match the digest of the run.
FREE = (
    "epochs",
    "workers",
    "threads",
    "device",
    "devices",
    "pin_memory",
    "logger",
    "checkpoint.every",
    "dataset.file",
    "dataset.folder",
)


def changes_of(overrides: Sequence[str], settings: RunSettings) -> dict[str, Any]:
    """Returns the settings that the overrides change, by dotted key.

    Raises InputError if an override does not parse, names an unknown key, or changes a choice.
    """
    problems: list[Problem] = []
    present, choices = dict(flatten(settings.config)), settings.choices
    changes = {}
    with hydra_session():
        for override in Composer().parse(overrides, problems):
            key, value = override.key_or_group, override.value()
            if key in choices:
                rule = f"the run has {key}={choices[key]}, and a choice cannot change in a resume"
                hint = "train a new run, or change single keys of it"
                problems.append(Problem.with_override(str(override.input_line), rule, hint))
            elif key not in present:
                problems.append(
                    Problem.with_override(str(override.input_line), "the run has no such key", suggestion(key, present))
                )
            elif value != present[key] or type(value) is not type(present[key]):
                changes[key] = value
    if problems:
        raise InputError(problems)
    return changes


def resume_run(
    directory: Path,
    overrides: Sequence[str],
    *,
    callback: Callback,
    fork: bool = False,
    trust: bool = False,
    fork_hint: str = "add --fork",
) -> Outcome | None:
    """Continues a run from its newest valid checkpoint. Returns None if there is nothing left to do.

    overrides: those that change the computation require fork, which creates a new run and records its
    parent. fork_hint: how the caller asks for it, for messages.
    """
    unpack_job(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory")
    given = with_devices(overrides, torchrun_place())
    overrides, target = without_directory(given, fork=fork, fork_hint=fork_hint)
    if fork:
        return continue_run(
            directory, overrides, callback=callback, fork=True, target=target, trust=trust, fork_hint=fork_hint
        )
    # lock before reading: another process may be writing a newer checkpoint
    with locked(directory, key=str(directory)):
        outcome = continue_run(directory, overrides, callback=callback, fork=False, trust=trust, fork_hint=fork_hint)
    if outcome is not None:
        refresh_sweep_row(directory)
    return outcome


def without_directory(overrides: Sequence[str], *, fork: bool, fork_hint: str) -> tuple[list[str], Path | None]:
    """Returns the overrides without `hydra.run.dir`, and the directory that it names for a fork, None for no name.

    Raises InputError for other keys of Hydra's, which a resume ignores, and for a directory that cannot be a fork's.
    """
    problems, target = list[Problem](), None
    kept = [each for each in overrides if not override_key(each).startswith("hydra")]
    for override in (each for each in overrides if each not in kept):
        key, _, value = override.partition("=")
        if key.lstrip("+") != RUN_DIR:
            rule = "is Hydra's, and a resumed run is not composed again"
            problems.append(Problem.with_override(override, rule, "leave it out"))
        elif not fork:
            rule = "a resumed run stays in its directory"
            problems.append(Problem.with_override(override, rule, f"{fork_hint} for a new run, which can have another"))
        else:
            target = Path(str(parsed_value(override)))
            if (sweep := sweep_above(target.resolve())) is not None:
                rule = f"lies in the sweep {sweep}, which lists only the jobs it planned"
                problems.append(Problem.with_override(override, rule, "choose another directory"))
            if not value.strip():
                problems.append(Problem.with_override(override, "must name a directory"))
    if problems:
        raise InputError(problems)
    return kept, target


def parsed_value(override: str) -> Any:
    """Returns the value of an override. Raises InputError if it cannot be parsed."""
    problems: list[Problem] = []
    with hydra_session():
        found = [each.value() for each in Composer().parse([override], problems)]
    if problems:
        raise InputError(problems)
    return found[0]


def sweep_above(path: Path) -> Path | None:
    """Returns the sweep that holds a path, or None."""
    return next((above for above in path.parents if is_sweep(above)), None)


def continue_run(
    directory: Path,
    overrides: Sequence[str],
    *,
    callback: Callback,
    fork: bool,
    target: Path | None = None,
    trust: bool,
    fork_hint: str,
) -> Outcome | None:
    own = frozenset(map(override_key, overrides))
    read = partial(read_saved, uses=EVERY_USE, older=True) if has_checkpoint(directory) else read_unbegun
    saved = read(directory, trust=trust, own=own)
    begun = "network" in saved.state
    for message in saved.skipped:
        callback.on_message(f"skipped: {message}", warning=True)
    refuse_ensemble(saved)
    changes = changes_of(overrides, saved.settings)
    settings = changed_settings(saved, changes, fork=fork, trust=trust, own=own, fork_hint=fork_hint)
    if begun and "epochs" in changes and spans_all_epochs(settings.schedule):
        text = "its schedule spans all epochs, so the learning rate continues as in a run of that many epochs"
        callback.on_message(f"epochs={settings.loop.epochs}: {text}", warning=True)
    result = result_so_far(directory)
    reason = "" if fork else nothing_left(directory, saved, result, overrides, epochs=settings.loop.epochs)
    if reason:
        if changes:
            raise InputError(reason)
        callback.on_message(reason)
        return None
    with interrupts_kept():
        from ch12cli.run.torch_settings import machine_of_rank, torch_settings
        from ch12cli.run.trackers import with_trackers
        from ch12cli.run.train import continued, has_stopped, prepare_job, ranks_of, train_job

    present = dict(flatten(saved.settings.config))
    before = {key: present[key] for key in changes}
    with (
        termination_exits(),
        ranks_of(settings) as ranks,
        torch_settings(machine_of_rank(settings.machine, ranks)) as device,
    ):
        callback = with_trackers(callback, settings)
        job = prepare_job(settings, device, ranks)
        session = session_record(saved.state, device, changes=changes if begun else {}, before=before if begun else {})
        parent = str(directory.resolve())
        history = forked(saved.history, session, parent=parent) if fork else resumed(saved.history, session)
        if begun:
            require_same_data(saved, job.task.data.table.digest)
            job = continued(job, saved.state, history)
        else:
            job = replace(job, earlier=replace(job.earlier, history=history))
        if fork and result is not None and result.stopped_at is not None and has_stopped(job.training):
            raise InputError(nothing_left(directory, saved, result, overrides, epochs=settings.loop.epochs))
        if session["environment"]:
            callback.on_message(f"the environment has changed since: {'; '.join(session['environment'])}", warning=True)
        done = int(saved.state["epoch"])
        callback.on_message(
            f"continues after epoch {done} of {settings.loop.epochs}" if begun else "starts with epoch 1"
        )
        if fork:
            new = fork_directory(directory, settings, overrides, target=target)
            with locked(new, key=str(new)), train_log(new):
                return train_job(job, new, callback, predictions=True)
        if changes:
            write_whole(directory / HYDRA / "config.yaml", to_yaml(settings.config).encode())
        if begun:
            job = replace(job, notes=())  # they were given when the run began
        with train_log(directory):
            return train_job(job, directory, callback, predictions=True)


def spans_all_epochs(schedule: Target) -> bool:
    """Returns whether the learning rate in an epoch depends on the total number of epochs."""
    return schedule.name == "OneCycle" or (schedule.name == "Cosine" and schedule.arguments.get("T_max") is None)


def has_checkpoint(directory: Path) -> bool:
    """Returns whether the run has written a checkpoint, valid or not.

    Also returns True if the folder of checkpoints is missing but other files exist; read_saved then reports the
    problem.
    """
    folder = directory / CHECKPOINTS
    if not folder.is_dir():  # the directory is created before its contents
        with machine_errors(f"cannot read {directory}"):
            return any(path.name != HYDRA for path in directory.iterdir())
    return any(os.path.lexists(folder / name) for name in (LAST, "previous.pt", BEST))


def read_unbegun(directory: Path, *, trust: bool, own: Collection[str] = ()) -> Saved:
    """Returns a run that was killed before its first checkpoint, from its recorded configuration."""
    if not trust:
        refuse_links(directory)
    settings, choices = read_recorded(directory / HYDRA)
    settings = with_later_keys(settings)
    require_valid_settings(settings, choices, directory=directory, trust=trust, own=own)
    choices = {group: choice for group, choice in choices.items() if isinstance(choice, str)}
    return Saved(directory, {"epoch": 0}, RunSettings.from_config(settings, choices), {}, [])


def changed_settings(
    saved: Saved, changes: Mapping[str, Any], *, fork: bool, trust: bool, own: Collection[str], fork_hint: str
) -> RunSettings:
    """Returns the run's settings with the changes.

    Raises InputError for invalid values and, without fork, for changes that affect the computation.
    """
    config = with_changes(saved.settings.config, changes)
    problems = settings_problems(config, saved.settings.choices, trust=trust, own=own, check_device=True)
    before = dict(flatten(saved.settings.config))
    refused = [key for key in changes if key not in FREE]
    if refused and not fork:
        problems += [
            Problem(
                key,
                None,
                f"{shown(before[key])} in the run, {shown(changes[key])} now; it would not be the same run",
                f"leave it out, or {fork_hint} for a new run that continues from here",
            )
            for key in refused
        ]
    done = int(saved.state["epoch"])
    if "epochs" in changes and isinstance(changes["epochs"], int) and changes["epochs"] < done:
        problems.append(
            Problem(
                "epochs",
                str(changes["epochs"]),
                f"the run has trained {count_of(done, 'epoch')} already",
                "give more, or none",
            )
        )
    if problems:
        raise InputError(problems)
    return RunSettings.from_config(config, saved.settings.choices)


def result_so_far(directory: Path) -> Result | None:
    """Returns the content of result.json; None if it is missing or damaged, because the checkpoint is authoritative."""
    try:
        return read_result(directory / RESULT)
    except NewerFormatError:
        raise
    except InputError:
        return None


def nothing_left(directory: Path, saved: Saved, result: Result | None, overrides: Sequence[str], *, epochs: int) -> str:
    """Returns why the run cannot be continued, with a command that can; empty if it can be."""
    done, name = int(saved.state["epoch"]), shell_word(str(directory))
    if result is None:  # the run was killed, perhaps after its last epoch, before its last files were written
        return ""
    if result.stopped_at is not None and done >= result.stopped_at:
        arguments = shell_line(["early_stopping.patience=null", *overrides])
        return (
            f"{directory}: stopped early in epoch {done}; to continue from there as a new run: "
            f"ch12 resume {name} {arguments} --fork"
        )
    if result.status == "diverged":
        smaller = f"optimizer.lr={saved.settings.optimizer.target.arguments.get('lr', 0.01) / 10:g}"
        command = command_of_run(directory / HYDRA, [smaller]) or train_command([smaller])
        return (
            f"{directory}: diverged in epoch {done + 1}, and its state at that time is unusable; "
            f"train a new run with a smaller rate: {command}"
        )
    if result.status == "finished" and done >= epochs:
        return f"{directory}: is complete; epochs=N with a larger N trains it further"
    return ""


def fork_directory(parent: Path, settings: RunSettings, overrides: Sequence[str], *, target: Path | None) -> Path:
    """Creates and claims a directory and writes the configuration.

    target: the directory; None for one beside the parent's, or beside its sweep's, which lists only the jobs it
    planned.
    """
    if target is not None:
        directory = target
        claim(directory)
    else:
        beside = parent.resolve()
        sweep = sweep_above(beside)
        name = beside.name if sweep is None else "-".join([sweep.name, *beside.relative_to(sweep).parts])
        directory = claim_new((sweep or beside).with_name(f"{name}-fork"))
    own, before = replace_overrides(read_overrides(parent / HYDRA) or [], overrides), read_hydra(parent / HYDRA)
    hydra: dict[str, Any] = {name: dict(before.get(name) or {}) for name in ("job", "overrides", "runtime")}
    hydra["overrides"]["task"] = own
    hydra["runtime"] |= {"output_dir": str(directory), "choices": dict(settings.choices)}
    hydra |= {"run": {"dir": str(directory)}, "mode": "RUN"}
    texts = {"config": to_yaml(settings.config), "hydra": to_yaml({"hydra": hydra}), "overrides": to_yaml(own)}
    for name, text in texts.items():
        write_whole(directory / HYDRA / f"{name}.yaml", text.encode())
    return directory


def refresh_sweep_row(directory: Path) -> None:
    """Replaces the job's row in sweep.csv, if the directory belongs to a sweep.

    Does nothing if the sweep is in progress, because it updates the row itself, or if the table is damaged.
    """
    directory = directory.resolve()
    sweep = next((folder for folder in directory.parents if (folder / STATE).is_dir()), None)
    if sweep is None:
        return
    with suppress(InputError), locked(sweep, key=str(sweep)):
        plan, path = read_plan(sweep), directory.relative_to(sweep).as_posix()
        fresh = {
            job.number: SweepRow.of_directory(plan.facts(job), sweep) for job in plan.jobs if job.directory == path
        }
        if fresh:
            rows = {row.job: row for row in read_sweep_csv(sweep / SWEEP)} | fresh
            SweepTable(sweep / SWEEP, keys=(), metrics=(), rows=list(rows.values())).close()
