"""Writes a sweep as a study of Optuna, and reads the trials of one: a journal file, or a database by its URL."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ch12cli.catalogue.front import objective_column, recorded_objectives
from ch12cli.catalogue.keys_of_settings import NOT_ITS_OWN, is_repetition
from ch12cli.catalogue.summary import fold_seeds, varying
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, sweep_monitor
from ch12cli.config.values import shown
from ch12cli.errors import InputError, reason_of
from ch12cli.files.hydra_folder import read_multirun
from ch12cli.files.metrics_csv import SEVERAL, minimised, read_metrics
from ch12cli.files.plain_values import typed_value
from ch12cli.files.plan_json import is_inside
from ch12cli.files.run_directory import METRICS, RESULT
from ch12cli.files.sweep_csv import ENDED, SweepRow
from ch12cli.search.grammar import search_parameters
from ch12cli.search.optuna_samplers import distribution_of, lacks_package, silent_optuna
from ch12cli.search.settings import SEARCH_SWEEPER
from ch12cli.search.space import Interval, Options, Parameter, Setting, Space, WholeNumbers
from ch12cli.search.trial import Trial, key_of_setting

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

LOG_RATIO = 100  # of the largest and the smallest value of a grid from which on its scale is logarithmic
NAME = "#"  # parts a storage from the name of one of its studies


class Written(NamedTuple):
    """What was written: the study's name, its trials by state, and the number of jobs that have not ended."""

    name: str
    states: Mapping[str, int]
    left_out: int


def require_optuna(key: str) -> None:
    """Raises InputError if Optuna is not installed. key: what needs it."""
    if lacks_package("optuna"):
        raise InputError(f"{key}: optuna is not installed: pip install 'ch12[search]'")


def is_study(text: str) -> bool:
    """Returns whether a text names a storage of Optuna: the URL of a database, or a file."""
    path = text.partition(NAME)[0]
    return "://" in text or Path(path).is_file()


