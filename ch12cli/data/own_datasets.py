"""Data sets of the user's own that give a row at a time: torch's Dataset and IterableDataset, and what is like them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems
from ch12cli.data.streaming.lazy_rows import LazyRows, Rows, Values
from ch12cli.data.table import FLOAT_TYPES, Table, given_target
from ch12cli.errors import InputError, describe_error, location_of

TargetType = Literal["auto", "classes", "values"]

USUAL_TARGETS = ("target", "label", "labels", "y")  # the keys of a row that name what is learned
TARGET_ATTRIBUTES = ("targets", "labels")  # of torchvision's data sets
CANNOT = "cannot be a data set; must have __len__ and __getitem__, or __iter__"
EMPTY = "is empty; must have at least one row"
AGAIN = "does not give its rows again; its __iter__ must begin anew at each call"
Array = npt.NDArray[Any]


def datasets(
    train: Any,
    *,
    valid: Any = None,
    test: Any = None,
    inputs: str | None = None,
    target: str | None = None,
    target_type: TargetType = "auto",
    class_names: Sequence[str] | None = None,
    source: str = "",
) -> Table:
    """A table whose rows are taken from data sets of the user's own when they are needed.

    A row is a pair, or a mapping. train: map-style, with __len__ and __getitem__, or iterable. valid, test: the rows of
    these parts; None: they are divided from train. inputs, target: the keys of a mapping's row; None: those that can be
    meant. target_type: auto takes whole numbers and texts for classes. class_names: in the order of their numbers.
    source: the name in messages. InputError if a row cannot be used.
    """
    problems = choice_problems("dataset.target_type", target_type, get_args(TargetType))
    if problems:
        raise InputError(problems)
    name = source or type_path(train)
    parts = [OwnRows(one, name, inputs, target) for one in (train, valid, test) if one is not None]
    rows = JoinedRows(parts)
    found = np.concatenate([part.targets() for part in parts])
    if target_type == "values":
        found = found.astype(np.float64)
    elif target_type == "classes" and found.dtype.kind == "f":
        found = found.astype(np.int64)
    numbers, names = given_target(found, name)
    names = tuple(class_names) if class_names is not None else names and parts[0].class_names(found, names)
    if names is not None and found.dtype.kind in "iu" and names != tuple(map(str, np.unique(found))):
        numbers = found.astype(np.int64)  # with names, they are the numbers themselves
    shape = rows.row_shape if len(rows.row_shape) == 3 else None
    return Table(
        rows,
        numbers,
        feature_names=tuple(f"x{column}" for column in range(1, rows.shape[1] + 1)),
        target_name=parts[0].target or "target",
        class_names=names,
        source=name,
        shape=shape,
        valid_rows=0 if valid is None else len(parts[1]),
        test_rows=0 if test is None else len(parts[-1]),
        known_digest=rows.digest(found),
        notes=rows.notes(),
    )


def is_dataset(value: object) -> bool:
    """Whether a value gives rows one at a time, and is no table, array or collection of Python's."""
    if isinstance(value, Table | tuple | list | dict | str | np.ndarray):
        return False
    return is_iterable(value) or hasattr(value, "__getitem__") or hasattr(value, "__iter__")


def is_iterable(value: object) -> bool:
    """Whether rows can only be had one after the other. torch's IterableDataset inherits a __getitem__ that fails."""
    named = any(kind.__name__ == "IterableDataset" for kind in type(value).__mro__)
    return named or (hasattr(value, "__iter__") and not (hasattr(value, "__getitem__") and hasattr(value, "__len__")))


