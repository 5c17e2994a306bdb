"""Plots of sweeps: every figure in them is found again by hand from the rows."""

import itertools
import random
from statistics import mean

import numpy as np
import pytest

from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.plot import Bars, Grid, Histogram, Lines
from ch12cli.plots.sweeps import Results, distribution, heatmap, importance, importances, ranked, results_of, slices

RATES, WIDTHS, SEEDS = ("0.001", "0.01", "0.1"), ("4", "8"), range(5)


def make_row(job: int, objective: str, command: str, status: str = "finished") -> SweepRow:
    record = {"job": str(job), "directory": str(job), "status": status, "objective": objective, "command": command}
    return SweepRow.from_record(record)


def make_rows() -> list[SweepRow]:
    draw = random.Random(7)
    rows = []
    for job, (rate, width, seed) in enumerate(itertools.product(RATES, WIDTHS, SEEDS)):
        value = abs(float(rate) - 0.01) * 10 + float(width) / 100 + draw.uniform(0, 0.01)
        command = f"ch12 train optimizer.lr={rate} model.width={width} seed={seed}"
        rows.append(make_row(job, repr(value), command))
    rows[3] = make_row(3, "", rows[3].command, "diverged")
    return rows


ROWS = make_rows()


@pytest.fixture
def results() -> Results:
    return results_of(ROWS, metric="objective", label="validation loss", minimise=True)


def cell(rate: str, width: str) -> list[float]:
    found = [row for row in ROWS if f"lr={rate} model.width={width} " in row.command]
    return [row.objective for row in found if row.objective is not None]


def test_a_heat_map_shows_the_mean_of_each_pair_and_marks_the_best(results: Results) -> None:
    plot = heatmap(results, title="t", x="model.width", y="optimizer.lr")
    (grid,) = plot.panels
    assert isinstance(grid, Grid)
    assert (grid.rows.names, grid.columns.names) == (RATES, WIDTHS)
    wanted = [[mean(cell(rate, width)) for width in WIDTHS] for rate in RATES]
    np.testing.assert_allclose(grid.values, wanted)
    assert grid.best == {(1, 0)}
    assert plot.notes == [
        "Each cell: mean of 4 to 5 runs. 1 job that diverged, failed or has no such value is left out."
    ]


def test_the_two_most_important_keys_are_chosen_and_a_pair_without_a_run_is_empty(results: Results) -> None:
    (grid,) = heatmap(results, title="t").panels
    assert isinstance(grid, Grid)
    assert (grid.columns.label, grid.rows.label) == ("optimizer.lr", "model.width")
    rows = [row for row in ROWS if "lr=0.1 model.width=8" not in row.command]
    (grid,) = heatmap(results_of(rows, metric="objective", label="loss", minimise=True), title="t").panels
    assert isinstance(grid, Grid)
    assert np.isnan(grid.values[1, 2])
    assert grid.texts[1][2] == ""


def test_the_highest_value_of_a_maximised_metric_is_best() -> None:
    (grid,) = heatmap(results_of(ROWS, metric="objective", label="accuracy", minimise=False), title="t").panels
    assert isinstance(grid, Grid)
    assert [grid.values[cell] for cell in grid.best] == [np.nanmax(grid.values)]


def test_a_slice_has_every_run_its_mean_and_its_band(results: Results) -> None:
    (panel,) = slices(results, title="t").panels
    assert isinstance(panel, Lines)
    assert (panel.x.label, panel.x.log) == ("optimizer.lr", True)
    dots, means = panel.lines
    assert sorted(dots.y.tolist()) == sorted(results.values.tolist())
    assert means.low is not None
    for place, rate in enumerate(RATES):
        values = [*cell(rate, "4"), *cell(rate, "8")]
        np.testing.assert_allclose(means.y[place], mean(values))
        np.testing.assert_allclose(means.low[place], np.percentile(values, 5))
        assert means.x[place] == float(rate)


def test_a_slice_over_words_has_named_positions() -> None:
    rows = [
        make_row(n, str(n), f"ch12 train activation={word} seed={n}")
        for n, word in enumerate(["relu", "tanh", "relu", "tanh"])
    ]
    (panel,) = slices(results_of(rows, metric="objective", label="loss", minimise=True), title="t").panels
    assert isinstance(panel, Lines)
    assert panel.x.names == ("relu", "tanh")
    assert panel.lines[1].y.tolist() == [1.0, 2.0]
    assert not panel.lines[1].joined


