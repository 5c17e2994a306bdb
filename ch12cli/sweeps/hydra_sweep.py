"""The Hydra side of a sweep: its overrides, its sweeper, and the task function that its launchers call."""

import math
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.core.override_parser.types import Sweep as Swept
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ch12cli.catalogue.keys_of_settings import FOLD
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import BASIC_SWEEPER, Callbacks, make_basic_sweeper_use, split_into_jobs
from ch12cli.config.hydra_job import callbacks_of
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.settings import first_lines
from ch12cli.config.unknown import hydra_problem, idle_problems
from ch12cli.errors import InputError, Problem
from ch12cli.files.locks import locked
from ch12cli.files.plain_values import is_integer
from ch12cli.files.result_json import Result, write_result
from ch12cli.files.run_directory import CHECKPOINTS
from ch12cli.search.settings import SEARCH_SWEEPER, as_user_typed, sweeper_overrides
from ch12cli.shell import shell_word
from ch12cli.sweeps.jobs import JobComposer, SweepJob, make_jobs, problems_of_lists
from ch12cli.sweeps.search.request import SearchRequest, read_request
from hydra_plugins.ch12_search import SearchSweeper
from hydra_plugins.ch12_stacked import ExecutorLauncher, SlurmLauncher, StackedLauncher

MULTIRUN = "hydra.mode=MULTIRUN"  # Hydra's own -m adds it too
MAX_JOBS = 1_000_000  # per sweep
MOST_COUNTED = 1e15  # jobs: a range of tiny steps has more than a float can count


class ComposedSweep:
    """A sweep before it starts.

    `overrides` are those of the command line. `config` is Hydra's configuration of the sweep.
    """

    def __init__(
        self, composer: Composer, overrides: Sequence[Override], config: DictConfig, jobs: JobComposer
    ) -> None:
        self.composer, self.overrides, self.config = composer, overrides, config
        self.job_composer = jobs
        self.search: SearchRequest | None = None  # of Hydra's sweeper `search`
        self.command: tuple[str, ...] = ()  # that goes on with the search, if it is not `ch12 train`
        self.jobs: dict[tuple[str, ...], SweepJob] = {}  # composed so far, by overrides

    @property
    def task_overrides(self) -> list[Override]:
        """The overrides of the jobs, without those of Hydra's own keys."""
        return [override for override in self.overrides if not override.is_hydra_override()]

    @property
    def swept(self) -> list[Override]:
        """The overrides that Hydra's basic sweeper combines.

        Those of a configuration file precede those of the command line.
        """
        return [*sweeper_params(self.config, self.composer), *self.task_overrides]

    def compose(self, batch: Sequence[Sequence[str]], first: int = 0) -> list[SweepJob]:
        """Returns the checked jobs of a batch, numbered from `first`. Equal jobs get the number of the first of
        them.
        """
        missing = [overrides for overrides in batch if tuple(overrides) not in self.jobs]
        composed = {job.overrides: job for job in make_jobs(self.job_composer, missing, first=first)}
        numbers: dict[tuple[str, ...], int] = {}
        for number, overrides in enumerate(batch, start=first):
            numbers.setdefault(tuple(overrides), number)
        for overrides, number in numbers.items():
            job = composed.get(overrides) or self.jobs[overrides]
            self.jobs[overrides] = job if job.number == number else replace(job, number=number)
        return [self.jobs[tuple(overrides)] for overrides in batch]


