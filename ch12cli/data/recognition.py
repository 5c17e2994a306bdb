"""Recognises how the numbers of each column of a user's file are written, and reports what is not certain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ch12cli.data.columns import has_text, is_missing, rounding_hint
from ch12cli.data.notation import (
    PLAIN_NOTATION,
    Decimal,
    Notation,
    find_notation,
    is_number,
    looks_like_number,
    notation_of_most,
    plain_numbers_last,
    usual_notation,
)
from ch12cli.data.sheets.cells import Numbers
from ch12cli.data.sheets.text_sheet import Sheet
from ch12cli.data.table import Floats
from ch12cli.data.text_file import list_names, list_values, short
from ch12cli.shell import names_option

TargetType = Literal["auto", "classes", "values"]


@dataclass(frozen=True)
class Recognition:
    """How the columns of a file are to be read. problems, notes: what was found, to which more is added."""

    sheet: Sheet
    categories: Sequence[str]
    numbers: Sequence[str]
    exclude: Sequence[str]
    decimal: Decimal
    problems: list[str]
    notes: list[str]

    def notation(self, name: str) -> Notation | None:
        """How the numbers of a feature are written; None if it holds categories."""
        if name in self.categories:
            return None
        kind = self._found(name, declared=name in self.numbers)
        otherwise = f"{self.categories_option(name)} for categories, or {self.exclude_option(name)} to leave it out"
        if kind is None:
            self._judge_texts(name, self.numbers_option(name), otherwise)
        elif _is_decorated(kind) and name not in self.numbers and self.decimal == "auto":
            self._tell(name, kind, f"{self.categories_option(name)} if it holds categories")
        return kind

    def target_notation(self, name: str, kind: TargetType) -> Notation | None:
        """How the numbers of the target are written; None if it holds texts."""
        found = self._found(name, declared=kind == "values")
        if kind != "auto":
            return found
        otherwise = "dataset.target_type=classes if it holds classes"
        if found is None:
            self._judge_texts(name, "dataset.target_type=values", otherwise)
        elif _is_decorated(found) and self.decimal == "auto":
            self._tell(name, found, otherwise)
        return found

    def hint(self, name: str, *, mixed: bool, target: bool = False) -> str:
        """What to do about a column with cells that are no numbers. mixed: whether others are."""
        is_declared = name in self.numbers
        declare = "dataset.target_type=values" if target else self.numbers_option(name)
        ways = self._ways(self._values(name), None if is_declared else declare)
        read = f"; add {' or '.join(ways)} to read all of them" if ways else ""
        if is_declared or not mixed:
            return read
        if target:
            return f"{read}; if it holds classes, add dataset.target_type=classes"
        return f"{read}; if the column holds categories, add {self.categories_option(name)}"

    def note_rounding(self, name: str, pieces: Iterable[Floats]) -> None:
        """Adds a note if double precision rounds the numbers of a column so that it matters. pieces: of it, (rows,)."""
        if hint := rounding_hint(pieces):
            self.notes.append(f"{self.sheet.source}: column {name}: {hint}")

    def categories_option(self, name: str) -> str:
        """The option that makes a column hold categories, beside those that are so declared."""
        return names_option("dataset.categories", [*self.categories, name])

    def exclude_option(self, name: str) -> str:
        """The option that leaves a column out, beside those that are left out."""
        return names_option("dataset.exclude", [*self.exclude, name])

    def numbers_option(self, name: str) -> str:
        """The option that reads a column as numbers, beside those that are so declared."""
        return names_option("dataset.numbers", [*self.numbers, name])

    def _found(self, name: str, *, declared: bool) -> Notation | None:
        column = self.sheet.columns[name]
        if isinstance(column, Numbers):
            return column.notation or usual_notation(self.decimal)
        cells = self._values(name)
        if not cells and any(map(has_text, column.distinct)):
            return None
        found = find_notation(plain_numbers_last(cells), decimal=self.decimal, declared=declared)
        if found is None and declared:  # so that those cells are reported that are written otherwise than most
            return notation_of_most(list(filter(looks_like_number, cells)) or cells, self.decimal)
        return found or (usual_notation(self.decimal) if any(map(is_number, cells)) else None)

    def _values(self, name: str) -> list[str]:
        """The different cells of a column that hold a value; none for a column of numbers."""
        column = self.sheet.columns[name]
        distinct = [] if isinstance(column, Numbers) else column.distinct
        return [cell for cell in distinct if not is_missing(cell, category=False)]

    def _tell(self, name: str, kind: Notation, otherwise: str) -> None:
        """Adds a note on how the numbers of a column are read."""
        cell = next((cell for cell in self._values(name) if not is_number(cell)), None)
        if cell is None:  # the file gives the column's type, and a note says so already
            return
        self.notes.append(
            f"{self.sheet.source}: column {name}: {cell!r} is read as {kind.value(cell):.10g}; add {otherwise}"
        )

    def _judge_texts(self, name: str, declare: str, otherwise: str) -> None:
        """Adds a problem for texts that look like numbers, or a note if there are only two of them."""
        texts = self._values(name)
        like = list(filter(looks_like_number, texts))
        if 2 * len(like) <= len(texts):
            return
        if len(texts) <= 2:
            self.notes.append(
                f"{self.sheet.source}: column {name}: {list_names(texts)} are taken as texts, not numbers"
            )
            return
        ways, shown, rest = self._ways(like, declare), like[0], ""
        if not ways:
            kind = notation_of_most(like, self.decimal)
            odd = [text for text in like if kind.value(text) is None]
            if len(odd) < len(like) - len(odd):
                ways, shown = [declare], next(text for text in like if kind.value(text) is not None)
                rest = f" (all but {list_values(odd)}, to be changed first)"
        self.problems.append(
            f"column {name}: {short(shown)!r} looks like a number, a date or a time; "
            + (f"add {' or '.join(ways)} to read it{rest}, " if ways else "add ")
            + otherwise
        )

    def _ways(self, texts: Sequence[str], declare: str | None) -> list[str]:
        """The options that read all of these texts as numbers; the fewest that do. declare: None if it is given."""
        texts = plain_numbers_last(texts)
        decimals = list(dict.fromkeys((self.decimal, "comma", "point")))
        for declared in (False, True) if declare else (True,):
            options = [
                [f"dataset.decimal={decimal}"] * (decimal != self.decimal) + ([declare] if declared and declare else [])
                for decimal in decimals
                if find_notation(texts, decimal=decimal, declared=declared)
            ]
            if options:
                fewest = min(map(len, options))  # 0: they are numbers as they are, of which one is too large
                return [" ".join(words) for words in options if len(words) == fewest > 0]
        return []


def _is_decorated(kind: Notation) -> bool:
    """Whether numbers have more than digits, a point and an exponent."""
    return replace(kind, decimal=".") != PLAIN_NOTATION
