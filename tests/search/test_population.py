"""Population-based training: who goes on from whom, the numbers then, and the record of it."""

import math

import numpy as np
import pytest

from ch12cli.config.run_settings import NumberRange, PopulationSettings
from ch12cli.search.population import Lineages, Population

LR, DECAY = "optimizer.lr", "optimizer.weight_decay"
RANGES = {LR: NumberRange(1e-4, 0.1, log=True), DECAY: NumberRange(0.1, 0.9)}
NUMBERS = {LR: np.geomspace(1e-4, 0.1, 10), DECAY: np.linspace(0.1, 0.9, 10)}
EVERYONE = np.ones(10, bool)


def population(
    metric: str = "valid_loss", *, quantile: float = 0.2, resample: float = 0.0, seed: int = 1
) -> Population:
    return Population(PopulationSettings(metric, 5, RANGES, quantile=quantile, resample=resample, seed=seed))


def test_the_worst_runs_go_on_from_the_best_by_the_direction_of_the_metric() -> None:
    values = np.array([5.0, 3.0, 9.0, 1.0, 7.0, 2.0, 8.0, 4.0, 6.0, 0.0])
    for metric, best, worst in (("valid_loss", {9, 3}, {2, 6}), ("valid_accuracy", {2, 6}, {9, 3})):
        copies = population(metric).copies(5, values, EVERYONE, NUMBERS)
        assert set(copies.target.tolist()) == worst
        assert set(copies.source.tolist()) <= best


def test_ended_runs_take_no_part_and_runs_without_a_value_are_the_worst() -> None:
    values = np.array([math.nan, 3.0, 9.0, 1.0, 7.0, 2.0, 8.0, 4.0, 6.0, 0.0])
    running = np.array([True] * 8 + [False] * 2)
    copies = population().copies(5, values, running, NUMBERS)
    assert set(copies.target.tolist()) == {0, 2}
    assert set(copies.source.tolist()) <= {3, 5}


@pytest.mark.parametrize(
    ("runs", "quantile", "expected"), [(10, 0.01, 1), (10, 0.5, 5), (3, 0.5, 1), (1, 0.5, 0), (0, 0.2, 0)]
)
def test_no_run_is_both_better_and_worse(runs: int, quantile: float, expected: int) -> None:
    copies = population(quantile=quantile).copies(5, np.arange(10.0), np.arange(10) < runs, NUMBERS)
    assert len(copies.target) == expected
    assert not set(copies.source.tolist()) & set(copies.target.tolist())


def test_numbers_are_multiplied_by_a_factor_or_drawn_anew_and_never_leave_their_bounds() -> None:
    values = np.arange(10.0)
    for seed in range(50):
        copies = population(quantile=0.5, seed=seed).copies(5, values, EVERYONE, NUMBERS)
        for source, target in zip(copies.source, copies.target, strict=True):
            for key, bounds in RANGES.items():
                allowed = [min(bounds.high, max(bounds.low, NUMBERS[key][source] * factor)) for factor in (0.8, 1.2)]
                assert any(copies.numbers[key][target] == pytest.approx(each, rel=1e-2) for each in allowed)
        drawn = population(quantile=0.5, resample=1.0, seed=seed).copies(5, values, EVERYONE, NUMBERS)
        for key, bounds in RANGES.items():
            for found in (copies.numbers[key], drawn.numbers[key]):
                assert ((bounds.low <= found) & (found <= bounds.high)).all()
                assert (found[:5] == NUMBERS[key][:5]).all()  # those of the better half


def test_a_decision_follows_from_its_seed_and_epoch() -> None:
    values = np.random.default_rng(1).random(10)
    first, again = (population(quantile=0.5, resample=0.5).copies(5, values, EVERYONE, NUMBERS) for _ in range(2))
    later = population(quantile=0.5, resample=0.5).copies(10, values, EVERYONE, NUMBERS)
    assert first.numbers[LR].tolist() == again.numbers[LR].tolist() != later.numbers[LR].tolist()


def test_lines_follow_the_runs_that_others_went_on_from() -> None:
    numbers = {LR: np.array([0.01, 0.02, 0.03]), DECAY: np.array([0.1, 0.2, 0.3])}
    lines = Lineages([7, 8, 9], [1, 2, 3], numbers, [()] * 3)
    values = np.arange(12.0).reshape(3, 4)  # by run and epoch
    for epoch, worth in ((1, [1.0, 2.0, 3.0]), (3, [3.0, 2.0, 1.0])):  # 9 goes on from 7, then 7 from 9
        lines = lines.after(epoch, population().copies(epoch, np.array(worth), np.ones(3, bool), lines.numbers))
    first, second = lines.ancestry(0)
    assert (first["epoch"], first["job"], first["before"]) == (1, 7, {LR: 0.01, DECAY: 0.1, "seed": 1})
    assert (second["epoch"], second["job"], second["before"]) == (3, 9, first["changes"])
    assert second["changes"] == {**lines.changes(0), "seed": 1}
    assert lines.ancestry(1) == [] == list(lines.changes(1))
    assert lines.rows(values, [0, 1, 2]).tolist() == [[0, 9, 10, 3], [4, 5, 6, 7], [0, 9, 10, 11]]
    assert lines.restored(lines.to_json()).ancestry(0) == lines.ancestry(0)