def test_all_equal_best_cells_are_marked_and_one_run_is_not_called_a_mean() -> None:
    rows = [make_row(n, value, f"ch12 train a={n // 2} b={n % 2}") for n, value in enumerate(("1", "3", "2", "1"))]
    plot = heatmap(results_of(rows, metric="objective", label="loss", minimise=True), title="t", x="b", y="a")
    (grid,) = plot.panels
    assert isinstance(grid, Grid)
    assert grid.best == {(0, 0), (1, 1)}
    assert plot.notes == ["Each cell: one run."]


def test_a_few_different_values_have_a_few_bars() -> None:
    draw = random.Random(1)
    rows = [make_row(n, repr(draw.gauss(0.3, 0.05)), "x") for n in range(20)]
    (panel,) = distribution(results_of(rows, metric="objective", label="loss", minimise=True), title="t").panels
    assert isinstance(panel, Histogram)
    assert 4 <= len(panel.counts) <= 8  # Sturges: 1 + log2 of 20, rounded up


def test_a_distribution_counts_every_run_once(results: Results) -> None:
    (panel,) = distribution(results, title="t").panels
    assert isinstance(panel, Histogram)
    assert panel.counts.sum() == len(ROWS) - 1
    assert dict(panel.marks) == {
        "mean": pytest.approx(results.values.mean()),
        "median": np.median(results.values),
        "best": results.values.min(),
    }


def test_few_different_values_have_a_bar_each() -> None:
    values = [29 / 30] * 4 + [1.0] * 6 + [27 / 30]
    rows = [
        SweepRow(job=n, directory=str(n), status="finished", metrics={"test_accuracy": value})
        for n, value in enumerate(values)
    ]
    (panel,) = distribution(results_of(rows, metric="test_accuracy", label="a", minimise=False), title="t").panels
    assert isinstance(panel, Histogram)
    assert panel.counts.tolist() == [1, 0, 4, 6]
    middles = (panel.edges[:-1] + panel.edges[1:]) / 2
    np.testing.assert_allclose(middles, [27 / 30, 28 / 30, 29 / 30, 1.0])


def test_importance_is_epsilon_squared_of_the_ranks() -> None:
    """The textbook's sums, written out, for groups of different sizes."""
    values = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.0])
    groups = ["a", "a", "b", "a", "b", "c", "a", "c", "c"]
    ranks = ranked(values)
    assert ranks.tolist() == [3, 0, 4, 1, 5.5, 8, 2, 7, 5.5]
    total = sum((rank - ranks.mean()) ** 2 for rank in ranks)
    within = sum((r - mean(ranks[[h == g for h in groups]])) ** 2 for r, g in zip(ranks, groups, strict=True))
    between = total - within
    expected = (between - 2 * within / (len(values) - 3)) / total
    assert importances([groups], values) == [pytest.approx(expected)]


def test_a_deciding_key_has_importance_one_and_a_random_key_nearly_zero() -> None:
    draw = random.Random(1)
    values = np.array([draw.random() for _ in range(400)])
    settles, chance = [repr(value) for value in values.tolist()], [str(draw.randrange(20)) for _ in values]
    weight, none = importances([settles, chance], values)
    assert weight > 0.95  # in eight stretches, so not all of it
    assert none < 0.05


def test_importance_is_drawn_with_the_unexplained_share(results: Results) -> None:
    (panel,) = importance(results, title="t").panels
    assert isinstance(panel, Bars)
    assert panel.names == ["optimizer.lr", "model.width", "seeds, and keys together"]
    assert panel.values.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda r: heatmap(r, title="t", x="seed"), "--x seed: is not swept; what differs .*: optimizer.lr"),
        (lambda r: heatmap(r, title="t", y="lr"), "--y lr: is not swept"),
        (lambda r: slices(r, title="t", x="epochs"), "--x epochs: is not swept"),
        (lambda r: heatmap(r._replace(texts={"a": r.texts["optimizer.lr"]}), title="t"), "needs two keys"),
        (lambda r: slices(r._replace(texts={}), title="t"), "nothing but seeds"),
        (lambda r: importance(r._replace(texts={}), title="t"), "nothing but seeds"),
        (lambda r: results_of(ROWS, metric="nothing", label="w", minimise=True), "nothing: .* they have objective"),
        (lambda r: results_of([], metric="objective", label="w", minimise=True), "none has finished"),
    ],
)  # fmt: skip
def test_impossible_plots_of_sweeps_are_refused(draw, said: str, results: Results) -> None:
    with pytest.raises(InputError, match=said):
        draw(results)
