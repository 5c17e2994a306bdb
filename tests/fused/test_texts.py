"""The compiled lines of metrics.csv are the bytes that Python writes."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ch12cli.files.metrics_csv import to_csv
from ch12cli.fused import compiler
from ch12cli.fused.texts import compiled_lines, lines_of, texts_library

needs_compiler = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")


def require_as_python(values: NDArray[np.floating[Any]]) -> None:
    rows = np.stack([np.arange(1.0, len(values) + 1), values], axis=1)
    expected = to_csv(["epoch", "loss"], [(int(epoch), value) for epoch, value in rows.tolist()])
    assert lines_of(rows).splitlines() == expected.splitlines()[1:]


@needs_compiler
def test_numbers_at_the_edges() -> None:
    whole = [0.0, -0.0, 1.0, -1.0, 10.0, 1e15, 1e16, 1e17, 2.0**53, 2.0**53 + 2, 123456789012345678.0, 1e22, 1e23]
    small = [0.1, -0.3, 1 / 3, 1e-3, 1e-4, 0.00012, 1e-5, 9.5367431640625e-07, 5e-324, 2.2250738585072014e-308]
    require_as_python(np.array([*whole, *small, math.nan, math.inf, -math.inf, 1.7976931348623157e308]))
    for powers in (2.0 ** np.arange(-1074, 1024), 10.0 ** np.arange(-323, 309)):
        for near in (powers, np.nextafter(powers, 0.0), np.nextafter(powers, np.inf)):
            require_as_python(near)


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_drawn_numbers(seed: int) -> None:
    draw, count = np.random.default_rng(seed), 20_000
    require_as_python(draw.integers(0, 2**64, count, dtype=np.uint64).view(np.float64))  # all exponents
    require_as_python(draw.integers(0, 2**52, count, dtype=np.uint64).view(np.float64))  # below the normal numbers
    require_as_python(draw.random(count, np.float32).astype(np.float64))
    require_as_python(draw.integers(0, 120, count) / 120)  # accuracies
    require_as_python(np.round(draw.lognormal(0, 10, count), 3))
    require_as_python(draw.integers(0, 2**62, count).astype(np.float64))


@needs_compiler
def test_lines_of_several_columns() -> None:
    rows = np.array([[9.0, 0.5, 1e-7], [10.0, math.nan, 3.0], [1e15 + 1, -2.5e-5, 1e100]])
    assert lines_of(rows) == b"9,0.5,1e-07\n10,nan,3.0\n1000000000000001,-2.5e-05,1e+100\n"
    assert lines_of(np.asfortranarray(rows)) == lines_of(rows)


def test_without_a_compiler_there_is_no_such_function(monkeypatch: pytest.MonkeyPatch) -> None:
    texts_library.cache_clear()
    monkeypatch.setattr(compiler, "compiler", lambda: None)
    assert compiled_lines() is None
