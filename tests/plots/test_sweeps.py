"""Plots of sweeps: every figure in them is found again by hand from the rows."""

import csv
import io
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

import numpy as np
import pytest

from ch12cli.catalogue.best_setting import best_setting
from ch12cli.catalogue.front import unbeaten
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.parallel import parallel_coordinates
from ch12cli.plots.plot import Bars, Grid, Histogram, Lines, Parallel, Plot, with_corners
from ch12cli.plots.plotted_data import to_plotted_csv
from ch12cli.plots.recorded import full_key
from ch12cli.plots.sweeps import (
    Results,
    by_weight,
    distribution,
    heatmap,
    history,
    importance,
    importances,
    mean_in_words,
    ranked,
    results_of,
    shades,
    slices,
)
from ch12cli.plots.text_drawer import draw_text
from tests.gallery.cases import random_search

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
        values = min(cell(rate, "4"), cell(rate, "8"), key=mean)  # the best setting of the other key
        np.testing.assert_allclose(means.y[place], mean(values))
        quantile = {4: 3.182446, 5: 2.776445}[len(values)]  # Student's t, from a table
        np.testing.assert_allclose(
            means.low[place], mean(values) - quantile * stdev(values) / len(values) ** 0.5, rtol=1e-6
        )
        assert means.x[place] == float(rate)
    assert panel.x.ticks == (0.001, 0.01, 0.1)
    (panel,) = slices(results, title="t", pooled=True).panels
    assert isinstance(panel, Lines)
    np.testing.assert_allclose(panel.lines[1].y, [mean([*cell(rate, "4"), *cell(rate, "8")]) for rate in RATES])


def test_a_slice_by_a_key_has_a_line_for_each_of_its_values_and_panels_for_another(results: Results) -> None:
    (panel,) = slices(results, title="t", x="optimizer.lr", by="model.width").panels
    assert isinstance(panel, Lines)
    assert [line.name for line in panel.lines] == ["width=4", "width=8"]
    for line in panel.lines:
        np.testing.assert_allclose(line.y, [mean(cell(rate, line.name.removeprefix("width="))) for rate in RATES])
    panels = slices(results, title="t", x="optimizer.lr", facet="model.width", every=True).panels
    assert [panel.title for panel in panels if isinstance(panel, Lines)] == ["model.width=4", "model.width=8"]
    limits = {panel.y.limits for panel in panels if isinstance(panel, Lines)}
    assert limits == {(results.values.min(), results.values.max())}


def test_values_at_which_every_run_diverged_stay_on_the_axes() -> None:
    rows = [
        make_row(n, "" if rate == "10" else repr(0.1 + n / 100), f"ch12 train lr={rate} w={w}", *bad)
        for n, (rate, w) in enumerate(itertools.product(("0.1", "1", "10"), ("4", "8")))
        for bad in ([("diverged",)] if rate == "10" else [()])
    ]
    found = results_of(rows, metric="objective", label="loss", minimise=True)
    (panel,) = slices(found, title="t", x="lr").panels
    assert isinstance(panel, Lines)
    assert panel.x.ticks == (0.1, 1.0, 10.0)
    assert [(edge.x, edge.text, edge.high) for edge in panel.edges] == [(10.0, "2", True)]
    (grid,) = heatmap(found, title="t", x="lr", y="w").panels
    assert isinstance(grid, Grid)
    assert grid.columns.names == ("0.1", "1", "10")
    assert grid.texts == [["0.100", "0.120", "×"], ["0.110", "0.130", "×"]]


def test_the_best_cell_is_that_of_the_best_setting_however_many_keys_are_not_shown() -> None:
    values = {("a", "x"): (0.5, 0.1), ("a", "y"): (0.3, 0.3), ("b", "x"): (0.2, 0.9), ("b", "y"): (0.4, 0.4)}
    rows = [
        make_row(n, repr(value), f"ch12 train p={p} q={q} r={r}")
        for n, (p, q, r, value) in enumerate(
            (p, q, r, v) for (p, q), pair in values.items() for r, v in enumerate(pair)
        )
    ]
    found = results_of(rows, metric="objective", label="loss", minimise=True)
    (grid,) = heatmap(found, title="t", x="q", y="p").panels
    assert isinstance(grid, Grid)
    assert grid.values.tolist() == [[0.1, 0.3], [0.2, 0.4]]
    assert grid.best == {(0, 0)}
    (grid,) = heatmap(found, title="t", x="q", y="p", pooled=True).panels
    assert isinstance(grid, Grid)
    np.testing.assert_allclose(grid.values, [[0.3, 0.3], [0.55, 0.4]])


