"""Which epoch is best and when to stop, against a loop over the values of one run."""

import math

import numpy as np
import pytest

from ch12cli.training.stopping import Best, EarlyStopping

EPOCHS, RUNS = 40, 6


def histories(*, minimise: bool) -> np.ndarray:
    """(epochs, runs): metrics that improve, waver, stall, and once are no number."""
    random = np.random.RandomState(4)
    fall = np.exp(-np.arange(EPOCHS)[:, None] / random.uniform(2, 12, RUNS))
    values = np.round(fall + 0.05 * random.normal(size=(EPOCHS, RUNS)), 2)
    values[7, 2] = np.nan
    values[11:, 5] = values[11, 5]
    return values if minimise else -values


def best_by_hand(values: list[float], *, minimise: bool) -> tuple[float, int]:
    """The best value and its first epoch, from 1."""
    sound = [value for value in values if not math.isnan(value)]
    best = min(sound) if minimise else max(sound)
    return best, values.index(best) + 1


def stop_by_hand(values: list[float], *, minimise: bool, patience: float, min_delta: float) -> int | None:
    """The epoch, from 1, after which training ends; None if it does not."""
    best, waited = None, 0
    for epoch, value in enumerate(values, start=1):
        gain = 0.0 if best is None else (best - value if minimise else value - best)
        if not math.isnan(value) and (best is None or gain > min_delta):
            best, waited = value, 0
        else:
            waited += 1
        if waited >= patience:
            return epoch
    return None


@pytest.mark.parametrize("minimise", [True, False])
def test_the_best_epoch_is_the_first_with_the_best_value(minimise: bool) -> None:
    values = histories(minimise=minimise)
    best = Best(RUNS, minimise=minimise)
    for epoch in range(1, EPOCHS + 1):
        better = best.observe(values[epoch - 1], epoch)
        for run in range(RUNS):
            value, first = best_by_hand(values[:epoch, run].tolist(), minimise=minimise)
            assert (best.value[run], best.epoch[run]) == (value, first)
            assert better[run] == (first == epoch)


@pytest.mark.parametrize("minimise", [True, False])
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (3, 0.0), (3, 0.05), (8, 0.01)])
def test_training_ends_at_the_epoch_of_a_plain_loop(minimise: bool, patience: int, min_delta: float) -> None:
    values = histories(minimise=minimise)
    stopping = EarlyStopping(RUNS, minimise=minimise, patience=patience, min_delta=min_delta)
    first: dict[int, int] = {}
    for epoch in range(1, EPOCHS + 1):
        for run in np.flatnonzero(stopping.observe(values[epoch - 1])):
            first.setdefault(int(run), epoch)
    for number in range(RUNS):
        by_hand = stop_by_hand(values[:, number].tolist(), minimise=minimise, patience=patience, min_delta=min_delta)
        assert first.get(number) == by_hand


def test_each_run_has_its_own_patience_which_may_be_infinite() -> None:
    stopping = EarlyStopping(3, minimise=True, patience=np.array([1.0, np.nan, 3.0]), min_delta=np.zeros(3))
    stopped = [stopping.observe(np.ones(3)).tolist() for _ in range(5)]
    assert [row[0] for row in stopped] == [False, True, True, True, True]
    assert [row[1] for row in stopped] == [False] * 5
    assert [row[2] for row in stopped] == [False, False, False, True, True]
    never = EarlyStopping(1, minimise=True)
    assert not any(never.observe(np.array([1.0]))[0] for _ in range(1000))


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_restored_state_continues_and_rows_can_be_selected(cut: int) -> None:
    values = histories(minimise=True)
    whole = Best(RUNS, minimise=True), EarlyStopping(RUNS, minimise=True, patience=3)
    first = Best(RUNS, minimise=True), EarlyStopping(RUNS, minimise=True, patience=3)
    for epoch in range(cut):
        for best, stopping in (whole, first):
            best.observe(values[epoch], epoch + 1)
            stopping.observe(values[epoch])
    rows = np.array([4, 0, 5])
    second = Best(RUNS, minimise=True), EarlyStopping(RUNS, minimise=True, patience=3)
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    second[0].keep(rows)
    second[1].keep(rows)
    for epoch in range(cut, EPOCHS):
        assert np.array_equal(whole[1].observe(values[epoch])[rows], second[1].observe(values[epoch, rows]))
        assert np.array_equal(
            whole[0].observe(values[epoch], epoch + 1)[rows], second[0].observe(values[epoch, rows], epoch + 1)
        )
    assert np.array_equal(whole[0].epoch[rows], second[0].epoch)


@pytest.mark.parametrize("minimise", [True, False])
def test_several_epochs_are_observed_as_one_by_one(minimise: bool) -> None:
    random = np.random.default_rng(5)
    for drawn in range(200):
        runs, values = int(random.integers(1, 5)), [0.0, 0.5, 1.0, 1.5, np.nan, np.inf, -np.inf]
        metric = random.choice(values, (30, runs), p=[0.2, 0.2, 0.2, 0.1, 0.25, 0.025, 0.025])
        patience = random.choice([1.0, 3.0, 8.0, np.nan], runs)
        min_delta = random.choice([0.0, 0.0, 0.5], runs) if drawn % 2 else 0.0
        (one, best), (other, other_best) = (
            (
                EarlyStopping(runs, minimise=minimise, patience=patience, min_delta=min_delta),
                Best(runs, minimise=minimise),
            )
            for _ in range(2)
        )
        first = 1
        for piece in np.split(metric, np.sort(random.choice(np.arange(1, 30), 4, replace=False))):
            expected = [one.observe(of_epoch) for of_epoch in piece]
            better = [best.observe(of_epoch, first + index) for index, of_epoch in enumerate(piece)]
            assert np.array_equal(other.observe_epochs(piece), expected)
            assert np.array_equal(other_best.observe_epochs(piece, first), better)
            assert other.state_dict() == one.state_dict()
            assert other_best.state_dict() == best.state_dict()
            first += len(piece)
