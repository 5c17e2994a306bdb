"""What is drawn: in a terminal of any width, and in files that other programs read."""

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from ch12cli.errors import InputError
from ch12cli.plots.figure_style import FigureOptions
from ch12cli.plots.labels import columns_of, shorten_apart, wrap_label
from ch12cli.plots.matplotlib_drawer import drawing, figure_of, render
from ch12cli.plots.plot import Axis, Bars, Field, Grid, Histogram, Line, Lines, Panel, Plot
from ch12cli.plots.scale import AxisScale, tick_texts
from ch12cli.plots.text_drawer import draw_text
from tests.gallery.cases import CASES
from tests.gallery.faults import faults_of

X = np.arange(1.0, 41.0)
HOSTILE = "\x1b[31m<b>&$x^2$\ud83d\ude00" + "y" * 60
NAN = float("nan")
PANELS: dict[str, Panel] = {
    "lines": Lines(
        Axis("epoch"),
        Axis("loss"),
        [Line("rises", X, X), Line("falls", X, 41 - X, 40 - X, 42 - X), Line("", X, X, faint=True, joined=False)],
    ),
    "one point": Lines(Axis("epoch"), Axis("loss"), [Line("a", np.array([1.0]), np.array([2.0]))]),
    "bars around points": Lines(
        Axis("activation", names=("relu", "tanh")),
        Axis("loss"),
        [Line("mean", np.array([0.0, 1]), np.array([1.0, 2]), np.array([0.5, 1]), np.array([1.5, 3]), joined=False)],
    ),
    "logarithmic": Lines(Axis("lr", log=True), Axis("loss", log=True), [Line("a", 10 ** -X, 10**X)]),
    "nothing finite": Lines(Axis("epoch"), Axis("loss"), [Line("a", X, X * NAN)]),
    "extremes": Lines(Axis("epoch"), Axis("loss"), [Line("a", X[:2], np.array([-1.7e308, 1.7e308]))]),
    "grid": Grid(
        Axis("width", names=("4", "8")),
        Axis("lr", names=("0.1", "0.01", "1")),
        np.array([[1.0, 2, NAN], [3, 4, 5]]),
        [["1", "2", ""], ["3", "4", "5"]],
        "loss",
        best=frozenset([(0, 0)]),
    ),
    "wide grid": Grid(
        Axis("width", names=tuple(map(str, range(24)))),
        Axis("lr", names=tuple(map(str, range(24)))),
        np.arange(576.0).reshape(24, 24),
        [[f"{24 * r + c}.25" for c in range(24)] for r in range(24)],
        "loss",
    ),
    "bars": Bars("share", ["optimizer.lr", "rest"], np.array([0.75, 0.25]), ["75%", "25%"], frozenset(["rest"])),
    "histogram": Histogram(Axis("accuracy"), "runs", np.linspace(0, 1, 6), np.array([0, 1, 5, 2, 0]), [("mean", 0.5)]),
    "field": Field(
        Axis("x1"), Axis("x2"), (-1.0, 1.0), (-1.0, 1.0), ("no", "yes"),
        np.repeat(np.arange(2), 10)[:, None].repeat(20, 1), np.full((20, 20), 0.9),
        [("train", np.array([0.0, 0.5]), np.array([0.9, -0.9]), np.array([1, 0])),
         ("test", np.array([0.2]), np.array([0.3]), np.array([1]))],
    ),
    "hostile": Lines(Axis(HOSTILE), Axis(HOSTILE), [Line(HOSTILE, X, X), Line("$\\frac{", X, X)]),
}  # fmt: skip