def test_outliers_do_not_decide_the_colours_of_a_heat_map() -> None:
    values = np.concatenate([np.linspace(0.2, 0.4, 60), [1e6, 1e7, 1e8, 3e9]]).reshape(8, 8)
    colours, meaning = shades(values)
    assert colours is not None
    assert meaning == ", colours by rank"
    assert np.diff(np.sort(colours.ravel())).tolist() == pytest.approx([1 / 63] * 63)
    assert shades(np.linspace(1, 2, 16).reshape(4, 4)) == (None, "")  # linear


def test_a_pair_of_metrics_joins_the_settings_that_no_other_one_beats() -> None:
    costs = np.array([[1.0, 5], [2, 3], [2, 4], [3, 3], [4, 1], [5, 2]])
    assert unbeaten(costs).tolist() == [True, True, False, False, True, False]


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


@pytest.mark.parametrize("least", [3.179e-08, 0.1, 7e-5])
def test_a_distribution_over_many_decades_counts_its_ends_too(least: float) -> None:
    values = np.geomspace(least, 6.1e3, 75)
    given = Results("loss", True, {}, values, 0, list(range(75)))
    (panel,) = distribution(given, title="t").panels
    assert isinstance(panel, Histogram)
    assert panel.counts.sum() == 75
    assert ("best", values[0]) in panel.marks


def test_a_key_may_be_named_by_its_last_part(results: Results) -> None:
    assert [full_key(results, name) for name in ("lr", "optimizer.lr", "nothing", None)] == [
        "optimizer.lr", "optimizer.lr", "nothing", None,
    ]  # fmt: skip


def grid_of(plot: Plot) -> Grid:
    (grid,) = plot.panels
    assert isinstance(grid, Grid)
    return grid


@pytest.mark.parametrize("count", [30, 400])
def test_a_heat_map_of_a_random_search_groups_its_numbers_and_shows_every_job_and_the_best(count: int) -> None:
    found = random_search(count)
    grid = grid_of(heatmap(found, title="t", x="optimizer.lr", y="model.width"))
    assert grid.values.shape == (8, 8)
    assert np.nanmin(grid.values) == found.values.min()
    (best,) = grid.best
    assert grid.values[best] == found.values.min()
    lows = [float(name) for name in grid.columns.names or ()]
    rate = float(found.texts["optimizer.lr"][int(found.values.argmin())])
    assert lows[best[1]] <= rate * 1.05
    assert best[1] == 7 or rate <= lows[best[1] + 1] * 1.05


def test_a_heat_map_of_too_many_words_keeps_the_best_of_them() -> None:
    found = random_search(300, words=40)
    plot = heatmap(found, title="t", x="activation", y="model.width")
    assert np.nanmin(grid_of(plot).values) == found.values.min()
    assert "The best 24 of 40 values of activation." in plot.notes


def test_few_different_values_have_a_bar_each_with_its_number_of_runs() -> None:
    rows = [
        SweepRow(job=n, directory=str(n), status="finished", metrics={"test_accuracy": 0.96 if n == 7 else 0.98})
        for n in range(1000)
    ]
    (bars,) = distribution(results_of(rows, metric="test_accuracy", label="a", minimise=False), title="t").panels
    assert isinstance(bars, Bars)
    assert bars.names == ["0.960", "0.980"]
    assert bars.texts == ["1 run", "999 runs"]


def test_values_that_repeat_have_a_bin_each() -> None:
    counts = [1, 0, 4, 6, 3, 9, 8, 7, 5, 2]
    values = [n / 30 for n, count in zip(range(21, 31), counts, strict=True) for _ in range(count)]
    rows = [
        SweepRow(job=n, directory=str(n), status="finished", metrics={"test_accuracy": value})
        for n, value in enumerate(values)
    ]
    (panel,) = distribution(results_of(rows, metric="test_accuracy", label="a", minimise=False), title="t").panels
    assert isinstance(panel, Histogram)
    assert panel.counts.tolist() == counts
    middles = (panel.edges[:-1] + panel.edges[1:]) / 2
    np.testing.assert_allclose(middles, np.arange(21, 31) / 30)


