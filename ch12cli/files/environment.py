"""Run metadata: versions, machine and code revision."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


@cache
def environment() -> dict[str, Any]:
    """Returns versions, machine and code revision, without importing torch."""
    return {
        "ch12": package_version("ch12"),
        "python": platform.python_version(),
        "torch": package_version("torch"),
        "numpy": package_version("numpy"),
        "hydra": package_version("hydra-core"),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "host": platform.node(),
        "git": _git_commit(),
    }


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def package_version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # which lists of runs do not need

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Returns the commit of ch12's checkout, followed by + if files were modified; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "-C", root, "diff", "--quiet", "HEAD", "--", "ch12cli", "conf"])
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.returncode else "")
