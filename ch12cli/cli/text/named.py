"""Runs and sweeps by the names that a person types; which of them is the best is said."""

from pathlib import Path

from ch12cli.catalogue import names
from ch12cli.files.run_directory import RESULT, read_result


def find(word: str) -> Path:
    """The directory that a word names, as runs.names.find has it."""
    path = names.find(word)
    if word == "@best":
        from ch12cli.cli.main import report

        result = read_result(path / RESULT) or {}
        monitor = str(result.get("monitor")).replace("_", " ")
        report([f"@best is {path}: {monitor} {result.get('objective'):.4g}, the best on the newest run's data"])
    return path
