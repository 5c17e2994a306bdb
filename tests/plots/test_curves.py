"""Learning curves: the lines are the runs' own figures, their mean and their band."""

import csv
import io

import numpy as np
import pytest

from ch12cli.errors import InputError
from ch12cli.plots.curves import EpochRows, learning_curves
from ch12cli.plots.plot import SERIES, Axis, Lines, Plot
from ch12cli.plots.plotted_data import to_plotted_csv
from ch12cli.plots.scale import AxisScale, beyond, metric_axis, whole_ticks


def rows(losses: list[float], *, accuracy: float = 0.5) -> EpochRows:
    return [
        {"epoch": n, "train_loss": 2 * v, "train_accuracy": accuracy, "valid_loss": v, "valid_accuracy": accuracy}
        for n, v in enumerate(losses, start=1)
    ]


def panels(plot: Plot) -> list[Lines]:
    assert all(isinstance(panel, Lines) for panel in plot.panels)
    return [panel for panel in plot.panels if isinstance(panel, Lines)]


def test_one_run_has_a_panel_for_loss_and_one_for_the_metric_with_both_parts() -> None:
    loss, accuracy = panels(learning_curves([("", [rows([3.0, 2.0, 1.0])])], title="t"))
    assert [(line.name, line.y.tolist()) for line in loss.lines] == [
        ("training", [6.0, 4.0, 2.0]),
        ("validation", [3.0, 2.0, 1.0]),
    ]
    assert (loss.x.label, loss.y.label, accuracy.y.label) == ("epoch", "loss", "accuracy")
    assert loss.lines[0].x.tolist() == [1.0, 2.0, 3.0]


def test_a_line_that_its_axis_names_needs_no_legend() -> None:
    norms = [{"epoch": n, "grad_norm": 1.0 / n, "weight_norm": 2.0} for n in (1, 2)]
    one = panels(learning_curves([("", [norms])], title="t", metric="grad_norm,weight_norm"))
    assert [[line.name for line in panel.lines] for panel in one] == [[""], [""]]
    assert [panel.y.label for panel in one] == ["norm of the gradient", "norm of the weights"]
    (seeds,) = panels(learning_curves([("", [norms] * 3)], title="t", metric="grad_norm"))
    assert [line.name for line in seeds.lines] == ["3 runs"]


def test_several_runs_are_labelled_by_name_on_the_validation_part() -> None:
    loss, _ = panels(learning_curves([("a", [rows([3.0])]), ("b", [rows([4.0])])], title="t"))
    assert [(line.name, line.y.tolist()) for line in loss.lines] == [("a", [3.0]), ("b", [4.0])]
    assert loss.y.label == "validation loss"


def test_a_run_that_ended_early_stays_in_the_mean_and_the_band_with_its_last_value() -> None:
    curves = [[4.0, 2.0, 1.0], [6.0, 4.0], [8.0, float("inf"), 3.0]]
    plot = learning_curves([("", [rows(curve) for curve in curves])], title="t", metric="valid_loss")
    (panel,) = panels(plot)
    (line,) = panel.lines
    assert line.low is not None
    assert line.high is not None
    by_epoch = [[4.0, 6.0, 8.0], [2.0, 4.0], [1.0, 4.0, 3.0]]
    np.testing.assert_allclose(line.y, [np.mean(values) for values in by_epoch])
    np.testing.assert_allclose(line.low, [np.percentile(values, 5) for values in by_epoch])
    np.testing.assert_allclose(line.high, [np.percentile(values, 95) for values in by_epoch])
    assert plot.notes == ["Lines: mean of the runs; a run that ended early keeps its last value."]
    assert plot.legend == ["Bands: 5th to 95th percentile."]
    written = list(csv.DictReader(io.StringIO(to_plotted_csv(plot).decode())))
    assert [float(row["loss"]) for row in written] == pytest.approx([6.0, 3.0, 8 / 3])


