"""Drawings of learning curves: compared with ones made by hand, and dot by dot with the values."""

import math
import random

import pytest

from ch12cli.plots.text_curve import curve_spans, format_curve

NAN, INF = math.nan, math.inf
BITS = {0x01: (0, 0), 0x02: (0, 1), 0x04: (0, 2), 0x40: (0, 3), 0x08: (1, 0), 0x10: (1, 1), 0x20: (1, 2), 0x80: (1, 3)}


def plot_of(lines: list[str]) -> list[str]:
    """The rows of the plot, without the y axis and what is left of it."""
    edge = next(i for i, char in enumerate(lines[0]) if char in "│┤|+")
    floor = next(i for i, line in enumerate(lines) if line[edge] == "└" or line.lstrip().startswith("+"))
    return [line[edge + 1 :] for line in lines[:floor]]


def dots_of(lines: list[str]) -> set[tuple[int, int]]:
    """Every braille dot of the plot as (x, y), from the left and from the top."""
    dots = set()
    for row, line in enumerate(plot_of(lines)):
        for column, char in enumerate(line):
            bits = ord(char) - 0x2800 if char != " " else 0
            dots |= {(2 * column + x, 4 * row + y) for bit, (x, y) in BITS.items() if bits & bit}
    return dots


def test_an_ascii_drawing_equals_one_made_by_hand():
    assert format_curve({"loss": [2.0, 1.0, 0.0]}, width=30, height=6, ascii_only=True) == [
        " 2.00 +******",
        " 1.00 +      ***********",
        " 0.00 +                 ******",
        "      ++----------+----------+",
        "epoch  1          2          3",
        "  **** loss",
    ]


def test_a_braille_line_joins_the_corners_in_a_straight_line():
    lines = format_curve({"loss": [1.0, 0.0]}, width=40, height=12)
    dots = dots_of(lines)
    width, height = 2 * (40 - len("epoch  ")), 4 * 9
    assert (0, 0) in dots
    assert (width - 1, height - 1) in dots
    assert len(dots) == width  # solid: one dot in each column of dots
    assert all(abs(y - x * (height - 1) / (width - 1)) <= 0.51 for x, y in dots)


def test_each_value_has_its_dot_at_its_place():
    random.seed(1)
    values = [random.random() for _ in range(20)]
    dots = dots_of(format_curve({"loss": values}, width=70, height=13))
    across = 2 * (70 - len("epoch  ")) - 1
    down = 4 * 10 - 1
    low, high = min(values), max(values)
    for epoch, value in enumerate(values):
        place = (round(epoch * across / 19), round((high - value) / (high - low) * down))
        assert place in dots


def test_the_three_labels_are_the_range_and_its_middle():
    lines = format_curve({"loss": [45.0, 3.0, 1.0], "other": [20.0, 30.0, 40.0]}, width=60, height=12)
    assert [line.split("┤")[0].strip() for line in lines if "┤" in line] == ["45.0", "23.0", "1.0"]


def test_without_a_middle_row_the_label_is_the_value_of_its_own_row():
    lines = format_curve({"loss": [9.0, 0.0]}, width=60, height=13, ascii_only=True)  # 10 rows: 9, 8, …, 0
    assert [line.split(" +")[0].strip() for line in lines[:10] if " +" in line] == ["9.00", "4.00", "0.00"]
    assert "4.00" in lines[5]


@pytest.mark.parametrize("missing", [NAN, INF, -INF])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_values_that_are_not_finite_are_gaps(missing: float, ascii_only: bool):
    values = [1.0, 1.0, missing, missing, 0.0, 0.0]
    lines = format_curve({"loss": values}, width=60, height=9, ascii_only=ascii_only)
    drawn = [any(column < len(row) and row[column] != " " for row in plot_of(lines)) for column in range(53)]
    assert all(drawn[:11])  # from epoch 1 to 2, of 5 steps in 53 columns
    assert not any(drawn[12:41])
    assert all(drawn[43:])


def test_a_single_value_between_gaps_is_drawn():
    values = [NAN, 1.0, NAN, 0.0, NAN]
    assert len(dots_of(format_curve({"loss": values}, width=60, height=9))) == 2


def test_a_constant_is_a_level_line_with_one_label():
    lines = format_curve({"accuracy": [0.98] * 7}, width=50, height=10, ascii_only=True)
    assert [line for line in lines if "*" in line and "accuracy" not in line] == [" 0.98 +" + "*" * 43]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_one_epoch_is_one_dot(ascii_only: bool):
    lines = format_curve({"loss": [0.5]}, width=40, height=8, ascii_only=ascii_only)
    assert sum(char != " " for row in plot_of(lines) for char in row) == 1
    assert lines[-2].split() == ["epoch", "1"]


