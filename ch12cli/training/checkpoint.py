"""Checkpoints: written atomically with a fingerprint. The previous one is kept until the new one has been verified.

The rows of a run, which grow with its epochs, are in a file beside its checkpoints. Each checkpoint adds the new ones.
"""

import hashlib
import io
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.errors import InputError, MachineError, first_line
from ch12cli.files.atomic import machine_errors, sync_folder, write_flushed, write_whole
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.run_directory import METRICS
from ch12cli.files.sealed_json import FORMAT_KEY, require_known_format

SHARE = 0.02  # maximum fraction of the time spent on checkpoints if ch12 chooses their interval
COST_OF_RUN = 1e-4  # seconds that a run of a stack adds to a checkpoint, measured for Iris
SEAL = "fingerprint"
FORMAT = 3  # of a checkpoint; format 2 holds the rows itself, format 1 is the same without a format key
PREVIOUS = "previous.pt"
MAX_VALUES = 10**6  # maximum number of values in a checkpoint; a stack of 4,096 runs has under 10**5
SCALARS = frozenset((str, int, float, bool, type(None)))
MAX_DEPTH = 20  # maximum nesting of mappings and lists


class DamagedError(InputError):
    """A checkpoint cannot be read, or its content does not match its fingerprint."""


def fingerprint(value: Any) -> str:
    """Returns the SHA-256 of nested mappings, lists, tensors and plain values."""
    total = hashlib.sha256()
    _add(total.update, value)
    return total.hexdigest()


def fingerprinted(value: Any) -> list[bytes]:
    """Returns what the fingerprint of a value is made from, in parts: its keys, its plain values, its tensors."""
    parts: list[bytes] = []
    _add(parts.append, value)
    return parts


def _add(add: Callable[[bytes], object], value: Any) -> None:
    if type(value) in SCALARS:  # first, because most values are scalars and the test for Mapping is slow
        add(f"{type(value).__name__} {value!r};".encode())
    elif isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        add(f"tensor {array.dtype} {tuple(array.shape)}".encode())
        add(array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b"")
    elif isinstance(value, Mapping):
        add(f"mapping {len(value)}".encode())
        for key, inner in value.items():
            _add(add, key)
            _add(add, inner)
    elif isinstance(value, list | tuple):
        add(f"list {len(value)}".encode())
        for inner in value:
            _add(add, inner)
    else:
        add(f"{type(value).__name__} {value!r};".encode())


def on_cpu(value: Any) -> Any:
    """Returns the value with its tensors on the CPU.

    torch.load would otherwise restore them to the device that they were saved from.
    """
    if type(value) in SCALARS:
        return value
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: on_cpu(inner) for key, inner in value.items()}
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value


