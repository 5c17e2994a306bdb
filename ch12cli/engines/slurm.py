"""Slurm, through sbatch, squeue, scontrol and scancel. It needs neither accounting nor a Python package."""

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ch12cli.catalogue.formatting import count_of
from ch12cli.config.recorded import resume_line
from ch12cli.config.schema import PREFIX_OF_LAUNCHER, launcher_problems
from ch12cli.engines.visibility import has_other_machines, local_places
from ch12cli.errors import InputError, MachineError
from ch12cli.files.cluster import slurm_queue
from ch12cli.files.cluster.bundle_json import WORK, Submission
from ch12cli.files.cluster.slurm_queue import TaskState, ask

SUBMITTED = re.compile(r"(\d+)(?:;.*)?")  # what sbatch --parsable prints: the number of the job, and maybe its cluster
# What Slurm's commands print where no controller answers; everything else is a refusal.
UNREACHABLE = ("Unable to contact slurm controller", "resolve_ctls_from_dns_srv", "Unknown host")


# Options of sbatch that ch12 needs for itself, each with the key of the launcher for it, if there is one.
OWN_OPTIONS = {
    "array": "array_parallelism",
    "cpus-per-task": "cpus_per_task",
    "mem": "mem_gb",
    "signal": "signal_delay_s",
    "time": "timeout_min",
    "output": "",
    "wrap": "",
}


