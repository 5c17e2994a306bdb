"""A user's own table: one column of a CSV file is learned from others. Numbers stay numbers, categories are one-hot."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, integer_problems
from ch12cli.data.columns import (
    Column,
    features_of,
    has_text,
    is_missing,
    missing_problem,
    number,
    similar_texts,
)
from ch12cli.data.notation import (
    PLAIN_NOTATION,
    Decimal,
    Notation,
    is_number,
    is_whole,
)
from ch12cli.data.recognition import Recognition, TargetType
from ch12cli.data.table import Floats, Missing, Table
from ch12cli.data.text_file import (
    SEPARATORS,
    Layout,
    Sheet,
    count_with_noun,
    list_names,
    other_separator,
    read_content,
    read_sheet,
    refuse,
    short,
    width_problem,
)
from ch12cli.errors import InputError
from ch12cli.shell import names_option

MissingValues = Literal["refuse", "drop", "mean", "median"]

COLUMN_KINDS = ("all", "numbers", "categories")  # what `features` may say in place of names
MOST_LEVELS = 100  # texts of a category: each becomes a feature
MOST_CLASSES = 1000
MANY, ROWS_OF_CLASS = 5, 5  # more classes than the first need more rows each than the second, or a note is given
FEW = 20  # most different whole numbers that are taken for classes; a category may differ in each of up to so many rows


def csv_file(
    file: str,
    *,
    target: str | None = None,
    features: str | Sequence[str] = "all",
    exclude: Sequence[str] = (),
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    target_type: TargetType = "auto",
    missing: MissingValues = "refuse",
    separator: str = "comma",
    decimal: Decimal = "auto",
    header: bool = True,
    skip_lines: int = 0,
) -> Table:
    """A table from a text file in UTF-8, features (rows, features) float64.

    target: the column to learn; None: the last. features: names of columns, or all, numbers or categories; those in
    `exclude` are left out. A column holds categories if it has no number at all, or if `categories` names it: it
    becomes a feature for each of its texts, 1 where the cell holds it and else 0. Numbers may have a sign of currency,
    of percent or of degrees, the same in the whole column, and thousands parted by blanks, apostrophes or underscores.
    numbers: columns of dates, which become days since 1970, of times, which become hours, or of numbers with any unit.
    target_type: auto means classes where the target is text, or has at most 20 different whole numbers and twice as
    many rows. missing: refuse allows no missing value; drop leaves those rows out; mean and median fill numbers in from
    the training part, leave all features of a category 0, and drop rows without a target.
    separator: comma, semicolon, tab, bar or space. decimal: point or comma; the other one parts thousands. auto means
    points, and refuses numbers with commas.
    InputError with everything that is wrong, with line and column.
    """
    wrong = choice_problems("dataset.target_type", target_type, get_args(TargetType))
    wrong += choice_problems("dataset.missing", missing, get_args(MissingValues))
    wrong += choice_problems("dataset.separator", separator, tuple(SEPARATORS))
    wrong += choice_problems("dataset.decimal", decimal, get_args(Decimal))
    wrong += integer_problems("dataset.skip_lines", skip_lines, low=0, high=10**6)
    if wrong:
        raise InputError(wrong)
    try:
        content = read_content(Path(file))
    except InputError as error:
        raise InputError([f"dataset.file={problem}" for problem in error.messages]) from None
    named = [] if isinstance(features, str) else list(dict.fromkeys(features))
    asked = [*named, *exclude, *categories, *numbers, *([] if target is None else [target])]
    sheet, notes = _read_table(content, Layout(separator, header, skip_lines), asked, exclude=exclude, source=str(file))
    if target is None:
        target = [name for name in sheet.names if name not in sheet.unnamed.intersection(exclude)][-1]
    names = _selected_columns(
        sheet, target, features=features, exclude=exclude, declared={"categories": categories, "numbers": numbers}
    )
    problems: list[str] = []
    reading = Recognition(sheet, categories, numbers, exclude, decimal, problems, notes)
    kinds = {name: reading.notation(name) for name in names}
    if features in ("numbers", "categories"):
        kinds = {name: kind for name, kind in kinds.items() if (kind is None) == (features == "categories")}
    if not kinds:
        raise InputError(
            f"dataset.features={list_names(named) if named else features}: leaves no column of {sheet.source} "
            f"to learn {target} from; choose others, or exclude fewer"
        )
    target_kind = reading.target_notation(target, target_type)
    refuse(problems, str(file))
    fill: Missing | None = missing if missing in ("mean", "median") else None
    required = {target: target_kind is None, **({} if fill else {name: kind is None for name, kind in kinds.items()})}
    rows = len(sheet.records)
    sheet, dropped = _without_missing(sheet, required, problems, missing=missing)
    encoded = [
        _categories(sheet, name, problems, reading) if kind is None else _numbers(sheet, name, kind, problems, reading)
        for name, kind in kinds.items()
    ]
    values, classes = _target(sheet, target, target_type, target_kind, problems, reading)
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
            *notes,
            *_dropped_notes(file, dropped, rows=rows, why=f"have no {target}" if fill else "have missing values"),
            *_target_notes(sheet, target, target_type, classes),
            *(_header_notes(sheet, [*kinds, target]) if header else ()),
        ),
    )


def _read_table(
    content: bytes, layout: Layout, asked: Sequence[str], *, exclude: Sequence[str], source: str
) -> tuple[Sheet, list[str]]:
    """The table in a file, and notes on what was left out. InputError unless it has at least two columns and a row.

    asked: the columns that options name, `exclude` among them.
    """
    sheet = read_sheet(content, layout, source=source, hint="; if the line is a row, add dataset.header=false")
    names = sheet.names
    other = other_separator(names, layout)
    if other:
        raise InputError(f"{source}: its columns seem to be separated by {other}s; add dataset.separator={other}")
    title = _title_hint(sheet)
    if not names:
        raise InputError(f"{source}, line {sheet.line}: is empty; must name the columns")
    if len(names) < 2:
        what = f"has a single column, {short(names[0])}; must have a target and at least a feature{title}"
        raise InputError(f"{source}: {what}")
    if layout.header and all(map(is_number, names)):
        raise InputError(
            f"{source}, line {sheet.line}: holds numbers, not the names of columns; "
            f"add dataset.header=false if the file names none, or dataset.skip_lines={sheet.line} to skip the line"
        )
    wrong = [problem for problem in (width_problem(record, len(names)) for record in sheet.records) if problem]
    refuse([f"{problem}{title}" for problem in wrong[:1]] + wrong[1:], source)
    if not sheet.records:
        raise InputError(f"{source}: has no rows below its header (line {sheet.line})")
    left_out = {name: _why_left_out(sheet, name) for name in names if name in sheet.unnamed and name not in asked}
    nameless = [name for name, why in left_out.items() if why is None]
    refuse(
        [
            f"line {sheet.line}: column {names.index(name) + 1} has no name; "
            f"give it one, or leave it out with {names_option('dataset.exclude', [*exclude, name])}"
            for name in nameless
        ],
        source,
    )
    notes = [f"{source}: {name} has no name and {why}; it is left out" for name, why in left_out.items()]
    return _without_columns(sheet, list(left_out)), [*sheet.notes, *notes]


def _why_left_out(sheet: Sheet, name: str) -> str | None:
    """Why a column without a name cannot be meant to be learned from or to be learned; None if it may be."""
    cells = sheet.cells(name)
    if not any(cells):
        return "no values"
    return "names the rows" if name == sheet.names[0] and len(set(cells)) == len(cells) else None


def _without_columns(sheet: Sheet, left_out: Sequence[str]) -> Sheet:
    kept = [position for position, name in enumerate(sheet.names) if name not in left_out]
    records = [record._replace(cells=[record.cells[position] for position in kept]) for record in sheet.records]
    return replace(sheet, names=[sheet.names[position] for position in kept], records=records) if left_out else sheet


def _title_hint(sheet: Sheet) -> str:
    """A hint if most rows have the same number of cells, and it is not that of the header: that may be a title."""
    (width, rows), *_ = Counter(len(record.cells) for record in sheet.records).most_common(1) or [(0, 0)]
    if width < 2 or width == len(sheet.names) or 2 * rows <= len(sheet.records):
        return ""
    line = next(record.line for record in sheet.records if len(record.cells) == width)
    return f"; add dataset.skip_lines={line - 1} if the table begins in line {line}"


def _selected_columns(
    sheet: Sheet,
    target: str,
    *,
    features: str | Sequence[str],
    exclude: Sequence[str],
    declared: Mapping[str, Sequence[str]],
) -> list[str]:
    """The names of the columns to learn from. declared: option -> names; the others are the arguments of csv_file."""
    named = [] if isinstance(features, str) else list(dict.fromkeys(features))
    if isinstance(features, str) and features not in COLUMN_KINDS:
        names = names_option("dataset.features", [features])
        raise InputError(f"dataset.features={features}: must be {', '.join(COLUMN_KINDS)}, or names, as {names}")
    asked = {"target": [target], "features": named, "exclude": exclude, **declared}
    problems = [
        f"dataset.{key}: {sheet.source} has no column {short(name)}{_similar(name, sheet.names)}"
        for key, names in asked.items()
        for name in names
        if name not in sheet.names
    ]
    if target in named:
        problems.append(f"dataset.features: {target} is the target; leave it out, or choose another dataset.target")
    both = set(declared["categories"]) & set(declared["numbers"])
    problems += [f"dataset.numbers: {name} is in dataset.categories too; leave it out of one" for name in sorted(both)]
    if problems:
        raise InputError(problems)
    return [name for name in named or sheet.names if name != target and name not in exclude]


def _without_missing(
    table: Sheet, kinds: Mapping[str, bool], problems: list[str], *, missing: MissingValues
) -> tuple[Sheet, int]:
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
    return replace(table, records=kept), len(rows)


def _similar(name: str, present: Sequence[str]) -> str:
    """A hint: the most similar name that is present, else the names that are."""
    folded = {other.casefold(): other for other in present}
    near = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; it has {list_names(present)}"


def _numbers(
    text: Sheet, name: str, notation: Notation, problems: list[str], reading: Recognition
) -> tuple[Column, Floats]:
    """A column of numbers, (rows, 1), NaN for a missing value. Cells that are not numbers are added to problems."""
    cells = text.cells(name)
    values = _values(text, name, notation, problems, partial(reading.hint, name))
    if not any(map(has_text, cells)):
        problems.append(f"column {name}: has no values; leave it out with {reading.exclude_option(name)}")
    return Column(name, notation=notation), values.reshape(-1, 1)


def _values(text: Sheet, name: str, notation: Notation, problems: list[str], hint: Callable[[], str]) -> Floats:
    """The numbers of a column, (rows,). hint: gives what is added to the first problem where some cells are numbers."""
    found = [number(cell, notation) for cell in text.cells(name)]
    wrong = [f"{text.location(row, name)}: {value}" for row, value in enumerate(found) if isinstance(value, str)]
    if wrong and any(isinstance(value, float) for value in found):
        wrong[0] += hint()
    problems += wrong
    return np.array([math.nan if isinstance(value, str) else value for value in found])


def _categories(text: Sheet, name: str, problems: list[str], reading: Recognition) -> tuple[Column, Floats]:
    """A column of categories, (rows, levels): a single 1 in each row, or none for a missing value."""
    cells = text.cells(name)
    levels = _in_order({cell for cell in cells if has_text(cell)})
    if len(levels) > MOST_LEVELS or len(levels) == len(cells) > FEW:
        problems.append(
            f"column {name}: has {len(levels)} different texts in {count_with_noun(len(cells), 'row')}, too many for a "
            f"category; leave it out with {reading.exclude_option(name)}"
        )
        levels = levels[:1]
    reading.notes.extend(_similar_notes(text, name, levels, "categories"))
    index = {level: position for position, level in enumerate(levels)}
    indices = np.array([index.get(cell, -1) for cell in cells])  # (rows,)
    one_hot = indices[:, np.newaxis] == np.arange(len(levels))  # (rows, levels)
    return Column(name, tuple(levels)), one_hot.astype(np.float64)


def _target(
    text: Sheet,
    name: str,
    kind: TargetType,
    notation: Notation | None,
    problems: list[str],
    reading: Recognition,
) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """The target of each row, (rows,), and the names of the classes, or None for values."""
    cells = text.cells(name)
    few_whole = all(map(is_whole, cells)) and _are_few(cells)
    if kind == "values" or (kind == "auto" and notation is not None and not few_whole):
        hint = partial(reading.hint, name, target=True)
        return _values(text, name, notation or PLAIN_NOTATION, problems, hint), None
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


def _are_few(cells: Sequence[str]) -> bool:
    """Whether the cells are so few different ones that they may be classes."""
    return len(set(cells)) <= min(FEW, len(cells) // 2)


def _in_order(texts: Iterable[str]) -> list[str]:
    """Texts in sorted order; in that of their numbers if all are numbers."""
    ordered = sorted(texts)
    if not all(map(is_number, ordered)):
        return ordered
    return sorted(ordered, key=lambda text: PLAIN_NOTATION.value(text) or 0.0)


def _dropped_notes(file: str, dropped: int, *, rows: int, why: str) -> list[str]:
    """A note that rows were left out, if any were."""
    return [f"{file}: {dropped} of {count_with_noun(rows, 'row')} left out, which {why}"] if dropped else []


def _header_notes(sheet: Sheet, used: Sequence[str]) -> list[str]:
    """A note if the first line may be a row: names are numbers, or occur in the columns that they name."""
    names = [name for name in sheet.names if is_number(name) or (name in used and name in sheet.cells(name))]
    if not names:
        return []
    return [
        f"{sheet.source}: its first line is taken for the names of the columns, with {list_names(names)} among them; "
        "if it is a row, add dataset.header=false"
    ]


def _target_notes(sheet: Sheet, name: str, kind: TargetType, classes: Sequence[str] | None) -> list[str]:
    """Notes on a target that may not be what is meant."""
    cells = sheet.cells(name)
    column = f"{sheet.source}: column {name}"
    if classes is None:
        levels = {number(cell) for cell in cells}
        may_be_classes = len(levels) == 2 or all(isinstance(level, float) and level.is_integer() for level in levels)
        if kind == "auto" and _are_few(cells) and may_be_classes:
            few = list_names(_in_order(set(cells)))
            return [f"{column}: {few} are learned as values; add dataset.target_type=classes if they are classes"]
        return []
    notes = _similar_notes(sheet, name, classes, "classes")
    if len(classes) > MANY and len(cells) < ROWS_OF_CLASS * len(classes):
        what = f"{len(classes)} classes in {count_with_noun(len(cells), 'row')}"
        notes.append(f"{column}: has {what}; if it is not what is to be learned, name another dataset.target")
    return notes


def _similar_notes(sheet: Sheet, name: str, texts: Sequence[str], what: str) -> list[str]:
    """A note if some texts of a column may mean the same."""
    pairs = [f"{one} and {other}" for one, other in similar_texts(texts)]
    if not pairs:
        return []
    return [
        f"{sheet.source}: column {name}: {list_names(pairs)} are different {what}; "
        "if they mean the same, write them alike in the file"
    ]
