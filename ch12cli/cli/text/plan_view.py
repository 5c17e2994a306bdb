"""Text for a sweep's plan: its jobs, stacks, single runs and estimated costs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ch12cli.catalogue.formatting import NUMBERS, count_of, format_seconds, short_names
from ch12cli.cli.text.console import wrap
from ch12cli.cli.text.tables import format_settings, table_width

if TYPE_CHECKING:  # these modules import torch
    from ch12cli.sweeps.groups import Group
    from ch12cli.sweeps.jobs import SweepJob
    from ch12cli.sweeps.plan import Plan
    from ch12cli.sweeps.workers.work_item import WorkItem

GROUPS = 20  # maximum number of groups listed
VALUES = 6  # maximum number of values listed for a key; if there are more, the first three and the last are listed
INDENT = "  "


def format_plan(
    plan: Plan, estimates: Sequence[tuple[float, int, str] | str | None] | None = None, *, width: int | None = None
) -> list[str]:
    """Returns the plan as lines of text.

    estimates: for each group, (seconds, peak bytes, what trains it), None if it is done, or the reason why there is no
    estimate. width: the terminal's width by default.
    """
    from ch12cli.sweeps.groups import why_not_halved  # imports torch; the caller already has a plan, so torch is loaded

    width = width or shutil.get_terminal_size().columns
    values = varied(plan.jobs.values())
    reasons = [text if isinstance(text, str) else "" for text in estimates or []]
    trainers = ["" if each is None or isinstance(each, str) else each[2] for each in estimates or []]
    blocks = [
        format_jobs(plan, width=width),
        format_varied(values, width=width),
        format_groups(plan, estimates or [], keys=distinguishing(plan.groups, values), width=width),
        [
            *format_reasons(plan.groups, "not stacked", [group.reason for group in plan.groups], width=width),
            *format_reasons(plan.groups, "not halved", [why_not_halved(group) for group in plan.groups], width=width),
            *format_reasons(plan.groups, "trained by", trainers, width=width),
            *format_reasons(plan.groups, "not estimated", reasons, width=width),
        ],
        _wrapped(plan.tasks_of_engine, width) if plan.tasks_of_engine else [],
        format_total(estimates or [], plan.seconds, batches=plan.total_jobs / max(1, len(plan.jobs))),
    ]
    lines: list[str] = []
    for block in blocks:
        lines += [*([""] if lines and block else []), *block]
    return lines


def format_jobs(plan: Plan, *, width: int) -> list[str]:
    """Returns lines with the number of jobs, the number done, and the duplicates left out."""
    given = Counter(plan.numbers)
    repeated = [number for number, times in given.items() if times > 1]
    head = count_of(len(plan.jobs), "job")
    if plan.total_jobs > len(plan.jobs):
        batches = -(-plan.total_jobs // len(plan.jobs))
        head += f", the first of {batches:,} batches with {count_of(plan.total_jobs, 'job')} in all"
    if plan.done and plan.goes_on:
        head = describe_continued(plan)
    elif plan.done:
        head += f", {len(plan.done):,} done already, {len(plan.jobs) - len(plan.done):,} to train"
    lines = [head]
    if repeated:
        surplus = len(plan.numbers) - len(plan.jobs)
        first = " ".join(plan.jobs[repeated[0]].overrides)
        lines.append(f"{count_of(surplus, 'duplicate')} left out, the first: {first}")
    return [line for text in lines for line in _wrapped(text, width)]


def describe_continued(plan: Plan) -> str:
    """Returns how far a search has come that goes on: `40 jobs, 24 of them done earlier; the search goes on`."""
    done, total = len(plan.done), max(plan.total_jobs, len(plan.jobs))
    of_total = f"{count_of(total, 'job')}, {done:,} of them" if done < total else count_of(done, "job")
    return f"{of_total} done earlier; the search goes on"


def varied(jobs: Iterable[SweepJob]) -> dict[str, list[str]]:
    """Returns the values of each override that differs between the jobs, in order of appearance."""
    found: dict[str, dict[str, None]] = {}
    times: Counter[str] = Counter()
    total = 0
    for job in jobs:
        total += 1
        for key, value in job.values.items():
            found.setdefault(key, {})[value] = None
            times[key] += 1
    return {key: list(values) for key, values in found.items() if len(values) > 1 or times[key] < total}


def format_varied(values: Mapping[str, Sequence[str]], *, width: int) -> list[str]:
    """Returns one line for each key: `seed  400 values: 0, 1, 2, ..., 399`."""
    room = max(map(len, values), default=0)
    lines = []
    for key, of_key in values.items():
        shown = of_key if len(of_key) <= VALUES else [*of_key[:3], "...", of_key[-1]]
        lines += _wrapped(f"{key:<{room}}  {count_of(len(of_key), 'value')}: {', '.join(shown)}", width)
    return lines


def describe_varied(values: Mapping[str, Sequence[str]]) -> str:
    """Returns the keys with their counts: `optimizer.lr (3 values), seed (400 values)`."""
    return ", ".join(f"{key} ({count_of(len(of_key), 'value')})" for key, of_key in values.items())


def describe_items(items: Iterable[WorkItem]) -> str:
    """Returns the work items in words: `2 stacks of 600 runs, 12 runs one by one`."""
    stacks, single = [], 0
    for item in items:
        if item.stacked:
            stacks.append(len(item.jobs))
        else:
            single += len(item.jobs)
    pieces = []
    if stacks:
        low, high = min(stacks), max(stacks)
        least = f"{low:,} to " if high > low else ""
        pieces.append(f"{count_of(len(stacks), 'stack')} of {least}{count_of(high, 'run')}")
    if single:
        pieces.append("1 run by itself" if single == 1 else f"{single:,} runs one by one")
    return ", ".join(pieces)


def describe_halving(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Returns (label, text) pairs that describe the halving rules and the groups without halving.

    The list is empty if halving is off.
    """
    from ch12cli.sweeps.groups import why_not_halved  # imports torch; the caller already has a plan, so torch is loaded
    from ch12cli.sweeps.halving import Halving

    rules: dict[str, None] = {}
    for group in groups:
        halving = group.settings.sweep.halving
        if halving and not why_not_halved(group):
            rule = Halving(halving.metric, halving.min_epochs, halving.factor)
            rungs = ", ".join(map(str, rule.rungs(group.settings.loop.epochs)))
            what = "setting " if halving.by == "setting" else ""
            rules[f"by {halving.metric}, 1 {what}in {halving.factor} stays after epoch {rungs}"] = None
    reasons = [why_not_halved(group) for group in groups]
    lines = [*rules, *format_reasons(groups, "not halved", reasons, width=2**20)]
    return [("halving" if not index else "", line) for index, line in enumerate(lines)]


