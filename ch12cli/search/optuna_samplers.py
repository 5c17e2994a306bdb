"""Samplers of the packages optuna and cmaes, which are imported when one is used.

Each draw builds Optuna's study anew from the trials so far, so that it depends on them and the seed alone.
"""

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ch12cli.errors import Problem
from ch12cli.search.samplers import Draw, Seen, generator
from ch12cli.search.space import Interval, Parameter, Points, Setting, Space, WholeNumbers
from ch12cli.search.trial import Trial, ranked_trials

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STEP_SIZE = 0.3  # of CMA-ES at first, as a share of each parameter's scale
# The samplers by name, with the packages that each needs.
PACKAGES = {
    "optuna_tpe": ("optuna",),
    "nsgaii": ("optuna",),
    "gp": ("optuna", "scipy"),
    "cmaes": ("cmaes",),
}


def lacks_package(package: str) -> bool:
    return importlib.util.find_spec(package) is None


def missing_packages(sampler: str) -> list[Problem]:
    """Returns a problem if packages that a sampler needs are not installed."""
    missing = list(filter(lacks_package, PACKAGES.get(sampler, ())))
    rule = f"{', '.join(missing)} is not installed: pip install 'ch12[search]'"
    return [Problem("search.sampler", sampler, rule, "search.sampler=tpe needs no package")] if missing else []


def distribution_of(parameter: Parameter) -> "BaseDistribution":
    """Returns Optuna's distribution of a parameter. An ordered list is numbered from 0."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Interval):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, WholeNumbers):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log)
    if parameter.categories:
        return CategoricalDistribution(tuple(parameter.texts()))
    return IntDistribution(0, len(parameter.texts()) - 1)


def value_of(parameter: Parameter, text: str) -> float | int | str:
    """Returns a value as Optuna has it."""
    if isinstance(parameter, Interval):
        return float(text)
    if isinstance(parameter, WholeNumbers):
        return round(float(text))
    return text if parameter.categories else list(parameter.texts()).index(text)


def position_of(parameter: Parameter, value: float | int | str) -> float:
    """Returns the position in [0, 1] of a value as Optuna has it."""
    if not isinstance(parameter, Interval | WholeNumbers) and not parameter.categories:
        value = parameter.texts()[int(value)]
    position = parameter.position(value if isinstance(value, str) else repr(value))
    assert position is not None
    return position


def frozen_trial(trial: Trial, space: Space, *, objectives: int) -> "FrozenTrial":
    """Returns a trial as Optuna has it. One that diverged has infinite values."""
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "diverged": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    state = states.get(trial.status, TrialState.FAIL)
    used = [parameter for parameter in space.parameters if parameter.key in trial.setting]
    values = trial.values if trial.status == "complete" else (math.inf,) * objectives
    return create_trial(
        state=state,
        values=list(values) if state == TrialState.COMPLETE else None,
        params={each.key: value_of(each, trial.setting[each.key]) for each in used},
        distributions={each.key: distribution_of(each) for each in used},
        intermediate_values={trial.epochs: trial.values[0]} if state == TrialState.PRUNED and trial.values else None,
    )


def setting_asked(trial: "OptunaTrial", space: Space) -> Setting:
    """Returns the setting that a study asks for: a value for each parameter that applies."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, str] = {}
    for parameter in space.parameters:
        if not space.applies(parameter, found):
            continue
        match distribution_of(parameter):
            case FloatDistribution(low=low, high=high, log=log):
                value: float | int | str = trial.suggest_float(parameter.key, low, high, log=log)
            case IntDistribution(low=low, high=high, log=log):
                value = trial.suggest_int(parameter.key, low, high, log=log)
            case CategoricalDistribution(choices=choices):
                value = str(trial.suggest_categorical(parameter.key, choices))
        found[parameter.key] = parameter.text(position_of(parameter, value))
    return found


@contextmanager
def silent_optuna() -> Iterator[None]:
    """Keeps Optuna from printing what it does, and from warning of what it calls experimental."""
    from optuna import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def drawn_by_optuna(make: Callable[[int, Space, int], "BaseSampler"]) -> Draw:
    """Returns a draw by one of Optuna's samplers. make: the sampler of a seed, a space and a population."""

    def draw(space: Space, seen: Seen, count: int, seed: int) -> Points:
        from optuna import create_study

        with silent_optuna():
            objectives = max((len(trial.values) for trial in seen.trials), default=1) or 1
            sampler = make(int(generator(seed, seen.asked).integers(2**31)), space, seen.population)
            study = create_study(sampler=sampler, directions=["minimize"] * objectives)
            study.add_trials([frozen_trial(trial, space, objectives=objectives) for trial in seen.trials])
            settings = [setting_asked(study.ask(), space) for _ in range(count)]
        return np.array([space.point(setting) for setting in settings], np.float64)

    return draw


def tpe(seed: int, space: Space, population: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, group=bool(space.conditions))


def gp(seed: int, space: Space, population: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed)


def nsgaii(seed: int, space: Space, population: int) -> "BaseSampler":
    """Returns NSGA-II, whose generations are counted by the numbers of the trials."""
    from optuna.samplers import NSGAIISampler
    from optuna.trial import TrialState

    class Numbered(NSGAIISampler):
        def get_trial_generation(self, study: "Study", trial: "FrozenTrial") -> int:
            return trial.number // population

        def get_population(self, study: "Study", generation: int) -> "list[FrozenTrial]":
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            return [trial for trial in complete if trial.number // population == generation]

    return Numbered(seed=seed, population_size=population)


def draw_cmaes(space: Space, seen: Seen, count: int, seed: int) -> Points:
    """Returns points of CMA-ES, (count, parameters), whose generations are the trials in the order of their numbers.

    A listed value is a part of its parameter's scale.
    """
    from cmaes import CMA

    dimensions, population = len(space.parameters), seen.population
    optimizer = CMA(
        mean=np.full(dimensions, 0.5),
        sigma=STEP_SIZE,
        bounds=np.tile([0.0, 1.0], (dimensions, 1)),
        population_size=population,
        seed=int(generator(seed, seen.asked).integers(2**31)),
    )
    ranks = {id(trial): rank for rank, trial in enumerate(ranked_trials(seen.trials))}
    for first in range(0, len(seen.trials) - population + 1, population):
        optimizer.tell([
            (point_at(space, trial.setting, optimizer.mean), ranks.get(id(trial), len(ranks)))
            for trial in seen.trials[first : first + population]
        ])  # fmt: skip
    return space.without_inapplicable(np.array([optimizer.ask() for _ in range(count)]))


def point_at(space: Space, setting: Setting, otherwise: Points) -> Points:
    """Returns the positions of a setting, (parameters,); those of `otherwise` for parameters that do not apply."""
    point = space.point(setting)
    assert point is not None
    return np.where(np.isnan(point), otherwise, point)


OPTUNA_DRAWERS: dict[str, Draw] = {
    "optuna_tpe": drawn_by_optuna(tpe),
    "nsgaii": drawn_by_optuna(nsgaii),
    "gp": drawn_by_optuna(gp),
    "cmaes": draw_cmaes,
}
