"""Labels that fit: shortened in the middle, wrapped between words, or numbered; and numbers with equal decimals."""

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import takewhile

from ch12cli.catalogue.formatting import is_numeral, roundings

Measure = Callable[[str], float]  # the width of a text, in any unit

BLANKS = re.compile(r"(?<=\s)")  # where a label is wrapped, if that is enough
SPLITS = re.compile(r"(?<=[\s_/:=])|(?<=,)(?!\d{3}(?!\d))|(?<=[-.])(?=[^\W\d])")  # else: not inside numbers
MAX_DECIMALS = 8
FEW = 0.2  # share of numbers that may have a single digit
FAR, SMALL = 1e5, 1e3  # numbers from FAR on, and below one SMALLth, get an exponent
KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+|[a-z0-9]+(_[a-z0-9]+)+|lr")  # a key of the configuration
KEY_WORDS = {"lr": "learning rate", "num_layers": "number of layers"}
CONTEXT = (12, 8, 5, 3, 1, 0)  # letters kept on both sides of where shortened labels differ
MIDDLE = 0.6  # share of a shortened label's letters that stand before the ellipsis


def key_in_words(label: str) -> str:
    """Returns the label of an axis with a key in words: `learning rate` for optimizer.lr. Other labels stay.

    What follows the key after a comma stays, too.
    """
    key, comma, rest = label.partition(", ")
    if not KEY.fullmatch(key):
        return label
    name = key.rpartition(".")[2]
    return f"{KEY_WORDS.get(name, name.replace('_', ' '))}{comma}{rest}"


def columns_of(text: str) -> int:
    """Returns the number of terminal columns of a text: two for wide letters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def pad_label(text: str, width: int, align: str = "<") -> str:
    """Returns the text padded with blanks to a number of terminal columns. align: `<`, `>` or `^`."""
    blanks = max(0, width - columns_of(text))
    left = {"<": 0, ">": blanks, "^": blanks // 2}[align]
    return " " * left + text + " " * (blanks - left)


def shorten_middle(text: str, most: float, *, measure: Measure = columns_of, ellipsis: str = "…") -> str:
    """Returns the text with its middle replaced by an ellipsis if it is wider than `most`.

    The beginning and the end are kept, as both tell names apart. A number is rounded, as far as it fits then.
    """
    if measure(text) <= most:
        return text
    if is_numeral(text) and (fitting := [each for each in roundings(text) if measure(each) <= most]):
        return fitting[0]
    low, high = 0, len(text) - 1  # number of letters that are kept
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if measure(_without_middle(text, kept, ellipsis)) <= most else (low, kept - 1)
    return _without_middle(text, low, ellipsis)


def _without_middle(text: str, kept: int, ellipsis: str) -> str:
    head = math.ceil(kept * MIDDLE)
    tail = text[len(text) - (kept - head) :]
    while tail and unicodedata.combining(tail[0]):  # belongs to a letter that was removed
        tail = tail[1:]
    return f"{text[:head].rstrip()}{ellipsis}{tail.lstrip()}"


def shorten_apart(
    texts: Sequence[str], most: float, *, measure: Measure = columns_of, ellipsis: str = "…"
) -> list[str] | None:
    """Returns the texts shortened to `most`, or None if different texts would become equal.

    The middle is replaced, or, where the texts differ there alone, what they begin and end with in common.
    """
    different = set(texts)
    found = [shorten_middle(text, most, measure=measure, ellipsis=ellipsis) for text in texts]
    if len(set(found)) == len(different):
        return found
    start = common_letters(different)
    end = min(common_letters({text[::-1] for text in different}), min(map(len, different), default=0) - start)
    for more in CONTEXT:
        found = [_window(text, start - more, end - more, ellipsis) for text in texts]
        if all(measure(text) <= most for text in found):
            return found if len(set(found)) == len(different) else None
    return None


def common_letters(texts: set[str]) -> int:
    """Returns the number of letters with which all texts begin."""
    return sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False)))


def _window(text: str, start: int, end: int, ellipsis: str) -> str:
    """Returns the text without its first `start` and its last `end` letters, where an ellipsis is shorter."""
    first, last = (start if start > 1 else 0), (len(text) - end if end > 1 else len(text))
    return f"{ellipsis * (first > 0)}{text[first:last]}{ellipsis * (last < len(text))}"


def wrap_label(text: str, most: float, *, lines: int, measure: Measure = columns_of) -> list[str] | None:
    """Returns the text in at most `lines` lines, or None if it does not fit.

    It is split after blanks, or if these are too far apart, after blanks and punctuation.
    """
    for splits in (BLANKS, SPLITS):
        found = [""]
        for piece in splits.split(text):
            if found[-1] and measure((found[-1] + piece).rstrip()) > most:
                found.append("")
            found[-1] += piece
        found = [line.strip() for line in found]
        if len(found) <= lines and all(measure(line) <= most for line in found):
            return found
    return None


def fit_label(text: str, most: float, *, lines: int, measure: Measure = columns_of) -> list[str]:
    """Returns the text in at most `lines` lines, shortened in the middle where it is too long for them."""
    for room in (math.inf, 1.0, 0.9, 0.75, 0.5):
        given = shorten_middle(text, room * lines * most, measure=measure)
        if (found := wrap_label(given, most, lines=lines, measure=measure)) is not None:
            return found
    return [shorten_middle(text, most, measure=measure)]


def numbered(names: Sequence[str]) -> list[str]:
    """Returns a key to labels that are numbers: `1: the first name`."""
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)]


def even_digits(values: Sequence[float], *, digits: int = 3) -> list[str]:
    """Returns the values with equal decimals, so that columns and cells can be compared; an empty text for NaN.

    The values of middle size get `digits` digits. Values that differ by many decades get an exponent each.
    """
    sizes = sorted(abs(value) for value in values if math.isfinite(value) and value)
    if not sizes:
        return ["" if math.isnan(value) else f"{value:g}" for value in values]
    whole = all(float(value).is_integer() for value in values if math.isfinite(value))
    if whole and sizes[-1] < 1e6:
        return ["" if math.isnan(value) else f"{value:.0f}" for value in values]
    low, high = sizes[int(0.1 * (len(sizes) - 1))], sizes[int(0.9 * (len(sizes) - 1))]
    middle = sizes[len(sizes) // 2]
    if high >= FAR or high < 1 / SMALL or high / low >= SMALL * 10:
        return ["" if math.isnan(value) else _scientific(value, digits - 2) for value in values]
    decimals = min(MAX_DECIMALS, max(0, digits - 1 - math.floor(math.log10(middle))))
    if sum(size < 10.0 ** (1 - decimals) for size in sizes) > FEW * len(sizes):  # they would have a single digit
        return ["" if math.isnan(value) else _scientific(value, digits - 2) for value in values]
    least = 0.5 * 10.0**-decimals
    return [
        ""
        if math.isnan(value)
        else _scientific(value, digits - 2)  # an outlier
        if abs(value) >= FAR or 0 < abs(value) < least
        else f"{value:z.{decimals}f}"
        for value in values
    ]


def in_few_digits(value: float, digits: int = 4) -> str:
    """Returns a number with a few digits, and an exponent as on the axes: 0.8999, 3.776e4."""
    text = f"{value:.{digits}g}"
    mantissa, sign, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if sign else text


def _scientific(value: float, decimals: int) -> str:
    mantissa, sign, exponent = f"{value:.{decimals}e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if sign else mantissa