@dataclass
class Slurm:
    """Submits bundles as arrays of jobs. The fields are those of conf/hydra/launcher/slurm.yaml."""

    partition: str | None = None
    timeout_min: int = 60
    cpus_per_task: int = 1
    gpus_per_node: int | None = None
    mem_gb: float | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_parallelism: int = 16
    setup: Sequence[str] | None = None
    additional_parameters: Mapping[str, object] | None = None
    signal_delay_s: int = 60

    name = "slurm"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Slurm":
        """Returns the engine with these options of its launcher. Raises InputError for what Slurm could not mean."""
        if problems := launcher_problems(cls.name, options):
            raise InputError(problems)
        engine = cls(**options)
        for name in engine.further_options:
            if name in OWN_OPTIONS:
                hint = f"use hydra.launcher.{OWN_OPTIONS[name]}" if OWN_OPTIONS[name] else "leave it out"
                raise InputError(f"hydra.launcher.additional_parameters: ch12 sets {name} of sbatch itself; {hint}")
        if not engine.seconds:
            rule = f"must be less than the {60 * engine.timeout_min} seconds of timeout_min={engine.timeout_min}"
            raise InputError(f"hydra.launcher.signal_delay_s={engine.signal_delay_s}: {rule}")
        return engine

    @property
    def parallel(self) -> int:
        return self.array_parallelism

    @property
    def cores(self) -> int:
        return self.cpus_per_task

    @property
    def memory(self) -> int | None:
        return None if self.mem_gb is None else int(self.mem_gb * 2**30)

    @property
    def seconds(self) -> float:
        """How long a job trains before its time limit has it write checkpoints."""
        return max(0, 60 * self.timeout_min - self.signal_delay_s)

    @property
    def further_options(self) -> dict[str, object]:
        """The user's options of sbatch, by its names for them: True for a flag, None or False for one to leave out."""
        return {name.replace("_", "-"): value for name, value in (self.additional_parameters or {}).items()}

    @property
    def has_gpus(self) -> bool:
        """Whether GPUs are asked for, by the key of their own or by an option of sbatch."""
        asked = [f"{name}={value}" for name, value in self.further_options.items()]
        return bool(self.gpus_per_node) or any("gpu" in text for text in asked)

    def limits(self) -> list[str]:
        memory = [] if self.mem_gb is None else [f"{self.mem_gb:g} GiB"]
        gpus = [count_of(self.gpus_per_node, "GPU")] if self.gpus_per_node else []
        each = ", ".join([count_of(self.cpus_per_task, "core"), *gpus, *memory, f"{self.timeout_min} min"])
        return [f"{self.array_parallelism} at once", f"each with {each} at most"]

    def hidden(self, places: Mapping[str, Path]) -> list[str]:
        """Returns which places lie on disks of this machine, in words, if the cluster has other machines."""
        done = ask(["scontrol", "show", "node", "-o"])
        return local_places(places) if not done.returncode and has_other_machines(done.stdout) else []

    def doubt(self, tasks: int) -> str:
        """Returns why sbatch would refuse an array, or Slurm never start it; empty without sbatch."""
        if not tasks or shutil.which("sbatch") is None:
            return ""
        line = [*self.sbatch_line(tasks, Path("test")), "--test-only"]
        with suppress(MachineError):
            done = ask(line, script="#!/bin/bash\n")
            return in_one_line(done.stderr) if done.returncode else ""
        return ""

    def require_ready(self) -> None:
        """Raises InputError if Slurm is not installed here."""
        missing = [name for name in ("sbatch", "scontrol", "scancel") if shutil.which(name) is None]
        if missing:
            raise InputError(f"hydra/launcher=slurm: {missing[0]} was not found; run ch12 where Slurm's commands are")

    def submit(self, commands: Sequence[Sequence[str]], *, directory: Path, first: int) -> str:
        """Submits the commands, which differ in the number of their bundle, and returns the ids of the arrays.

        A comma separates the arrays that larger submissions are divided into. Raises InputError if sbatch refuses, and
        MachineError if no Slurm answers.
        """
        size = slurm_queue.largest_array()
        return ",".join(
            self.submit_array(commands[start : start + size], directory=directory, first=first + start)
            for start in range(0, len(commands), size)
        )

    def submit_array(self, commands: Sequence[Sequence[str]], *, directory: Path, first: int) -> str:
        done = ask(self.sbatch_line(len(commands), directory), script=self.script(commands[0], directory, first))
        said = in_one_line(done.stderr or done.stdout)
        if done.returncode and any(text in said for text in UNREACHABLE):
            raise MachineError(f"no Slurm controller answers: {said}")
        if done.returncode:
            hint = f"continue with other options: {resume_line(directory)} {PREFIX_OF_LAUNCHER}KEY=VALUE"
            raise InputError(f"sbatch refused the sweep: {said}; {hint}")
        if (found := SUBMITTED.fullmatch(done.stdout.strip())) is None:  # from a wrapper of a site, for example
            raise MachineError(
                f"sbatch did not print the number of a job, but: {in_one_line(done.stdout) or 'nothing'}"
            )
        return found[1]

    def sbatch_line(self, count: int, directory: Path) -> list[str]:
        """Returns the command that submits an array of `count` jobs."""
        options: dict[str, object] = {
            "job-name": f"ch12 {directory.name}",
            "array": f"0-{count - 1}%{self.array_parallelism}",
            "output": "/dev/null",  # the script writes to a file for each bundle
            "signal": f"B:USR1@{self.signal_delay_s}",
            "chdir": os.getcwd(),
            "time": self.timeout_min,
            "cpus-per-task": self.cpus_per_task,
            "gpus-per-node": self.gpus_per_node,
            "mem": None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}M",
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            **self.further_options,
        }
        given = {name: value for name, value in options.items() if value is not None and value is not False}
        words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
        return ["sbatch", "--parsable", "--requeue", *words]

    def script(self, command: Sequence[str], directory: Path, first: int) -> str:
        """Returns the batch script of an array, which trains bundle K.

        Its `exec` replaces the shell, which would get the signals instead of ch12.
        """
        words = shlex.join([word for word in command if not word.startswith("--stack=")])
        log = f'{shlex.join([str(directory.absolute() / WORK)])}/"$K.log"'
        head = ["#!/bin/bash", f"K=$(({first} + SLURM_ARRAY_TASK_ID))", f"exec >> {log} 2>&1"]
        return "\n".join([*head, *(self.setup or ()), f'exec {words} --stack="$K"', ""])

    def states(self, submission: Submission) -> Mapping[int, TaskState]:
        return slurm_queue.job_states(submission)

    def cancel(self, submission: Submission, numbers: Sequence[int]) -> None:
        with suppress(MachineError):
            arrays = slurm_queue.arrays(submission)
            if list(numbers) == list(submission.bundles):
                ask(["scancel", *(array for array, _ in arrays)])
                return
            for number in numbers:
                array, first = max((each for each in arrays if each[1] <= number), key=lambda each: each[1])
                ask(["scancel", f"{array}_{number - first}"])


def in_one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())[:300]


def own_job() -> str:
    """Returns Slurm's name of the job that this process is; empty outside Slurm."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID", "")


def can_requeue() -> bool:
    return bool(own_job())


def requeue() -> None:
    """Asks Slurm to start this job again after a time limit or a preemption."""
    with suppress(InputError, MachineError):
        ask(["scontrol", "requeue", own_job()])
