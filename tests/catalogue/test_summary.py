"""The tables of a finished sweep, against figures worked out by hand, by the statistics module and by quadrature."""

import math
import random
import shlex
import statistics

import pytest

from ch12cli.catalogue.summary import Failure, failures, fold_seeds, t_quantile, varying
from ch12cli.files.sweep_csv import SweepRow

DIVERGED = (
    "the loss was no longer finite in epoch {}, step {}; "
    "try a smaller optimizer.lr, clip_grad_norm=1, or dataset.scaling=standard"
)


def make_row(job: int, status: str = "finished", objective: object = "", *, lines: str = "", **more: str) -> SweepRow:
    """A row of a sweep.csv; `lines` are the job's overrides."""
    command = shlex.join(["ch12", "train", *shlex.split(lines)])
    record = {"job": str(job), "status": status, "objective": str(objective), "command": command, **more}
    return SweepRow.from_record(record)


def within(t: float, degrees: int) -> float:
    """P(|T| < t) by Simpson's rule on the density of Student's t."""
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    steps = 4000
    h = t / steps
    heights = [scale * (1 + (h * i) ** 2 / degrees) ** (-(degrees + 1) / 2) for i in range(steps + 1)]
    return 2 * h / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2]))


@pytest.mark.parametrize(
    ("degrees", "printed"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (10, 2.228), (30, 2.042), (99, 1.984), (1000, 1.962)],
)
def test_quantiles_are_those_of_printed_tables(degrees: int, printed: float):
    assert t_quantile(degrees) == pytest.approx(printed, abs=5e-4)


def test_quantiles_of_one_and_two_degrees_have_closed_forms():
    assert t_quantile(1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
    assert t_quantile(2) == pytest.approx(0.95 / math.sqrt(2 * 0.975 * 0.025), rel=1e-12)
    assert t_quantile(2, confidence=0.99) == pytest.approx(0.99 / math.sqrt(2 * 0.995 * 0.005), rel=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 12, 57, 199, 200, 201, 202, 1000, 99_999])
def test_a_variable_stays_within_its_quantile_with_the_probability_that_was_asked_for(degrees: int):
    assert within(t_quantile(degrees), degrees) == pytest.approx(0.95, abs=1e-9)


def test_zero_degrees_of_freedom_have_no_quantile():
    with pytest.raises(ValueError, match="at least 1"):
        t_quantile(0)


def test_overrides_are_read_from_the_command_however_it_is_quoted():
    lines = ["optimizer.lr=1e-3", "model.hidden=[4, 8]", 'note=it\'s "so"', "+experiment=book/iris", "epochs=20", "x="]
    row = SweepRow.from_record({"job": "0", "epochs": "7", "command": shlex.join(["ch12", "train", *lines])})
    assert row.epochs == 7
    assert row.overrides == {
        "optimizer.lr": "1e-3",
        "model.hidden": "[4, 8]",
        "note": 'it\'s "so"',
        "experiment": "book/iris",
        "epochs": "20",
        "x": "",
    }
    assert SweepRow.from_record({"job": "0", "command": "ch12 train"}).overrides == {}


def test_a_key_varies_if_it_has_several_values_or_is_missing_in_a_job():
    rows = [
        make_row(0, lines="optimizer.lr=0.1 seed=0 epochs=5 optimizer=sgd"),
        make_row(1, lines="optimizer.lr=0.1 seed=1 epochs=5"),
    ]
    assert varying(rows) == ["seed", "optimizer"]
    assert varying(rows[:1]) == []
    assert varying([]) == []


def test_seeds_are_summarised_as_mean_and_interval():
    rows = [make_row(seed, objective=seed + 1, lines=f"optimizer.lr=0.1 seed={seed}") for seed in range(3)]
    rows += [make_row(3, objective=0.5, lines="optimizer.lr=0.2 seed=0")]
    first, second = fold_seeds(rows, varying(rows), ["objective"])  # the single run may be lucky: it is second
    assert (first.values, first.jobs, first.runs, first.best) == ({"optimizer.lr": "0.1"}, 3, 3, 0)
    assert first.mean == {"objective": 2.0}
    # 1, 2, 3: standard deviation 1, so t(2) / sqrt(3)
    assert first.half_width["objective"] == pytest.approx(4.302652729749464 / math.sqrt(3))
    assert (second.values, second.jobs, second.runs, second.best) == ({"optimizer.lr": "0.2"}, 1, 1, 3)
    assert second.mean == {"objective": 0.5}
    assert math.isnan(second.half_width["objective"])


def test_every_key_that_ends_with_seed_is_averaged_over():
    rows = [
        make_row(n, objective=n, lines=f"seed={n} dataset.split_seed={n % 2} model.width={4 + n % 2}") for n in range(4)
    ]
    assert [row.values for row in fold_seeds(rows, varying(rows))] == [{"model.width": "4"}, {"model.width": "5"}]


