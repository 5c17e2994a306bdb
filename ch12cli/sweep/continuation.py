"""A sweep that goes on: what it finds of before, and whether that may be gone on with."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ch12cli.errors import InputError
from ch12cli.files.history import differences, resumed
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import CHECKPOINTS, RESULT
from ch12cli.run.sessions import environment_of, plain_of, sitting
from ch12cli.run.task import Task, choose_device
from ch12cli.run.train import Job, take_up
from ch12cli.sweep.subprocess_call import call_in_subprocess
from ch12cli.training.checkpoint import Checkpoints, DamagedError, fitting

if TYPE_CHECKING:
    from ch12cli.sweep.plan import Plan
    from ch12cli.sweep.stack_run import StackRun
    from ch12cli.sweep.work_item import WorkItem


class UnfitError(InputError):
    """What the sweep must not go on with: it is of other data, or of something else."""


def look_back(plan: "Plan", sweep_dir: Path) -> list[str]:
    """What is to be said of what the sweep goes on with: damaged checkpoints, another environment. UnfitError if it was
    trained on other data than its data set gives now; nothing has been trained or written by then."""
    said: list[str] = []
    environment: dict[str, None] = {}
    done = set(plan.done)
    for index in {item.group for item in plan.items}:
        for job in plan.groups[index].jobs:
            if job.number in done:
                require_data_of_result(sweep_dir / job.directory, plan.tasks[index])
    for item in plan.items:
        device = choose_device(plan.groups[item.group].settings["device"])
        for checkpoints in checkpoints_of(item, plan, sweep_dir):
            try:
                state, passed_over = checkpoints.newest()
            except DamagedError as error:
                said += [f"begins anew, without a good checkpoint: {message}" for message in error.messages]
                continue
            said += [f"passed over: {message}" for message in passed_over]
            require_data(state, plan.tasks[item.group], checkpoints.last)
            environment |= dict.fromkeys(differences(plain_of(state, "environment"), environment_apart(device)))
    return said + ([f"the environment has changed since: {'; '.join(environment)}"] if environment else [])


@cache
def environment_apart(device: torch.device) -> dict[str, Any]:
    """What a run on this device runs on. Of a GPU asked in a process of its own: workers are forked, which a process
    that has used a GPU may not do."""
    return environment_of(device) if device.type == "cpu" else call_in_subprocess(environment_of, device)


def checkpoints_of(item: "WorkItem", plan: "Plan", sweep_dir: Path) -> Iterator[Checkpoints]:
    """Those from which the item's stack, or its jobs, would go on."""
    if item.stacked:
        found = [item.checkpoints(numbers) for numbers in item.parts()]
    else:
        folders = [sweep_dir / plan.jobs[number].directory / CHECKPOINTS for number in item.jobs]
        found = [Checkpoints(folder, every=None) for folder in folders]
    yield from (checkpoints for checkpoints in found if checkpoints is not None and checkpoints.exist())


def take_up_newest(job: Job, directory: Path) -> None:
    """Brings a job to its newest good checkpoint; a job that has none begins anew."""
    try:
        state, _ = Checkpoints(directory / CHECKPOINTS, every=None).newest()
    except DamagedError:
        return
    require_data(state, job.task, directory)
    take_up(job, state)
    job.history = resumed(plain_of(state, "history"), sitting(state, job.device, changes={}, before={}))


def take_up_stack(run: "StackRun", checkpoints: Checkpoints) -> None:
    """Brings a stack to its newest good checkpoint. DamagedError if there is none."""
    state, _ = checkpoints.newest()
    require_data(state, run.task, checkpoints.last)
    try:
        with fitting(str(checkpoints.last)):
            run.load_state_dict(state)
    except InputError as error:
        raise UnfitError(f"{error}; remove it to train its jobs anew") from error


def require_data(state: Mapping[str, Any], task: Task, where: Path) -> None:
    """UnfitError unless a checkpoint is of the very rows that the data set gives now."""
    require_digest(str(state.get("data_digest")), task, where)


def require_data_of_result(directory: Path, task: Task) -> None:
    """UnfitError unless a job that has ended was trained on the very rows that the data set gives now."""
    result = read_result(directory / RESULT)
    require_digest("" if result is None else str(result.data.get("digest")), task, directory)


def require_digest(then: str, task: Task, where: Path) -> None:
    now = task.data.table.digest
    if then != now:
        raise UnfitError(
            f"{where}: the data set gives other data than it was trained on (SHA-256 {now[:12]}…, then {then[:12]}…); "
            "bring the data back, or train a new sweep"
        )