def test_runs_of_equal_length_have_no_note_on_early_ends() -> None:
    plot = learning_curves([("", [rows([4.0, 2.0]), rows([6.0, 4.0])])], title="t")
    assert plot.notes == ["Lines: mean of the runs."]


def test_a_line_of_which_every_run_diverged_ends_with_the_first_of_them() -> None:
    runs = [rows([4.0, 9.0, 70.0]), rows([6.0, 50.0])]
    plot = learning_curves([("", runs)], title="t", metric="valid_loss", diverged=[[4, 3]])
    (panel,) = panels(plot)
    assert panel.lines[0].y.tolist() == [5.0, 29.5]
    assert [edge.x for edge in panel.edges] == [3.0, 4.0]
    assert plot.notes[0] == "Lines: mean of the runs."


def test_lines_with_the_same_name_stay_separate() -> None:
    loss, _ = panels(learning_curves([("a", [rows([3.0])]), ("a", [rows([4.0])])], title="t"))
    assert [(line.name, line.y.tolist()) for line in loss.lines] == [("a", [3.0]), ("a", [4.0])]


def test_a_loss_over_orders_of_magnitude_has_a_logarithmic_axis() -> None:
    assert panels(learning_curves([("", [rows([1000.0, 1.0])])], title="t"))[0].y.log
    assert not panels(learning_curves([("", [rows([10.0, 1.0])])], title="t"))[0].y.log


def test_runs_beyond_the_number_of_colours_are_left_out_with_a_note() -> None:
    plot = learning_curves([(f"run {n}", [rows([1.0])]) for n in range(SERIES + 3)], title="t")
    assert len(panels(plot)[0].lines) == SERIES
    assert f"The first {SERIES} of {SERIES + 3}." in plot.notes


@pytest.mark.parametrize(
    ("groups", "metric", "said"),
    [
        ([("a", [[]])], None, "no run has a whole epoch"),
        (
            [("a", [rows([1.0])])],
            "valid_los",
            "--metric valid_los: the runs have train_loss, train_accuracy, valid_loss",
        ),
    ],
)
def test_impossible_plots_of_curves_are_refused(
    groups: list[tuple[str, list[EpochRows]]], metric: str | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        learning_curves(groups, title="t", metric=metric)


@pytest.mark.parametrize(
    ("losses", "log"),
    [
        ([90.0, 3.0, 2.9, 2.8], True),  # four epochs hold no outliers
        ([2.3 * 0.4**n + 0.05 + 0.003 * (n % 4) for n in range(100)], True),  # a linear axis would be flat
        ([1 - 0.9 * 0.4**n + 0.001 * (n % 3) for n in range(100)], False),
    ],
)
def test_the_first_epochs_of_a_curve_are_never_cut_off(losses: list[float], log: bool) -> None:
    plot = learning_curves([("", [rows(losses)])], title="t", metric="valid_loss")
    axis = panels(plot)[0].y
    assert (axis.limits, axis.log, plot.notes) == (None, log, [])


def test_one_run_among_many_that_is_far_off_is_beyond_the_axis_and_counted() -> None:
    values = [*np.linspace(-1, 1, 30).tolist(), -1e9]
    axis = metric_axis("score", [np.array(values)])
    assert axis.limits == (-1.0, 1.0)
    assert beyond([np.array(values)], axis) == 1
    assert metric_axis("score", [np.array(values[-5:])]).limits is None


@pytest.mark.parametrize(
    ("epochs", "most", "found"), [(5, 4, [1, 3, 5]), (8, 5, [1, 3, 5, 7]), (20, 5, [1, 5, 10, 15, 20])]
)
def test_ticks_of_epochs_begin_with_one_at_even_distances(epochs: int, most: int, found: list[int]) -> None:
    axis = Axis("epoch", integer=True, limits=(1.0, float(epochs)))
    assert whole_ticks(AxisScale(1.0, float(epochs)).ticks(most), axis) == found
