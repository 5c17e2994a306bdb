"""How the numbers of a column are written: their signs, units, separators; dates and times."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Literal, get_args

Decimal = Literal["auto", "point", "comma"]
Kind = Literal["number", "date", "time"]

NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")  # stricter than float(): no nan, no 1_000
WHOLE = re.compile(r"[+-]?[0-9]+")
SAME_SIGNS = str.maketrans(
    {"\N{MINUS SIGN}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'"}
    | dict.fromkeys("\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}\N{FIGURE SPACE}", " ")
)
CURRENCIES = "[$¢£¤¥฿₠-⃀]"
CERTAIN_UNIT = re.compile(rf"|{CURRENCIES}|%|‰|°[CF]?")  # no unit, or one that is no name of anything else
# A number with what stands before and after it, and signs between its digits.
WRITTEN = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<before>[^0-9.,+-]*?)\s*(?P<sign2>[+-]?)"
    r"(?P<digits>[0-9.,](?:[0-9.,_' ]*[0-9.,])?)(?P<exponent>([eE][+-]?[0-9]+)?)\s*(?P<after>[^0-9.,][^0-9]*|)"
)
DATE = re.compile(
    r"(?:(?P<year>[0-9]{4})(?P<by>[-/.])(?P<month>[0-9]{1,2})(?P=by)(?P<day>[0-9]{1,2})"
    r"|(?P<day2>[0-9]{1,2})\.(?P<month2>[0-9]{1,2})\.(?P<year2>[0-9]{4}))"
    r"(?:[T ]+(?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)Z?)?"
)
TIME = re.compile(r"(?P<hours>[0-9]{1,3}):(?P<minutes>[0-5][0-9])(?::(?P<seconds>[0-5][0-9](?:\.[0-9]+)?))?")
# What looks like a number, a date or a time, whether or not it can be read.
PLAIN = r"[+-]?\s*(?:\d[\d.,_' ]*|[.,]\d+)(?:[eEdD][+-]?\d+)?"
UNIT = r"(?:[^\d\s,;_-]{1,8}|[^\d\s,;_-]{1,4} [^\d\s,;_-]{1,4}|,--?)"
MONEY = r"(?-i:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|RUB|BRL|MXN|ZAR|KRW|US\$|Rs\.?|kr\.?)"
MONTH = r"(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[^\W\d_]*\.?"
LIKE = re.compile(
    "|".join(
        [
            rf"[+-]?\s*(?:[^\w\s]{{1,3}}|[^\w\s]{{0,2}}{MONEY})?\s*{PLAIN}\s*{UNIT}?",
            rf"\(\s*{CURRENCIES}?\s*{PLAIN}\s*\)|{PLAIN}\s*-",  # negative, in accounts
            rf"{PLAIN}\s*{UNIT}?\s*(?:±|\+/-|\()\s*{PLAIN}\s*{UNIT}?\)?",  # with its error
            rf"{PLAIN}\s*[x×*·]\s*10\s*(?:\^|\*\*)?\s*[+-]?[\d⁰¹²³⁴-⁹⁻]+",
            r"\d*\s*[¼½¾⅐-⅞]|\d+\s*[/∕⁄]\s*\d+|0x[\da-f]+",  # fractions, hexadecimal
            r"(?:\d+(?:[.,]\d+)?\s*(?:[^\W\d]{1,4}|['\"°′″])[\s,]*){2,}[nsew]?|\d{1,2}h\d{2}",  # 1h 30min, 52°31'12"N
            r"(?:[^\W\d_]{2,10}\.?,? )?(?:\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/. ]\d{1,2}[-/. ](?:\d{4}|\d{2}))"
            r"(?:[T ]+\d{1,2}:\d{2}.*)?",
            rf"(?:[^\W\d_]{{2,10}}\.?,? )?\d{{1,2}}(?:st|nd|rd|th)?[-./ ]*{MONTH}(?:[-./, ]*(?:\d{{4}}|\d{{2}}))?.*",
            rf"(?:[^\W\d_]{{2,10}}\.?,? )?{MONTH}[-./ ]*\d{{1,4}}(?:st|nd|rd|th)?(?:[-./, ]+(?:\d{{4}}|\d{{2}}))?.*",
            r"\d{4}[- /]?[qwsh]\d{1,2}(?:-\d)?|q[1-4][- /]?\d{4}|\d{8}t\d{4,6}z?",
            r"[+-]?\d{1,3}(?::\d{2}){1,2}(?:[.,]\d+)?\s*(?:[ap]\.?m\.?|h|uhr)?",
        ]
    ),
    re.IGNORECASE,
)
LONGEST = 100  # characters of a number with a unit, a date or a time: a longer text would take long to search
MOST_KINDS = 5  # of units and signs of which each is tried with all cells of a column that has several
QUOTES = "'\"`´‘’“”„«»*"  # around a number, or behind it as a mark


@dataclass(frozen=True)
class Notation:
    """How the numbers of a column are written. before, after: of each number; group: the sign that separates thousands.

    kind: a date is read as days since 1970-01-01, a time as hours.
    """

    kind: Kind = "number"
    before: str = ""
    after: str = ""
    group: str = ""
    decimal: Literal[".", ","] = "."

    @property
    def described(self) -> str:
        """What a cell needs beside a number, for messages."""
        if self.kind == "date":
            return " of days: must be a date, as 2021-12-31"
        if self.kind == "time":
            return " of hours: must be a time, as 23:59"
        units = [f"{place} {unit}" for place, unit in (("after", self.before), ("before", self.after)) if unit]
        comma = ["with a decimal comma"] if self.decimal == "," else []
        return "".join(f" {part}" for part in units + comma)

    def value(self, cell: str) -> float | None:
        """The number in a cell, infinite if it is too large; None if it is not written like this."""
        is_plain = self is PLAIN_NOTATION or self == PLAIN_NOTATION
        if is_plain and NUMBER.fullmatch(cell):  # as most are
            return float(cell)
        text = _with_same_signs(cell)
        if is_plain and NUMBER.fullmatch(text):
            return float(text)
        if len(text) > LONGEST:
            return None
        if self.kind == "date":
            return _days(text)
        if self.kind == "time":
            return _hours(text)
        found = WRITTEN.fullmatch(text)
        if not found or (found["before"], found["after"].strip()) != (self.before, self.after):
            return None
        digits = found["digits"]
        if self.group and self.group in digits:
            whole, point, fraction = digits.partition(self.decimal)
            if not re.fullmatch(rf"[0-9]{{1,3}}({re.escape(self.group)}[0-9]{{3}})+", whole):
                return None
            digits = whole.replace(self.group, "") + point + fraction
        plain = found["sign"] + found["sign2"] + digits.replace(self.decimal, ".") + found["exponent"]
        is_written = NUMBER.fullmatch(plain) and (self.decimal == "." or "." not in digits)
        return float(plain) if is_written else None


PLAIN_NOTATION = Notation()


def find_notation(cells: Iterable[str], *, decimal: Decimal = "auto", declared: bool = False) -> Notation | None:
    """The notation in which every cell is a number; None if there is none, or if it is not certain.

    cells: of many, best in the order of plain_numbers_last, so that what decides comes first. decimal: auto means that
    cells with commas are not certain. declared: letters may be units, and dates and times are numbers.
    """
    cells = list(cells)
    if decimal == "auto" and all(map(is_number, cells)):
        return PLAIN_NOTATION
    found: list[Notation] = []
    units, signs = _units_and_signs(cells)
    if len(units) == 1:
        certain = "_" not in signs and all(map(CERTAIN_UNIT.fullmatch, units[0]))  # 1_012 may be an identifier
        if declared or certain:
            found = [Notation("number", *units[0], *separators) for separators in _separators(signs, decimal)]
    if declared:
        found += [Notation("date"), Notation("time")]
    return next((each for each in found if None not in map(each.value, cells)), None)


def notation_of_most(cells: Collection[str], decimal: Decimal) -> Notation:
    """The notation, with any unit, of dates or of times, in which most of the cells are numbers.

    The usual one if none has half of them: they have nothing in common. decimal: as in find_notation.
    """
    kinds = Counter((tuple(units), frozenset(signs)) for units, signs in (_units_and_signs([cell]) for cell in cells))
    found = [usual_notation(decimal)]
    for (units, signs), _ in kinds.most_common(MOST_KINDS):
        found += [Notation("number", *unit, *pair) for unit in units for pair in _separators(signs, decimal)]
    found += [Notation("date"), Notation("time")]
    fits = [sum(each.value(cell) is not None for cell in cells) for each in found]
    return found[fits.index(max(fits))] if 2 * max(fits) >= len(cells) else found[0]


def plain_numbers_last(cells: Iterable[str]) -> list[str]:
    """The cells, those first that are no plain numbers."""
    return sorted(cells, key=is_number)


def _units_and_signs(cells: Sequence[str]) -> tuple[list[tuple[str, str]], set[str]]:
    """What stands before and after the numbers in cells, and the signs between their digits. None if a cell has none.

    Ends at the second kind of units.
    """
    units: dict[tuple[str, str], None] = {}
    signs: set[str] = set()
    for cell in cells:
        text = _with_same_signs(cell)
        part = WRITTEN.fullmatch(text) if len(text) <= LONGEST else None
        if part is None or _has_digit(part["before"]) or _has_digit(part["after"].strip()):
            return [], set()
        units[part["before"], part["after"].strip()] = None
        signs.update(sign for sign in part["digits"] if sign in "_' ,")
        if len(units) > 1:
            break
    return list(units), signs


def _has_digit(unit: str) -> bool:
    """Whether what stands before or after a number is a part of it: ½, or a digit of another script; not m² or CO₂."""
    return any(
        unicodedata.category(sign).startswith("N")
        and not (place and unicodedata.decomposition(sign).startswith(("<super>", "<sub>")))
        for place, sign in enumerate(unit)
    )


def usual_notation(decimal: Decimal) -> Notation:
    """The notation of numbers without units. decimal: as in find_notation."""
    return {"auto": PLAIN_NOTATION, "point": Notation(group=","), "comma": Notation(group=".", decimal=",")}[decimal]


def looks_like_number(cell: str) -> bool:
    """Whether a cell looks like a number, a date or a time, though it may not be read as one."""
    text = _with_same_signs(cell).strip(QUOTES + " ")
    return len(text) <= LONGEST and LIKE.fullmatch(text) is not None and any(map(str.isnumeric, text))


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, without a unit or a separator of thousands."""
    return (NUMBER.fullmatch(cell) or NUMBER.fullmatch(_with_same_signs(cell))) is not None


