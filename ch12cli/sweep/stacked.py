"""One stack of jobs trained to its end, each job's directory written when the job is done."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ch12cli.config.build import build_stack
from ch12cli.config.task import Task, tensors
from ch12cli.sweep.halving import Halving
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.record import HydraFiles, write_directory
from ch12cli.sweep.results import Row, diverged_message, result_of, rows_state, run_state
from ch12cli.training.checkpoint import Cadence
from ch12cli.training.fit import Epoch

LEAVE = 0.5  # of a stack must be done before the done ones leave it: each leaving copies everything


class Done(NamedTuple):
    """A job that has ended. cause: why, for one that did not simply finish."""

    number: int
    status: str
    result: dict[str, Any]
    cause: str = ""


class Progress(NamedTuple):
    """How far a stack is. best: the monitored metric's best value among its runs so far."""

    epoch: int
    running: int
    best: float


class Unstacked(NamedTuple):
    """A stack of so many runs could not go on; its jobs are trained in smaller ones."""

    reason: str
    runs: int


class Uncompiled(NamedTuple):
    """A stack's step could not be compiled; it is trained as it is."""

    reason: str


Event = Done | Progress | Unstacked | Uncompiled


class StackRun:
    """A stack in training: the loop's bookkeeping of who is still running, and the record of each run.

    directories: one a job; halving: says after an epoch which of the runs leave; compiled: whether the step is to be.
    """

    def __init__(
        self,
        jobs: Sequence[SweepJob],
        task: Task,
        device: torch.device,
        *,
        directories: Sequence[Path],
        hydra: HydraFiles,
        halving: Halving | None = None,
        compiled: bool = False,
    ) -> None:
        self.jobs, self.task, self.device = jobs, task, device
        self.directories, self.hydra, self.halving = directories, hydra, halving
        self.compiled = compiled
        self.training, self.network, self.streams = build_stack([job.settings for job in jobs], task, device)
        self.history: dict[str, NDArray[np.float64]] = {}
        self.epochs = np.zeros(len(jobs), dtype=np.int64)  # finished by each job
        self.done = np.zeros(len(jobs), dtype=bool)
        self.start = time.perf_counter()
        self.spent = 0.0  # seconds in earlier sittings

    @property
    def members(self) -> NDArray[np.int64]:
        """The jobs that are rows of the stack, done ones that have not left it among them."""
        return np.array(self.training.source.state_dict()["members"], np.int64)

    def run(self, checkpoint: Path | None, cadence: Cadence) -> Iterator[Event]:
        """Trains to the end. What a resume needs goes to `checkpoint` now and then."""
        self.boundary = self.state_of_training()
        while not self.done.all() and self.training.epoch < self.training.limits.epochs:
            before, members = self.boundary, self.members
            epoch = self.training.one_epoch()
            yield from self.after(epoch, members, before)
            self.boundary = self.state_of_training()
            if checkpoint is not None and cadence.due(epoch.number) and not self.done.all():
                cadence.write(checkpoint, self.state_dict(self.boundary))
            best = float(
                np.min(self.training.best.value) if self.training.best.minimise else np.max(self.training.best.value)
            )
            yield Progress(epoch.number, int((~self.done).sum()), best)

    def state_of_training(self) -> dict[str, Any]:
        """The training's state at the end of an epoch. step: of dropout's masks, which a signal may find further on."""
        return {**self.training.state_dict(), "step": self.network.masks.step}

    def after(self, epoch: Epoch, members: NDArray[np.int64], before: Mapping[str, Any]) -> Iterator[Event]:
        """Records an epoch and ends the runs that it ends. before: the state when it began."""
        running = ~self.done[members]
        diverged = running & (epoch.diverged_at > 0)
        sound = running & ~diverged
        for name, values in epoch.columns.items():
            if name not in self.history:
                self.history[name] = np.full((len(self.jobs), self.training.limits.epochs), np.nan)
            column = self.history[name]
            column[members, epoch.number - 1] = np.where(sound, values, column[members, epoch.number - 1])
        self.epochs[members[sound]] = epoch.number
        if diverged.any():
            details = {
                row: {"epoch": epoch.number, "step": int(epoch.diverged_at[row])}
                for row in np.flatnonzero(diverged).tolist()
            }
            yield from self.end(before, {row: ("diverged", {"diverged": detail}) for row, detail in details.items()})
        stopped = sound & epoch.stopped
        last = epoch.number == self.training.limits.epochs
        leaving = {row: ("finished", {"stopped_early": epoch.number}) for row in np.flatnonzero(stopped).tolist()}
        if self.halving is not None and not last:
            value = np.where(sound & ~stopped, epoch.columns[self.halving.metric], np.nan)
            for row in np.flatnonzero(self.halving.leaving(epoch.number, value)).tolist():
                leaving[row] = ("finished", {"left_at": epoch.number})
        if last:
            leaving |= {row: ("finished", {}) for row in np.flatnonzero(sound & ~stopped).tolist()}
        if leaving:
            yield from self.end(self.training.state_dict(), leaving)
        alive = np.flatnonzero(~self.done[members])
        if 0 < len(alive) <= LEAVE * len(members):
            self.training.keep(alive)

    def end(self, state: Mapping[str, Any], ended: Mapping[int, tuple[str, dict[str, Any]]]) -> Iterator[Done]:
        """Writes the directories of runs that have ended. state: as they end with; ended: status and details by row."""
        members = np.array(state["source"]["members"], np.int64)
        tested = self.test_metrics()
        seconds = (time.perf_counter() - self.start + self.spent) / len(self.jobs)
        # each run's parameters in one piece of memory
        rows_of = {name: state[name]["parameters"].contiguous().cpu() for name in ("network", "best_network")}
        optimizer = {
            name: value.contiguous().cpu() if isinstance(value, torch.Tensor) else value
            for name, value in state["optimizer"].items()
        }
        for row, (status, details) in ended.items():
            job = int(members[row])
            shared = run_state(self.jobs[job].settings, self.jobs[job].chosen, self.task)
            rows = self.rows(job)
            network = self.network.state_of(rows_of["network"][row])
            best = self.network.state_of(rows_of["best_network"][row])
            best_epoch = int(state["best"]["epoch"][row])
            result = result_of(
                self.task,
                status=status,
                rows=rows,
                best_epoch=best_epoch,
                test={name: float(value[row]) for name, value in tested.items()}
                if tested and status == "finished"
                else None,
                parameters=int(self.network.parameters.shape[1]),
                details={**details, "stacked": len(self.jobs)},
                seconds=seconds,
                device=self.device,
            )
            last = {
                "epoch": len(rows),
                "network": network,
                "best_network": best,
                "optimizer": {
                    name: value[row].clone() if isinstance(value, torch.Tensor) else value
                    for name, value in optimizer.items()
                },
                **{name: one_run(state[name], row) for name in ("schedule", "best", "stopping")},
                "source": {"cpu": self.streams.state_after(job, len(rows))},
                "stacked": len(self.jobs),
                **rows_state(rows),
                **shared,
            }
            cause = cause_of(details)
            write_directory(
                self.directories[job],
                hydra=self.hydra.files(self.jobs[job], self.directories[job]),
                rows=rows,
                result=result,
                last=last,
                best={"epoch": best_epoch, "network": best, **shared},
                model=network if status == "finished" else None,
                log=f"stack of {len(self.jobs)} runs: {status} after {len(rows)} epochs{cause and '; ' + cause}\n",
            )
            self.done[job] = True  # not before its directory is there: a signal may end this at any moment
            yield Done(self.jobs[job].number, status, result, cause)

    def test_metrics(self) -> dict[str, NDArray[np.float64]] | None:
        if self.task.data.test is None:
            return None
        part = tensors(self.task.data.test, self.task, dtype=self.network.dtype, device=self.device)
        return self.training.evaluate(part)

    def rows(self, job: int) -> list[Row]:
        """The rows of a job's metrics.csv."""
        count = int(self.epochs[job])
        columns = {name: values[job, :count].tolist() for name, values in self.history.items()}
        names = list(columns)
        return [
            {"epoch": number, **dict(zip(names, values, strict=True))}
            for number, values in enumerate(zip(*columns.values(), strict=True), start=1)
        ]

    def state_dict(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """What a resume of the stack needs."""
        return {
            "training": dict(training),
            "commands": [job.command for job in self.jobs],
            "history": {name: torch.from_numpy(values) for name, values in self.history.items()},
            "epochs": torch.from_numpy(self.epochs),
            "done": torch.from_numpy(self.done),
            "compiled": self.compiled,
            "seconds": time.perf_counter() - self.start + self.spent,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rows = np.array(state["training"]["source"]["members"], np.int64)
        if len(rows) < len(self.jobs):
            self.training.keep(rows)
        self.training.load_state_dict(state["training"])
        self.history = {name: values.numpy().copy() for name, values in state["history"].items()}
        self.epochs, self.done = state["epochs"].numpy().copy(), state["done"].numpy().copy()
        self.network.masks.step, self.spent = state["training"]["step"], state["seconds"]
        self.compiled = state.get("compiled", False)


def one_run(state: Mapping[str, Any], row: int) -> dict[str, list[Any]]:
    """One run's part of a state that is lists with an item a run."""
    return {name: [values[row]] for name, values in state.items()}


def cause_of(details: Mapping[str, Any]) -> str:
    """In a line, why a run ended before its last epoch; empty if it did not."""
    if "diverged" in details:
        return diverged_message(details["diverged"]["epoch"], details["diverged"]["step"])
    if "stopped_early" in details:
        return f"stopped early in epoch {details['stopped_early']}"
    return f"left by halving after epoch {details['left_at']}" if "left_at" in details else ""