def history_of(rows: Sequence[SweepRow], *, minimise: bool = True) -> tuple[Lines, list[str]]:
    plot = history(results_of(rows, metric="objective", label="loss", minimise=minimise), title="t")
    (panel,) = plot.panels
    assert isinstance(panel, Lines)
    return panel, plot.notes


def test_a_history_of_single_runs_has_them_by_job_and_the_best_so_far_in_steps() -> None:
    rows = [make_row(job, value, f"ch12 train lr={job}") for job, value in ((5, "3"), (9, "1"), (7, "2"), (11, "4"))]
    for minimise, steps in ((True, [(5, 3), (7, 2), (9, 1), (11, 1)]), (False, [(5, 3), (11, 4)])):
        panel, notes = history_of(rows, minimise=minimise)
        dots, best = panel.lines
        assert (dots.x.tolist(), dots.y.tolist()) == ([5, 7, 9, 11], [3.0, 2.0, 1.0, 4.0])
        assert list(zip(best.x.tolist(), best.y.tolist(), strict=True)) == steps
        assert panel.x.label == "job"
        assert notes == ["Dots: 4 runs."]
    corners = with_corners(best)
    assert list(zip(corners.x.tolist(), corners.y.tolist(), strict=True)) == [(5, 3), (11, 3), (11, 4)]


def test_a_history_of_folds_has_the_mean_of_each_whole_setting_and_ends_with_the_best_setting() -> None:
    draw = random.Random(5)
    rows = []
    for job, (lr, fold) in enumerate(itertools.product(range(12), range(5))):
        value = draw.uniform(0, 1) + 2 * (fold > 1)  # the last folds are the hard ones
        status = "diverged" if (lr, fold) == (7, 1) else "finished"
        rows.append(make_row(job, repr(value), f"ch12 train lr={lr} dataset.fold={fold}", status))
    planned = [replace(rows[n], status="planned", objective=None) for n in (32, 33, 34)]  # of lr=6
    rows = [row for row in rows if row.job not in (32, 33, 34)]
    panel, notes = history_of([*rows, *planned])
    dots, best = panel.lines
    whole = [lr for lr in range(12) if lr not in (6, 7)]
    values = {lr: [row.number("objective") for row in rows if f"lr={lr} " in row.command] for lr in whole}
    assert dots.x.tolist() == [5 * lr for lr in whole]
    np.testing.assert_allclose(dots.y, [mean(values[lr]) for lr in whole])
    found = best_setting([row for row in rows if "lr=6 " not in row.command], "loss")
    assert found is not None
    assert best.y[-1] == pytest.approx(found.mean)
    assert best.x[-1] == 55
    assert notes == ["Dots: 10 settings, mean of 5 runs each.", "2 settings without all runs are left out."]


def test_the_best_so_far_of_a_search_with_finalists_is_of_those_with_their_runs() -> None:
    rows = [make_row(n, repr(0.5 + 0.01 * n), f"ch12 train lr={n}") for n in range(9)]
    rows += [make_row(9 + n, "0.7", f"ch12 train lr={n // 3 + 2} seed={n % 3 + 2}") for n in range(6)]
    panel, notes = history_of(rows)
    dots, best = panel.lines
    assert len(dots.x) == 9
    found = best_setting(rows, "loss")
    assert found is not None
    assert (best.x.tolist(), best.y.tolist()) == ([2, 8], [pytest.approx(found.mean)] * 2)
    assert found.mean == pytest.approx((0.52 + 3 * 0.7) / 4)
    assert notes == [
        "Dots: 9 settings, mean of 1 to 4 runs each.",
        "Best so far: of 2 settings with 4 or more runs.",
    ]


