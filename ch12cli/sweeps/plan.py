"""The plan of a sweep: which jobs have ended, which are trained together, and its record on disk."""

import time
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ch12cli.catalogue.formatting import count_of
from ch12cli.catalogue.keys_of_settings import SEED
from ch12cli.config.choices import top_level
from ch12cli.config.values import shown
from ch12cli.errors import InputError
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plan_json import WITHDRAWN, PlanFile, PlannedBase, PlannedJob, write_plan_json
from ch12cli.files.result_json import is_done, is_intact
from ch12cli.files.run_directory import STATE
from ch12cli.files.sweep_csv import SweepRow, row_on_disk
from ch12cli.run.task import Task
from ch12cli.sweeps.groups import (
    Elsewhere,
    Group,
    divide_into_stacks,
    group_jobs,
    max_stack_size,
    processes_for,
    why_not_halved,
)
from ch12cli.sweeps.job_directories import HydraFiles, refuse_foreign, require_separate, with_directory
from ch12cli.sweeps.jobs import IRRELEVANT, SweepJob
from ch12cli.sweeps.trials import examine, timed
from ch12cli.sweeps.workers.work_item import WorkItem, checkpoint_name


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do.

    `jobs`: all its jobs, by number.
    `groups`: the groups of these jobs.
    `items`: the work items that are left.
    `done`: the numbers of the ended jobs.
    `finished_items`: stacks whose jobs have all ended, but whose checkpoints are still on disk.
    """

    jobs: dict[int, SweepJob]
    groups: Sequence[Group]
    items: list[WorkItem]
    done: list[int]
    numbers: list[int]  # of the given jobs in order; equal jobs share a number
    finished_items: list[WorkItem] = field(default_factory=list)
    tasks: Sequence[Task] = ()  # one per group
    total_jobs: int = 0  # jobs in the sweep, if this plan covers one batch of it
    goes_on: bool = False  # whether a search asks for further jobs, whose number total_jobs may not know
    ends_at: float | None = None  # when its budget of time is used up, by perf_counter
    elsewhere: Elsewhere | None = None  # what its engine trains it with; None: this machine
    tasks_of_engine: str = ""  # what would be submitted to its engine, in words
    seconds: float = 0.0  # how long its engine would take, as far as that was measured

    @property
    def processes(self) -> int:
        """The largest number of processes that train it."""
        if self.elsewhere is not None:
            return self.elsewhere.processes
        return max((processes_for(group.settings) for group in self.groups), default=1)


def number_jobs(jobs: Sequence[SweepJob], known: Mapping[str, int]) -> dict[str, int]:
    """Returns the number of each job, by job key.

    A known job keeps its number. A new job gets its index if that is free, else the next free number.
    """
    numbers = dict(known)
    taken = set(known.values())
    next_number = max(taken, default=-1) + 1
    for job in jobs:
        if job.key not in numbers:
            number = job.number
            if number in taken:
                number = max(next_number, number)
                while number in taken:
                    number += 1
                next_number = number + 1
            numbers[job.key] = number
            taken.add(number)
    return numbers


def assign_numbers(
    jobs: Sequence[SweepJob], sweep_dir: Path, known: PlanFile
) -> tuple[dict[int, SweepJob], list[int], set[int]]:
    """Returns the jobs by number, with their directories; the number of each given job; the numbers begun earlier.

    Raises InputError if directories clash or belong to other jobs.
    """
    by_key, directories = number_jobs(jobs, known.numbers), known.directories
    numbers = [by_key[job.key] for job in jobs]
    planned: dict[int, SweepJob] = {}
    for number, job in zip(numbers, jobs, strict=True):
        if number not in planned:
            job = job.placed(number, directories.get(number, ""))
            planned[number] = job if job.directory else with_directory(job)
    new = [job for number, job in planned.items() if number not in directories]
    require_separate(new, directories.values())
    begun = {job.number for job in refuse_foreign(new, sweep_dir)} | (directories.keys() & planned.keys())
    return planned, numbers, begun


def make_plan(
    jobs: Sequence[SweepJob],
    sweep_dir: Path,
    known: PlanFile,
    *,
    is_done: Callable[[SweepJob], bool],
    examine: Callable[[Sequence[Group]], tuple[Sequence[Group], Sequence[Task]]],
    failed: Collection[int] = (),
    elsewhere: Elsewhere | None = None,
) -> Plan:
    """Returns the plan for these jobs in a sweep's directory. Writes nothing.

    `known`: what has been planned there.
    `is_done`: tells whether a job that was begun there has ended.
    `examine`: finds the groups that cannot be stacked, and the sizes of their networks.
    `failed`: the numbers of the failed jobs.
    `elsewhere`: what trains them; None for this machine.
    """
    require_unchanged(jobs, known.jobs, known.bases, sweep_dir)
    by_number, numbers_given, begun = assign_numbers(jobs, sweep_dir, known)
    done = {number for number in begun if is_done(by_number[number])}
    groups, tasks = examine(group_jobs(list(by_number.values())))
    group_index = {job.number: index for index, group in enumerate(groups) for job in group.jobs}
    items: list[WorkItem] = []
    finished_items: list[WorkItem] = []
    planned: set[int] = set()
    for stack in sorted(known.stacks, key=len, reverse=True):
        # a stack is resumed with its ended jobs: a stack of other jobs would not give the same bits
        if (
            all(n in by_number for n in stack)
            and planned.isdisjoint(stack)
            and len({group_index[n] for n in stack}) == 1
            and not groups[group_index[stack[0]]].reason
        ):
            item = _stack(stack, group_index[stack[0]], groups, sweep_dir, elsewhere)
            if done.issuperset(stack):
                finished_items.append(item)
            elif done.union(failed).issuperset(stack) and not item.has_checkpoint:
                continue  # the stack ended; failed jobs are trained again without the ended ones
            else:
                items.append(item)
            planned.update(stack)
    for index, group in enumerate(groups):
        left = [job.number for job in group.jobs if job.number not in done and job.number not in planned]
        if group.reason or len(left) == 1:
            items += [WorkItem((number,), index, False, seconds=group.seconds) for number in left]
        elif left:
            sizes = [len(left)]  # halving and populations compare all runs of a group, so they form one item
            if not group.settings.sweep.halving and not group.settings.sweep.pbt:
                sizes = divide_into_stacks(group, len(left), elsewhere)
            for size in sizes:
                numbers, left = left[:size], left[size:]
                single = WorkItem(tuple(numbers), index, False, seconds=group.seconds)
                items.append(_stack(numbers, index, groups, sweep_dir, elsewhere) if size > 1 else single)
    return Plan(
        by_number,
        groups,
        items,
        [n for n in by_number if n in done],
        numbers_given,
        finished_items,
        tasks,
        elsewhere=elsewhere,
    )


def _stack(
    numbers: Sequence[int], index: int, groups: Sequence[Group], sweep_dir: Path, elsewhere: Elsewhere | None
) -> WorkItem:
    sweep = groups[index].settings.sweep
    return WorkItem(
        tuple(numbers),
        index,
        True,
        sweep_dir / STATE / checkpoint_name(numbers),
        runs_at_once=max_stack_size(groups[index], elsewhere) if sweep.halving or sweep.pbt else 0,
        seconds=len(numbers) * groups[index].seconds,
    )


def write_plan(plan: Plan, sweep_dir: Path, known: PlanFile, hydra: HydraFiles) -> PlanFile:
    """Adds the jobs, their numbers and the stacks to what is known of the sweep, so that it can be resumed.

    Returns all that is known now. Writes plan.json if that is more than before.
    """
    stacks = tuple(item.jobs for item in plan.items if item.stacked)
    bases = {id(job.base): job.base for job in plan.jobs.values()}
    index_of = {key: len(known.bases) + index for index, key in enumerate(bases)}
    numbers = known.numbers
    jobs = tuple(
        PlannedJob(number, job.key, tuple(job.overrides), index_of[id(job.base)], job.changes, job.directory)
        for number, job in plan.jobs.items()
        if job.key not in numbers
    )
    planned = tuple(
        PlannedBase(base.resolved, base.plain, base.choices, hydra.template(base), tuple(base.options))
        for base in bases.values()
    )
    every_stack = (*(stack for stack in known.stacks if stack not in stacks), *stacks)
    if jobs:
        began = known.began if known.jobs else round(time.time(), 3)  # 0 if an earlier version planned it
        known = PlanFile((*known.bases, *planned), (*known.jobs, *jobs), every_stack, began)
    elif every_stack != known.stacks:
        known = replace(known, stacks=every_stack)
    else:
        return known
    write_plan_json(sweep_dir, known)
    return known


MAX_CHANGES = 5  # keys that the message lists, at most
ABSENT = object()


def require_unchanged(
    jobs: Iterable[SweepJob],
    planned: Iterable[PlannedJob],
    bases: Iterable[PlannedBase],
    sweep_dir: Path,
) -> None:
    """Raises InputError if the overrides of a known job now give other settings.

    `planned` and `bases` are the jobs and bases that an earlier command wrote into this directory.
    """
    known = {job.job_key: job for job in planned}
    if not known:
        return
    before = [dict(flatten(base.settings)) for base in bases]
    now: dict[int, dict[str, Any]] = {}  # settings by id of a base
    differing: dict[tuple[int, int], list[str]] = {}  # differing keys by index and id
    changes: dict[str, str] = {}
    changed = 0
    for job in jobs:
        old = known.get(job.key)
        if old is None:
            continue
        base_index, base = old.base, id(job.base)
        if base not in now:
            now[base] = dict(flatten(job.base.resolved))
        if (base_index, base) not in differing:
            differing[base_index, base] = [
                key for key in {**before[base_index], **now[base]} if differ(key, before[base_index], now[base])
            ]
        keys = dict.fromkeys([*differing[base_index, base], *old.changes, *job.changes])
        old_values, new_values = ChainMap(old.changes, before[base_index]), ChainMap(job.changes, now[base])
        found = [key for key in keys if differ(key, old_values, new_values)]
        changed += bool(found)
        changes |= {
            key: f"{key}={shown_value(old_values, key)}, now {shown_value(new_values, key)}"
            for key in found
            if key not in changes
        }
    if changes:
        more = f" and {len(changes) - MAX_CHANGES} more keys" if len(changes) > MAX_CHANGES else ""
        raise InputError(
            f"hydra.sweep.dir={sweep_dir}: {changed} of its jobs had other settings when they were planned: "
            f"{'; '.join([*changes.values()][:MAX_CHANGES])}{more}; a configuration file has changed since: "
            "put it back, or choose another directory"
        )


def differ(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Returns True if a key's value has changed.

    A key that is absent because it is newer than the plan is compared by its default.
    """
    if key.startswith(IRRELEVANT) or key in WITHDRAWN:
        return False
    old, new = before.get(key, ABSENT), now.get(key, ABSENT)
    if old is ABSENT and key in top_level():
        return bool(new != top_level()[key])
    return repr(old) != repr(new)  # 1, 1.0 and True are equal, NaN is not


