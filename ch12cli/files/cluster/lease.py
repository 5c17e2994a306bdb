"""`.ch12/bundles/follower.N.json`: the process that submits and follows a sweep, the N-th so far, and its heartbeat.

A lock of the file system may hold on one machine only. Creating the file claims the sweep; the newest claim counts.
"""

import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, make_folder, read_file, write_whole
from ch12cli.files.cluster.bundle_json import WORK
from ch12cli.files.cluster.journal import ALIVE, BEAT, is_recent
from ch12cli.shell import shell_line

CLAIM = re.compile(r"follower\.([0-9]{1,9})\.json")


class Lease:
    """The claim of this process on a sweep. Raises InputError if another process follows it."""

    def __init__(self, sweep: Path) -> None:
        self.folder = sweep / WORK
        with machine_errors(f"cannot write {self.folder}"):
            make_folder(self.folder, exist_ok=True)
            newest = newest_claim(self.folder)
            if newest and has_holder(record := claim_record(self.folder, newest)):
                watch = shell_line(["ch12", "watch", str(sweep)])
                raise InputError(
                    f"{sweep}: the process {record['process']} on {record['host']} follows it; wait for it to end"
                    f" ({watch}), or for {ALIVE:.0f} seconds after it was killed"
                )
            self.number, self.beat = newest + 1, 0.0
            try:
                os.close(
                    os.open(
                        claim_path(self.folder, self.number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644
                    )
                )
            except FileExistsError:
                raise InputError(f"{sweep}: another process has begun to follow it just now") from None
        self.renew()
        for number in claims(self.folder):
            if number < self.number:
                claim_path(self.folder, number).unlink(missing_ok=True)

    def renew(self, *, ended: bool = False) -> None:
        """Writes a sign of life every BEAT seconds. Raises InputError if another process has taken over."""
        if not ended and time.monotonic() - self.beat < BEAT:
            return
        if newest_claim(self.folder) > self.number:
            raise InputError(f"{self.folder.parent.parent}: another process follows it now")
        content = {"host": platform.node(), "machine": machine(), "process": os.getpid(), "time": time.time()}
        write_whole(claim_path(self.folder, self.number), json.dumps({**content, "ended": ended}).encode())
        self.beat = time.monotonic()


def claim_path(folder: Path, number: int) -> Path:
    return folder / f"follower.{number}.json"


def claims(folder: Path) -> list[int]:
    """Returns the numbers of all claims. Lists the folder, because NFS may hide a new name from stat."""
    return [int(match[1]) for name in os.listdir(folder) if (match := CLAIM.fullmatch(name))]


def newest_claim(folder: Path) -> int:
    return max(claims(folder), default=0)


def claim_record(folder: Path, number: int) -> Mapping[str, Any]:
    """Returns what a claim says. One that is empty, because it is being made, is recent."""
    path = claim_path(folder, number)
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_file(path) or "{}")
        if isinstance(found, dict):
            return {"process": "?", "host": "?", "time": os.stat(path).st_mtime, **found}
    return {}


def is_followed(sweep: Path) -> bool:
    """Returns whether a process on any machine follows a sweep."""
    try:
        newest = newest_claim(sweep / WORK)
    except OSError:
        return False
    return newest > 0 and has_holder(claim_record(sweep / WORK, newest))


@contextmanager
def leased(sweep: Path) -> Iterator[Lease]:
    """Holds the claim on a sweep within the block."""
    lease = Lease(sweep)
    try:
        yield lease
    finally:
        with suppress(InputError):
            lease.renew(ended=True)


@cache
def machine() -> str:
    """Returns what tells this machine, since it was started, from others of the same name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def has_holder(record: Mapping[str, Any]) -> bool:
    """Returns whether the process of a claim is alive: it has given a sign of life, and exists if it is of here."""
    if record.get("ended") or not is_recent(record):
        return False
    process = record.get("process")
    if record.get("machine") != machine() or not isinstance(process, int) or not 0 < process < 2**31:
        return True
    return process != os.getpid() and is_alive(process)


def is_alive(process: int) -> bool:
    """Returns whether a process of this machine runs. One that has ended may still be listed, as a zombie."""
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
