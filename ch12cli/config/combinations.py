"""Checks that choices are compatible: data, loss and output, metrics and parts.

The checks need neither torch nor the data.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from ch12cli.config.schema import CLASS_METRICS, FURTHER_METRICS, KEYS, VALUE_METRICS
from ch12cli.config.values import shown
from ch12cli.data.text_file import count_with_noun
from ch12cli.errors import Problem
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plain_values import is_finite_number, is_integer

IMAGE_FOLDER, IDX = "ch12cli.data.image_folder", "ch12cli.data.idx"
SHAPED_BY_ROWS = (IDX, "ch12cli.data.datasets")  # whose rows may be images, of a size that only they tell
VALUES = 0  # the number of classes that stands for a regression target


class LossKind(NamedTuple):
    """The requirements of a loss.

    name: as typed; classes: the numbers of classes it accepts; output: the output activation it needs; wanted: the
    network output it expects, for messages.
    """

    name: str
    classes: str  # "values", "two" or "any"
    output: str
    wanted: str


LOSSES = {
    "torch.nn.MSELoss": LossKind("mse", "values", "none", "values"),
    "torch.nn.L1Loss": LossKind("l1", "values", "none", "values"),
    "torch.nn.HuberLoss": LossKind("huber", "values", "none", "values"),
    "torch.nn.BCELoss": LossKind("bce", "two", "sigmoid", "a probability"),
    "torch.nn.BCEWithLogitsLoss": LossKind("bce_logits", "two", "none", "a logit"),
    "torch.nn.CrossEntropyLoss": LossKind("cross_entropy", "any", "none", "logits"),
    "torch.nn.NLLLoss": LossKind("nll", "any", "log_softmax", "log-probabilities"),
}


class DatasetKind(NamedTuple):
    """Facts about a data set before it is read. classes: VALUES for regression; rows: None if `size` sets them."""

    classes: int
    rows: int | None = None


# Shipped data sets, so that mismatches are reported before data are read. Data sets read from files are not listed.
DATASETS = {
    "ch12cli.data.iris": DatasetKind(3, 150),
    "ch12cli.data.two_class": DatasetKind(2),
    "ch12cli.data.toy_regression": DatasetKind(VALUES),
}

# Device files of CUDA (also on Jetson and WSL) and ROCm.
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg", "/dev/kfd")

AUTO_LOSS = {VALUES: "torch.nn.MSELoss", 2: "torch.nn.BCELoss"}


def classes_of(settings: Mapping[str, Any]) -> int | None:
    """Returns the number of classes of the data set: 0 for regression, None if unknown before the data are read."""
    dataset = settings["dataset"]
    if dataset.get("_target_") == IMAGE_FOLDER and dataset.get("folder") is None:
        return 2  # discs and squares
    kind = DATASETS.get(str(dataset.get("_target_")))
    return None if kind is None else kind.classes


def known_rows(settings: Mapping[str, Any]) -> int | None:
    """Returns the number of rows of the data set, or None if unknown before the data are read."""
    kind, size = DATASETS.get(str(settings["dataset"].get("_target_"))), settings["dataset"].get("size")
    if kind is None or kind.rows is not None:
        return None if kind is None else kind.rows
    return int(size) if is_integer(size) else None


def loss_target(settings: Mapping[str, Any], classes: int) -> str:
    """Returns the import path in `loss._target_`, with `auto` resolved by the number of classes.

    A network without the key `model.output` cannot be given a sigmoid, so that two classes need a loss of logits.
    """
    target = str(settings["loss"].get("_target_"))
    if target != "auto":
        return target
    if classes == 2 and "output" not in settings["model"]:
        return "torch.nn.BCEWithLogitsLoss"
    return AUTO_LOSS.get(classes, "torch.nn.CrossEntropyLoss")


def outputs_of(target: str, classes: int) -> int:
    """Returns the number of network outputs for a loss and a number of classes."""
    if classes == VALUES:
        return 1
    return 1 if target in LOSSES and LOSSES[target].classes == "two" else classes


def output_of(settings: Mapping[str, Any], target: str) -> str:
    """Returns the network's output activation, with `auto` resolved by the loss.

    A network without the key `model.output` is taken to give what the loss needs.
    """
    output = str(settings["model"].get("output", "auto"))
    return (LOSSES[target].output if target in LOSSES else "none") if output == "auto" else output


def has_validation(settings: Mapping[str, Any]) -> bool:
    dataset = settings["dataset"]
    return bool(dataset.get("folds") or dataset.get("valid_size", 0) or isinstance(dataset.get("valid"), Mapping))


def monitored(name: str, *, valid: bool) -> str:
    """Returns the metrics.csv column for a value of `monitor` or `early_stopping.metric`, with `auto` resolved."""
    return ("valid_loss" if valid else "train_loss") if name == "auto" else name


def monitored_by(settings: Mapping[str, Any]) -> str:
    """Returns the metrics.csv column that is the objective of a run."""
    return monitored(settings["monitor"], valid=has_validation(settings))


def further_metrics(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the metrics of classes to compute besides accuracy: those asked for, and those that settings monitor."""
    asked, sweep = settings.get("metrics") or (), settings["sweep"]
    compared = [sweep[name]["metric"] for name in ("halving", "pbt") if sweep.get(name)]
    monitored = [settings["monitor"], settings["early_stopping"]["metric"], *compared]
    names = {*([asked] if isinstance(asked, str) else asked), *(name.partition("_")[2] for name in monitored)}
    return tuple(name for name in FURTHER_METRICS if name in names)


