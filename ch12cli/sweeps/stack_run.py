"""Trains one stack of jobs: records its metrics, writes its checkpoints and the directories of ended jobs."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors
from ch12cli.files.compact.job_record import METRIC, OPTIMIZER, TOGETHER, StackFacts, record_of
from ch12cli.files.compact.stores import StoreWriter
from ch12cli.files.history import resumed
from ch12cli.files.result_json import is_done, is_intact
from ch12cli.fused.texts import compiled_lines
from ch12cli.run.build import build_stack
from ch12cli.run.recorder import Ending, run_metadata
from ch12cli.run.sessions import environment_of, plain_of, session_record
from ch12cli.run.signals import sigterm_held
from ch12cli.run.task import Task, tensors_of_runs
from ch12cli.saved.job_files import write_directory
from ch12cli.search.population import Lineages, Population
from ch12cli.sweeps.job_directories import HydraFiles, listed
from ch12cli.sweeps.jobs import SweepJob, run_settings_of
from ch12cli.sweeps.workers.attempts import Attempt
from ch12cli.sweeps.workers.work_item import Done, Event, Progress
from ch12cli.training.checkpoint import Checkpoints, DamagedError, checkpoint_must_fit
from ch12cli.training.loop import Epoch

SHRINK_AT = 0.5  # fraction of ended runs at which they are removed; each removal copies the stack
FEW_LEFT = 0.1  # fraction of runs in training at which diverged ones are removed, too


class StackRun:
    """A stack in training, which tracks the running jobs and the record of each job.

    `store`: where its jobs are recorded; None: each in its directory. `attempt`: that of the worker. `alike`: how many
    jobs of this structure there are, in other stacks too.
    """

    def __init__(
        self,
        jobs: Sequence[SweepJob],
        task: Task,
        device: torch.device,
        *,
        sweep_dir: Path,
        hydra: HydraFiles,
        store: StoreWriter | None = None,
        attempt: Attempt = Attempt(),  # noqa: B008 - it is frozen
        population: Population | None = None,
        alike: int = 0,
    ) -> None:
        self.population = population
        self.lineages = lineages_of(jobs, population)
        self.jobs, self.task, self.device = jobs, task, device
        self.sweep_dir, self.hydra, self.store, self.attempt = sweep_dir, hydra, store, attempt
        self.index_of = {job.number: index for index, job in enumerate(jobs)}
        bases = dict.fromkeys(id(job.base) for job in jobs)
        self.base_index = {key: index for index, key in enumerate(bases)}
        self.known_facts: StackFacts | None = None
        self.training, self.network, self.streams = build_stack(run_settings_of(jobs), task, device, alike=alike)
        self.lines = compiled_lines() if store is None and self.training.whole is not None else None
        self.metrics = StackMetrics(len(jobs))
        self.history: dict[str, Any] = {}  # of the stack's sessions (files/history.py)
        self.epochs = np.zeros(len(jobs), dtype=np.int64)  # finished by each job
        self.done = np.zeros(len(jobs), dtype=bool)
        self.diverged = np.zeros(len(jobs), dtype=bool)
        self.start = time.perf_counter()
        self.seconds_before = 0.0  # seconds in earlier sessions
        self.epoch_snapshot = self.take_snapshot()  # state at the end of the last epoch
        self.written = 0  # the epoch of the newest checkpoint
        self.recorded = False  # whether a job's directory was written after it

    @property
    def members(self) -> NDArray[np.int64]:
        """The indices of the jobs in the stack's rows, with ended jobs that have not been removed."""
        return np.array(self.training.source.state_dict()["members"], np.int64)

    def run(self, checkpoints: Checkpoints | None, *, until: int) -> Iterator[Event]:
        """Trains to the end of epoch `until` and yields events. Writes to `checkpoints` when they are due."""
        while not self.done.all() and self.training.epoch < until:
            before, members = self.epoch_snapshot, self.members
            most = self.epochs_at_most(checkpoints, until=until)
            *earlier, epoch = self.training.next_epochs(most, ~self.done[members], before)
            if earlier:  # no run ended in them
                self.note(earlier, members, ~self.done[members])
            yield from self.record_epoch(epoch, members, before)
            if self.population is not None and self.population.is_due(epoch.number):
                self.go_on_from_others(self.population, epoch.number)
            if not self.done.all():
                self.epoch_snapshot = self.take_snapshot()
            if checkpoints is not None and not self.done.all():
                with machine_errors(f"cannot go on in {checkpoints.last.parent}"):
                    os.stat(checkpoints.last.parent)  # stops if the sweep was deleted meanwhile
                if checkpoints.due(epoch.number):
                    self.write(checkpoints)
            best = self.training.best
            value = float(np.min(best.value) if best.minimise else np.max(best.value))
            yield Progress(epoch.number, int((~self.done).sum()), value, best.minimise)

    def epochs_at_most(self, checkpoints: Checkpoints | None, *, until: int) -> int:
        """Returns how many epochs may be trained before something is due: a checkpoint, or copies of better runs."""
        if self.population is not None:
            return 1
        next_one = self.training.epoch + 1
        every = None if checkpoints is None else checkpoints.cadence.every
        return min(until, next_one + -next_one % every if every else until) - self.training.epoch

    def write(self, checkpoints: Checkpoints, *, verify: bool = True) -> None:
        """Writes a checkpoint of the last epoch's end, unless it has been written. Delays SIGTERM meanwhile."""
        with sigterm_held():
            if self.written != self.epoch_snapshot["epoch"]:
                self.attempt.require_newest()
                if self.recorded:  # jobs that it marks as done must survive a power cut
                    self.flush_records()
                checkpoints.write(self.state_dict(self.epoch_snapshot), verify=verify)
                self.written = self.epoch_snapshot["epoch"]

    def flush_records(self) -> None:
        """Flushes the records of ended jobs to disk. The directories of an attempt have been flushed already."""
        if self.store is not None:
            self.store.flush()
        elif not self.attempt.name:
            os.sync()
        self.recorded = False

    def take_snapshot(self) -> dict[str, Any]:
        """Returns the training state at the end of an epoch.

        Includes the step of the dropout masks, because a signal may arrive after further steps.
        """
        lines = {} if self.population is None else {"lines": self.lineages.to_json()}
        return {**self.training.state_dict(), "step": self.network.masks.step, **lines}

    def record_epoch(self, epoch: Epoch, members: NDArray[np.int64], before: Mapping[str, Any]) -> Iterator[Event]:
        """Records an epoch and ends the runs that finished, stopped or diverged in it.

        `before` is the state at the start of the epoch.
        """
        running = ~self.done[members]
        diverged = running & (epoch.diverged_at > 0)
        valid = running & ~diverged
        self.note([epoch], members, valid)
        if diverged.any():
            steps = {row: int(epoch.diverged_at[row]) for row in np.flatnonzero(diverged).tolist()}
            endings = {
                row: Ending("diverged", diverged_at=epoch.number, diverged_step=step) for row, step in steps.items()
            }
            self.diverged[members[diverged]] = True
            yield from self.end(before, endings)
        stopped = valid & epoch.stopped
        last = epoch.number == self.training.limits.epochs
        leaving = {row: Ending("finished", stopped_at=epoch.number) for row in np.flatnonzero(stopped).tolist()}
        if last:
            leaving |= {row: Ending("finished") for row in np.flatnonzero(valid & ~stopped).tolist()}
        if leaving:
            yield from self.end(self.training.state_dict(), leaving)
        if leaving or diverged.any():
            self.shrink()

    def note(self, epochs: Sequence[Epoch], members: NDArray[np.int64], valid: NDArray[np.bool_]) -> None:
        """Stores the metrics of consecutive epochs. valid: which rows of the stack have values in them, (rows,)."""
        jobs = members[valid]
        self.metrics.put(epochs, jobs, valid)
        self.epochs[jobs] = epochs[-1].number

    def values(self, column: str, epoch: int) -> NDArray[np.float64]:
        """Returns a metrics column after an epoch, (jobs,), with NaN for ended jobs."""
        found = self.metrics.columns.get(column)
        if found is None or found.shape[1] < epoch:  # all runs ended earlier
            return np.full(len(self.jobs), np.nan)
        return np.where(self.done, np.nan, found[:, epoch - 1])

    def end_leaving(self, epoch: int, leaving: NDArray[np.bool_]) -> Iterator[Event]:
        """Ends the running jobs that halving removes after an epoch. `leaving` is a mask, (jobs,)."""
        members = self.members
        rows = np.flatnonzero(leaving[members] & ~self.done[members])
        if len(rows):
            yield from self.end(
                self.training.state_dict(), {row: Ending("finished", left_at=epoch) for row in rows.tolist()}
            )
            self.shrink()
            self.epoch_snapshot = self.take_snapshot()

    def go_on_from_others(self, population: Population, epoch: int) -> None:
        """Lets the worse runs of a population go on from better ones. Does nothing after the last epoch."""
        if self.done.all() or epoch == self.training.limits.epochs:
            return
        values = self.values(population.metric, epoch)
        copies = population.copies(epoch, values, ~self.done, self.lineages.numbers)
        if len(copies.source):
            members = self.members
            row_of = {job: row for row, job in enumerate(members.tolist())}
            source, target = (np.array([row_of[job] for job in jobs.tolist()], np.int64) for jobs in copies[:2])
            self.training.copy_runs(source, target, {key: found[members] for key, found in copies.numbers.items()})
            self.lineages = self.lineages.after(epoch, copies)

    def shrink(self) -> None:
        """Removes the ended jobs from the stack if that saves time.

        A smaller stack rounds otherwise. So that a run that diverges changes no other, it stays in the stack until
        nearly all have diverged.
        """
        members = self.members
        alive = np.flatnonzero(~self.done[members])
        stays = np.flatnonzero(~self.done[members] | self.diverged[members])
        if not len(alive):
            return
        if len(alive) <= FEW_LEFT * len(members):
            self.training.keep(alive)
        elif len(stays) <= SHRINK_AT * len(members):
            self.training.keep(stays)

    def end(self, state: Mapping[str, Any], endings: Mapping[int, Ending]) -> Iterator[Done]:
        """Records ended runs and yields Done events.

        `state` is the state in which they ended. `endings` maps rows of the stack to endings.
        """
        test = self.test_metrics() or {}
        seconds = (time.perf_counter() - self.start + self.seconds_before) / len(self.jobs)
        by_epochs: dict[int, list[int]] = {}
        for row in endings:
            by_epochs.setdefault(int(self.epochs[state["source"]["members"][row]]), []).append(row)
        for epochs, rows in by_epochs.items():
            for start in range(0, len(rows), TOGETHER):
                part = {row: endings[row] for row in rows[start : start + TOGETHER]}
                yield from self.record(*self.block(state, part, epochs=epochs, test=test, seconds=seconds))

    def block(
        self,
        state: Mapping[str, Any],
        endings: Mapping[int, Ending],
        *,
        epochs: int,
        test: Mapping[str, NDArray[np.float64]],
        seconds: float,
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Returns what is recorded of runs that ended after the same number of epochs: fields, and arrays by name."""
        rows = list(endings)
        members = [state["source"]["members"][row] for row in rows]
        index = torch.tensor(rows)
        optimizer = state["optimizer"]
        # in a store, how a stream is made again; a directory holds its state
        origins = [None] * len(rows) if self.store is None else self.streams.origins(members)
        arrays = {
            "network": rows_of(state["network"]["parameters"], index),
            "best_network": rows_of(state["best_network"]["parameters"], index),
            **{f"{OPTIMIZER}{name}": rows_of(value, index) for name, value in optimizer.items() if is_tensor(value)},
            **{
                f"{METRIC}{name}": one_if_equal(self.lineages.rows(values[:, :epochs], members))
                for name, values in self.metrics.columns.items()
            },
            "test": np.stack([values[rows] for values in test.values()], 1) if test else np.empty((len(rows), 0)),
        }
        if None in origins:
            arrays["stream"] = self.streams.states_after(members, epochs)
        together = {
            "epochs": epochs,
            "seconds": seconds,
            "time": time.time(),
            "columns": list(self.metrics.columns),
            "test": list(test),
            "optimizer": {name: value for name, value in optimizer.items() if not is_tensor(value)},
            "jobs": [
                {
                    **self.own_fields(job),
                    **{name: value for name, value in vars(ending).items() if value is not None},
                    "best_epoch": int(state["best"]["epoch"][row]),
                    **{name: value_of_run(state[name], row) for name in ("schedule", "best", "stopping")},
                    "stream": origin,
                }
                for job, (row, ending), origin in zip(members, endings.items(), origins, strict=True)
            ],
        }
        return together, arrays

    def own_fields(self, index: int) -> dict[str, Any]:
        """Returns what is recorded of a job beside how it ended."""
        job = self.jobs[index]
        return {
            "number": job.number,
            "directory": job.directory,
            "overrides": job.overrides,
            "changes": {**job.changes, **self.lineages.changes(index)},
            "dirname": job.dirname,
            "base": self.base_index[id(job.base)],
            "fold": job.fold,
            **({"ancestry": ancestry} if (ancestry := self.lineages.ancestry(index)) else {}),
        }

    def record(self, together: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Iterator[Done]:
        """Writes the record of a block of jobs, as directories or into the stack's store, and yields Done events."""
        self.attempt.require_newest()
        facts = self.facts()
        if self.store is None:
            together = json.loads(json.dumps(together))  # as it is read from a store: the same bytes in both ways
        if self.store is not None:
            self.append(self.store, facts, together, arrays)
            arrays = {name: rows for name, rows in arrays.items() if name.startswith((METRIC, "test"))}  # of a result
            if self.attempt.name:  # another machine is told of them
                self.store.flush()
        records = [record_of(facts, together, arrays, index) for index in range(len(together["jobs"]))]
        for record in records:
            result = record.result
            if self.store is None:
                result = write_directory(
                    self.sweep_dir / record.directory, record, attempt=self.attempt.name, lines=self.lines
                )
            self.recorded = True
            job = self.index_of[record.number]
            self.done[job] = True  # only after its record exists: a signal may arrive at any time
            yield Done(record.number, result)

    def append(
        self, store: StoreWriter, facts: StackFacts, together: dict[str, Any], arrays: dict[str, NDArray[Any]]
    ) -> None:
        """Appends to the store the jobs that are neither in it nor have a complete directory."""
        jobs = together["jobs"]
        there = set(listed(self.sweep_dir))
        names = [own["directory"] for own in jobs if own["directory"].partition("/")[0] in there]
        stale = [name for name in names if os.path.lexists(f"{self.sweep_dir}/{name}")]
        complete = {name for name in stale if is_done(self.sweep_dir / name) and is_intact(self.sweep_dir / name)}
        known = store.known | complete
        new = [i for i, own in enumerate(jobs) if own["directory"] not in known]
        if len(new) < len(jobs):
            arrays = {name: value[new] if len(value) == len(jobs) else value for name, value in arrays.items()}
        if new:
            store.append(facts, {**together, "jobs": [jobs[i] for i in new]}, arrays)
        with machine_errors(f"cannot write {self.sweep_dir}"):
            for name in set(stale) - complete:
                shutil.rmtree(self.sweep_dir / name)

    def facts(self) -> StackFacts:
        """Returns what the records of the stack's jobs share."""
        if self.known_facts is None:
            environment = {**environment_of(self.device), "threads": torch.get_num_threads()}
            bases = {id(job.base): job.base for job in self.jobs}
            folds = dict.fromkeys(job.fold for job in self.jobs)
            table = self.task.data.table
            found = StackFacts(
                sweep=str(self.sweep_dir.absolute()),
                bases=[],  # below, as they are read again already
                metadata={fold: run_metadata(self.task.of_fold(fold), self.device) for fold in folds},
                network=list(zip(self.network.names, map(tuple, self.network.shapes), strict=True)),
                monitor=self.task.monitor,
                parameters=int(self.network.parameters.shape[1]),
                stacked=len(self.jobs),
                history=self.history,
                data={"source": table.source, "digest": table.digest},
                environment=environment,
                compiled=self.training.whole is not None,
            )
            read_again = StackFacts.from_fields(json.loads(json.dumps(found.to_fields())))
            self.known_facts = replace(read_again, bases=[self.hydra.shared(base) for base in bases.values()])
        return self.known_facts

    def test_metrics(self) -> dict[str, NDArray[np.float64]] | None:
        folds = [self.jobs[job].fold for job in self.members.tolist()]
        part = tensors_of_runs("test", self.task, folds, dtype=self.network.dtype, device=self.device)
        return None if part is None else self.training.evaluate(part)

    def state_dict(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the state that a resume of the stack needs."""
        return {
            "epoch": training["epoch"],
            "training": dict(training),
            "data_digest": self.task.data.table.digest,
            "compiled": self.training.whole is not None,
            "environment": json.dumps(environment_of(self.device)),
            "history": json.dumps(self.history),
            **self.metrics.state_dict(training["epoch"]),
            "epochs": torch.from_numpy(self.epochs),
            "done": torch.from_numpy(self.done),
            "diverged": torch.from_numpy(self.diverged),
            "seconds": time.perf_counter() - self.start + self.seconds_before,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.training.whole is not None and not state.get("compiled", False):  # goes on as it began: the same bits
            self.training, self.network, self.streams = build_stack(
                run_settings_of(self.jobs), self.task, self.device, compiled=False
            )
        rows = np.array(state["training"]["source"]["members"], np.int64)
        if len(rows) < len(self.jobs):
            self.training.keep(rows)
        if self.population is not None:
            self.lineages = self.lineages.restored(state["training"]["lines"])
            self.training.set_numbers({key: values[rows] for key, values in self.lineages.numbers.items()})
        self.training.load_state_dict(state["training"])
        self.metrics.load_state_dict(state)
        self.known_facts = None
        self.history = resumed(plain_of(state, "history"), session_record(state, self.device, changes={}, before={}))
        self.epochs, self.done = state["epochs"].numpy().copy(), state["done"].numpy().copy()
        if "diverged" in state:  # not in a checkpoint of an earlier version
            self.diverged = state["diverged"].numpy().copy()
        self.network.masks.step, self.seconds_before = state["training"]["step"], state["seconds"]
        self.epoch_snapshot, self.written = self.take_snapshot(), self.training.epoch


def lineages_of(jobs: Sequence[SweepJob], population: Population | None) -> Lineages:
    """Returns the lines of jobs before training: each is its own."""
    keys = [] if population is None else list(population.intervals)
    numbers = {key: np.array([job.setting(key) for job in jobs], np.float64) for key in keys}
    steps = [()] * len(jobs) if keys else ()
    return Lineages([job.number for job in jobs], [int(job.setting("seed")) for job in jobs], numbers, steps)


def is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def rows_of(values: torch.Tensor, index: torch.Tensor) -> NDArray[Any]:
    """Returns rows of a tensor, (runs, …), as numpy. index: of the rows, on the CPU."""
    rows: NDArray[Any] = values.index_select(0, index.to(values.device)).cpu().numpy()
    return rows


def one_if_equal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the first row if all are equal, bit for bit, else all. (runs, values)"""
    bits = np.ascontiguousarray(values).view(np.int64)
    return values[:1] if len(values) > 1 and (bits == bits[0]).all() else values


def value_of_run(state: Mapping[str, Any], row: int) -> dict[str, Any]:
    """Returns one run's part of a state whose values are lists with an item per run."""
    return {name: values[row] for name, values in state.items()}


class CheckpointMismatchError(InputError):
    """Raised if a checkpoint or result belongs to other data or does not fit the jobs. The sweep must not resume."""


def restore_stack(run: StackRun, checkpoints: Checkpoints) -> None:
    """Restores a stack from its newest valid checkpoint.

    Raises DamagedError if there is none, and CheckpointMismatchError if it does not fit.
    """
    state, _ = checkpoints.newest()
    if state.get("rows", ()) is None:
        raise DamagedError(f"{checkpoints.rows.path}: damaged")
    require_data(state, run.task, checkpoints.last)
    try:
        with checkpoint_must_fit(str(checkpoints.last)):
            run.load_state_dict(state)
    except InputError as error:
        raise CheckpointMismatchError(f"{error}; remove it to train its jobs again") from error


def require_data(state: Mapping[str, Any], task: Task, path: Path) -> None:
    """Raises CheckpointMismatchError unless a checkpoint was trained on the rows that the data set has now."""
    require_digest(str(state.get("data_digest")), task, path)


def require_digest(before: str, task: Task, path: Path) -> None:
    now = task.data.table.digest
    if before != now:
        raise CheckpointMismatchError(
            f"{path}: the data set gives other data than it was trained on (SHA-256 {now[:12]}…, then {before[:12]}…); "
            "bring the data back, or train a new sweep"
        )


FIRST_EPOCHS = 64  # epochs allocated at first; doubled when needed


class StackMetrics:
    """The columns of metrics.csv for several runs, each (runs, epochs). Spare epochs are allocated ahead."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.columns: dict[str, NDArray[np.float64]] = {}

    def put(self, epochs: Sequence[Epoch], jobs: NDArray[np.int64], valid: NDArray[np.bool_]) -> None:
        """Stores the values of consecutive epochs. valid: which rows have values; jobs: the indices of their jobs."""
        first, last = epochs[0].number, epochs[-1].number
        for name in epochs[0].columns:
            values = np.stack([epoch.columns[name] for epoch in epochs], 1)  # (runs, epochs)
            self.column_for(name, last)[jobs, first - 1 : last] = values[valid]

    def column_for(self, name: str, epochs: int) -> NDArray[np.float64]:
        """Returns a column that holds at least this many epochs, enlarging it if needed."""
        old = self.columns.get(name, np.empty((self.runs, 0)))
        if old.shape[1] < epochs:
            self.columns[name] = np.full((self.runs, max(FIRST_EPOCHS, 2 * old.shape[1], epochs)), np.nan)
            self.columns[name][:, : old.shape[1]] = old
        return self.columns[name]

    def state_dict(self, epochs: int) -> dict[str, Any]:
        """Returns the columns up to an epoch, in the form of rows that a checkpoint keeps beside it."""
        rows = [values[:, :epochs].T for values in self.columns.values()] or [np.empty((0, 0))]
        return {"columns": list(self.columns), "rows": torch.from_numpy(np.concatenate(rows, axis=1))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the columns."""
        if "figures" in state:  # of format 2
            self.columns = {name: values.numpy().copy() for name, values in state["figures"].items()}
            return
        rows = state["rows"].numpy().reshape(len(state["rows"]), len(state["columns"]), self.runs)
        self.columns = {name: rows[:, at].T.copy() for at, name in enumerate(state["columns"])}
