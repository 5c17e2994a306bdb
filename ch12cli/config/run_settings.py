"""The settings of a run as frozen dataclasses, which all lower layers use instead of the configuration.

`RunSettings.from_config` creates them from a checked configuration. No other code unpacks a configuration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ch12cli.config.combinations import further_metrics, monitored_by
from ch12cli.config.targets import Target
from ch12cli.files.hydra_folder import with_changes


@dataclass(frozen=True)
class SplitSettings:
    """How a data set is split into training, validation and test parts, scaled and weighted.

    test_size, valid_size: fractions of the rows in [0, 1), or numbers of rows. folds: of cross-validation; fold: the
    one to validate on.
    """

    test_size: int | float = 0.0
    valid_size: int | float = 0.0
    split: str = "random"
    split_seed: int = 1
    folds: int | None = None
    fold: int | None = None
    scaling: str = "none"
    target_scaling: str = "none"
    class_weight: str | list[float] | Mapping[str, float] | None = None


SPLIT_DEFAULTS = asdict(SplitSettings())  # defaults of the keys that a data set's file may omit


@dataclass(frozen=True)
class DataSettings:
    """The data set and its split. source: the target that builds the table."""

    source: Target
    split: SplitSettings


@dataclass(frozen=True)
class ModelSettings:
    """The network, its activation, and how it is computed."""

    target: Target
    activation: Target
    precision: str
    compile: bool


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimizer and the limits for gradient clipping. A limit of None turns clipping off."""

    target: Target
    clip_grad_norm: float | None
    clip_grad_value: float | None


@dataclass(frozen=True)
class LoopSettings:
    """The settings of the training loop.

    metrics: the metrics of classes besides accuracy. norms: whether to record those of gradient and weights.
    monitor: the metric that selects the best epoch, or `auto`; stop_on: the metric for early stopping, or `auto`.
    patience: epochs without improvement before early stopping, None for no early stopping.
    checkpoint_every: epochs between checkpoints, None to choose by their cost.
    """

    epochs: int
    batch_size: int
    seed: int
    stream_offset: int
    metrics: tuple[str, ...]
    norms: bool
    monitor: str
    stop_on: str
    patience: int | None
    min_delta: float
    checkpoint_every: int | None


@dataclass(frozen=True)
class MachineSettings:
    """The hardware that a run uses. threads: None to let ch12 choose.

    devices: processes that share each batch. shards: parts of a batch that are added in order, None for no order.
    """

    device: str
    devices: int
    shards: int | None
    workers: int
    threads: int | None
    deterministic: bool
    pin_memory: bool


@dataclass(frozen=True)
class HalvingSettings:
    """Successive halving of a sweep: at each rung, the best 1/`factor` of the runs by `metric` continue.

    by: "run", or "setting": those of the best settings by the mean over their seeds and folds.
    """

    metric: str
    min_epochs: int
    factor: int
    by: str = "run"


