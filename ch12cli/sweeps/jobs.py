"""The jobs of a sweep. Composes and checks each job in a fraction of the time that Hydra needs."""

import math
import re
import shlex
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from hydra.core.override_parser.types import ChoiceSweep, Override
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from ch12cli.catalogue.keys_of_settings import FOLD, SEED
from ch12cli.config.check import KeyProblems, all_problems, value_problem
from ch12cli.config.combinations import shared_run_problems
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import with_number
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.schema import INSTANTIATION, STACKED_LAUNCHERS
from ch12cli.config.settings import holds_dataclass, job_parts
from ch12cli.config.values import MANDATORY
from ch12cli.errors import InputError, Problem, first_few
from ch12cli.files.command import options_for, overrides_of
from ch12cli.files.hydra_folder import flatten, value_at, with_changes
from ch12cli.files.plain_values import is_finite_number
from ch12cli.files.sweep_csv import JobFacts

# Settings that do not affect a job's result: data loading, threads, logging, checkpoints and stacking.
# Each key of STACKING has one value in a sweep: jobs that differ only in it are equal, and share a stack.
STACKING = tuple(f"sweep.{name}" for name in ("max_stacked", "processes", "fused", "fail_fast", "verify", "record"))
IRRELEVANT = ("workers", "pin_memory", "threads", "logger", "checkpoint.", *STACKING)

# Settings that may differ between the runs of a stack if their values are numbers.
FREE = (
    "seed",
    "stream_offset",
    "dataset.fold",
    "clip_grad_norm",
    "clip_grad_value",
    "early_stopping.patience",
    "early_stopping.min_delta",
)
FREE_GROUPS = ("optimizer.", "scheduler.")

# An override with a number that Hydra's grammar and Python read alike: its key, and the number.
NUMBER = re.compile(r"([a-z_][\w.]*)=(-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?)", re.ASCII)

REPETITIONS = (SEED, FOLD)

INTERPOLATION = re.compile(r"\$\{([^{}]*)\}")
ABSOLUTE = re.compile(r"\w+(?:\.\w+)*")  # an interpolation of one key, from the top of the configuration


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep. Its settings are built on demand, because a sweep may have 100,000 jobs.

    `number`: its number in the sweep.
    `changes`: values, by dotted key, that differ from the base that it shares with other jobs.
    `directory`: its path below the sweep's directory; empty before the sweep is planned.
    """

    number: int
    overrides: tuple[str, ...]
    base: "Base"
    changes: dict[str, Any] = field(default_factory=dict)
    directory: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, with interpolations resolved."""
        return with_changes(self.base.resolved, self.changes)

    def setting(self, key: str) -> Any:
        """Returns one resolved setting by its dotted key. It is faster than building all of them."""
        return self.changes[key] if key in self.changes else value_at(self.base.resolved, key)

    @property
    def fold(self) -> int | None:
        """The fold of a cross-validation that it validates on; None without folds."""
        try:
            fold: int | None = self.setting("dataset.fold")
        except KeyError:  # planned by a version without folds
            return None
        return fold

    @property
    def run_settings(self) -> RunSettings:
        """The resolved settings as RunSettings."""
        return RunSettings.from_config(self.settings, self.choices)

    @property
    def written(self) -> dict[str, Any]:
        """All settings as in config.yaml, with interpolations unresolved."""
        return with_changes(self.base.plain, self.changes)

    @property
    def choices(self) -> dict[str, str | None]:
        return self.base.choices

    @property
    def facts(self) -> JobFacts:
        """The fields of its sweep.csv row that do not come from its result."""
        return JobFacts(self.number, self.directory, self.overrides, self.base.options)

    def placed(self, number: int, directory: str) -> "SweepJob":
        """Returns the job with another number and directory, and the same key."""
        job = replace(self, number=number, directory=directory)
        job.__dict__["key"] = self.key  # not worked out again
        return job

    @cached_property
    def key(self) -> str:
        """The last override of each setting that affects the result, sorted. Equal for jobs with equal results."""
        last = {text.partition("=")[0].lstrip("+~"): text for text in self.overrides}
        heads = {text: key.partition(".")[0] for key, text in last.items() if not key.startswith(IRRELEVANT)}
        mappings = {key.partition(".")[0] for key, text in last.items() if text.partition("=")[2].startswith("{")}
        if not mappings:  # nearly always
            return shlex.join(sorted(heads))
        texts = dict.fromkeys(text for text in reversed(self.overrides) if text in heads)
        return shlex.join(sorted(texts, key=lambda text: heads[text] if heads[text] in mappings else text))

    @property
    def values(self) -> dict[str, str]:
        """The values that its overrides set, as typed, by key."""
        return overrides_of(self.overrides)

    @property
    def dirname(self) -> str:
        """Its overrides joined as in `hydra.job.override_dirname`."""
        excluded, between, equals = self.base.naming
        kept = sorted(text for text in self.overrides if text.partition("=")[0].lstrip("+~") not in excluded)
        return between.join(kept).replace("=", equals)