def loss_problems(settings: Mapping[str, Any], classes: int) -> list[Problem]:
    """Returns the mismatch between the loss and the data set or the network's output, as a list."""
    target = loss_target(settings, classes)
    if target not in LOSSES:
        return []
    kind, name = LOSSES[target], LOSSES[target].name
    output = output_of(settings, target)
    has = "values" if classes == VALUES else f"{classes} classes"
    if kind.classes == "values" and classes != VALUES:
        better = "bce or cross_entropy" if classes == 2 else "cross_entropy"
        return [Problem("loss", name, f"is for values, and the data set has {has}", f"use loss={better}")]
    if kind.classes != "values" and classes == VALUES:
        return [Problem("loss", name, "is for classes, and the data set has values", "use loss=mse, l1 or huber")]
    if kind.classes == "two" and classes != 2:
        return [Problem("loss", name, f"is for two classes, and the data set has {has}", "use loss=cross_entropy")]
    if kind.output != "none" and output != kind.output:
        hint = f"use model.output={kind.output} or model.output=auto"
        return [Problem("model.output", output, f"loss={name} wants {kind.wanted}", hint)]
    if kind.classes == "two" and kind.output == "none" and output != "none":
        hint = "use model.output=none, or loss=bce with sigmoid"
        return [Problem("model.output", output, f"loss={name} wants {kind.wanted}", hint)]
    if kind.classes == "values" and output in ("softmax", "log_softmax"):
        rule = "one output would always be the same value"
        return [Problem("model.output", output, rule, "use model.output=none")]
    return []


def weight_problems(settings: Mapping[str, Any], classes: int) -> list[Problem]:
    """Returns the conflicts between the weights of classes, the loss and the classes."""
    target, class_weight = loss_target(settings, classes), settings["dataset"].get("class_weight")
    weight = settings["loss"].get("weight")
    if class_weight is not None and classes == VALUES:
        return [Problem("dataset.class_weight", shown(class_weight), "is for classes", "leave it out")]
    if not isinstance(weight, list) or target not in LOSSES:
        return []
    if class_weight is not None:
        return [Problem("loss.weight", shown(weight), "weighs the classes, as dataset.class_weight does", "use one")]
    if LOSSES[target].classes != "any":
        hint = "use dataset.class_weight"
        return [Problem("loss.weight", shown(weight), f"loss={LOSSES[target].name} has none for each class", hint)]
    if len(weight) != classes:
        rule = f"has {count_with_noun(len(weight), 'number')}, and the data set has {classes} classes"
        return [Problem("loss.weight", shown(weight), rule, "give one for each class, in their order")]
    return []


def loss_warnings(settings: Mapping[str, Any], classes: int) -> list[str]:
    """Returns warnings about a loss, output activation and weights that work together but are seldom intended."""
    target = loss_target(settings, classes)
    output = output_of(settings, target)
    warnings = []
    dataset = settings["dataset"]
    weight = settings["loss"].get("weight") or dataset.get("class_weight") or dataset.get("weight")
    if weight is not None and settings["batch_size"] == 1:
        warnings.append("batch_size=1: weights change nothing, because each step divides by those of its rows")
    if target == "torch.nn.CrossEntropyLoss" and output in ("softmax", "sigmoid", "log_softmax"):
        warnings.append(
            f"model.output={output} before cross-entropy: the loss applies softmax itself, so that "
            "learning is slower; model.output=none is what is usually meant"
        )
    return warnings


