"""Several epochs at a time: the bits of the epochs trained one by one, whenever runs end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ch12cli.fused import compiler, epochs
from ch12cli.fused.stack_training import FIRST_COUNT, WITHIN, AtOnce
from tests.sweeps.driver import CPU, one_thread, settings_of, stack_of

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")

EPOCHS = 40
CASES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"precision": "float64"}, {"optimizer": "rmsprop", "scheduler": "cosine"}),
    ({"model.dropout": 0.3}, {"optimizer": "adagrad"}),
    ({"batch_size": 7}, {"dataset": "two_class", "optimizer": "sgd"}),
    ({"dataset.target_scaling": "standard"}, {"dataset": "toy_regression", "scheduler": "reduce_on_plateau"}),
    ({"batch_size": 3}, {"dataset": "toy_regression", "optimizer": "adamw", "loss": "huber"}),
]


def train(
    settings: Sequence[Mapping[str, Any]], *, most: int, device: torch.device = CPU
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any], list[int]]:
    """Trains a stack, at most so many epochs at a time. Returns its columns, (epochs, runs), its state, and the counts.

    A run that diverges or stops does not count from then on: its values are NaN.
    """
    together = stack_of(settings, device)
    training, running = together.training, np.ones(len(settings), dtype=bool)
    trained, counts = [], []
    while training.epoch < EPOCHS and running.any():
        before = {**training.state_dict(), "step": together.network.masks.step}
        found = training.next_epochs(min(most, EPOCHS - training.epoch), running, before)
        counts.append(len(found))
        for epoch in found:
            ended = running & ((epoch.diverged_at > 0) | epoch.stopped)
            assert epoch is found[-1] or not ended.any()
            kept = running & (epoch.diverged_at == 0)
            trained.append({name: np.where(kept, values, np.nan) for name, values in epoch.columns.items()})
            running &= ~ended
    columns = {name: np.array([epoch[name] for epoch in trained]) for name in trained[0] if name != "seconds"}
    return columns, {**training.state_dict(), "step": together.network.masks.step}, counts


def require_same_bits(one: Any, other: Any) -> None:
    if isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for name in one:
            require_same_bits(one[name], other[name])
    elif isinstance(one, torch.Tensor | np.ndarray):
        torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), rtol=0, atol=0, equal_nan=True)
    else:
        assert one == other


@pytest.mark.parametrize("runs", [1, 3, 20, 33])
@pytest.mark.parametrize(("values", "choices"), CASES)
def test_epochs_at_once_have_the_bits_of_epochs_one_by_one(
    values: dict[str, Any], choices: dict[str, str], runs: int
) -> None:
    common = values | {"epochs": EPOCHS, "sweep.fused": True}
    settings = [settings_of(common | {"seed": seed}, **choices) for seed in range(runs)]
    with one_thread():
        columns, state, counts = train(settings, most=EPOCHS)
        expected, expected_state, _ = train(settings, most=1)
    assert max(counts) > 1 or choices.get("scheduler") == "reduce_on_plateau"
    require_same_bits(columns, expected)
    require_same_bits(state, expected_state)


FOLDS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"optimizer": "adam"}),  # whose rights are counted
    ({"batch_size": 3}, {"dataset": "toy_regression"}),  # whose predictions are measured
]


@pytest.mark.parametrize(("values", "choices"), FOLDS)
def test_each_run_is_validated_on_its_own_fold(values: dict[str, Any], choices: dict[str, str]) -> None:
    common = values | {"epochs": EPOCHS, "dataset.folds": 5, "dataset.test_size": 0, "early_stopping.patience": 30}
    folds = [4, 0, 3, 3, 1, 2, 0]
    settings = [settings_of(common | {"seed": 7, "dataset.fold": fold}, **choices) for fold in folds]
    found = []
    with one_thread():
        for fused, most in ((True, EPOCHS), (True, 1), (False, 1)):
            stack = [one | {"sweep": one["sweep"] | {"fused": fused}} for one in settings]
            columns, _, counts = train(stack, most=most)
            found.append(columns)
            assert max(counts) > 1 or most == 1
    require_same_bits(found[0], found[1])
    for name, expected in found[2].items():
        np.testing.assert_allclose(found[0][name][:3], expected[:3], rtol=1e-3, atol=1e-6)
    validated = found[0]["valid_loss"][0]
    assert len(set(validated.tolist())) == 5  # runs of one fold and seed are equal
    assert validated[1] == validated[6]
    assert validated[2] == validated[3]


def test_the_runs_that_are_left_keep_their_folds() -> None:
    common = {"epochs": EPOCHS, "dataset.folds": 3, "sweep.fused": True}
    settings = [settings_of(common | {"seed": run, "dataset.fold": run % 3}) for run in range(6)]
    with one_thread():
        whole, fewer = stack_of(settings).go(1), stack_of(settings).go(1)
        kept = np.array([1, 2, 5])
        fewer.training.keep(kept)
        one, other = whole.training.one_epoch(), fewer.training.one_epoch()
    for name in ("valid_loss", "valid_accuracy"):
        np.testing.assert_array_equal(one.columns[name][kept], other.columns[name])


@pytest.mark.parametrize("batch_size", [7, 10, 1000])
@pytest.mark.parametrize(("values", "choices"), CASES[:5])
def test_an_epoch_in_several_calls_has_the_bits_of_one_call(
    values: dict[str, Any], choices: dict[str, str], batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {**values, "epochs": EPOCHS, "sweep.fused": True, "batch_size": batch_size}
    settings = [settings_of(common | {"seed": seed}, **choices) for seed in range(19)]
    found = []
    for seconds in (1e6, 0.0, 2e-5):  # an epoch, a step, and some steps in each call
        monkeypatch.setattr(epochs, "SECONDS_OF_CALL", seconds)
        with one_thread():
            found.append(train(settings, most=1)[:2])
    require_same_bits(dict(enumerate(found[1])), dict(enumerate(found[0])))
    require_same_bits(dict(enumerate(found[2])), dict(enumerate(found[0])))


def cost_of_epoch(chance: float, costs: float, count: int | None) -> float:
    """What an epoch costs, in those of its own steps, if each time costs as many epochs more.

    chance: that a run ends in an epoch. count: epochs at once; None: as AtOnce chooses.
    """
    ends = np.random.default_rng(3).geometric(chance, 10_000).tolist()
    chosen, seconds, spent, done, to_end = AtOnce(), WITHIN / costs, 0.0, 0, ends.pop()
    while done < 5000:
        trained = min(count or chosen.count, 64)
        spent += trained + costs
        if to_end < trained:
            trained = to_end
            spent += trained + costs
        done, to_end = done + trained, to_end - trained
        chosen.observe(trained, trained * seconds, between=None, has_end=to_end == 0)
        to_end = to_end or ends.pop()
    return spent / done


@pytest.mark.parametrize("chance", [0.001, 0.01, 0.1, 0.4])
@pytest.mark.parametrize("costs", [0.01, 0.1, 0.5, 3.0])
def test_as_many_epochs_are_trained_at_once_as_costs_least(chance: float, costs: float) -> None:
    least = min(cost_of_epoch(chance, costs, count) for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))
    assert cost_of_epoch(chance, costs, None) < 1.2 * least


def test_epochs_at_once_take_no_longer_than_a_signal_may_wait() -> None:
    chosen = AtOnce()
    for _ in range(100):
        chosen.observe(1, 0.05, between=10.0, has_end=False)
    assert chosen.count * 0.05 <= epochs.SECONDS_OF_CALL


def test_runs_that_stop_or_diverge_end_in_the_last_of_the_epochs_trained_at_once() -> None:
    common = {"epochs": EPOCHS, "sweep.fused": True, "dataset.scaling": "none"}
    patience = [2, 3, 5, 9, None, None]
    lrs = [0.1, 0.1, 0.2, 0.01, 1e6, 0.01]
    settings = [
        settings_of(common | {"seed": 3, "early_stopping.patience": wait, "optimizer.lr": lr}, optimizer="sgd")
        for wait, lr in zip(patience, lrs, strict=True)
    ]
    with one_thread():
        columns, _, counts = train(settings, most=EPOCHS)
        expected, _, _ = train(settings, most=1)
    lengths = (~np.isnan(expected["train_loss"])).sum(0)
    assert len(set(lengths.tolist())) > 2  # runs end after different epochs, and the last one not at all
    assert lengths[-1] == EPOCHS
    assert min(counts) < FIRST_COUNT  # a run ended, so that fewer epochs were trained again
    assert max(counts) > 1
    require_same_bits(columns, expected)