def shown_value(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, ABSENT)
    return "none" if value is ABSENT else shown(value)


def examined_plan(
    jobs: Sequence[SweepJob],
    directory: Path,
    known: PlanFile,
    rows: Mapping[int, SweepRow],
    *,
    single: str = "",
    elsewhere: Elsewhere | None = None,
) -> tuple[Plan, list[SweepRow]]:
    """Returns the plan of these jobs in a sweep's directory, and the table rows that it keeps.

    `known`: what has been planned there. `rows`: of its table, by number. `single`: why all jobs are trained one by
    one; empty if they may be stacked. `elsewhere`: as in `make_plan`.
    """
    statuses = {number: row.status for number, row in rows.items()}
    failed = {number for number, status in statuses.items() if status == "failed"}

    def examine_groups(groups: Sequence[Group]) -> tuple[list[Group], list[Task]]:
        examined, tasks = examine(groups)
        examined = [replace(group, reason=single or group.reason) for group in examined]
        if elsewhere is not None and elsewhere.seconds is not None:
            examined = [timed(group, task, elsewhere) for group, task in zip(examined, tasks, strict=True)]
        require_halving(examined)
        require_populations(examined)
        return examined, tasks

    def has_ended(job: SweepJob) -> bool:
        """Returns True if the job has a result, and its table row or its files confirm it.

        A power cut may have emptied the files of a job without a row. Rows are written after the files are on disk.
        """
        path = directory / job.directory
        return is_done(path) and (statuses.get(job.number) in ("finished", "diverged") or is_intact(path))

    plan = make_plan(
        jobs, directory, known, is_done=has_ended, examine=examine_groups, failed=failed, elsewhere=elsewhere
    )
    kept = [row for number, row in rows.items() if number not in plan.jobs]
    kept += [row_on_disk(rows.get(number), plan.jobs[number].facts, directory) for number in plan.done]
    return plan, kept


