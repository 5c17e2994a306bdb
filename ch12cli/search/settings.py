"""The settings of a search: the keys of `hydra/sweeper=search`, also typed as `search.KEY=VALUE`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ch12cli.config.schema import Key
from ch12cli.config.values import shown
from ch12cli.errors import InputError, Problem
from ch12cli.files.plain_values import is_finite_number
from ch12cli.rules import (
    MOST_TRIALS,
    PBT_LIMITS,
    PBT_OPTIONS,
    IntegerRule,
    ItemsRule,
    Number,
    OneOf,
    Or,
    Text,
    allows_each,
    describe_rule,
)
from ch12cli.search.optuna_samplers import OPTUNA_DRAWERS, missing_packages
from ch12cli.search.samplers import DRAWERS
from ch12cli.suggest import suggestion

SEARCH_SWEEPER = "hydra_plugins.ch12_search.SearchSweeper"
PREFIX, SWEEPER = "search.", "hydra.sweeper."  # of its keys on the command line, and in full
DEFAULT_TRIALS = 128
FINAL_SEEDS = 5  # of each finalist
SAMPLERS = {**DRAWERS, **OPTUNA_DRAWERS}
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")


@dataclass(frozen=True)
class Duration:
    """A time: seconds, or a number with the unit s, m or h."""

    def allows(self, value: Any) -> bool:
        return duration_in_seconds(value) is not None

    def __str__(self) -> str:
        return "a time greater than 0, such as 90s, 10m or 2h"


def duration_in_seconds(value: Any) -> float | None:
    """Returns a duration in seconds: `10m` is 600. None if it is not one, or not above 0."""
    if is_finite_number(value):
        return float(value) if value > 0 else None
    found = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    return seconds if seconds > 0 else None


@dataclass(frozen=True)
class Directions:
    """A direction, or a list of one for each objective."""

    def allows(self, value: Any) -> bool:
        listed = value if isinstance(value, list) and value else [value]
        return all(each in ("auto", "minimize", "maximize") for each in listed)

    def __str__(self) -> str:
        return "auto, minimize or maximize, or a list of these"


@dataclass(frozen=True)
class StartSettings:
    """A list of settings, each a mapping of keys to values."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)

    def __str__(self) -> str:
        return "a list of settings, as 'KEY=[{optimizer.lr: 0.01}]'"


@dataclass(frozen=True)
class Whens:
    """A mapping of keys to conditions `key=value`, or `key=value,value`."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(each, str) and "=" in each for each in value.values())

    def __str__(self) -> str:
        return "a mapping, as 'KEY={optimizer.momentum: \"optimizer=sgd\"}'"


@dataclass(frozen=True)
class PbtRule:
    """A mapping with `every`, and other options of population-based training."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, Mapping) and "every" in value and allows_each(PBT_OPTIONS, value)

    def __str__(self) -> str:
        return (
            f"'KEY={{every: 5}}', with quantile: 0.2, factors: [0.8, 1.2] and resample: 0.25 if wanted ({PBT_LIMITS})"
        )


