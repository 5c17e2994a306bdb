"""What one worker does at a time: a stack of jobs, or one job by itself."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ch12cli.config.task import Task, build_task, choose_device
from ch12cli.errors import InputError, MachineError
from ch12cli.runs.directory import CHECKPOINTS, HYDRA, RESULT
from ch12cli.runs.files import read_file
from ch12cli.sweep.alone import Job, prepare_job, take_up
from ch12cli.sweep.groups import Group
from ch12cli.sweep.halving import Halving
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.record import HydraFiles
from ch12cli.sweep.results import diverged_message
from ch12cli.sweep.signals import Terminated
from ch12cli.sweep.single import train_logged
from ch12cli.sweep.stacked import Done, Event, StackRun, Uncompiled, Unstacked
from ch12cli.training.checkpoint import Cadence, Checkpoints, DamagedError, load, save
from ch12cli.training.compiled import CannotCompileError, CompiledStep


@dataclass(frozen=True)
class Unit:
    """Jobs, by number, that are done together, and the index of their group.

    stacked: as one stack; checkpoint: where a stack keeps what its resume needs; tried: its process was killed once.
    """

    jobs: tuple[int, ...]
    group: int
    stacked: bool
    checkpoint: Path | None = None
    tried: bool = False

    def halves(self, done: Collection[int]) -> list["Unit"]:
        """What is left of a stack that failed, in two: so the job whose fault it is ends up by itself."""
        left = [number for number in self.jobs if number not in done]
        middle = -(-len(left) // 2)
        return [replace(self, jobs=tuple(half), checkpoint=None) for half in (left[:middle], left[middle:]) if half]


class Nobody:
    """A watcher that does not look."""

    def begin(self, facts: Any, *, epochs: int, directory: Path) -> None: ...
    def epoch(self, row: Any) -> None: ...
    def message(self, text: str, *, warning: bool = False) -> None: ...
    def end(self, result: Any, rows: Any, *, directory: Path) -> None: ...


class Workshop:
    """Does units one after another in one process. jobs: by number; directory_of: the directory of a job."""

    def __init__(
        self,
        jobs: Mapping[int, SweepJob],
        groups: Sequence[Group],
        directory_of: Callable[[SweepJob], Path],
        hydra: HydraFiles,
    ) -> None:
        self.jobs, self.groups, self.directory_of, self.hydra = jobs, groups, directory_of, hydra
        self.tasks: dict[int, Task] = {}

    def task(self, group: int) -> Task:
        """The data, loss and metrics of a group, made once."""
        if group not in self.tasks:
            self.tasks[group] = build_task(self.groups[group].settings)
        return self.tasks[group]

    def do(self, unit: Unit) -> Generator[Event, None, None]:
        """Trains a unit's jobs. What ends one job ends no other: a stack that fails is halved until one is left."""
        waiting = [unit]
        while waiting:
            unit = waiting.pop(0)
            if not unit.stacked:
                yield from (self.alone(self.jobs[number]) for number in unit.jobs)
                continue
            done: set[int] = set()
            try:
                with closing(self.stack(unit)) as events:
                    for event in events:
                        if isinstance(event, Done):
                            done.add(event.number)
                        yield event
            except (Terminated, MachineError, KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                if len(unit.jobs) == 1:
                    yield self.alone(self.jobs[unit.jobs[0]])  # which tells what it fails of
                    continue
                yield Unstacked(first_line(error), len(unit.jobs))
                waiting[:0] = unit.halves(done)

    def stack(self, unit: Unit) -> Generator[Event, None, None]:
        settings, jobs = self.groups[unit.group].settings, [self.jobs[number] for number in unit.jobs]
        device = choose_device(settings["device"])
        halving = settings["sweep"]["halving"]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            run = StackRun(
                jobs,
                self.task(unit.group),
                device,
                directories=[self.directory_of(job) for job in jobs],
                hydra=self.hydra,
                halving=Halving(**halving) if halving else None,
                compiled=self.groups[unit.group].compiled and unit.checkpoint is not None,  # not what is left of one
            )
            if unit.checkpoint is not None:
                with suppress(DamagedError):  # without a good one it begins anew
                    run.load_state_dict(load(unit.checkpoint))
            if run.compiled:
                try:
                    run.training.compiled = CompiledStep(run.training)
                except CannotCompileError as error:
                    run.compiled = False
                    yield Uncompiled(str(error))
            every = settings["checkpoint"]["every"]
            try:
                yield from run.run(unit.checkpoint, Cadence(None if every == "auto" else every))
            except (Terminated, GeneratorExit):  # while it trained, or while somebody dealt with what it told
                if unit.checkpoint is not None:
                    save(unit.checkpoint, run.state_dict(run.boundary))
                raise
        if unit.checkpoint is not None:
            unit.checkpoint.unlink(missing_ok=True)

    def alone(self, job: SweepJob) -> Done:
        """Trains one job by itself, from its last checkpoint if it has one. Whatever it raises is its own failure."""
        directory = self.directory_of(job)
        try:
            outcome = self.train(job, directory)
        except (Terminated, MachineError, KeyboardInterrupt):
            raise
        except InputError as error:
            return failed(job.number, str(error))
        except SystemExit as error:
            return failed(job.number, f"it called sys.exit({error.code!r})")
        except BaseException as error:
            return failed(job.number, first_line(error))
        if outcome.signal is not None:
            raise Terminated
        result = outcome.result
        cause = diverged_message(**result["diverged"]) if result["status"] == "diverged" else ""
        if "stopped_early" in result:
            cause = f"stopped early in epoch {result['stopped_early']}"
        return Done(job.number, result["status"], result, cause)

    def train(self, job: SweepJob, directory: Path) -> Any:
        device = choose_device(job.settings["device"])
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            built: Job = prepare_job(job.settings, job.chosen, device)
            for folder in (directory / HYDRA, directory / CHECKPOINTS):
                folder.mkdir(parents=True, exist_ok=True)
            for name, content in self.hydra.files(job, directory).items():
                (directory / HYDRA / name).write_bytes(content)
            take_up_newest(built, directory)
            return train_logged(built, directory, Nobody(), log=True)


def take_up_newest(job: Job, directory: Path) -> None:
    """Brings a job to its newest good checkpoint; a job that has none begins anew."""
    with suppress(DamagedError):
        take_up(job, Checkpoints(directory / CHECKPOINTS, every=None).newest()[0])


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def failed(job: int, cause: str) -> Done:
    return Done(job, "failed", {"status": "failed", "epochs": 0}, cause)


def how_it_died(code: int | None) -> str:
    """A process's exit code in words."""
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def is_done(directory: Path) -> bool:
    """Whether a job's directory holds its result, and not that of an interruption or a failure."""
    try:
        beginning = read_file(directory / RESULT)[:200]
    except OSError:
        return False
    return not any(f'"status": "{status}"'.encode() in beginning for status in ("interrupted", "failed"))


def obey(parent: int) -> None:
    """Makes this process one of a sweep's workers: Ctrl-C is the parent's to handle, SIGTERM ends the unit in hand."""

    def terminate(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the checkpoint is to be written in peace
        raise Terminated

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)
    torch.set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a worker does not outlive a killed sweep
    if os.getppid() != parent:
        raise Terminated
