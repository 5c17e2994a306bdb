"""The folder that the board shows: paths inside it, and the list of its runs and sweeps, which is read anew in turn."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ch12cli.catalogue.entries import Entry, configured_keys, entries, entry_at, entry_row
from ch12cli.catalogue.query import Query, sort_key
from ch12cli.errors import InputError
from ch12cli.files.compact.run_files import recorded_job

LEAST = 3.0  # seconds between two readings of the folder, at least
SHARE = 20  # and so many times as long as a reading takes, so that it costs a twentieth of a core
ACTIVE = ("running", "submitted")


class NotInFolderError(Exception):
    """A path that does not lead to a directory inside the folder."""


@dataclass(frozen=True)
class Found:
    """A page of the runs that a filter matches. matching, total: the number of runs that match it, and of all."""

    entries: list[Entry]
    matching: int
    total: int


class Folder:
    """The runs and sweeps below a folder. They are read when they are asked for, and seldom enough."""

    def __init__(self, root: Path) -> None:
        self.root, self.inside = root, root.resolve()
        self.lock = threading.Lock()
        self.known: list[Entry] | None = None
        self.read_at, self.cost = 0.0, 0.0
        self.keys: dict[tuple[str, float], Mapping[str, Any]] = {}

    def at(self, relative: str) -> Path:
        """The directory at a path relative to the folder. NotInFolderError if it is not inside, or no directory.

        The directory of a job may be in the compact record of its sweep alone.
        """
        path = self.root / relative
        try:
            found = path.resolve()
            if ".." in Path(relative).parts or not found.is_relative_to(self.inside):
                raise NotInFolderError(relative)
            if not (path.is_dir() or recorded_job(path) is not None):
                raise NotInFolderError(relative)
        except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, a loop of links
            raise NotInFolderError(relative) from error
        return path

    def relative(self, path: Path | str) -> str:
        """The path of a run relative to the folder."""
        return Path(path).relative_to(self.root).as_posix()

    def list(self) -> list[Entry]:
        """The runs and sweeps. Those that are running are always as they are now."""
        with self.lock:
            now = time.monotonic()
            if self.known is None or now - self.read_at > max(LEAST, SHARE * self.cost):
                self.known = list(entries(self.root))
                self.read_at = time.monotonic()
                self.cost = self.read_at - now
            else:
                self.known = [entry if entry.status not in ACTIVE else self.renewed(entry) for entry in self.known]
            return self.known

    def renewed(self, entry: Entry) -> Entry:
        """The entry as it is now, or as it was if it is gone."""
        try:
            return entry_at(entry.path)
        except InputError:
            return entry

    def renew(self, path: Path) -> None:
        """Reads a run anew, whose tags were changed."""
        with self.lock:
            self.known = [self.renewed(e) if e.location == str(path) else e for e in self.known or []] or None

    def find(self, text: str, *, sort: str, down: bool, start: int, size: int) -> Found:
        """A page of the runs that a filter matches. text: a filter of `ch12 runs`, or words of a path, status or tags.

        Raises InputError for a filter that cannot be read.
        """
        listed = self.list()
        rows = [entry_row(entry) for entry in listed]
        query = Query(text) if any(sign in text for sign in "=<>~") else None
        names = [sort, *([name for name, _, _ in query.comparisons] if query else [])]
        if not {"tags", "objective", *(name for row in rows for name in row)}.issuperset(names):
            rows = [{**self.keys_of(entry), **row} for entry, row in zip(listed, rows, strict=True)]
        pairs = list(zip(listed, rows, strict=True))
        if query is not None:
            pairs = [pair for pair in pairs if query.matches(pair[1])]
        else:
            pairs = [pair for pair in pairs if self.has_words(pair[0], text.lower().split())]
        pairs.sort(key=lambda pair: pair[0].when, reverse=True)
        pairs.sort(key=lambda pair: sort_key(pair[1].get(sort)), reverse=down)
        if down:  # runs without a value are last either way
            pairs.sort(key=lambda pair: sort_key(pair[1].get(sort))[0] == sort_key(None)[0])
        return Found([entry for entry, _ in pairs[start : start + size]], len(pairs), len(listed))

    def has_words(self, entry: Entry, words: Sequence[str]) -> bool:
        """Whether each word is in the path, the kind, the status or the tags of a run."""
        text = f"{self.relative(entry.location)} {entry.kind} {entry.status} {entry.values.get('tags', '')}".lower()
        return all(word in text for word in words)

    def keys_of(self, entry: Entry) -> Mapping[str, Any]:
        """The configuration of a run, which is read once."""
        key = (entry.location, entry.when)
        if key not in self.keys:
            self.keys[key] = configured_keys(entry)
        return self.keys[key]
