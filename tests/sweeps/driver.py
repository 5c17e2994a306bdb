"""How the tests of sweeps drive them: jobs from lines, stacks beside runs alone, whole sweeps in this process."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ch12cli.config.check import check
from ch12cli.config.choices import content, default_choices, shipped
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.fused.stack_training import StackTraining
from ch12cli.run.build import build_stack, build_training
from ch12cli.run.task import Task, build_task
from ch12cli.sweeps.jobs import JobComposer, SweepJob, make_jobs
from ch12cli.sweeps.plan import Plan
from ch12cli.sweeps.start import Finished, train_many
from ch12cli.sweeps.workers.work_item import Done
from ch12cli.training.loop import Epoch, Training
from ch12cli.training.network import Network
from ch12cli.training.stack import Stack
from ch12cli.training.streams import Streams

CPU = torch.device("cpu")
NO_SETTING = ("defaults", "hydra")


@contextmanager
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from several threads, and waiting for them on a busy machine takes long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def settings_of(values: Mapping[str, Any], **choices: str) -> dict[str, Any]:
    """The settings of a run with these choices and values, read from the files without Hydra: faster than composing."""
    settings = {name: value for name, value in content(shipped() / "config.yaml").items() if name not in NO_SETTING}
    settings = deepcopy(settings) | {"early_stopping": {"metric": "auto", "patience": None, "min_delta": 0.0}}
    for group, choice in default_choices().items():
        if group != "experiment":
            settings[group] = deepcopy(content(shipped() / group / f"{choices.get(group, choice)}.yaml"))
    for key, value in values.items():
        *heads, last = key.split(".")
        node = settings
        for head in heads:
            node = node[head]
        assert last in node or heads == ["model"], key
        node[last] = value
    assert check(settings, default_choices() | choices) == []
    return settings


def typed(settings: Mapping[str, Any]) -> RunSettings:
    """The settings as the code below the configuration takes them."""
    return RunSettings.from_config(settings, default_choices())


def jobs_of(batch: Sequence[Sequence[str]], *, folders: Sequence[Path] = ()) -> list[SweepJob]:
    """The checked jobs of these overrides."""
    with hydra_session():
        return make_jobs(JobComposer(Composer(folders), []), batch)


@dataclass
class Together:
    """A stack of jobs in training. epochs: what it gave, epoch by epoch; weights: (runs, values) after each."""

    jobs: Sequence[Mapping[str, Any]]
    task: Task
    training: StackTraining
    network: Stack
    streams: Streams
    epochs: list[Epoch]
    weights: list[torch.Tensor]

    def go(self, epochs: int) -> "Together":
        for _ in range(epochs):
            self.epochs.append(self.training.one_epoch())
            self.weights.append(self.network.parameters.detach().clone())
        return self


def stack_of(settings: Sequence[Mapping[str, Any]], device: torch.device = CPU) -> Together:
    jobs = [typed(one) for one in settings]
    folds = {job.data.split.fold: build_task(job) for job in {job.data.split.fold: job for job in jobs}.values()}
    task = build_task(jobs[0]) if len(folds) == 1 else replace(folds[jobs[0].data.split.fold], folds=folds)
    training, network, streams = build_stack(jobs, task, device)
    return Together(settings, task, training, network, streams, [], [])


def alone(settings: Mapping[str, Any], task: Task) -> tuple[Training, Network]:
    return build_training(typed(settings), task, CPU)


def relative(found: Any, expected: Any, *, near_zero: float = 1e-12) -> float:
    """The largest difference, each element's relative to what was expected; 0 where neither is a number.

    near_zero: added to each expected element, as one that crosses zero has no digits to compare.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert np.array_equal(np.isnan(found), np.isnan(expected)), (found, expected)
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - expected) / (np.abs(expected) + near_zero)
    return float(np.nanmax(np.where(found == expected, 0.0, apart), initial=0.0))


class Looker:
    """A sweep's callback that keeps what it was called with. begun: called with each plan."""

    def __init__(self, begun: Callable[[Plan], None] = lambda plan: None) -> None:
        self.begun = begun
        self.plans: list[Plan] = []
        self.messages: list[str] = []
        self.ended: list[Done] = []

    def on_begin(self, plan: Plan, *, directory: Path) -> None:
        self.plans.append(plan)
        self.begun(plan)

    def on_progress(self, item: Any, progress: Any) -> None: ...

    def on_job_end(self, done: Done, job: SweepJob) -> None:
        self.ended.append(done)

    def on_message(self, text: str, *, warning: bool = False) -> None:
        self.messages.append(text)


class Stopping(Looker):
    """Raises Ctrl-C after so many jobs."""

    def __init__(self, stop: int) -> None:
        super().__init__()
        self.stop = stop

    def on_job_end(self, done: Done, job: SweepJob) -> None:
        super().on_job_end(done, job)
        if len(self.ended) == self.stop:
            raise KeyboardInterrupt


@dataclass
class Swept:
    """A sweep that has ended. rows: of sweep.csv, by job number; looker: what was told on the way."""

    finished: Finished
    directory: Path
    rows: dict[int, dict[str, str]]
    looker: Looker

    def model(self, job: int) -> dict[str, torch.Tensor]:
        path = self.directory / self.rows[job]["directory"] / "model.pt"
        state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        return state

    def weights(self, job: int) -> torch.Tensor:
        """The final weights of a job, (values,)."""
        return torch.cat([value.reshape(-1) for value in self.model(job).values()])

    @property
    def failed(self) -> int:
        return self.finished.outcome.failed


def sweep(
    *words: str,
    into: str = "sweep",
    folders: Sequence[Path] = (),
    jobs_file: Path | None = None,
    looker: Looker | None = None,
    signalled: bool = False,
) -> Swept:
    """Carries out `ch12 train -m` with these words in this process, on the CPU. signalled: a signal is to end it."""
    looker = looker or Looker()
    with one_thread():
        finished = train_many(
            ["device=cpu", f"hydra.sweep.dir={into}", *words],
            folders=folders,
            config_name="config",
            callback=looker,
            jobs_file=jobs_file,
        )
    assert (finished.outcome.signal is not None) == signalled
    directory = finished.outcome.directory
    return Swept(finished, directory, table(directory), looker)


def table(directory: Path) -> dict[int, dict[str, str]]:
    """sweep.csv by job number; every row complete."""
    with open(directory / "sweep.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)
    assert [int(row["job"]) for row in rows] == sorted({int(row["job"]) for row in rows})
    return {int(row["job"]): row for row in rows}


def without_times(rows: dict[int, dict[str, str]]) -> dict[int, dict[str, str]]:
    """The table but for what a clock tells."""
    return {job: {name: value for name, value in row.items() if name != "seconds"} for job, row in rows.items()}


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two weights, relative to the largest weight."""
    return float((found - expected).abs().max() / expected.abs().max())
