"""Plain decimal numbers in the bytes of a text, read many at once, each to the nearest float64."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

MOST_DIGITS = 15  # a whole number of so many digits is exact in float64, and so is 10 to that power
LONGEST = MOST_DIGITS + 2  # bytes, with a sign and a point
POWERS = 10.0 ** np.arange(LONGEST)
ZERO, PLUS, MINUS, BLANK = b"0+- "


def without_blanks(data: Bytes, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
    """The start and the end of each cell without the blanks around it, (cells,) each."""
    while (leading := (starts < ends) & (data.take(starts) == BLANK)).any():
        starts = starts + leading
    while (trailing := (starts < ends) & (data.take(ends - 1) == BLANK)).any():
        ends = ends - trailing
    return starts, ends


def plain_numbers(
    data: Bytes, starts: Positions, ends: Positions, point: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The numbers in cells, (cells,), and which cells are none that this function reads, (cells,).

    data: bytes with at least one after the last cell; starts, ends: of each cell, (cells,). Read are digits with a sign
    before them and a point among them. The quotient of two exact numbers is rounded once, as float() rounds.
    """
    lengths = ends - starts
    total = np.zeros(len(starts))
    weight = np.ones(len(starts))  # of the digit at the present position
    decimals, digits, points = (np.zeros(len(starts), np.int8) for _ in range(3))
    position = ends - 1
    for place in range(min(int(lengths.max(initial=0)), LONGEST)):  # from the last byte to the first
        byte = data.take(position)
        inside = lengths > place
        digit = byte - np.uint8(ZERO)  # wraps around below zero
        is_digit = (digit < 10) & inside
        is_point = (byte == ord(point)) & inside
        digit *= is_digit
        total += digit * weight
        digits += is_digit
        points += is_point
        decimals[is_point] = place
        np.multiply(weight, 10.0, out=weight, where=~is_point)
        position -= 1
    first = data.take(starts)
    negative = (first == MINUS) & (lengths > 0)
    signs = negative | ((first == PLUS) & (lengths > 0))
    odd = (digits + points + signs != lengths) | (digits == 0) | (digits > MOST_DIGITS) | (points > 1)
    total /= POWERS[decimals]
    np.negative(total, out=total, where=negative)
    return total, odd