@contextmanager
def opened_storage(target: str) -> Iterator["BaseStorage"]:
    """Yields a storage. Raises InputError if it cannot be opened, read or written."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    with silent_optuna():
        try:
            if "://" in target:
                storage = RDBStorage(target)
                yield storage
                storage.remove_session()
            else:
                yield JournalStorage(JournalFileBackend(target))
        except InputError:
            raise
        except Exception as error:  # of Optuna, SQLAlchemy, its drivers, the file system, or a file's content
            raise InputError(f"{target}: cannot be used as a study: {reason_of(error)}") from error


def write_study(sweep: Path, target: str) -> Written:
    """Writes a sweep as a study, which replaces one of the same name. Returns what was written.

    A trial is a setting. Its value is the mean over its seeds.
    """
    from optuna import create_study, delete_study
    from optuna.study import StudyDirection

    rows = read_rows_as_planned(sweep, missing=True)
    monitor = sweep_monitor(sweep, rows)
    if monitor in (None, SEVERAL):
        raise InputError(f"{sweep}: its jobs have no objective in common, so they are no study")
    assert monitor is not None
    objectives = recorded_objectives(sweep) or [monitor]
    trials = trials_of_rows(rows, sweep, objectives, monitor)
    sweeper, _ = read_multirun(sweep)
    name = str(sweeper.get("study_name") or sweep.resolve().name)
    directions = [StudyDirection.MINIMIZE if minimised(each) else StudyDirection.MAXIMIZE for each in objectives]
    with opened_storage(target) as storage:
        if name in {each.study_name for each in storage.get_all_studies()}:
            delete_study(study_name=name, storage=storage)
        study = create_study(storage=storage, study_name=name, directions=directions)
        study.set_metric_names(objectives)
        study.set_user_attr("sweep", str(sweep.resolve()))
        study.add_trials(trials)
    states = [trial.state.name.lower() for trial in trials]
    left_out = sum(row.status not in ENDED for row in rows)
    return Written(name, {state: states.count(state) for state in dict.fromkeys(states)}, left_out)


def trials_of_rows(
    rows: Sequence[SweepRow], sweep: Path, objectives: Sequence[str], monitor: str
) -> "list[FrozenTrial]":
    """Returns a trial for each setting of which a job has ended, in the order of the jobs.

    Its runs are those that count for the best setting (see `counting_runs`), and those that diverged or failed.
    """
    different = [key for key in varying(rows) if key not in NOT_ITS_OWN]
    keys = [key for key in different if not is_repetition(key)] or different
    folded = fold_seeds([row for row in rows if row.left_at is None], keys)
    uncounted = {row.job for row in rows if row.left_at is None and row.status == "finished"}.difference(
        *(each.numbers for each in folded)
    )
    incomplete = {frozenset(each.values.items()) for each in folded if not each.is_complete}
    settings: dict[tuple[tuple[str, str], ...], list[SweepRow]] = {}
    for row in rows:
        setting = {key: row.overrides[key] for key in keys if key in row.overrides}
        if row.status in ENDED and row.job not in uncounted:
            settings.setdefault(tuple(setting.items()), []).append(row)
    declared = declared_parameters(sweep)
    distributions: dict[str, BaseDistribution] = {}
    for key in keys:
        texts = [row.overrides[key] for row in rows if key in row.overrides]
        distributions[key] = distribution_of_texts(texts, declared.get(key))
    return [
        trial_of_runs(
            dict(setting),
            runs,
            distributions,
            sweep=sweep,
            objectives=objectives,
            monitor=monitor,
            is_complete=frozenset({**dict.fromkeys(keys, ""), **dict(setting)}.items()) not in incomplete,
        )
        for setting, runs in settings.items()
    ]


def declared_parameters(sweep: Path) -> dict[str, Parameter]:
    """Returns the parameters of a search as its record declares them, by key; none if it was no search."""
    sweeper, lines = read_multirun(sweep)
    if sweeper.get("_target_") != SEARCH_SWEEPER:
        return {}
    params = sweeper.get("params")
    given = [f"{key}={value if isinstance(value, str) else shown(value)}" for key, value in params.items()] if (
        isinstance(params, Mapping)
    ) else []  # fmt: skip
    try:
        parsed = OverridesParser.create().parse_overrides([*given, *lines])
        return {each.key: each for each in search_parameters(parsed, [])}
    except (HydraException, InputError):
        return {}


def distribution_of_texts(texts: Sequence[str], declared: Parameter | None) -> "BaseDistribution":
    """Returns the distribution of a key with these values. declared: the range that they were drawn from, if any."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(declared, Interval | WholeNumbers) and all(declared.position(text) is not None for text in texts):
        return distribution_of(declared)
    if isinstance(declared, Options):
        texts = [*declared.texts(), *texts]
    values = list(dict.fromkeys(map(typed_value, texts)))
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    is_listed = isinstance(declared, Options) and not declared.ordered
    if is_listed or len(numbers) < len(values) or not all(map(math.isfinite, numbers)):
        return CategoricalDistribution(values)
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= LOG_RATIO
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def trial_of_runs(
    setting: Setting,
    runs: Sequence[SweepRow],
    distributions: "Mapping[str, BaseDistribution]",
    *,
    sweep: Path,
    objectives: Sequence[str],
    monitor: str,
    is_complete: bool,
) -> "FrozenTrial":
    """Returns the trial of a setting from its runs, with the mean of their metrics by epoch.

    It is pruned if halving stopped all of its runs, and has failed if one of them failed or diverged, or is missing.
    """
    from optuna.trial import TrialState, create_trial

    whole = [row for row in runs if row.left_at is None] or list(runs)
    statuses = {row.status for row in whole}
    columns = [objective_column(name, monitor) for name in objectives]
    values = [sum(row.number(column) for row in whole) / len(whole) for column in columns]
    has_failed = not is_complete or statuses != {"finished"} or not all(math.isfinite(value) for value in values)
    state = (
        TrialState.FAIL if has_failed else TrialState.PRUNED if whole[0].left_at is not None else TrialState.COMPLETE
    )
    numbers = {name: [row.number(name) for row in whole] for name in (*whole[0].metrics, "parameters", "best_epoch")}
    directories = [str((sweep / row.directory).resolve()) for row in whole]
    attributes: dict[str, Any] = {
        "directory": directories[0] if len(directories) == 1 else directories,
        "job": whole[0].job if len(whole) == 1 else [row.job for row in whole],
        "command": whole[0].command,
        "epochs": max(row.epochs or 0 for row in whole),
        **{name: sum(each) / len(each) for name, each in numbers.items() if all(map(math.isfinite, each))},
    }
    if any(row.ancestry for row in whole):
        attributes["ancestry"] = [row.ancestry or "" for row in whole]
    if has_failed:
        is_interrupted = statuses == {"finished"} and not is_complete
        attributes["status"] = "failed" if "failed" in statuses else "interrupted" if is_interrupted else "diverged"
        attributes["error"] = next((row.error for row in whole if row.error), "")
    by_epoch = mean_by_epoch([sweep / row.directory for row in whole if is_inside(row.directory)], monitor)
    trial = create_trial(
        state=state,
        values=None if has_failed else values,
        params={key: value_in(distributions[key], text) for key, text in setting.items()},
        distributions={key: distributions[key] for key in setting},
        user_attrs=attributes,
        intermediate_values=by_epoch if len(objectives) == 1 else {},
    )
    ends = [ended for row in whole if (ended := ended_at(sweep / row.directory)) is not None]
    if ends:
        trial.datetime_complete = max(ends)
        trial.datetime_start = max(ends) - timedelta(seconds=max(row.seconds or 0.0 for row in whole))
    return trial


