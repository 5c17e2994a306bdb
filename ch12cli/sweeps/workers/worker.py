"""A worker, which trains one work item at a time as a stack or as single jobs."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ch12cli.config.run_settings import COMPACT
from ch12cli.errors import InputError, MachineError, describe_error
from ch12cli.files.atomic import sync_files
from ch12cli.files.compact.stores import StoreWriter
from ch12cli.files.history import resumed
from ch12cli.files.locks import locked
from ch12cli.files.result_json import Result
from ch12cli.files.run_directory import CHECKPOINTS, HYDRA
from ch12cli.run.build import build_module
from ch12cli.run.callbacks import NullCallback
from ch12cli.run.garbage_collection import usual_collections
from ch12cli.run.sessions import plain_of, session_record
from ch12cli.run.signals import Terminated
from ch12cli.run.start import train_log
from ch12cli.run.task import Task, choose_device
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import Job, Outcome, continued, prepare_job, train_job
from ch12cli.search.population import Population
from ch12cli.sweeps.groups import Group
from ch12cli.sweeps.halving import Halving, StackPart, train_parts
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.jobs import SweepJob, settings_in
from ch12cli.sweeps.stack_run import CheckpointMismatchError, StackRun, require_data
from ch12cli.sweeps.workers.attempts import Attempt
from ch12cli.sweeps.workers.work_item import Building, Done, Event, Unstacked, WorkItem, stack_name
from ch12cli.training.checkpoint import Checkpoints, DamagedError
from ch12cli.training.streams import seed_stream

ALONE = "sweep.pbt: its population has ended, and a run alone has none"
LOOK = 1.0  # seconds between two looks of a single run for a newer attempt at it


class BuildError(Exception):
    """A network of a stack could not be built."""


class Worker:
    """Trains work items one after another in one process. `jobs` are by number; `tasks` has one item per group.

    `attempt`: as which they are trained, if several attempts may be alive at once, on several machines.
    """

    def __init__(
        self,
        jobs: Mapping[int, SweepJob],
        groups: Sequence[Group],
        tasks: Sequence[Task],
        sweep_dir: Path,
        hydra: HydraFiles,
        *,
        attempt: Attempt = Attempt(),  # noqa: B008 - it is frozen
    ) -> None:
        self.jobs, self.groups, self.tasks, self.hydra = jobs, groups, tasks, hydra
        self.attempt = attempt
        self.sweep_dir = sweep_dir.absolute()  # code of the user's own may change the directory

    def run(self, item: WorkItem) -> Generator[Event, None, None]:
        """Trains an item's jobs and yields events. The failure of one job does not end the others.

        A job whose network cannot be built is left out. A stack that fails in training is split.
        """
        item = replace(item, checkpoint=item.checkpoint and item.checkpoint.absolute())
        waiting, reported = [item], False
        while waiting:
            item = waiting.pop(0)
            if item.buildable is not None and item.buildable < len(item.jobs):
                item = yield from self.find_failing_builds(item)
            population = self.groups[item.group].settings.sweep.pbt is not None
            if population and (not item.stacked or len(item.jobs) <= 1):
                yield from (failed(number, ALONE) for number in item.jobs)
                continue
            if not item.stacked or len(item.jobs) <= 1:
                yield from (self.train_single_job(self.jobs[number]) for number in item.jobs)
                continue
            done: set[int] = set()
            try:
                with closing(self.stack(item)) as events:
                    for event in events:
                        if isinstance(event, Done):
                            done.add(event.number)
                        yield event
            except (Terminated, MachineError, CheckpointMismatchError, GeneratorExit):
                raise
            except BaseException as error:
                if is_interrupt(error):
                    raise
                if isinstance(error, BuildError) and item.buildable is None:
                    waiting.insert(0, replace(item, buildable=0))
                    continue
                if population:
                    left, text = [number for number in item.jobs if number not in done], failure_text(error)
                    yield from (failed(number, f"its population ended: {text}") for number in left)
                    item.remove()
                    continue
                if not reported:
                    fallback = "one by one, all epochs" if item.runs_at_once else "in smaller stacks"
                    yield Unstacked(describe_error(error.__cause__ or error), len(item.jobs), fallback)
                reported = True
                waiting[:0] = item.split(done)

    def find_failing_builds(self, item: WorkItem) -> Generator[Event, None, WorkItem]:
        """Builds each network separately and yields a failed result for each job that raises.

        Returns the item without these jobs.
        """
        failing = []
        for number in item.jobs[item.buildable or 0 :]:
            yield Building(number)
            try:
                with torch.random.fork_rng(devices=[]):
                    settings = self.jobs[number].run_settings
                    seed_stream(settings.loop.seed, offset=settings.loop.stream_offset, devices=False)
                    build_module(settings.model, self.tasks[item.group])
            except (Terminated, MachineError, GeneratorExit):
                raise
            except BaseException as error:
                if is_interrupt(error):
                    raise
                failing.append(number)
                yield failed(number, failure_text(error))
        yield Building(None)
        return item.without(failing, buildable=len(item.jobs) - len(failing))

    def stack(self, item: WorkItem) -> Generator[Event, None, None]:
        settings = self.groups[item.group].settings
        device = choose_device(settings.machine.device)
        rule = settings.sweep.halving if item.runs_at_once else None
        halving = Halving(rule.metric, rule.min_epochs, rule.factor) if rule is not None else None
        stacks, jobs = item.parts(), [self.jobs[number] for number in item.jobs]
        parts = [
            StackPart(
                partial(self.build, numbers, item, device),
                runs=len(numbers),
                checkpoints=item.checkpoints(numbers, every=settings.loop.checkpoint_every, attempt=self.attempt.name),
                stays_in_memory=len(stacks) == 1,
            )
            for numbers in stacks
        ]
        with torch_settings(settings.machine):
            try:
                yield from train_parts(
                    parts,
                    settings.loop.epochs,
                    halving=halving,
                    settings=settings_in(jobs) if rule is not None and rule.by == "setting" else None,
                    decisions_file=item.decisions_file,
                )
            except BuildError:  # the parts will change when the failing jobs are left out
                for part in parts:
                    part.remove()
                raise

    def build(self, numbers: Sequence[int], item: WorkItem, device: torch.device) -> StackRun:
        jobs = [self.jobs[number] for number in numbers]
        name = stack_name(numbers) + (f"-{self.attempt.name}" if self.attempt.name else "")
        sweep = self.groups[item.group].settings.sweep
        compact, pbt = sweep.record == COMPACT, sweep.pbt
        try:
            return StackRun(
                jobs,
                self.tasks[item.group],
                device,
                sweep_dir=self.sweep_dir,
                hydra=self.hydra,
                store=StoreWriter(self.sweep_dir, name) if compact else None,
                attempt=self.attempt,
                population=None if pbt is None else Population(pbt),
                alike=len(self.groups[item.group].jobs),
            )
        except (Terminated, MachineError):
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise BuildError from error

    def train_single_job(self, job: SweepJob) -> Done:
        """Trains a single job, from its latest checkpoint if there is one, and returns its result.

        Marks the job as failed for any exception but termination, machine errors and mismatched data.
        """
        directory = self.sweep_dir / job.directory
        try:
            with usual_collections():
                outcome = self.train(job, directory)
        except (Terminated, MachineError, CheckpointMismatchError):
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            return failed(job.number, failure_text(error))
        if outcome.signal == signal.SIGINT and not is_interrupt(KeyboardInterrupt()):
            return failed(job.number, "KeyboardInterrupt, raised by code of your own")
        if outcome.signal is not None:
            raise Terminated
        return Done(job.number, outcome.result)

    def train(self, job: SweepJob, directory: Path) -> Outcome:
        settings = job.run_settings
        with torch_settings(settings.machine) as device:
            built = prepare_job(settings, device)
            for folder in (directory / HYDRA, directory / CHECKPOINTS):
                folder.mkdir(parents=True, exist_ok=True)
            for name, content in self.hydra.files(job, directory).items():
                (directory / HYDRA / name).write_bytes(content)
            sync_files(directory / HYDRA)
            with locked(directory, key=str(directory)), train_log(directory):
                self.attempt.require_newest()
                return train_job(at_newest_checkpoint(built, directory), directory, AttemptCallback(self.attempt))


class AttemptCallback(NullCallback):
    """Ends a run, by SupersededError, when a newer attempt at it has begun. Looks every LOOK seconds."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt, self.looked = attempt, time.monotonic()

    def on_step(self, done: int, steps: int) -> None:
        if time.monotonic() - self.looked > LOOK:
            self.attempt.require_newest()
            self.looked = time.monotonic()


