"""Launches a batch of jobs: plans it, has workers train it, and writes the table of its results."""

import math
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import flag_override

from ch12cli.catalogue.formatting import count_of
from ch12cli.config.hydra_internals import Callbacks
from ch12cli.config.recorded import resume_line
from ch12cli.errors import InputError, MachineError, first_few
from ch12cli.files.atomic import machine_errors, remove_leftovers
from ch12cli.files.cluster.journal import is_training
from ch12cli.files.compact.run_files import run_exists
from ch12cli.files.compact.stores import index_of
from ch12cli.files.history import environment_differences
from ch12cli.files.locks import locked
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.plan_json import PLAN, PlanFile, read_plan
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import CHECKPOINTS, METRICS, RESULT, STATE, SWEEP
from ch12cli.files.sweep_csv import RowBuffer, SweepRow, SweepTable, read_sweep_csv
from ch12cli.files.unfinished.progress_json import ProgressWriter
from ch12cli.files.unfinished.search_json import SearchFile, write_search
from ch12cli.run.sessions import environment_of, plain_of
from ch12cli.run.signals import Terminated, sigterm_raises
from ch12cli.run.start import resume_hint
from ch12cli.run.task import Task, choose_device, devices_elsewhere, is_elsewhere
from ch12cli.run.trackers import Trackers, params_of
from ch12cli.run.value_checks import far_off_hint, undefined_monitor_note
from ch12cli.shell import shell_line
from ch12cli.sweeps.callbacks import FaultTolerantSweepCallback, SweepCallback
from ch12cli.sweeps.groups import gpus_to_share
from ch12cli.sweeps.job_directories import HydraFiles, full_config, with_directory, write_failed
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.plan import Plan, examined_plan, write_plan
from ch12cli.sweeps.stack_run import require_data, require_digest
from ch12cli.sweeps.workers.work_item import Done, Progress, Remark, Tasks, Unstacked, WorkItem
from ch12cli.sweeps.workers.worker import Worker
from ch12cli.sweeps.workers.worker_pool import LocalEngine, SweepEngine, call_in_subprocess
from ch12cli.trackers.protocol import TrackedRun
from ch12cli.trackers.registry import require_installed, tracker_names
from ch12cli.training.checkpoint import Checkpoints, DamagedError


@dataclass(frozen=True)
class SweepOutcome:
    """The outcome of a sweep.

    `rows`: the rows of sweep.csv, ordered by job.
    `failed`: the number of jobs that failed in this session.
    `signal`: the signal that interrupted it, if any.
    """

    directory: Path
    rows: Sequence[SweepRow] = ()
    failed: int = 0
    signal: int | None = None


@contextmanager
def resumable(directory: Path) -> Iterator[None]:
    """Adds a resume hint to MachineError once a plan has been written."""
    try:
        yield
    except MachineError as error:
        if not (directory / PLAN).exists():
            raise
        raise MachineError(f"{error}; {resume_hint(directory)}") from error


@contextmanager
def devices_of(engine: SweepEngine) -> Iterator[None]:
    """Within the block, devices are those of the machines on which an engine trains."""
    with devices_elsewhere("" if engine.elsewhere is None else engine.elsewhere.device):
        yield


def rows_in(directory: Path) -> dict[int, SweepRow]:
    """Returns the rows of the sweep's table by job number."""
    return {row.job: row for row in read_sweep_csv(directory / SWEEP)}


