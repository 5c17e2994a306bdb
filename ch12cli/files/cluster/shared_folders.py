"""What other machines wrote, on a file system that remembers for a while which names it did not find, such as NFS."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ch12cli.files.run_directory import RECORDS


def look_again(sweep: Path, directories: Iterable[str]) -> None:
    """Has the file system ask its server again for the directories of some jobs of a sweep, and for its stores.

    Opening a folder or a file does that; looking up a name does not.
    """
    for folder in {sweep, *((sweep / directory).parent for directory in directories), sweep / RECORDS}:
        with suppress(OSError):
            os.listdir(folder)
    with suppress(OSError):
        for store in (sweep / RECORDS).iterdir():
            os.close(os.open(store, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
