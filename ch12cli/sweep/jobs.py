"""The jobs of a sweep: each composed, checked and described, in a fraction of the time that Hydra takes for one."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from ch12cli.config.check import check, value_problem
from ch12cli.config.combinations import device_problems, problems_of
from ch12cli.config.compose import Composer
from ch12cli.config.settings import plain_job, with_changes
from ch12cli.config.values import MANDATORY
from ch12cli.errors import InputError, Problem
from ch12cli.files.hydra_folder import flatten

# What does not touch a job's result: how data are loaded, in how many threads, what is written, how jobs are stacked.
STACKING = tuple(f"sweep.{name}" for name in ("max_stacked", "processes", "fail_fast", "verify"))
IRRELEVANT = ("workers", "pin_memory", "threads", "logger", "checkpoint.", *STACKING)

REFERENCE = re.compile(r"\$\{([^}]*)\}")


@dataclass
class SweepJob:
    """One job. number: in the sweep; lines: its overrides; changes: the values, by dotted key, that it sets in what it
    shares with other jobs; place: its directory below the sweep's, once it is known. Its settings are made when they
    are asked for: a sweep may have 100,000 jobs."""

    number: int
    lines: tuple[str, ...]
    base: "Base"
    changes: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    place: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, interpolations resolved."""
        return with_changes(self.base.resolved, self.changes)

    @property
    def written(self) -> dict[str, Any]:
        """All settings as config.yaml has them, interpolations as they stand."""
        return with_changes(self.base.plain, self.changes)

    @property
    def chosen(self) -> dict[str, str | None]:
        return self.base.chosen

    @property
    def command(self) -> str:
        """The line that trains this job alone."""
        return shlex.join(["ch12", "train", *self.base.options, *self.lines])

    @property
    def key(self) -> str:
        """What tells it from other jobs: the last override of each key that touches its result, sorted."""
        last: dict[str, str] = {}
        for line in reversed(self.lines):
            last.setdefault(line.partition("=")[0].lstrip("+~"), line)
        ordered = {key.partition(".")[0] for key, line in last.items() if line.partition("=")[2].startswith("{")}
        told = {line: key.partition(".")[0] for key, line in last.items() if not key.startswith(IRRELEVANT)}
        return shlex.join(sorted(told, key=lambda line: told[line] if told[line] in ordered else line))

    @property
    def values(self) -> dict[str, str]:
        """What its overrides set, by key."""
        return {key.lstrip("+~"): value for key, _, value in (line.partition("=") for line in self.lines)}

    @property
    def dirname(self) -> str:
        """Its overrides in one name, as `hydra.job.override_dirname` has them."""
        excluded, between, equals = self.base.naming
        lines = sorted(line for line in self.lines if line.partition("=")[0].lstrip("+~") not in excluded)
        return between.join(lines).replace("=", equals)


@dataclass
class Base:
    """What jobs of the same choices share. plain: unresolved; resolved; referenced: keys that interpolations read.

    config: as Hydra composed it, None for a base out of a file; template: hydra.yaml with marks where jobs differ;
    options: words of a command line without which the job could not be composed.
    """

    config: DictConfig | None
    plain: dict[str, Any]
    resolved: dict[str, Any]
    chosen: dict[str, str | None]
    keys: frozenset[str] = frozenset()
    referenced: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)
    template: str = ""
    options: tuple[str, ...] = ()

    @cached_property
    def naming(self) -> tuple[frozenset[str], str, str]:
        """Of `hydra.job.override_dirname`: the keys that are left out, what stands between two overrides, and for =."""
        names = {} if self.config is None else self.config.hydra.job.config.override_dirname
        return frozenset(names.get("exclude_keys", ())), str(names.get("item_sep", ",")), str(names.get("kv_sep", "="))