@dataclass(frozen=True)
class NumberRange:
    """The values of a number that is perturbed. log: they are drawn on a logarithmic scale."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class PopulationSettings:
    """Population-based training of a sweep: every so many epochs, worse runs go on from better ones.

    quantile: the share of the runs, at either end, that is worse and better by `metric`; factors: what the numbers of a
    better run are multiplied by, one at random; resample: the probability of drawing a number anew; numbers: by key.
    """

    metric: str
    every: int
    numbers: Mapping[str, NumberRange]
    quantile: float = 0.2
    factors: tuple[float, ...] = (0.8, 1.2)
    resample: float = 0.25
    seed: int = 1

    @staticmethod
    def from_node(node: Mapping[str, Any]) -> "PopulationSettings":
        """Returns the settings in a checked mapping."""
        numbers = {
            key: NumberRange(float(low), float(high), bool(log)) for key, (low, high, *log) in node["numbers"].items()
        }
        given = {name: value for name, value in node.items() if name != "numbers"}
        if "factors" in given:
            given["factors"] = tuple(map(float, given["factors"]))
        return PopulationSettings(**given, numbers=numbers)


DIRECTORIES, COMPACT = "directories", "compact"  # sweep.record


@dataclass(frozen=True)
class SweepSettings:
    """How the jobs of a sweep are trained, and recorded. max_stacked, processes, fused: None to let ch12 choose."""

    max_stacked: int | None
    processes: int | None
    fused: bool | None
    fail_fast: bool
    verify: int
    record: str
    halving: HalvingSettings | None
    pbt: PopulationSettings | None


@dataclass(frozen=True)
class RunSettings:
    """All settings of a run.

    logger: the trackers; choices: the choice of each group, by group name.
    config: the checked configuration these settings were created from, which is saved with the run.
    """

    data: DataSettings
    model: ModelSettings
    loss: Target
    optimizer: OptimizerSettings
    schedule: Target
    loop: LoopSettings
    machine: MachineSettings
    sweep: SweepSettings
    logger: str | list[str]
    choices: Mapping[str, str | None]
    config: Mapping[str, Any]

    @staticmethod
    def from_config(config: Mapping[str, Any], choices: Mapping[str, str | None]) -> "RunSettings":
        """Returns the settings in a checked configuration. choices: the choice of each group."""
        dataset, stopping, sweep = config["dataset"], config["early_stopping"], config["sweep"]
        source = {name: value for name, value in dataset.items() if name not in SPLIT_DEFAULTS}
        split = {name: value for name, value in dataset.items() if name in SPLIT_DEFAULTS}
        halving, pbt = sweep["halving"], sweep.get("pbt")  # a record of an earlier version has no pbt
        return RunSettings(
            data=DataSettings(Target.from_node(source), SplitSettings(**split)),
            model=ModelSettings(
                Target.from_node(config["model"]),
                Target.from_node(config["activation"]),
                precision=config["precision"],
                compile=config["compile"],
            ),
            loss=Target.from_node(config["loss"]),
            optimizer=OptimizerSettings(
                Target.from_node(config["optimizer"]),
                clip_grad_norm=config["clip_grad_norm"],
                clip_grad_value=config["clip_grad_value"],
            ),
            schedule=Target.from_node(config["scheduler"]),
            loop=LoopSettings(
                epochs=config["epochs"],
                batch_size=config["batch_size"],
                seed=config["seed"],
                stream_offset=config["stream_offset"],
                metrics=further_metrics(config),
                norms=config["record_norms"],
                monitor=config["monitor"],
                stop_on=stopping["metric"],
                patience=stopping["patience"],
                min_delta=stopping["min_delta"],
                checkpoint_every=number_or_none(config["checkpoint"]["every"]),
            ),
            machine=MachineSettings(
                device=config["device"],
                devices=config["devices"],
                shards=config["shards"],
                workers=config["workers"],
                threads=number_or_none(config["threads"]),
                deterministic=config["deterministic"],
                pin_memory=config["pin_memory"],
            ),
            sweep=SweepSettings(
                max_stacked=number_or_none(sweep["max_stacked"]),
                processes=number_or_none(sweep["processes"]),
                fused=None if sweep["fused"] == "auto" else sweep["fused"],
                fail_fast=sweep["fail_fast"],
                verify=sweep["verify"],
                record=sweep["record"],
                halving=None if halving is None else HalvingSettings(**halving),
                pbt=None if pbt is None else PopulationSettings.from_node(pbt),
            ),
            logger=config["logger"],
            choices=dict(choices),
            config=config,
        )

    @property
    def monitored(self) -> str:
        """Returns the metrics.csv column that is the run's objective: `monitor`, with `auto` resolved."""
        return monitored_by(self.config)

    def with_changes(self, changes: Mapping[str, Any]) -> "RunSettings":
        """Returns a copy of these settings with new values for some dotted keys of the configuration."""
        return RunSettings.from_config(with_changes(self.config, changes), self.choices)


def number_or_none(value: int | str) -> int | None:
    """Returns a setting's number, or None for `auto`."""
    return None if isinstance(value, str) else value
