"""What a search is asked to do: its space, its settings, and the overrides that its jobs share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ch12cli.catalogue.formatting import count_of
from ch12cli.catalogue.keys_of_settings import FOLD
from ch12cli.config.combinations import further_metrics, is_perturbed, monitor_problems, monitored_by
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import split_into_jobs
from ch12cli.config.schema import FURTHER_METRICS, MONITORS
from ch12cli.config.settings import first_lines
from ch12cli.config.values import shown
from ch12cli.errors import InputError, Problem
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.plain_values import is_integer
from ch12cli.search.constraints import Constraint
from ch12cli.search.grammar import conditions_of, search_parameters
from ch12cli.search.settings import FINAL_SEEDS, SearchSettings, settings_from
from ch12cli.search.space import (
    Interval,
    Parameter,
    Setting,
    Space,
    WholeNumbers,
    condition_problems,
    finite_number,
    setting_faults,
)
from ch12cli.search.study import batch_size
from ch12cli.shell import shell_word
from ch12cli.suggest import suggestion
from ch12cli.sweeps.jobs import FREE, FREE_GROUPS, JobComposer, SweepJob, problems_of_lists

PARAMETERS = "parameters"  # an objective: the number of them that a network has
MOST_CHECKED = 100  # options of a key that are composed before the search starts
UNLIMITED_BATCH = 32  # trials of the first batch of a search that only a budget ends
OF_RANGES = ("params", "when", "constraints")  # keys of a file in conf/search
FACTORS = {"halving": 3, "median": 2}  # of the rungs of sweep.halving


@dataclass(frozen=True)
class SearchRequest:
    """A search before it starts.

    fixed: the overrides that all jobs share. repetitions: the further overrides of each job of a trial: a seed, a fold,
    or none. metric: that of `monitor`. objectives: what is improved: columns of metrics.csv, or `parameters`. epochs:
    those of a run. constraints: what must hold of every setting.
    """

    settings: SearchSettings
    space: Space
    fixed: tuple[str, ...]
    repetitions: tuple[tuple[str, ...], ...]
    finals: tuple[tuple[str, ...], ...]
    metric: str
    objectives: tuple[str, ...]
    epochs: int
    seed_line: str  # the override that repeats the configured seed
    constraints: tuple[Constraint, ...] = field(default=(), repr=False)

    @property
    def batch(self) -> int:
        """The number of trials that are asked together."""
        if self.settings.n_jobs is not None:
            return self.settings.n_jobs
        if self.settings.pbt is not None and self.settings.n_trials is not None:
            return self.settings.n_trials  # a population is trained together
        return UNLIMITED_BATCH if self.settings.n_trials is None else batch_size(self.settings.n_trials)

    @property
    def structural(self) -> set[str]:
        """The searched keys whose values the runs of a stack share."""
        return {each.key for each in self.space.parameters if is_structural(each)}

    def jobs(self, setting: Setting, *, final: bool = False) -> list[list[str]]:
        """Returns the overrides of the jobs of a trial: one for each repetition.

        final: of the further ones of a finalist, which train all epochs.
        """
        texts = [f"{key}={text}" for key, text in setting.items()]
        if final:
            fixed = [line for line in self.fixed if not line.startswith("sweep.halving=")]
            return [[*texts, *fixed, *each] for each in self.finals]
        return [[*texts, *self.fixed, *each] for each in self.repetitions]

    def allows(self, setting: Setting) -> bool:
        """Returns whether all constraints hold of a setting."""
        values = {**self.space.fixed, **setting}
        return all(constraint(values) for constraint in self.constraints)


def is_structural(parameter: Parameter) -> bool:
    """Returns whether the runs of a stack share the value of a searched key."""
    has_numbers = all(finite_number(text) is not None for text in parameter.texts())
    return not (has_numbers and (parameter.key in FREE or parameter.key.startswith(FREE_GROUPS)))


def read_request(
    config: DictConfig, composer: Composer, overrides: Sequence[Override], jobs: JobComposer
) -> SearchRequest:
    """Returns the search that a sweep's configuration and overrides describe. Raises InputError with all problems.

    overrides: those of the command line, without Hydra's own.
    """
    node: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    own_conditions = node["when"] if isinstance(node["when"], Mapping) else {}
    node = with_space_file(node, composer)
    settings = settings_from(node)
    problems: list[Problem] = []
    every = [*parse_params({} if node["params"] is None else node["params"], composer), *overrides]
    problems += problems_of_lists(every)
    parameters = search_parameters(every, problems)
    conditions = conditions_of(settings.when)
    problems += condition_problems(parameters, conditions) or []
    constraints = tuple(map(Constraint, settings.constraints))
    if problems:
        raise InputError(problems)
    if not parameters:
        raise InputError(
            "hydra/sweeper=search: nothing is searched; give a key several values, such as "
            "'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
        )
    if settings.sampler == "cmaes" and len(parameters) < 2:
        raise InputError(Problem("search.sampler", "cmaes", "needs two ranges or more", "leave it out"))
    searched = {parameter.key for parameter in parameters}
    fixed_overrides = [
        each for each in every if not each.is_sweep_override() and each.get_key_element() not in searched
    ]
    fixed = list(split_into_jobs(fixed_overrides)[0])
    space = Space.of(parameters, conditions)
    folds = free_folds(config, every)
    base = checked_base(space, [*fixed, *folds[:1]], jobs)
    read = {condition.key for condition in conditions.values()} | {key for each in constraints for key in each.keys}
    values = {**{key: shown(value) for key, value in flatten(base.settings)}, **base.choices}
    known = {key: str(values[key]) for key in read if key in values and key not in searched}
    space = Space.of(parameters, conditions, fixed=known)
    unknown = [key for each in constraints for key in each.keys if key not in searched and key not in values]
    if unknown:
        raise InputError(Problem("search.constraints", None, f"{unknown[0]} is no key of these runs"))
    for key, condition in conditions.items():
        if condition.key not in searched and condition.key not in values:
            raise InputError(Problem(f"search.when.{key}", None, f"{condition.key} is no key of these runs"))
        # a condition of a file of ranges may be idle beside what the command line has set
        if condition.key in known and not condition.holds(known) and key in own_conditions:
            rule = f"never holds, because all runs have {condition.key}={known[condition.key]}"
            raise InputError(
                Problem(
                    f"search.when.{key}",
                    shown(own_conditions[key]),
                    rule,
                    f"search {condition.key} too, or leave it out",
                )
            )
    start = [
        Problem("search.start", f"{{{', '.join(map(': '.join, each.items()))}}}", f"is not in the space: {faults}")
        for each in settings.start
        if (faults := ", ".join(setting_faults(space, each)))
    ]
    if start:
        raise InputError(start)
    repetitions, epochs = repetitions_of(settings, base, folds), int(base.setting("epochs"))
    if settings.epochs is not None and settings.epochs < len(repetitions) * epochs:
        rule = f"is less than a setting takes: {count_of(len(repetitions) * epochs, 'epoch')}"
        raise InputError(Problem("search.epochs", shown(settings.epochs), rule, "raise it, or lower epochs"))
    metric = monitored_by(base.settings)
    repeated = settings.repeats > 1 or bool(folds)
    return SearchRequest(
        settings,
        space,
        (
            *fixed,
            *pruning_overrides(settings, fixed, metric=metric, epochs=epochs, repeated=repeated),
            *population_overrides(settings, fixed, space, metric=metric, epochs=epochs, folds=bool(folds)),
        ),
        repetitions,
        finals_of(settings, base, folds),
        metric,
        objectives_of(settings, base, metric),
        epochs,
        f"seed={int(base.setting('seed'))}",
        constraints,
    )


def parse_params(params: Any, composer: Composer) -> list[Override]:
    """Returns the overrides in `hydra.sweeper.params`, which a list or null may have as its value.

    Raises InputError unless it is a mapping of ranges.
    """
    if not isinstance(params, Mapping):
        rule = "must be a mapping of keys to ranges, as '{optimizer.lr: \"interval(1e-4,1e-1)\"}'"
        raise InputError(Problem("hydra.sweeper.params", shown(params), rule))
    lines = [f"{key}={value if isinstance(value, str) else shown(value)}" for key, value in params.items()]
    try:
        return list(OverridesParser.create(config_loader=composer.loader).parse_overrides(lines))
    except HydraException as error:
        raise InputError(f"hydra.sweeper.params: {first_lines(error)}") from error


def with_space_file(node: dict[str, Any], composer: Composer) -> dict[str, Any]:
    """Returns the sweeper's settings with those of the file of ranges that `search=NAME` names."""
    name = node.get("space")
    if name is None:
        return node
    loaded = composer.repository.load_config(f"search/{name}") if isinstance(name, str) else None
    if loaded is None:
        names = ", ".join(composer.choices("search"))
        raise InputError(Problem("search", shown(name), "no such file of ranges", f"choose one of {names}"))
    ranges: Any = OmegaConf.to_container(loaded.config, resolve=False)
    if unknown := [key for key in map(str, ranges) if key not in OF_RANGES]:
        hint = suggestion(unknown[0], OF_RANGES) or f"it may have {', '.join(OF_RANGES)}"
        raise InputError(Problem("search", shown(name), f"a file of ranges has no {unknown[0]}", hint))
    return {**node, **{key: joined(ranges.get(key), node[key]) for key in OF_RANGES}}


