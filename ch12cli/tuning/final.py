"""The final model of a tuning: the best settings, trained on all rows that are not for the test, and averaged."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.best_setting import settings_in_order
from ch12cli.catalogue.keys_of_settings import NOT_ITS_OWN, is_repetition
from ch12cli.errors import InputError
from ch12cli.files.atomic import write_whole
from ch12cli.files.command import split_command
from ch12cli.files.metrics_csv import minimised, read_metrics
from ch12cli.files.run_directory import METRICS
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.saved.ensemble import FINAL_MODEL, Combined, combine
from ch12cli.search.space import finite_number
from ch12cli.sweeps.callbacks import SweepCallback
from ch12cli.sweeps.groups import Pairs
from ch12cli.sweeps.jobs import FREE, FREE_GROUPS
from ch12cli.sweeps.jobs_file import jobs_to_csv
from ch12cli.sweeps.start import train_many

SETTINGS, SEEDS = 6, 5  # of the final networks
FEWEST_SEEDS = 3
STRUCTURES, OF_STRUCTURE = 12, 3  # the settings that these are chosen from: the best three of each structure
ERRORS = 2.0  # standard errors by which a setting may be worse than the best
ACCURACY, LOSS = "valid_accuracy", "valid_loss"
LARGER = 1.25  # how much longer an epoch of all rows takes than one of the training part
# What the final networks have in place of the setting's own: no rows to validate on, nor what depends on these.
WITHOUT_VALIDATION = {
    "dataset.folds": "null",
    "dataset.valid_size": "0",
    "monitor": "auto",
    "early_stopping.patience": "null",
    "early_stopping.metric": "train_loss",
}


@dataclass(frozen=True)
class Final:
    """The final model.

    sweep: of its networks; settings: of these; metric: by which they and their epochs were chosen; seeds: with how many
    each setting was trained; combined: their average; signal: that interrupted them, if any.
    """

    sweep: Path
    settings: Sequence["FinalSetting"]
    metric: str
    seeds: int
    combined: Combined | None
    signal: int | None = None


class Quiet:
    """Passes on warnings alone, so that the final networks are not shown as jobs of the search."""

    def __init__(self, callback: SweepCallback) -> None:
        self.callback = callback

    def on_message(self, text: str, *, warning: bool = False) -> None:
        if warning:
            self.callback.on_message(text, warning=True)

    def on_begin(self, plan: Any, *, directory: Path) -> None: ...
    def on_progress(self, item: Any, progress: Any) -> None: ...
    def on_job_end(self, done: Any, job: Any) -> None: ...


@dataclass(frozen=True)
class FinalSetting:
    """A setting for the final networks.

    row: of one of its runs; epochs: after which the mean of its runs was best; values: its overrides that differ
    between the settings of the search.
    """

    row: SweepRow
    epochs: int
    values: Mapping[str, str] = field(default_factory=dict)


class Searched(NamedTuple):
    """A setting of the search: its overrides that differ, its structure, and the rows and metrics.csv of its runs."""

    values: Mapping[str, str]
    structure: Pairs
    runs: Sequence[SweepRow]
    metrics: Sequence[Sequence[Mapping[str, float]]]

    def curves(self, column: str) -> NDArray[np.float64]:
        """Returns a metric by epoch, (runs, longest). Shorter curves go on with their last value."""
        longest = max(map(len, self.metrics))
        found = [[row[column] for row in rows] for rows in self.metrics]
        return np.array([[*curve, *[curve[-1]] * (longest - len(curve))] for curve in found], np.float64)


class Candidate(NamedTuple):
    """A setting that may be among the final ones.

    value: its mean, lower is better; of_run: the values that this is the mean of, by seed and fold.
    """

    value: float
    setting: FinalSetting
    structure: Pairs
    of_run: Mapping[Pairs, float]


def best_settings(searched: Sequence[Searched], metric: str) -> list[FinalSetting]:
    """Returns good settings of different structures, best first.

    A setting is as good as its runs' mean after the epoch in which that is best: its objective, the mean of each run's
    own best epoch, flatters runs that vary from epoch to epoch. Networks of different structures err differently, so
    their average gains more than one of near-copies, with which the end of a long search is filled. So the best setting
    of each structure is taken, if it is about as good as the best of all, then the second of each.
    """
    found = sorted((candidate_of(each, metric) for each in searched), key=lambda each: each.value)
    if not found:
        return []
    best = found[0]
    kept = [each for each in found if is_as_good(each, best)]
    rounds = Counter[Pairs]()
    turns = []
    for each in kept:
        turns.append(rounds[each.structure])
        rounds[each.structure] += len(best.of_run) > 1  # a single run does not tell which structures are as good
    order = sorted(range(len(kept)), key=lambda index: (turns[index], index))[:SETTINGS]
    return [kept[index].setting for index in sorted(order)]


def few_of_each_structure(rows: Sequence[SweepRow], monitor: str, sweep: Path) -> list[Searched]:
    """Returns the settings with the best objectives, a few of each structure; none of a population."""
    by_job = {row.job: row for row in rows}
    taken = Counter[Pairs]()
    found: list[Searched] = []
    for each in settings_in_order(rows, monitor):
        structure = structure_of(each.values)
        if taken[structure] == OF_STRUCTURE or (structure not in taken and len(taken) == STRUCTURES):
            continue
        taken[structure] += 1
        runs = [by_job[number] for number in each.numbers]
        metrics = [read_metrics(sweep / run.directory / METRICS) for run in runs]
        values = {key: value for key, value in each.values.items() if value}
        found.append(Searched(values, structure, runs, metrics))
    return found


def values_in_best_epoch(runs: Sequence[SweepRow], monitor: str, column: str, sweep: Path) -> list[float]:
    """Returns a metric of a setting's runs after the epoch in which the mean of the monitored one is best."""
    searched = Searched({}, (), runs, [read_metrics(sweep / run.directory / METRICS) for run in runs])
    values: list[float] = searched.curves(column)[:, candidate_of(searched, monitor).setting.epochs - 1].tolist()
    return values