def distinguishing(groups: Sequence[Group], keys: Collection[str]) -> dict[str, list[list[str]]]:
    """Returns the keys that differ between groups, with each group's values.

    Keys with one value in every group are preferred. If they do not identify the groups, all differing keys are
    returned.
    """
    values = [_values(group, keys) for group in groups]
    differ = [key for key in keys if any(set(of_group[key]) != set(values[0][key]) for of_group in values)]
    fixed = [key for key in differ if all(len(of_group[key]) == 1 for of_group in values)]
    is_unambiguous = len({tuple(of_group[key][0] for key in fixed) for of_group in values}) == len(groups)
    return {key: [of_group[key] for of_group in values] for key in (fixed if is_unambiguous else differ)}


def _values(group: Group, keys: Iterable[str]) -> dict[str, list[str]]:
    """Returns the distinct values of each key in a group; "" stands for a job without the override."""
    found: dict[str, dict[str, None]] = {key: {} for key in keys}
    for job in group.jobs:
        values = job.values
        for key, of_key in found.items():
            of_key[values.get(key, "")] = None
    return {key: list(of_key) for key, of_key in found.items()}


def format_groups(
    plan: Plan,
    estimates: Sequence[tuple[float, int, str] | str | None],
    *,
    keys: Mapping[str, Sequence[Sequence[str]]],
    width: int,
) -> list[str]:
    """Returns a table with one row for each group: its distinguishing values, its work items and its cost."""
    items: dict[int, list[WorkItem]] = {}
    for item in plan.items:
        items.setdefault(item.group, []).append(item)
    done = set(plan.done)
    table = [
        ["group", *keys, "trained as", "jobs", *(["done"] if done else []), *(["time", "memory"] if estimates else [])]
    ]
    for index, group in enumerate(plan.groups[:GROUPS]):
        row = [f"{index + 1}", *(_cell(of_groups[index]) for of_groups in keys.values())]
        row += [describe_items(items.get(index, ())) or "-", f"{len(group.jobs):,}"]
        row += [f"{sum(job.number in done for job in group.jobs):,}"] if done else []
        if estimates:
            estimate = estimates[index]
            if estimate is None or isinstance(estimate, str):
                row += ["-", "-"]
            else:
                row += [format_seconds(estimate[0]), format_bytes(estimate[1])]
        table.append(row)
    if table_width(table) > width:
        table[0][1 : len(keys) + 1] = short_names(list(keys))
    lines = format_settings(table, list(keys), first=1, left=len(keys) + 2, width=width, ascii_only=True)
    rest = plan.groups[GROUPS:]
    if rest:
        jobs = sum(len(group.jobs) for group in rest)
        lines.append(f"and {count_of(len(rest), 'more group')} of {count_of(jobs, 'job')}")
    return lines


def _cell(values: Sequence[str]) -> str:
    return ",".join(value or "-" for value in values) if len(values) <= 2 else f"{len(values):,} values"


def format_reasons(groups: Sequence[Group], what: str, reasons: Sequence[str], *, width: int) -> list[str]:
    """Returns one line for each distinct reason, with the groups it applies to.

    reasons: one for each group; empty if there is none.
    """
    found: dict[str, list[int]] = {}
    for index, reason in enumerate(reasons):
        if reason:
            found.setdefault(reason, []).append(index)
    lines = []
    for reason, members in found.items():
        numbers = ", ".join(f"{index + 1}" for index in members[:NUMBERS]) + (", ..." if len(members) > NUMBERS else "")
        jobs = count_of(sum(len(groups[index].jobs) for index in members), "job")
        where = f"group{'s' if len(members) > 1 else ''} {numbers}"
        lines += _wrapped(f"{what}: {reason} ({jobs}, {where})", width)
    return lines


def format_total(
    estimates: Sequence[tuple[float, int, str] | str | None], seconds: float, *, batches: float = 1
) -> list[str]:
    """Returns a line with the total time and the peak memory.

    seconds: of all groups, which share the processes. batches: how many times as many jobs the sweep has.
    """
    known = [estimate for estimate in estimates if estimate is not None and not isinstance(estimate, str)]
    if not known:
        return []
    memory = max(size for _, size, _ in known)
    if batches > 1:
        every = format_seconds(seconds * batches)
        return [f"about {format_seconds(seconds)} for this batch, {every} in all, and {format_bytes(memory)} of memory"]
    return [f"about {format_seconds(seconds)} and {format_bytes(memory)} of memory in all"]


def format_bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 999.5e6 else f"{max(1, size / 1e6):.0f} MB"


def _wrapped(text: str, width: int) -> list[str]:
    """Returns the text wrapped to `width`, with all lines but the first indented."""
    first, *others = wrap(text, width - len(INDENT))
    return [first, *(INDENT + line for line in others)]
