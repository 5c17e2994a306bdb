"""What a sweep's directory holds beside its jobs: sweep.csv, a row a job, as it is read."""

import csv
import io
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import read_file

SWEEP = "sweep.csv"
STATE = ".ch12"  # of a sweep's directory: what a continued sweep needs to know

Record = dict[str, str]


def is_sweep(path: Path) -> bool:
    """Whether a directory is that of a sweep, one that was killed before its table was made included."""
    return (path / SWEEP).exists() or (path / STATE).exists()


def read_table(path: Path) -> list[Record]:
    """The rows of a sweep.csv, the last of each job; what was being written when the sweep was killed is left out."""
    try:
        text = read_file(path).decode("utf-8")
        text = text[: text.rfind("\n") + 1]  # a line that has no end was being written
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}; remove it, or choose another hydra.sweep.dir") from error
    whole = [row for row in rows if None not in row.values() and "" not in row and (row.get("job") or "").isdigit()]
    return list({row["job"]: row for row in whole}.values())
