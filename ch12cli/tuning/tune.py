"""Tunes a network for a data set: searches ranges that suit the data, and holds the best against a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ch12cli.catalogue.best_setting import BestSetting, best_setting
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.errors import InputError, Problem
from ch12cli.files.command import override_key
from ch12cli.run.data_sets import data_read_once
from ch12cli.run.start import checked
from ch12cli.run.task import Task, build_task
from ch12cli.search.settings import duration_in_seconds
from ch12cli.sweeps.callbacks import SweepCallback
from ch12cli.sweeps.start import Finished, train_many
from ch12cli.tuning.baselines import Baseline, baselines

SEARCHED = 0.75  # share of the budget in which new settings are tried; the rest is for the finalists
FINALISTS = 3
VALIDATION = 0.2  # of the rows, where the configuration has no validation part
# Ranges of conf/search by the largest number of rows in training, with the epochs of each run.
SPACES = ((2_000, "small", 100), (50_000, "medium", 30), (10**12, "large", 10))
OF_THE_SWEEP = ("search.", "search=", "hydra.", "hydra/")  # words that no single run has
PATIENCE = 10  # epochs without improvement, after which a run stops


@dataclass(frozen=True)
class Tuned:
    """What tuning a data set comes to. argv: the words of the search; best: None if no setting could be trained."""

    finished: Finished
    argv: Sequence[str]
    best: BestSetting | None
    metric: str
    baselines: Sequence[Baseline]


def tune(
    overrides: Sequence[str],
    *,
    budget: str,
    folders: Sequence[Path],
    callback: SweepCallback,
    trials: int | None = None,
) -> Tuned:
    """Searches the best setting for the data that the overrides name. Raises InputError for what cannot be trained.

    overrides: as on the command line of `ch12 train`; ranges among them replace those that suit the data. budget: the
    time for all of it, such as `2m`.
    """
    seconds = duration_in_seconds(budget)
    if seconds is None:
        raise InputError(f"--budget {budget}: must be a time, such as 90s, 10m or 2h")
    with data_read_once():
        words, task = chosen_settings(overrides, folders)
        argv = [*words, f"search.timeout={seconds * SEARCHED:g}s", f"search.finalists={FINALISTS}"]
        argv += [] if trials is None else [f"search.n_trials={trials}"]
        finished = train_many(argv, folders=folders, config_name="config", callback=callback)
        best = best_setting(finished.outcome.rows, finished.monitor)
        found = baselines(task) if finished.outcome.signal is None else []
    return Tuned(finished, argv, best, "r2" if not task.classes else "accuracy", found)


def chosen_settings(overrides: Sequence[str], folders: Sequence[Path]) -> tuple[list[str], Task]:
    """Returns the words of a search that suits the data, and the task of a run with its default network."""
    given = {override_key(word) for word in overrides}
    problems: list[Problem] = []
    with hydra_session():
        composer = Composer(folders)
        parsed = composer.parse(overrides, problems)
        if problems:
            raise InputError(problems)
        single = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
        composition = checked(composer, [word for word in single if not word.startswith(OF_THE_SWEEP)])
        settings = RunSettings.from_config(composition.settings, composition.choices)
        words, split = list(overrides), settings.data.split
        if not split.valid_size and not split.folds:
            words.append(f"dataset.valid_size={VALIDATION}")
            settings = settings.with_changes({"dataset.valid_size": VALIDATION})
        task = build_task(settings)
    rows = len(task.data.train.y)
    space, epochs = next((name, epochs) for most, name, epochs in SPACES if rows <= most)
    if "search" not in given:
        words = [f"search={space}", *words]
    defaults = {"epochs": f"{epochs}", "early_stopping.patience": f"{PATIENCE}"}
    if not task.classes:
        defaults["dataset.target_scaling"] = "standard"
    return [*words, *(f"{key}={value}" for key, value in defaults.items() if key not in given)], task
