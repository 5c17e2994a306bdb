"""Scaling of features to mean 0 and deviation 1, and filling of missing values, fitted to the training part alone."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from ch12cli.data.arguments import choice_problems
from ch12cli.data.table import Floats, Missing
from ch12cli.errors import InputError, Problem
from ch12cli.files.plain_values import is_finite_number

Method = Literal["standard", "global", "none"]


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
        return cast(Floats, (features - mean) / deviation)

    def filled(self, features: Floats) -> Floats:
        """features with missing values filled in, (rows, features). InputError for another number of features."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise InputError(f"features have shape {features.shape}; must be (rows, {len(self.mean)}), as in training")
        return features if self.fill is None else _filled(features, self.fill)

    def as_plain(self) -> dict[str, Any]:
        """method, mean, deviation, and fill if there is one, as plain values, exact in JSON."""
        plain = {"method": self.method, "mean": list(self.mean), "deviation": list(self.deviation)}
        return plain if self.fill is None else {**plain, "fill": list(self.fill)}


def fit_scaling(features: Floats, method: Method, missing: Missing | None = None) -> Scaling:
    """The scaling fitted to features, (rows, features), in their own dtype; deviations are those of the population.

    standard: each feature by its own mean and deviation. global: one mean and one deviation for the whole array.
    none: the features stay as they are. The deviation of constant values is 1. missing: the statistic of each feature
    that replaces NaN, before anything else. InputError if values are too large for a deviation.
    """
    problems = scaling_problems(method)
    if problems:
        raise InputError(problems)
    fill = None
    if missing is not None:
        fill = _fill_of(features, missing)
        features = _filled(features, fill)
    columns = features.shape[1]
    if method == "none":
        return Scaling(method, (0.0,) * columns, (1.0,) * columns, fill)
    axis = 0 if method == "standard" else None
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        mean, deviation = features.mean(axis=axis), features.std(axis=axis)
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise InputError(
            f"dataset.scaling={method}: values up to {np.abs(features).max():g} are too large for a deviation in "
            f"{features.dtype}; use smaller units, or dataset.scaling=none"
        )
    # the mean of equal values may be one bit off, their deviation just above 0; that of tiny values may round to 0
    constant = (features.min(axis=axis) == features.max(axis=axis)) | (deviation == 0)
    deviation = np.where(constant, 1, deviation)
    return Scaling(method, _each(mean, columns), _each(deviation, columns), fill)


def _fill_of(features: Floats, missing: Missing) -> tuple[float, ...]:
    """The mean or median of each feature, (features,), without missing values; 0 for a feature without any value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature without any value
        found = (np.nanmean if missing == "mean" else np.nanmedian)(features, axis=0)
    return tuple(np.nan_to_num(found, nan=0.0).tolist())


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