def test_each_run_of_a_population_is_a_dot_of_its_own() -> None:
    rows = [replace(make_row(n, repr(0.5 - n / 10), f"ch12 train lr=0.1 seed={n}"), ancestry="0@4") for n in range(3)]
    panel, _ = history_of(rows)
    assert panel.lines[0].y.tolist() == [0.5, 0.4, 0.3]


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
    ("keys", "name"), [("dataset.fold={n}", "folds"), ("seed={n} dataset.fold={m}", "seeds and folds")]
)
def test_importance_names_the_folds_that_repeat_a_setting(keys: str, name: str) -> None:
    rows = [
        make_row(4 * lr + 2 * n + m, str(lr + n), f"ch12 train lr={lr} {keys.format(n=n, m=m)}")
        for lr, n, m in itertools.product(range(4), range(2), range(2))
    ]
    (panel,) = importance(results_of(rows, metric="objective", label="loss", minimise=True), title="t").panels
    assert isinstance(panel, Bars)
    assert panel.names == ["lr", f"{name}, and keys together"]


def conditional_rows(momenta: list[str]) -> list[SweepRow]:
    """A search over an optimizer, a learning rate, and a momentum that only sgd has."""
    draw = random.Random(3)
    rows = []
    for job, momentum in enumerate(momenta):
        optimizer = f"sgd optimizer.momentum={momentum}" if momentum else "adam"
        command = f"ch12 train optimizer={optimizer} optimizer.lr={draw.uniform(0.01, 0.1):.4f}"
        rows.append(make_row(job, repr(draw.uniform(0.5, 1)), command))
    return rows


def test_numbers_that_some_jobs_lack_are_sorted_and_the_jobs_have_a_place_with_a_label() -> None:
    found = results_of(conditional_rows(["0.9", "", "0.10", "0.5", ""]), metric="objective", label="w", minimise=True)
    (grid,) = heatmap(found, title="t", x="optimizer.momentum", y="optimizer").panels
    assert isinstance(grid, Grid)
    assert grid.columns.names == ("none", "0.10", "0.5", "0.9")
    (panel,) = slices(found, title="t", x="optimizer.momentum").panels
    assert isinstance(panel, Lines)
    assert panel.x.ticks == (0.1, 0.5, 0.9)
    assert panel.x.absent is not None
    assert panel.x.absent[0] == pytest.approx(0.1 - 0.12 * 0.8)
    assert panel.x.absent[1] == "none"
    dots, means = panel.lines
    assert means.x.tolist() == [panel.x.absent[0], 0.1, 0.5, 0.9]
    assert not means.joined
    assert sorted(dots.x.tolist()) == [panel.x.absent[0]] * 2 + [0.1, 0.5, 0.9]
    written = list(csv.DictReader(io.StringIO(to_plotted_csv(Plot("t", [panel])).decode())))
    assert [row["optimizer.momentum"] for row in written if row["line"] == "mean"] == ["none", "0.1", "0.5", "0.9"]
    drawn = "\n".join("".join(text for text, _ in line) for line in draw_text(Plot("t", [panel]), width=70, height=20))
    assert re.search(r"none +0\.1 +0\.5 +0\.9", drawn)


def test_a_parallel_axis_of_numbers_that_some_jobs_lack_is_as_other_axes_of_numbers() -> None:
    momenta = ["", *(f"{n / 40:.3f}" for n in range(20, 38)), ""]
    found = results_of(conditional_rows(momenta), metric="objective", label="w", minimise=True)
    (panel,) = parallel_coordinates(found, title="t").panels
    assert isinstance(panel, Parallel)
    (axis,) = [axis for axis in panel.axes if axis.label == "optimizer.momentum"]
    assert axis.ends == ("none", "0.925")
    assert axis.ticks[0] == (0.0, "none")
    assert [text for _, text in axis.ticks[1:]] == ["0.5", "0.6", "0.7", "0.8", "0.9"]
    shares = panel.shares[:, [axis.label for axis in panel.axes].index("optimizer.momentum")]
    assert (np.diff(shares[1:-1]) > 0).all()
    assert shares[[0, -1]].tolist() == [0.0, 0.0]