def is_whole(cell: str) -> bool:
    """Whether a cell holds a whole number."""
    return WHOLE.fullmatch(_with_same_signs(cell)) is not None


def notation_as_plain(notation: Notation) -> dict[str, str] | None:
    """A notation as plain values; None for the plain one."""
    return None if notation == PLAIN_NOTATION else asdict(notation)


def notation_from_plain(plain: object) -> Notation | None:
    """The notation that notation_as_plain wrote; None if it is damaged."""
    if plain is None:
        return PLAIN_NOTATION
    if not isinstance(plain, Mapping) or not all(isinstance(value, str) for value in plain.values()):
        return None
    try:
        notation = Notation(**plain)
    except TypeError:
        return None
    valid = notation.kind in get_args(Kind) and notation.decimal in (".", ",") and len(notation.group) <= 1
    return notation if valid else None


def _separators(signs: Collection[str], decimal: Decimal) -> list[tuple[str, Literal[".", ","]]]:
    """The separators of thousands and of decimals that a column with these signs between its digits may have."""
    point: Literal[".", ","] = "," if decimal == "comma" else "."
    others = set(signs) - {point}
    if len(others) > 1 or (decimal == "auto" and "," in others):
        return []
    usual = {"auto": "", "point": ",", "comma": "."}[decimal]
    return [(others.pop() if others else usual, point)]


def _with_same_signs(cell: str) -> str:
    return cell.translate(SAME_SIGNS).strip()


def _days(text: str) -> float | None:
    found = DATE.fullmatch(text)
    if not found:
        return None
    try:
        day = date(*(int(found[name] or found[f"{name}2"]) for name in ("year", "month", "day")))
    except ValueError:  # no such day
        return None
    hours = _hours(found["time"]) if found["time"] else 0.0
    return None if hours is None else day.toordinal() - date(1970, 1, 1).toordinal() + hours / 24


def _hours(text: str) -> float | None:
    found = TIME.fullmatch(text)
    if not found:
        return None
    return math.fsum([int(found["hours"]), int(found["minutes"]) / 60, float(found["seconds"] or 0) / 3600])
