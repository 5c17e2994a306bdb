"""A data set in memory: rows of numbers, each with a class or a value to learn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from ch12cli.data.columns import Column
from ch12cli.data.streaming.lazy_rows import Features, LazyRows
from ch12cli.errors import InputError

Missing = Literal["mean", "median"]
Floats = npt.NDArray[np.floating[Any]]
RowIndices = npt.NDArray[np.int64]  # (rows,), counted from 0

VALUES_AT_ONCE = 2**20
FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float64))  # the precisions of networks


@dataclass(frozen=True, eq=False)
class Table:
    """A checked data set. Its arrays are read-only copies.

    features: (rows, features), float32 or float64; LazyRows, if they are read when they are needed: their values are
    not checked. target: (rows,): with class_names the class numbers from 0, stored as int64, with LazyRows in the
    smallest integers that hold them; else the values of a regression, float32 or float64.
    source: one line that says where the data come from.
    unit: common to all features, if there is one. missing: NaN among the features is replaced by this statistic of the
    training part; None: NaN is refused. columns: of the file that the features come from. shape: of a row that is an
    image, (channels, height, width). weights: how much each row counts in the loss, (rows,), 0 or more; None: all
    alike. groups: which rows belong together and must not be parted by a split, (rows,), numbers or texts; None: none.
    source_rows: the number of each row where the data come from, (rows,), if rows of it were left out; None: none were.
    test_rows, valid_rows: how many of the last rows are the test part, and how many before them the validation part;
    0: any rows may be.
    fitted_rows: scaling is fitted to at most so many training rows, evenly chosen; None: to all.
    notes: remarks for the user, a line each. known_digest: the digest, where it was computed before; None: it is not.
    InputError with everything that is wrong; rows are counted from 0.
    """

    features: Features
    target: npt.NDArray[Any]
    feature_names: tuple[str, ...] = field(kw_only=True)
    target_name: str = field(kw_only=True)
    class_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    source: str = field(kw_only=True)
    unit: str | None = field(default=None, kw_only=True)
    missing: Missing | None = field(default=None, kw_only=True)
    columns: tuple[Column, ...] | None = field(default=None, kw_only=True)
    shape: tuple[int, ...] | None = field(default=None, kw_only=True)
    weights: Floats | None = field(default=None, kw_only=True)
    groups: npt.NDArray[Any] | None = field(default=None, kw_only=True)
    source_rows: RowIndices | None = field(default=None, kw_only=True)
    test_rows: int = field(default=0, kw_only=True)
    valid_rows: int = field(default=0, kw_only=True)
    fitted_rows: int | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    known_digest: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        lazy = self.features if isinstance(self.features, LazyRows) else None
        features = _as_array(self.features, "features", name=self.source) if lazy is None else _stand_in(lazy)
        target = _as_array(self.target, "target", name=self.source)
        names = tuple(self.feature_names)
        classes = None if self.class_names is None else tuple(self.class_names)
        problems = (  # each check relies on the one before
            _shape_problems(features, target)
            or _type_problems(features, target, classes) + _name_problems(features, names, classes)
            or _value_problems(features if lazy is None else features[:0], target, names, classes, missing=self.missing)
        )
        if problems:
            raise InputError([f"{self.source}: {problem}" for problem in problems])
        if lazy is None:
            object.__setattr__(self, "features", _frozen(features, features.dtype))
        numbers = np.dtype(np.int64) if lazy is None else np.min_scalar_type(-len(classes or ()))
        object.__setattr__(self, "target", _frozen(target, target.dtype if classes is None else numbers))
        object.__setattr__(self, "weights", _checked_weights(self.weights, rows=len(target), name=self.source))
        object.__setattr__(self, "groups", _checked_groups(self.groups, rows=len(target), name=self.source))
        if self.source_rows is not None:
            object.__setattr__(self, "source_rows", _frozen(np.asarray(self.source_rows), np.dtype(np.int64)))
        object.__setattr__(self, "feature_names", names)
        object.__setattr__(self, "class_names", classes)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.target)

    def numbers_of(self, rows: RowIndices) -> RowIndices:
        """The numbers that rows have where the data come from, counted from 0. rows: positions in the table."""
        return rows if self.source_rows is None else self.source_rows[rows]

    @property
    def classes(self) -> int:
        """The number of classes; 0 for a regression."""
        return len(self.class_names or ())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of features, target, weights and groups, with shapes and types, in hexadecimal; without names."""
        if self.known_digest is not None:
            return self.known_digest
        total = sha256()
        for array in (self.features, self.target, *(more for more in (self.weights, self.groups) if more is not None)):
            kept = np.dtype(np.int64) if array.dtype.kind == "i" else array.dtype  # however class numbers are held
            little = kept.newbyteorder("<")  # the same on every machine
            total.update(f"{little.str}{array.shape}".encode())
            for block in array.blocks() if isinstance(array, LazyRows) else blocks_of(array):
                total.update(np.ascontiguousarray(block, little).data)
        return total.hexdigest()