SEARCH_KEYS: dict[str, Key] = {
    "n_trials": Key(
        Or("auto", IntegerRule(1, MOST_TRIALS)),
        f"settings to try; auto: {DEFAULT_TRIALS}, or as many as the time or the epochs allow",
    ),
    "n_jobs": Key(
        Or("auto", IntegerRule(1, 65_536)),
        "settings that are asked and trained together; auto: an eighth of all, from 16 to 256",
    ),
    "structures": Key(
        Or(None, IntegerRule(1, 65_536)),
        "most networks, batch sizes and optimizers in a batch, so that stacks hold several settings; null: as drawn",
    ),
    "sampler": Key(
        OneOf(tuple(SAMPLERS)),
        "how settings are drawn: near the best (tpe), spread evenly (sobol), at random, or by Optuna",
    ),
    "seed": Key(IntegerRule(0, 2**32 - 1), "seed of the draws, apart from that of the runs"),
    "direction": Key(Directions(), "which objective is better; auto: lower losses, higher accuracies"),
    "objectives": Key(
        Or(None, ItemsRule("valid_loss,parameters")),
        "metrics to improve together, monitor among them: [valid_loss,parameters]; null: monitor",
    ),
    "repeats": Key(IntegerRule(1, 10_000), "seeds that each setting is trained with"),
    "finalists": Key(IntegerRule(0, 1000), f"best settings that are trained with {FINAL_SEEDS} more seeds at the end"),
    "value": Key(
        OneOf(("mean", "median", "bound")),
        "the value of a setting from those of its seeds; bound: the mean, worse by one standard error",
    ),
    "pruner": Key(
        OneOf(("none", "median", "halving")),
        "stops the worse runs of a batch early: all but the best half (median) or third (halving) at each rung",
    ),
    "pbt": Key(
        Or(None, PbtRule()),
        "population-based training: every so many epochs, the worse runs go on from the better ones with other numbers",
    ),
    "timeout": Key(Or(None, Duration()), "time after which nothing new is started; null: no limit"),
    "epochs": Key(Or(None, IntegerRule(1)), "epochs of all runs together, after which it ends; null: no limit"),
    "max_failure_rate": Key(
        Or(None, Number(low=0, high=1)), "share of failed settings above which it stops; null: it never does"
    ),
    "study_name": Key(Or(None, Text()), "a name for the search, kept in its record"),
    "from": Key(Or(None, Text()), "a sweep or a study of Optuna to learn from before the first draw; null: none"),
    "start": Key(Or(None, StartSettings()), "settings to try first, as [{optimizer.lr: 0.01}]"),
    "constraints": Key(
        Or(None, ItemsRule('"model.width <= 64"')),
        'what must hold of every setting, as ["model.width * model.depth <= 256"]',
    ),
    "when": Key(
        Or(None, Whens()), "keys that apply only for a value of another, as {optimizer.momentum: optimizer=sgd}"
    ),
}
# Keys of the sweeper that are not settings of the study. The last two are of the published plugin for Optuna.
OTHERS = ("_target_", "_recursive_", "params", "space", "max_batch_size", "storage", "custom_search_space")
OPTUNA_SAMPLERS = {
    "TPESampler": "tpe",
    "RandomSampler": "random",
    "QMCSampler": "sobol",
    "NSGAIISampler": "nsgaii",
    "CmaEsSampler": "cmaes",
    "GPSampler": "gp",
}


@dataclass(frozen=True)
class SearchSettings:
    """The checked settings of a search. Fields as in SEARCH_KEYS.

    n_trials: None without a limit. n_jobs: None to choose. timeout: in seconds. pbt: None for none.
    """

    sampler: str = "tpe"
    n_trials: int | None = DEFAULT_TRIALS
    n_jobs: int | None = None
    structures: int | None = None
    direction: str | Sequence[str] = "auto"
    objectives: tuple[str, ...] = ()
    seed: int = 1
    repeats: int = 1
    finalists: int = 0
    value: str = "mean"
    pruner: str = "none"
    pbt: Mapping[str, Any] | None = None
    timeout: float | None = None
    epochs: int | None = None
    max_failure_rate: float | None = None
    study_name: str | None = None
    source: str | None = None
    start: tuple[Mapping[str, str], ...] = ()
    constraints: tuple[str, ...] = ()
    when: Mapping[str, str] = field(default_factory=dict)


def sweeper_overrides(argv: Sequence[str]) -> list[str]:
    """Returns the words of a command line with `search.KEY=VALUE` as keys of Hydra's sweeper.

    Chooses the sweeper too, if a key of it is given and no sweeper is. Raises InputError for unknown keys.
    """
    given = [word for word in argv if word.startswith((PREFIX, "search="))]
    if not given:
        return list(argv)
    names = [word.removeprefix(PREFIX).partition("=")[0].partition(".")[0] for word in given]
    known = [f"{PREFIX}{name}" for name in SEARCH_KEYS]
    unknown = [
        Problem.with_override(word, "no such key", suggestion(word.partition("=")[0], known) or "")
        for word, name in zip(given, names, strict=True)
        if word.startswith(PREFIX) and name not in SEARCH_KEYS
    ]
    if unknown:
        raise InputError(unknown)
    chosen = any(word.startswith("hydra/sweeper=") for word in argv)
    words = [f"{SWEEPER}{word.removeprefix(PREFIX)}" if word.startswith(PREFIX) else word for word in argv]
    words = [f"{SWEEPER}space={word.removeprefix('search=')}" if word.startswith("search=") else word for word in words]
    return [*([] if chosen else ["hydra/sweeper=search"]), *words]


