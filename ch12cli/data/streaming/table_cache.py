"""Tables that are larger than memory, kept on disk: each is made once from the same files by the same settings.

An entry of the cache is a folder: the features row by row, the other arrays, and what names them. It appears whole,
by a rename, and is checked against the digest of its values unless its files are the ones that were checked before.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ch12cli.data.columns import columns_as_plain, columns_from_plain
from ch12cli.data.sheets.stored_arrays import arrays_on_disk
from ch12cli.data.streaming.arranged_rows import HINT, require_space
from ch12cli.data.streaming.budget import describe_size, memory_for_files
from ch12cli.data.streaming.cache_folder import cache_folder
from ch12cli.data.streaming.row_file import ROWS, RowFile
from ch12cli.data.table import Table
from ch12cli.errors import InputError, MachineError, reason_of
from ch12cli.files.atomic import digest_of, sync_files, write_whole

FORMAT = 2  # of an entry, and of what decides its values
ARRAYS, NAMES, CHECKED, USED = "arrays.npz", "table.json", "checked.json", "used"
COLUMNS = "columns"  # the folder of columns while an entry is made
UNUSED_DAYS = 30  # after which an entry is removed when another one is made
SHARE_OF_DISK = 0.5  # of what the cache uses and what is free, which the cache may use
SHARE_OF_FILES = 0.7  # of the memory for files, up to which a table stays there while it is read again and again
LARGE_ROW = 4096  # bytes of a row from which on rows are read as fast in any order
SETTLED = 2.0  # seconds after which a file that is changed again has another time of modification

LEAST_AT_ONCE, MOST_AT_ONCE = 2**16, 2**22  # values of a block of training rows


def stored_table(
    files: Sequence[Path], options: Mapping[str, Any], make: Callable[[], Table], *, allowed: int
) -> Table:
    """Returns the table of some files, from the cache if it is there, else made.

    options: plain values that decide the table. make: makes it, with its columns as arrays on disk and its features as
    a RowFile. allowed: bytes of memory. Raises MachineError if the cache cannot be written, and InputError if a file
    changes meanwhile.
    """
    try:
        cache = cache_folder("tables")
        before = [identity_of(path) for path in files]
        contents = [content_digest(path, cache) for path in files]
        key = hashlib.sha256(json.dumps([FORMAT, contents, options], sort_keys=True).encode()).hexdigest()[:40]
        entry = cache / key
        with _locked(cache / f"{key}.lock"):
            table = _intact(entry)
            if table is None:
                for left in (entry, *cache.glob(f".{key}.*.tmp")):  # of processes that were killed
                    shutil.rmtree(left, ignore_errors=True)
                _tidy(cache)
                _make_entry(entry, make, check=lambda: _require_unchanged(files, before))
                table = _intact(entry)
            if table is None:
                raise MachineError(f"{entry}: damaged as soon as it was written; is the disk in order?")
            (entry / USED).touch()
            rows = cast(RowFile, table.features)
            rows.at_once = min(max(allowed // 96, LEAST_AT_ONCE), MOST_AT_ONCE)
            rows.why = (
                f"{describe_size(rows.file_bytes)} of rows are read from disk as they are needed: "
                f"holding them would take more than dataset.memory allows ({describe_size(allowed)})"
            )
            rows.alone = f"{rows.why}; each run has an order of its own"
            rows.is_slow = rows.row_bytes < LARGE_ROW and rows.file_bytes > SHARE_OF_FILES * memory_for_files()
            if rows.is_slow:
                require_space(rows.file_bytes)
                rows.why += "; they are copied there into the order of each epoch first"
            return table
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        raise MachineError(f"a table larger than dataset.memory is kept on disk: {reason_of(error)}; {HINT}") from error


def identity_of(path: Path) -> list[int]:
    """What is different for a file that has been changed or replaced."""
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def content_digest(path: Path, cache: Path) -> str:
    """The SHA-256 of a file's content. It is remembered as long as the file is not changed."""
    identity = identity_of(path)
    known = cache / "files" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:40]
    with suppress(OSError, ValueError):
        found = known.read_text(encoding="ascii")
        if len(found) == 64:
            return found
    digest = digest_of(path.resolve())
    if time.time() - identity[3] / 1e9 > SETTLED and identity_of(path) == identity:
        known.parent.mkdir(exist_ok=True)
        write_whole(known, digest.encode())
    return digest


def _require_unchanged(files: Sequence[Path], before: Sequence[list[int]]) -> None:
    changed = [str(path) for path, identity in zip(files, before, strict=True) if identity_of(path) != identity]
    if changed:
        raise InputError(f"{changed[0]}: was changed while it was read; start again when it is complete")