def text_of(plot: Plot, **options: object) -> list[str]:
    lines = draw_text(plot, **{"width": 80, "height": 24, **options})  # type: ignore[arg-type]
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", list(PANELS))
def test_no_line_is_wider_than_the_terminal(name: str, width: int, ascii_only: bool) -> None:
    lines = text_of(Plot("A title " * 10, [PANELS[name]], ["A note."]), width=width, ascii_only=ascii_only)
    assert max(map(len, lines)) <= width
    if ascii_only and name != "hostile":  # whose own letters are no ASCII: who prints it escapes them
        assert "\n".join(lines).isascii()


def test_a_rising_line_ends_at_the_top_right_and_a_falling_one_starts_at_the_top_left() -> None:
    lines = text_of(Plot("t", [Lines(Axis("epoch"), Axis("loss"), [Line("rises", X, X)])]), ascii_only=True)
    rows = [line for line in lines if "*" in line][:-1]  # the last is the legend's
    columns = [row.index("*") for row in rows]
    assert columns == sorted(columns, reverse=True)
    assert columns[0] >= 70
    assert columns[-1] <= 8


def test_the_numbers_of_a_grid_stand_in_their_rows_and_columns() -> None:
    lines = text_of(Plot("t", [PANELS["grid"]]))
    header = next(line for line in lines if line.startswith("width"))
    first = next(line for line in lines if line.strip().startswith("4 "))
    assert header.split() == ["width", "0.1", "0.01", "1"]
    assert first.split() == ["4", "1*", "2"]


def test_bars_are_as_long_as_their_shares() -> None:
    long, short = (line.count("█") for line in text_of(Plot("t", [PANELS["bars"]])) if "█" in line)
    assert long == pytest.approx(3 * short, abs=2)


def test_a_field_shows_the_predicted_classes_and_the_rows_of_the_data() -> None:
    lines = text_of(Plot("t", [PANELS["field"]]), ascii_only=True)
    upper, lower = (line.partition("|")[2] for line in (lines[4], lines[14]))  # of classes yes, no
    assert (set(upper.strip()), set(lower)) == ({"+"}, {"."})
    body = "".join(line.partition("|")[2] for line in lines)
    assert (body.count("+"), body.count("o")) == (2, 1)  # three rows


def test_eight_lines_are_distinguishable_without_colour() -> None:
    panel = Lines(Axis("epoch"), Axis("loss"), [Line(f"line {n}", X, X + n) for n in range(8)])
    text = " ".join(text_of(Plot("t", [panel]))[-4:])
    samples = re.findall(r"([\u2800-\u28ff]+) line \d", text)
    assert len(samples) == len(set(samples)) == 8


def test_an_axis_of_counts_has_whole_numbers() -> None:
    two = np.array([1.0, 2.0, 3.0])
    panel = Lines(Axis("epoch", integer=True), Axis("loss"), [Line("a", two, two)])
    labels = text_of(Plot("t", [panel]))[-3].split()
    assert labels == ["1", "2", "3"]
    assert not re.search(
        r"\b\d\.[1-9]\b", strings(render(Plot("t", [replace(panel, y=Axis("n", integer=True))]), "svg"))
    )


def test_notes_about_colours_and_bands_appear_only_in_files() -> None:
    plot = Plot("t", [PANELS["field"]], ["Said."], ["Outlined in black."])
    assert "Outlined" not in "\n".join(text_of(plot))
    assert "Outlined in black." in strings(render(plot, "svg"))


def test_a_legend_with_long_names_and_long_notes_stay_within_the_figure() -> None:
    named = [Line(f"activation=leaky_relu, width={n}", X, X + n, X, X + 2 * n) for n in range(8)]
    panel = Lines(Axis("epoch"), Axis("loss"), named)
    assert faults(Plot("t", [panel, panel], ["A note. " * 40], ["Another."])) == []


def faults(plot: Plot, options: FigureOptions | None = None) -> list[str]:
    with drawing():
        return faults_of(figure_of(plot, options))