def joined(ranges: Any, own: Any) -> Any:
    """Returns the entries of a file of ranges and one's own, which replace them; one's own if that is neither form."""
    if own is None or ranges is None:
        return ranges if own is None else own
    if isinstance(ranges, list) and isinstance(own, list):
        return [*ranges, *own]
    return {**ranges, **own} if isinstance(ranges, dict) and isinstance(own, dict) else own


def free_folds(config: DictConfig, overrides: Sequence[Override]) -> list[str]:
    """Returns an override for each fold of `dataset.folds`, if no override chooses among them."""
    folds = OmegaConf.select(config, "dataset.folds")
    chosen = OmegaConf.select(config, FOLD) is not None or any(one.key_or_group == FOLD for one in overrides)
    return [f"{FOLD}={fold}" for fold in range(folds)] if is_integer(folds) and folds > 1 and not chosen else []


def repetitions_of(settings: SearchSettings, base: SweepJob, folds: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Returns the overrides of the repetitions of a trial: seeds from the run's own seed on, in each fold if any."""
    first = int(base.setting("seed"))
    seeds = [[f"seed={first + index}"] for index in range(settings.repeats)] if settings.repeats > 1 else [[]]
    return tuple((*seed, *fold) for seed in seeds for fold in ([[each] for each in folds] or [[]]))


def finals_of(settings: SearchSettings, base: SweepJob, folds: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Returns the overrides of the further runs of a finalist: seeds after those of all trials."""
    first = int(base.setting("seed")) + settings.repeats
    return tuple(
        (f"seed={seed}", *fold)
        for seed in range(first, first + FINAL_SEEDS)
        for fold in ([[each] for each in folds] or [[]])
    )


def objectives_of(settings: SearchSettings, base: SweepJob, metric: str) -> tuple[str, ...]:
    """Returns the objectives. Raises InputError for unknown ones, and directions that contradict them."""
    names = settings.objectives or (metric,)
    key, written = "search.objectives", shown(list(names))
    if metric not in names or len(set(names)) < len(names):
        raise InputError(Problem(key, written, f"must list each once, and {metric}, which is the monitor, among them"))
    for name in names:
        if name not in (*MONITORS, PARAMETERS):
            raise InputError(
                Problem(key, written, f"there is no {name}", suggestion(name, [*MONITORS, PARAMETERS]) or "")
            )
        if name != PARAMETERS and (found := monitor_problems(base.settings, key, name, classes=None)):
            raise InputError(found)
        further = name.partition("_")[2]
        if name != metric and further in FURTHER_METRICS and further not in further_metrics(base.settings):
            raise InputError(Problem(key, written, f"{further} is not computed", f"add 'metrics=[{further}]'"))
    directions = [settings.direction] * len(names) if isinstance(settings.direction, str) else settings.direction
    if len(directions) != len(names):
        raise InputError(
            Problem("search.direction", shown(directions), f"must have one for each of {len(names)} objectives")
        )
    for name, direction in zip(names, directions, strict=True):
        if direction not in ("auto", "minimize" if minimised(name) else "maximize"):
            rule = f"{name} is better the {'lower' if minimised(name) else 'higher'} it is"
            raise InputError(Problem("search.direction", shown(direction), rule, "leave it out, or change monitor"))
    if len(names) > 1 and (settings.pruner != "none" or settings.sampler == "cmaes"):
        name = "pruner" if settings.pruner != "none" else "sampler"
        value = settings.pruner if settings.pruner != "none" else settings.sampler
        raise InputError(Problem(f"search.{name}", value, "takes a single objective", "leave it out"))
    return names


def pruning_overrides(
    settings: SearchSettings, fixed: Sequence[str], *, metric: str, epochs: int, repeated: bool
) -> list[str]:
    """Returns the override for `search.pruner`: rungs of sweep.halving at which all but the best settings stop.

    repeated: a setting has several runs, which stop together.
    """
    if settings.pruner == "none":
        return []
    if any(line.startswith("sweep.halving=") for line in fixed):
        rule = "sets sweep.halving itself"
        raise InputError(Problem("search.pruner", settings.pruner, rule, "leave one of them out"))
    factor = FACTORS[settings.pruner]
    if epochs < factor:
        rule = f"there is no rung before the last of {count_of(epochs, 'epoch')}"
        raise InputError(Problem("search.pruner", settings.pruner, rule, "train more epochs, or leave it out"))
    first = max(1, epochs // factor**2)
    by = ",by:setting" if repeated else ""
    rungs = f"{{metric:{metric},min_epochs:{first},factor:{factor}{by}}}"
    return [f"sweep.halving={rungs}"]


def population_overrides(
    settings: SearchSettings, fixed: Sequence[str], space: Space, *, metric: str, epochs: int, folds: bool
) -> list[str]:
    """Returns the override for `search.pbt`: sweep.pbt with the bounds of the space.

    Raises InputError for a search that cannot be one population.
    """
    pbt = settings.pbt
    if pbt is None:
        return []
    n_jobs, n_trials = settings.n_jobs, settings.n_trials
    refused = {
        "search.pruner": settings.pruner != "none",
        "search.repeats": settings.repeats > 1,
        "search.finalists": settings.finalists > 0,
        "search.objectives": len(settings.objectives) > 1,
        "search.when": bool(settings.when),
        "search.n_jobs": n_jobs is not None and (n_trials is None or n_jobs < n_trials),
        "dataset.folds": folds,
        "sweep.pbt": any(line.startswith("sweep.pbt=") for line in fixed),
        "sweep.halving": any(line.startswith("sweep.halving=") for line in fixed),
    }
    found = [name for name, is_set in refused.items() if is_set]
    if found:
        rule = f"trains all settings as one population, each once and to the end, and {found[0]} asks for another way"
        raise InputError(Problem("search.pbt", None, rule, "leave one of them out"))
    if pbt["every"] >= epochs:
        raise InputError(Problem("search.pbt", f"{{every: {pbt['every']}}}", f"must be below epochs={epochs}"))
    numbers = dict(map(range_of_number, space.parameters))
    given = {"metric": metric, **pbt, "seed": settings.seed, "numbers": numbers}
    return [f"sweep.pbt={shown(given)}"]


def range_of_number(parameter: Parameter) -> tuple[str, list[Any]]:
    """Returns a searched key and its bounds as sweep.pbt has them. Raises InputError if runs cannot change it."""
    key = parameter.key
    if not is_perturbed(key):
        rule, hint = f"{key} cannot change while runs train", "search numbers such as optimizer.lr, or leave it out"
        raise InputError(Problem("search.pbt", None, rule, hint))
    if not isinstance(parameter, Interval | WholeNumbers) or parameter.low <= 0:
        rule = f"{key} must be an interval above 0, which factors move it in"
        raise InputError(Problem("search.pbt", None, rule, f"write {key}=interval(LOW,HIGH)"))
    return key, [float(parameter.low), float(parameter.high), *(["log"] if parameter.log else [])]


def checked_base(space: Space, fixed: Sequence[str], jobs: JobComposer) -> SweepJob:
    """Returns a job of the space. Raises InputError for values and keys that no job may have.

    Checks one job for each end of an interval and each option. Raises problems of the value that was varied, and those
    that all these jobs have.
    """
    own: dict[Problem, None] = {}
    common: list[Problem] | None = None
    base: SweepJob | None = None
    for key, setting in representatives(space):
        job, problems = jobs.job(0, [*(f"{name}={text}" for name, text in setting.items()), *fixed])
        own |= dict.fromkeys(problem for problem in problems if key and problem.key == key.lstrip("+"))
        own |= dict.fromkeys(unconditional(problem, key) for problem in problems if problem.key.startswith(f"{key}."))
        common = problems if common is None else [problem for problem in common if problem in problems]
        base = job if base is None and not problems else base
    if own or common or base is None:
        raise InputError(list(dict.fromkeys([*own, *(common or [])])) or "no setting of the space can be trained")
    return base


def unconditional(problem: Problem, group: str) -> Problem:
    """Returns the problem of a searched key that some choices of a searched group do not have."""
    when = shell_word(f'search.when={{{problem.key}: "{group}=CHOICE,CHOICE"}}')
    return replace(problem, value=None, hint=f"say which it is for: {when}")


def representatives(space: Space) -> Iterator[tuple[str, Setting]]:
    """Yields settings with the key that is varied: the middle of the space, then the outermost values of each key."""
    middle = {parameter.key: 0.5 for parameter in space.parameters}
    by_key = {parameter.key: parameter for parameter in space.parameters}

    def setting(positions: Mapping[str, float]) -> Setting:
        return space.setting(np.array([positions[parameter.key] for parameter in space.parameters]))

    yield "", setting(middle)
    for parameter in space.parameters:
        positions, key = dict(middle), parameter.key
        while key in space.conditions and space.conditions[key].key in by_key:  # the values for which it applies
            condition = space.conditions[key]
            positions[condition.key] = by_key[condition.key].position(condition.values[0]) or 0.0
            key = condition.key
        for text in parameter.texts()[:MOST_CHECKED]:
            yield parameter.key, setting({**positions, parameter.key: parameter.position(text) or 0.0})
