"""A user's own table: one column of a CSV file is learned from others. Numbers stay numbers, categories are one-hot."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, integer_problems
from ch12cli.data.columns import (
    WHOLE,
    Column,
    features_of,
    has_text,
    is_missing,
    is_number,
    missing_problem,
    number,
    number_with_comma,
)
from ch12cli.data.table import Floats, Missing, Table
from ch12cli.data.text_file import (
    SEPARATORS,
    Layout,
    Record,
    count_with_noun,
    list_names,
    other_separator,
    read_content,
    read_header,
    refuse,
    short,
    width_problem,
)
from ch12cli.errors import InputError

TargetType = Literal["auto", "classes", "values"]
MissingValues = Literal["refuse", "drop", "mean", "median"]

COLUMN_KINDS = ("all", "numbers", "categories")  # what `features` may say in place of names
MOST_LEVELS = 100  # texts of a category: each becomes a feature
MOST_CLASSES = 1000
FEW = 20  # most different whole numbers that are taken for classes; a category may differ in each of up to so many rows


def csv_file(
    file: str,
    *,
    target: str | None = None,
    features: str | Sequence[str] = "all",
    exclude: Sequence[str] = (),
    categories: Sequence[str] = (),
    target_type: TargetType = "auto",
    missing: MissingValues = "refuse",
    separator: str = "comma",
    header: bool = True,
    skip_lines: int = 0,
) -> Table:
    """A table from a text file in UTF-8, features (rows, features) float64.

    target: the column to learn; None: the last. features: names of columns, or all, numbers or categories; those in
    `exclude` are left out. A column holds categories if it has no number at all, or if `categories` names it: it
    becomes a feature for each of its texts, 1 where the cell holds it and else 0.
    target_type: auto means classes where the target is text, or has at most 20 different whole numbers and twice as
    many rows. missing: refuse allows no missing value; drop leaves those rows out; mean and median fill numbers in from
    the training part, leave all features of a category 0, and drop rows without a target.
    separator: comma, semicolon, tab, bar or space.
    InputError with everything that is wrong, with line and column.
    """
    wrong = choice_problems("dataset.target_type", target_type, get_args(TargetType))
    wrong += choice_problems("dataset.missing", missing, get_args(MissingValues))
    wrong += choice_problems("dataset.separator", separator, tuple(SEPARATORS))
    wrong += integer_problems("dataset.skip_lines", skip_lines, low=0, high=10**6)
    if wrong:
        raise InputError(wrong)
    try:
        content = read_content(Path(file))
    except InputError as error:
        raise InputError([f"dataset.file={problem}" for problem in error.messages]) from None
    text = _read_table(content, Layout(separator, header, skip_lines), source=str(file))
    target = text.header[-1] if target is None else target
    kinds = _selected_columns(text, target, features=features, exclude=exclude, categories=categories)
    fill: Missing | None = missing if missing in ("mean", "median") else None
    required = {target: _holds_categories(text.cells(target)), **({} if fill else kinds)}
    rows = len(text.records)
    problems: list[str] = []
    text, dropped = _without_missing(text, required, problems, missing=missing)
    problems += _comma_problems(text, [name for name in kinds if name not in categories], "dataset.categories=")
    problems += _comma_problems(text, [target] if target_type == "auto" else [], "dataset.target_type=classes")
    encoded = [(_categories if category else _numbers)(text, name, problems) for name, category in kinds.items()]
    values, classes = _target(text, target, target_type, problems)
    refuse(problems, str(file))
    columns = tuple(column for column, _ in encoded)
    return Table(
        np.concatenate([part for _, part in encoded], axis=1),
        values,
        feature_names=features_of(columns),
        target_name=target,
        class_names=classes,
        source=str(file),
        missing=fill,
        columns=columns,
        notes=(
            *_dropped_notes(file, dropped, rows=rows, why=f"have no {target}" if fill else "have missing values"),
            *(_header_notes(file, text.header) if header else ()),
        ),
    )


@dataclass(frozen=True)
class _TextTable:
    """The cells of a file. header: names of the columns; records: each has as many cells as the header."""

    source: str
    header: list[str]
    records: list[Record]

    def cells(self, name: str) -> list[str]:
        """The cells of a column, (rows,), without blanks around them."""
        index = self.header.index(name)
        return [record.cells[index].strip() for record in self.records]

    def location(self, row: int, name: str) -> str:
        """Line and column of a cell, for messages."""
        return f"line {self.records[row].line}, column {name}"


def _read_table(content: bytes, layout: Layout, *, source: str) -> _TextTable:
    """The table in a file. InputError unless it has at least two columns and a row."""
    names, rest = read_header(content, layout, source=source)
    other = other_separator(names, layout)
    if other:
        raise InputError(f"{source}: its columns seem to be separated by {other}s; add dataset.separator={other}")
    if len(names) < 2:
        raise InputError(f"{source}: has a single column, {short(names[0])}; must have a target and at least a feature")
    if layout.header and all(map(is_number, names)):
        raise InputError(
            f"{source}, line {layout.skip_lines + 1}: holds numbers, not the names of columns; "
            "add dataset.header=false if the file names none, or dataset.skip_lines=1 to skip the line"
        )
    if "" in names:
        position = names.index("") + 1
        why = "the lines seem to end in a separator: remove it" if position == len(names) else "give it one"
        raise InputError(
            f"{source}, line {layout.skip_lines + 1}: column {position} has no name; {why} "
            "(pandas writes its index that way: use to_csv(…, index=False))"
        )
    records, problems = list[Record](), list[str]()
    for record in rest:
        problem = width_problem(record, len(names))
        problems.append(problem) if problem else records.append(record)
    refuse(problems, source)
    if not records:
        raise InputError(f"{source}: has no rows below its header (line {layout.skip_lines + 1})")
    return _TextTable(source, names, records)


def _selected_columns(
    table: _TextTable, target: str, *, features: str | Sequence[str], exclude: Sequence[str], categories: Sequence[str]
) -> dict[str, bool]:
    """The columns to learn from: name -> whether it holds categories. The arguments are those of csv_file."""
    named = [] if isinstance(features, str) else list(dict.fromkeys(features))
    if isinstance(features, str) and features not in COLUMN_KINDS:
        raise InputError(f"dataset.features={features}: must be {', '.join(COLUMN_KINDS)}, or names, as [{features}]")
    asked = {"target": [target], "features": named, "exclude": exclude, "categories": categories}
    problems = [
        f"dataset.{key}: {table.source} has no column {short(name)}{_similar(name, table.header)}"
        for key, names in asked.items()
        for name in names
        if name not in table.header
    ]
    if target in named:
        problems.append(f"dataset.features: {target} is the target; leave it out, or choose another dataset.target")
    if problems:
        raise InputError(problems)
    names = [name for name in named or table.header if name != target and name not in exclude]
    kinds = {name: _holds_categories(table.cells(name), declared=name in categories) for name in names}
    if features in ("numbers", "categories"):
        kinds = {name: category for name, category in kinds.items() if category == (features == "categories")}
    if not kinds:
        raise InputError(
            f"dataset.features={features if not named else list_names(named)}: leaves no column of {table.source} "
            f"to learn {target} from; choose others, or exclude fewer"
        )
    return kinds


def _holds_categories(cells: Iterable[str], *, declared: bool = False) -> bool:
    """Whether a column holds categories: it is declared to, or it has texts and no number at all."""
    cells = list(cells)
    return declared or (not any(map(is_number, cells)) and any(map(has_text, cells)))


def _without_missing(
    table: _TextTable, kinds: Mapping[str, bool], problems: list[str], *, missing: MissingValues
) -> tuple[_TextTable, int]:
    """The rows that have a value in each of these columns, and the number of rows dropped.

    kinds: name -> whether the column holds categories. With missing=refuse all rows stay, and each missing value is
    added to problems.
    """
    found = {
        (row, name): missing_problem(cell, category=category)
        for name, category in kinds.items()
        for row, cell in enumerate(table.cells(name))
        if is_missing(cell, category=category)
    }
    if missing == "refuse":
        texts = [f"{table.location(row, name)}: {text}" for (row, name), text in sorted(found.items())]
        problems += [f"{text}; or add dataset.missing=drop, mean or median" for text in texts[:1]] + texts[1:]
        return table, 0
    rows = {row for row, _ in found}
    kept = [record for row, record in enumerate(table.records) if row not in rows]
    if not kept:
        raise InputError(
            f"{table.source}: each of its {count_with_noun(len(rows), 'row')} has a missing value; "
            "use fewer columns, or dataset.missing=mean or median"
        )
    return _TextTable(table.source, table.header, kept), len(rows)


def _similar(name: str, present: Sequence[str]) -> str:
    """A hint: the most similar name that is present, else the names that are."""
    folded = {other.casefold(): other for other in present}
    near = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; it has {list_names(present)}"


def _comma_problems(text: _TextTable, names: Sequence[str], option: str) -> list[str]:
    """The columns of numbers with commas, which would be taken for texts. option: what to add if they are texts."""
    found = {name: cell for name in names if (cell := number_with_comma(text.cells(name)))}
    return [
        f"column {name}: its numbers have commas, such as {cell}; write points for decimal commas, and nothing between "
        f"thousands, or add {option}{f'[{name}]' if option.endswith('=') else ''} if they are not numbers"
        for name, cell in found.items()
    ]


def _numbers(text: _TextTable, name: str, problems: list[str]) -> tuple[Column, Floats]:
    """A column of numbers, (rows, 1), NaN for a missing value. Cells that are not numbers are added to problems."""
    cells = text.cells(name)
    values = _values(text, name, problems, f"; if the column holds categories, add dataset.categories=[{name}]")
    if not any(map(has_text, cells)):
        problems.append(f"column {name}: has no values; leave it out with dataset.exclude=[{name}]")
    return Column(name), values.reshape(-1, 1)


def _values(text: _TextTable, name: str, problems: list[str], hint: str) -> Floats:
    """The numbers of a column, (rows,). hint: added to the first problem where some cells are numbers."""
    found = [number(cell) for cell in text.cells(name)]
    wrong = [f"{text.location(row, name)}: {value}" for row, value in enumerate(found) if isinstance(value, str)]
    if wrong and any(isinstance(value, float) for value in found):
        wrong[0] += hint
    problems += wrong
    return np.array([math.nan if isinstance(value, str) else value for value in found])


def _categories(text: _TextTable, name: str, problems: list[str]) -> tuple[Column, Floats]:
    """A column of categories, (rows, levels): a single 1 in each row, or none for a missing value."""
    cells = text.cells(name)
    levels = _in_order({cell for cell in cells if has_text(cell)})
    if len(levels) > MOST_LEVELS or len(levels) == len(cells) > FEW:
        problems.append(
            f"column {name}: has {len(levels)} different texts in {count_with_noun(len(cells), 'row')}, too many for a "
            f"category; leave it out with dataset.exclude=[{name}]"
        )
        levels = levels[:1]
    index = {level: position for position, level in enumerate(levels)}
    indices = np.array([index.get(cell, -1) for cell in cells])  # (rows,)
    one_hot = indices[:, np.newaxis] == np.arange(len(levels))  # (rows, levels)
    return Column(name, tuple(levels)), one_hot.astype(np.float64)


def _target(
    text: _TextTable, name: str, kind: TargetType, problems: list[str]
) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """The target of each row, (rows,), and the names of the classes, or None for values."""
    cells = text.cells(name)
    few_whole = all(map(WHOLE.fullmatch, cells)) and len(set(cells)) <= min(FEW, len(cells) // 2)
    if kind == "values" or (kind == "auto" and any(map(is_number, cells)) and not few_whole):
        return _values(text, name, problems, "; if it holds classes, add dataset.target_type=classes"), None
    classes = _in_order(set(cells))
    if len(classes) < 2:
        raise InputError(
            f"{text.source}, column {name}: is {short(classes[0])} in every row; must have at least two classes"
        )
    if len(classes) > MOST_CLASSES or len(classes) == len(cells):
        what = "a class of its own in each row" if len(classes) == len(cells) else f"{len(classes)} classes"
        other = "add dataset.target_type=values, or " if all(map(is_number, cells)) else ""
        raise InputError(f"{text.source}, column {name}: has {what}; {other}choose another dataset.target")
    index = {label: position for position, label in enumerate(classes)}
    return np.array([index[cell] for cell in cells]), tuple(classes)


def _in_order(texts: Iterable[str]) -> list[str]:
    """Texts in sorted order; in that of their numbers if all are numbers."""
    ordered = sorted(texts)
    return sorted(ordered, key=float) if all(map(is_number, ordered)) else ordered


def _dropped_notes(file: str, dropped: int, *, rows: int, why: str) -> list[str]:
    """A note that rows were left out, if any were."""
    return [f"{file}: {dropped} of {count_with_noun(rows, 'row')} left out, which {why}"] if dropped else []


def _header_notes(file: str, header: Sequence[str]) -> list[str]:
    """A note if some names of columns are numbers: the first line may be a row."""
    numbers = list(filter(is_number, header))
    if not numbers:
        return []
    return [
        f"{file}: its first line is taken for the names of the columns, with {list_names(numbers)} among them; "
        "if it is a row, add dataset.header=false"
    ]
