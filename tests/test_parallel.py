"""`ch12 bench parallel`: what is advised from given times, what is refused, and that each way trains."""

import math
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.parallel import Measurements, Timing, Way, advise_ways, plot_of_ways, times_as_fast, ways_of_one_run
from ch12cli.plots.plot import Bars

ONE, TWO = Way("1 thread", ("threads=1",)), Way("2 threads", ("threads=2",))
ALONE, SWEEP = Way("one after another", ("threads=1",)), Way("a sweep of ch12", ("-m", "seed=range(32)"))


def measured(one: tuple[float | None, float | None], many: tuple[float | None, float | None]) -> Measurements:
    ways = [Timing(way, seconds) for way, seconds in zip((ONE, TWO), one, strict=True)]
    return Measurements(9, 32, ways, [Timing(way, time) for way, time in zip((ALONE, SWEEP), many, strict=True)])


@pytest.mark.parametrize(
    ("one", "many", "says"),
    [
        (
            (2.0, 1.0),
            (80.0, 8.0),
            ["threads=2 is the fastest, 2.0 times", "ch12 train -m 'seed=range(32)' is the fastest, 10.0 times"],
        ),
        ((1.0, 0.9), (80.0, 8.0), ["One run: threads=1.", "10.0 times"]),  # a tenth is within the spread
        ((1.0, None), (80.0, None), ["One run: threads=1.", "one after another; nothing else"]),
        ((1.0, 3.0), (80.0, 79.0), ["One run: threads=1.", "one after another; nothing else"]),
    ],
)
def test_the_fastest_way_is_recommended_if_it_is_worth_it(
    one: tuple[float | None, float | None], many: tuple[float | None, float | None], says: list[str]
) -> None:
    for text, expected in zip(advise_ways(measured(one, many)), says, strict=True):
        assert expected in text


def test_ways_are_compared_with_the_first_and_refused_ones_have_no_bar() -> None:
    found = measured((2.0, 0.5), (64.0, None))
    assert times_as_fast(found.one) == [1.0, 4.0]
    assert times_as_fast(found.many) == [1.0, None]
    one, many = plot_of_ways(found, "model=mlp").panels
    assert isinstance(one, Bars)
    assert isinstance(many, Bars)
    assert [*one.values] == [0.25, 1.0]
    assert many.texts == ["1.00 x", "refused"]
    assert math.isclose(many.values[1], 0)


def test_a_machine_of_one_core_has_no_ways_that_share_cores() -> None:
    assert [way.words for way in ways_of_one_run(1)] == [("threads=1",), ("workers=1", "threads=1")]
    assert ("devices=4",) in [way.words for way in ways_of_one_run(64)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["threads=2"], "threads=2: bench parallel sets threads itself"),
        (["+epochs=3"], "bench parallel sets epochs itself"),
        (["--runs", "1"], "--runs 1: must be a whole number from 2 to 10000"),
        (["--seconds", "0"], "--seconds 0: must be a number at least 0.05 and at most 60"),
        (["-o", "ways.txt"], "-o ways.txt: must end in"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "parallel", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_each_way_trains_and_the_chart_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "parallel", "--seconds", "0.1", "--runs", "4", "-o", "ways.svg", "device=cpu", "batch_size=30"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "refused" not in out
    for name in ("1 thread", "1 worker that loads batches", "one after another", "a sweep of ch12", "4 runs: "):
        assert name in out
    assert (folder / "ways.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert [path.name for path in folder.iterdir()] == ["ways.svg"]


@pytest.mark.slow
def test_a_configuration_that_is_refused_ends_with_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "parallel", "optimizer.lr=x"]) == 2
    assert "optimizer.lr" in capsys.readouterr().err
