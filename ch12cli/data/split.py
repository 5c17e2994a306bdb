"""Which rows are for training, which for validation, which for the final test."""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, is_number, is_whole, seed_problems
from ch12cli.data.table import Rows, Table
from ch12cli.errors import InputError, Problem

Split = Literal["random", "stratified", "ordered"]


class Parts(NamedTuple):
    """Row numbers of each part, in the order they are used in; valid and test may be empty."""

    train: Rows
    valid: Rows
    test: Rows


def split(
    table: Table,
    *,
    test_size: int | float = 0.0,
    valid_size: int | float = 0.0,
    split: Split = "random",
    split_seed: int = 1,
) -> Parts:
    """The rows of table in three parts that share none.

    test_size, valid_size: a fraction of all rows in [0, 1), rounded up, or a whole number of rows.
    random: numpy.random.RandomState(split_seed).permutation(rows) gives the test rows first, then the validation rows,
    and the rest is for training (so does scikit-learn's train_test_split). stratified: the same, with each class in
    proportion and in every part. ordered: training rows first, then validation, then test, none moved.
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
    """What is wrong with the arguments of split whatever the data are, all of it."""
    problems = _size_problems("dataset.test_size", test_size) + _size_problems("dataset.valid_size", valid_size)
    problems += choice_problems("dataset.split", split, get_args(Split))
    return problems + seed_problems("dataset.split_seed", split_seed)


def _size_problems(key: str, size: object) -> list[Problem]:
    fraction = is_number(size) and not is_whole(size) and 0 <= float(size) < 1  # type: ignore[arg-type]
    if fraction or (is_whole(size) and int(size) >= 0):  # type: ignore[call-overload]
        return []
    rule = "must be a fraction of the rows, 0.0 or more and less than 1.0, or a whole number of rows"
    return [Problem(key, str(size), rule)]


def _count(size: int | float, rows: int) -> int:
    """How many of rows size stands for."""
    return int(size) if is_whole(size) else math.ceil(size * rows)  # as scikit-learn does


def no_training_problems(rows: int, *, test_size: int | float, valid_size: int | float) -> list[Problem]:
    """That these parts leave nothing of so many rows to train on, where they do."""
    test, valid = _count(test_size, rows), _count(valid_size, rows)
    if test + valid < rows:
        return []
    given = {f"dataset.test_size={test_size}": test, f"dataset.valid_size={valid_size}": valid}
    keys = ", ".join(key for key, taken in given.items() if taken)
    return [Problem.with_override(keys, f"leaves none of the {rows} rows for training", "take fewer")]


def _stratified(table: Table, shuffled: Rows, *, test: int, valid: int) -> Parts:
    """Each class's share of the shuffled rows to each part; within a part they stay in shuffled order."""
    if table.class_names is None:
        raise InputError("dataset.split=stratified: needs classes, and this is a regression; use random or ordered")
    counts = np.bincount(table.target, minlength=table.classes)  # (classes,)
    of_test = _shares(counts, test)
    of_valid = _shares(counts - of_test, valid)
    _refuse_missing_class(table, counts, test=of_test, valid=of_valid)
    target = table.target[shuffled]  # (rows,)
    place = np.empty_like(shuffled)  # (rows,): which one of its class a row is
    for number in range(table.classes):
        place[target == number] = np.arange(counts[number])
    in_test = place < of_test[target]
    in_valid = ~in_test & (place < (of_test + of_valid)[target])
    return Parts(shuffled[~in_test & ~in_valid], shuffled[in_valid], shuffled[in_test])


def _shares(counts: npt.NDArray[np.int64], taken: int) -> npt.NDArray[np.int64]:
    """How many of each class, (classes,), make up taken: in proportion, what is left over to the largest remainders."""
    shares, remainders = np.divmod(counts * taken, counts.sum())
    first = np.argsort(-remainders, kind="stable")  # equal remainders: the lower class number
    shares[first[: taken - shares.sum()]] += 1
    return shares


def _refuse_missing_class(
    table: Table, counts: npt.NDArray[np.int64], *, test: npt.NDArray[np.int64], valid: npt.NDArray[np.int64]
) -> None:
    """Refuse parts that are not empty and yet lack a class: figures for it would mean nothing."""
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