def test_the_default_keys_of_a_plot_are_those_that_all_jobs_have() -> None:
    rows = conditional_rows(["", *(f"{n / 40:.3f}" for n in range(20, 38)), ""])
    rows = [replace(row, objective=float(row.overrides.get("optimizer.momentum", "0"))) for row in rows]
    found = results_of(rows, metric="objective", label="w", minimise=True)
    assert by_weight(found)[0][0] == "optimizer.momentum"
    grid = grid_of(heatmap(found, title="t"))
    assert {grid.columns.label, grid.rows.label} == {"optimizer", "optimizer.lr, from"}
    (panel,) = slices(found, title="t").panels
    assert isinstance(panel, Lines)
    assert panel.x.label == "optimizer"


def test_many_numbers_that_some_jobs_lack_are_grouped_in_a_heat_map_and_for_their_importance() -> None:
    momenta = [f"{n / 200:.3f}" for n in range(100, 190)] + [""] * 30
    rows = conditional_rows(momenta)
    found = results_of(rows, metric="objective", label="w", minimise=True)
    grid = grid_of(heatmap(found, title="t", x="optimizer.momentum", y="optimizer"))
    assert grid.columns.names is not None
    assert (len(grid.columns.names), grid.columns.names[0]) == (9, "none")
    assert np.isfinite(grid.values[:, 0]).tolist() == [name == "adam" for name in grid.rows.names or ()]
    assert dict(by_weight(found))["optimizer.momentum"] < 0.1  # the losses are drawn at random


def outcome_of(status: str, count: int) -> Results:
    rows = [SweepRow(job=n, directory=str(n), status=status) for n in range(count)]
    return results_of(rows, metric="objective", label="w", minimise=True)


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
        (lambda r: outcome_of("diverged", 0), "no job has finished; there is nothing to plot"),
        (lambda r: outcome_of("diverged", 2), "no job has finished: 2 diverged; there is nothing to plot"),
    ],
)  # fmt: skip
def test_impossible_plots_of_sweeps_are_refused(draw, said: str, results: Results) -> None:
    with pytest.raises(InputError, match=said):
        draw(results)


def test_parallel_coordinates_have_a_line_for_each_job_and_the_best_is_the_brightest() -> None:
    found = [("0.001", 0.9), ("0.01", 0.2), ("0.1", 0.4), ("1e30", 0.8)]
    records = [
        {"job": str(job), "objective": str(loss), "command": f"ch12 train optimizer.lr={lr} seed={job}"}
        for job, (lr, loss) in enumerate(found)
    ]
    rows = [SweepRow.from_record({**record, "status": "finished"}) for record in records]
    results = results_of(rows, metric="objective", label="validation loss", minimise=True)
    (panel,) = parallel_coordinates(results, title="t").panels
    assert isinstance(panel, Parallel)
    assert [axis.label for axis in panel.axes] == ["optimizer.lr", "validation loss"]
    assert [text for _, text in panel.axes[0].ticks] == ["0.001", "0.01", "0.1", "1e30"]
    assert [share for share, _ in panel.axes[0].ticks] == pytest.approx([0, 1 / 3, 2 / 3, 1])  # each has its place
    assert panel.shares[:, 1].tolist() == pytest.approx([1, 0, 0.2 / 0.7, 0.6 / 0.7])
    assert panel.goodness.tolist() == pytest.approx([0, 1, 2 / 3, 1 / 3])
    assert panel.names[1] == "job 1: 0.2"


def test_the_terminal_says_that_it_draws_only_the_best_jobs_of_parallel_coordinates() -> None:
    for count, said in ((4, False), (6, True)):
        rows = conditional_rows([f"{n / 10}" for n in range(count)])
        plot = parallel_coordinates(results_of(rows, metric="objective", label="loss", minimise=True), title="t")
        drawn = "\n".join("".join(text for text, _ in line) for line in draw_text(plot, width=70, height=20))
        assert ("the best 4 of 6 are drawn" in drawn) == said
        assert "brighter" not in drawn


@pytest.mark.parametrize(
    ("counts", "said"), [([1, 1], "one run"), ([5, 5], "mean of 5 runs"), ([1, 3], "mean of 1 to 3 runs")]
)
def test_a_single_run_is_not_called_a_mean(counts: list[int], said: str) -> None:
    assert mean_in_words(np.array(counts, np.float64)) == said
