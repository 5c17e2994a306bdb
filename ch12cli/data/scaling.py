"""Scaling of features to mean 0 and deviation 1, and filling of missing values, fitted to the training part alone."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, cast, get_args

import numpy as np

from ch12cli.data.arguments import choice_problems
from ch12cli.data.streaming.lazy_rows import Features
from ch12cli.data.table import Floats, Missing
from ch12cli.errors import InputError, Problem
from ch12cli.files.plain_values import is_finite_number

Method = Literal["standard", "global", "none"]

CHUNK = 2**20  # values whose statistics are computed at once


@dataclass(frozen=True)
class Scaling:
    """The mean and the standard deviation of each feature, both (features,).

    fill: replaces missing values (NaN), (features,); None: there must be none.
    """

    method: Method
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    fill: tuple[float, ...] | None = None

    def apply(self, features: Floats) -> Floats:
        """(features - mean) / deviation, a new array of the same shape and dtype. features: (rows, features)."""
        features = self.filled(features)
        if self.method == "none":
            return features.copy()
        mean, deviation = np.array([self.mean, self.deviation], dtype=features.dtype)  # each (features,)
        found = features - mean
        found /= deviation
        return cast(Floats, found)

    @property
    def changes_nothing(self) -> bool:
        return self.method == "none" and self.fill is None

    def filled(self, features: Floats) -> Floats:
        """features with missing values filled in, (rows, features). InputError for another number of features."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise InputError(f"features have shape {features.shape}; must be (rows, {len(self.mean)}), as in training")
        return features if self.fill is None else _filled(features, self.fill)

    def as_plain(self) -> dict[str, Any]:
        """method, mean, deviation, and fill if there is one, as plain values, exact in JSON."""
        plain = {"method": self.method, "mean": list(self.mean), "deviation": list(self.deviation)}
        return plain if self.fill is None else {**plain, "fill": list(self.fill)}


def fit_scaling(features: Features, method: Method, missing: Missing | None = None) -> Scaling:
    """The scaling fitted to features, (rows, features), in their own dtype; deviations are those of the population.

    standard: each feature by its own mean and deviation. global: one mean and one deviation for the whole array.
    none: the features stay as they are. The deviation of constant values is 1. missing: the statistic of each feature
    that replaces NaN, before anything else. Of more than CHUNK values, the statistics of chunks are combined in order,
    so that lazy features have those of an array. InputError if values are too large for a deviation.
    """
    problems = scaling_problems(method)
    if problems:
        raise InputError(problems)
    fill = None if missing is None else _fill_of(features, missing)
    columns = features.shape[1]
    if method == "none":
        return Scaling(method, (0.0,) * columns, (1.0,) * columns, fill)
    axis = 0 if method == "standard" else None
    chunks = (chunk if fill is None else _filled(chunk, fill) for chunk in _chunks(features))
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        found = Statistics.of_all(chunks, axis)
    mean, deviation = found.mean, found.deviation
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        largest = max(np.abs(found.low).max(), np.abs(found.high).max())
        raise InputError(
            f"dataset.scaling={method}: values up to {largest:g} are too large for a deviation in "
            f"{features.dtype}; use smaller units, or dataset.scaling=none"
        )
    # the mean of equal values may be one bit off, their deviation just above 0; that of tiny values may round to 0
    constant = (found.low == found.high) | (deviation == 0)
    deviation = np.where(constant, 1, deviation)
    return Scaling(method, _each(mean, columns), _each(deviation, columns), fill)


@dataclass(frozen=True)
class Statistics:
    """Of so many rows: mean, deviation, lowest and highest value, () or (features,) each."""

    rows: int
    mean: Any
    deviation: Any
    low: Any
    high: Any

    @classmethod
    def of_all(cls, chunks: Iterable[Floats], axis: int | None) -> "Statistics":
        """Those of several arrays together, in this order. Of a single one they are numpy's, in its own dtype."""
        found = None
        for chunk in chunks:
            one = cls(len(chunk), chunk.mean(axis), chunk.std(axis), chunk.min(axis), chunk.max(axis))
            found = one if found is None else found.with_more(one)
        assert found is not None
        return found

    def with_more(self, other: "Statistics") -> "Statistics":
        """Those of these rows and some more, in float64."""
        rows = self.rows + other.rows
        share = other.rows / rows
        apart = np.subtract(other.mean, self.mean, dtype=np.float64)
        variance = np.square(self.deviation, dtype=np.float64) * (1 - share)
        variance += np.square(other.deviation, dtype=np.float64) * share + np.square(apart) * (share * (1 - share))
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Statistics(rows, self.mean + apart * share, np.sqrt(variance), low, high)


