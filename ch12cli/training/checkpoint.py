"""Checkpoints: sealed with a fingerprint, written whole, the one before kept until the new one is known to be good."""

import hashlib
import io
import os
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ch12cli.errors import InputError, MachineError
from ch12cli.files.atomic import machine_errors, sync_folder, write_flushed, write_whole
from ch12cli.files.sealed_json import FORMAT_KEY, require_known_format

SHARE = 0.02  # of the time: what checkpoints may cost where ch12 chooses their interval
SEAL = "fingerprint"
FORMAT = 2  # of a checkpoint; those of format 1 name none, and are otherwise the same
PREVIOUS = "previous.pt"
MAX_VALUES = 10**6  # in the nested mappings and lists of a checkpoint; a stack of 4,096 runs has under 10**5
SCALARS = frozenset((str, int, float, bool, type(None)))
MAX_DEPTH = 20  # of them inside each other


class DamagedError(InputError):
    """A checkpoint cannot be read, or is not what was written."""


def fingerprint(value: Any) -> str:
    """Returns the SHA-256 of nested mappings, lists, tensors and plain values, by content."""
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    if type(value) in SCALARS:  # first: most are, and asking whether they are mappings takes longer than all else
        total.update(f"{type(value).__name__} {value!r};".encode())
    elif isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        total.update(f"tensor {array.dtype} {tuple(array.shape)}".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().data if array.numel() else b"")
    elif isinstance(value, Mapping):
        total.update(f"mapping {len(value)}".encode())
        for key, inner in value.items():
            _add(total, key)
            _add(total, inner)
    elif isinstance(value, list | tuple):
        total.update(f"list {len(value)}".encode())
        for inner in value:
            _add(total, inner)
    else:
        total.update(f"{type(value).__name__} {value!r};".encode())


