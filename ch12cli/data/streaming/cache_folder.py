"""The user's cache: files that can be made again, and be removed at any time."""

import os
import stat
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Returns a folder of ch12's cache, which it creates. Raises PermissionError if others may write it.

    Raises OSError or RuntimeError if there can be none.
    """
    root = os.environ.get("XDG_CACHE_HOME") or ""
    folder = (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "ch12" / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder}: others may write it")
    return folder