def test_the_check_of_the_gallery_finds_texts_that_overlap_or_are_cut_off() -> None:
    with drawing():
        figure = figure_of(Plot("t", [PANELS["grid"]]))
        assert faults_of(figure) == []
        figure.text(0.5, 0.5, "a text in the middle")
        figure.text(0.52, 0.5, "a text on it")
        figure.text(0.9, 0.02, "a text that ends beyond the edge")
        found = faults_of(figure)
    assert "'a text in the middle' overlaps 'a text on it'" in found
    assert "'a text that ends beyond the edge' is cut off" in found


@pytest.mark.parametrize("name", ["confusion, eight names of 45 letters", "slice, some diverged"])
def test_hard_cases_have_no_overlapping_or_clipped_texts(name: str) -> None:
    assert faults(CASES[name]()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_every_case_of_the_gallery_is_drawn_without_faults(name: str) -> None:
    plot = CASES[name]()
    assert faults(plot) == []
    for width in (60, 80, 120):
        lines = text_of(plot, width=width)
        assert max(map(columns_of, lines)) <= width
    assert max(map(columns_of, text_of(plot, width=60, ascii_only=True))) <= 60


def test_a_figure_has_the_size_that_was_asked_for_and_refuses_one_that_is_too_small() -> None:
    plot = CASES["slice, some diverged"]()
    with drawing():
        figure = figure_of(plot, FigureOptions(size=(5.0, 4.5)))
        assert faults_of(figure) == []
    assert figure.get_size_inches().tolist() == [5.0, 4.5]
    with pytest.raises(InputError, match="--size 1,1: the labels need at least"):
        faults(plot, FigureOptions(size=(1.0, 1.0)))


def test_names_that_differ_in_their_middle_are_shortened_at_both_ends() -> None:
    names = ["a" * 40 + letter + "z" * 40 for letter in "123"]
    assert shorten_apart(names, 12) == ["…aaa1zzz…", "…aaa2zzz…", "…aaa3zzz…"]
    assert shorten_apart(["lr=0.1, width=4, x", "lr=0.1, width=8, x"], 9) == ["…th=4, x", "…th=8, x"]
    assert shorten_apart(["a" * 50, "a" * 60], 9) is None


def test_labels_that_are_numbers_are_rounded_not_cut() -> None:
    assert shorten_apart(["0.00748", "4.334e-05"], 7) == ["0.00748", "4.3e-05"]


def test_a_figure_for_a_paper_names_keys_in_words_and_leaves_the_notes_to_its_caption() -> None:
    plot = CASES["lines over a key, diverged"]()
    words = strings(render(plot, "svg", options=FigureOptions("paper")))
    assert "learning rate" in words
    assert "confidence interval" not in words
    assert "optimizer.lr" in strings(render(plot, "svg"))


def test_regions_of_more_classes_than_colours_have_their_names() -> None:
    names = tuple(f"kind {n}" for n in range(9))
    found = np.arange(90).repeat(90).reshape(90, 90) // 10
    panel = Field(Axis("x"), Axis("y"), (0.0, 1.0), (0.0, 9.0), names, found, np.ones((90, 90)), [])
    with drawing():
        (axes,) = figure_of(Plot("t", [panel])).axes
        heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert sorted(heights) == sorted(names)
    assert all(int(heights[name]) == number for number, name in enumerate(names))


def test_columns_with_long_names_are_numbered_in_a_terminal_and_the_rows_are_the_key() -> None:
    lines = text_of(CASES["confusion, eight names of 45 letters"](), width=80)
    heads = next(line for line in lines if line.startswith("true class"))
    assert heads.split()[2:] == [str(n) for n in range(1, 9)]
    rows = [line for line in lines if "mber" in line]
    assert len({row[:25] for row in rows}) == len(rows) == 8


@pytest.mark.parametrize("cells", [3, 12])
def test_numbers_of_a_grid_stay_in_their_cells(cells: int) -> None:
    names = tuple(f"{n}" for n in range(cells))
    values = np.arange(float(cells * cells)).reshape(cells, cells) / 7
    texts = [[f"{value:.3g}" for value in row] for row in values.tolist()]
    panel = Grid(Axis("a", names=names), Axis("b", names=names), values, texts, "loss", best=frozenset([(0, 0)]))
    assert faults(Plot("t", [panel])) == []
    assert texts[1][1] in strings(render(Plot("t", [panel]), "svg")).split()


def strings(content: bytes) -> str:
    return " ".join("".join(element.itertext()) for element in ET.fromstring(content).iter())


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", list(PANELS))
def test_files_are_whole_and_hold_what_they_show(name: str) -> None:
    from matplotlib.image import imread

    plot = Plot("What it is", [PANELS[name]], ["How it was made."])
    svg, png = render(plot, "svg"), render(plot, "png")
    text = strings(svg)
    assert "What it is" in text
    assert "How it was made." in text
    image = imread(io.BytesIO(png))
    assert image.shape[0] > 2.5 * 200  # inches, at 200 dots per inch
    assert image.shape[1] > 4 * 200
    assert (image[..., :3] < 0.9).any()
    assert render(plot, "svg") == svg  # no date, nothing drawn by chance


def test_numbers_and_names_are_letters_in_an_svg_and_hostile_ones_are_escaped() -> None:
    text = strings(render(Plot("t", [PANELS["grid"]]), "svg"))
    assert "0.01" in text
    assert "width" in text
    text = strings(render(Plot("t", [PANELS["hostile"]]), "svg"))
    assert r"\x1b[31m<b>&$x^2$" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("low", "high", "log", "wanted"),
    [
        (0.0, 1.0, False, ["0.0", "0.5", "1.0"]),
        (0.0, 9.0, False, ["0", "5"]),
        (1e-4, 1.0, True, ["0.0001", "0.01", "1"]),
        (1e-6, 1e5, True, ["1e-4", "1e0", "1e4"]),
        (-3.0, 3.0, False, ["-2", "0", "2"]),
    ],
)
def test_ticks_are_round_values_within_the_axis(low: float, high: float, log: bool, wanted: list[str]) -> None:
    ticks = AxisScale(low, high, log).ticks(3)
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    assert tick_texts(ticks) == wanted