class Jobs:
    """Makes jobs from lists of overrides. What overrides share is composed, parsed and checked once."""

    def __init__(self, composer: Composer, hydra_lines: Sequence[str]) -> None:
        self.composer = composer
        self.hydra_lines = tuple(hydra_lines)  # hydra.* overrides, which hold for every job
        self.parsed: dict[str, Override | None] = {}
        self.bases: dict[tuple[str, ...], Base] = {}
        self.groups: dict[str, bool] = {}
        self.options = (
            *(word for folder in composer.folders for word in ("--config-dir", str(folder))),
            *(["--config-name", composer.config_name] if composer.config_name != "config" else []),
            *(line for line in hydra_lines if line.lstrip("+").startswith("hydra.searchpath=")),
        )

    def parse(self, line: str) -> Override | None:
        if line not in self.parsed:
            problems: list[Problem] = []
            read = self.composer.parse([line], problems)
            self.parsed[line] = read[0] if read else None
        return self.parsed[line]

    def is_plain_value(self, line: str) -> bool:
        """True for `key=value` that sets a value and chooses nothing."""
        override = self.parse(line)
        if override is None or override.is_add() or override.is_force_add() or override.is_delete():
            return False
        key = override.key_or_group
        if key not in self.groups:
            self.groups[key] = "/" in key or bool(self.composer.repository.group_exists(key))
        mapping = isinstance(override.value(), dict)
        return not (self.groups[key] or override.is_sweep_override() or mapping or "${" in line)

    def base_for(self, lines: Sequence[str]) -> tuple[Base, list[Override]]:
        """What most of a job's overrides give together, and the values that can be set in it afterwards, which is what
        jobs differ in as a rule. Other keys' values must not depend on those, nor may they be part of a mapping that
        another override sets."""
        chosen = [line for line in lines if not self.is_plain_value(line)]
        keys = [override.key_or_group for override in map(self.parse, chosen) if override is not None]
        mappings = tuple(f"{key}." for key in keys if not self.groups.get(key))
        while True:
            base = self.base(tuple(chosen))
            values = [line for line in lines if line not in chosen]
            bound = [line for line in values if not self.may_be_set(line, base, mappings)]
            if not bound:
                return base, [override for override in map(self.parse, values) if override is not None]
            chosen = [line for line in lines if line in chosen or line in bound]

    def may_be_set(self, line: str, base: Base, mappings: tuple[str, ...]) -> bool:
        override = self.parse(line)
        assert override is not None
        key = override.key_or_group
        return key in base.keys and key not in base.referenced and not f"{key}.".startswith(mappings)

    def base(self, lines: tuple[str, ...]) -> Base:
        """What these overrides give together, composed by Hydra and checked in full."""
        if lines not in self.bases:
            problems: list[Problem] = []
            composition = self.composer.compose([*self.hydra_lines, *lines], problems)
            if composition.settings:
                problems += check(composition.settings, composition.chosen)
            plain = plain_job(composition.config)
            referenced = {key for name in REFERENCE.findall(repr(plain)) for key in (name, name.rpartition(".")[0])}
            keys = frozenset(key for key, value in flatten(plain) if value != MANDATORY)  # which a base must have
            self.bases[lines] = Base(
                composition.config,
                plain,
                composition.settings,
                composition.chosen,
                keys,
                frozenset(referenced),
                problems,
                options=self.options,
            )
        return self.bases[lines]

    def job(self, number: int, lines: Sequence[str]) -> SweepJob:
        """The job of these overrides, its problems among it."""
        base, values = self.base_for(lines)
        job = SweepJob(number, tuple(lines), base, problems=list(base.problems))
        for override in values:
            key, value = override.key_or_group, override.value()
            job.changes[key] = value
            problem = value_problem(key, value, base.chosen)
            if problem:
                job.problems.append(problem)
        if values and not job.problems:
            job.problems = problems_of(job.settings) + device_problems(job.settings)
        return job


def make_jobs(jobs: Jobs, batch: Sequence[Sequence[str]], *, first: int = 0) -> list[SweepJob]:
    """The jobs of a batch of overrides. InputError with every mistake in any of them, each said once."""
    made = [jobs.job(number, lines) for number, lines in enumerate(batch, start=first)]
    where: dict[Problem, list[int]] = {}
    for job in made:
        for problem in dict.fromkeys(job.problems):
            where.setdefault(problem, []).append(job.number)
    if where:
        raise InputError([located(problem, numbers, len(made)) for problem, numbers in where.items()])
    return made


def located(problem: str | Problem, numbers: Sequence[int], total: int) -> str:
    """A problem with the jobs that have it, unless all do."""
    if len(numbers) == total:
        return str(problem)
    shown = ", ".join(map(str, numbers[:3])) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
    return f"{problem} (job {shown})"
