"""The split of rows into a training, a validation and a test part."""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, seed_problems
from ch12cli.data.table import RowIndices, Table
from ch12cli.data.text_file import list_names
from ch12cli.errors import InputError, Problem
from ch12cli.files.plain_values import is_finite_number, is_integer

Split = Literal["random", "stratified", "ordered"]


class Parts(NamedTuple):
    """Row indices of each part, in order of use; valid and test may be empty."""

    train: RowIndices
    valid: RowIndices
    test: RowIndices


def split_rows(
    table: Table,
    *,
    test_size: int | float = 0.0,
    valid_size: int | float = 0.0,
    split: Split = "random",
    split_seed: int = 1,
) -> Parts:
    """The rows of table in three disjoint parts.

    test_size, valid_size: a fraction of all rows in [0, 1), rounded up, or a whole number of rows.
    random: the rows are numpy.random.RandomState(split_seed).permutation(rows); the first are the test rows, the next
    the validation rows, the rest the training rows, as in scikit-learn's train_test_split. stratified: the same, with
    the classes in proportion in every part. ordered: training, validation, test rows, in the order of the table.
    InputError for wrong arguments, for parts that leave no training rows, and for a stratified part without a class.
    """
    problems = split_problems(test_size=test_size, valid_size=valid_size, split=split, split_seed=split_seed)
    if problems:
        raise InputError(problems)
    problems = no_training_problems(table.rows, test_size=test_size, valid_size=valid_size)
    if problems:
        raise InputError(problems)
    test, valid = _count(test_size, table.rows), _count(valid_size, table.rows)
    if split == "ordered":
        train = table.rows - valid - test
        rows = np.arange(table.rows)
        return Parts(rows[:train], rows[train : train + valid], rows[train + valid :])
    shuffled = np.random.RandomState(split_seed).permutation(table.rows)
    if split == "stratified":
        return _stratified(table, shuffled, test=test, valid=valid)
    return Parts(shuffled[test + valid :], shuffled[test : test + valid], shuffled[:test])


def split_problems(*, test_size: object, valid_size: object, split: object, split_seed: object) -> list[Problem]:
    """The problems of split_rows' arguments that do not depend on the data."""
    problems = _size_problems("dataset.test_size", test_size) + _size_problems("dataset.valid_size", valid_size)
    problems += choice_problems("dataset.split", split, get_args(Split))
    return problems + seed_problems("dataset.split_seed", split_seed)


def _size_problems(key: str, size: object) -> list[Problem]:
    fraction = is_finite_number(size) and not is_integer(size) and 0 <= float(size) < 1  # type: ignore[arg-type]
    if fraction or (is_integer(size) and int(size) >= 0):
        return []
    rule = "must be a fraction of the rows, 0.0 or more and less than 1.0, or a whole number of rows"
    return [Problem(key, str(size), rule)]


def _count(size: int | float, rows: int) -> int:
    """The number of rows that size stands for."""
    return int(size) if is_integer(size) else math.ceil(size * rows)  # as in scikit-learn


def no_training_problems(rows: int, *, test_size: int | float, valid_size: int | float) -> list[Problem]:
    """A problem if these parts leave none of `rows` rows for training, else an empty list."""
    test, valid = _count(test_size, rows), _count(valid_size, rows)
    if test + valid < rows:
        return []
    given = {f"dataset.test_size={test_size}": test, f"dataset.valid_size={valid_size}": valid}
    keys = ", ".join(key for key, taken in given.items() if taken)
    return [Problem.with_override(keys, f"leaves none of the {rows} rows for training", "take fewer")]


def unlearned_notes(table: Table, parts: Parts, split: Split) -> list[str]:
    """A note for each class, and one for the categories, that no training row has: the network cannot learn them."""
    names = table.class_names or ()
    counts = np.bincount(table.target, minlength=len(names)) if names else np.zeros(0, np.int64)  # (classes,)
    learned = set(table.target[parts.train].tolist())
    otherwise = "use dataset.split=random" if split == "ordered" else "change dataset.split_seed"
    notes = []
    for number in np.flatnonzero(counts):
        if number not in learned:
            stratified = " or dataset.split=stratified" if counts[number] > 2 else ""  # a row for each part
            rows = f"{counts[number]} of {table.rows} rows"
            notes.append(
                f"class {names[number]} ({rows}) is in no training row and is not learned; {otherwise}{stratified}"
            )
    used = np.count_nonzero(table.features[parts.train], axis=0)  # (features,); NaN counts
    levels = {feature for column in table.columns or () if column.levels for feature in column.features}
    unused = [name for name, rows in zip(table.feature_names, used, strict=True) if name in levels and not rows]
    if unused:
        notes.append(f"{list_names(unused)}: in no training row, so that nothing is learned of it; {otherwise}")
    return notes


def _stratified(table: Table, shuffled: RowIndices, *, test: int, valid: int) -> Parts:
    """Parts with the classes in proportion. Within a part the rows stay in shuffled order."""
    if table.class_names is None:
        raise InputError("dataset.split=stratified: needs classes, but this is a regression; use random or ordered")
    counts = np.bincount(table.target, minlength=table.classes)  # (classes,)
    of_test = _shares(counts, test)
    of_valid = _shares(counts - of_test, valid)
    _refuse_missing_class(table, counts, test=of_test, valid=of_valid)
    target = table.target[shuffled]  # (rows,)
    position = np.empty_like(shuffled)  # (rows,): of a row among those of its class
    for number in range(table.classes):
        position[target == number] = np.arange(counts[number])
    in_test = position < of_test[target]
    in_valid = ~in_test & (position < (of_test + of_valid)[target])
    return Parts(shuffled[~in_test & ~in_valid], shuffled[in_valid], shuffled[in_test])


def _shares(counts: npt.NDArray[np.int64], taken: int) -> npt.NDArray[np.int64]:
    """The rows of each class, (classes,), out of `taken`: in proportion, by the largest remainder method."""
    shares, remainders = np.divmod(counts * taken, counts.sum())
    first = np.argsort(-remainders, kind="stable")  # equal remainders: the lower class number
    shares[first[: taken - shares.sum()]] += 1
    return shares


def _refuse_missing_class(
    table: Table, counts: npt.NDArray[np.int64], *, test: npt.NDArray[np.int64], valid: npt.NDArray[np.int64]
) -> None:
    """InputError for a part that is not empty and lacks a class: its metrics for that class would mean nothing."""
    problems = []
    parts = {"in dataset.test_size": test, "in dataset.valid_size": valid, "for training": counts - test - valid}
    for where, shares in parts.items():
        for number in np.flatnonzero(shares == 0) if shares.any() else ():
            name = (table.class_names or ())[number]
            problems.append(
                f"dataset.split=stratified: class {name} ({counts[number]} of {table.rows} rows) gets none of the "
                f"{shares.sum()} {where}; change dataset.test_size or dataset.valid_size, or use dataset.split=random"
            )
    if problems:
        raise InputError(problems)
