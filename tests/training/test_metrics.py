"""Metrics against numbers computed by hand and with numpy; a stack's against each run's."""

import numpy as np
import pytest
import torch

from ch12cli.training.metrics import accuracy, binary_accuracy, mean_absolute_error, metrics_for, r_squared


def test_accuracy_is_the_share_of_rows_whose_largest_output_is_the_class() -> None:
    prediction = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9], [0.9, 0.0, 0.1]])
    assert accuracy(prediction, torch.tensor([1, 0, 1, 0])).item() == 0.75


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 3 / 4), (0.0, 1 / 2)])
def test_two_classes_are_divided_at_the_threshold(threshold: float, expected: float) -> None:
    prediction = torch.tensor([[0.9], [0.2], [0.5], [-0.3]])
    target = torch.tensor([[1.0], [1.0], [1.0], [0.0]])  # 0.5: right, wrong, right (at least), right
    if threshold == 0.0:
        target = torch.tensor([[1.0], [0.0], [0.0], [0.0]])  # logits: right, wrong, wrong, right
    assert binary_accuracy(threshold)(prediction, target).item() == expected


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
        ({"classes": 0, "outputs": 1, "logits": False}, ["mae", "r2"]),
        ({"classes": 2, "outputs": 1, "logits": False}, ["accuracy"]),
        ({"classes": 2, "outputs": 1, "logits": True}, ["accuracy"]),
        ({"classes": 3, "outputs": 3, "logits": True}, ["accuracy"]),
    ],
)
def test_a_stacks_metrics_equal_those_of_each_run(arguments: dict[str, int | bool], names: list[str]) -> None:
    metrics = metrics_for(**arguments)  # type: ignore[arg-type]
    assert list(metrics) == names
    generator = torch.Generator().manual_seed(1)
    outputs = int(arguments["outputs"])
    prediction = torch.randn(4, 9, outputs, generator=generator)
    shape = (4, 9) if outputs > 1 else (4, 9, 1)
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
    assert metrics_for(classes=2, outputs=1, logits=True)["accuracy"](prediction, target) == 1
    assert metrics_for(classes=2, outputs=1, logits=False)["accuracy"](prediction, target) == 0
