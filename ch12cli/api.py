"""The Python interface: runs and sweeps trained from a notebook or a program, and saved ones.

No call leaves state behind: not in Hydra, in logging, or in torch's random stream.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ch12cli.catalogue.entries import Entry, configured_keys, entries, entry_row, job_entries
from ch12cli.catalogue.formatting import count_of
from ch12cli.catalogue.names import find_run_directory
from ch12cli.errors import InputError, MachineError, describe_error, location_of
from ch12cli.files.atomic import write_whole
from ch12cli.files.command import command_of_run
from ch12cli.files.compact.run_files import recorded_job
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import CHECKPOINTS, HYDRA, METRICS, RESULT, SWEEP
from ch12cli.files.sweep_csv import is_sweep, read_sweep_csv
from ch12cli.plots.svg_curve import curve_svg
from ch12cli.run.callbacks import Callback, CallbackList

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from ch12cli.saved.evaluate import Evaluation
    from ch12cli.saved.predict import Predictions
    from ch12cli.saved.reproduce import Reproduction
    from ch12cli.sweeps.callbacks import SweepCallback
    from ch12cli.sweeps.start import Finished

Checkpoint = Literal["last", "best"]

FIRST = ("path", "kind", "when", "status", "epochs", "monitor", "objective")
SHOWN = ("path", "status", "epochs", "objective", "test_accuracy", "test_loss")  # in a notebook's table
MOST = 20  # rows of it
FORMATS = {".onnx": "onnx", ".pt2": "torch_export", ".py": "script"}  # suffix -> format of `ch12 export`


@dataclass(frozen=True)
class Run:
    """A run on disk, as `train` and `load_run` return it.

    directory: the run's folder. status: finished, diverged, failed or interrupted; "unfinished" while there is no
    result.json. metrics: the rows of metrics.csv, a dictionary for each epoch: epoch, losses, accuracies, lr, seconds.
    result: the content of result.json; empty if the run has not ended. settings: the configuration by dotted keys.
    trust: whether classes of your own, which the run names, may be imported.
    """

    directory: Path
    status: str
    metrics: list[dict[str, float | int]]
    result: dict[str, Any]
    settings: dict[str, Any]
    trust: bool = False
    _trained: "nn.Module | None" = field(default=None, repr=False, compare=False)

    @cached_property
    def model(self) -> "nn.Module":
        """The network after the last epoch, on the run's device. It takes scaled features, (rows, features).

        It is loaded at the first use, unless the run has just been trained. InputError if the checkpoint is damaged.
        """
        if self._trained is not None:
            return self._trained
        from ch12cli.saved.predict import load_network

        return load_network(self.directory, trust=self.trust)

    def resume(self, *overrides: str, fork: bool = False, callbacks: Callback | Sequence[Callback] = ()) -> "Run":
        """Trains the run on, as `ch12 resume` does, and returns it anew; as it is if there is nothing left to do.

        overrides: such as "epochs=200". fork: makes a new run that goes on from here, for overrides that change the
        computation. callbacks: called while it trains. InputError for overrides that cannot change.
        """
        from ch12cli.saved.resume import resume_run

        outcome = resume_run(
            self.directory,
            _texts(overrides, "run.resume"),
            callback=CallbackList(_listed(callbacks, Callback)),
            fork=fork,
            trust=self.trust,
            fork_hint="add fork=True",
        )
        return self if outcome is None else load_run(outcome.directory, trust=self.trust)

    def evaluate(self, *, split: str | None = None, checkpoint: Checkpoint = "last") -> "Evaluation":
        """Loss, metrics and confusion matrix on parts of the run's data, as `ch12 eval` computes them.

        split: train, valid, test or all; None: the test part if there is one. checkpoint: the network after the last or
        the best epoch. InputError if the data set is not that of the training any more.
        """
        from ch12cli.files.predictions.predictions_npz import PARTS
        from ch12cli.saved.evaluate import evaluate

        if split not in (None, *PARTS, "all"):
            raise InputError(f"split={split}: must be one of {', '.join(PARTS)}, all")
        return evaluate(self.directory, split=split, best=_is_best(checkpoint), trust=self.trust)

    def predict(
        self, rows: "str | Path | npt.ArrayLike", *, checkpoint: Checkpoint = "last", allow_unseen: bool = False
    ) -> "Predictions":
        """The network's answers for new rows, as `ch12 predict` gives them.

        rows: the path of a CSV file, an image or a folder of images; a data frame of pandas or polars, whose columns
        are matched by name; or an array of unscaled features, (rows, features), in the order of the training data.
        allow_unseen: takes a text that did not occur in training
        for none of those of its column. Returns values, (rows,): of a regression, or the numbers of
        the classes; and for classes probabilities, (rows, classes). InputError with everything that is wrong with the
        rows.
        """
        from ch12cli.data.text_file import read_content
        from ch12cli.saved.predict import predict, predict_features

        best = _is_best(checkpoint)
        if not isinstance(rows, str | Path):
            return predict_features(self.directory, rows, best=best, trust=self.trust, allow_unseen=allow_unseen)
        content = None if Path(rows).is_dir() else read_content(Path(rows))
        return predict(
            self.directory, content, source=str(rows), best=best, trust=self.trust, allow_unseen=allow_unseen
        )

    def reproduce(self, *, callbacks: Callback | Sequence[Callback] = ()) -> "Reproduction":
        """Trains the run again in memory, as `ch12 repro` does, and compares it with its record; writes nothing."""
        from ch12cli.saved.reproduce import reproduce

        return reproduce(self.directory, callback=CallbackList(_listed(callbacks, Callback)), trust=self.trust)

    def export(self, path: str | Path, *, checkpoint: Checkpoint = "last") -> list[Path]:
        """Writes the run for other programs, as `ch12 export` does; returns the files written.

        path: its suffix is the format: .onnx or .pt2 for the network with its scaling, .py for a script that trains the
        run again. A file that is there is written over. InputError for another suffix, or a folder that is not there.
        """
        from ch12cli.saved.export import export

        target = _path(path, "path")
        if target.suffix not in FORMATS:
            raise InputError(f"{target}: must end in {', '.join(FORMATS)}")
        if not target.parent.is_dir():
            raise InputError(f"{target}: there is no directory {target.parent}")
        exported = export(
            self.directory,
            FORMATS[target.suffix],
            name=target.stem,
            command=command_of_run(self.directory / HYDRA),
            best=_is_best(checkpoint),
            trust=self.trust,
        )
        for name, content in exported.files.items():
            write_whole(target.with_name(name), content)
        return [target.with_name(name) for name in exported.files]

    def __repr__(self) -> str:
        metrics = {**(self.result.get("final") or {}), **_prefixed("test", self.result.get("test") or {})}
        texts = [
            f"{name}={format_html_value(value)}" for name, value in metrics.items() if name not in ("lr", "seconds")
        ]
        return f"<Run {self.directory}: {', '.join([self.status, *texts])}>"

    def _repr_html_(self) -> str:
        """The metrics as a small table, and the curve of the losses."""
        rows = ""
        for name in ("final", "best", "test"):
            metrics = self.result.get(name) or {}
            text = ", ".join(f"{escape(key)} {format_html_value(value)}" for key, value in metrics.items())
            rows += f"<tr><th>{name}</th><td>{text}</td></tr>" if text else ""
        title = f"{escape(str(self.directory))}: {self.status}"
        return f"<table><caption>{title}</caption>{rows}</table>{_losses_svg(self.metrics)}"


@dataclass(frozen=True)
class Sweep:
    """A sweep on disk, as `sweep` returns it.

    directory: the sweep's folder. rows: one for each job, as `runs` returns them. failed: the number of failed jobs.
    interrupted: whether it was stopped before its end; `resume` goes on with it.
    """

    directory: Path
    rows: "RunRows"
    failed: int
    interrupted: bool

    def run(self, job: int) -> Run:
        """The run of a job, by its number from 0. InputError if there is no such job, or it has left no files."""
        by_number = {row.job: row for row in read_sweep_csv(self.directory / SWEEP)}
        if job not in list(by_number):  # which takes what cannot be hashed, too
            raise InputError(f"{self.directory}: has no job {job!r}; it has {len(by_number)}, from 0")
        return load_run(self.directory / by_number[job].directory)

    def resume(self, *, callbacks: "SweepCallback | Sequence[SweepCallback]" = ()) -> "Sweep":
        """Trains the jobs that have not ended, as `ch12 resume` does, and returns the sweep anew."""
        from ch12cli.sweeps.callbacks import SweepCallback, SweepCallbackList
        from ch12cli.sweeps.resume import resume_sweep

        return _sweep_of(resume_sweep(self.directory, callback=SweepCallbackList(_listed(callbacks, SweepCallback))))

    def __repr__(self) -> str:
        state = "interrupted" if self.interrupted else f"{self.failed} failed" if self.failed else "finished"
        return f"<Sweep {self.directory}: {count_of(len(self.rows), 'job')}, {state}>"

    def _repr_html_(self) -> str:
        return self.rows._repr_html_()


def train(
    *overrides: str,
    config_dir: str | Path | Sequence[str | Path] = (),
    callbacks: Callback | Sequence[Callback] = (),
) -> Run:
    """Trains one run, as `ch12 train` does with these overrides, and returns it.

    overrides: such as "dataset=iris", "optimizer.lr=0.01". config_dir: folders of your own configuration files.
    callbacks: one or several objects with the methods of ch12cli.run.callbacks.Callback, called while the run trains.
    An interrupted run is returned with the status "interrupted". InputError with everything that is wrong with the
    overrides or the data; MachineError if the run cannot be written.
    """
    from ch12cli.run.start import train_single

    outcome = train_single(
        _texts(overrides, "train"),
        folders=_folders(config_dir),
        callback=CallbackList(_listed(callbacks, Callback)),
        log=False,
        several_hint="use ch12cli.sweep to train them all",
    )
    return replace(load_run(outcome.directory, trust=True), _trained=outcome.model)


def sweep(
    *overrides: str,
    config_dir: str | Path | Sequence[str | Path] = (),
    jobs_file: str | Path | None = None,
    sampler: str | None = None,
    callbacks: "SweepCallback | Sequence[SweepCallback]" = (),
) -> Sweep:
    """Trains many runs, as `ch12 train -m` does with these overrides, and returns their rows.

    overrides: such as "optimizer.lr=0.1,0.01", "seed=range(100)". jobs_file: a CSV or YAML file with a row of overrides
    for each job. sampler: as in `search.sampler`; searches the values given, such as
    "optimizer.lr=interval(0.001,0.1)", with "search.n_trials=128" and the like. callbacks: one or several objects with
    the methods of ch12cli.sweeps.callbacks.SweepCallback. Failed jobs do not raise: they are rows with the status
    "failed". InputError with everything that is wrong with the overrides of any job; MachineError if the sweep cannot
    be written.
    """
    from ch12cli.sweeps.callbacks import SweepCallback, SweepCallbackList
    from ch12cli.sweeps.start import train_many

    _texts(overrides, "sweep")
    finished = train_many(
        overrides if sampler is None else [f"search.sampler={sampler}", *overrides],
        folders=_folders(config_dir),
        config_name="config",
        callback=SweepCallbackList(_listed(callbacks, SweepCallback)),
        jobs_file=None if jobs_file is None else _path(jobs_file, "jobs_file"),
    )
    return _sweep_of(finished)


def load_run(path: str | Path, *, trust: bool = False) -> Run:
    """A saved run, by its directory or by any name that `ch12 show` takes, such as "last".

    Files are read as data; nothing of the run is executed. trust: the run is your own, so classes that it names may be
    imported when its network is built. InputError if there is no such run, if it is a sweep, or if a file is damaged.
    """
    directory = Path(path) if _path(path, "path").is_dir() else find_run_directory(str(path))
    if is_sweep(directory):
        raise InputError(f"{directory}: is a sweep; give one of its jobs, such as {directory / '0'}")
    if recorded_job(directory) is None and not any((directory / name).is_dir() for name in (HYDRA, CHECKPOINTS)):
        raise InputError(f"{directory}: is not the directory of a run (it has no {HYDRA}/ and no {CHECKPOINTS}/)")
    result = read_result(directory / RESULT)
    return Run(
        directory,
        "unfinished" if result is None else result.status,
        read_metrics(directory / METRICS),
        {} if result is None else result.to_dict(),
        _settings_in(directory),
        trust,
    )


def _sweep_of(finished: "Finished") -> Sweep:
    outcome = finished.outcome
    return Sweep(outcome.directory, runs(outcome.directory), outcome.failed, outcome.signal is not None)


def _folders(config_dir: Any) -> list[Path]:
    several = isinstance(config_dir, Iterable) and not isinstance(config_dir, str)
    return [_path(folder, "config_dir") for folder in (config_dir if several else [config_dir])]


def _path(given: Any, name: str) -> Path:
    """An argument as a path. InputError if it is none."""
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"{name}={given!r}: must be a path, as text or pathlib.Path, not {type(given).__name__}")
    return Path(given)


def _texts(overrides: Sequence[Any], call: str) -> Sequence[str]:
    """The overrides of a call. InputError if one is no text."""
    if wrong := [each for each in overrides if not isinstance(each, str)]:
        a_list = f"; for a list write {call}(*overrides)" if isinstance(wrong[0], list | tuple) else ""
        raise InputError(f"overrides: {wrong[0]!r} is no text; write each as text such as 'epochs=5'{a_list}")
    return overrides


def _listed(callbacks: Any, protocol: type) -> list[Any]:
    """The callbacks as a list: one that was given by itself, or several. InputError if one lacks a method."""
    listed = list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
    methods = [name for name in vars(protocol) if name.startswith("on_")]
    for callback in listed:
        if missing := [name for name in methods if not callable(getattr(callback, name, None))]:
            whole = f"{protocol.__module__}.{protocol.__name__}"
            rule = f"has no method {missing[0]}; derive it from {whole}, whose methods do nothing"
            raise InputError(f"callbacks: {type(callback).__name__} {rule}")
    return [_UsersCallback(callback, [*methods, "on_tasks"]) for callback in listed]


class _UsersCallback:
    """A callback of the user's. What a method of it raises is an InputError that says where.

    Its methods are attributes, not found by __getattr__: from Python 3.12 on, isinstance of a protocol needs that.
    """

    def __init__(self, callback: Any, methods: Sequence[str]) -> None:
        for name in methods:
            if callable(method := getattr(callback, name, None)):
                setattr(self, name, partial(_called, method, f"{type(callback).__name__}.{name}"))


def _called(method: Callable[..., Any], name: str, *arguments: Any, **named: Any) -> Any:
    """What a method of a callback returns. InputError with what it raises. name: its class and its own."""
    try:
        return method(*arguments, **named)
    except (InputError, MachineError, OSError, MemoryError):  # which ch12 handles
        raise
    except Exception as error:
        what = f"callbacks: {name} raised {describe_error(error)}{location_of(error)}"
        saved = f"; the run itself is in {named['directory']}" if name.endswith(".on_end") else ""
        raise InputError(f"{what}{saved}") from error


def _is_best(checkpoint: str) -> bool:
    if checkpoint not in ("last", "best"):
        raise InputError(f"checkpoint={checkpoint}: must be last or best")
    return checkpoint == "best"


def _prefixed(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_{key}": value for key, value in metrics.items()}


def _losses_svg(metrics: Sequence[Mapping[str, float | int]]) -> str:
    """The curves of the losses, as SVG; empty if there are none."""
    names = [name for name in ("train_loss", "valid_loss") if metrics and name in metrics[0]]
    return curve_svg({name: [float(row[name]) for row in metrics] for name in names})


class RunRow(dict[str, Any]):
    """A run as a dictionary: its results by the names of `ch12 runs`, and its settings by dotted keys."""

    def _repr_html_(self) -> str:
        cells = [(name, self[name]) for name in self if name in SHOWN or name.startswith("test_")]
        lines = "".join(f"<tr><th>{escape(name)}</th><td>{format_html_value(value)}</td></tr>" for name, value in cells)
        return f"<table>{lines}</table>{curve_of(Path(self['path']))}"


class RunRows(list[RunRow]):
    """RunRows that all have the same keys, newest first, for pandas, polars or csv."""

    def _repr_html_(self) -> str:
        names = [name for name in SHOWN if any(format_html_value(row.get(name)) for row in self)]
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{format_html_value(row[name])}</td>' for name in names)}</tr>" for row in self[:MOST]
        )
        more = f"<p>and {len(self) - MOST:,} more</p>" if len(self) > MOST else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def runs(folder: str | Path = "outputs") -> RunRows:
    """The runs and the jobs of sweeps below a folder, newest first; or the jobs of one sweep, by any of its names.

    Reads files as data and does not import torch. InputError if there is no such folder.
    """
    path = find_run_directory(str(folder)) if not _path(folder, "folder").is_dir() else Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: is a file; give a folder, or a sweep")
    found = sorted(entries(path), key=lambda entry: entry.when, reverse=True)
    return uniform([row for entry in found for row in rows_of_entry(entry)])


def rows_of_entry(entry: Entry) -> list[RunRow]:
    """The row of a run; of a sweep a row for each job, or a single one with the status "damaged"."""
    try:
        listed = job_entries(entry.path) if entry.kind == "sweep" else [entry]
    except InputError:
        listed = [entry]
    return [RunRow(configured_keys(each) | entry_row(each)) for each in listed]


def _settings_in(directory: Path) -> dict[str, Any]:
    """A run's configuration by dotted keys, with the values of its file, None for null."""
    keys = read_keys(directory / HYDRA)
    return {key: value for key, value in keys.items() if not key.startswith("hydra/")}


def uniform(rows: Sequence[RunRow]) -> RunRows:
    """The rows with the keys of all of them, None where a run has no such key."""
    names = dict.fromkeys([*FIRST, *(name for row in rows for name in row)])
    columns = {name: of_one_type([row.get(name) for row in rows]) for name in names}
    columns["when"] = [datetime.fromtimestamp(row["when"]) for row in rows]
    return RunRows(RunRow(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def of_one_type(values: list[Any]) -> list[Any]:
    """A column with one type: integers and floats become floats, other mixtures become texts."""
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) < 2:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def format_html_value(value: Any) -> str:
    """A value for HTML: numbers rounded, nothing for None and NaN."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return escape("" if value is None else str(value))


def curve_of(directory: Path) -> str:
    """The curves of a run's losses, as SVG; empty if there are none."""
    try:
        rows = read_metrics(directory / METRICS)
    except InputError as error:
        return escape(str(error))
    return _losses_svg(rows)
