"""The settings of a sweep that no other one beats in all of several objectives: the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.keys_of_settings import NOT_ITS_OWN, is_repetition
from ch12cli.catalogue.summary import fold_seeds, trained_alike, varying
from ch12cli.files.hydra_folder import read_multirun
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.sweep_csv import SweepRow


@dataclass(frozen=True)
class FrontSetting:
    """A setting of the front. values: its overrides that differ; means: over its runs, by objective; job: the best."""

    values: dict[str, str]
    means: dict[str, float]
    runs: int
    job: int


def is_search(sweep: Path) -> bool:
    """Returns whether the settings of a sweep's jobs were drawn one batch after the other."""
    return "n_trials" in read_multirun(sweep)[0]


def recorded_objectives(sweep: Path) -> list[str]:
    """Returns the objectives of a search, the monitored metric among them; none if it had only that."""
    found = read_multirun(sweep)[0].get("objectives")
    return [str(name) for name in found] if isinstance(found, list) and len(found) > 1 else []


def setting_keys(rows: Sequence[SweepRow], sweep: Path) -> list[str]:
    """Returns the override keys that differ between jobs; of a search those of a setting, also if it tried only one."""
    keys = varying(rows)
    if not is_search(sweep):
        return keys
    keys = [key for key in keys if key not in NOT_ITS_OWN]
    if any(not is_repetition(key) for key in keys):
        return keys
    fixed = set(read_multirun(sweep)[1])
    pairs = dict.fromkeys(pair for row in rows for pair in row.overrides.items())
    searched = [key for key, value in pairs if f"{key}={value}" not in fixed and key not in (*keys, *NOT_ITS_OWN)]
    return [*(key for key in dict.fromkeys(searched) if not is_repetition(key)), *keys]


def objective_column(objective: str, monitor: str) -> str:
    """Returns the column of sweep.csv that has an objective: the monitored metric is that of the best epoch."""
    return "objective" if objective == monitor else objective


def front_of(rows: Sequence[SweepRow], objectives: Sequence[str], monitor: str) -> list[FrontSetting]:
    """Returns the settings whose means no other one beats in all objectives, by the first objective, best first."""
    alike, _ = trained_alike([row for row in rows if not row.monitor or row.monitor == monitor])
    keys = [key for key in varying(alike) if key not in NOT_ITS_OWN]
    columns = {name: objective_column(name, monitor) for name in objectives}
    folded = [
        each
        for each in fold_seeds(alike, keys, tuple(columns.values()), minimise=minimised(monitor))
        if each.best is not None and each.diverged == each.failed == 0
    ]
    folded = [each for each in folded if each.is_complete] or folded
    means = np.array([[each.mean[column] for column in columns.values()] for each in folded], np.float64)
    means = means.reshape(len(folded), len(columns))
    signs = np.array([1.0 if minimised(name) else -1.0 for name in objectives])
    found = [
        FrontSetting(
            {key: value for key, value in each.values.items() if value},
            {name: each.mean[column] for name, column in columns.items()},
            each.runs,
            each.best,
        )
        for each, is_best in zip(folded, unbeaten(means * signs), strict=True)
        if is_best and each.best is not None
    ]
    first = objectives[0]
    return sorted(found, key=lambda each: each.means[first] * (1 if minimised(first) else -1))


def unbeaten(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which rows no other row beats: none is as low in all columns and lower in one.

    costs: (n, objectives).
    """
    finite = np.isfinite(costs).all(1)
    return np.array([not ((costs <= row).all(1) & (costs < row).any(1)).any() for row in costs], bool) & finite
