"""The lines of metrics.csv by compiled code, byte for byte as Python makes them, in a sixth of the time."""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ch12cli.fused.compiler import CannotCompileError, library

LEAST, MOST = -292, 324  # the powers of ten that doubles need
LONGEST = 26  # bytes of a number and what separates it from the next


def power_of_ten(exponent: int) -> tuple[int, int]:
    """Returns the leading 128 bits of a power of ten, rounded up, as two words."""
    if exponent >= 0:
        power = 10**exponent
        shift = power.bit_length() - 128
        found = -(-power >> shift) if shift > 0 else power << -shift
    else:
        power = 10**-exponent
        found = -(-(1 << (127 + power.bit_length())) // power)
    return found >> 64, found & (2**64 - 1)


def texts_source() -> str:
    powers = map(power_of_ten, range(LEAST, MOST + 1))
    rows = ",".join([f"{{{high:#x}u,{low:#x}u}}" for high, low in powers])
    table = f"#define LEAST ({LEAST})\nstatic const unsigned long long POWERS[][2] = {{{rows}}};\n"
    return table + files("ch12cli.fused").joinpath("texts.c").read_text(encoding="utf-8")


@cache
def texts_library() -> Any:
    """Returns the compiled function. Raises CannotCompileError."""
    found = library(texts_source())
    found.lines.restype = ctypes.c_int64
    return found


def compiled_lines() -> Callable[[NDArray[np.float64]], bytes] | None:
    """Returns `lines_of`, or None if it cannot be compiled here."""
    try:
        texts_library()
    except CannotCompileError:
        return None
    return lines_of


def lines_of(rows: NDArray[np.float64]) -> bytes:
    """Returns the lines of metrics.csv for its rows, (epochs, columns), of which the first column is the epoch.

    Raises CannotCompileError.
    """
    rows = np.ascontiguousarray(rows, np.float64)
    text = np.empty(LONGEST * rows.size, np.uint8)
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    length = texts_library().lines(pointer(rows.ctypes.data), *map(size, rows.shape), pointer(text.ctypes.data))
    return text[:length].tobytes()
