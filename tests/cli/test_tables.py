"""Numbers and tables as text, compared with what a person would write."""

import math
from typing import Any

import numpy as np
import pytest

from ch12cli.catalogue.formatting import (
    cut_text,
    format_number,
    format_rate,
    format_seconds,
    format_time_left,
    result_rows,
)
from ch12cli.cli.text import csv_rows
from ch12cli.cli.text.run_report import format_status
from ch12cli.cli.text.tables import (
    cut_cells,
    epoch_columns,
    format_epoch,
    format_epoch_header,
    format_result,
    format_table,
    narrowest_width,
    table_width,
)
from ch12cli.files.result_json import Result

CLASSES = {
    "epoch": 7,
    "train_loss": 0.123456,
    "train_accuracy": 0.98,
    "valid_loss": 1234.5678,
    "valid_accuracy": 1.0,
    "lr": 0.001,
    "seconds": 0.0123456,
}
REGRESSION = {
    "epoch": 7,
    "train_loss": 0.5,
    "train_mae": 0.4,
    "train_r2": 0.9,
    "valid_loss": 0.6,
    "valid_mae": 0.5,
    "valid_r2": -0.25,
    "lr": 0.001,
    "seconds": 2.0,
}


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("loss", 0.68394, "0.6839"),
        ("loss", 0.07, "0.07000"),
        ("loss", 45.0782, "45.08"),
        ("loss", 1234.5678, "1235"),
        ("loss", 0.0000123456, "1.235e-05"),
        ("loss", 1e20, "1.000e+20"),
        ("loss", 0, "0.000"),
        ("loss", math.nan, "nan"),
        ("loss", math.inf, "inf"),
        ("loss", None, "-"),
        ("accuracy", 0.98, "0.9800"),
        ("accuracy", 1, "1.0000"),
        ("r2", -0.25, "-0.2500"),
        ("r2", -123456.0, "-1.235e+05"),
        ("mae", 0.4, "0.4000"),
        ("lr", 0.001, "0.001"),
    ],
)
def test_numbers_have_four_digits_and_shares_four_decimals(metric: str, value: float | None, text: str):
    assert format_number(metric, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (0.314, "0.31 s"),
        (0.999, "1.0 s"),
        (4.24, "4.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (11220, "3 h 07 min"),
    ],
)
def test_durations_are_rounded_to_significant_units(seconds: float, text: str):
    assert format_seconds(seconds) == text


def test_time_left_counts_down_like_a_clock():
    assert [format_time_left(s) for s in (0.0, 6.2, 60, 754, 11100)] == ["0:00", "0:07", "1:00", "12:34", "3:05:00"]


def test_a_rate_below_one_epoch_a_second_is_shown_as_seconds_per_epoch():
    assert [format_rate(rate) for rate in (333.4, 2.54, 0.4)] == ["333 epochs/s", "2.5 epochs/s", "2.5 s/epoch"]


def test_large_numbers_have_their_thousands_separated():
    assert format_rate(16998.4) == "16,998 epochs/s"
    result = Result(status="interrupted", epochs=1500, seconds=None)
    assert [line.plain for line in format_status(result, 2000)] == ["interrupted  after 1,500 of 2,000 epochs"]


def test_a_table_is_aligned():
    rows = [["", "name", "x"], ["long one", "a", "10.5"], ["b", "", ""]]
    assert format_table(rows, left=1) == ["          name     x", "long one     a  10.5", "b"]


@pytest.mark.parametrize(
    ("numeral", "shorter"),
    [
        ("4.334e-05", ["4.33e-05", "4.3e-05", "4e-05"]),
        ("0.00748", ["0.0075", "0.007"]),
        ("-1234.5", ["-1234"]),
        ("123456.7", ["123457", "1e+05"]),
        ("64", []),
    ],
)
def test_a_number_is_rounded_to_fewer_digits_as_far_as_needed(numeral: str, shorter: list[str]):
    for room in range(len(numeral) + 1):
        expected = next((text for text in [numeral, *shorter] if len(text) <= room), [numeral, *shorter][-1])
        assert cut_text(numeral, room, mark="…") == expected
        assert cut_text(numeral, room, mark="…", from_start=True) == expected


def test_a_text_is_cut_before_a_number_not_within_it():
    text = "tanh lr=0.00748, [16,128] of 12,345 x2"
    cuts = {cut_text(text, room, mark="…") for room in range(len(text))}
    kept = {cut.removesuffix("…") for cut in cuts}
    assert "tanh lr=" in kept
    assert not [part for part in kept if text[len(part)].isdigit() and part[-1:].isdigit()]
    assert not [part for part in kept if part.endswith((".", "12,"))]
    assert cut_text("outputs/run-2026/7", 6, mark="…", from_start=True) == "…/7"