def monitor_problems(settings: Mapping[str, Any], key: str, name: Any, *, classes: int | None) -> list[Problem]:
    """Returns the reason that a metric cannot be monitored, as a list. key: the setting that names the metric."""
    if not isinstance(name, str):
        return []
    part, _, metric = name.partition("_")
    if part == "valid" and not has_validation(settings):
        hint = f"set dataset.valid_size, or use {key}=train_{metric}"
        return [Problem(key, name, "there is no validation part", hint)]
    if classes == VALUES and metric in CLASS_METRICS:
        return [Problem(key, name, f"{metric} is for classes", f"use {part}_loss, {part}_mae or {part}_r2")]
    if classes and metric in VALUE_METRICS:
        return [Problem(key, name, "is for values", f"use {part}_loss or {part}_accuracy")]
    return []


def dataset_problems(settings: Mapping[str, Any], classes: int | None) -> list[Problem]:
    """Returns the conflicts between the data set's options."""
    dataset = settings["dataset"]
    folds, fold = dataset.get("folds"), dataset.get("fold")
    test, valid = dataset.get("test_size", 0), 0 if folds else dataset.get("valid_size", 0)
    problems = []
    if is_integer(folds) and fold is None:
        rule = "is of no use without dataset.fold, the fold to validate on"
        problems.append(Problem("dataset.folds", shown(folds), rule, "add dataset.fold=0, or train all folds with -m"))
    if is_integer(fold) and not (is_integer(folds) and fold < folds):
        rule = f"must be less than dataset.folds={shown(folds)}" if folds else "is of no use without dataset.folds"
        problems.append(Problem("dataset.fold", shown(fold), rule))
    if is_finite_number(test) and is_finite_number(valid) and 0 <= test < 1 and 0 <= valid < 1 and test + valid >= 1:
        rule = f"must be less than 1 together with dataset.valid_size={shown(valid)}, so that rows are left to train on"
        problems.append(Problem("dataset.test_size", shown(test), rule))
    elif (rows := known_rows(settings)) is not None and any(is_integer(size) and size >= 1 for size in (test, valid)):
        from ch12cli.data.split import no_training_problems  # imports numpy

        problems += no_training_problems(rows, test_size=test, valid_size=valid)
    if dataset.get("target_scaling", "none") != "none" and classes:
        hint = "leave it out"
        problems.append(Problem("dataset.target_scaling", shown(dataset["target_scaling"]), "is for values", hint))
    if dataset.get("split") == "stratified" and classes == VALUES:
        problems.append(Problem("dataset.split", "stratified", "is for classes", "use dataset.split=random"))
    return problems


def image_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Returns why `cnn` cannot process a shipped data set, as a list: no images, or images too small for its depth."""
    dataset, model = settings["dataset"], settings["model"]
    target = str(dataset.get("_target_"))
    if (
        model.get("_target_") != "ch12cli.models.cnn"
        or not target.startswith("ch12cli.data.")
        or target in SHAPED_BY_ROWS
    ):
        return []
    if target != IMAGE_FOLDER:
        name = target.rpartition(".")[2]
        rule, hint = f"needs images, and dataset={name} has none", "use dataset=image_folder or model=mlp"
        return [Problem("model", "cnn", rule, hint)]
    height, width, depth = dataset["height"], dataset["width"], model.get("depth", 0)
    if min(height, width) >> depth == 0:
        rule = (
            f"each convolution halves the image, and one of {height} x {width} (dataset.height, dataset.width) "
            f"can be halved {min(height, width).bit_length() - 1} times at most"
        )
        return [Problem("model.depth", shown(depth), rule)]
    return []


def optimizer_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Returns the conflicts between the optimizer's options."""
    optimizer = settings["optimizer"]
    if optimizer.get("nesterov") is True and (not optimizer.get("momentum") or optimizer.get("dampening")):
        rule = "needs optimizer.momentum greater than 0 and optimizer.dampening=0"
        return [Problem("optimizer.nesterov", "true", rule)]
    return []


