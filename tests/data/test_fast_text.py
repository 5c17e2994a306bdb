"""Large text files read by polars: the cells that our own reader gives, or None."""

import io
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ch12cli.data import csv_file
from ch12cli.data.sheets import cells, fast_text
from ch12cli.data.sheets.cells import Cells, Keep, Numbers, Texts, texts_as_numbers
from ch12cli.data.sheets.fast_text import fast_sheet
from ch12cli.data.sheets.text_sheet import read_sheet
from ch12cli.data.text_file import Layout
from ch12cli.errors import InputError

COMMA = Layout("comma")
WAYS: tuple[Keep, ...] = ("numbers", "numbers", "few", "texts", "rows", "nothing")
EDGES = ("+1", "-0", "0.", "+.5", "-.5e3", "1E5", "1e-400", "00012", "4.9e-324", " 7", "9007199254740993", str(2**70))
ODD = ("NA", "nan", "x", "inf", "1_0", "0x1", "True", "1e5 ", "#", "1e999", "2021-01-01", "\N{MINUS SIGN}5", "")


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_text, "LARGE", 0)


def drawn_number(draw: random.Random) -> str:
    digits = draw.randint(0, 25)
    long = f"{draw.randint(0, 9**9)}.{draw.randint(0, 9**19)}e{draw.randint(-330, 290)}"
    return draw.choice((*EDGES, long, f"{draw.uniform(-1e3, 1e3):.{digits}f}", str(draw.randint(-(10**digits), 10**9))))


def drawn_file(draw: random.Random) -> bytes:
    """A file of numbers and texts; a third of all have something unusual."""
    makers = [
        lambda: drawn_number(draw),
        lambda: draw.choice(("", drawn_number(draw))),
        lambda: draw.choice(("a", "b ", " c", "ü", "", "x y", "NA")),
        lambda: draw.choice((drawn_number(draw), drawn_number(draw), draw.choice(ODD))),
    ]
    columns = [draw.choice(makers[: draw.choice((3, 4))]) for _ in range(draw.randint(2, 5))]
    lines = [",".join(f"c{place}" for place in range(len(columns)))]
    lines += [",".join(make() for make in columns) for _ in range(draw.randint(1, 40))]
    if draw.random() < 0.2:
        lines.insert(draw.randint(0, len(lines)), draw.choice(("", "#x", ",", "1", " ", '"q"', "1,2,3,4,5,6", "\r")))
    return ("\n".join(lines) + draw.choice(("", "\n"))).encode()


def as_numbers(cells: Cells) -> Numbers:
    found = texts_as_numbers(cells, None, "auto") if isinstance(cells, Texts) else cells
    assert found is not None
    return found


def test_the_cells_are_those_of_our_own_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MANY_TEXTS", 12)
    monkeypatch.setattr(fast_text, "MANY_TEXTS", 12)
    monkeypatch.setattr(fast_text, "HEAD", 200)  # bytes: what comes below is another kind of cell at times
    draw, fast = random.Random(1), 0
    for _ in range(250):
        content = drawn_file(draw)
        kept = {f"c{place}": draw.choice(WAYS) for place in range(5)}

        def ways(names: Sequence[str], kept: dict[str, Keep] = kept) -> dict[str, Keep]:
            return {name: kept.get(name, "few") for name in names}

        found = fast_sheet(content, COMMA, source="t", decimal="auto", ways=ways)
        if found is None:
            continue
        fast += 1
        wanted = read_sheet(lambda content=content: io.BytesIO(content), COMMA, source="t", ways=ways)
        assert (found.names, found.further, found.ragged) == (wanted.names, wanted.further, wanted.ragged), content
        assert list(found.lines) == list(wanted.lines)
        for name in [name for name in found.names if kept[name] not in ("rows", "nothing")]:
            ours, theirs = wanted.columns[name], found.columns[name]
            if isinstance(theirs, Texts) and isinstance(ours, Texts):
                assert theirs.distinct == ours.distinct, content
                np.testing.assert_array_equal(theirs.codes, ours.codes)
            else:  # which of the two a column of few numbers is kept as makes no difference
                assert as_numbers(theirs).values.tobytes() == as_numbers(ours).values.tobytes(), content
                assert as_numbers(theirs).gaps == as_numbers(ours).gaps
    assert fast > 120


@pytest.mark.parametrize("bad", ["3,x,b", "3,4", "3,4,5,6", "3,,b", "inf,4,b", '"3",4,b', ""])
def test_a_mistake_in_a_large_file_is_told_as_in_a_small_one(
    tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,z,y", *["1,2,a"] * 20, *["2,3.5,b"] * 20, bad, "4,5,c", "4,5,c", ""]))
    told = []
    for large in (0, 2**22):
        monkeypatch.setattr(fast_text, "LARGE", large)
        try:
            table = csv_file(str(path))
            told.append([table.digest, *table.notes])
        except InputError as error:
            told.append(error.messages)
    assert told[0] == told[1]