class Launch:
    """Launches the batches of jobs of one sweep directory in a session, one batch per call, and collects their results.

    `total_jobs`: the number of jobs in all batches, if there are several.
    `others`: the numbers of jobs in the directory that are not of a search; they have rows in its table alone.
    `goes_on`: whether a search asks for further jobs after the next batch, as far as it knows.
    `search`: what is recorded of a search before its first batch is planned.
    `ends_at`: when a search's budget of time is used up, by perf_counter.
    `engine`: trains the work items; by default processes of this machine.
    `jobs`: the jobs planned so far, by number.
    `rows`, `failed`, `signal`: as in SweepOutcome.
    `aborted`: True once `sweep.fail_fast` has ended the sweep.
    """

    def __init__(
        self,
        directory: Path,
        callback: SweepCallback,
        *,
        total_jobs: int = 0,
        engine: SweepEngine | None = None,
    ) -> None:
        self.engine = engine or LocalEngine()
        self.directory, self.callback, self.total_jobs = directory, FaultTolerantSweepCallback(callback), total_jobs
        self.goes_on = False
        self.search: SearchFile | None = None
        self.ends_at: float | None = None
        self.others: set[int] = set()
        self.hydra = HydraFiles(directory)
        self.known = PlanFile()
        self.buffer: RowBuffer | None = None  # of the session
        self.jobs: dict[int, SweepJob] = {}
        self.rows: list[SweepRow] = []
        self.failed = 0
        self.signal: int | None = None
        self.aborted = False
        self.failed_trackers: set[str] = set()
        self.noted: set[str] = set()  # notes that have been given

    @property
    def outcome(self) -> SweepOutcome:
        own = tuple(row for row in self.rows if row.job not in self.others)
        return SweepOutcome(self.directory, own, self.failed, self.signal)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Lets SIGINT and SIGTERM end the block without an exception, and records the signal."""
        try:
            yield
        except KeyboardInterrupt:
            self.signal = signal.SIGINT
        except Terminated:
            self.signal = signal.SIGTERM

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keeps the directory locked in the block, in which batches are launched, and completes its table at the end.

        Between the batches, plan and table stay in memory.
        """
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # is_available() must not initialise CUDA here
        lock = locked(self.directory, key=f"hydra.sweep.dir={self.directory}", wait=3.0)
        with resumable(self.directory), devices_of(self.engine), lock:
            self.known = read_plan(self.directory)
            try:
                yield
            finally:
                self.engine.close()
                if self.buffer is not None:
                    self.buffer.flush()
                    self.buffer.table.close()
                    self.buffer = None

    def __call__(self, jobs: Sequence[SweepJob], callbacks: Callbacks | None) -> list[JobReturn]:
        """Trains a batch of jobs, in a session. Returns the results of the given jobs, in order."""
        if self.aborted:
            return [job_return(job, None) for job in jobs]
        require_trackers(jobs)
        self.require_idle_engines()
        before = rows_in(self.directory) if self.buffer is None else {row.job: row for row in self.rows}
        plan, rows = examined_plan(jobs, self.directory, self.known, before, elsewhere=self.engine.elsewhere)
        total = max(self.total_jobs, len(plan.jobs))
        plan = replace(plan, total_jobs=total, goes_on=self.goes_on, ends_at=self.ends_at)
        self.jobs |= plan.jobs
        require_unchanged_data(plan, self.directory)
        is_planned = len(self.known.jobs) >= len(plan.jobs)  # else plan.json was lost
        if is_planned and not plan.items and {row.job: row for row in rows} == before:
            self.clean_up(plan)
            return self.finish_unchanged(plan, rows)
        warnings, unusable = examined_checkpoints(plan, self.directory)
        self.clean_up(plan)
        for checkpoints in unusable:
            with machine_errors(f"cannot remove {checkpoints.last}"):
                checkpoints.remove()
        if self.search is not None:  # before the plan: whatever stops the search, its jobs lead to its command
            write_search(self.directory, self.search)
            self.search = None
        self.known = write_plan(plan, self.directory, self.known, self.hydra)
        self.callback.on_begin(plan, directory=self.directory)
        if duplicates := len(plan.numbers) - len(set(plan.numbers)):
            warnings = [*warnings, f"{duplicates} more of the jobs given are equal to others; each is trained once"]
        for remark in [*warnings, *self.new_notes(plan)]:
            self.callback.on_message(remark, warning=True)
        self.buffer = buffer = self.buffer_for(plan, rows=rows)
        table = buffer.table
        try:
            with sigterm_raises():
                self.train(plan, self.hydra, buffer, callbacks)
        finally:
            table.rows |= {row.job: row for row in buffer.rows}
            if not self.engine.submitted:
                self.add_unfinished_rows(plan, table)
            self.rows = [table.rows[number] for number in sorted(table.rows)]
        if self.engine.submitted:
            self.callback.on_message(submitted_message(self.engine.submitted, self.directory))
        for remark in hints_on_results(plan, table.rows):
            self.callback.on_message(remark, warning=True)
        return [job_return(plan.jobs[number], table.rows.get(number)) for number in plan.numbers]

    def require_idle_engines(self) -> None:
        """Raises InputError if this machine would train what processes of an engine train already."""
        if isinstance(self.engine, LocalEngine) and is_training(self.directory):
            rule = "processes on other machines train this sweep"
            hint = "give hydra/launcher as when it was submitted, or end them first"
            raise InputError(f"hydra.sweep.dir={self.directory}: {rule}; {hint}")

    def new_notes(self, plan: Plan) -> list[str]:
        """Returns the notes on the data and networks of a plan, each once in a sweep."""
        notes = dict.fromkeys(note for task in plan.tasks for note in task.warnings if note not in self.noted)
        self.noted |= notes.keys()
        return list(notes)

    def clean_up(self, plan: Plan) -> None:
        """Removes unneeded files of a killed sweep. Ignores errors of the file system."""
        with suppress(OSError):
            ProgressWriter(self.directory).remove()
            for item in plan.finished_items:
                item.remove()

    def finish_unchanged(self, plan: Plan, rows: Sequence[SweepRow]) -> list[JobReturn]:
        """Returns the results of a directory in which no job is left to train, without changing it."""
        self.callback.on_begin(plan, directory=self.directory)
        by_number = {row.job: row for row in rows}
        self.rows = [by_number[number] for number in sorted(by_number)]
        return [job_return(plan.jobs[number], by_number[number]) for number in plan.numbers]

    def buffer_for(self, plan: Plan, *, rows: Sequence[SweepRow]) -> RowBuffer:
        """Returns what records the jobs of a batch: one buffer and one table for all batches of the session."""
        keys = dict.fromkeys(key for job in plan.jobs.values() for key in job.values)
        metrics: dict[str, None] = {}
        for task in plan.tasks:
            names = ["loss", *task.metrics]
            parts = ["train", *(["valid"] if task.data.valid else []), *(["test"] if task.data.test else [])]
            metrics |= dict.fromkeys(f"{part}_{name}" for part in parts for name in names)
        populations = any(group.settings.sweep.pbt for group in plan.groups)
        if self.buffer is not None:
            self.buffer.go_on_with(rows, keys=keys, metrics=metrics, ancestry=populations)
            return self.buffer
        table = SweepTable(self.directory / SWEEP, keys=keys, metrics=metrics, rows=rows, ancestry=populations)
        return RowBuffer(table, are_flushed=self.engine.records_failures)

    def train(self, plan: Plan, hydra: HydraFiles, waiting: RowBuffer, callbacks: Callbacks | None) -> None:
        """Runs the work items. Records each ended job in the table and reports it to the callbacks."""
        fail_fast = any(group.settings.sweep.fail_fast for group in plan.groups)
        ended = set(plan.done)  # a resumed stack may report ended jobs again
        progress = ProgressWriter(self.directory)
        unsaved: list[WorkItem] = []
        processes = min(plan.processes, max(1, len(plan.items)))
        gpus = gpus_to_share(plan.groups)
        worker = Worker(plan.jobs, plan.groups, plan.tasks, self.directory, hydra)
        events = self.engine.run(
            plan.items, worker, processes=processes, unsaved=unsaved, gpus=gpus, idle=waiting.flush_if_due
        )
        try:
            for item, event in events:
                waiting.flush_if_due()
                if isinstance(event, Progress):
                    self.callback.on_progress(item, event)
                    progress.note(item.jobs, event.epoch)
                    continue
                if isinstance(event, Unstacked):
                    count = count_of(event.runs, "job")
                    text = f"a stack of {count} failed; they are trained {event.fallback}: {event.reason}"
                    self.callback.on_message(text, warning=True)
                    continue
                if isinstance(event, Remark):
                    self.callback.on_message(event.text, warning=True)
                    continue
                if isinstance(event, Tasks):
                    self.callback.on_tasks(event.text)
                    continue
                if event.number in ended:
                    continue
                ended.add(event.number)
                job = plan.jobs[event.number]
                result = event.result
                if event.status == "failed" and not self.engine.records_failures:
                    directory = self.directory / job.directory
                    files = hydra.files(job, directory)
                    result = write_failed(directory, hydra=files, error=event.result.error or "")
                log_job(job, self.directory, self.callback, self.failed_trackers)
                self.failed += event.status == "failed"
                waiting.add(SweepRow.of(job.facts, result))
                self.callback.on_job_end(event, job)
                if callbacks is not None and callbacks.callbacks:
                    notify_callbacks(callbacks, job, event, self.directory)
                if event.status == "failed" and fail_fast:
                    self.aborted = True
                    break
        finally:
            events.close()
            for item in unsaved:
                self.callback.on_message(unsaved_message(item), warning=True)
            is_local, is_cut = isinstance(self.engine, LocalEngine), not ended.issuperset(plan.numbers)
            if is_local and is_cut:
                note_checkpoints(progress, [item for item in plan.items if not ended.issuperset(item.jobs)])
            progress.close(keep=is_cut)
            if is_local:  # processes elsewhere may be writing
                for folder in (self.directory, self.directory / STATE):
                    remove_leftovers(folder)  # temporary files of killed processes

    def add_unfinished_rows(self, plan: Plan, table: SweepTable) -> None:
        """Adds rows for the jobs that no worker reported: their result if there is one, else "interrupted"."""
        for number, job in plan.jobs.items():
            if number not in table.rows:
                table.rows[number] = SweepRow.of_directory(job.facts, self.directory)

    def add_rows_not_begun(self, jobs: Iterable[SweepJob]) -> None:
        """Adds "interrupted" rows for the jobs of batches that were not started because the sweep ended."""
        rows_by_job = {row.job: row for row in self.rows}
        launched = {job.key for job in self.jobs.values()}
        missing = {job.number: job for job in jobs if job.key not in launched and job.number not in rows_by_job}
        if missing and (self.directory / SWEEP).exists():
            for number, job in missing.items():
                rows_by_job[number] = SweepRow.of_directory(with_directory(job).facts, self.directory)
            self.rows = [rows_by_job[number] for number in sorted(rows_by_job)]
            write_table(self.directory, missing.values(), self.rows)

    def add_results(self, jobs: Sequence[SweepJob]) -> None:
        """Makes the rows of jobs that another launcher trained from their files, and writes the table."""
        self.jobs |= {job.number: job for job in jobs}
        self.rows = [SweepRow.of_directory(job.facts, self.directory) for job in jobs]
        self.failed = sum(row.status == "failed" for row in self.rows)
        write_table(self.directory, jobs, self.rows)