def value_in(distribution: "BaseDistribution", text: str) -> Any:
    """Returns a value as a distribution has it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(distribution, FloatDistribution | IntDistribution):
        return float(text) if isinstance(distribution, FloatDistribution) else round(float(text))
    return typed_value(text)


def mean_by_epoch(directories: Sequence[Path], monitor: str) -> dict[int, float]:
    """Returns the mean of a metric over runs by epoch, of the epochs in which all of them have it."""
    found: list[dict[int, float]] = []
    for directory in directories:
        try:
            rows = read_metrics(directory / METRICS)
        except InputError:
            rows = []
        found.append({int(row["epoch"]): row.get(monitor, math.nan) for row in rows})
    epochs = [epoch for epoch in (found[0] if found else ()) if all(epoch in run for run in found)]
    means = {epoch: sum(run[epoch] for run in found) / len(found) for epoch in epochs}
    return {epoch: mean for epoch, mean in means.items() if math.isfinite(mean)}


def ended_at(directory: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp((directory / RESULT).stat().st_mtime)
    except OSError:
        return None


def read_study(target: str, space: Space, objectives: Sequence[str]) -> list[Trial]:
    """Returns the trials of a study that lie in a space; in one setting, the last. target: may end in #NAME.

    Raises InputError if there are none, or if its objective is another.
    """
    require_optuna(f"search.from={target}")
    from optuna import load_study

    path, _, name = target.partition(NAME)
    scheme, _, file = path.partition(":///")
    if scheme.startswith("sqlite") and file and not Path(file).exists():  # SQLite would make it
        raise InputError(f"search.from={target}: there is no {file}")
    with opened_storage(path) as storage:
        names = [each.study_name for each in storage.get_all_studies()]
        if name not in names and (name or len(names) != 1):
            listed = ", ".join(names) or "none"
            raise InputError(f"search.from={target}: name one of its studies, as in {path}{NAME}NAME; it has {listed}")
        study = load_study(study_name=name or names[0], storage=storage)
        require_same_objectives(study, target, objectives)
        frozen = study.get_trials(deepcopy=False)
    signs = [1.0 if minimised(name) else -1.0 for name in objectives]
    found: dict[tuple[tuple[str, str], ...], Trial] = {}
    for each in frozen:
        setting = setting_of(each, space)
        if setting is not None and each.state.is_finished():
            found[key_of_setting(setting)] = trial_of_frozen(each, setting, signs)
    if not any(trial.values for trial in found.values()):
        raise InputError(f"search.from={target}: has no complete trial in this space")
    return list(found.values())


def require_same_objectives(study: "Study", target: str, objectives: Sequence[str]) -> None:
    """Raises InputError if a study has another number of objectives, other directions, or names other metrics."""
    named = study.metric_names or list(objectives)
    found = [f"{each.name.lower()} {name}" for each, name in zip(study.directions, named, strict=False)]
    wanted = [f"{'minimize' if minimised(name) else 'maximize'} {name}" for name in objectives]
    if found != wanted or len(study.directions) != len(wanted):
        raise InputError(f"search.from={target}: its objective is to {', '.join(found)}, not to {', '.join(wanted)}")


def setting_of(trial: "FrozenTrial", space: Space) -> Setting | None:
    """Returns the setting of a trial, or None if it is not one of the space."""
    texts: dict[str, str] = {}
    for parameter in space.parameters:
        if parameter.key in trial.params:
            value = trial.params[parameter.key]
            same = [text for text in parameter.texts() if typed_value(text) == value and not isinstance(value, bool)]
            texts[parameter.key] = same[0] if same else shown(value)
    point = space.point(texts)
    return None if point is None else space.setting(point)


def trial_of_frozen(trial: "FrozenTrial", setting: Setting, signs: Sequence[float]) -> Trial:
    """Returns a trial of a study. signs: -1 for each objective that is better the higher it is, else 1."""
    state = trial.state.name.lower()
    if state == "complete" and all(map(math.isfinite, trial.values)):
        return Trial(setting, "complete", tuple(sign * value for sign, value in zip(signs, trial.values, strict=True)))
    reached = trial.intermediate_values
    if state == "pruned" and reached and len(signs) == 1:
        last = max(reached)
        return Trial(setting, "pruned", (signs[0] * reached[last],), last)
    return Trial(setting, "failed")
