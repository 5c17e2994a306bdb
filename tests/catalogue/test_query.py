"""Filters of runs: what they compare, how they are joined, and what is no filter."""

import pytest

from ch12cli.catalogue.query import Query
from ch12cli.errors import InputError

RUN = {
    "status": "finished",
    "test_accuracy": 0.96,
    "epochs": 100,
    "lr": 1e-3,
    "compile": False,
    "error": None,
    "v": "10",
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("test_accuracy>0.95", True),
        ("test_accuracy > 0.96", False),
        ("test_accuracy>=0.96", True),
        ("epochs=100.0", True),
        ("epochs != 100", False),
        ("lr=0.001 and epochs<=100", True),
        ("lr=1e-3 and epochs<100", False),
        ("epochs<5 or status=finished", True),
        ("epochs<5 or status=failed and lr=0.001", False),
        ("(epochs<5 or status=finished) and lr=0.001", True),
        ("not status=failed", True),
        ("not (status=failed or epochs=100)", False),
        ("NOT status=failed AND epochs=100", True),
        ("status~FIN", True),
        ("status='finished'", True),
        ('status="fin"', False),
        ("compile=false", True),
        ("compile!=true", True),
        ("compile>0", False),
        ("error=null", True),
        ("v>9", True),  # as a number, though it is a text
        ("status<5", False),  # a word is neither less nor more than a number
        ("status>5", False),
        ("status>eleven", True),
        ("nothing=1", False),
        ("nothing!=1", False),
        ("not nothing=1", True),
    ],
)
def test_a_filter_selects_the_matching_rows(text: str, holds: bool) -> None:
    assert Query(text).matches(RUN) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "a>", ">3", "a>3 b<4", "a>3 and", "(a>3", "a>3)", "a b 3", "a=(3)", "not", "'a'=3", "a='3"),
        *("a>3 and and b=1", "(" * 100 + "a=1" + ")" * 100, "a=1;import os", "__import__('os').system('x')"),
    ],
)
def test_an_invalid_filter_is_reported(text: str) -> None:
    with pytest.raises(InputError, match="--filter") as raised:
        Query(text)
    assert "\n" not in str(raised.value)


def test_a_filter_lists_its_comparisons() -> None:
    comparisons = [("a.b", ">", "1"), ("c", "=", "2 x"), ("d", "~", "x")]
    assert Query("a.b>1 and not (c='2 x' or d~x)").comparisons == comparisons