def type_path(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


class OwnRows:
    """The rows of one data set. inputs, target: keys of a row; None: those that can be meant."""

    def __init__(self, dataset: Any, name: str, inputs: str | None, target: str | None) -> None:
        self.dataset, self.name, self.inputs, self.target = dataset, name, inputs, target
        self.sequential = is_iterable(dataset)
        self.iterator: Iterator[Any] = iter(())
        self.position, self.process = 0, 0  # the row that the iterator gives next, and the process that it belongs to
        self.has_given = False  # a row, ever
        if not self.sequential and not hasattr(dataset, "__len__"):
            raise InputError(f"{name}: has no __len__; {CANNOT}")
        if not self.sequential and len(dataset) == 0:
            raise InputError(f"{name}: {EMPTY}")
        self.first = self.pair(self.row(0), 0)

    @property
    def x(self) -> Array:
        """The input of the first row."""
        return self.first[0]

    def __len__(self) -> int:
        return self.rows

    def row(self, index: int) -> Any:
        """A row as the data set gives it. InputError with what it raised."""
        try:
            return self._next(index) if self.sequential else self.dataset[index]
        except (InputError, MemoryError):
            raise
        except Exception as error:
            raise InputError(f"{self.name}: row {index}: {describe_error(error)}{location_of(error)}") from error

    def _next(self, index: int) -> Any:
        """The row of an iterable, which begins anew in another process, and for a row that it has given already."""
        if self.process != os.getpid() or index < self.position:
            anew = iter(self.dataset)
            if anew is self.iterator and anew is not self.dataset:  # which may have begun anew
                raise InputError(f"{self.name}: {AGAIN}")
            self.iterator, self.position, self.process = anew, 0, os.getpid()
        while True:
            try:
                found = next(self.iterator)
            except StopIteration:
                rule = f"has {self.position} rows, and had more at first" if self.position else AGAIN
                raise InputError(f"{self.name}: {rule if self.has_given else EMPTY}") from None
            self.position, self.has_given = self.position + 1, True
            if self.position > index:
                return found

    def pair(self, row: Any, index: int) -> tuple[Array, Any]:
        """The input, an array of numbers, and the target of a row."""
        where = f"{self.name}: row {index}"
        if isinstance(row, Mapping):
            x, y = self._of_keys(row, where)
        elif isinstance(row, tuple | list) and len(row) == 2:
            x, y = row
        else:
            what = f"{type(row).__name__} of {len(row)}" if isinstance(row, tuple | list) else type(row).__name__
            raise InputError(f"{where}: is a {what}; must be a pair (input, target), or a mapping")
        numbers = as_numbers(x)
        if numbers.dtype.kind not in "biuf" or not numbers.size:
            raise InputError(f"{where}: its input is {numbers.dtype} of shape {numbers.shape}; must be numbers")
        if not np.isfinite(numbers).all():
            raise InputError(f"{where}: its input has a value that is not finite; must all be finite")
        return numbers, y

    def _of_keys(self, row: Mapping[str, Any], where: str) -> tuple[Any, Any]:
        names = list(row)
        if self.target is None:
            self.target = next((name for name in USUAL_TARGETS if name in row), names[-1] if names else "")
        others = [name for name in names if name != self.target]
        if self.inputs is None:
            if len(others) != 1:
                raise InputError(f"{where}: has the keys {', '.join(names)}; set dataset.inputs and dataset.target")
            self.inputs = others[0]
        for key, name in (("dataset.inputs", self.inputs), ("dataset.target", self.target)):
            if name not in row:
                raise InputError(f"{key}={name}: {where} has no such key; it has {', '.join(names)}")
        return row[self.inputs], row[self.target]

    def targets(self) -> Array:
        """What is learned of each row, (rows,): from an attribute or a column, else by going through all rows once."""
        found = self._known_targets()
        if found is None:
            found = [as_target(self.pair(row, index)[1], f"{self.name}: row {index}") for index, row in self._all()]
        self.rows = len(found)
        return np.asarray(found)

    def _known_targets(self) -> list[Any] | None:
        if self.sequential:
            return None
        values = next(
            (getattr(self.dataset, name, None) for name in TARGET_ATTRIBUTES if hasattr(self.dataset, name)), None
        )
        if values is None and self.target in (getattr(self.dataset, "column_names", None) or ()):  # Hugging Face's
            values = self.dataset[self.target]
        if values is None or len(values) != len(self.dataset):
            return None
        known = as_numbers(values) if hasattr(values, "numpy") else np.asarray(list(values))
        first = as_target(self.first[1], f"{self.name}: row 0")
        return known.tolist() if known.ndim == 1 and known.tolist()[0] == first else None

    def _all(self) -> Iterator[tuple[int, Any]]:
        index = 0
        while self.sequential or index < len(self.dataset):
            try:
                yield index, self.row(index)
            except InputError:
                if self.sequential and index == self.position > 0:  # it has ended
                    return
                raise
            index += 1

    def class_names(self, found: Array, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        """The names of classes that the data set gives; else those that were made of the targets."""
        names = getattr(self.dataset, "classes", None)
        features = getattr(self.dataset, "features", None)
        if names is None and isinstance(features, Mapping):  # Hugging Face's
            names = getattr(features.get(self.target), "names", None)
        fits = isinstance(names, list | tuple) and len(names) > 1 and all(isinstance(name, str) for name in names)
        numbered = found.dtype.kind in "iu" and found.min() >= 0 and found.max() < len(names or ())
        return tuple(names) if fits and numbered and names is not None else otherwise


def as_numbers(value: Any) -> Array:
    """An input as an array: of a tensor, an image of Pillow's (channels, height, width) from 0 to 1, or numbers."""
    if hasattr(value, "getbands"):
        pixels = np.asarray(value, np.float32) / 255
        return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[np.newaxis]
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return np.asarray(value.float().numpy() if str(value.dtype).endswith("float16") else value.numpy())
    return np.asarray(value)


def as_target(value: Any, where: str) -> Any:
    """The target of a row as a number or a text of Python's."""
    found = value if isinstance(value, str) else as_numbers(value)
    if isinstance(found, str):
        return found
    if found.size != 1:
        raise InputError(f"{where}: its target has shape {found.shape}; must be one number or one text")
    return found.reshape(-1)[0].item()


class JoinedRows(LazyRows):
    """The rows of data sets of the user's own, one after the other, each flat."""

    def __init__(self, parts: Sequence[OwnRows]) -> None:
        self.parts = parts
        self.row_shape = parts[0].x.shape if parts[0].x.ndim != 2 else (1, *parts[0].x.shape)
        self.dtype = parts[0].x.dtype if parts[0].x.dtype in FLOAT_TYPES else np.dtype(np.float32)
        self.sequential = any(part.sequential for part in parts)

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return sum(map(len, self.parts)), int(np.prod(self.row_shape))

    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        found = np.empty((len(rows), self.shape[1]), self.dtype)
        starts = np.cumsum([0, *map(len, self.parts)])
        for place, row in enumerate(rows.tolist()):
            number = int(np.searchsorted(starts, row, side="right")) - 1
            part, index = self.parts[number], row - int(starts[number])
            x, _ = part.pair(part.row(index), index)
            if x.shape != self.parts[0].x.shape:
                rule = f"has shape {x.shape}, and the first row has {self.parts[0].x.shape}; must all be alike"
                raise InputError(f"{part.name}: row {index}: its input {rule}")
            found[place] = x.reshape(-1)
        return found

    def digest(self, targets: Array) -> str:
        """SHA-256 of the targets and the first row, in hexadecimal: what is known without reading all rows."""
        total = sha256(f"{self.shape} {self.dtype.str}".encode())
        total.update(repr(targets.tolist()).encode())
        total.update(np.ascontiguousarray(self.parts[0].x, self.dtype).tobytes())
        return total.hexdigest()

    def notes(self) -> tuple[str, ...]:
        """A line on what is not possible with an iterable."""
        names = list(dict.fromkeys(part.name for part in self.parts if part.sequential))
        text = "is iterable: its rows are not shuffled, split or scaled, and one worker at most takes them"
        return tuple(f"{name} {text}" for name in names)