def population_problems(settings: Mapping[str, Any], classes: int | None) -> list[Problem]:
    """Returns why runs with these settings cannot be trained as a population, as a list."""
    sweep = settings["sweep"]
    pbt = sweep.get("pbt")
    if not isinstance(pbt, Mapping) or not isinstance(pbt.get("numbers"), Mapping):
        return []
    problems = monitor_problems(settings, "sweep.pbt.metric", pbt.get("metric"), classes=classes)
    if sweep.get("halving") is not None:
        problems.append(Problem("sweep.pbt", None, "does without sweep.halving", "leave one of them out"))
    if settings["dataset"].get("folds") is not None:
        rule = "would hand networks on to runs whose validation part they were trained on"
        problems.append(Problem("sweep.pbt", None, rule, "leave out dataset.folds"))
    present = dict(flatten(settings))
    for key, bounds in pbt["numbers"].items():
        value = present.get(key)
        if not is_perturbed(key) or not is_finite_number(value):
            rule = f"{key} is no number that the runs of a stack have each for themselves"
            problems.append(Problem("sweep.pbt.numbers", None, rule, "name numbers such as optimizer.lr"))
        elif not bounds[0] <= value <= bounds[1]:
            problems.append(Problem(key, shown(value), f"must be within the bounds of sweep.pbt, {shown(bounds[:2])}"))
        elif key in KEYS and not all(map(KEYS[key].rule.allows, bounds[:2])):
            problems.append(Problem("sweep.pbt.numbers", None, f"{key} must be {KEYS[key].rule}"))
    return problems


def is_perturbed(key: str) -> bool:
    """Returns whether a key may be one of the numbers that population-based training changes during a run."""
    return key in ("clip_grad_norm", "clip_grad_value") or (
        key.startswith("optimizer.") and key != "optimizer.initial_accumulator_value"
    )


def device_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Returns the reasons that the device cannot be used, as far as they can be found without torch."""
    device = str(settings["device"])
    if device == "mps" and settings["precision"] == "float64":
        hint = "use device=cpu or precision=float32"
        return [Problem("precision", "float64", "mps has no 64-bit numbers", hint)]
    no_driver = device.startswith("cuda") and sys.platform == "linux" and not any(map(os.path.exists, GPU_DRIVERS))
    if no_driver or (device == "mps" and sys.platform != "darwin"):
        return [Problem("device", device, "this machine has cpu", "use one of them, or device=auto")]
    return []


def sharing_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Returns why the processes of `devices` cannot share the batches of a run."""
    devices, shards, device = settings["devices"], settings["shards"], str(settings["device"])
    problems = []
    if is_integer(devices) and is_integer(shards) and devices > 0 and shards % devices:
        rule = f"must be a multiple of devices={devices}, which have equally many each"
        problems.append(Problem("shards", shown(shards), rule))
    if devices != 1 and (device == "mps" or device.startswith("cuda:")):
        rule = f"is one device, and devices={shown(devices)}"
        problems.append(Problem("device", device, rule, "use device=cuda or device=cpu"))
    return problems


def shared_run_problems(devices: Any, shards: Any) -> list[Problem]:
    """Returns why a job of a sweep cannot be trained by several processes, or in shards."""
    rule = "is for a single run; the jobs of a sweep are trained side by side, in sweep.processes processes"
    given = {"devices": devices} if devices != 1 else {"shards": shards} if shards is not None else {}
    return [Problem(key, shown(value), rule, "leave it out") for key, value in given.items()]


def problems_of(settings: Mapping[str, Any], classes: int | None = None) -> list[Problem]:
    """Returns all conflicts between settings.

    classes: the data set's number of classes; None before the data are read, when it is derived from the settings.
    """
    classes = classes_of(settings) if classes is None else classes
    problems = dataset_problems(settings, classes) + optimizer_problems(settings) + sharing_problems(settings)
    problems += image_problems(settings)
    problems += monitor_problems(settings, "monitor", settings["monitor"], classes=classes)
    stop_on = settings["early_stopping"].get("metric")
    if stop_on != settings["monitor"]:
        problems += monitor_problems(settings, "early_stopping.metric", stop_on, classes=classes)
    if classes == VALUES and settings.get("metrics"):
        hint = "leave it out; values have mae and r2"
        problems.append(Problem("metrics", shown(settings["metrics"]), "is for classes", hint))
    halving = settings["sweep"].get("halving")
    if isinstance(halving, Mapping):
        problems += monitor_problems(settings, "sweep.halving.metric", halving.get("metric"), classes=classes)
    problems += population_problems(settings, classes)
    if classes is None:
        return problems
    return problems + (loss_problems(settings, classes) or weight_problems(settings, classes))
