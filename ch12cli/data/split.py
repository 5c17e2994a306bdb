"""The split of rows into a training, a validation and a test part."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, integer_problems, seed_problems
from ch12cli.data.streaming.lazy_rows import READ_AT_ONCE, Features, LazyRows, SelectedColumns
from ch12cli.data.table import RowIndices, Table, counts_of
from ch12cli.data.text_file import count_with_noun, first_ones, list_names, short
from ch12cli.errors import InputError, Problem, in_list
from ch12cli.files.plain_values import is_finite_number, is_integer

Split = Literal["random", "stratified", "ordered"]

MOST_FOLDS = 1000


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
    folds: int | None = None,
    fold: int | None = None,
) -> Parts:
    """The rows of table in three disjoint parts.

    test_size, valid_size: a fraction of all rows in [0, 1), rounded up, or a whole number of rows.
    random: the rows are numpy.random.RandomState(split_seed).permutation(rows); the first are the test rows, the next
    the validation rows, the rest the training rows, as in scikit-learn's train_test_split. stratified: the same, with
    the classes in proportion in every part; each class has a training row, and of a rare one other parts may have none.
    ordered: training, validation, test rows, in the order of the table.
    folds: all but the test rows are divided into so many folds, in place of valid_size: their sizes, and with
    stratified the counts of each class, differ by one at most. fold: the one to validate on; the others are trained on.
    If the table has validation or test rows of its own, they are these parts, and the others are divided.
    If the table has groups, all rows of a group are in one part or fold: see divide_groups. Sizes are then near to
    those asked for.
    InputError for wrong arguments, for parts that leave no training rows, for too few groups, and for a stratified part
    with fewer rows than classes.
    """
    problems = split_problems(test_size=test_size, valid_size=valid_size, split=split, split_seed=split_seed)
    problems += fold_problems(folds, fold)
    if problems:
        raise InputError(problems)
    if table.test_rows or table.valid_rows:
        return _with_own_parts(
            table,
            test_size=test_size,
            valid_size=valid_size,
            split=split,
            split_seed=split_seed,
            folds=folds,
            fold=fold,
        )
    valid_size = 0 if folds else valid_size
    problems = no_training_problems(table.rows, test_size=test_size, valid_size=valid_size)
    if problems:
        raise InputError(problems)
    test, valid = _count(test_size, table.rows), _count(valid_size, table.rows)
    if split == "stratified" and table.class_names is None:
        raise InputError("dataset.split=stratified: needs classes, but this is a regression; use random or ordered")
    shuffled = _in_order_of_use(table, split, split_seed, test=test)
    if table.groups is not None:
        sizes = [table.rows - test - valid, valid, test]
        part = divide_groups(table, shuffled, sizes, split)
        parts = Parts(*(shuffled[part == number] for number in range(3)))
    elif split == "stratified":
        parts = _stratified(table, shuffled, test=test, valid=valid)
    else:
        parts = Parts(shuffled[test + valid :], shuffled[test : test + valid], shuffled[:test])
    if split == "ordered":
        parts = Parts(*(np.sort(rows) for rows in parts))
    return parts if folds is None or fold is None else _with_fold(table, parts, split, folds=folds, fold=fold)


def _with_own_parts(table: Table, *, test_size: int | float, valid_size: int | float, **options: Any) -> Parts:
    """The parts of a table that has validation or test rows of its own. options: of split_rows."""
    problems = []
    if table.test_rows and test_size:
        rule, hint = "the data set has a test part of its own", "use dataset.test_size=0"
        problems.append(Problem("dataset.test_size", str(test_size), rule, hint))
    if table.valid_rows and (valid_size or options["folds"]):
        key, value = ("folds", options["folds"]) if options["folds"] else ("valid_size", valid_size)
        rule, hint = "the data set has a validation part of its own", "leave it out or use dataset.valid_size=0"
        problems.append(Problem(f"dataset.{key}", str(value), rule, hint))
    if problems:
        raise InputError(problems)
    test_start = table.rows - table.test_rows
    valid_start = test_start - table.valid_rows
    divided = _first_rows(table, valid_start)
    parts = split_rows(divided, test_size=test_size, valid_size=valid_size, **options)
    valid = np.arange(valid_start, test_start) if table.valid_rows else parts.valid
    return Parts(parts.train, valid, np.arange(test_start, table.rows) if table.test_rows else parts.test)


def _first_rows(table: Table, rows: int) -> Table:
    """The first rows of a table as a split needs them: with one feature, which is not that of the table."""
    return replace(
        table,
        features=np.zeros((rows, 1)),
        feature_names=("",),
        columns=None,
        shape=None,
        target=table.target[:rows],
        weights=None,
        groups=None if table.groups is None else table.groups[:rows],
        source_rows=None,
        test_rows=0,
        valid_rows=0,
    )


def _in_order_of_use(table: Table, split: Split, split_seed: int, *, test: int) -> RowIndices:
    """The rows in the order in which parts take them: test, validation, training. InputError for groups in order."""
    if split != "ordered":
        return np.random.RandomState(split_seed).permutation(table.rows)
    if table.groups is not None:
        raise InputError("dataset.split=ordered: cannot keep groups together; use random or stratified")
    return np.arange(table.rows)[::-1]


def _with_fold(table: Table, parts: Parts, split: Split, *, folds: int, fold: int) -> Parts:
    """The parts with a fold of the training rows as validation part."""
    rows = parts.train
    if table.groups is not None:
        size = len(rows) / folds
        number = divide_groups(table, rows, [size] * folds, split)
    else:
        if len(rows) < folds:
            raise InputError(f"dataset.folds={folds}: only {count_with_noun(len(rows), 'row')} to divide; use fewer")
        number = np.empty(len(rows), np.int64)
        if split == "stratified":  # as scikit-learn: the rows of one class after the other are dealt out in turn
            number[np.argsort(table.target[rows], kind="stable")] = np.arange(len(rows)) % folds
        else:
            for index, block in enumerate(np.array_split(np.arange(len(rows)), folds)):
                number[block] = index
    return Parts(rows[number != fold], rows[number == fold], parts.test)


def divide_groups(table: Table, rows: RowIndices, sizes: Sequence[float], split: Split) -> npt.NDArray[np.int64]:
    """The part of each of these rows, (rows,), so that all rows of a group are in one part.

    sizes: rows that each part is to have. In the order in which the groups first occur in `rows`, each group goes to
    the part that lacks most rows, with stratified most rows of its classes, relative to its size.
    InputError if a part that is to have rows gets none.
    """
    assert table.groups is not None
    first, group = np.unique(table.groups[rows], return_index=True, return_inverse=True)[1:]
    kind = table.target[rows] if split == "stratified" else np.zeros(len(rows), np.int64)
    kinds = table.classes if split == "stratified" else 1
    counts = np.bincount(group * kinds + kind, minlength=len(first) * kinds).reshape(-1, kinds)  # (groups, kinds)
    asked = np.array(sizes, np.float64)
    share = asked / asked.sum()
    lacking = share[:, None] * counts.sum(0)  # (parts, kinds) rows
    part_of = np.empty(len(first), np.int64)
    for number in np.argsort(first, kind="stable"):
        gain = (lacking * counts[number]).sum(1) / np.where(share > 0, share, 1)
        gain[asked == 0] = -np.inf
        part_of[number] = np.argmax(gain)
        lacking[part_of[number]] -= counts[number]
    used = np.bincount(part_of, minlength=len(asked))
    if (used[asked > 0] == 0).any():
        raise InputError(
            f"dataset.group: {len(first)} groups are too few for {np.count_nonzero(asked)} parts of these sizes; "
            "use fewer folds, other sizes, or another dataset.split_seed"
        )
    return part_of[group]


def fold_problems(folds: object, fold: object) -> list[Problem]:
    """The problems of a number of folds and the number of one of them."""
    if folds is None:
        return [] if fold is None else [Problem("dataset.fold", str(fold), "is of no use without dataset.folds")]
    problems = integer_problems("dataset.folds", folds, low=2, high=MOST_FOLDS)
    if fold is None:
        rule = "divides the rows, and dataset.fold does not say which part to validate on"
        problems.append(Problem("dataset.folds", str(folds), rule, "add dataset.fold=0, or train all folds with -m"))
    elif not problems:
        problems += integer_problems("dataset.fold", fold, low=0, high=cast(int, folds) - 1)
    return problems


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
    return [Problem.with_override(keys, f"leaves none of {count_with_noun(rows, 'row')} for training", "take fewer")]


def unlearned_notes(table: Table, parts: Parts, split: Split) -> list[str]:
    """A note on the classes that no training row has: the network cannot learn them."""
    names = table.class_names or ()
    counts = counts_of(table.target, len(names)) if names else np.zeros(0, np.int64)  # (classes,)
    learned = counts_of(table.target[parts.train], len(names)) if names else counts
    left_out = np.flatnonzero((counts > 0) & (learned == 0))
    if not len(left_out):
        return []
    listed = first_ones(
        [f"{in_list(short(names[number]))} ({counts[number]} of {table.rows} rows)" for number in left_out]
    )
    stratified = " or dataset.split=stratified" if counts[left_out].max() > 2 else ""  # a row for each part
    what = f"class {listed} is" if len(left_out) == 1 else f"classes {listed} are"
    be = what.rpartition(" ")[2]
    return [f"{what} in no training row and {be} not learned; {other_split(split)}{stratified}"]


def other_split(split: Split) -> str:
    """What to do if a split leaves something out of the training part."""
    return "use dataset.split=random" if split == "ordered" else "change dataset.split_seed"


def without_unlearned_levels(table: Table, train: RowIndices, split: Split) -> tuple[Table, list[str]]:
    """A table without the features of categories that no training row has, and a note on them.

    A row that has such a category counts as none of the known ones, as a new row does when it is predicted.
    """
    if not any(column.levels for column in table.columns or ()):
        return table, []
    used = _used(table.features, train)
    columns, kept, first = [], np.ones(len(table.feature_names), np.bool_), 0
    for column in table.columns or ():
        features = slice(first, first + len(column.features))
        first = features.stop
        if column.levels:
            kept[features] = used[features]
            levels = (level for level, keep in zip(column.levels, kept[features], strict=True) if keep)
            column = replace(column, levels=tuple(levels))
        if column.features:
            columns.append(column)
    unused = [name for name, keep in zip(table.feature_names, kept, strict=True) if not keep]
    if not unused or len(unused) == len(kept):
        return table, []
    names = tuple(name for name in table.feature_names if name not in unused)
    whole = table.features
    known = replace(
        table,
        features=SelectedColumns(whole, np.flatnonzero(kept)) if isinstance(whole, LazyRows) else whole[:, kept],
        feature_names=names,
        columns=tuple(columns),
        known_digest=table.digest,
    )
    note = f"{list_names(unused)}: in no training row, so that nothing is learned of it and it is left out"
    return known, [f"{note}; {other_split(split)}"]


def _used(features: Features, rows: RowIndices) -> npt.NDArray[np.bool_]:
    """Whether each feature is other than 0 in some of these rows, (features,)."""
    used = np.zeros(features.shape[1], np.bool_)
    for some in np.array_split(np.sort(rows), 1 + len(rows) * len(used) // READ_AT_ONCE):
        used |= (features[some] != 0).any(axis=0)
    return used


def _stratified(table: Table, shuffled: RowIndices, *, test: int, valid: int) -> Parts:
    """Parts with the classes in proportion. Within a part the rows stay in shuffled order."""
    counts = counts_of(table.target, table.classes)
    of_test = _shares(counts, test)
    of_valid = _shares(counts - of_test, valid)
    for given in (of_valid, of_test):  # a class of one row is trained on
        given[(counts > 0) & (of_test + of_valid == counts) & (given > 0)] -= 1
    _refuse_small_part(counts, test=test, valid=valid)
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


def _refuse_small_part(counts: npt.NDArray[np.int64], *, test: int, valid: int) -> None:
    """InputError for a part that is not empty and has fewer rows than there are classes. counts: (classes,)."""
    classes = np.count_nonzero(counts)
    parts = {
        "dataset.test_size": test,
        "dataset.valid_size": valid,
        "the training part": int(counts.sum()) - test - valid,
    }
    problems = [
        f"dataset.split=stratified: {where} has {size} of {counts.sum()} rows, too few for one of each of the "
        f"{classes} classes; change dataset.test_size or dataset.valid_size, or use dataset.split=random"
        for where, size in parts.items()
        if 0 < size < classes
    ]
    if problems:
        raise InputError(problems)


def rare_class_notes(table: Table, parts: Parts, split: Split, folds: int | None) -> list[str]:
    """A note for each class that a stratified split leaves out of a part: it has too few rows for all parts."""
    if split != "stratified":
        return []
    counts = counts_of(table.target, table.classes)
    notes = []
    for number in np.flatnonzero(counts):
        named = {"validation": parts.valid, "test": parts.test}
        without = [name for name, rows in named.items() if len(rows) and number not in table.target[rows]]
        if without:
            name = (table.class_names or ())[number]
            count = int(counts[number])
            verb = "is" if count == 1 else "are"
            few = f"; {count_with_noun(count, 'row')} {verb} too few for {folds} folds" if folds else ""
            rows = f"{count} of {table.rows} rows"
            notes.append(
                f"class {name} ({rows}) is in no {' and no '.join(without)} row, so that metrics of "
                f"{'that part' if len(without) == 1 else 'these parts'} say nothing about it{few}"
            )
    return notes