def read_sweep(composer: Composer, argv: Sequence[str], *, compose: bool = True) -> ComposedSweep:
    """Returns the sweep that a command line describes. Raises InputError with all problems found.

    Composes and checks every job of Hydra's basic sweeper, unless `compose` is False because the jobs come from
    elsewhere.
    """
    problems: list[Problem] = []
    typed, argv = argv, [*sweeper_overrides(argv), MULTIRUN]
    parsed = composer.parse(argv, problems)
    composer.use_search_path(parsed, problems)
    composer.import_modules(parsed, problems)
    if problems:
        raise InputError([as_user_typed(problem, typed) for problem in problems])
    overrides = OverridesParser.create(config_loader=composer.loader).parse_overrides(argv)
    hydra_overrides = [override for override in overrides if override.is_hydra_override()]
    swept = [str(override.input_line) for override in hydra_overrides if override.is_sweep_override()]
    problems += [Problem.with_override(text, "hydra's own settings cannot be swept") for text in swept]
    problems += [problem for override in hydra_overrides if (problem := hydra_problem(override))]
    problems += idle_problems(overrides, swept=True)
    problems += problems_of_lists(overrides)
    if problems:
        raise InputError(problems)
    jobs = JobComposer(composer, [str(override.input_line) for override in hydra_overrides])
    try:
        config = composer.sweep_config(overrides)
    except InputError:
        if compose and not any((o.key_or_group, o.value()) == ("hydra/sweeper", "search") for o in hydra_overrides):
            # a job with the same mistake raises a clearer message; only a search draws from intervals
            own = [override for override in overrides if not override.is_hydra_override()]
            make_jobs(jobs, batch_of([one for one in own if not one.is_sweep_override() or one.is_discrete_sweep()]))
        raise
    size = config.hydra.sweeper.get("max_batch_size")
    if size is not None and size < 1:
        raise InputError(f"hydra.sweeper.max_batch_size={size}: must be null, or a whole number from 1")
    basic = config.hydra.sweeper.get("_target_") == BASIC_SWEEPER
    every_fold = every_fold_of(config, overrides) if basic else []
    overrides += OverridesParser.create(config_loader=composer.loader).parse_overrides(every_fold)
    sweep = ComposedSweep(composer, overrides, config, jobs)
    if compose and basic:
        sweep.compose(batch_of(sweep.swept))
    elif config.hydra.sweeper.get("_target_") == SEARCH_SWEEPER:
        if not compose:
            raise InputError("--jobs: lists the jobs of a sweep, and a search draws its own; leave one of them out")
        sweep.search = read_request(config, composer, sweep.task_overrides, jobs)
    return sweep


def every_fold_of(config: DictConfig, overrides: Sequence[Override]) -> list[str]:
    """Returns the override that sweeps over all folds, if `dataset.folds` is set and no override chooses among them."""
    folds = OmegaConf.select(config, "dataset.folds")
    chosen = OmegaConf.select(config, FOLD) is not None or any(one.key_or_group == FOLD for one in overrides)
    every_fold = f"range({folds})"
    return [f"{FOLD}={every_fold}"] if is_integer(folds) and folds > 1 and not chosen else []


def sweeper_params(config: DictConfig, composer: Composer) -> list[Override]:
    """Returns the overrides in `hydra.sweeper.params` of a configuration file."""
    params = config.hydra.sweeper.get("params") or {}
    overrides = [f"{key}={value}" for key, value in params.items()]
    try:
        found = OverridesParser.create(config_loader=composer.loader).parse_overrides(overrides)
    except HydraException as error:
        raise InputError(f"hydra.sweeper.params: {first_lines(error)}") from error
    if problems := problems_of_lists(found):
        raise InputError(problems)
    return list(found)


def batch_of(overrides: Sequence[Override]) -> list[list[str]]:
    """Returns the overrides of each job, as Hydra's basic sweeper combines them.

    Raises InputError for intervals, empty sweeps and too many jobs.
    """
    intervals = [o for o in overrides if o.is_sweep_override() and not o.is_discrete_sweep()]
    if intervals:
        raise InputError(
            [
                f"{o.input_line}: has infinitely many values between its bounds; "
                f"{interval_hint(o)}, or add hydra/sweeper=search to draw some"
                for o in intervals
            ]
        )
    refuse_too_many(overrides)
    try:
        swept = [override for override in overrides if override.is_discrete_sweep()]
        empty = [override.input_line for override in swept if not any(True for _ in override.sweep_string_iterator())]
        jobs = split_into_jobs(overrides)
    except HydraException as error:
        raise InputError(first_lines(error)) from error
    if empty:
        raise InputError([f"{line}: has no values, so there is no job" for line in empty])
    return jobs


def refuse_too_many(overrides: Sequence[Override]) -> None:
    """Raises InputError for more than MOST_JOBS jobs, before any job is made.

    Also raises it for ranges with step 0 and for ranges among other values.
    """
    jobs, problems = 1, list[str]()
    for override in overrides:
        values = override.value() if override.is_discrete_sweep() else None
        if isinstance(values, RangeSweep):
            try:
                start, stop, step = map(float, (values.start or 0, values.stop or 0, values.step))
            except OverflowError:  # an integer larger than any float
                start = stop = step = math.inf
            if not all(map(math.isfinite, (start, stop, step))):
                problems.append(f"{override.input_line}: its bounds and its step must be finite numbers")
                continue
            if step == 0:
                problems.append(f"{override.input_line}: its step is 0; it must lead from the first value to the last")
                continue
            jobs *= max(1, math.ceil(min((stop - start) / step, MOST_COUNTED)))
        elif isinstance(values, ChoiceSweep):
            jobs *= len(values.list)
            if any(isinstance(value, Swept) for value in values.list):
                problems.append(
                    f"{override.input_line}: a range cannot be combined with other values; list them one by one"
                )
    if jobs > MAX_JOBS:
        problems.append(f"{jobs:,} jobs: a sweep has {MAX_JOBS:,} at most; make its ranges shorter")
    if problems:
        raise InputError(problems)