def test_thousands_of_epochs_are_drawn_as_means_of_neighbours():
    # up and down by one at each epoch: every stretch of 1000 has the mean 0.5, so the drawing is a level line
    lines = format_curve({"loss": [0.5, *[0.0, 1.0] * 7999, 0.5]}, width=30, height=8, ascii_only=True)
    assert [line.split()[0] for line in lines if "**" in line and "loss" not in line] == ["0.5"]
    assert lines[-2].split() == ["epoch", "1", "8000", "16000"]


def test_the_first_and_the_last_epoch_keep_their_values_among_many():
    lines = format_curve({"loss": [9.0, *[1.0] * 9998, -3.0]}, width=60, height=9, ascii_only=True)
    labels = [float(line.split()[0]) for line in lines if " +" in line and "++" not in line]
    assert (labels[0], labels[-1]) == (9.0, -3.0)


def test_a_gap_is_kept_when_epochs_are_reduced():
    lines = format_curve({"loss": [1.0] * 3000 + [NAN] * 3000 + [0.0] * 3000}, width=80, height=10, ascii_only=True)
    drawn = "".join("x" if any(row[i : i + 1].strip() for row in plot_of(lines)) else " " for i in range(73))
    assert drawn == "x" * 24 + " " * 25 + "x" * 24


@pytest.mark.parametrize("values", [[1e308, -1e308, 0.0], [5e-324, 0.0], [1e-9, 3e-9], [1e9, 1e9 + 1], [1e300, 1.0]])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_range_of_floats_can_be_drawn(values: list[float], ascii_only: bool):
    lines = format_curve({"loss": values}, width=40, height=9, ascii_only=ascii_only)
    assert max(map(len, lines)) <= 40
    labels = [line.replace("┤", "+").split(" +")[0].strip() for line in lines[:-3] if " +" in line or "┤" in line]
    assert len(set(labels)) == len(labels) >= 1
    assert all(math.isfinite(float(label)) for label in labels)


@pytest.mark.parametrize("series", [{}, {"loss": []}, {"loss": [NAN, INF]}])
def test_an_empty_curve_is_one_line_of_text(series: dict[str, list[float]]):
    assert format_curve(series, width=40, height=9) == ["no finite values to draw"]


def test_series_are_distinguishable_without_colour():
    values = {name: [float(i + j) for i in range(9)] for j, name in enumerate(("one", "two", "three", "four"))}
    for ascii_only in (True, False):
        legend = format_curve(values, width=60, height=14, ascii_only=ascii_only)[-1].strip().split("  ")
        assert [entry.split(" ")[1] for entry in legend] == list(values)
        assert len({entry.split(" ")[0] for entry in legend}) == len(values)
    plot = plot_of(format_curve(values, width=60, height=14, ascii_only=True))
    assert set("".join(plot)) - {" "} == set("*o+x")


def test_coinciding_lines_are_both_visible():
    same = [1.0, 0.5, 0.2]
    plot = "".join(plot_of(format_curve({"one": same, "two": same}, width=60, height=9, ascii_only=True)))
    assert plot.count("*") == pytest.approx(plot.count("o"), abs=1)


def test_the_coloured_pieces_add_up_to_the_lines():
    series = {"train": [3.0, 2.0, 1.0], "valid": [3.5, 3.0, 1.0]}
    spans = curve_spans(series, width=60, height=12)
    assert ["".join(text for text, _ in line) for line in spans] == format_curve(series, width=60, height=12)
    coloured = {name: "".join(text for line in spans for text, owner in line if owner == name) for name in series}
    assert all(set(text) - {" "} <= {chr(code) for code in range(0x2800, 0x2900)} for text in coloured.values())
    assert all(len(text) > 20 for text in coloured.values())


def test_no_line_exceeds_the_width():
    random.seed(2)
    for _ in range(300):
        width, height = random.randint(30, 130), random.randint(7, 30)
        names = random.sample(["train loss", "valid loss", "a", "a name that is longer than a narrow drawing"], k=3)
        scale = 10.0 ** random.randint(-12, 12)
        length = random.choice([1, 2, 3, 10, 100, 1000])
        series = {
            name: [random.choice([random.gauss(0, scale), scale, NAN, INF]) for _ in range(random.randint(1, length))]
            for name in names[: random.randint(1, 3)]
        }
        ascii_only = random.random() < 0.5
        lines = format_curve(series, width=width, height=height, ascii_only=ascii_only, x_label="epoch of training")
        assert max(map(len, lines)) <= width, (series, lines)
        assert len(lines) <= max(height, 8)
        assert not ascii_only or "".join(lines).isascii()
        assert "".join(lines).isprintable()
        assert all(name in "\n".join(lines) for name in series if len(name) < 20 and len(lines) > 1)