def sealed_bytes(state: Mapping[str, Any]) -> bytes:
    """Returns the content of a checkpoint file: the state and its fingerprint, in the format of torch.load."""
    buffer = io.BytesIO()
    state = {**on_cpu(state), FORMAT_KEY: FORMAT}
    torch.save({**state, SEAL: fingerprint(state)}, buffer)
    return buffer.getvalue()


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state of tensors and plain values with its fingerprint, atomically."""
    write_whole(path, sealed_bytes(state))


def save_plain(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a module's state_dict without a fingerprint, for load_state_dict."""
    buffer = io.BytesIO()
    torch.save(on_cpu(state), buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """Returns a saved state on the CPU. Executes nothing in it.

    Raises DamagedError if its content does not match its fingerprint, NewerFormatError if a newer ch12 saved it.
    """
    state = load_plain(path)
    require_known_format(state, path, newest=FORMAT)
    try:
        sealed = state.pop(SEAL, None) == fingerprint(state)
    except Exception as error:  # tensor types without accessible bytes
        raise DamagedError(f"{path}: damaged, or no checkpoint: {type(error).__name__}") from error
    if not sealed:
        raise DamagedError(f"{path}: damaged: its content is not what was written")
    state.pop(FORMAT_KEY, None)
    return state


def load_plain(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """Returns the content of a file written by `save_plain`, on the CPU, without verifying a fingerprint.

    lazily: reads values of tensors only when they are used. Executes nothing in it. Raises DamagedError if it is
    unreadable.
    """
    if not path.is_file():
        raise DamagedError(f"{path}: no such checkpoint")
    try:
        refuse_packed(path)
        with warnings.catch_warnings(action="ignore"):  # about other torch formats, which are rejected
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
        refuse_oversized(state)
    except Exception as error:  # torch may raise any error for a damaged or hostile file
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise DamagedError(f"{path}: damaged, or no checkpoint: {reason}") from error
    if not isinstance(state, dict):
        raise DamagedError(f"{path}: damaged, or no checkpoint: holds no mapping")
    return state


def refuse_packed(path: Path) -> None:
    """Raises ValueError if a file is compressed or unpacks to more than its size. torch does not compress."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")


def refuse_oversized(state: Any) -> None:
    """Raises ValueError for values that take unbounded time or memory to traverse: shared, cyclic or expanded ones."""
    waiting, seen = [(state, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError("holds too many values, or too deep ones")
        if isinstance(value, Mapping):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(inner, depth + 1) for inner in value]
        elif isinstance(value, Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError("holds a tensor larger than what it is made of")


def read_back(path: Path) -> None:
    """Verifies a checkpoint that has just been written. Raises MachineError or OSError if it is not valid."""
    try:
        load(path)
    except DamagedError as error:
        os.stat(path)  # raises OSError if the folder was removed
        raise MachineError(f"cannot read back what was written: {error}") from error


ROWS, COLUMNS, KEPT = "rows", "columns", "rows_beside"  # keys of a state


class RowsBeside:
    """The file of the rows that belong to the checkpoints of a run or a stack: float64, one row after the other.

    A checkpoint says how many of them are its own, and their digest. Those after them are of a later one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0  # rows in the file that this object wrote
        self.total = hashlib.sha256()

    def keep(self, rows: Tensor) -> dict[str, Any]:
        """Adds the rows that are not in the file, and flushes it. Returns what a checkpoint says of them.

        rows: all so far, (epochs, columns), of which the first are those of the calls before.
        """
        array = canonical(rows)
        new = array[self.count :]
        if not self.count:  # of another session there may be more rows, or others
            write_whole(self.path, new.tobytes())
        elif len(new):
            with open(self.path, "r+b") as file:
                file.seek(self.count * array.shape[1] * array.itemsize)
                file.write(new.tobytes())
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        self.total.update(new.tobytes())
        self.count = len(array)
        return {"count": len(array), "width": array.shape[1], "digest": self.total.hexdigest()}

    def read(self, kept: Mapping[str, Any], columns: Sequence[str]) -> Tensor | None:
        """Returns the rows of a checkpoint, (epochs, columns), from this file or metrics.csv; None if both are damaged.

        columns: their names.
        """
        for source in (self._own, self._recorded):
            with suppress(OSError, ValueError, TypeError, KeyError, InputError):
                rows = source(kept, columns)
                if rows.shape == (kept["count"], kept["width"]) and is_digest_of(rows, kept["digest"]):
                    return torch.from_numpy(rows)
        return None

    def _own(self, kept: Mapping[str, Any], _columns: Sequence[str]) -> NDArray[np.float64]:
        size = kept["count"] * kept["width"]
        if self.path.is_symlink() or not self.path.is_file() or self.path.stat().st_size < size * 8:
            raise ValueError("too short")
        return np.fromfile(self.path, np.float64, size).reshape(kept["count"], kept["width"])

    def _recorded(self, kept: Mapping[str, Any], columns: Sequence[str]) -> NDArray[np.float64]:
        rows = read_metrics(self.path.parent.parent / METRICS)[: kept["count"]]
        return np.array([[row[name] for name in columns] for row in rows], np.float64)


def canonical(rows: Tensor) -> NDArray[np.float64]:
    """Returns rows as numpy, (epochs, columns), with one bit pattern for all NaN."""
    array = rows.numpy().reshape(len(rows), -1)
    return np.where(np.isnan(array), np.nan, array)


def is_digest_of(rows: NDArray[np.float64], digest: object) -> bool:
    return hashlib.sha256(canonical(torch.from_numpy(rows)).tobytes()).hexdigest() == digest


class Checkpoints:
    """The checkpoints of a run or stack: last.pt, and previous.pt, which is kept until last.pt is verified.

    every: epochs between checkpoints, None for an interval that costs at most SHARE of the time; last: file name of the
    newer one; runs: of a stack.
    """

    def __init__(self, folder: Path, *, every: int | None, last: str = "last.pt", runs: int = 1) -> None:
        self.last = folder / last
        self.previous = folder / (PREVIOUS if last == "last.pt" else f"{self.last.stem}.{PREVIOUS}")
        self.rows = RowsBeside(folder / f"{self.last.stem}.rows")
        self.cadence = Cadence(every, runs=runs)
        self.verified = False  # whether last.pt has been read back

    def due(self, epoch: int) -> bool:
        return self.cadence.due(epoch)

    def write(self, state: Mapping[str, Any], *, verify: bool = True) -> None:
        """Replaces last.pt.

        verify: read the file back first; otherwise previous.pt is kept until last.pt is verified.
        """
        with self.cadence.measured():
            with machine_errors(f"cannot write {self.rows.path}"):
                state = {**state, ROWS: None, KEPT: self.rows.keep(state[ROWS])} if len(state.get(ROWS, ())) else state
            content = sealed_bytes(state)
            beside = self.last.with_name(f".{self.last.name}.{os.getpid()}.new")
            with machine_errors(f"cannot write {self.last}"):
                write_flushed(beside, content)
                if verify:
                    read_back(beside)
                valid = self.verified or self.is_valid()  # a damaged checkpoint must not replace a valid one
                self.verified = False  # set first: a signal may interrupt between any two lines
                if valid:
                    os.replace(self.last, self.previous)
                os.replace(beside, self.last)
                sync_folder(self.last.parent)
            self.verified = verify

    def is_valid(self) -> bool:
        """Returns whether last.pt can be read and matches its fingerprint."""
        try:
            return bool(load(self.last))
        except DamagedError:
            return False

    def newest(self) -> tuple[dict[str, Any], list[str]]:
        """Returns the newest valid checkpoint, and why newer ones were skipped.

        Raises DamagedError if there is none.
        """
        skipped: list[str] = []
        for path in (self.last, self.previous):
            try:
                return self.with_rows(load(path)), skipped
            except DamagedError as error:
                skipped.append(str(error))
        raise DamagedError(skipped)

    def epoch(self) -> int | None:
        """Returns the epoch of the newest readable checkpoint, without verifying it; None if there is none."""
        for path in (self.last, self.previous):
            with suppress(DamagedError, KeyError, TypeError, ValueError):
                return int(load_plain(path, lazily=True)["epoch"])
        return None

    def with_rows(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the state with the rows that are beside it; None in their place if they are damaged."""
        kept = state.pop(KEPT, None)
        return state if kept is None else {**state, ROWS: self.rows.read(kept, state.get(COLUMNS, ()))}

    def exist(self) -> bool:
        return self.last.is_file() or self.previous.is_file()

    def remove(self) -> None:
        """Removes both, the older first, so that a kill in between does not leave only the older one."""
        self.rows.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)
        self.last.unlink(missing_ok=True)


class Cadence:
    """Decides when a checkpoint is due: every `every` epochs, or as often as SHARE of the time allows."""

    def __init__(self, every: int | None, *, runs: int = 1) -> None:
        self.every = every
        self.cost = 0.01 + runs * COST_OF_RUN  # seconds per checkpoint, an estimate until one has been measured
        self.last = time.monotonic()

    def due(self, epoch: int) -> bool:
        if self.every is not None:
            return epoch % self.every == 0
        return time.monotonic() - self.last > self.cost / SHARE

    def measured(self) -> "_Measured":
        """Returns a context manager that measures the time of writing a checkpoint."""
        return _Measured(self)


class _Measured:
    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence

    def __enter__(self) -> None:
        self.start = time.monotonic()

    def __exit__(self, *_error: object) -> None:
        self.cadence.last = time.monotonic()
        self.cadence.cost = self.cadence.last - self.start


# Errors raised on loading an incompatible state.
MISMATCH_ERRORS = (RuntimeError, KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


@contextmanager
def checkpoint_must_fit(where: str) -> Iterator[None]:
    """Re-raises errors from loading an incompatible checkpoint as InputError. where: prefix of the message."""
    try:
        yield
    except MISMATCH_ERRORS as error:
        details = f"{type(error).__name__}: {first_line(str(error))[:200]}"
        raise InputError(f"{where}: its checkpoint does not fit its settings ({details})") from error