def note_checkpoints(progress: ProgressWriter, items: Iterable[WorkItem]) -> None:
    """Records the epochs of the stacks' checkpoints, which workers wrote when they ended: a resume goes on there."""
    with suppress(MachineError):  # the sweep ends for another reason, which is to be reported
        for item in items:
            if (epoch := item.epoch) is not None:
                progress.note(item.jobs, epoch)


def submitted_message(submitted: str, directory: Path) -> str:
    """Returns what was submitted, and how to follow and to collect it."""
    watch = shell_line(["ch12", "watch", str(directory)])
    return f"submitted {submitted}; follow it with: {watch}; collect its results with: {resume_line(directory)}"


def hints_on_results(plan: Plan, rows: Mapping[int, SweepRow]) -> list[str]:
    """Returns hints on results that are good in no job of a group: an R² far below 0, a metric without a value."""
    hints: dict[str, None] = {}
    for group, task in zip(plan.groups, plan.tasks, strict=True):
        finished = [row for job in group.jobs if (row := rows.get(job.number)) and row.status == "finished"]
        found = [row.metrics.get("valid_r2", row.metrics.get("train_r2", math.nan)) for row in finished]
        learned = task.data.learned(task.data.train.y)
        hints[far_off_hint(max(found, default=math.nan), learned, task.data.table.target_name)] = None
        if finished and all(row.objective is None for row in finished):
            hints[undefined_monitor_note(task.monitor, max(row.epochs or 0 for row in finished))] = None
    return [hint for hint in hints if hint]