def is_interrupt(error: BaseException) -> bool:
    """Returns whether an error is a Ctrl-C: in a worker, which ignores SIGINT, only code of the user's raises one."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def failure_text(error: BaseException) -> str:
    """Returns a one-line reason for a job's failure."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    return str(error) if isinstance(error, InputError) else describe_error(error)


def failed(job: int, error: str) -> Done:
    return Done(job, Result(status="failed", epochs=0, error=error))


def init_worker(parent: int, *, gpu: str | None = None) -> None:
    """Makes this process a worker: ignores SIGINT, which the parent handles, and raises Terminated on SIGTERM.

    `gpu`: the only one that it will see, because nothing has initialised CUDA yet.
    """

    def terminate(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # later signals must not interrupt the checkpoint
        raise Terminated

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)
    torch.set_num_threads(1)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: ends the worker if the sweep is killed
    if os.getppid() != parent:
        raise Terminated


def at_newest_checkpoint(job: Job, directory: Path) -> Job:
    """Returns the job at its newest valid checkpoint, or unchanged if it has none.

    Raises CheckpointMismatchError if the data set has changed.
    """
    try:
        state, _ = Checkpoints(directory / CHECKPOINTS, every=None).newest()
    except DamagedError:
        return job
    require_data(state, job.task, directory)
    history = resumed(plain_of(state, "history"), session_record(state, job.device, changes={}, before={}))
    return continued(job, state, history)
