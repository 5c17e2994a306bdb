"""Whether the jobs that a sweep knows are still what they were: a configuration file may have changed since."""

from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ch12cli.config.choices import top_level
from ch12cli.config.values import shown
from ch12cli.errors import InputError
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plan_json import WITHDRAWN, PlannedBase, PlannedJob
from ch12cli.sweep.jobs import IRRELEVANT, SweepJob

TOLD = 5  # keys that are told, at most
ABSENT = object()


def require_unchanged(
    jobs: Iterable[SweepJob],
    kept: Iterable[PlannedJob],
    bases: Iterable[PlannedBase],
    sweep_dir: Path,
) -> None:
    """InputError if a job is known by its overrides, but not with the settings that these give now.

    kept, bases: the jobs, and what they share, as an earlier command into the same directory wrote them.
    """
    known = {job.job_key: job for job in kept}
    before = [dict(flatten(base.settings)) for base in bases]
    now: dict[int, dict[str, Any]] = {}  # by the id of a base, as is:
    unlike: dict[tuple[int, int], list[str]] = {}  # the keys in which two bases differ
    told: dict[str, str] = {}
    changed = 0
    for job in jobs:
        old = known.get(job.key)
        if old is None:
            continue
        place, base = old.base, id(job.base)
        if base not in now:
            now[base] = dict(flatten(job.base.resolved))
        if (place, base) not in unlike:
            unlike[place, base] = [
                key for key in {**before[place], **now[base]} if differ(key, before[place], now[base])
            ]
        keys = dict.fromkeys([*unlike[place, base], *old.changes, *job.changes])
        was, comes = ChainMap(old.changes, before[place]), ChainMap(job.changes, now[base])
        found = [key for key in keys if differ(key, was, comes)]
        changed += bool(found)
        told |= {key: f"{key}={said(was, key)}, now {said(comes, key)}" for key in found if key not in told}
    if told:
        more = f" and {len(told) - TOLD} more keys" if len(told) > TOLD else ""
        raise InputError(
            f"hydra.sweep.dir={sweep_dir}: {changed} of its jobs had other settings when they were planned: "
            f"{'; '.join([*told.values()][:TOLD])}{more}; a configuration file has changed since: put it back, "
            "or choose another directory"
        )


def differ(key: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a key has two values. One that is missing because ch12 did not have it then had its default."""
    if key.startswith(IRRELEVANT) or key in WITHDRAWN:
        return False
    old, new = was.get(key, ABSENT), now.get(key, ABSENT)
    if old is ABSENT and key in top_level():
        return bool(new != top_level()[key])
    return repr(old) != repr(new)  # 1, 1.0 and True are equal, NaN is not


def said(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, ABSENT)
    return "none" if value is ABSENT else shown(value)
