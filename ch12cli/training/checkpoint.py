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

SHARE = 0.02  # of the time that checkpoints may cost when their interval is left to ch12
SEAL = "fingerprint"
FORMAT = 2  # of a checkpoint; those of format 1 name none, and are otherwise the same
PREVIOUS = "previous.pt"
MOST_VALUES = 10**6  # in the nested mappings and lists of a checkpoint; a stack of 4,096 runs has under 10**5
SCALARS = frozenset((str, int, float, bool, type(None)))
DEEPEST = 20  # of them inside each other


class DamagedError(InputError):
    """A checkpoint that cannot be read, or that is not what was written."""


def fingerprint(value: Any) -> str:
    """SHA-256 of nested mappings, lists, tensors and plain values, by content."""
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
    """The same with its tensors on the CPU: torch.load puts a tensor where it was saved, on another machine too."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: on_cpu(inner) for key, inner in value.items()}
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value


def sealed_bytes(state: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint's file: the state and its fingerprint, for torch.load as it stands."""
    buffer = io.BytesIO()
    state = {**on_cpu(state), FORMAT_KEY: FORMAT}
    torch.save({**state, SEAL: fingerprint(state)}, buffer)
    return buffer.getvalue()


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state of tensors and plain values, sealed, whole or not at all."""
    write_whole(path, sealed_bytes(state))


def save_plain(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a module's state_dict as it is: what load_state_dict takes, with nothing of ch12's in it."""
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
    """What `save_plain` wrote, on the CPU; it bears no seal. Nothing in the file is executed."""
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
    """ValueError if a file unpacks to more than it is: torch stores what it writes as it is."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")


def refuse_oversized(state: Any) -> None:
    """ValueError if what was read would grow without bounds when it is looked at: shared, endless or expanded."""
    waiting, seen = [(state, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise ValueError("holds too many values, or too deep ones")
        if isinstance(value, Mapping):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(inner, depth + 1) for inner in value]
        elif isinstance(value, Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError("holds a tensor larger than what it is made of")


def read_back(path: Path) -> None:
    """MachineError, or OSError, unless a checkpoint that has just been written is what was written."""
    try:
        load(path)
    except DamagedError as error:
        os.stat(path)  # of a folder that was removed, the system says so itself
        raise MachineError(f"cannot read back what was written: {error}") from error


class Checkpoints:
    """The checkpoints of one run, or stack: last.pt, and previous.pt, which stays until last.pt has been read back.

    every: epochs between two, None for as often as SHARE of the time pays for; last: the name of the newer one.
    """

    def __init__(self, folder: Path, *, every: int | None, last: str = "last.pt") -> None:
        self.last = folder / last
        self.previous = folder / (PREVIOUS if last == "last.pt" else f"{self.last.stem}.{PREVIOUS}")
        self.cadence = Cadence(every)
        self.sound = False  # whether last.pt is known to be good

    def due(self, epoch: int) -> bool:
        return self.cadence.due(epoch)

    def write(self, state: Mapping[str, Any], *, verify: bool = True) -> None:
        """Puts a state in the place of the last one. verify: reads it back first; without, the one before stays as it
        is until somebody does."""
        with self.cadence.measured():
            content = sealed_bytes(state)
            beside = self.last.with_name(f".{self.last.name}.{os.getpid()}.new")
            with machine_errors(f"cannot write {self.last}"):
                write_flushed(beside, content)
                if verify:
                    read_back(beside)
                sound = self.sound or self.is_sound()  # a damaged one must not take the place of a good one
                self.sound = False  # before it is so: a signal may end this between any two lines
                if sound:
                    os.replace(self.last, self.previous)
                os.replace(beside, self.last)
                sync_folder(self.last.parent)
            self.sound = verify

    def is_sound(self) -> bool:
        try:
            return bool(load(self.last))
        except DamagedError:
            return False

    def newest(self) -> tuple[dict[str, Any], list[str]]:
        """The newest good checkpoint, and what was passed over on the way. DamagedError if there is none."""
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
        """Removes them, the older one first: a kill in between must not bring it back."""
        self.previous.unlink(missing_ok=True)
        self.last.unlink(missing_ok=True)


class Cadence:
    """Says when a checkpoint is due: every so many epochs, or as often as SHARE of the time pays for."""

    def __init__(self, every: int | None) -> None:
        self.every = every
        self.cost = 0.01  # seconds that one takes, until the first has been measured
        self.last = time.monotonic()

    def due(self, epoch: int) -> bool:
        if self.every is not None:
            return epoch % self.every == 0
        return time.monotonic() - self.last > self.cost / SHARE

    def measured(self) -> "_Measured":
        """A context in which a checkpoint is written and its cost noted."""
        return _Measured(self)


class _Measured:
    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence

    def __enter__(self) -> None:
        self.start = time.monotonic()

    def __exit__(self, *_error: object) -> None:
        self.cadence.last = time.monotonic()
        self.cadence.cost = self.cadence.last - self.start


# What torch and the loop's parts raise for a state that is not theirs.
NOT_THEIRS = (RuntimeError, KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


@contextmanager
def fitting(where: str) -> Iterator[None]:
    """Turns what a state that fits nothing makes of who takes it up into an InputError."""
    try:
        yield
    except NOT_THEIRS as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        said = f"{type(error).__name__}: {reason[:200]}"
        raise InputError(f"{where}: its checkpoint does not fit its settings ({said})") from error