def problems_of_lists(overrides: Iterable[Override]) -> list[Problem]:
    """Returns a problem for each override that gives several values to a key that applies to a whole sweep."""
    return [
        Problem.with_override(str(override.input_line), "applies to the whole sweep", "give one value")
        for override in overrides
        if override.is_sweep_override() and not keys_with_values(override).isdisjoint(STACKING)
    ]


def keys_with_values(override: Override) -> set[str]:
    """Returns the key of an override that gives several values, and those in mappings among them."""
    key, values = override.key_or_group, override.value()
    mappings = [value for value in values.list if isinstance(value, dict)] if isinstance(values, ChoiceSweep) else []
    return {key, *(f"{key}.{name}" for mapping in mappings for name in mapping)}


def run_settings_of(jobs: Sequence[SweepJob]) -> list[RunSettings]:
    """Returns the settings of each job. Those that differ only in the seed share all but their loops."""
    alike: dict[tuple[int, str], RunSettings] = {}
    found = []
    for job in jobs:
        key = id(job.base), repr(without_seed(job.changes))
        if key not in alike:
            alike[key] = job.run_settings
        shared = alike[key]
        seed = job.setting(SEED)
        found.append(replace(shared, loop=replace(shared.loop, seed=seed), config={**shared.config, SEED: seed}))
    return found


def without_seed(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if key != SEED}


