"""predictions.npz: what a run's network predicts, as its plots and its page show it without torch.

Format 1: an array `about` holds JSON as bytes; the other arrays are those of the data classes below, named
`PART.FIELD`, `plane.FIELD` and `curve.FIELD`. A single run writes it at its end, unless that is large or slow.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.errors import InputError, MachineError
from ch12cli.files.atomic import read_file
from ch12cli.files.predictions.arrays import ArraysError, from_npz, to_npz
from ch12cli.files.result_json import is_intact, read_result
from ch12cli.files.run_directory import PREDICTIONS, RESULT, refuse_links

FORMAT = 1
PARTS = ("train", "valid", "test")
SHADES = 255  # steps of a probability on the plane
LARGEST_FILE = 2**25  # bytes

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class DataFacts:
    """What the data of a run are. class_names: none for values; features: at most as many as are shown."""

    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    features: int
    target_name: str
    unit: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class PredictedPart:
    """The predictions of a part.

    rows: numbers of its rows in the data, counted from 0 and with those left out, (n,). actual: the true classes or
    values, (n,). outputs: probabilities of the classes, (n, classes), or values, (n, 1). found: the classes, (n,); none
    for values.
    """

    rows: Numbers
    actual: Values
    outputs: Values
    found: Numbers


class PlanePoints(NamedTuple):
    """The rows of a part on a plane or along a feature, (n,) each. y: the second feature; of a curve, the target."""

    part: str
    x: Values
    y: Values
    classes: Numbers


@dataclass(frozen=True, eq=False)
class Plane:
    """The predicted class over two features, (m, m), with the first row at the bottom. sure: its probability, (m, m).

    features: their names. x_range, y_range: the ends of the axes. others: the number of features at their mean.
    """

    features: tuple[str, str]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    found: Numbers
    sure: Values
    points: tuple[PlanePoints, ...]
    others: int


@dataclass(frozen=True, eq=False)
class FeatureCurve:
    """The predicted value along one feature, (m,) each. others: the number of features at their mean."""

    feature: str
    x: Values
    y: Values
    points: tuple[PlanePoints, ...]
    others: int


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """The predictions of a run's network for its data, as far as they were computed. parts: by name."""

    facts: DataFacts
    parts: Mapping[str, PredictedPart] = field(default_factory=dict)
    plane: Plane | None = None
    curve: FeatureCurve | None = None


