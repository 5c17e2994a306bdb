"""A data set in memory: rows of numbers, and for each row a class or a value to learn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ch12cli.data.columns import Column
from ch12cli.errors import InputError

Missing = Literal["mean", "median"]
Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]  # row numbers, counted from 0

FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float64))  # what networks are trained in


@dataclass(frozen=True, eq=False)
class Table:
    """A checked data set whose arrays cannot be written to.

    features: (rows, features), float32 or float64. target: (rows,), class numbers from 0 (kept as int64) where
    class_names is given, else the values of a regression, float32 or float64. source: where the data are from, a line.
    unit: of all features, if they have one. missing: what the training part puts in the place of NaN among the
    features; None: there must be none. columns: of the file that the features come from. shape: of a row whose
    features are a picture, (channels, height, width). notes: what a person should know of the reading, a line each.
    InputError lists what is wrong; rows are counted from 0.
    """

    features: Floats
    target: npt.NDArray[Any]
    feature_names: tuple[str, ...] = field(kw_only=True)
    target_name: str = field(kw_only=True)
    class_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    source: str = field(kw_only=True)
    unit: str | None = field(default=None, kw_only=True)
    missing: Missing | None = field(default=None, kw_only=True)
    columns: tuple[Column, ...] | None = field(default=None, kw_only=True)
    shape: tuple[int, ...] | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        features = _as_array(self.features, "features", name=self.source)
        target = _as_array(self.target, "target", name=self.source)
        names = tuple(self.feature_names)
        classes = None if self.class_names is None else tuple(self.class_names)
        problems = (  # each step relies on the one before
            _shape_problems(features, target)
            or _type_problems(features, target, classes) + _name_problems(features, names, classes)
            or _value_problems(features, target, names, classes, missing=self.missing)
        )
        if problems:
            raise InputError([f"{self.source}: {problem}" for problem in problems])
        object.__setattr__(self, "features", _frozen(features, features.dtype))
        object.__setattr__(self, "target", _frozen(target, target.dtype if classes is None else np.dtype(np.int64)))
        object.__setattr__(self, "feature_names", names)
        object.__setattr__(self, "class_names", classes)

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return len(self.target)

    @property
    def classes(self) -> int:
        """How many classes there are; 0 for a regression."""
        return len(self.class_names or ())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of features and target with their shapes and types, in hexadecimal; the names do not count."""
        total = sha256()
        for array in (self.features, self.target):
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)  # the same on every machine
            total.update(f"{little.dtype.str}{little.shape}".encode())
            total.update(little.tobytes())
        return total.hexdigest()


def as_table(value: object, name: str) -> Table:
    """The Table that value is or describes: a Table, or a pair (features, target) of arrays or nested lists.

    In a pair, whole numbers, booleans or strings as target are classes, numbered in sorted order; floats are the values
    of a regression. name: what gave the value, for messages and as the table's source.
    """
    if isinstance(value, Table):
        return value
    if not isinstance(value, tuple | list) or len(value) != 2:
        what = f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__
        raise InputError(f"{name}: gave a {what}; must give a ch12cli.data.Table or a pair (features, target)")
    features = _given_features(_as_array(value[0], "features", name=name), name)
    target, class_names = _given_target(_as_array(value[1], "target", name=name), name)
    columns = features.shape[1] if features.ndim == 2 else 0
    return Table(
        features,
        target,
        feature_names=tuple(f"x{column}" for column in range(1, columns + 1)),
        target_name="target",
        class_names=class_names,
        source=name,
    )


def _frozen(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A copy of array that cannot be written to, row after row in memory."""
    copy = np.array(array, dtype=dtype.newbyteorder("="), order="C")
    copy.setflags(write=False)
    return copy


def _shape_problems(features: npt.NDArray[Any], target: npt.NDArray[Any]) -> list[str]:
    problems = []
    if features.ndim != 2:
        hint = "; for a single feature use features.reshape(-1, 1)" if features.ndim == 1 else ""
        problems.append(f"features have shape {features.shape}; must be (rows, features){hint}")
    elif 0 in features.shape:
        problems.append(f"features have shape {features.shape}; there must be a row and a feature at least")
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
        problems.append(f"target is {target.dtype}; with class_names it must be whole numbers, the classes from 0")
    if classes is None and target.dtype.newbyteorder("=") not in FLOAT_TYPES:
        hint = "; for classes give class_names" if target.dtype.kind in "iu" else ""
        problems.append(f"target is {target.dtype}; without class_names it must be float32 or float64{hint}")
    return problems


def _name_problems(features: npt.NDArray[Any], names: tuple[str, ...], classes: tuple[str, ...] | None) -> list[str]:
    problems = []
    if len(names) != features.shape[1]:
        problems.append(f"{len(names)} feature_names for {features.shape[1]} features; must be one for each")
    if classes is not None and len(classes) < 2:
        problems.append(f"class_names {list(classes)}; there must be two classes at least")
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
    """What is wrong with the numbers themselves: for features and target the first bad row, and how many values."""
    problems = []
    bad = np.argwhere(np.isinf(features) if missing else ~np.isfinite(features))  # (bad values, 2)
    if len(bad):
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
            f"{name}: {what} cannot be made an array ({error}); give an array or lists of one length"
        ) from None


def _given_features(features: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """features as float32 or float64, the latter for every type of number but float32."""
    if features.dtype.kind not in "biuf":
        raise InputError(f"{name}: features are {features.dtype}; must be numbers, without text or None")
    return features if features.dtype.newbyteorder("=") in FLOAT_TYPES else features.astype(np.float64)


def _given_target(target: npt.NDArray[Any], name: str) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """Values and None for floats, class numbers and class names for whole numbers, booleans and strings."""
    if target.dtype.kind == "f":
        return target if target.dtype.newbyteorder("=") in FLOAT_TYPES else target.astype(np.float64), None
    if target.dtype.kind not in "biuUT" and not _all_text(target.ravel().tolist()):
        raise InputError(
            f"{name}: target is {target.dtype}; must be whole numbers or strings (classes), or floats (values)"
        )
    labels, numbers = np.unique(target, return_inverse=True)
    if target.dtype.kind in "iu" and len(labels) == target.size > 2:
        raise InputError(f"{name}: target has a class of its own for each row; for a regression give floats")
    return numbers.astype(np.int64).reshape(target.shape), tuple(str(label) for label in labels.tolist())


def _all_text(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)
