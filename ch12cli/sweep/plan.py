"""The plan of a sweep: which jobs are done already, which go together, and what is kept of that on disk."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ch12cli.files.plan_json import PlanFile, PlannedBase, PlannedJob, read_plan, write_plan_json
from ch12cli.files.run_directory import STATE
from ch12cli.run.task import Task
from ch12cli.sweep.groups import Group, groups_of
from ch12cli.sweep.job_directories import refuse_strangers, require_separate, with_directory
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.record import HydraFiles
from ch12cli.sweep.stack_size import processes_for, runs_that_fit, stacks_of
from ch12cli.sweep.unchanged import require_unchanged
from ch12cli.sweep.work_item import WorkItem, checkpoint_name


@dataclass(frozen=True)
class Plan:
    """jobs: to be trained, by number; groups: of all of them; items: what is done together; done: jobs that are.

    spent: stacks all of whose jobs are done; a sweep that was ended just then has left what their resume would need.
    """

    jobs: dict[int, SweepJob]
    groups: Sequence[Group]
    items: list[WorkItem]
    done: list[int]
    numbers: list[int]  # of the jobs as they were given, equal ones with the same number
    spent: list[WorkItem] = field(default_factory=list)
    tasks: Sequence[Task] = ()  # of the groups
    in_all: int = 0  # jobs of the sweep, where this is the plan of a batch of them

    @property
    def processes(self) -> int:
        """By how many processes it is carried out at most."""
        return max((processes_for(group.settings) for group in self.groups), default=1)


def number_jobs(jobs: Sequence[SweepJob], known: Mapping[str, int]) -> dict[str, int]:
    """A number for each job's identity: the one it has, else its place if that is free, else the next free one."""
    numbers = dict(known)
    taken = set(known.values())
    following = max(taken, default=-1) + 1
    for job in jobs:
        if job.key not in numbers:
            number = job.number
            if number in taken:
                number = max(following, number)
                while number in taken:
                    number += 1
                following = number + 1
            numbers[job.key] = number
            taken.add(number)
    return numbers


def settle(
    jobs: Sequence[SweepJob], sweep_dir: Path, known: PlanFile
) -> tuple[dict[int, SweepJob], list[int], set[int]]:
    """The jobs by number, with their directories; the number of each job given; the numbers of jobs begun before."""
    by_key, directories = number_jobs(jobs, known.numbers), known.directories
    numbers = [by_key[job.key] for job in jobs]
    settled: dict[int, SweepJob] = {}
    for number, job in zip(numbers, jobs, strict=True):
        if number not in settled:
            job = replace(job, number=number, directory=directories.get(number, ""))
            settled[number] = job if job.directory else with_directory(job)
    new = [job for number, job in settled.items() if number not in directories]
    require_separate(new, directories.values())
    begun = {job.number for job in refuse_strangers(new, sweep_dir)} | (directories.keys() & settled.keys())
    return settled, numbers, begun


def make_plan(
    jobs: Sequence[SweepJob],
    sweep_dir: Path,
    *,
    is_done: Callable[[SweepJob], bool],
    examine: Callable[[Sequence[Group]], tuple[Sequence[Group], Sequence[Task]]],
    failed: Collection[int] = (),
) -> Plan:
    """What is to be done for these jobs in a directory. Writes nothing.

    is_done: whether a job that was begun there has ended; examine: finds out which groups cannot be stacked, and how
    large their networks are; failed: the jobs that failed, by number.
    """
    known = read_plan(sweep_dir)
    require_unchanged(jobs, known.jobs, known.bases, sweep_dir)
    by_number, numbers_given, begun = settle(jobs, sweep_dir, known)
    done = {number for number in begun if is_done(by_number[number])}
    groups, tasks = examine(groups_of(list(by_number.values())))
    group_of = {job.number: index for index, group in enumerate(groups) for job in group.jobs}
    items: list[WorkItem] = []
    spent: list[WorkItem] = []
    planned: set[int] = set()
    for stack in sorted(known.stacks, key=len, reverse=True):
        # a stack is taken up as it was, done jobs and all: another one would not give the very same bits
        if (
            all(n in by_number for n in stack)
            and planned.isdisjoint(stack)
            and len({group_of[n] for n in stack}) == 1
            and not groups[group_of[stack[0]]].reason
        ):
            item = _stack(stack, group_of[stack[0]], groups, sweep_dir)
            if done.issuperset(stack):
                spent.append(item)
            elif done.union(failed).issuperset(stack) and not item.is_begun:
                continue  # it has come to its end; what failed is tried without those that are done
            else:
                items.append(item)
            planned.update(stack)
    for index, group in enumerate(groups):
        left = [job.number for job in group.jobs if job.number not in done and job.number not in planned]
        if group.reason or len(left) == 1:
            items += [WorkItem((number,), index, False) for number in left]
        elif left:
            together = [len(left)]  # halving compares all runs of a group
            if not group.settings["sweep"]["halving"]:
                together = stacks_of(group, len(left))
            for size in together:
                numbers, left = left[:size], left[size:]
                alone = WorkItem(tuple(numbers), index, False)
                items.append(_stack(numbers, index, groups, sweep_dir) if size > 1 else alone)
    return Plan(by_number, groups, items, [n for n in by_number if n in done], numbers_given, spent, tasks)


def _stack(numbers: Sequence[int], index: int, groups: Sequence[Group], sweep_dir: Path) -> WorkItem:
    at_once = runs_that_fit(groups[index]) if groups[index].settings["sweep"]["halving"] else 0
    return WorkItem(tuple(numbers), index, True, sweep_dir / STATE / checkpoint_name(numbers), at_once=at_once)


def write_plan(plan: Plan, sweep_dir: Path, hydra: HydraFiles) -> None:
    """Keeps the jobs, their numbers and what is stacked with what, for the sweep to be continued."""
    known = read_plan(sweep_dir)
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
        PlannedBase(base.resolved, base.plain, base.chosen, hydra.template(base), tuple(base.options))
        for base in bases.values()
    )
    every_stack = (*(stack for stack in known.stacks if stack not in stacks), *stacks)
    if jobs:
        write_plan_json(sweep_dir, PlanFile((*known.bases, *planned), (*known.jobs, *jobs), every_stack))
    elif every_stack != known.stacks:
        write_plan_json(sweep_dir, replace(known, stacks=every_stack))
