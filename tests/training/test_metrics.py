"""Metrics against numbers computed by hand, with numpy and scikit-learn; a stack's against each run's."""

import warnings
from typing import Literal

import numpy as np
import pytest
import torch
from sklearn import metrics as scikit_learn

from ch12cli.config.schema import FURTHER_METRICS
from ch12cli.training.metrics import (
    accuracy,
    binary_accuracy,
    largest_class,
    mean_absolute_error,
    metrics_for,
    probabilities,
    r_squared,
)


def test_accuracy_is_the_share_of_rows_whose_largest_output_is_the_class() -> None:
    prediction = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9], [0.9, 0.0, 0.1]])
    assert accuracy(prediction, torch.tensor([1, 0, 1, 0])).item() == 0.75


@pytest.mark.parametrize("odd", [0.0, torch.nan, torch.inf, -torch.inf])
def test_the_largest_class_is_what_argmax_gives_whatever_the_layout(odd: float) -> None:
    draw = torch.Generator().manual_seed(1)
    for shape in ((3,), (5, 2), (7, 11, 4), (50, 9, 3)):
        prediction = torch.randint(-2, 3, shape, generator=draw).float()
        prediction[torch.rand(shape, generator=draw) < 0.1] = odd
        runs_last = prediction.permute(*range(1, len(shape)), 0).contiguous().permute(-1, *range(len(shape) - 1))
        for laid in (prediction, runs_last):
            assert torch.equal(largest_class(laid).long(), prediction.argmax(-1))


@pytest.mark.parametrize(("side", "expected"), [("half", 3 / 4), ("positive", 1 / 2)])
def test_two_classes_are_divided_at_a_bound(side: Literal["half", "positive"], expected: float) -> None:
    prediction = torch.tensor([[0.9], [0.2], [0.5], [-0.3]])
    target = torch.tensor([[1.0], [1.0], [1.0], [0.0]])  # 0.5: right, wrong, right (at least), right
    if side == "positive":
        target = torch.tensor([[1.0], [0.0], [0.0], [0.0]])  # logits: right, wrong, wrong, right
    assert binary_accuracy(side)(prediction, target).item() == expected


def test_mean_absolute_error_by_hand() -> None:
    prediction, target = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[2.0], [2.0], [3.0]])
    assert mean_absolute_error(prediction, target).item() == 1.0


def test_r_squared_is_one_minus_the_share_of_variance_that_is_left() -> None:
    random = np.random.RandomState(3)
    target = random.normal(size=(20, 1))
    prediction = target + 0.3 * random.normal(size=(20, 1))
    expected = 1 - ((target - prediction) ** 2).sum() / ((target - target.mean()) ** 2).sum()
    assert r_squared(torch.tensor(prediction), torch.tensor(target)).item() == pytest.approx(expected, rel=1e-12)
    assert r_squared(torch.tensor(target), torch.tensor(target)).item() == 1.0
    mean = torch.full((20, 1), float(target.mean()), dtype=torch.float64)
    assert r_squared(mean, torch.tensor(target)).item() == pytest.approx(0.0, abs=1e-12)


def test_r_squared_of_equal_targets_is_nan() -> None:
    assert torch.isnan(r_squared(torch.ones(4, 1), torch.full((4, 1), 2.0)))


def test_float32_sums_are_taken_in_double_precision() -> None:
    target = torch.full((3_000_000, 1), 0.1)
    assert mean_absolute_error(torch.zeros_like(target), target).item() == pytest.approx(0.1, rel=1e-7)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"classes": 0, "outputs": 1, "output": "none"}, ["mae", "r2"]),
        ({"classes": 2, "outputs": 1, "output": "sigmoid"}, ["accuracy", *FURTHER_METRICS]),
        ({"classes": 2, "outputs": 1, "output": "none"}, ["accuracy", *FURTHER_METRICS]),
        ({"classes": 2, "outputs": 2, "output": "none"}, ["accuracy", *FURTHER_METRICS]),
        ({"classes": 3, "outputs": 3, "output": "log_softmax"}, ["accuracy", *FURTHER_METRICS]),
    ],
)
def test_a_stacks_metrics_equal_those_of_each_run(arguments: dict[str, int | str], names: list[str]) -> None:
    metrics = metrics_for(**arguments, further=FURTHER_METRICS)  # type: ignore[arg-type]
    assert list(metrics) == names
    generator = torch.Generator().manual_seed(1)
    outputs = int(arguments["outputs"])
    prediction = torch.randn(4, 23, outputs, generator=generator)
    shape = (4, 23) if outputs > 1 else (4, 23, 1)
    classes = int(arguments["classes"])
    target = torch.randint(classes, shape, generator=generator) if classes else torch.randn(shape, generator=generator)
    for metric in metrics.values():
        together = metric(prediction, target)
        assert together.shape == (4,)
        assert len(set(together.tolist())) > 1
        for run in range(4):
            assert together[run] == metric(prediction[run], target[run])


