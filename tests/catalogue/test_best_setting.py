"""The best setting of a sweep: its mean over seeds, and the paired comparison with the second."""

import math
from collections.abc import Sequence

import pytest

from ch12cli.catalogue.best_setting import best_setting, describe_best, paired_advantage
from ch12cli.files.sweep_csv import SweepRow


def rows(values: dict[str, Sequence[float]], *, monitor: str = "valid_loss") -> list[SweepRow]:
    """A row for each learning rate and seed."""
    cells = [(lr, seed, value) for lr, of_lr in values.items() for seed, value in enumerate(of_lr)]
    return [
        SweepRow(
            job=job,
            directory=str(job),
            status="finished" if math.isfinite(value) else "diverged",
            overrides={"optimizer.lr": lr, "seed": str(seed)},
            monitor=monitor,
            objective=value if math.isfinite(value) else None,
        )
        for job, (lr, seed, value) in enumerate(cells)
    ]


def test_the_best_setting_has_the_best_mean_over_its_seeds() -> None:
    best = best_setting(rows({"0.1": [0.5, 0.1, 0.6], "0.2": [0.3, 0.4, 0.2], "0.3": [0.9, 0.9, 0.9]}), "valid_loss")
    assert best is not None
    assert (best.values, best.runs, best.settings) == ({"optimizer.lr": "0.2"}, 3, 3)
    assert best.mean == pytest.approx(0.3)
    assert best.job == 5
    highest = best_setting(rows({"0.1": [0.5, 0.6], "0.2": [0.3, 0.4]}, monitor="valid_accuracy"), "valid_accuracy")
    assert highest is not None
    assert highest.values == {"optimizer.lr": "0.1"}
    assert highest.advantage is not None
    assert list(highest.advantage) == pytest.approx([0.2, 0, 2])


def test_pairs_of_common_seeds_tell_settings_apart_that_single_intervals_do_not() -> None:
    noise = [0.0, 1.0, 2.0, 3.0, 4.0]  # of the seeds, which both settings share
    shared = rows({"0.1": noise, "0.2": [each + 0.1 + 0.01 * index for index, each in enumerate(noise)]})
    best = best_setting(shared, "valid_loss")
    assert best is not None
    assert best.is_distinguishable
    # mean 0.12; deviation sqrt(0.001/4); Student's t of 4 degrees 2.7764
    assert best.advantage is not None
    assert list(best.advantage) == pytest.approx([0.12, 2.7764 * math.sqrt(0.00025 / 5), 5], rel=1e-4)
    assert best.half_width > 1
    unclear = best_setting(rows({"0.1": noise, "0.2": [0.2, 1.1, 1.9, 3.3, 3.9]}), "valid_loss")
    assert unclear is not None
    assert unclear.is_distinguishable is False


def test_a_setting_with_a_diverged_run_is_not_the_best() -> None:
    best = best_setting(rows({"0.1": [0.1, math.inf], "0.2": [0.3, 0.4]}), "valid_loss")
    assert best is not None
    assert best.values == {"optimizer.lr": "0.2"}
    assert best_setting(rows({"0.1": [math.inf]}), "valid_loss") is None


def test_runs_without_common_seeds_are_not_compared() -> None:
    one, other = rows({"0.1": [0.1, 0.2]}), rows({"0.2": [0.1]})
    keys = ["optimizer.lr", "seed"]
    assert paired_advantage([*one, *other], keys, {"optimizer.lr": "0.1"}, {"optimizer.lr": "0.2"}) is None


def test_a_best_setting_of_single_runs_says_how_to_be_surer() -> None:
    best = best_setting(rows({"0.1": [0.5], "0.2": [0.25]}), "valid_loss")
    assert best is not None
    assert describe_best(best, sweep="s") == [
        "best of 2 settings: optimizer.lr=0.2",
        "valid loss 0.2500",
        "one run alone may be lucky: ch12 train --best-of s 'seed=range(20)' trains it with more seeds",
    ]
