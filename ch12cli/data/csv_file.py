"""A user's own table: one column of a CSV file is learned from others. Numbers stay numbers, categories are one-hot."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from ch12cli.data.sheets.cells import Cells, Keep, Numbers, Texts
from ch12cli.data.sheets.files import sheet_of
from ch12cli.data.sheets.joined import read_joined
from ch12cli.data.sheets.large_files import memory_needed, sheet_of_large
from ch12cli.data.sheets.stored_arrays import Kept, array_folder, keep_array, looked_up, pieces_of
from ch12cli.data.sheets.text_sheet import Sheet, Ways, all_differ, is_empty
from ch12cli.data.streaming.budget import budget_of
from ch12cli.data.streaming.lazy_rows import Features
from ch12cli.data.streaming.row_file import ROWS, RowFile, is_exact_in_float32, write_rows
from ch12cli.data.streaming.table_cache import stored_table
from ch12cli.data.table import Floats, Missing, RowIndices, Table
from ch12cli.data.text_file import (
    SEPARATORS,
    Layout,
    count_with_noun,
    first_ones,
    list_names,
    matching_paths,
    other_separator,
    read_content,
    refuse,
    short,
    width_problem,
)
from ch12cli.errors import InputError, Problem, first_few, in_list
from ch12cli.shell import names_option

MissingValues = Literal["refuse", "drop", "mean", "median"]

COLUMN_KINDS = ("all", "numbers", "categories")  # what `features` may say in place of names
MOST_LEVELS = 100  # texts of a category: each becomes a feature
MOST_CLASSES = 1000
MANY, ROWS_OF_CLASS = 5, 5  # more classes than the first need more rows each than the second, or a note is given
UNNAMED = re.compile(r"column_[0-9]+")
BLOCK = 2**13  # rows of the features that are filled in at once
FEW = 20  # most different whole numbers that are taken for classes; a category may differ in each of up to so many rows


def csv_file(
    file: str,
    *,
    target: str | None = None,
    features: str | Sequence[str] = "all",
    exclude: Sequence[str] = (),
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    weight: str | None = None,
    group: str | None = None,
    target_type: TargetType = "auto",
    missing: MissingValues = "refuse",
    separator: str = "auto",
    decimal: Decimal = "auto",
    header: bool = True,
    skip_lines: int = 0,
    memory: str | int = "auto",
) -> Table:
    """A table from a file, or from several of the same columns, features (rows, features) float64.

    file: a path, or a pattern with * ? [ for all files that match it, in sorted order. What they are, text in UTF-8,
    Parquet, Arrow, or arrays of numpy, is found by their first bytes; text may be compressed by gzip or zstd.
    target: the column to learn; None: the last. features: names of columns, or all, numbers or categories; those in
    `exclude` are left out. A column holds categories if it has no number at all, or if `categories` names it: it
    becomes a feature for each of its texts, 1 where the cell holds it and else 0. Numbers may have a sign of currency,
    of percent or of degrees, the same in the whole column, and thousands parted by blanks, apostrophes or underscores.
    weight: the column of how much each row counts in the loss; group: the column whose equal texts keep rows in one
    part of a split. Neither is learned from. numbers: columns of dates, which become days since 1970, of times, which
    become hours, or of numbers with any unit.
    target_type: auto means classes where the target is text, or has at most 20 different whole numbers and twice as
    many rows. missing: refuse allows no missing value; drop leaves those rows out; mean and median fill numbers in from
    the training part, leave all features of a category 0, and drop rows without a target.
    separator: comma, semicolon, tab, bar or space; auto: tab for .tsv, else comma. decimal: point or comma; the other
    one parts thousands. auto means points, and refuses numbers with commas. memory: what reading may take; a larger
    table is kept on disk, and its features are lazy. auto: half of what is available.
    InputError with everything that is wrong, with line and column.
    """
    given = dict(locals())
    wrong = choice_problems("dataset.target_type", target_type, get_args(TargetType))
    wrong += choice_problems("dataset.missing", missing, get_args(MissingValues))
    wrong += choice_problems("dataset.separator", separator, ("auto", *SEPARATORS))
    wrong += choice_problems("dataset.decimal", decimal, get_args(Decimal))
    wrong += integer_problems("dataset.skip_lines", skip_lines, low=0, high=10**6)
    if not isinstance(features, str) and not features:  # an empty list, which is not all of them
        rule, hint = "leaves no column to learn from", "name some, or write dataset.features=all"
        wrong.append(Problem("dataset.features", "[]", rule, hint))
    if wrong:
        raise InputError(wrong)
    with _names_its_key():
        paths = [str(path) for path in matching_paths(file)]
    allowed = budget_of(memory)
    if array_folder() is None and sum(memory_needed(Path(path)) for path in paths) > allowed:
        settings = {name: value for name, value in given.items() if name != "memory"}
        return stored_table([Path(path) for path in paths], settings, lambda: csv_file(**given), allowed=allowed)
    named = [] if isinstance(features, str) else list(dict.fromkeys(features))
    special = [name for name in (weight, group) if name is not None]
    asked = [*named, *exclude, *categories, *numbers, *special, *([] if target is None else [target])]

    def ways(names: Sequence[str]) -> dict[str, Keep]:
        """How each column is kept: only those are read that may be features or the target."""
        goals = [target] if target is not None else names[_last_included(names, [*exclude, *special]) :]
        unused = {name for name in names if name in exclude or (named and name not in asked)}
        found: dict[str, Keep] = {}
        for name in names:
            if name in special:
                found[name] = "texts" if name == group else "numbers"
            elif name in goals:
                found[name] = "texts" if target_type == "classes" else "few"
            elif name in unused and not UNNAMED.fullmatch(name):
                found[name] = "nothing"
            else:
                found[name] = "texts" if name in categories else "numbers"
        return found

    def read(path: str, ways: Ways) -> Sheet:
        with _names_its_key():
            content = read_content(Path(path)) if array_folder() is None else Path(path)
        layout = Layout(separator, header, skip_lines).of_file(path)
        return _read_table(content, layout, asked, exclude, decimal, ways, source=path)

    if len(paths) == 1:
        sheet = read(paths[0], ways)
    else:
        sheet = read_joined(paths, read, source=str(file), decimal=decimal, ways=ways)
    notes = list(sheet.notes)
    if target is None:
        left_out = {*sheet.unnamed.intersection(exclude), *special}
        target = [name for name in sheet.names if name not in left_out or name == sheet.names[0]][-1]
    names = _selected_columns(
        sheet,
        target,
        features=features,
        exclude=exclude,
        declared={
            "categories": categories,
            "numbers": numbers,
            "weight": [weight] if weight else [],
            "group": [group] if group else [],
        },
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
    weight_kind = None if weight is None else reading.target_notation(weight, "values") or PLAIN_NOTATION
    refuse(problems, str(file))
    of_rows = {name: name == group for name in special}
    required = {
        target: target_kind is None,
        **of_rows,
        **({} if fill else {name: kind is None for name, kind in kinds.items()}),
    }
    rows = sheet.rows
    sheet = replace(sheet, columns={name: sheet.columns[name] for name in (*kinds, target, *special)})
    sheet, kept = _without_missing(sheet, required, problems, missing=missing)
    encoded = [
        _categories(sheet, name, problems, reading) if kind is None else _numbers(sheet, name, kind, problems, reading)
        for name, kind in kinds.items()
    ]
    weights = None if weight is None or weight_kind is None else _weights(sheet, weight, weight_kind, problems)
    groups = None if group is None else _texts(sheet, group).codes
    values, classes = _target(sheet, target, target_type, target_kind, problems, reading)
    refuse(problems, str(file))
    columns = tuple(column for column, _ in encoded)
    return Table(
        _features(encoded, str(file)),
        values,
        feature_names=features_of(columns),
        target_name=target,
        class_names=classes,
        source=str(file),
        missing=fill,
        columns=columns,
        weights=weights,
        groups=groups,
        source_rows=kept,
        notes=(
            *notes,
            *_dropped_notes(
                file,
                rows - sheet.rows,
                rows=rows,
                why=f"have no {' or '.join([target, *special])}" if fill else "have missing values",
            ),
            *_target_notes(sheet, target, target_type, classes),
            *(_header_notes(sheet, [*kinds, target]) if header else ()),
        ),
    )


@contextmanager
def _names_its_key() -> Iterator[None]:
    """Adds the key that named a file to an InputError about it."""
    try:
        yield
    except InputError as error:
        raise InputError([f"dataset.file={problem}" for problem in error.messages]) from None


def _last_included(names: Sequence[str], exclude: Sequence[str]) -> int:
    """The position of the last column that is not excluded; 0 if all are."""
    return max((position for position, name in enumerate(names) if name not in exclude), default=0)


def _read_table(
    content: bytes | Path,
    layout: Layout,
    asked: Sequence[str],
    exclude: Sequence[str],
    decimal: Decimal,
    ways: Ways,
    *,
    source: str,
) -> Sheet:
    """The table in a file. InputError unless it has at least two columns and a row.

    content: the path of a file whose cells stay on disk. asked: the columns that options name, `exclude` among them;
    ways: how each column is kept.
    """
    hint = "; if the line is a row, add dataset.header=false"
    if isinstance(content, Path):
        sheet = sheet_of_large(content, layout, source=source, hint=hint, decimal=decimal, ways=ways)
    else:
        sheet = sheet_of(content, layout, source=source, hint=hint, decimal=decimal, ways=ways)
    names = sheet.names
    other = other_separator([name for name in names if name not in sheet.unnamed], layout)
    if other:
        raise InputError(f"{source}: its columns seem to be separated by {other}s; add dataset.separator={other}")
    title = _title_hint(sheet)
    if not names:
        raise InputError(f"{source}, line {sheet.line}: is empty; must name the columns")
    if len(names) < 2:
        blanks = "; if blanks separate its columns, add dataset.separator=space" if " " in names[0].strip() else ""
        what = f"has a single column, {short(names[0])}; must have a target and at least a feature{title or blanks}"
        raise InputError(f"{source}: {what}")
    if layout.header and all(map(is_number, names)):
        raise InputError(
            f"{source}, line {sheet.line}: holds numbers, not the names of columns; "
            f"add dataset.header=false if the file names none, or dataset.skip_lines={sheet.line} to skip the line"
        )
    wrong = [width_problem(row.line, row.cells, len(names)) for row in sheet.ragged]
    refuse([f"{problem}{title}" for problem in wrong[:1]] + wrong[1:], source)
    if not sheet.rows:
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
    return replace(sheet, names=[name for name in names if name not in left_out], notes=[*sheet.notes, *notes])


def _why_left_out(sheet: Sheet, name: str) -> str | None:
    """Why a column without a name cannot be meant to be learned from or to be learned; None if it may be."""
    if is_empty(sheet.columns[name]):
        return "no values"
    return "names the rows" if name == sheet.names[0] and all_differ(sheet.columns[name]) else None


def _title_hint(sheet: Sheet) -> str:
    """A hint if most rows have the same number of cells, and it is not that of the header: that may be a title."""
    found = Counter(row.cells for row in sheet.ragged)
    if sheet.rows:
        found[len(sheet.names)] = sheet.rows
    (width, rows), *_ = found.most_common(1) or [(0, 0)]
    if width < 2 or width == len(sheet.names) or 2 * rows <= found.total():
        return ""
    line = next(row.line for row in sheet.ragged if row.cells == width)
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
    for key in ("weight", "group"):
        for name in declared[key]:
            if name == target or name in named:
                what = "the target" if name == target else "in dataset.features too"
                problems.append(f"dataset.{key}: {name} is {what}; name another column")
    for key, kind in (("categories", "classes"), ("numbers", "values")):
        if target in declared[key]:
            problems.append(f"dataset.{key}: {target} is the target; use dataset.target_type={kind} in place of it")
        problems += [
            f"dataset.{key}: {name} is in dataset.{other} too; leave it out of one"
            for other in ("weight", "group")
            for name in declared[other]
            if name != target and name in declared[key]
        ]
    both = set(declared["categories"]) & set(declared["numbers"])
    problems += [f"dataset.numbers: {name} is in dataset.categories too; leave it out of one" for name in sorted(both)]
    if problems:
        raise InputError(first_few(problems))
    unused = {target, *exclude, *declared["weight"], *declared["group"]}
    return [name for name in named or sheet.names if name not in unused]


def _without_missing(
    table: Sheet, kinds: Mapping[str, bool], problems: list[str], *, missing: MissingValues
) -> tuple[Sheet, RowIndices | None]:
    """The rows that have a value in each of these columns, and their numbers from 0; None if all rows stay.

    kinds: name -> whether the column holds categories. With missing=refuse all rows stay, and each missing value is
    added to problems.
    """
    gaps = {
        name: rows
        for name, category in kinds.items()
        if (rows := table.columns[name].missing(category=category)).any()  # (rows,)
    }
    if missing == "refuse":
        found = [(row, name) for name, rows in gaps.items() for row in np.flatnonzero(rows).tolist()]
        texts = [
            f"{table.location(row, name)}: {missing_problem(table.columns[name].text(row), category=kinds[name])}"
            for row, name in sorted(found)
        ]
        problems += [f"{text}; or add dataset.missing=drop, mean or median" for text in texts[:1]] + texts[1:]
        return table, None
    if not gaps:
        return table, None
    kept = ~np.logical_or.reduce(list(gaps.values()))
    if not kept.any():
        raise InputError(
            f"{table.source}: each of its {count_with_noun(table.rows, 'row')} has a missing value; "
            "use fewer columns, or dataset.missing=mean or median"
        )
    return table.select(kept, table.columns), np.flatnonzero(kept)


def _similar(name: str, present: Sequence[str]) -> str:
    """A hint: the most similar name that is present, else the names that are."""
    folded = {other.casefold(): other for other in present}
    near = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; it has {list_names(present)}"


def _numbers(
    sheet: Sheet, name: str, notation: Notation, problems: list[str], reading: Recognition
) -> tuple[Column, Kept]:
    """A column of numbers, (rows,), NaN for a missing value. Cells that are not numbers are added to problems."""
    cells = sheet.columns[name]
    if isinstance(cells, Numbers):
        texts, kept = cells.gaps, cells.kept
    else:
        texts = cells.distinct
        kept = keep_array(_values(sheet, name, notation, problems, partial(reading.hint, name)))
    if not any(map(has_text, texts)) and all(np.isnan(piece).all() for piece in pieces_of(kept)):
        problems.append(f"column {name}: has no values; leave it out with {reading.exclude_option(name)}")
    reading.note_rounding(name, pieces_of(kept))
    return Column(name, notation=notation), kept


def _values(sheet: Sheet, name: str, notation: Notation, problems: list[str], hint: Callable[..., str]) -> Floats:
    """The numbers of a column, (rows,). hint: gives what is added to the first problem; mixed: some are numbers."""
    cells = sheet.columns[name]
    if isinstance(cells, Numbers):
        return cells.values
    found = [number(text, notation) for text in cells.distinct]
    codes = cells.codes
    wrong = np.array([isinstance(value, str) for value in found], np.bool_)[codes]
    texts = [f"{sheet.location(row, name)}: {found[codes[row]]}" for row in np.flatnonzero(wrong)]
    if texts:
        texts[0] += hint(mixed=not all(isinstance(value, str) for value in found))
    problems += texts
    return np.array([math.nan if isinstance(value, str) else value for value in found])[codes]


def _weights(sheet: Sheet, name: str, notation: Notation, problems: list[str]) -> Floats:
    """The weight of each row, (rows,). Cells that are no numbers from 0 are added to problems."""
    values = _values(sheet, name, notation, problems, lambda **_: "")
    below = [f"{sheet.location(row, name)}: a weight must be 0 or more" for row in np.flatnonzero(values < 0)]
    problems += below
    return values


def _categories(sheet: Sheet, name: str, problems: list[str], reading: Recognition) -> tuple[Column, Kept]:
    """A column of categories, and the index of each row's level, (rows,); -1 for a missing value."""
    cells = _texts(sheet, name)
    levels = _in_order({text for text in cells.distinct if has_text(text)})
    if len(levels) > MOST_LEVELS or len(levels) == sheet.rows > FEW:
        problems.append(
            f"column {name}: has {len(levels)} different texts in {count_with_noun(sheet.rows, 'row')}, too many for a "
            f"category; leave it out with {reading.exclude_option(name)}"
        )
        levels = levels[:1]
    reading.notes.extend(_similar_notes(sheet, name, levels, "categories"))
    index = {level: position for position, level in enumerate(levels)}
    codes = looked_up(np.array([index.get(text, -1) for text in cells.distinct], np.int16), cells.kept)
    return Column(name, tuple(levels)), keep_array(codes)


def _features(encoded: Sequence[tuple[Column, Kept]], source: str) -> Features:
    """The features, (rows, features) float64: a column of numbers as it is, a 1 for the level of a category.

    Within arrays_on_disk they are written to a file, in the folder that holds that of the arrays.
    """
    rows, names = len(encoded[0][1]), features_of([column for column, _ in encoded])
    starts = range(0, rows, BLOCK)
    folder = array_folder()
    if folder is None:
        matrix = np.zeros((rows, len(names)))
        for start in starts:
            _fill_block(matrix[start : start + BLOCK], encoded, start)
        matrix.setflags(write=False)
        return matrix
    exact = all(column.levels or all(map(is_exact_in_float32, pieces_of(values))) for column, values in encoded)
    stored = np.dtype(np.float32 if exact else np.float64)

    def blocks() -> Iterator[Floats]:
        for start in starts:
            block = np.zeros((min(BLOCK, rows - start), len(names)))
            _fill_block(block, encoded, start)
            if len(infinite := np.argwhere(np.isinf(block))):
                row, column = infinite[0]
                where = f"row {start + row} (counted from 0), feature {names[column]}: {block[row, column]}"
                raise InputError(f"{source}: {where}; must be finite")
            yield block

    write_rows(folder.parent / ROWS, blocks(), stored)
    return RowFile(folder.parent / ROWS, (rows, len(names)), stored=stored, dtype=np.float64)


def _fill_block(block: Floats, encoded: Sequence[tuple[Column, Kept]], start: int) -> None:
    """Fills in rows of the features from `start` on. block: zeros, (rows, features)."""
    first = 0
    for column, values in encoded:
        part = values[start : start + len(block)]
        if column.levels is None:
            block[:, first] = part
        else:
            known = np.flatnonzero(part >= 0)
            block[known, first + part[known]] = 1
        first += len(column.features)


def _texts(sheet: Sheet, name: str) -> Texts:
    cells = sheet.columns[name]
    assert isinstance(cells, Texts), name
    return cells


def _target(
    sheet: Sheet,
    name: str,
    kind: TargetType,
    notation: Notation | None,
    problems: list[str],
    reading: Recognition,
) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """The target of each row, (rows,), and the names of the classes, or None for values."""
    cells = sheet.columns[name]
    few_whole = isinstance(cells, Texts) and all(map(is_whole, cells.distinct)) and _are_few(cells)
    if kind == "values" or (kind == "auto" and notation is not None and not few_whole):
        hint = partial(reading.hint, name, target=True)
        values = _values(sheet, name, notation or PLAIN_NOTATION, problems, hint)
        reading.note_rounding(name, [values])
        return values, None
    cells = _texts(sheet, name)
    classes = _in_order(cells.distinct)
    if len(classes) < 2:
        raise InputError(
            f"{sheet.source}, column {name}: is {short(classes[0])} in every row; must have at least two classes"
        )
    if len(classes) > MOST_CLASSES or len(classes) == sheet.rows:
        what = "a class of its own in each row" if len(classes) == sheet.rows else f"{len(classes)} classes"
        other = "add dataset.target_type=values, or " if all(map(is_number, classes)) else ""
        raise InputError(f"{sheet.source}, column {name}: has {what}; {other}choose another dataset.target")
    index = {label: position for position, label in enumerate(classes)}
    numbers = np.array([index[text] for text in cells.distinct], np.int16)
    return looked_up(numbers if array_folder() else numbers.astype(np.int64), cells.kept), tuple(classes)


def _are_few(cells: Texts) -> bool:
    """Whether the cells are so few different ones that they may be classes."""
    return len(cells.distinct) <= min(FEW, len(cells.kept) // 2)


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
    names = [name for name in sheet.names if is_number(name) or (name in used and _holds(sheet.columns[name], name))]
    if not names:
        return []
    return [
        f"{sheet.source}: its first line is taken for the names of the columns, with {list_names(names)} among them; "
        "if it is a row, add dataset.header=false"
    ]


def _holds(cells: Cells, text: str) -> bool:
    """Whether a cell of a column holds a text."""
    if isinstance(cells, Texts):
        return text in cells.distinct
    value = number(text)
    return text in cells.gaps or (isinstance(value, float) and value in cells.values)


def _target_notes(sheet: Sheet, name: str, kind: TargetType, classes: Sequence[str] | None) -> list[str]:
    """Notes on a target that may not be what is meant."""
    cells = sheet.columns[name]
    column = f"{sheet.source}: column {name}"
    if classes is None:
        if isinstance(cells, Numbers):
            return []
        levels = {number(text) for text in cells.distinct}
        may_be_classes = len(levels) == 2 or all(isinstance(level, float) and level.is_integer() for level in levels)
        if kind == "auto" and _are_few(cells) and may_be_classes:
            few = list_names(_in_order(cells.distinct))
            return [f"{column}: {few} are learned as values; add dataset.target_type=classes if they are classes"]
        return []
    notes = _similar_notes(sheet, name, classes, "classes")
    if len(classes) > MANY and sheet.rows < ROWS_OF_CLASS * len(classes):
        what = f"{len(classes)} classes in {count_with_noun(sheet.rows, 'row')}"
        notes.append(f"{column}: has {what}; if it is not what is to be learned, name another dataset.target")
    return notes


def _similar_notes(sheet: Sheet, name: str, texts: Sequence[str], what: str) -> list[str]:
    """A note if some texts of a column may mean the same."""
    pairs = [f"{in_list(one)} and {in_list(other)}" for one, other in similar_texts(texts)]
    if not pairs:
        return []
    return [
        f"{sheet.source}: column {name}: {first_ones(pairs)} are different {what}; "
        "if they mean the same, write them alike in the file"
    ]