def _chunks(features: Features, columns: slice = slice(None)) -> Iterator[Floats]:
    """The rows in order, so many at a time, the last ones fewer."""
    rows = max(1, CHUNK // features.shape[1])
    for start in range(0, len(features), rows):
        yield features[start : start + rows][:, columns]


def _fill_of(features: Features, missing: Missing) -> tuple[float, ...]:
    """The mean or median of each feature, (features,), without missing values; 0 for a feature without any value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature without any value
        found = _means(features) if missing == "mean" else _medians(features)
    return tuple(np.nan_to_num(found, nan=0.0).tolist())


def _means(features: Features) -> Any:
    """The mean of the values of each feature, (features,)."""
    chunks = _chunks(features)
    first = next(chunks)
    if len(first) == len(features):
        return np.nanmean(first, axis=0)
    total, counts = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for chunk in chain([first], chunks):
        total += np.nansum(chunk, 0, dtype=np.float64)
        counts += np.count_nonzero(~np.isnan(chunk), 0)
    return total / counts


def _medians(features: Features) -> Any:
    """The median of the values of each feature, (features,). Reads as many features at once as make CHUNK values."""
    at_once = max(1, CHUNK // len(features))
    found = []
    for start in range(0, features.shape[1], at_once):
        columns = np.concatenate(list(_chunks(features, slice(start, start + at_once))))
        found.append(np.nanmedian(columns, axis=0))
    return np.concatenate(found)


def _filled(features: Floats, fill: tuple[float, ...]) -> Floats:
    return cast(Floats, np.where(np.isnan(features), np.array(fill, dtype=features.dtype), features))


TargetMethod = Literal["standard", "none"]


@dataclass(frozen=True)
class TargetScaling:
    """The mean and the standard deviation of the values to learn, in the training part.

    Its methods take numpy arrays and torch tensors.
    """

    mean: float
    deviation: float

    def apply(self, values: Any) -> Any:
        """(values - mean) / deviation."""
        return (values - self.mean) / self.deviation

    def restore(self, values: Any) -> Any:
        """values * deviation + mean, which is the opposite."""
        return values * self.deviation + self.mean


def fit_target_scaling(values: Floats, method: TargetMethod) -> TargetScaling | None:
    """The scaling fitted to the values of a regression, (rows,), in float64; None for method none.

    The deviation of constant values is 1. InputError if values are too large for a deviation.
    """
    if method == "none":
        return None
    values = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        mean, deviation = float(values.mean()), float(values.std())
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        raise InputError(f"dataset.target_scaling={method}: values up to {np.abs(values).max():g} are too large for it")
    constant = values.min() == values.max() or deviation == 0
    return TargetScaling(mean, 1.0 if constant else deviation)


def target_scaling_problems(method: object, classes: int) -> list[Problem]:
    """The problems of a method's name, and of a method for a target of classes."""
    problems = choice_problems("dataset.target_scaling", method, get_args(TargetMethod))
    if not problems and method != "none" and classes:
        problems.append(Problem("dataset.target_scaling", str(method), "is for values, and the data set has classes"))
    return problems


def target_scaling_from_plain(plain: object, name: str) -> TargetScaling | None:
    """The scaling of a target from its fields, as plain values; None for None. InputError if it is damaged.

    name: of its file, for messages.
    """
    if plain is None:
        return None
    valid = (
        isinstance(plain, Mapping)
        and is_finite_number(plain.get("mean"))
        and is_finite_number(plain.get("deviation"))
        and plain["deviation"] > 0
    )
    if not valid:
        raise InputError(f"{name}: the scaling of its target is damaged; must have a mean and a deviation above 0")
    fields = cast(Mapping[str, Any], plain)
    return TargetScaling(float(fields["mean"]), float(fields["deviation"]))


def scaling_problems(method: object) -> list[Problem]:
    """The problems of a method's name."""
    return choice_problems("dataset.scaling", method, get_args(Method))


def scaling_from_plain(plain: Mapping[str, Any], name: str) -> Scaling:
    """The scaling that Scaling.as_plain wrote. name: of its file, for messages. InputError if it is damaged."""
    method, mean, deviation = plain.get("method"), plain.get("mean"), plain.get("deviation")
    fill = plain.get("fill")
    valid = (
        not scaling_problems(method)
        and isinstance(mean, list)
        and isinstance(deviation, list)
        and len(mean) == len(deviation) > 0
        and all(is_finite_number(value) for value in mean)
        and all(is_finite_number(value) and value > 0 for value in deviation)
        and (fill is None or (isinstance(fill, list) and len(fill) == len(mean) and all(map(is_finite_number, fill))))
    )
    if not valid:
        raise InputError(f"{name}: its scaling is damaged; must have a method, and as many means as deviations above 0")
    means, deviations = (tuple(map(float, plain[name])) for name in ("mean", "deviation"))
    return Scaling(cast(Method, method), means, deviations, None if fill is None else tuple(map(float, fill)))


def _each(value: Any, columns: int) -> tuple[float, ...]:
    """A value for each feature; a single value is repeated. Python floats hold float32 and float64 exactly."""
    return tuple(np.broadcast_to(value, columns).tolist())
