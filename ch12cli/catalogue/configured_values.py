"""Gives a sweep's jobs the values of keys that only others of its jobs override: those of their configuration.

So a default value, the same value given explicitly, and that value in other digits are one setting.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ch12cli.catalogue.keys_of_settings import NOT_ITS_OWN, SEED, is_repetition
from ch12cli.files.hydra_folder import read_keys, read_multirun
from ch12cli.files.plain_values import typed_value
from ch12cli.files.plan_json import PlanFile, is_inside, readable_plan
from ch12cli.files.run_directory import HYDRA
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.shell import override_value

Overrides = Mapping[str, str]  # values as typed, by key
Meaning = tuple[bool, Any]  # what equal values have in common
Configured = Callable[[SweepRow, str], Any]  # a value of a job's configuration; KeyError or TypeError if it has none


def with_configured_values(
    rows: Sequence[SweepRow], sweep: Path, *, plan: PlanFile | None = None, others: Iterable[Overrides] = ()
) -> list[SweepRow]:
    """Returns the rows with every key that one of them overrides: those without it have that of their configuration.

    A key stays missing where the configuration does not have it, and where a search left it out on purpose. Equal
    values have the text that was typed first. Nothing is read if all rows have the same keys, and each value one text.
    plan: that of the sweep, if it is known; others: overrides of further jobs.
    """
    typed = typed_texts([*(row.overrides for row in rows), *others])
    retyped = {(key, text): first for key, texts in typed.items() for text, first in texts.items() if text != first}
    incomplete = [row for row in rows if len(row.overrides) < len(typed)]
    missing = {key for row in incomplete for key in typed if key not in row.overrides}.difference(NOT_ITS_OWN)
    missing -= optional_keys(sweep, missing)
    if not missing and not retyped:
        return list(rows)
    missing.add(SEED)  # jobs that now have equal settings may be one job, trained twice
    typed.setdefault(SEED, {})
    value_of = configuration_in(sweep, plan)
    firsts = {key: {meaning_in(text): text for text in typed[key].values()} for key in missing}

    def completed(row: SweepRow) -> SweepRow:
        found: dict[str, str | None] = dict.fromkeys(typed)  # in the order of the keys
        found |= {key: retyped.get((key, text), text) for key, text in row.overrides.items()}
        for key in missing.difference(row.overrides):
            with suppress(KeyError, TypeError, RecursionError):  # no such key, or a value that ch12 did not write
                found[key] = typed_text(key, value_of(row, key), firsts[key])
        return replace(row, overrides={key: text for key, text in found.items() if text is not None})

    return [completed(row) if retyped or len(row.overrides) < len(typed) else row for row in rows]


def optional_keys(sweep: Path, keys: Iterable[str]) -> set[str]:
    """Returns those of the keys that a search leaves out of the jobs for which their condition does not hold.

    With a file of ranges, whose conditions are not recorded, that may be any key but seeds and folds.
    """
    own = {key for key in keys if not is_repetition(key)}
    sweeper, _ = read_multirun(sweep) if own else ({}, [])
    if sweeper.get("space") is not None:
        return own
    when = sweeper.get("when")
    return own.intersection(when) if isinstance(when, Mapping) else set()


def configuration_in(sweep: Path, plan: PlanFile | None = None) -> Configured:
    """Returns a function for the values of jobs' configurations: from the plan, or else from the files of a job.

    plan: that of the sweep, if it is known. The value of a group is its choice.
    """
    plan = readable_plan(sweep) if plan is None else plan
    jobs = {(job.number, job.directory): job for job in plan.jobs}
    keys_in = lru_cache(maxsize=1)(read_keys)  # a job is asked for several keys

    def value_of(row: SweepRow, key: str) -> Any:
        job = jobs.get((row.job, row.directory))
        if job is not None:
            return plan.setting(job, key)
        keys = keys_in(sweep / row.directory / HYDRA) if is_inside(row.directory) else {}
        return keys[key]

    return value_of


def typed_texts(every: Iterable[Overrides]) -> dict[str, dict[str, str]]:
    """Returns the texts that were typed for each key, each with the first one of the same meaning."""
    texts: dict[str, dict[str, str]] = {}
    for overrides in every:
        for key, text in overrides.items():
            texts.setdefault(key, {})[text] = text
    for key, of_key in texts.items():
        firsts: dict[Meaning, str] = {}
        texts[key] = {text: firsts.setdefault(meaning_in(text), text) for text in of_key}
    return texts


def typed_text(key: str, value: Any, typed: Mapping[Meaning, str]) -> str | None:
    """Returns a value of a configuration as the sweep's jobs have typed it, or as an override; None for no value.

    A mapping has several values, and a seed or fold of null is none.
    """
    if isinstance(value, Mapping) or (value is None and is_repetition(key)):
        return None
    text = override_value(value)
    return typed.get(meaning_in(text), text)


@lru_cache(maxsize=4096)
def meaning_in(text: str) -> Meaning:
    """Returns what is the same of equal values, such as `0.001` and `1e-3`, but not `1` and `true`."""
    value = typed_value(text) if text else text  # nothing was typed, which is not null
    if isinstance(value, str):
        value = value.replace(" ", "") if value.startswith("[") else value.strip("'\"")
    return isinstance(value, bool), value
