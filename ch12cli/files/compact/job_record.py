"""What a stack records of its ended jobs, and the files of a job's directory that need no torch.

A block of kind `stack` holds what the jobs after it share. A block of kind `jobs` holds jobs that ended together: JSON
for each, and arrays with a row for each, or one row for all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ch12cli.files.compact.hydra_texts import CutSections, HydraTexts
from ch12cli.files.hydra_folder import LOADER, is_bounded, to_yaml
from ch12cli.files.metrics_csv import columns_to_csv
from ch12cli.files.result_json import Result, describe_ending
from ch12cli.files.run_directory import HYDRA, METRICS, RESULT

STACK, JOBS = "stack", "jobs"  # kinds of blocks
FORMAT = 1
TOGETHER = 256  # jobs of a block at most: what is read to read one of them
METRIC, OPTIMIZER = "metric ", "optimizer "  # begin the names of arrays
ENDING = ("left_at", "stopped_at", "diverged_at", "diverged_step")
LOG = "train.log"

Arrays = Mapping[str, NDArray[Any]]
LinesOf = Callable[[NDArray[np.float64]], bytes]  # of metrics.csv, for its rows, (epochs, columns)


@dataclass(frozen=True)
class SharedBase:
    """What jobs with the same choices share: as in `plan_json.PlannedBase`."""

    template: str
    written: Mapping[str, Any]
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]

    def to_fields(self) -> dict[str, Any]:
        """Returns its JSON."""
        written = to_yaml(dict(self.written))
        return {"template": self.template, "written": written, "settings": self.settings, "chosen": self.chosen}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "SharedBase":
        """Returns the base of its JSON. Raises KeyError, TypeError or ValueError if it is of the wrong form."""
        written = fields["written"]
        if not is_bounded(written):
            raise ValueError("a configuration that cannot be bounded")
        return cls(fields["template"], yaml.load(written, Loader=LOADER), fields["settings"], fields["chosen"])

    @cached_property
    def texts(self) -> HydraTexts:
        return HydraTexts(self.template, self.written)

    @cached_property
    def chosen_json(self) -> str:
        return json.dumps(self.chosen)

    @cached_property
    def sections(self) -> CutSections:
        """The settings, as JSON without the outer braces."""
        return CutSections(self.settings, lambda section: json.dumps(section)[1:-1], json.dumps)

    def settings_json(self, changes: Mapping[str, Any]) -> str:
        """Returns the settings with some dotted keys changed."""
        return "{" + ", ".join(self.sections.texts(changes)) + "}"


@dataclass(frozen=True)
class StackFacts:
    """What the jobs of a stack share.

    sweep: absolute path of the sweep as it was trained; metadata: of the checkpoints, by fold; network: names and
    shapes of the parameters; stacked: number of jobs; compiled: whether compiled code trained its epochs; other fields:
    as in result.json.
    """

    sweep: str
    bases: Sequence[SharedBase]
    metadata: Mapping[int | None, Mapping[str, Any]]
    network: Sequence[tuple[str, tuple[int, ...]]]
    monitor: str
    parameters: int
    stacked: int
    history: Mapping[str, Any]
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
    compiled: bool = False

    @cached_property
    def history_json(self) -> str:
        return json.dumps(self.history)

    @cached_property
    def forms(self) -> dict[int | None, str]:
        """For each fold, what is equal for stacks whose networks and metadata differ in numbers alone."""
        return {fold: json.dumps([self.network, without_numbers(kept)]) for fold, kept in self.metadata.items()}

    def to_fields(self) -> dict[str, Any]:
        """Returns the JSON of the block."""
        return {
            "kind": STACK,
            "format": FORMAT,
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "bases": [base.to_fields() for base in self.bases],
            "metadata": list(self.metadata.items()),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "StackFacts":
        """Returns the facts in a block. Raises KeyError, TypeError or ValueError if they are of the wrong form."""
        names = ("sweep", "monitor", "parameters", "stacked", "history", "data", "environment")
        return cls(
            bases=[SharedBase.from_fields(base) for base in fields["bases"]],
            metadata={fold: dict(values) for fold, values in fields["metadata"]},
            compiled=bool(fields.get("compiled", False)),
            network=[(str(name), tuple(map(int, shape))) for name, shape in fields["network"]],
            **{name: fields[name] for name in names},
        )


@dataclass(frozen=True)
class JobRecord:
    """An ended job of a stack.

    together: what it shares with the jobs that ended with it (`epochs`, `seconds`, `time`, `columns`, `test`,
    `optimizer`, and the own fields of all of them, `jobs`); own: its own fields; arrays: its own rows.
    """

    stack: StackFacts
    together: Mapping[str, Any]
    own: Mapping[str, Any]
    arrays: Arrays = field(repr=False)

    @property
    def number(self) -> int:
        return int(self.own["number"])

    @property
    def directory(self) -> str:
        """Its directory, relative to the sweep's."""
        return str(self.own["directory"])

    @property
    def time(self) -> float:
        """When it ended, in seconds since 1970."""
        return float(self.together["time"])

    @property
    def base(self) -> SharedBase:
        found: SharedBase = self.stack.bases[self.own["base"]]
        return found

    @property
    def history(self) -> dict[str, Any]:
        """Its history: that of the stack, and of a run of a population what it went on from."""
        ancestry = self.own.get("ancestry")
        return {**self.stack.history, "ancestry": ancestry} if ancestry else dict(self.stack.history)

    @property
    def history_json(self) -> str:
        return json.dumps(self.history) if self.own.get("ancestry") else self.stack.history_json

    @property
    def columns(self) -> list[str]:
        """The columns of metrics.csv; none if it has no rows."""
        return ["epoch", *self.together["columns"]] if self.together["epochs"] else []

    @cached_property
    def rows(self) -> NDArray[np.float64]:
        """The rows of metrics.csv, (epochs, columns)."""
        epochs = self.together["epochs"]
        values = [self.arrays[f"{METRIC}{name}"] for name in self.together["columns"]]
        return np.stack([np.arange(1.0, epochs + 1), *(value[:epochs] for value in values)], axis=1)

    @property
    def settings_json(self) -> str:
        return self.base.settings_json(self.own["changes"])

    def row(self, epoch: int) -> dict[str, float | int] | None:
        """Returns the row of metrics.csv of an epoch; None for epoch 0."""
        if not epoch:
            return None
        values = [self.arrays[f"{METRIC}{name}"] for name in self.together["columns"]]
        return {
            "epoch": epoch,
            **{name: float(v[epoch - 1]) for name, v in zip(self.together["columns"], values, strict=True)},
        }

    @cached_property
    def result(self) -> Result:
        """The result, without the digests of the files."""
        own, stack = self.own, self.stack
        best = self.row(own["best_epoch"])
        test = dict(zip(self.together["test"], self.arrays["test"].tolist(), strict=True))
        return Result(
            status=own["status"],
            epochs=self.together["epochs"],
            final=self.row(self.together["epochs"]),
            best=best,
            test=test if test and own["status"] == "finished" else None,
            monitor=stack.monitor,
            objective=best[stack.monitor] if best else None,
            parameters=stack.parameters,
            **{name: own[name] for name in ENDING if name in own},
            stacked=stack.stacked,
            history=self.history,
            seconds=self.together["seconds"],
            data=stack.data,
            environment=stack.environment,
        )

    def texts(self, lines: LinesOf | None = None) -> dict[str, bytes]:
        """Returns the files of the job's directory that are texts, but for result.json. lines: as in `metrics`."""
        own = self.own
        hydra = self.base.texts.files(
            number=own["number"],
            overrides=own["overrides"],
            changes=own["changes"],
            dirname=own["dirname"],
            output_dir=f"{self.stack.sweep}/{self.directory}",
        )
        return {
            **{f"{HYDRA}/{name}": content for name, content in hydra.items()},
            METRICS: self.metrics(lines),
            LOG: log_line(self.result).encode(),
        }

    def metrics(self, lines: LinesOf | None = None) -> bytes:
        """Returns metrics.csv. lines: makes its lines faster than Python does; None: there is no such function."""
        epochs = self.together["epochs"]
        if lines is not None and epochs:
            return f"{','.join(self.columns)}\n".encode() + lines(self.rows)
        columns = {name: self.arrays[f"{METRIC}{name}"][:epochs].tobytes() for name in self.together["columns"]}
        return columns_to_csv(columns, epochs)

    def text(self, name: str) -> bytes | None:
        """Returns a file of the job's directory, by its name there; None if it has no such text.

        result.json has no digests: the other files have not been written.
        """
        if name == METRICS:  # of thousands of jobs for a plot, without their configurations
            return self.metrics()
        return self.result.to_json() if name == RESULT else self.texts().get(name)


def without_numbers(value: Any) -> Any:
    """Returns nested mappings and lists with 0 in place of their numbers."""
    if isinstance(value, Mapping):
        return {key: without_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return list(map(without_numbers, value))
    return value if isinstance(value, str) else 0


def log_line(result: Result) -> str:
    """Returns the content of train.log for a run of a stack."""
    reason = describe_ending(result)
    line = f"stack of {result.stacked} runs: {result.status} after {result.epochs} epochs"
    return f"{line}; {reason}\n" if reason else f"{line}\n"


def record_of(stack: StackFacts, together: Mapping[str, Any], arrays: Arrays, index: int) -> JobRecord:
    """Returns the record of a job of a block of kind `jobs`, by its place there."""
    jobs = together["jobs"]
    rows = {name: array[index if len(array) == len(jobs) else 0] for name, array in arrays.items()}
    return JobRecord(stack, together, jobs[index], rows)