def require_halving(groups: Sequence[Group]) -> None:
    """Raises InputError if `sweep.halving` is set and has no effect on any job."""
    halved = [group for group in groups if group.settings.sweep.halving]
    reasons = dict.fromkeys(why_not_halved(group) for group in halved)
    if halved and all(reasons):
        raise InputError(f"sweep.halving: no job can be halved: {'; '.join(reasons)}; leave it out")


def require_populations(groups: Sequence[Group]) -> None:
    """Raises InputError if `sweep.pbt` is set and the jobs of a group cannot be trained as a population."""
    reasons = dict.fromkeys(why_no_population(group) for group in groups if group.settings.sweep.pbt)
    if found := [reason for reason in reasons if reason]:
        raise InputError(f"sweep.pbt: {'; '.join(found)}; leave it out")


def why_no_population(group: Group) -> str:
    """Returns why the jobs of a group cannot go on from each other; empty if they can."""
    pbt, epochs, most = group.settings.sweep.pbt, group.settings.loop.epochs, max_stack_size(group)
    assert pbt is not None
    first, numbers = group.jobs[0], {*pbt.numbers, SEED}
    bases = {id(job.base): job.base.resolved for job in group.jobs}
    keys = dict.fromkeys(key for job in group.jobs for key in job.changes)
    keys |= dict.fromkeys(key for base in bases.values() for key, _ in flatten(base)) if len(bases) > 1 else {}
    others = [
        key
        for key in keys
        if key not in numbers and not key.startswith((*IRRELEVANT, "sweep."))
        if any(repr(job.setting(key)) != repr(first.setting(key)) for job in group.jobs)
    ]
    if group.reason:
        return f"job {first.number} would be trained alone: {group.reason}"
    if others:
        return f"the jobs differ in {others[0]}, which is none of its numbers"
    if len(group.jobs) > most:
        return f"{len(group.jobs):,} runs do not fit into one stack, which holds {most:,}"
    return f"every={pbt.every} is not before the last of {count_of(epochs, 'epoch')}" if pbt.every >= epochs else ""