def test_the_threshold_is_zero_for_logits_and_a_half_for_probabilities() -> None:
    prediction, target = torch.tensor([[0.2]]), torch.tensor([[1.0]])
    assert metrics_for(classes=2, outputs=1, output="none")["accuracy"](prediction, target) == 1
    assert metrics_for(classes=2, outputs=1, output="sigmoid")["accuracy"](prediction, target) == 0


def by_scikit_learn(name: str, target: np.ndarray, shares: np.ndarray) -> float:
    """scikit-learn's figure. target: (rows,) class numbers; shares: (rows, classes), the probabilities."""
    classes = shares.shape[1]
    found = shares[:, 1] >= 0.5 if classes == 2 else shares.argmax(1)
    if name == "balanced_accuracy":
        return float(scikit_learn.balanced_accuracy_score(target, found))
    if name == "f1":
        return float(scikit_learn.f1_score(target, found, average="binary" if classes == 2 else "macro"))
    if classes == 2:
        return float(scikit_learn.roc_auc_score(target, shares[:, 1]))
    return float(scikit_learn.roc_auc_score(target, shares, multi_class="ovr", average="macro"))


@pytest.mark.parametrize(
    ("classes", "outputs", "output"),
    [(2, 1, "sigmoid"), (2, 1, "none"), (2, 2, "none"), (2, 2, "log_softmax"), (3, 3, "softmax"), (7, 7, "none")],
)
def test_balanced_accuracy_f1_and_auc_are_those_of_scikit_learn(classes: int, outputs: int, output: str) -> None:
    generator = torch.Generator().manual_seed(classes)
    metrics = metrics_for(classes=classes, outputs=outputs, output=output, further=FURTHER_METRICS)
    for rows in (20, 21, 300):
        target = torch.randint(classes, (rows,), generator=generator)
        target[:classes] = torch.arange(classes)  # scikit-learn's AUC needs a row of each class
        raw = torch.randn(rows, outputs, generator=generator).mul_(4).round_().div_(4).add_(0.1)  # many equal scores
        raw[:, 0].add_(0.01)  # no row is halfway between classes
        activate = {"sigmoid": torch.sigmoid, "softmax": lambda x: torch.softmax(x, 1)}
        activate["log_softmax"] = lambda x: torch.log_softmax(x, 1)
        prediction = activate.get(output, lambda x: x)(raw)
        given = target.float().unsqueeze(1) if outputs == 1 else target
        shares = probabilities(prediction, output=output).numpy()
        for name in FURTHER_METRICS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = by_scikit_learn(name, target.numpy(), shares)
            assert metrics[name](prediction, given).item() == pytest.approx(expected, rel=1e-14), name


def test_a_class_without_rows_is_left_out_of_the_mean_over_classes() -> None:
    metrics = metrics_for(classes=4, outputs=4, output="softmax", further=FURTHER_METRICS)
    shares = torch.tensor([[0.7, 0.1, 0.2, 0.0], [0.2, 0.7, 0.1, 0.0], [0.6, 0.3, 0.1, 0.0], [0.1, 0.8, 0.1, 0.0]])
    target = torch.tensor([0, 1, 1, 0])
    assert metrics["balanced_accuracy"](shares, target).item() == 1 / 2
    assert metrics["f1"](shares, target).item() == 1 / 2
    assert metrics["auc"](shares, target).item() == pytest.approx((2 / 4 + 2 / 4) / 2)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_metric_of_one_class_alone_is_nan_where_it_means_nothing(outputs: int) -> None:
    metrics = metrics_for(classes=2, outputs=outputs, output="none", further=FURTHER_METRICS)
    prediction = torch.tensor([[1.0, -1.0], [2.0, -2.0]])[:, outputs - 2 :]  # the first class
    none = torch.zeros(2, 1) if outputs == 1 else torch.zeros(2, dtype=torch.int64)
    assert metrics["balanced_accuracy"](prediction, none).item() == 1.0
    assert np.isnan(metrics["f1"](prediction, none).item())
    assert np.isnan(metrics["auc"](prediction, none).item())
    assert metrics["f1"](prediction, 1 - none).item() == 0.0