def on_cpu(value: Any) -> Any:
    """Returns a value with its tensors on the CPU: torch.load would put them on the device they were saved from."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: on_cpu(inner) for key, inner in value.items()}
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value


def sealed_bytes(state: Mapping[str, Any]) -> bytes:
    """Returns the content of a checkpoint's file: the state and its fingerprint, for plain torch.load."""
    buffer = io.BytesIO()
    state = {**on_cpu(state), FORMAT_KEY: FORMAT}
    torch.save({**state, SEAL: fingerprint(state)}, buffer)
    return buffer.getvalue()


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state of tensors and plain values, sealed, whole or not at all."""
    write_whole(path, sealed_bytes(state))


def save_plain(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a module's state_dict as it is, without a fingerprint, for load_state_dict."""
    buffer = io.BytesIO()
    torch.save(on_cpu(state), buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """A state as it was saved, on the CPU. DamagedError if it is not what was saved, NewerFormatError if a newer ch12
    saved it. Nothing in it is executed."""
    state = load_plain(path)
    require_known_format(state, path, newest=FORMAT)
    try:
        sealed = state.pop(SEAL, None) == fingerprint(state)
    except Exception as error:  # kinds of tensors that have no bytes to look at
        raise DamagedError(f"{path}: damaged, or no checkpoint: {type(error).__name__}") from error
    if not sealed:
        raise DamagedError(f"{path}: damaged: its content is not what was written")
    state.pop(FORMAT_KEY, None)
    return state


def load_plain(path: Path) -> dict[str, Any]:
    """Returns what `save_plain` wrote, on the CPU, unverified. Executes nothing in it. DamagedError if unreadable."""
    if not path.is_file():
        raise DamagedError(f"{path}: no such checkpoint")
    try:
        refuse_packed(path)
        with warnings.catch_warnings(action="ignore"):  # about other formats of torch, which are refused
            state = torch.load(path, map_location="cpu", weights_only=True)
        refuse_oversized(state)
    except Exception as error:  # whatever a damaged or hostile file makes of torch's reader
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise DamagedError(f"{path}: damaged, or no checkpoint: {reason}") from error
    if not isinstance(state, dict):
        raise DamagedError(f"{path}: damaged, or no checkpoint: holds no mapping")
    return state


def refuse_packed(path: Path) -> None:
    """Raises ValueError if a file unpacks to more than its size: torch writes without compression."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")


def refuse_oversized(state: Any) -> None:
    """Raises ValueError for values that would grow without bounds when walked: shared, endless or expanded."""
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
    """Reads a checkpoint that has just been written. MachineError or OSError if it is not what was written."""
    try:
        load(path)
    except DamagedError as error:
        os.stat(path)  # of a folder that was removed, the system says so itself
        raise MachineError(f"cannot read back what was written: {error}") from error


class Checkpoints:
    """The checkpoints of one run, or stack: last.pt, and previous.pt, which stays until last.pt has been read back.

    every: epochs between two, None for as often as SHARE of the time allows; last: the name of the newer one.
    """

    def __init__(self, folder: Path, *, every: int | None, last: str = "last.pt") -> None:
        self.last = folder / last
        self.previous = folder / (PREVIOUS if last == "last.pt" else f"{self.last.stem}.{PREVIOUS}")
        self.cadence = Cadence(every)
        self.verified = False  # whether last.pt has been read back

    def due(self, epoch: int) -> bool:
        return self.cadence.due(epoch)

    def write(self, state: Mapping[str, Any], *, verify: bool = True) -> None:
        """Replaces last.pt by a state. verify: read it back first; without it previous.pt stays until that is done."""
        with self.cadence.measured():
            content = sealed_bytes(state)
            beside = self.last.with_name(f".{self.last.name}.{os.getpid()}.new")
            with machine_errors(f"cannot write {self.last}"):
                write_flushed(beside, content)
                if verify:
                    read_back(beside)
                valid = self.verified or self.is_valid()  # a damaged one must not replace a good one
                self.verified = False  # first: a signal may end this between any two lines
                if valid:
                    os.replace(self.last, self.previous)
                os.replace(beside, self.last)
                sync_folder(self.last.parent)
            self.verified = verify

    def is_valid(self) -> bool:
        """Returns whether last.pt can be read and is what was written."""
        try:
            return bool(load(self.last))
        except DamagedError:
            return False

    def newest(self) -> tuple[dict[str, Any], list[str]]:
        """Returns the newest valid checkpoint, and why newer ones were skipped. DamagedError if there is none."""
        passed_over: list[str] = []
        for path in (self.last, self.previous):
            try:
                return load(path), passed_over
            except DamagedError as error:
                passed_over.append(str(error))
        raise DamagedError(passed_over)

    def exist(self) -> bool:
        return self.last.is_file() or self.previous.is_file()

    def remove(self) -> None:
        """Removes both, the older one first: a kill in between must not bring it back."""
        self.previous.unlink(missing_ok=True)
        self.last.unlink(missing_ok=True)


class Cadence:
    """When a checkpoint is due: every so many epochs, or as often as SHARE of the time allows."""

    def __init__(self, every: int | None) -> None:
        self.every = every
        self.cost = 0.01  # seconds that one takes, until the first has been measured
        self.last = time.monotonic()

    def due(self, epoch: int) -> bool:
        if self.every is not None:
            return epoch % self.every == 0
        return time.monotonic() - self.last > self.cost / SHARE

    def measured(self) -> "_Measured":
        """Returns a context that measures what writing a checkpoint costs."""
        return _Measured(self)


class _Measured:
    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence

    def __enter__(self) -> None:
        self.start = time.monotonic()

    def __exit__(self, *_error: object) -> None:
        self.cadence.last = time.monotonic()
        self.cadence.cost = self.cadence.last - self.start


# What torch and the parts of the loop raise for the state of something else.
MISMATCH_ERRORS = (RuntimeError, KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


@contextmanager
def checkpoint_must_fit(where: str) -> Iterator[None]:
    """Re-raises errors from loading an incompatible checkpoint as InputError. where: begins its message."""
    try:
        yield
    except MISMATCH_ERRORS as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        said = f"{type(error).__name__}: {reason[:200]}"
        raise InputError(f"{where}: its checkpoint does not fit its settings ({said})") from error
