"""The best setting of a sweep: its mean over seeds, and the paired comparison with the second."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ch12cli.catalogue.best_setting import best_setting, describe_best, paired_advantage
from ch12cli.catalogue.summary import varying
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned
from ch12cli.cli.main import main
from ch12cli.cli.text.sweep_report import styled_summary
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


def folds(lr: str, values: Sequence[float | None], *, first: int, **overrides: str) -> list[SweepRow]:
    """A row for each fold of a learning rate; None for a fold that was interrupted."""
    return [
        SweepRow(
            job=first + fold,
            directory=str(first + fold),
            status="interrupted" if value is None else "finished",
            overrides={"optimizer.lr": lr, "dataset.fold": str(fold), **overrides},
            monitor="valid_loss",
            objective=value,
        )
        for fold, value in enumerate(values)
    ]


def test_a_setting_with_missing_folds_does_not_compete_with_one_that_has_all() -> None:
    whole = folds("0.1", [0.2, 0.4, 0.9], first=0)  # the last fold is the hardest
    for easy in (folds("0.2", [0.3, 0.5, None], first=3), folds("0.2", [0.3, 0.5], first=3)):  # stopped, killed
        best = best_setting([*whole, *easy], "valid_loss")
        assert best is not None
        assert (best.values, best.jobs) == ({"optimizer.lr": "0.1"}, (0, 1, 2))
        assert describe_best(best)[:2] == [
            "best of 2 settings, 1 of them incomplete: optimizer.lr=0.1",
            "valid loss 0.5000 ± 0.8957 over 3 folds",  # deviation 0.3606, Student's t of 2 degrees 4.3027
        ]
    alone = best_setting(folds("0.2", [0.3, 0.5, None], first=3), "valid_loss")
    assert alone is not None
    assert alone.mean == pytest.approx(0.4)


def test_a_further_seed_without_all_folds_does_not_count_and_is_no_fault() -> None:
    others = folds("0.1", [0.2, 0.4, 0.9], first=0, seed="1")
    finalist = [
        *folds("0.2", [0.1, 0.3, 0.8], first=3, seed="1"),
        *folds("0.2", [0.0, None, None], first=6, seed="2"),
    ]
    best = best_setting([*others, *finalist], "valid_loss")
    assert best is not None
    assert (best.values, best.runs) == ({"optimizer.lr": "0.2"}, 3)
    assert best.mean == pytest.approx(0.4)
    assert (best.incomplete, best.jobs) == (0, (3, 4, 5))


def test_a_setting_with_missing_seeds_does_not_compete_and_one_with_more_does() -> None:
    full = rows({"0.1": [0.3, 0.4, 0.5], "0.2": [0.2, 0.2, 0.2], "0.3": [0.3, 0.2, 0.1, 0.2, 0.1]})
    stopped = [replace(row, status="interrupted", objective=None) if row.job == 5 else row for row in full]
    best = best_setting(stopped, "valid_loss")
    assert best is not None
    assert (best.values, best.runs, best.incomplete) == ({"optimizer.lr": "0.3"}, 5, 1)


def test_a_seed_counts_once() -> None:
    twice = rows({"0.1": [0.1, 0.1, 0.4], "0.2": [0.3, 0.3]})
    twice = [replace(row, overrides={**row.overrides, "seed": "1"}) if row.job == 0 else row for row in twice]
    best = best_setting(twice, "valid_loss")
    assert best is not None
    assert (best.runs, best.jobs) == (2, (0, 2))
    assert best.mean == pytest.approx(0.25)


def test_all_settings_are_counted_and_pruned_ones_named() -> None:
    found = [replace(row, left_at=1) if row.job else row for row in rows({"0.1": [0.5], "0.2": [0.7], "0.3": [0.9]})]
    best = best_setting(found, "valid_loss")
    assert best is not None
    assert describe_best(best)[0] == "best of 3 settings, 2 of them pruned: optimizer.lr=0.1"


def test_of_a_setting_whose_worse_seeds_halving_stopped_it_is_said_that_the_mean_leaves_them_out() -> None:
    found = rows({"0.1": [0.5, 0.7, 0.9, 0.8], "0.2": [0.7, 0.9, 0.9, 0.9]})
    found = [replace(row, left_at=1 if row.number("objective") > 0.7 else None) for row in found]
    best = best_setting(found, "valid_loss")
    assert best is not None
    lines = describe_best(best)
    assert lines[0] == "best of 2 settings: optimizer.lr=0.1"
    assert lines[1].endswith(" over 2 of 4 seeds")
    assert lines[2].startswith("halving stopped the other 2, the worse ones; ")
    whole = best_setting(rows({"0.1": [0.5, 0.7], "0.2": [0.7, 0.9]}), "valid_loss")
    assert whole is not None
    assert describe_best(whole)[1].endswith(" over 2 seeds")


def test_the_best_setting_is_the_first_row_of_the_table() -> None:
    lucky = rows({"0.1": [0.01], "0.2": [0.3, 0.4, 0.2], "0.3": [0.2, 0.5, 0.6], "0.4": [0.0, 0.1, math.inf]})
    best = best_setting(lucky, "valid_loss")
    table = styled_summary(lucky, varying(lucky), monitor="valid_loss", width=80, ascii_only=False)
    lines = [line.plain.split() for line in table]
    assert table[0].plain == "mean ± 95 % confidence interval over the seeds; a single run has none"
    assert [line[0] for line in lines[2:]] == ["0.2", "0.3", "0.1", "0.4"]
    assert [line[-2] for line in lines[1:]] == ["best", "3", "3", "1", "2/3"]
    assert best is not None
    assert best.values == {"optimizer.lr": "0.2"}


def test_the_seed_of_the_configuration_is_that_of_jobs_without_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "jobs.csv").write_text("optimizer.lr,seed\n0.01,\n0.01,1\n0.01,2\n0.02,1\n")
    words = ["dataset=toy_regression", "optimizer=sgd", "epochs=1", "device=cpu", "hydra.sweep.dir=twice"]
    assert main(["train", "--jobs", "jobs.csv", *words]) == 0
    at_the_end = capsys.readouterr().out
    found = read_rows_as_planned(folder / "twice")
    assert [row.overrides["seed"] for row in found] == ["1", "1", "2", "1"]
    assert main(["show", "twice"]) == 0
    for printed in (at_the_end, capsys.readouterr().out):
        counts = {line.split()[0]: line.split()[-2] for line in printed.splitlines() if line.startswith("0.0")}
        assert counts == {"0.01": "2", "0.02": "1"}