def candidate_of(searched: Searched, metric: str) -> Candidate:
    """Returns a setting by its mean after one epoch."""
    curves = searched.curves(metric) * (1.0 if minimised(metric) else -1.0)
    means = curves.mean(0)
    epoch = int(np.argmin(means))
    of_run = {repetition_of(run): float(value) for run, value in zip(searched.runs, curves[:, epoch], strict=True)}
    setting = FinalSetting(searched.runs[0], epoch + 1, searched.values)
    return Candidate(float(means[epoch]), setting, searched.structure, of_run)


def accuracy_or_loss(searched: Sequence[Searched]) -> str:
    """Returns the metric that decides on final settings and epochs: the loss, unless the accuracy grows later.

    The validation loss of classes turns as soon as some wrong rows are predicted with confidence. On some data the
    accuracy goes on growing long after, on others it falls with it. What counts is the mean over the settings of how
    much it is higher at the end than where the loss is least, if it is more than two standard errors over the folds.
    """
    by_repetition: dict[Pairs, list[float]] = {}
    for each in searched:
        growth = late_growth(each.curves(ACCURACY), each.curves(LOSS))
        for run, value in zip(each.runs, growth.tolist(), strict=True):
            by_repetition.setdefault(repetition_of(run), []).append(value)
    return ACCURACY if is_positive([float(np.mean(values)) for values in by_repetition.values()]) else LOSS