def _make_entry(entry: Path, make: Callable[[], Table], check: Callable[[], None]) -> None:
    """Makes an entry, whole or not at all. The caller holds its lock."""
    folder = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", suffix=".tmp", dir=entry.parent))
    try:
        (folder / COLUMNS).mkdir()
        with arrays_on_disk(folder / COLUMNS):
            table = make()
        shutil.rmtree(folder / COLUMNS)
        check()
        _write_entry(folder, table)
        os.rename(folder, entry)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_entry(folder: Path, table: Table) -> None:
    """Writes all but the rows, which are there. The digest is that of the rows as they are read back."""
    rows = table.features
    assert isinstance(rows, RowFile)
    optional = ("weights", "groups", "source_rows")
    arrays: dict[str, Any] = {"target": table.target, **{name: getattr(table, name) for name in optional}}
    np.savez(folder / ARRAYS, **{name: array for name, array in arrays.items() if array is not None})
    names = {
        "shape": list(rows.shape),
        "stored": rows.stored.str,
        "dtype": rows.dtype.str,
        "feature_names": list(table.feature_names),
        "target_name": table.target_name,
        "class_names": None if table.class_names is None else list(table.class_names),
        "source": table.source,
        "missing": table.missing,
        "columns": None if table.columns is None else columns_as_plain(table.columns),
        "notes": list(table.notes),
        "digest": table.digest,
    }
    sealed = {"seal": _seal(names), "table": names}
    (folder / NAMES).write_text(json.dumps(sealed), encoding="utf-8")
    sync_files(folder)
    (folder / CHECKED).write_text(json.dumps(_identities(folder)), encoding="ascii")


def _seal(names: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()


def _identities(entry: Path) -> list[list[int]]:
    return [identity_of(entry / name) for name in (ROWS, ARRAYS, NAMES)]


def _intact(entry: Path) -> Table | None:
    """The table of an entry; None if there is none, or if it is damaged."""
    try:
        now = _identities(entry)
        known = (
            json.loads((entry / CHECKED).read_text(encoding="ascii")) == now if (entry / CHECKED).exists() else False
        )
        table = _read_entry(entry)
        if known:
            return table
        if _computed_digest(table) != table.digest or _identities(entry) != now:
            return None
        write_whole(entry / CHECKED, json.dumps(now).encode())
        return table
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, InputError):
        return None


def _read_entry(entry: Path) -> Table:
    sealed = json.loads((entry / NAMES).read_text(encoding="utf-8"))
    names = sealed["table"]
    rows, features = names["shape"]
    file = RowFile(entry / ROWS, (rows, features), stored=names["stored"], dtype=names["dtype"])
    if sealed["seal"] != _seal(names) or (entry / ROWS).stat().st_size != rows * file.row_bytes:
        raise ValueError("damaged")
    with np.load(entry / ARRAYS, allow_pickle=False) as arrays:
        held = dict(arrays)
    for array in held.values():
        array.setflags(write=False)  # so that a table does not copy it
    columns = names["columns"]
    return Table(
        file,
        held["target"],
        feature_names=tuple(names["feature_names"]),
        target_name=names["target_name"],
        class_names=None if names["class_names"] is None else tuple(names["class_names"]),
        source=names["source"],
        missing=names["missing"],
        columns=None if columns is None else tuple(columns_from_plain(columns, names["feature_names"], str(entry))),
        weights=held.get("weights"),
        groups=held.get("groups"),
        source_rows=held.get("source_rows"),
        notes=tuple(names["notes"]),
        known_digest=names["digest"],
    )


def _computed_digest(table: Table) -> str:
    return replace(table, known_digest=None).digest


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for the lock of an entry, which another process holds that makes or reads it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _locked_if_free(path: Path) -> Iterator[bool]:
    """Holds the lock of an entry, if no other process does. Yields whether it is held."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
            return
        yield False
    finally:
        os.close(handle)


def _tidy(cache: Path) -> None:
    """Removes what killed processes left, entries that were not used for long, and the oldest if there are too many."""
    for left in cache.glob(".*.tmp"):
        with _locked_if_free(cache / f"{left.name.split('.')[1]}.lock") as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    entries = sorted((_last_used(folder), folder) for folder in cache.iterdir() if (folder / NAMES).exists())
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for _, folder in entries}
    total = sum(sizes.values())
    most = SHARE_OF_DISK * (total + shutil.disk_usage(cache).free)
    for used, folder in entries:
        if total > most or used < time.time() - UNUSED_DAYS * 86400:
            with _locked_if_free(cache / f"{folder.name}.lock") as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)
                    total -= sizes[folder]


def _last_used(entry: Path) -> float:
    try:
        return (entry / USED).stat().st_mtime
    except OSError:
        return 0.0
