"""A user's CSV file as columns of text: which of them are asked for, which hold categories, which rows have gaps."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ch12cli.data.cells import absent, has_text, is_number, number
from ch12cli.data.text_file import (
    Layout,
    Record,
    counted,
    listed,
    other_separator,
    read_header,
    refuse,
    short,
    width_problem,
)
from ch12cli.errors import InputError

KINDS = ("all", "numbers", "categories")  # of columns, that features may be taken from
MissingValues = Literal["refuse", "drop", "mean", "median"]


@dataclass(frozen=True)
class TextTable:
    """The cells of a file. header: the columns' names; records: all of the header's width."""

    source: str
    header: list[str]
    records: list[Record]

    def cells(self, name: str) -> list[str]:
        """The cells of a column, (rows,), without blanks around them."""
        place = self.header.index(name)
        return [record.cells[place].strip() for record in self.records]

    def where(self, row: int, name: str) -> str:
        """Where a cell stands, for messages."""
        return f"line {self.records[row].line}, column {name}"


def read_table(content: bytes, layout: Layout, *, source: str) -> TextTable:
    """The table that a file holds. InputError if it is none of two columns and a row at least."""
    names, rest = read_header(content, layout, source=source)
    other = other_separator(names, layout)
    if other:
        raise InputError(f"{source}: columns are parted by {other}s, it seems; add dataset.separator={other}")
    if len(names) < 2:
        raise InputError(f"{source}: has a single column, {short(names[0])}; must have a target and a feature at least")
    if layout.header and all(map(is_number, names)):
        raise InputError(
            f"{source}, line {layout.skip_lines + 1}: holds numbers, not the columns' names; "
            "add dataset.header=false if there are none, or dataset.skip_lines=1 to leave the line out"
        )
    if "" in names:
        place = names.index("") + 1
        why = "its lines end in one, it seems: remove it" if place == len(names) else "give it one"
        raise InputError(
            f"{source}, line {layout.skip_lines + 1}: column {place} has no name; {why} (pandas writes its index so, "
            "but for to_csv(…, index=False))"
        )
    records, problems = list[Record](), list[str]()
    for record in rest:
        problem = width_problem(record, len(names))
        problems.append(problem) if problem else records.append(record)
    refuse(problems, source)
    if not records:
        raise InputError(f"{source}: has no rows below its header (line {layout.skip_lines + 1})")
    return TextTable(source, names, records)


def chosen_columns(
    table: TextTable, target: str, *, features: str | Sequence[str], exclude: Sequence[str], categories: Sequence[str]
) -> dict[str, bool]:
    """The columns to learn from, by name, and whether each holds categories. The arguments are csv_file's."""
    named = [] if isinstance(features, str) else list(dict.fromkeys(features))
    if isinstance(features, str) and features not in KINDS:
        raise InputError(f"dataset.features={features}: must be {', '.join(KINDS)}, or names, as [{features}]")
    asked = {"target": [target], "features": named, "exclude": exclude, "categories": categories}
    problems = [
        f"dataset.{key}: {table.source} has no column {short(name)}{_meant(name, table.header)}"
        for key, names in asked.items()
        for name in names
        if name not in table.header
    ]
    if target in named:
        problems.append(f"dataset.features: {target} is the target; leave it out, or choose another dataset.target")
    if problems:
        raise InputError(problems)
    names = [name for name in named or table.header if name != target and name not in exclude]
    kinds = {name: holds_categories(table.cells(name), told=name in categories) for name in names}
    if features in ("numbers", "categories"):
        kinds = {name: category for name, category in kinds.items() if category == (features == "categories")}
    if not kinds:
        raise InputError(
            f"dataset.features={features if not named else listed(named)}: leaves no column of {table.source} to learn "
            f"{target} from; choose others, or exclude fewer"
        )
    return kinds


def holds_categories(cells: Iterable[str], *, told: bool = False) -> bool:
    """Whether a column holds categories: it was told so, or it has texts and not a single number."""
    cells = list(cells)
    return told or (not any(map(is_number, cells)) and any(map(has_text, cells)))


def without_gaps(
    table: TextTable, kinds: Mapping[str, bool], problems: list[str], *, missing: MissingValues
) -> tuple[TextTable, int]:
    """The rows with a value in each of these columns, and how many were left out. Where none may be: all rows, and what
    is missing goes to problems.

    kinds: of the columns, by name, whether each holds categories.
    """
    gaps = {
        (row, name): absent(cell, kind="text" if category else "number")
        for name, category in kinds.items()
        for row, cell in enumerate(table.cells(name))
        if _is_gap(cell, category=category)
    }
    if missing == "refuse":
        found = [f"{table.where(row, name)}: {said}" for (row, name), said in sorted(gaps.items())]
        problems += [f"{said}; or add dataset.missing=drop, mean or median" for said in found[:1]] + found[1:]
        return table, 0
    rows = {row for row, _ in gaps}
    kept = [record for row, record in enumerate(table.records) if row not in rows]
    if not kept:
        raise InputError(
            f"{table.source}: each of its {counted(len(rows), 'row')} has a missing value; "
            "use fewer columns, or dataset.missing=mean or median"
        )
    return TextTable(table.source, table.header, kept), len(rows)


def _is_gap(cell: str, *, category: bool) -> bool:
    if category:
        return not has_text(cell)
    value = number(cell)
    return isinstance(value, float) and math.isnan(value)


def _meant(name: str, there: Sequence[str]) -> str:
    """Which column may be meant; else which there are."""
    folded = {other.casefold(): other for other in there}
    near = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; it has {listed(there)}"