def write_table(directory: Path, jobs: Iterable[SweepJob], rows: Sequence[SweepRow]) -> None:
    """Writes a sweep's complete table, with a column for each key that the jobs override."""
    keys = dict.fromkeys(key for job in jobs for key in job.values)
    SweepTable(directory / SWEEP, keys=keys, metrics=(), rows=rows).close()


def unsaved_message(item: WorkItem) -> str:
    """Returns a warning about an item whose process was killed before it wrote its checkpoint."""
    subject = (
        f"the stack of {count_of(len(item.jobs), 'job')} that begins with"
        if item.stacked
        else "what was in progress of"
    )
    return (
        f"there was no time to write a checkpoint of {subject} job {item.jobs[0]}: it resumes from the one before, "
        "or restarts if there is none"
    )


def job_return(job: SweepJob, row: SweepRow | None) -> JobReturn:
    """Returns a job's result for Hydra's sweepers: its objective, or NaN if it has none."""
    returned = JobReturn(overrides=list(job.overrides), task_name="train", status=JobStatus.COMPLETED)
    returned.return_value = math.nan if row is None or row.objective is None else row.objective
    return returned


def notify_callbacks(callbacks: Callbacks, job: SweepJob, done: Done, directory: Path) -> None:
    """Calls Hydra's start and end callbacks for a job that has ended. The jobs of a stack start together."""
    config = full_config(job)
    with flag_override(config, ["struct", "readonly"], [False, False]):
        config.hydra.runtime.output_dir = str((directory / job.directory).absolute())
    returned = JobReturn(overrides=list(job.overrides), cfg=config, task_name="train")
    returned.status = JobStatus.FAILED if done.status == "failed" else JobStatus.COMPLETED
    returned.return_value = RuntimeError(done.result.error) if done.status == "failed" else done.result.objective
    callbacks.on_job_start(config=config, task_function=lambda _config: None)
    callbacks.on_job_end(config=config, job_return=returned)