def late_growth(accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how much higher each run's accuracy is at the end than where the mean loss is least, (runs,).

    accuracy, loss: by epoch, (runs, epochs). At the end: in the last tenth; there: in a tenth around it.
    """
    epochs = accuracy.shape[1]
    least, half = int(loss.mean(0).argmin()), epochs // 20
    there = accuracy[:, max(0, least - half) : least + half + 1].mean(1)
    growth: NDArray[np.float64] = accuracy[:, -max(1, epochs // 10) :].mean(1) - there
    return growth


def structure_of(values: Mapping[str, str]) -> Pairs:
    """Returns the values of a setting that the runs of a stack share: all but the numbers that each run may have."""
    return tuple(
        (key, value)
        for key, value in values.items()
        if finite_number(value) is None or not (key in FREE or key.startswith(FREE_GROUPS))
    )


def repetition_of(row: SweepRow) -> Pairs:
    """Returns the seed and fold of a run."""
    return tuple(pair for pair in row.overrides.items() if is_repetition(pair[0]))


def is_as_good(candidate: Candidate, best: Candidate) -> bool:
    """Returns whether a candidate is not worse than the best by more than two standard errors of their difference.

    Over the seeds and folds that both have; true where they have fewer than two.
    """
    common = candidate.of_run.keys() & best.of_run.keys()
    return not is_positive([candidate.of_run[each] - best.of_run[each] for each in common])


def is_positive(values: Sequence[float]) -> bool:
    """Returns whether the mean is positive by more than two standard errors; false for fewer than two values."""
    return len(values) > 1 and float(np.mean(values)) > ERRORS * np.std(values, ddof=1) / np.sqrt(len(values))


def final_job(setting: FinalSetting, seed: int) -> dict[str, str]:
    """Returns the overrides of a final network by key."""
    _, overrides = split_command(setting.row.command)
    own = dict(override.split("=", 1) for override in overrides if "=" in override)
    kept = {key: value for key, value in own.items() if not is_repetition(key) and key not in NOT_ITS_OWN}
    return {**kept, **WITHOUT_VALIDATION, "epochs": str(setting.epochs), "seed": str(seed)}


def affordable(settings: Sequence[FinalSetting], *, seconds: float, of_epoch: float) -> tuple[int, int]:
    """Returns how many of the settings can be trained in a time, and with how many seeds each.

    of_epoch: seconds of an epoch of one run. A setting has fewer than FEWEST_SEEDS only if it is the only one.
    """
    for count in range(len(settings), 0, -1):
        of_seed = of_epoch * LARGER * sum(each.epochs for each in settings[:count])
        if of_seed * FEWEST_SEEDS <= seconds or count == 1:
            return count, int(min(SEEDS, max(1, seconds // of_seed)))
    return 0, 0


def train_final(
    rows: Sequence[SweepRow],
    monitor: str,
    directory: Path,
    *,
    is_given: bool,
    seconds: float,
    of_epoch: float,
    folders: Sequence[Path],
    callback: SweepCallback,
) -> Final | None:
    """Trains and averages the final networks, beside a search's directory. None if no setting was.

    rows: of the search. is_given: whether the user chose its monitor, which decides then. seconds: what is left for it;
    of_epoch: those of an epoch of one run.
    """
    searched = few_of_each_structure(rows, monitor, directory)
    metric = accuracy_or_loss(searched) if monitor == ACCURACY and not is_given else monitor
    settings = best_settings(searched, metric)
    if not settings:
        return None
    count, seeds = affordable(settings, seconds=seconds, of_epoch=of_epoch)
    settings = settings[:count]
    jobs = [final_job(each, seed) for each in settings for seed in range(1, seeds + 1)]
    sweep, model = new_directories(directory)
    file = directory / "final.csv"
    write_whole(file, jobs_to_csv(jobs).encode())
    words = [f"hydra.sweep.dir={sweep}"]
    outcome = train_many(words, folders=folders, config_name="config", callback=Quiet(callback), jobs_file=file).outcome
    if outcome.signal is not None:
        return Final(sweep, settings, metric, seeds, None, outcome.signal)
    try:
        return Final(sweep, settings, metric, seeds, combine(sweep, size=None, into=model, trust=True))
    except InputError as error:
        callback.on_message(f"the final networks were not averaged: {error}", warning=True)
        return Final(sweep, settings, metric, seeds, None)


def new_directories(directory: Path) -> tuple[Path, Path]:
    """Returns directories beside a search's, of the final networks and of their average, that do not exist yet."""
    number = 1
    while True:
        suffix = f"-{number}" if number > 1 else ""
        sweep, model = (directory.with_name(f"{directory.name}-{name}{suffix}") for name in ("final", FINAL_MODEL))
        if not sweep.exists() and not model.exists():
            return sweep, model
        number += 1
