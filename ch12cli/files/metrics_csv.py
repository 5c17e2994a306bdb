"""metrics.csv as it is read: a row an epoch."""

import csv
import io
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import read_file


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, the one that is being written left out; none if there is no file.

    InputError if it is not such as ch12 writes it.
    """
    try:
        text = read_file(path).decode()
        rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True))
        if not rows:
            return []
        names, *lines = rows
        if names[:1] != ["epoch"] or len(set(names)) < len(names):
            raise InputError(f"{path}: damaged: its first line is no header of ch12's")
        return [{n: float(cell) for n, cell in zip(names, line, strict=True)} for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: damaged, or no metrics.csv: {error}") from error