def require_unchanged_data(plan: Plan, sweep_dir: Path) -> None:
    """Raises CheckpointMismatchError if an ended job of the plan was trained on other data than there are now."""
    done = set(plan.done)
    for group, task in zip(plan.groups, plan.tasks, strict=True):
        for job in group.jobs:
            if job.number in done:
                require_data_of_result(sweep_dir / job.directory, task)


def examined_checkpoints(plan: Plan, sweep_dir: Path) -> tuple[list[str], list[Checkpoints]]:
    """Returns warnings about what a resume goes on from: damage, and a changed environment; and unusable checkpoints.

    Those mark jobs as ended whose results are gone. Their stacks start again, for the bits of the whole stack.
    Raises CheckpointMismatchError if checkpoints are of other data, before anything is trained or written.
    """
    index, done = index_of(sweep_dir), set(plan.done)
    index.leave_out_damaged(
        plan.jobs[number].directory for item in plan.items for number in item.jobs if number not in done
    )
    lost = [f"{problem}; its jobs are trained again" for problem in index.problems]
    restarting, older, unusable = list[str](), list[str](), list[Checkpoints]()
    environment: dict[str, None] = {}
    for item in plan.items:
        device = choose_device(plan.groups[item.group].settings.machine.device)
        for numbers, checkpoints in checkpoints_of(item, plan, sweep_dir):
            try:
                state, skipped = checkpoints.newest()
            except DamagedError as error:
                restarting += [f"restarts, without an intact checkpoint: {message}" for message in error.messages]
                continue
            older += [f"skipped: {message}" for message in skipped]
            require_data(state, plan.tasks[item.group], checkpoints.last)
            gone = [number for number in ended_jobs(state, numbers) if number not in done]
            if gone and not is_training(sweep_dir):  # else a result may have been written since the plan was made
                unusable.append(checkpoints)
                what = f"the results of {count_of(len(gone), 'job')} that had ended are gone"
                restarting.append(f"restarts, because {what}: {checkpoints.last}")
                continue
            if is_elsewhere(device):
                continue
            environment |= dict.fromkeys(
                environment_differences(plain_of(state, "environment"), environment_on(device))
            )
    messages = [*first_few(lost), *first_few(restarting), *first_few(older)]
    messages += [f"the environment has changed since: {'; '.join(environment)}"] if environment else []
    return messages, unusable