def as_search_keys(lines: Sequence[str]) -> list[str]:
    """Returns overrides with the keys of Hydra's sweeper as `search.KEY=VALUE`, which choose the sweeper too."""
    spaces = [line.replace(f"{SWEEPER}space=", "search=", 1) for line in lines]
    names = [line.removeprefix(SWEEPER).partition("=")[0].partition(".")[0] for line in lines]
    words = [
        line.replace(SWEEPER, PREFIX, 1) if line.startswith(SWEEPER) and name in SEARCH_KEYS else line
        for line, name in zip(spaces, names, strict=True)
    ]
    chosen = any(word.startswith((PREFIX, "search=")) for word in words)
    return [word for word in words if not (chosen and word == "hydra/sweeper=search")]


def as_user_typed(problem: Problem, argv: Sequence[str]) -> Problem:
    """Returns a problem of a key of the sweeper with the name that the command line `argv` has for it."""
    typed = problem.key.replace(SWEEPER, PREFIX, 1)
    if not any(word.startswith(f"{typed}=") for word in argv):
        return problem
    return replace(problem, key=typed, hint=problem.hint.replace(SWEEPER, PREFIX))


def settings_from(node: Mapping[str, Any]) -> SearchSettings:
    """Returns the settings in the configuration of the sweeper. Raises InputError with all problems."""
    problems = problems_of_published_plugin(node)
    node = with_sampler_by_name({name: value for name, value in node.items() if name not in OTHERS})
    problems += [
        Problem(PREFIX + name, shown(node[name]), f"must be {describe_rule(PREFIX + name, key.rule)}")
        for name, key in SEARCH_KEYS.items()
        if not key.rule.allows(node[name])
    ]
    problems = problems or missing_packages(node["sampler"])
    if problems:
        raise InputError(problems)
    limited = (node["timeout"] is not None or node["epochs"] is not None) and node["pbt"] is None
    default = None if limited else DEFAULT_TRIALS
    others = {
        name: node[name]
        for name in (
            *("sampler", "structures", "direction", "seed", "repeats", "finalists", "value", "pruner", "pbt", "epochs"),
        )
    }
    return SearchSettings(
        **others,
        n_trials=default if node["n_trials"] == "auto" else node["n_trials"],
        n_jobs=None if node["n_jobs"] == "auto" else node["n_jobs"],
        timeout=None if node["timeout"] is None else duration_in_seconds(node["timeout"]),
        max_failure_rate=node["max_failure_rate"],
        study_name=node["study_name"],
        source=node["from"],
        objectives=tuple(map(str, node["objectives"] or ())),
        start=tuple({str(key): shown(value) for key, value in each.items()} for each in node["start"] or ()),
        constraints=tuple(map(str, node["constraints"] or ())),
        when=dict(node["when"] or {}),
    )


def problems_of_published_plugin(node: Mapping[str, Any]) -> list[Problem]:
    """Returns the settings of the published plugin for Optuna that have another form here."""
    problems = []
    if node.get("storage") is not None:
        hint = "leave it out; the same command again goes on with the search"
        problems.append(Problem("hydra.sweeper.storage", shown(node["storage"]), "the sweep's directory is it", hint))
    if node.get("custom_search_space") is not None:
        rule = "a search has no such function"
        problems.append(Problem("hydra.sweeper.custom_search_space", None, rule, "use search.when, search.constraints"))
    return problems


def with_sampler_by_name(node: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings with the sampler's name in place of a mapping, as the published plugin has it."""
    sampler = node["sampler"]
    if not isinstance(sampler, Mapping):
        return node
    target = str(sampler.get("_target_", sampler.get("name"))).rpartition(".")[2]
    seed = sampler.get("seed")
    seeds = {} if seed is None else {"seed": seed}
    return {**node, "sampler": OPTUNA_SAMPLERS.get(target, target), **seeds}
