"""Any `concurrent.futures` executor: loky, Dask, submitit, executorlib. A task is one bundle of a sweep's directory."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ch12cli.catalogue.formatting import count_of
from ch12cli.errors import InputError, describe_error
from ch12cli.files.cluster.bundle_json import WORK, Submission

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
        problems = [
            f"hydra.launcher.{name}={options[name]}: must be a whole number from 1"
            for name in ("parallel", "cpus_per_task")
            if type(options.get(name, 1)) is not int or options.get(name, 1) < 1
        ]
        if not isinstance(options.get("executor"), Mapping):
            problems.append("hydra.launcher.executor: must be {_target_: …}, such as loky.get_reusable_executor")
        if problems:
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

    def submit(self, commands: Sequence[Sequence[str]], *, directory: Path, first: int) -> str:
        for number, command in enumerate(commands, start=first):
            log = directory.absolute() / WORK / f"{number}.log"
            self.futures[number] = self.executor.submit(run_command, list(command), str(log), os.getcwd())
        return str(os.getpid())

    def ended(self, submission: Submission) -> Mapping[int, str]:
        """Returns the bundles whose tasks have ended. Those of another process's executor are unknown here."""
        return {
            number: reason
            for number in submission.bundles
            if (reason := reason_of_end(self.futures.get(number))) is not None
        }

    def cancel(self, submission: Submission, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number in self.futures:
                self.futures[number].cancel()  # what runs already ends by the stop file


def run_command(command: list[str], log: str, folder: str) -> int:
    """Runs a command with its output in a file, and returns its exit code. The task that an executor runs."""
    with open(log, "ab") as output:
        return subprocess.run(command, stdout=output, stderr=output, cwd=folder, check=False).returncode


def reason_of_end(future: Future | None) -> str | None:
    """Returns why a task has ended; None while it is waiting or running."""
    if future is None:
        return "its executor is gone"
    if not future.done():
        return None
    if future.cancelled():
        return "it was cancelled"
    error = future.exception()
    return describe_error(error) if error is not None else f"exit code {future.result()}"
