"""Drives a search: asks the study for a batch, has the launcher train it, reports the results, and asks again."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from ch12cli.catalogue.front import objective_column
from ch12cli.catalogue.names import find_run_directory
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned
from ch12cli.config.values import shown
from ch12cli.errors import InputError, Problem
from ch12cli.files.command import options_for, override_key
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.plan_json import PlanFile, read_plan
from ch12cli.files.run_directory import SWEEP
from ch12cli.files.sweep_csv import ENDED, SweepRow, read_sweep_csv, row_on_disk
from ch12cli.files.unfinished.search_json import SearchFile, remove_search
from ch12cli.search.optuna_study import is_study, read_study
from ch12cli.search.settings import SAMPLERS, as_search_keys
from ch12cli.search.space import Setting
from ch12cli.search.study import Study, summary_of_values
from ch12cli.search.trial import Trial, key_of_setting
from ch12cli.sweeps.hydra_sweep import ComposedSweep, SweepTask
from ch12cli.sweeps.launch import Launch
from ch12cli.sweeps.search.request import PARAMETERS, SearchRequest

TRIED_FIRST = 4  # trials of the first batch under a budget of time


@dataclass(frozen=True)
class RecordedTrial:
    """A trial in a sweep's directory.

    lines: the overrides of its jobs, by index of the repetition. rows: of the jobs that have ended, by number.
    """

    setting: Setting
    lines: dict[int, list[str]]
    rows: dict[int, SweepRow]

    @property
    def has_failed(self) -> bool:
        return any(row.status == "failed" for row in self.rows.values())


class Recorded(NamedTuple):
    """What a sweep's directory holds of a search.

    trials: in the order of their numbers. final_jobs: the number of ended jobs of finalists. others: the numbers of
    jobs that are neither of a trial nor of a finalist.
    """

    trials: list[RecordedTrial]
    final_jobs: int
    others: set[int]


def recorded_trials(plan: PlanFile, rows: dict[int, SweepRow], request: SearchRequest) -> Recorded:
    """Returns the trials of a search among the jobs of a sweep.

    Jobs with other overrides than this search's are not of it. A job that names no seed has the configured one.
    """

    def alike(lines: Iterable[str]) -> frozenset[str]:
        return frozenset(lines) - {request.seed_line}

    fixed = set(request.fixed)
    repetitions = {alike(each): index for index, each in enumerate(request.repetitions)}
    finals = {alike(each) for each in request.finals}
    keys = {parameter.key for parameter in request.space.parameters}
    found: dict[tuple[tuple[str, str], ...], RecordedTrial] = {}
    others: set[int] = set()
    final_jobs = 0
    for job in sorted(plan.jobs, key=lambda job: job.number):
        own = [line for line in job.lines if line not in fixed]
        setting = {key: text for key, _, text in (line.partition("=") for line in own) if key in keys}
        further = alike(line for line in own if line.partition("=")[0] not in keys)
        point = request.space.point(setting)
        is_in_space = point is not None and request.space.setting(point) == setting
        has_ended = job.number in rows and rows[job.number].status in ENDED
        if not is_in_space or further not in repetitions or not fixed <= set(job.lines):
            if not is_in_space or further not in finals:
                others.add(job.number)
            else:
                final_jobs += has_ended
            continue
        trial = found.setdefault(key_of_setting(setting), RecordedTrial(setting, {}, {}))
        trial.lines[repetitions[further]] = list(job.lines)
        if has_ended:
            trial.rows[job.number] = rows[job.number]
    return Recorded(list(found.values()), final_jobs, others)


def trial_of_rows(setting: Setting, rows: Sequence[SweepRow], request: SearchRequest) -> Trial:
    """Returns the trial of a setting from the rows of all its jobs.

    It has no rank if its run went on from others: its value is not that of the setting.
    """
    if any(row.ancestry for row in rows):
        return Trial(setting)
    statuses = {row.status for row in rows}
    if "failed" in statuses:
        return Trial(setting, "failed")
    columns = {name: objective_column(name, request.metric) for name in request.objectives}
    numbers = [[row.number(column) for row in rows] for column in columns.values()]
    if "diverged" in statuses or not all(math.isfinite(number) for each in numbers for number in each):
        return Trial(setting, "diverged")
    signs = [1.0 if minimised(name) else -1.0 for name in columns]
    values = tuple(
        summary_of_values([sign * number for number in each], request.settings.value)
        for sign, each in zip(signs, numbers, strict=True)
    )
    left = [row.left_at for row in rows if row.left_at is not None]
    epochs = sum(row.epochs or 0 for row in rows) // len(rows)
    return Trial(setting, "pruned" if left else "complete", values, epochs)


def trials_of_sweep(sweep: Path, request: SearchRequest) -> list[Trial]:
    """Returns the trials of any earlier sweep whose settings lie in the space and whose objective is the same metric.

    Other keys that its jobs override are ignored. Raises InputError if there are none.
    """
    found: dict[tuple[tuple[str, str], ...], tuple[Setting, list[SweepRow]]] = {}
    for row in read_rows_as_planned(sweep):
        point = request.space.point(row.overrides)
        if point is not None and row.monitor == request.metric and row.status in ENDED:
            setting = request.space.setting(point)
            found.setdefault(key_of_setting(setting), (setting, []))[1].append(row)
    if not found:
        raise InputError(f"search.from={sweep}: has no job in this space with {request.metric} as its objective")
    return [trial_of_rows(setting, rows, request) for setting, rows in found.values()]


def earlier_trials(source: str, request: SearchRequest) -> list[Trial]:
    """Returns the trials of an earlier sweep, or of a study of Optuna."""
    if is_study(source):
        return read_study(source, request.space, request.objectives)
    return trials_of_sweep(find_run_directory(source), request)


def require_columns(rows: Sequence[SweepRow], request: SearchRequest) -> None:
    """Raises InputError for an objective that no finished job has."""
    finished = [row for row in rows if row.status == "finished"]
    for name in request.objectives:
        if finished and name not in (request.metric, PARAMETERS) and not any(name in row.metrics for row in finished):
            raise InputError(Problem("search.objectives", shown(list(request.objectives)), f"no job has {name}"))


class Search:
    """A search in a sweep's directory.

    The directory is its record: trials that have ended there are reported before anything is asked, and those that have
    begun are trained first.
    """

    def __init__(self, sweep: ComposedSweep, directory: Path) -> None:
        assert sweep.search is not None
        self.sweep, self.request, self.directory = sweep, sweep.search, directory
        settings = self.request.settings
        self.study = Study(
            self.request.space,
            SAMPLERS[settings.sampler],
            seed=settings.seed,
            startup=min(self.request.batch, settings.n_trials or self.request.batch),
            allows=self.allows,
            start=settings.start,
            structural=self.request.structural,
            structures=settings.structures,
        )
        if settings.source is not None:
            self.study.earlier = earlier_trials(settings.source, self.request)
        plan = read_plan(directory)
        rows = {row.job: row for row in read_sweep_csv(directory / SWEEP)}
        known = {job.number: row_on_disk(rows.get(job.number), plan.facts(job), directory) for job in plan.jobs}
        self.recorded, self.final_jobs_done, self.others = recorded_trials(plan, known, self.request)
        self.jobs_of_no_trial = len(plan.jobs) - sum(len(trial.lines) for trial in self.recorded)
        self.next_number = max((job.number for job in plan.jobs), default=-1) + 1
        self.lines = {key_of_setting(trial.setting): trial.lines for trial in self.recorded}
        self.epochs = 0
        self.refused: dict[tuple[tuple[str, str], ...], InputError] = {}  # settings that no run may have
        self.is_exhausted = False  # no setting is left that was not asked
        self.start, self.trained = perf_counter(), 0
        self.begun, self.shortest = self.start, math.inf  # the batch; seconds of the shortest one
        self.finalists_left_out = 0

    @property
    def left(self) -> float:
        """The number of trials that may still be asked, by the number of trials and the epochs."""
        return self.left_after(len(self.study.trials), self.epochs)

    def left_after(self, trials: int, epochs: int) -> float:
        """Returns the number of trials that may still be asked after so many trials and epochs."""
        settings = self.request.settings
        by_number = math.inf if settings.n_trials is None else settings.n_trials - trials
        by_epochs = math.inf if settings.epochs is None else (settings.epochs - epochs) // self.epochs_of_trial
        return max(0.0, min(by_number, by_epochs))

    @property
    def epochs_of_trial(self) -> int:
        return self.request.epochs * len(self.request.repetitions)

    def goes_on_after(self, settings: Sequence[Setting]) -> bool:
        """Returns whether more is to be trained after this batch, the latest: trials, or finalists."""
        epochs = self.epochs + len(settings) * self.epochs_of_trial
        if self.recorded:  # some of their runs may have stopped early
            epochs = sum(row.epochs or 0 for trial in self.recorded for row in trial.rows.values())
        trials = len(self.study.trials) + len(self.recorded or settings)
        finalists = min(trials, self.request.settings.finalists) * len(self.request.finals)
        is_open = trials < self.request.space.count and self.left_after(trials, epochs) >= 1 and self.seconds_left > 0
        return is_open or self.final_jobs_done < finalists

    @property
    def seconds_left(self) -> float:
        timeout = self.request.settings.timeout
        return math.inf if timeout is None else timeout - (perf_counter() - self.start)

    @property
    def runs_a_second(self) -> float:
        """The speed so far."""
        return self.trained * len(self.request.repetitions) / (perf_counter() - self.start)

    @property
    def trials_in_time(self) -> float:
        """The number of trials that may still be asked, by the budget of time.

        The finalists have their share of it: few runs take as long as the shortest batch.
        """
        finals = self.request.settings.finalists * len(self.request.finals)
        for_finals = max(finals / self.runs_a_second, self.shortest) if finals else 0.0
        return (self.seconds_left - for_finals) * self.runs_a_second / len(self.request.repetitions)

    def jobs(self, setting: Setting) -> list[list[str]]:
        """Returns the overrides of the jobs of a trial, those of jobs in the directory as they are there."""
        lines = self.lines.get(key_of_setting(setting), {})
        return [lines.get(index, new) for index, new in enumerate(self.request.jobs(setting))]

    def batch(self) -> list[Setting]:
        """Returns the settings to train next; none if the search has ended.

        First these are the recorded ones, but for those that failed; then as many new ones as the budget has time for
        at the speed so far, which a few trials tell first.
        """
        recorded = [trial.setting for trial in self.recorded if not trial.has_failed]
        if recorded:
            return recorded
        self.report([], {})
        self.begun = perf_counter()
        count = min(self.request.batch, self.left)
        if self.request.settings.timeout is not None:
            count = min(count, self.trials_in_time if self.trained else TRIED_FIRST)
        settings = self.study.ask(int(count)) if count >= 1 and self.seconds_left > 0 else []
        self.is_exhausted = count >= 1 and self.seconds_left > 0 and not settings
        if self.is_exhausted and not self.study.trials and self.refused:
            raise next(iter(self.refused.values()))
        if self.is_exhausted and not self.study.trials and self.request.constraints:
            faults = [
                Problem("search.constraints", each.text, f"cannot be computed of any setting: {each.fault}")
                for each in self.request.constraints
                if each.fault
            ]
            unmet = Problem("search.constraints", None, "no setting was found of which they hold")
            raise InputError(faults or unmet)
        return settings

    def allows(self, setting: Setting) -> bool:
        """Returns whether all constraints hold of a setting, and runs may have it."""
        key = key_of_setting(setting)
        if key in self.refused or not self.request.allows(setting):
            return False
        try:
            self.sweep.compose(self.jobs(setting))
        except InputError as error:
            self.refused[key] = error
            return False
        return True

    def report(self, settings: Sequence[Setting], rows: dict[tuple[str, ...], SweepRow]) -> None:
        """Adds the results of a batch. rows: those of its jobs, by their overrides."""
        settings = [trial.setting for trial in self.recorded] or settings
        require_columns(list(rows.values()), self.request)
        for setting in settings:
            of_trial = [rows[tuple(job)] for job in self.jobs(setting) if tuple(job) in rows]
            self.epochs += sum(row.epochs or 0 for row in of_trial)
            complete = len(of_trial) == len(self.request.repetitions)
            self.study.add([trial_of_rows(setting, of_trial, self.request) if complete else Trial(setting, "failed")])
        if settings and not self.recorded:
            self.trained += len(settings)
            self.shortest = min(self.shortest, perf_counter() - self.begun)
        self.recorded = []

    def final_jobs(self) -> list[list[str]]:
        """Returns the overrides of the further jobs of the best trials: as many as there is time for, one at least."""
        best = [trial for trial in self.study.ranked() if trial.status == "complete"]
        count = self.request.settings.finalists
        if self.request.settings.timeout is not None and self.trained:  # else no speed is known, as after a resume
            runs = max(self.seconds_left, self.shortest) * self.runs_a_second  # fewer take no less time
            count = min(count, max(1, round(runs / len(self.request.finals))))
            self.finalists_left_out = min(self.request.settings.finalists, len(best)) - min(count, len(best))
        return [job for trial in best[:count] for job in self.request.jobs(trial.setting, final=True)]

    @property
    def fails_too_often(self) -> bool:
        most = self.request.settings.max_failure_rate
        failed = sum(trial.status == "failed" for trial in self.study.trials)
        return most is not None and failed > most * len(self.study.trials)


def run_search(task: SweepTask, launcher: Any) -> list[Any]:
    """Runs a search until its trials or its budget are used up. Returns what the launcher returned for each job.

    launcher: Hydra's, which trains the jobs of a batch.
    """
    launch: Launch = task.launcher
    search = Search(task.sweep, launch.directory)
    launch.others = search.others
    timeout = search.request.settings.timeout
    launch.ends_at = None if timeout is None else search.start + timeout
    returned: list[Any] = []
    number = search.next_number
    launch.search = search_file(search)
    try:
        while settings := search.batch():
            jobs = [job for setting in settings for job in search.jobs(setting)]
            launch.goes_on = search.goes_on_after(settings)
            returned += launcher.launch(jobs, initial_job_idx=number)
            number = max(number, 1 + max(launch.jobs, default=-1))
            if launch.aborted:
                break
            search.report(settings, rows_by_overrides(launch))
            if search.fails_too_often:
                text = "search.max_failure_rate: too many settings failed; it ends here"
                launch.callback.on_message(text, warning=True)
                break
        else:
            jobs, launch.goes_on = search.final_jobs(), False
            returned += launcher.launch(jobs, initial_job_idx=number) if jobs else []
    finally:
        for message in notes(search):
            launch.callback.on_message(message, warning=True)
    if not launch.aborted:
        remove_search(launch.directory)
    return returned


def search_file(search: Search) -> SearchFile:
    """Returns what is recorded of a search for as long as it has not ended."""
    request = search.request
    words = search.sweep.command or ("train", "-m", *words_of(search.sweep))
    return SearchFile(words, request.settings.n_trials, len(request.repetitions), search.jobs_of_no_trial)


def words_of(sweep: ComposedSweep) -> list[str]:
    """Returns the words of a command line that searches as this one, without the sweep's directory."""
    lines = [str(override.input_line) for override in sweep.overrides]
    lines = [line for line in lines if override_key(line) not in ("hydra.mode", "hydra.sweep.dir")]
    return [*options_for(sweep.composer.folders, sweep.composer.config_name, ()), *as_search_keys(lines)]


def rows_by_overrides(launch: Launch) -> dict[tuple[str, ...], SweepRow]:
    by_number = {row.job: row for row in launch.rows}
    return {job.overrides: by_number[number] for number, job in launch.jobs.items() if number in by_number}


def notes(search: Search) -> Iterator[str]:
    """Yields what a user should know at the end of a search."""
    if search.others:
        count = len(search.others)
        what = "1 job there is" if count == 1 else f"{count:,} jobs there are"
        yield f"{what} not of this search, because of other overrides or ranges, and not counted"
    if search.finalists_left_out:
        yield f"there was no time for {search.finalists_left_out} of {search.request.settings.finalists} finalists"
    if search.refused:
        count = len(search.refused)
        first = next(iter(search.refused.values())).messages[0]
        what = "1 drawn setting was" if count == 1 else f"{count:,} drawn settings were"
        yield f"{what} left out, because no run may have {'it' if count == 1 else 'them'}; the first: {first}"
    if search.is_exhausted and (count := len(search.study.trials)):
        tried = "the only setting of the space has" if count == 1 else f"all {count:,} settings of the space have"
        yield f"{tried} been tried"
