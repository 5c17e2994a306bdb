"""A user's own table: one column of a CSV file to be learnt from others, numbers as they are, categories one-hot."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, whole_problems
from ch12cli.data.cells import WHOLE, has_text, is_number, number, with_comma
from ch12cli.data.columns import Column, features_of
from ch12cli.data.table import Floats, Missing, Table
from ch12cli.data.text_file import SEPARATORS, Layout, counted, listed, read_content, refuse, short
from ch12cli.data.text_table import (
    MissingValues,
    TextTable,
    chosen_columns,
    holds_categories,
    read_table,
    without_gaps,
)
from ch12cli.errors import InputError

TargetType = Literal["auto", "classes", "values"]

MOST_LEVELS = 100  # texts that a category may take: each is a feature
MOST_CLASSES = 1000
FEW = 20  # different whole numbers up to which they may be classes, and texts from which each may not stand for a row


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
    """A table out of a file in UTF-8, features float64.

    target: the column to learn, None for the last. features: names, or all, numbers or categories but for exclude. A
    column without a single number holds categories, and so does one that `categories` names: a feature for each of its
    texts, 1 where the cell holds it, else 0. target_type auto: classes where the target is text, or at most 20
    different whole numbers in twice as many rows. missing: drop leaves rows without a value out; mean and median have
    the training part fill in numbers, and leave all features of a category 0; a row without a target is then left out.
    separator: comma, semicolon, tab, bar or space. InputError with everything that is wrong, with line and column.
    """
    wrong = choice_problems("dataset.target_type", target_type, get_args(TargetType))
    wrong += choice_problems("dataset.missing", missing, get_args(MissingValues))
    wrong += choice_problems("dataset.separator", separator, tuple(SEPARATORS))
    wrong += whole_problems("dataset.skip_lines", skip_lines, low=0, high=10**6)
    if wrong:
        raise InputError(wrong)
    try:
        content = read_content(Path(file))
    except InputError as error:
        raise InputError([f"dataset.file={problem}" for problem in error.messages]) from None
    text = read_table(content, Layout(separator, header, skip_lines), source=str(file))
    target = text.header[-1] if target is None else target
    kinds = chosen_columns(text, target, features=features, exclude=exclude, categories=categories)
    fill: Missing | None = missing if missing in ("mean", "median") else None
    required = {target: holds_categories(text.cells(target)), **({} if fill else kinds)}
    rows = len(text.records)
    problems: list[str] = []
    text, left_out = without_gaps(text, required, problems, missing=missing)
    problems += _commas(text, [name for name in kinds if name not in categories], "dataset.categories=")
    problems += _commas(text, [target] if target_type == "auto" else [], "dataset.target_type=classes")
    read = [(_categories if category else _numbers)(text, name, problems) for name, category in kinds.items()]
    values, classes = _target(text, target, target_type, problems)
    refuse(problems, str(file))
    columns = tuple(column for column, _ in read)
    numbers = list(filter(is_number, text.header))
    why = f"have no {target}" if fill else "have missing values"
    return Table(
        np.concatenate([part for _, part in read], axis=1),
        values,
        feature_names=features_of(columns),
        target_name=target,
        class_names=classes,
        source=str(file),
        missing=fill,
        columns=columns,
        notes=(
            *([f"{file}: {left_out} of {counted(rows, 'row')} left out, which {why}"] if left_out else []),
            *(
                [
                    f"{file}: its first line is taken for the names of the columns, {listed(numbers)} among them; "
                    "if it is a row, add dataset.header=false"
                ]
                if header and numbers
                else []
            ),
        ),
    )


def _commas(text: TextTable, names: Sequence[str], otherwise: str) -> list[str]:
    """What is wrong with columns of numbers that have commas, which would be taken for texts. otherwise: the option for
    those that are none."""
    found = {name: cell for name in names if (cell := with_comma(text.cells(name)))}
    return [
        f"column {name}: its numbers have commas, such as {cell}; write points for decimal commas, and nothing between "
        f"thousands, or add {otherwise}{f'[{name}]' if otherwise.endswith('=') else ''} if they are no numbers"
        for name, cell in found.items()
    ]


def _numbers(text: TextTable, name: str, problems: list[str]) -> tuple[Column, Floats]:
    """A column of numbers, (rows, 1), NaN where one is missing; what is no number goes to problems."""
    cells = text.cells(name)
    values = _values(text, name, problems, f"; if the column holds categories, add dataset.categories=[{name}]")
    if not any(map(has_text, cells)):
        problems.append(f"column {name}: has no values; leave it out with dataset.exclude=[{name}]")
    return Column(name), values.reshape(-1, 1)


def _values(text: TextTable, name: str, problems: list[str], hint: str) -> Floats:
    """The numbers of a column, (rows,). hint: what else it may be, said where it has numbers too."""
    found = [number(cell) for cell in text.cells(name)]
    wrong = [f"{text.where(row, name)}: {said}" for row, said in enumerate(found) if isinstance(said, str)]
    if wrong and any(isinstance(value, float) for value in found):
        wrong[0] += hint
    problems += wrong
    return np.array([math.nan if isinstance(value, str) else value for value in found])


def _categories(text: TextTable, name: str, problems: list[str]) -> tuple[Column, Floats]:
    """A column of categories, (rows, levels), each row with a single 1, or none where its cell holds nothing."""
    cells = text.cells(name)
    levels = _in_order({cell for cell in cells if has_text(cell)})
    if len(levels) > MOST_LEVELS or len(levels) == len(cells) > FEW:
        problems.append(
            f"column {name}: has {len(levels)} different texts in {counted(len(cells), 'row')}, too many for a "
            f"category; leave it out with dataset.exclude=[{name}]"
        )
        levels = levels[:1]
    place = {level: number for number, level in enumerate(levels)}
    chosen = np.array([place.get(cell, -1) for cell in cells])  # (rows,)
    one_hot = chosen[:, np.newaxis] == np.arange(len(levels))  # (rows, levels)
    return Column(name, tuple(levels)), one_hot.astype(np.float64)


def _target(
    text: TextTable, name: str, kind: TargetType, problems: list[str]
) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """The target of each row, (rows,), and the names of the classes, or None for values."""
    cells = text.cells(name)
    few_whole = all(map(WHOLE.fullmatch, cells)) and len(set(cells)) <= min(FEW, len(cells) // 2)
    if kind == "values" or (kind == "auto" and any(map(is_number, cells)) and not few_whole):
        return _values(text, name, problems, "; if it holds classes, add dataset.target_type=classes"), None
    classes = _in_order(set(cells))
    if len(classes) < 2:
        raise InputError(
            f"{text.source}, column {name}: is {short(classes[0])} in every row; must have two classes at least"
        )
    if len(classes) > MOST_CLASSES or len(classes) == len(cells):
        what = "a class of its own in each row" if len(classes) == len(cells) else f"{len(classes)} classes"
        other = "add dataset.target_type=values, or " if all(map(is_number, cells)) else ""
        raise InputError(f"{text.source}, column {name}: has {what}; {other}choose another dataset.target")
    place = {label: number for number, label in enumerate(classes)}
    return np.array([place[cell] for cell in cells]), tuple(classes)


def _in_order(texts: Iterable[str]) -> list[str]:
    """Texts in their order, which is that of numbers if all are."""
    ordered = sorted(texts)
    return sorted(ordered, key=float) if all(map(is_number, ordered)) else ordered