def interval_hint(override: Override) -> str:
    """Returns a hint on what to type instead of an interval."""
    interval: Any = override.value()
    key, start, end = override.key_or_group, interval.start, interval.end
    if float(start).is_integer() and float(end).is_integer():
        return f"write {shell_word(f'{key}=range({int(start)},{int(end) + 1})')}"
    return f"list the values, such as {key}={start:g},{end:g}"


class SweepTask:
    """The task function that Hydra calls.

    The launcher `stacked` calls `launch` with a batch of jobs. Other launchers call the task itself for each job.
    `train_one` trains a job from its configuration.
    """

    def __init__(self, sweep: ComposedSweep, launch: Any, train_one: Any) -> None:
        self.sweep, self.launcher, self.train_one = sweep, launch, train_one

    def launch(self, callbacks: Callbacks, batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        returned: list[JobReturn] = self.launcher(self.sweep.compose(batch, first), callbacks)
        return returned

    def __call__(self, config: DictConfig) -> Any:
        return self.train_one(config)

    def __getstate__(self) -> dict[str, Any]:
        return {"train_one": self.train_one}  # a launcher with other processes needs only this


def run_sweep(sweep: ComposedSweep, task: SweepTask) -> None:
    """Runs a sweep as Hydra does: the sweeper makes batches, and the launcher runs them."""
    config = sweep.config
    for launcher in (StackedLauncher, SlurmLauncher, ExecutorLauncher):
        Plugins.instance().register(launcher)
    Plugins.instance().register(SearchSweeper)
    callbacks = callbacks_of(config)
    callbacks.on_multirun_start(config=config, config_name=sweep.composer.config_name)
    try:
        sweeper = Plugins.instance().instantiate_sweeper(
            config=config,
            hydra_context=HydraContext(config_loader=sweep.composer.loader, callbacks=callbacks),
            task_function=task,
        )
    except (HydraException, OmegaConfBaseException, RuntimeError) as error:
        raise InputError(first_lines(error)) from error
    # jobs are checked when they are composed; checking them here again would take longer than training
    sweeper.validate_batch_is_legal = lambda batch: None  # type: ignore[method-assign]
    make_basic_sweeper_use(sweeper, batch_of)
    # the list in the configuration would resolve the interpolations in them
    sweeper.sweep(arguments=[str(override.input_line) for override in sweep.task_overrides])
    callbacks.on_multirun_end(config=config, config_name=sweep.composer.config_name)


def train_as_hydra_job(config: DictConfig) -> float:
    """Trains one job and returns its objective. Writes an error to result.json, for the sweep's table."""
    from ch12cli.run.callbacks import NullCallback
    from ch12cli.run.signals import Terminated
    from ch12cli.run.task import require_learnable
    from ch12cli.run.torch_settings import torch_settings
    from ch12cli.run.trackers import with_trackers
    from ch12cli.run.train import prepare_job, train_job

    hydra: Any = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    values: Any = OmegaConf.to_container(config, resolve=True)
    choices = {str(group): choice for group, choice in hydra.runtime.choices.items()}
    settings = RunSettings.from_config(values, choices)
    try:
        with torch_settings(settings.machine) as device:
            job = prepare_job(settings, device)
            require_learnable(settings, job.task)
            (directory / CHECKPOINTS).mkdir(exist_ok=True)
            with locked(directory, key=str(directory)):
                outcome = train_job(job, directory, with_trackers(NullCallback(), settings))
    except SystemExit as error:
        write_result(directory, Result(status="failed", epochs=0, error=f"it called sys.exit({error.code!r})"))
        raise InputError(f"it called sys.exit({error.code!r})") from error
    except Exception as error:
        write_result(directory, Result(status="failed", epochs=0, error=f"{type(error).__name__}: {error}"))
        raise
    if outcome.signal is not None:  # the job wrote its checkpoint; no other job may start
        raise Terminated if outcome.signal == signal.SIGTERM else KeyboardInterrupt
    objective = outcome.result.objective
    return float("nan") if objective is None else float(objective)
