"""Any `concurrent.futures` executor: loky, Dask, submitit, executorlib. A task is one bundle of a sweep's directory."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ch12cli.catalogue.formatting import count_of
from ch12cli.config.schema import launcher_problems
from ch12cli.errors import InputError, describe_error
from ch12cli.files.cluster.bundle_json import WORK, Submission
from ch12cli.files.cluster.slurm_queue import TaskState

Future = Any  # what the executor's `submit` returns: like concurrent.futures.Future


class ExecutorEngine:
    """Hands bundles to an executor. Its tasks start processes of their own, so that a bundle may fork and be ended.

    make: returns the executor, which has a method `submit`, or `get_executor` as a Dask client has. It is called
    when something is submitted. parallel: bundles at once at most.
    """

    name = "executor"
    memory = seconds = None
    has_gpus = False

    def __init__(self, make: Callable[[], Any], *, parallel: int, cores: int) -> None:
        self.make, self.parallel, self.cores = make, parallel, cores
        self.futures: dict[int, Future] = {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any], make: Callable[[], Any]) -> "ExecutorEngine":
        """Returns the engine with these options of its launcher. Raises InputError if they are invalid."""
        if problems := launcher_problems("executor", options):
            raise InputError(problems)
        return cls(
            make,
            parallel=options.get("parallel", 1),
            cores=options.get("cpus_per_task", 1),
        )

    @cached_property
    def executor(self) -> Any:
        made = self.make()
        found = made.get_executor() if hasattr(made, "get_executor") else made
        if not callable(getattr(found, "submit", None)):
            kind = type(made).__name__
            raise InputError(
                f"hydra.launcher.executor: {kind} has no method submit; name a concurrent.futures executor"
            )
        return found

    def require_ready(self) -> None:
        """Makes the executor. Raises InputError if it cannot be made."""
        assert self.executor

    def limits(self) -> list[str]:
        return [f"{self.parallel} at once", f"{count_of(self.cores, 'core')} each"]

    def hidden(self, _places: Mapping[str, Path]) -> list[str]:
        """Returns nothing: where the tasks of an executor run is not known."""
        return []

    def doubt(self, _tasks: int) -> str:
        """Returns nothing: what an executor can start is not known."""
        return ""

    def submit(self, commands: Sequence[Sequence[str]], *, directory: Path, first: int) -> str:
        for number, command in enumerate(commands, start=first):
            log = directory.absolute() / WORK / f"{number}.log"
            self.futures[number] = self.executor.submit(run_command, list(command), str(log), os.getcwd())
        return str(os.getpid())

    def states(self, submission: Submission) -> Mapping[int, TaskState]:
        """Returns the states of the tasks. Those of another process's executor are gone."""
        return {number: future_state(self.futures.get(number)) for number in submission.bundles}

    def cancel(self, submission: Submission, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number in self.futures:
                self.futures[number].cancel()  # what runs already ends by the stop file


def run_command(command: list[str], log: str, folder: str) -> int:
    """Runs a command with its output in a file, and returns its exit code. The task that an executor runs."""
    with open(log, "ab") as output:
        return subprocess.run(command, stdout=output, stderr=output, cwd=folder, check=False).returncode


def future_state(future: Future | None) -> TaskState:
    """Returns the state of a task, which is the reason of its end if it has ended."""
    if future is None:
        return TaskState("its executor is gone", has_ended=True)
    if not future.done():
        return TaskState("not ended")
    if future.cancelled():
        return TaskState("it was cancelled", has_ended=True)
    error = future.exception()
    reason = describe_error(error) if error is not None else f"exit code {future.result()}"
    return TaskState(reason, has_ended=True)