@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_number_of_a_table_is_cut_at_any_width(ascii_only: bool):
    header = ["optimizer.lr", "optimizer.weight_decay", "activation", "valid loss"]
    values = [["0.00748", "4.334e-05", "leaky_relu_of_mine", "0.5000"], ["0.1", "1e-06", "relu", "0.2500"]]
    widths = set()
    for width in range(20, 80):
        cells = cut_cells([header, *values], 3, width=width, ascii_only=ascii_only)
        widths.add(table_width(cells))
        for row, whole in zip(cells[1:], values, strict=True):
            assert row[3] == whole[3]
            for cell, number in zip(row[:2], whole[:2], strict=True):
                digits = len(cell.partition("e")[0].replace(".", "").lstrip("0"))
                assert float(cell) == float(f"{float(number):.{digits}g}")
            assert row[2] == whole[2] or row[2] == whole[2][: len(row[2]) - 1] + "…~"[ascii_only]
        assert table_width(cells) <= max(width, narrowest_width([header, *values], 3))
    assert min(widths) == narrowest_width([header, *values], 3) == 6 + 6 + 6 + 10 + 3 * 2


def make_result(**parts: Any) -> Result:
    return Result(status="finished", **parts)


def test_the_rows_of_a_result_show_the_best_epoch_on_the_validation_part():
    result = make_result(final=CLASSES, best={**CLASSES, "epoch": 3}, test={"loss": 0.2, "accuracy": 0.9})
    assert result_rows(result) == [
        {"row": "final", "part": "train", "epoch": 7, "loss": 0.123456, "accuracy": 0.98},
        {"row": "final", "part": "valid", "epoch": 7, "loss": 1234.5678, "accuracy": 1.0},
        {"row": "best", "part": "valid", "epoch": 3, "loss": 1234.5678, "accuracy": 1.0},
        {"row": "test", "part": "test", "epoch": None, "loss": 0.2, "accuracy": 0.9},
    ]


@pytest.mark.parametrize("nothing", [{}, {"final": {}, "best": {}, "test": {}}, {"final": None, "test": None}])
def test_a_run_that_ended_before_its_first_epoch_has_no_table(nothing: dict[str, None]):
    assert format_result(make_result(**nothing)) == []


def test_a_run_without_validation_and_test_shows_its_training_metrics():
    final = {"epoch": 2, "train_loss": 0.5}
    assert format_result(make_result(final=final, best=final)) == [
        "              epoch    loss",
        "final  train      2  0.5000",
        "best   train      2  0.5000",
    ]


def test_the_table_of_a_regression_names_its_metrics():
    result = make_result(final=REGRESSION, best=REGRESSION, test={"loss": 0.7, "mae": 0.6, "r2": 0.5})
    assert format_result(result) == [
        "                   epoch    loss     MAE       R²",
        "final  train           7  0.5000  0.4000   0.9000",
        "       validation      7  0.6000  0.5000  -0.2500",
        "best   validation      7  0.6000  0.5000  -0.2500",
        "test                      0.7000  0.6000   0.5000",
    ]
    assert format_result(result, ascii_only=True)[0].endswith("R2")


def test_the_line_of_an_epoch_is_aligned_with_its_header():
    columns = epoch_columns(CLASSES, width=80, verbose=True)
    assert columns == list(CLASSES)
    assert format_epoch_header(columns) == ("epoch  train loss   accuracy  valid loss   accuracy         lr    seconds")
    assert format_epoch(CLASSES, columns) == (
        "    7      0.1235     0.9800        1235     1.0000      0.001    0.01235"
    )


def test_the_line_of_an_epoch_omits_time_and_learning_rate_unless_verbose():
    assert epoch_columns(CLASSES, width=80, verbose=False) == list(CLASSES)[:5]


@pytest.mark.parametrize("row", [CLASSES, REGRESSION])
@pytest.mark.parametrize("verbose", [False, True])
def test_the_line_of_an_epoch_keeps_the_losses_at_any_width(row: dict[str, float], verbose: bool):
    before = 0
    for width in range(30, 121):
        columns = epoch_columns(row, width=width, verbose=verbose)
        assert {"epoch", "train_loss", "valid_loss"} <= set(columns)
        assert len(format_epoch_header(columns)) == len(format_epoch(row, columns)) <= width
        assert len(columns) >= before  # more room never shows less
        before = len(columns)


def test_a_narrow_line_keeps_the_validation_metrics():
    assert epoch_columns(REGRESSION, width=60, verbose=True) == [
        "epoch",
        "train_loss",
        "valid_loss",
        "valid_mae",
        "valid_r2",
    ]


def test_many_rows_are_written_as_csv_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    values = 10 ** rng.uniform(-12, 22, 500) * rng.choice([-1, 1], 500)
    values[:9] = 0.0, -0.0, 1e-4, 9.999999999999999e-5, 1e16, 9999999999999998.0, 5e-324, np.nan, np.inf
    texts = ["", "a b", " x ", "'=1", "é", "\t", *map(str, range(494))]
    odd = ['say "no"', "a,b", "two\nlines", *texts[3:]]
    for columns in ([texts, values, texts], [texts, odd, values], [values], [["", *texts[1:]]]):
        written = csv_rows.rows_as_csv(columns)
        with monkeypatch.context() as patch:
            patch.setattr(csv_rows, "MANY", 1)
            assert csv_rows.rows_as_csv(columns) == written
    assert csv_rows._by_polars([texts, values]) is not None