def test_a_sweep_over_seeds_only_has_one_row():
    rows = [make_row(seed, objective=seed, lines=f"seed={seed}") for seed in range(5)]
    (row,) = fold_seeds(rows, varying(rows))
    assert (row.values, row.runs, row.mean) == ({}, 5, {"objective": 2.0})


def test_intervals_of_random_values_agree_with_the_statistics_module():
    draw = random.Random(4)
    widths = [4, 8, 16]
    figures = {width: [draw.gauss(width, 2) for _ in range(2 + width)] for width in widths}
    rows = [
        make_row(
            len(widths) * place + n, objective=0.0, test_loss=repr(value), lines=f"model.width={width} seed={place}"
        )
        for n, width in enumerate(widths)
        for place, value in enumerate(figures[width])
    ]
    draw.shuffle(rows)
    folded = {int(row.values["model.width"]): row for row in fold_seeds(rows, varying(rows), ["test_loss"])}
    for width, values in figures.items():
        assert folded[width].mean["test_loss"] == pytest.approx(statistics.fmean(values), rel=1e-12)
        half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        assert folded[width].half_width["test_loss"] == pytest.approx(half, rel=1e-12)


def test_only_finished_runs_count_and_the_others_are_counted():
    rows = [
        make_row(0, objective=1.0, lines="optimizer.lr=1 seed=0"),
        make_row(1, objective=3.0, lines="optimizer.lr=1 seed=1"),
        make_row(2, "diverged", 0.001, lines="optimizer.lr=1 seed=2"),
        make_row(3, "failed", lines="optimizer.lr=1 seed=3"),
        make_row(4, "interrupted", lines="optimizer.lr=1 seed=4"),
        make_row(5, "diverged", lines="optimizer.lr=9 seed=0"),
        make_row(6, "diverged", lines="optimizer.lr=9 seed=1"),
    ]
    sound, broken = fold_seeds(rows, varying(rows))
    assert (sound.jobs, sound.runs, sound.diverged, sound.failed, sound.best) == (5, 2, 1, 1, 0)
    assert sound.mean["objective"] == 2.0
    assert (broken.jobs, broken.runs, broken.diverged, broken.best) == (2, 0, 2, None)
    assert math.isnan(broken.mean["objective"])


def test_the_best_is_first_for_minimised_and_maximised_objectives():
    rows = [make_row(n, objective=value, lines=f"x={n}") for n, value in enumerate([0.5, 0.9, "", 0.1, "nan", "inf"])]
    assert [row.best for row in fold_seeds(rows, varying(rows))] == [3, 0, 1, None, None, None]
    assert [row.best for row in fold_seeds(rows, varying(rows), minimise=False)] == [1, 0, 3, None, None, None]
    rows = [make_row(n, objective=value, lines=f"seed={n}") for n, value in enumerate([0.5, 0.9, 0.1])]
    assert fold_seeds(rows, varying(rows))[0].best == 2
    assert fold_seeds(rows, varying(rows), minimise=False)[0].best == 1


def test_values_beyond_floating_point_are_not_an_error():
    rows = [make_row(n, objective=value, lines=f"seed={n}") for n, value in enumerate([1e308, 1e308, -1e308, "inf"])]
    (row,) = fold_seeds(rows, varying(rows))
    assert row.runs == 4
    assert fold_seeds([], []) == []


def test_failures_are_grouped_by_error_and_the_diverged_jobs_come_last():
    rows = [
        make_row(0, lines="optimizer.lr=1 optimizer=sgd seed=0"),
        make_row(1, "diverged", diverged_at="3", diverged_step="12", lines="optimizer.lr=10 optimizer=sgd seed=0"),
        make_row(2, "diverged", diverged_at="1", diverged_step="12", lines="optimizer.lr=10 optimizer=sgd seed=1"),
        make_row(3, "failed", error="ValueError: 3 rows", lines="optimizer.lr=1 optimizer=sgd seed=1"),
        make_row(4, "failed", error="ValueError: 4 rows", lines="optimizer.lr=1 optimizer=adam seed=0"),
        make_row(5, stopped_at="3", lines="optimizer.lr=1 optimizer=adam seed=1"),
    ]
    assert failures(rows) == [
        Failure("failed", "ValueError: 3 rows", [3], {"optimizer.lr": "1", "optimizer": "sgd", "seed": "1"}),
        Failure("failed", "ValueError: 4 rows", [4], {"optimizer.lr": "1", "optimizer": "adam", "seed": "0"}),
        Failure("diverged", DIVERGED.format("1 to 3", 12), [1, 2], {"optimizer.lr": "10", "optimizer": "sgd"}),
    ]
    assert failures(rows[:1]) == []


def test_rows_of_a_table_and_rows_as_they_came_are_the_same_thing():
    ragged = [
        make_row(1, "interrupted", lines="seed=1"),
        make_row(0, objective="2.5", lines="seed=0"),
    ]
    (row,) = fold_seeds(ragged, varying(ragged))
    assert (row.jobs, row.runs, row.mean["objective"], row.best) == (2, 1, 2.5, 0)