def settings_in(jobs: Sequence[SweepJob]) -> NDArray[np.int64]:
    """Returns the setting of each job, numbered from 0, (jobs,): jobs of one differ only in the seed and the fold.

    Values are compared, not overrides: a job may have by default what another one was given.
    """
    changed = sorted({key for job in jobs for key in job.changes}.difference(REPETITIONS))
    bases = {id(job.base): dict(flatten(job.base.resolved)) for job in jobs}
    others = {
        number: describe_values_of(base, sorted(base.keys() - {*changed, *REPETITIONS}))
        for number, base in bases.items()
    }
    numbers: dict[tuple[str, str], int] = {}
    keys = [
        (others[number], describe_values_of(ChainMap(job.changes, bases[number]), changed))
        for job in jobs
        for number in [id(job.base)]
    ]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def describe_values_of(every: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Returns a text of the values of these keys, which is the same for equal values, such as 1 and 1.0."""
    values = {key: every[key] for key in keys if key in every}
    return repr({key: float(value) if is_finite_number(value) else value for key, value in values.items()})


@dataclass(frozen=True)
class Base:
    """The configuration that jobs with the same choices share.

    `config`: Hydra's composed configuration; None for a base read from a file.
    `plain`: the settings with interpolations unresolved.
    `resolved`: the settings with interpolations resolved.
    `keys`: the dotted keys whose values a job may change.
    `problems`: those of its composition; `key_problems`: those of its keys.
    `template`: hydra.yaml of a base read from a file.
    `options`: command-line options that its jobs need.
    """

    config: DictConfig | None
    plain: dict[str, Any]
    resolved: dict[str, Any]
    choices: dict[str, str | None]
    keys: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    key_problems: KeyProblems = field(default_factory=KeyProblems)
    template: str = ""
    options: tuple[str, ...] = ()

    @cached_property
    def is_trained_elsewhere(self) -> bool:
        """Whether an engine has other machines train its jobs."""
        return self.config is not None and self.config.hydra.launcher.get("_target_") in STACKED_LAUNCHERS[1:]

    @cached_property
    def subdir(self) -> str:
        """The value of `hydra.sweep.subdir`, unresolved; empty for a base read from a file."""
        sweep: Any = {} if self.config is None else OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
        return str(sweep.get("subdir", ""))

    @cached_property
    def naming(self) -> tuple[frozenset[str], str, str]:
        """The excluded keys, item separator and replacement of = in `hydra.job.override_dirname`."""
        names = {} if self.config is None else self.config.hydra.job.config.override_dirname
        return frozenset(names.get("exclude_keys", ())), str(names.get("item_sep", ",")), str(names.get("kv_sep", "="))


def number_in(text: str) -> tuple[str, int | float] | None:
    """Returns the key and the number of an override that Hydra's grammar and Python read alike; None for any other."""
    match = NUMBER.fullmatch(text)
    if match is None or not math.isfinite(float(match[2])):
        return None
    return match[1], float(match[2]) if match[3] or match[4] else int(match[2])


class JobComposer:
    """Makes jobs from lists of overrides. Composes, parses and checks what jobs share only once."""

    def __init__(self, composer: Composer, hydra_overrides: Sequence[str]) -> None:
        self.composer = composer
        self.hydra_overrides = tuple(hydra_overrides)  # of hydra.* keys; they apply to every job
        self.parsed: dict[str, Override | None] = {}
        self.numbers: dict[tuple[str, type[int | float]], Override | None] = {}  # by key: one with a number
        self.bases: dict[tuple[str, ...], Base] = {}
        self.alike: dict[tuple[str | tuple[str, type], ...], tuple[Base, dict[str, Any]]] = {}
        self.groups: dict[str, bool] = {}
        self.checked: dict[tuple[int, str], list[Problem]] = {}  # of jobs that differ only in the seed
        self.options = options_for(composer.folders, composer.config_name, hydra_overrides)

    def parse(self, text: str) -> Override | None:
        """Returns the parsed override, or None if it cannot be parsed."""
        if text not in self.parsed:
            self.parsed[text] = self.parse_number(text) or self.parse_any(text)
        return self.parsed[text]

    def parse_any(self, text: str) -> Override | None:
        found = self.composer.parse([text], [])
        return found[0] if found else None

    def parse_number(self, text: str) -> Override | None:
        """Returns an override with a number, like an earlier one of its key; None for any other text."""
        found = number_in(text)
        if found is None:
            return None
        key, number = found
        if (like := (key, type(number))) not in self.numbers:
            self.numbers[like] = self.parse_any(f"{key}={type(number)(1)}")
        template = self.numbers[like]
        return None if template is None else with_number(template, text, number)

    def is_plain_value(self, text: str) -> bool:
        """Returns True if the override is `key=value` for a setting, not for a configuration group or a target."""
        override = self.parse(text)
        if (
            override is None
            or override.package is not None
            or override.is_add()
            or override.is_force_add()
            or override.is_delete()
            or override.is_sweep_override()
        ):
            return False
        key, value = override.key_or_group, override.value()
        if key not in self.groups:
            self.groups[key] = "/" in key or bool(self.composer.repository.group_exists(key))
        names_others = key == "imports" or key.rpartition(".")[2] in INSTANTIATION
        return not (self.groups[key] or names_others or isinstance(value, dict) or "${" in repr(value))

    def base_for(self, overrides: Sequence[str]) -> tuple[Base, list[Override]]:
        """Returns the base of a job with these overrides, and the overrides to apply to it afterwards.

        A value can be applied afterwards if no interpolation reads it, and if no other override adds or removes its key
        or sets a mapping around it.
        """
        base_overrides = [text for text in overrides if not self.is_plain_value(text)]
        keys = [override.key_or_group for override in map(self.parse, base_overrides) if override is not None]
        mappings = tuple(f"{key}." for key in keys if not self.groups.get(key))
        while True:
            base = self.base(tuple(base_overrides))
            values = [text for text in overrides if text not in base_overrides]
            bound = [text for text in values if not self.can_be_set(text, base, mappings)]
            if not bound:
                return base, [override for override in map(self.parse, values) if override is not None]
            base_overrides = [text for text in overrides if text in base_overrides or text in bound]

    def can_be_set(self, text: str, base: Base, mappings: tuple[str, ...]) -> bool:
        override = self.parse(text)
        assert override is not None
        key = override.key_or_group
        return key in base.keys and not f"{key}.".startswith(mappings)

    def base(self, overrides: tuple[str, ...]) -> Base:
        """Returns the base for these overrides, composed by Hydra, with the problems of its own."""
        if overrides not in self.bases:
            problems: list[Problem] = []
            composition = self.composer.compose([*self.hydra_overrides, *overrides], problems)
            settings, choices = composition.settings, composition.choices
            plain = composition.plain
            self.bases[overrides] = Base(
                composition.config,
                plain,
                settings,
                choices,
                keys=changeable_keys(composition.config, plain),
                problems=tuple(problems),
                key_problems=KeyProblems.of(settings, choices) if settings else KeyProblems(),
                options=self.options,
            )
        return self.bases[overrides]

    def job(self, number: int, overrides: Sequence[str]) -> tuple[SweepJob, list[Problem]]:
        """Returns the job with these overrides, and the problems that it would have as a single run."""
        base, changes = self.base_and_changes(overrides)
        job = SweepJob(number, tuple(overrides), base, changes)
        if SEED not in changes or value_problem(SEED, changes[SEED], base.choices):
            return job, self.problems_of_job(job)
        key = id(base), repr(without_seed(changes))  # no other rule asks for the seed
        if key not in self.checked:
            self.checked[key] = self.problems_of_job(job)
        return job, self.checked[key]

    def base_and_changes(self, overrides: Sequence[str]) -> tuple[Base, dict[str, Any]]:
        """Returns the base of a job with these overrides, and the values to change in it, by key.

        Finds them once for all jobs whose overrides differ only in numbers that are changed afterwards.
        """
        found = [number_in(text) for text in overrides]
        alike = tuple(
            [text if pair is None else (pair[0], type(pair[1])) for text, pair in zip(overrides, found, strict=True)]
        )
        numbers = dict(filter(None, found))
        if alike in self.alike:
            base, changes = self.alike[alike]
            return base, {**changes, **numbers}
        base, values = self.base_for(overrides)
        changes = {override.key_or_group: override.value() for override in values}
        can_be_shared = not any(isinstance(value, list) for value in changes.values())
        if can_be_shared and numbers.keys() <= changes.keys() and len(changes) == len(values):
            self.alike[alike] = base, changes
        return base, changes

    def problems_of_job(self, job: SweepJob) -> list[Problem]:
        base, changes = job.base, job.changes
        problems = [problem for problem in base.problems if problem.key not in changes]
        if base.resolved:
            problems += shared_run_problems(job.setting("devices"), job.setting("shards"))
            of_keys = base.key_problems.changed(changes, base.choices)
            problems += all_problems(job.settings, base.choices, of_keys, check_device=not base.is_trained_elsewhere)
        return problems


def changeable_keys(config: DictConfig, plain: Mapping[str, Any]) -> frozenset[str]:
    """Returns the keys whose values can be changed after composition without composing again.

    `plain`: the settings with interpolations unresolved. Excluded are keys that an interpolation may read, keys that
    must be given, and keys of a dataclass, which converts values.
    """
    texts = [value for _, value in flatten(plain) if "${" in str(value)]
    if not all(map(reads_keys_only, texts)):
        return frozenset()
    read = {f"{name}." for text in texts for name in INTERPOLATION.findall(str(text))}
    fixed = (*read, *(f"{name}." for name, part in job_parts(config).items() if holds_dataclass(part)))

    def is_fixed(key: str) -> bool:
        return f"{key}.".startswith(fixed) or any(name.startswith(f"{key}.") for name in read)

    return frozenset(key for key, value in flatten(plain) if value != MANDATORY and not is_fixed(key))


def reads_keys_only(text: Any) -> bool:
    """Returns True if each interpolation in a text or list is the name of one key or of an environment variable."""
    left = str(text)
    for name in INTERPOLATION.findall(left):
        if ABSOLUTE.fullmatch(name) or name.startswith("oc.env:"):
            left = left.replace(f"${{{name}}}", "")
    return "${" not in left


VERY_MANY = 100  # different problems, after which no further job is looked at


def make_jobs(composer: JobComposer, batch: Sequence[Sequence[str]], *, first: int = 0) -> list[SweepJob]:
    """Returns the jobs of a batch of overrides, numbered from `first`.

    Raises InputError with the problems of all jobs; of the first ones if these have very many, as the rows of another
    table have.
    """
    jobs: list[SweepJob] = []
    numbers_by_problem: dict[Problem, list[int]] = {}
    for number, overrides in enumerate(batch, start=first):
        job, problems = composer.job(number, overrides)
        jobs.append(job)
        for problem in dict.fromkeys(problems):
            numbers_by_problem.setdefault(problem, []).append(number)
        if len(numbers_by_problem) >= VERY_MANY:
            break
    if numbers_by_problem:
        raise InputError(located_in_jobs(numbers_by_problem, len(jobs)))
    return jobs


def located_in_jobs(found: Mapping[Problem, Sequence[int]] | Mapping[str, Sequence[int]], total: int) -> list[str]:
    """Returns the problems of jobs as lines, those of different kinds first. found: the numbers of the jobs of each.

    Problems that differ in a value alone, such as a wrong column of a table of jobs has, are of one kind.
    """
    first: dict[tuple[str, str], str | Problem] = {}
    for problem in found:
        kind = (problem.key, problem.rule) if isinstance(problem, Problem) else (str(problem), "")
        first.setdefault(kind, problem)
    numbers: Mapping[Any, Sequence[int]] = found
    ordered = dict.fromkeys([*first.values(), *found])
    return first_few([located(problem, numbers[problem], total) for problem in ordered])


def located(problem: str | Problem, numbers: Sequence[int], total: int) -> str:
    """Returns a problem followed by the numbers of the jobs that have it, unless all jobs have it."""
    if len(numbers) == total:
        return str(problem)
    shown = ", ".join(map(str, numbers[:3])) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
    return f"{problem} (job {shown})"