def test_ticks_that_differ_by_a_trillionth_have_different_texts() -> None:
    texts = tick_texts(AxisScale(0.123456789, 0.123456789 + 2e-11).ticks(4))
    assert len(set(texts)) == len(texts) > 1


@pytest.mark.slow
@pytest.mark.sample(1)
@pytest.mark.parametrize("log", [False, True])
def test_where_there_is_no_room_for_numbers_a_bar_says_which_colour_is_which(log: bool) -> None:
    names = tuple(f"{n}" for n in range(50))
    values = np.geomspace(0.01, 100, 2500).reshape(50, 50)
    texts = [[f"{value:.3g}" for value in row] for row in values.tolist()]
    shades = (np.log10(values) + 2) / 4 if log else None
    panel = Grid(Axis("a", names=names), Axis("b", names=names), values, texts, "loss", shades=shades)
    words = strings(render(Plot("t", [panel]), "svg")).split()
    assert ("75.0" in words, "10.00" in words) == (not log, log)  # quarters of the range, or powers of ten


def test_labels_are_wrapped_at_blanks_if_these_are_enough_and_never_inside_a_number() -> None:
    title = "2026-11-28/sweep: test accuracy of 1,000 runs"
    assert wrap_label(title, 36, lines=2) == ["2026-11-28/sweep: test accuracy of", "1,000 runs"]
    assert wrap_label("model.width and others", 12, lines=2) == ["model.width", "and others"]
    assert wrap_label("a_long_name=0.25,0.5", 12, lines=3) == ["a_long_name=", "0.25,0.5"]
    assert wrap_label("runs=1,000", 7, lines=2) == ["runs=", "1,000"]