def blocks_of(rows: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The rows of an array, (rows, …), so many at a time that what is computed of them takes little memory."""
    at_once = max(1, VALUES_AT_ONCE // max(1, rows[:1].size))
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once]


def counts_of(numbers: npt.NDArray[Any], kinds: int) -> npt.NDArray[np.int64]:
    """How often each number from 0 occurs, (kinds,). numbers: integers, (rows,)."""
    counts = np.zeros(kinds, np.int64)
    for block in blocks_of(numbers):
        counts += np.bincount(block, minlength=kinds)
    return counts


def as_table(value: object, name: str) -> Table:
    """A Table from a Table, or from a pair (features, target) of arrays or nested lists.

    In a pair, a target of integers, booleans or strings holds classes, numbered in sorted order; one of floats holds
    the values of a regression. name: of the function that returned the value, for messages and as the table's source.
    InputError for anything else.
    """
    if isinstance(value, Table):
        return value
    if not isinstance(value, tuple | list) or len(value) != 2:
        what = f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__
        raise InputError(f"{name}: returned a {what}; must return a ch12cli.data.Table or a pair (features, target)")
    features = _given_features(_as_array(value[0], "features", name=name), name)
    target, class_names = given_target(_as_array(value[1], "target", name=name), name)
    columns = features.shape[1] if features.ndim == 2 else 0
    return Table(
        features,
        target,
        feature_names=tuple(f"x{column}" for column in range(1, columns + 1)),
        target_name="target",
        class_names=class_names,
        source=name,
    )


def _stand_in(rows: LazyRows) -> Floats:
    """An array of the same shape and dtype, which takes no memory."""
    return cast(Floats, np.broadcast_to(np.zeros((), rows.dtype), rows.shape))


def _frozen(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A read-only copy in C order and native byte order; the array itself if it is such and no view of another."""
    flags, dtype = array.flags, dtype.newbyteorder("=")
    if flags.owndata and flags.c_contiguous and not flags.writeable and array.dtype == dtype:
        return array
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def _checked_weights(weights: object, *, rows: int, name: str) -> Floats | None:
    """A read-only copy of the rows' weights, (rows,) float64. InputError for other shapes and values."""
    if weights is None:
        return None
    found = _as_array(weights, "weights", name=name)
    if found.shape != (rows,) or found.dtype.kind not in "biuf":
        raise InputError(f"{name}: weights are {found.dtype} of shape {found.shape}; must be numbers, ({rows},)")
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(bad):
        where = f"row {bad[0]} (counted from 0), weight: {found[bad[0]]}"
        raise InputError(f"{name}: {where}; must be finite, and 0 or more ({_counted(len(bad))} to correct)")
    return _frozen(found, np.dtype(np.float64))


def _checked_groups(groups: object, *, rows: int, name: str) -> RowIndices | None:
    """Group numbers from 0, (rows,) int64, read-only. InputError for another shape."""
    if groups is None:
        return None
    found = _as_array(groups, "groups", name=name)
    if found.shape != (rows,):
        raise InputError(f"{name}: groups have shape {found.shape}; must be ({rows},), one for each row")
    return _frozen(np.unique(found, return_inverse=True)[1], np.dtype(np.int64))


def _shape_problems(features: npt.NDArray[Any], target: npt.NDArray[Any]) -> list[str]:
    problems = []
    if features.ndim != 2:
        hint = "; for a single feature use features.reshape(-1, 1)" if features.ndim == 1 else ""
        problems.append(f"features have shape {features.shape}; must be (rows, features){hint}")
    elif 0 in features.shape:
        problems.append(f"features have shape {features.shape}; there must be at least a row and a feature")
    if target.ndim != 1:
        hint = "; use target.reshape(-1)" if target.ndim > 1 and target.size == len(target) else ""
        problems.append(f"target has shape {target.shape}; must be (rows,), one for each row{hint}")
    if not problems and len(features) != len(target):
        problems.append(f"features have {len(features)} rows, target has {len(target)}; must be the same number")
    return problems


def _type_problems(features: npt.NDArray[Any], target: npt.NDArray[Any], classes: tuple[str, ...] | None) -> list[str]:
    problems = []
    if features.dtype.newbyteorder("=") not in FLOAT_TYPES:
        problems.append(f"features are {features.dtype}; must be float32 or float64")
    if classes is not None and target.dtype.kind not in "iu":
        problems.append(f"target is {target.dtype}; with class_names it must be integers, the classes from 0")
    if classes is None and target.dtype.newbyteorder("=") not in FLOAT_TYPES:
        hint = "; for classes give class_names" if target.dtype.kind in "iu" else ""
        problems.append(f"target is {target.dtype}; without class_names it must be float32 or float64{hint}")
    return problems


def _name_problems(features: npt.NDArray[Any], names: tuple[str, ...], classes: tuple[str, ...] | None) -> list[str]:
    problems = []
    if len(names) != features.shape[1]:
        problems.append(f"{len(names)} feature_names for {features.shape[1]} features; must be one for each")
    if classes is not None and len(classes) < 2:
        problems.append(f"class_names {list(classes)}; there must be at least two classes")
    for what, listed in (("feature_names", names), ("class_names", classes or ())):
        if not _all_text(listed):
            problems.append(f"{what} {list(listed)}; must all be strings")
        twice = sorted({str(name) for name in listed if listed.count(name) > 1})
        if twice:
            problems.append(f"{what} has {', '.join(twice)} more than once; must all differ")
    return problems


def _value_problems(
    features: npt.NDArray[Any],
    target: npt.NDArray[Any],
    names: tuple[str, ...],
    classes: tuple[str, ...] | None,
    *,
    missing: Missing | None,
) -> list[str]:
    """The first bad value of features and of target, and how many there are."""
    problems = []
    wrong = np.isinf(features) if missing else ~np.isfinite(features)
    if wrong.any():
        bad = np.argwhere(wrong)  # (bad values, 2)
        row, column = bad[0]
        where = f"row {row} (counted from 0), feature {names[column]}: {features[row, column]}"
        problems.append(f"{where}; must be finite ({_counted(len(bad))} to drop or fill in)")
    wrong = ~np.isfinite(target) if classes is None else (target < 0) | (target >= len(classes))
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        rule = "finite" if classes is None else f"a class number from 0 to {len(classes) - 1}"
        where = f"row {row} (counted from 0), target: {target[row]}"
        problems.append(f"{where}; must be {rule} ({_counted(int(wrong.sum()))} to correct)")
    return problems


def _counted(values: int) -> str:
    return "1 value" if values == 1 else f"{values} values"


def _as_array(value: object, what: str, *, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; a tensor on a GPU or with a gradient
        raise InputError(
            f"{name}: {what} cannot be converted to an array ({error}); give an array or lists of one length"
        ) from None


def _given_features(features: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """features as float32 if they are, else as float64."""
    if features.dtype.kind not in "biuf":
        raise InputError(f"{name}: features are {features.dtype}; must be numbers, without text or None")
    return features if features.dtype.newbyteorder("=") in FLOAT_TYPES else features.astype(np.float64)


def given_target(target: npt.NDArray[Any], name: str) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """(target, class names): floats are values without names; integers, booleans and strings become class numbers."""
    if target.dtype.kind == "f":
        return target if target.dtype.newbyteorder("=") in FLOAT_TYPES else target.astype(np.float64), None
    if target.dtype.kind not in "biuUT" and not _all_text(target.ravel().tolist()):
        raise InputError(f"{name}: target is {target.dtype}; must be integers or strings (classes), or floats (values)")
    labels, numbers = np.unique(target, return_inverse=True)
    if target.dtype.kind in "iu" and len(labels) == target.size > 2:
        raise InputError(f"{name}: target has a class of its own for each row; for a regression give floats")
    return numbers.astype(np.int64).reshape(target.shape), tuple(str(label) for label in labels.tolist())


def _all_text(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)