def to_bytes(predictions: RunPredictions) -> bytes:
    """Returns the content of the file. Probabilities on the plane are rounded to steps of 1/255."""
    arrays: dict[str, NDArray[Any]] = {}
    about: dict[str, Any] = {"format": FORMAT, "facts": asdict(predictions.facts), "parts": list(predictions.parts)}
    for name, part in predictions.parts.items():
        arrays |= {f"{name}.rows": part.rows, f"{name}.actual": part.actual, f"{name}.found": part.found}
        arrays[f"{name}.outputs"] = part.outputs
    if (plane := predictions.plane) is not None:
        about["plane"] = {name: getattr(plane, name) for name in ("features", "x_range", "y_range", "others")}
        about["plane"]["points"] = [points.part for points in plane.points]
        small = np.uint8 if plane.found.max(initial=0) < 256 else np.uint16
        arrays["plane.found"] = plane.found.astype(small)
        arrays["plane.sure"] = np.round(plane.sure * SHADES).astype(np.uint8)
        arrays |= _arrays_of_points("plane", plane.points)
    if (curve := predictions.curve) is not None:
        about["curve"] = {"feature": curve.feature, "others": curve.others}
        about["curve"]["points"] = [points.part for points in curve.points]
        arrays |= {"curve.x": curve.x, "curve.y": curve.y, **_arrays_of_points("curve", curve.points)}
    text = json.dumps(about, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return to_npz({"about": np.frombuffer(text, np.uint8), **arrays})


def _arrays_of_points(name: str, points: tuple[PlanePoints, ...]) -> dict[str, NDArray[Any]]:
    return {
        f"{name}.{part.part}.{field_name}": getattr(part, field_name)
        for part in points
        for field_name in ("x", "y", "classes")
    }


def from_bytes(content: bytes, path: Path | str) -> RunPredictions:
    """Returns what a file holds. Raises InputError if it is damaged, or of a newer format."""
    try:
        arrays = from_npz(content)
        about = json.loads(arrays["about"].tobytes())
        if about["format"] != FORMAT:
            raise InputError(f"{path}: of another version of ch12 (format {about['format']!r})")
        facts = _facts_in(about["facts"])
        classes = len(facts.class_names)
        parts = {name: _part_in(arrays, name, classes) for name in PARTS if name in about["parts"]}
        plane = _plane_in(arrays, about["plane"], classes) if "plane" in about else None
        curve = _curve_in(arrays, about["curve"]) if "curve" in about else None
        return RunPredictions(facts, parts, plane, curve)
    except (ArraysError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: damaged, or no record of predictions") from error


def _require(condition: object) -> None:
    """Raises ValueError for a record that contradicts itself."""
    if not condition:
        raise ValueError


def _facts_in(about: Mapping[str, Any]) -> DataFacts:
    class_names, feature_names, shape = (tuple(about[name]) for name in ("class_names", "feature_names", "shape"))
    target, unit = about["target_name"], about["unit"]
    _require(all(isinstance(text, str) for text in (*class_names, *feature_names, target, unit)))
    sides = tuple(_count(side) for side in shape)
    return DataFacts(class_names, feature_names, _count(about["features"]), target, unit, sides)


def _numbers(array: NDArray[Any], *, below: int) -> Numbers:
    _require(array.dtype.kind in "iu" and (not array.size or (array.min() >= 0 and array.max() < below)))
    return array.astype(np.int64)


def _finite(array: NDArray[Any]) -> Values:
    values = array.astype(np.float64)
    _require(np.isfinite(values).all())
    return values


def _part_in(arrays: Mapping[str, NDArray[Any]], name: str, classes: int) -> PredictedPart:
    rows, actual, outputs, found = (arrays[f"{name}.{each}"] for each in ("rows", "actual", "outputs", "found"))
    n = len(rows)
    _require(n and rows.shape == actual.shape == (n,) and outputs.shape == (n, classes or 1))
    _require(found.shape == ((n,) if classes else (0,)))
    true = _finite(actual)
    _require(not classes or (true.min() >= 0 and true.max() < classes))
    return PredictedPart(
        _numbers(rows, below=2**62), true, outputs.astype(np.float64), _numbers(found, below=max(classes, 1))
    )


def _points_in(
    arrays: Mapping[str, NDArray[Any]], name: str, about: Mapping[str, Any], classes: int
) -> tuple[PlanePoints, ...]:
    found = []
    for part in [each for each in PARTS if each in about["points"]]:
        x, y, numbers = (arrays[f"{name}.{part}.{each}"] for each in ("x", "y", "classes"))
        _require(x.shape == y.shape == (len(x),) and numbers.shape == ((len(x),) if classes else (0,)))
        found.append(PlanePoints(part, _finite(x), _finite(y), _numbers(numbers, below=max(classes, 1))))
    return tuple(found)


def _plane_in(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any], classes: int) -> Plane:
    found, sure = arrays["plane.found"], arrays["plane.sure"]
    _require(found.ndim == 2 and len(found) > 1 and found.shape == sure.shape == (len(found), len(found)))
    (first, second), x_range, y_range = about["features"], _range(about["x_range"]), _range(about["y_range"])
    _require(isinstance(first, str) and isinstance(second, str) and sure.dtype == np.uint8)
    points = _points_in(arrays, "plane", about, classes)
    shares = sure / SHADES
    return Plane(
        (first, second), x_range, y_range, _numbers(found, below=classes), shares, points, _count(about["others"])
    )


def _curve_in(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> FeatureCurve:
    x, y = _finite(arrays["curve.x"]), arrays["curve.y"].astype(np.float64)
    _require(x.shape == y.shape == (len(x),) and len(x) > 1 and isinstance(about["feature"], str))
    return FeatureCurve(about["feature"], x, y, _points_in(arrays, "curve", about, 0), _count(about["others"]))


def _range(ends: Any) -> tuple[float, float]:
    low, high = map(float, ends)
    _require(np.isfinite([low, high]).all() and low < high)
    return low, high


def _count(number: Any) -> int:
    _require(type(number) is int and number >= 0)
    return int(number)


def recorded_predictions(directory: Path) -> RunPredictions | None:
    """Returns the predictions of a run's last weights; None if it has no record of them, or is not as it was written.

    A run that went on since has other weights.
    """
    path = directory / PREDICTIONS
    try:
        if not path.exists() or path.stat().st_size > LARGEST_FILE:
            return None
        refuse_links(directory)
        result = read_result(directory / RESULT)
        if result is None or PREDICTIONS not in result.files or not is_intact(directory):
            return None
        return from_bytes(read_file(path), path)
    except (OSError, InputError, MachineError):
        return None
