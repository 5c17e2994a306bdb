"""The final model of a tuning: the best settings, trained on all rows that are not for the test, and averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.best_setting import NOT_ITS_OWN, best_setting
from ch12cli.catalogue.summary import is_repetition
from ch12cli.errors import InputError
from ch12cli.files.atomic import write_whole
from ch12cli.files.command import split_command
from ch12cli.files.metrics_csv import minimised, read_metrics
from ch12cli.files.run_directory import METRICS
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.saved.ensemble import FINAL_MODEL, Combined, combine
from ch12cli.sweeps.callbacks import SweepCallback
from ch12cli.sweeps.jobs_file import jobs_to_csv
from ch12cli.sweeps.start import train_many

SETTINGS, SEEDS = 3, 5  # of the final networks
FEWEST_SEEDS = 3
CANDIDATES = 12  # settings, the best by their objective, of which these are chosen
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

    sweep: of its networks; settings: of these; seeds: with how many each setting was trained; combined: their average;
    signal: that interrupted them, if any.
    """

    sweep: Path
    settings: Sequence["FinalSetting"]
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


def best_settings(rows: Sequence[SweepRow], monitor: str, sweep: Path) -> list[FinalSetting]:
    """Returns the best settings, best first; none of a population.

    They are chosen among those with the best objectives, by the best mean of all their runs after the same epoch: the
    objective of a run is that of its own best epoch, which flatters runs that vary from epoch to epoch.
    """
    found: list[tuple[float, FinalSetting]] = []
    while len(found) < CANDIDATES and (best := best_setting(rows, monitor)) is not None and not best.population:
        runs = [row for row in rows if row.job in best.jobs]
        curve = mean_curve([[each[monitor] for each in read_metrics(sweep / row.directory / METRICS)] for row in runs])
        curve = curve if minimised(monitor) else -curve
        epoch = int(np.argmin(curve))
        found.append((float(curve[epoch]), FinalSetting(runs[0], epoch + 1, best.values)))
        rows = [row for row in rows if row.job not in best.jobs]
    return [setting for _, setting in sorted(found, key=lambda pair: pair[0])[:SETTINGS]]


def mean_curve(curves: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Returns the mean by epoch, (longest,). Shorter curves go on with their last value."""
    longest = max(map(len, curves))
    whole = np.array([[*curve, *[curve[-1]] * (longest - len(curve))] for curve in curves], np.float64)
    return np.asarray(whole.mean(0))


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
    seconds: float,
    of_epoch: float,
    folders: Sequence[Path],
    callback: SweepCallback,
) -> Final | None:
    """Trains and averages the final networks, beside a search's directory. None if no setting was.

    rows: of the search. seconds: what is left for it; of_epoch: those of an epoch of one run.
    """
    settings = best_settings(rows, monitor, directory)
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
        return Final(sweep, settings, seeds, None, outcome.signal)
    try:
        return Final(sweep, settings, seeds, combine(sweep, size=None, into=model, trust=True))
    except InputError as error:
        callback.on_message(f"the final networks were not averaged: {error}", warning=True)
        return Final(sweep, settings, seeds, None)


def new_directories(directory: Path) -> tuple[Path, Path]:
    """Returns directories beside a search's, of the final networks and of their average, that do not exist yet."""
    number = 1
    while True:
        suffix = f"-{number}" if number > 1 else ""
        sweep, model = (directory.with_name(f"{directory.name}-{name}{suffix}") for name in ("final", FINAL_MODEL))
        if not sweep.exists() and not model.exists():
            return sweep, model
        number += 1
