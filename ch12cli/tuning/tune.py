"""Tunes a network for a data set: searches ranges that suit the data, and holds the best against a baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from ch12cli.catalogue.best_setting import BestSetting, best_setting
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned
from ch12cli.config.choices import content, shipped
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import arguments_in_source
from ch12cli.errors import InputError, Problem
from ch12cli.files.command import override_key
from ch12cli.rules import MOST_TRIALS, IntegerRule
from ch12cli.run.data_sets import data_read_once
from ch12cli.run.start import checked
from ch12cli.run.task import Task, build_task
from ch12cli.search.settings import PREFIX, SWEEPER, Duration, duration_in_seconds
from ch12cli.sweeps.callbacks import SweepCallback, SweepCallbackList
from ch12cli.sweeps.start import Finished, train_many
from ch12cli.tuning.baselines import Baseline, baselines
from ch12cli.tuning.described_data import describe_tuned_data
from ch12cli.tuning.final import ACCURACY, Final, train_final, values_in_best_epoch

FINALISTS = 3  # settings that are trained with more seeds, where there are no folds
SEARCHED = 0.7  # share of the budget in which settings are tried; the rest is for the final networks
FINAL = 0.2  # share of the budget for these at least, where the search took longer
VALIDATION = 0.2  # of the rows, where they are not divided into folds


class TableSize(NamedTuple):
    """How to search for tables of so many rows in training, at most.

    ranges: a file of conf/search. epochs: of each run. folds: of the rows, None for a single validation part. batch,
    structures: as search.n_jobs and search.structures.
    """

    rows: float
    ranges: str
    epochs: int
    folds: int | None
    batch: int
    structures: int


SIZES = (
    TableSize(2_000, "small", 100, 5, 16, 4),
    TableSize(50_000, "medium", 30, 3, 12, 3),
    TableSize(math.inf, "large", 10, None, 8, 2),
)
PATIENCE = 10  # epochs without improvement, after which a run stops
# Up to so many rows of classes, runs have so many epochs and do not stop early, and are compared by accuracy, which may
# grow long after the loss has turned. Of values, whose loss is all that is compared, a late best epoch is mostly luck.
FEW_ROWS, LONG = 1_000, 300
SPLIT = {"dataset.valid_size", "dataset.folds", "dataset.fold"}  # keys by which a user chooses the validation
OF_THE_SWEEP = ("search.", "search=", "hydra.", "hydra/")  # words that no single run has
LIMITS = {"timeout": "--budget", "n_trials": "--trials"}  # of a search, as options


@dataclass(frozen=True)
class Tuned:
    """What tuning a data set comes to.

    argv: the words of the search; best: None if no setting could be trained; valid: the metric of its runs on the
    validation part, after the epoch in which the mean of what they monitor is best; final: None where there are no
    final networks.
    """

    finished: Finished
    argv: Sequence[str]
    best: BestSetting | None
    metric: str
    valid: Sequence[float]
    baselines: Sequence[Baseline]
    final: Final | None


class WarnsOnce(SweepCallbackList):
    """Passes each warning on once, as the search and the final networks have the same about their data."""

    def __init__(self, callback: SweepCallback) -> None:
        super().__init__([callback])
        self.given: set[str] = set()

    def on_message(self, text: str, *, warning: bool = False) -> None:
        if not (warning and text in self.given):
            super().on_message(text, warning=warning)
        self.given |= {text} if warning else set()


class ChosenSearch(NamedTuple):
    """A search that suits the data.

    words: of its command line. task: of a run; folds: of a run of each fold. about: lines about the data.
    """

    words: list[str]
    task: Task
    folds: Sequence[Task]
    about: list[str]


def tune(
    overrides: Sequence[str],
    *,
    budget: str,
    folders: Sequence[Path],
    callback: SweepCallback,
    trials: int | None = None,
    command: Sequence[str] = (),
) -> Tuned:
    """Searches the best setting for the data that the overrides name. Raises InputError for what cannot be trained.

    overrides: as on the command line of `ch12 train`; ranges among them replace those that suit the data. budget: the
    time for all of it, such as `2m`. command: the words that go on with it, as in `train_many`.
    """
    seconds, start = duration_in_seconds(budget), perf_counter()
    if seconds is None:
        raise InputError(f"--budget {budget}: must be {Duration()}")
    if trials is not None and not (rule := IntegerRule(1, MOST_TRIALS)).allows(trials):
        raise InputError(f"--trials {trials}: must be {rule}")
    refuse_limits(overrides)
    callback = WarnsOnce(callback)
    with data_read_once():
        words, task, folds, about = chosen_settings(overrides, folders)
        for line in about:
            callback.on_message(line)
        argv = [*words, f"search.timeout={seconds * SEARCHED:g}s"]
        argv += [] if trials is None else [f"search.n_trials={trials}"]
        began = perf_counter()
        finished = train_many(argv, folders=folders, config_name="config", callback=callback, command=command)
        ended, own = perf_counter(), {row.job for row in finished.outcome.rows}
        rows = [row for row in read_rows_as_planned(finished.outcome.directory) if row.job in own]
        best, final, found = best_setting(rows, finished.monitor), None, list[Baseline]()
        metric, valid = "accuracy" if task.classes else "r2", list[float]()
        if best is not None and finished.monitor.startswith("valid_"):
            runs = [row for row in rows if row.job in best.jobs]
            valid = values_in_best_epoch(runs, finished.monitor, f"valid_{metric}", finished.outcome.directory)
        if finished.outcome.signal is None:
            if not task.data.table.valid_rows:  # rows that are always for the validation would be lost
                final = train_final(
                    *(rows, finished.monitor, finished.outcome.directory),
                    is_given=any(override_key(word) == "monitor" for word in overrides),
                    seconds=max(seconds - (ended - start), seconds * FINAL),
                    of_epoch=(ended - began) / max(1, sum(row.epochs or 0 for row in rows)),
                    folders=folders,
                    callback=callback,
                )
            if final is not None and final.signal is not None:
                finished = finished._replace(outcome=replace(finished.outcome, signal=final.signal))
            else:
                found = baselines(task, folds)
        return Tuned(finished, argv, best, metric, valid, found, final)


def chosen_settings(overrides: Sequence[str], folders: Sequence[Path]) -> ChosenSearch:
    """Returns a search that suits the data."""
    given = {override_key(word) for word in overrides}
    problems: list[Problem] = []
    with hydra_session():
        composer = Composer(folders)
        parsed = composer.parse(overrides, problems)
        if problems:
            raise InputError(problems)
        single = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
        single = [word for word in single if not word.startswith(OF_THE_SWEEP)]
        folded = "dataset.folds" in given and "dataset.fold" not in given
        composition = checked(composer, [*single, *(["dataset.fold=0"] if folded else [])])
        settings = RunSettings.from_config(composition.settings, composition.choices)
    is_free = given.isdisjoint(SPLIT)
    task = build_task(undivided(settings, 0.0) if is_free or folded else settings)
    size = next(size for size in SIZES if len(task.data.train.y) <= size.rows)
    words, tasks = list(overrides), list[Task]()
    if folded:
        tasks = tasks_of_folds(settings, settings.data.split.folds)
    elif is_free and not task.data.table.valid_rows:
        tasks = tasks_of_folds(settings, size.folds)
        task = task if tasks else build_task(undivided(settings, VALIDATION))
        words.append(f"dataset.folds={size.folds}" if tasks else f"dataset.valid_size={VALIDATION}")
    if "search" not in given:
        words = [*ranges_of(size.ranges, composition.settings["model"]), *words]
    defaults = {"epochs": f"{size.epochs}", "early_stopping.patience": f"{PATIENCE}"}
    if task.classes and len(task.data.train.y) <= FEW_ROWS and (tasks or task.data.valid is not None):
        defaults = {"epochs": f"{LONG}", "early_stopping.patience": "null", "monitor": ACCURACY}
    defaults |= {"search.n_jobs": f"{size.batch}", "search.structures": f"{size.structures}"}
    if not task.classes:
        defaults["dataset.target_scaling"] = "standard"
    if not tasks:
        defaults["search.finalists"] = f"{FINALISTS}"
    words += [f"{key}={value}" for key, value in defaults.items() if key not in given]
    return ChosenSearch(words, task, tasks, describe_tuned_data(settings, task))


def ranges_of(name: str, model: Mapping[str, Any]) -> list[str]:
    """Returns the words for a file of conf/search, without the keys that mean nothing for this model."""
    file = content(shipped() / "search" / f"{name}.yaml")
    ranges, when = file["params"], file.get("when", {})
    takes = arguments_in_source(str(model["_target_"]))
    known = {*(f"model.{key}" for key in model), *(["activation"] if takes is None or "activation" in takes else [])}
    left = {key: each for key, each in ranges.items() if key in known or not key.startswith(("model.", "activation"))}
    if left == ranges:
        return [f"search={name}"]
    conditions = ", ".join(f'{key}: "{value}"' for key, value in when.items())
    kept = left | ({"search.when": f"{{{conditions}}}"} if when else {})
    return [f"{key}={each}" for key, each in kept.items()]


def refuse_limits(overrides: Sequence[str]) -> None:
    """Raises InputError for the limits of a search, which tuning has as options of its own."""
    found = [(word, LIMITS.get(override_key(word).rpartition(".")[2])) for word in overrides]
    problems = [
        Problem.with_override(word, f"tuning has {option} for it", f"write {option} {word.partition('=')[2]}")
        for word, option in found
        if option and override_key(word).startswith((PREFIX, SWEEPER))
    ]
    if problems:
        raise InputError(problems)


def undivided(settings: RunSettings, valid_size: float) -> RunSettings:
    """Returns settings with another validation part, without folds, and without what depends on these."""
    changes = {"dataset.valid_size": valid_size, "dataset.folds": None, "dataset.fold": None, "sweep.halving": None}
    return settings.with_changes({**changes, "monitor": "auto", "early_stopping.metric": "auto"})


def tasks_of_folds(settings: RunSettings, folds: int | None) -> list[Task]:
    """Returns the task of each fold; none where the data is not to be, or cannot be, divided so."""
    if folds is None or "folds" not in settings.config["dataset"]:
        return []
    try:
        return [
            build_task(settings.with_changes({"dataset.folds": folds, "dataset.fold": fold})) for fold in range(folds)
        ]
    except InputError:
        return []