def ended_jobs(state: Mapping[str, Any], numbers: Sequence[int]) -> list[int]:
    """Returns which jobs a checkpoint of their stack marks as ended; none if it says nothing of them."""
    ended = state.get("done")
    if not isinstance(ended, torch.Tensor) or ended.shape != (len(numbers),):  # does not fit, which the restoring says
        return []
    return [number for number, has_ended in zip(numbers, ended.tolist(), strict=True) if has_ended]


@cache
def environment_on(device: torch.device) -> dict[str, Any]:
    """Returns the environment of a run on this device.

    Queries a GPU in a subprocess, because a process that has used a GPU cannot fork workers.
    """
    return environment_of(device) if device.type == "cpu" else call_in_subprocess(environment_of, device)


def checkpoints_of(item: WorkItem, plan: Plan, sweep_dir: Path) -> Iterator[tuple[Sequence[int], Checkpoints]]:
    """Yields the existing checkpoints from which the item's stacks or jobs would resume, each with their numbers."""
    found: list[tuple[Sequence[int], Checkpoints | None]]
    if item.stacked:
        found = [(numbers, item.checkpoints(numbers)) for numbers in item.parts()]
    else:
        folders = {number: sweep_dir / plan.jobs[number].directory / CHECKPOINTS for number in item.jobs}
        found = [((number,), Checkpoints(folder, every=None)) for number, folder in folders.items()]
    yield from ((numbers, kept) for numbers, kept in found if kept is not None and kept.exist())


def require_data_of_result(directory: Path, task: Task) -> None:
    """Raises CheckpointMismatchError if an ended job was trained on other rows than the data set has now."""
    result = read_result(directory / RESULT)
    require_digest("" if result is None else str(result.data.get("digest")), task, directory)


def logger_of(job: SweepJob) -> str | list[str]:
    """Returns the job's `logger` without building all of its settings."""
    setting: str | list[str] = job.setting("logger")
    return setting


def require_trackers(jobs: Iterable[SweepJob]) -> None:
    """Raises InputError if a tracker of a job needs packages that are not installed."""
    for setting in {repr(logger_of(job)): logger_of(job) for job in jobs}.values():
        require_installed(setting)


def log_job(job: SweepJob, sweep_dir: Path, callback: SweepCallback, failed: set[str]) -> None:
    """Sends a job's metrics and result to its trackers, from its files.

    Adds trackers that fail to `failed`, and skips those in it.
    """
    if not tracker_names(logger_of(job)):
        return
    directory = sweep_dir / job.directory
    if not run_exists(directory):
        return
    params = params_of(job.run_settings)
    tracked = TrackedRun(directory, f"{sweep_dir.name}/{job.directory}", params, sweep_dir)
    trackers = Trackers(logger_of(job), tracked, callback.on_message, failed)
    for row in read_metrics(directory / METRICS):
        trackers.on_epoch_end(row)
    trackers.on_end(read_result(directory / RESULT) or Result(status="failed"))
