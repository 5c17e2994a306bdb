"""Job tables in files, for combinations of settings that are not a full grid."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ch12cli.config.schema import key_of
from ch12cli.errors import InputError
from ch12cli.files.atomic import write_whole
from ch12cli.files.command import override_key
from ch12cli.shell import override_value
from ch12cli.sweeps.jobs import STACKING, SweepJob

YAML = (".yaml", ".yml")  # suffixes of YAML files
LARGEST = 2**28  # bytes of a file: a million jobs of ten keys


def read_jobs(path: Path) -> list[list[str]]:
    """Returns the overrides of each job in a CSV or YAML file. Raises InputError if the file is invalid.

    CSV has a column per key and a row per job; an empty cell sets nothing, and one that Hydra does not understand, such
    as a path with brackets, is a text. YAML is a list of mappings from key to
    value.
    """
    text = read_text(path)
    rows = from_yaml(text, path) if path.suffix in YAML else from_csv(text, path)
    columns = sorted({key for row in rows for key in row})
    found = [column for column in columns if is_of_the_sweep(column, rows)]
    if found:
        raise InputError(f"--jobs {path}: {found[0]}: applies to the whole sweep; give it on the command line")
    jobs = [[f"{key}={value}" for key, value in row.items()] for row in rows]
    if not jobs:
        raise InputError(f"--jobs {path}: holds no job; give a header of keys and a row for each job")
    return jobs


def is_of_the_sweep(column: str, rows: Sequence[Mapping[str, str]]) -> bool:
    """Returns whether no job may have a value of its own for a column.

    The same value in each row is the sweep's: --write writes what the command line had.
    """
    key = override_key(column)
    return key.startswith(("hydra.", "hydra/")) or (key in STACKING and len({row.get(column) for row in rows}) > 1)


def read_text(path: Path) -> str:
    """Returns the text of a file or a pipe. Raises InputError if it is not UTF-8 text, or does not end."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InputError(f"--jobs {path}: has more than {LARGEST:,} bytes, which no table of jobs has")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"--jobs {path}: {error.strerror}; give a CSV or YAML file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--jobs {path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except ValueError as error:  # a NUL byte in its name
        raise InputError(f"--jobs {path}: {error}; give a CSV or YAML file") from error


def from_csv(text: str, path: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise InputError(f"--jobs {path}: is not CSV: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if len(set(header)) != len(header) or "" in header:
        raise InputError(f"--jobs {path}: the header must name each key once: {','.join(header)}")
    jobs = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"--jobs {path}: line {number} has {len(row)} cells, the header {len(header)}")
        jobs.append({key: quoted(value.strip()) for key, value in zip(header, row, strict=True) if value.strip()})
    return jobs


@cache
def quoted(cell: str) -> str:
    """Returns a cell as it is typed on Hydra's command line: quoted if it is a text that Hydra does not understand.

    What begins as a list, a mapping or a quoted text is left as it is, for Hydra to say what is wrong with it.
    """
    if not cell.startswith(("[", "{", '"', "'")):
        try:
            OverridesParser.create().parse_override(f"key={cell}")
        except HydraException:
            return override_value(cell)
    return cell


def from_yaml(text: str, path: Path) -> list[dict[str, str]]:
    try:
        node = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that cannot be
        raise InputError(f"--jobs {path}: is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise InputError(f"--jobs {path}: is nested too deeply") from None
    if not isinstance(node, list) or not all(isinstance(row, Mapping) for row in node):
        raise InputError(f"--jobs {path}: must be a list of mappings, such as `- {{optimizer.lr: 0.1, seed: 3}}`")
    return [{str(key): as_typed(str(key), value) for key, value in row.items()} for row in node]


def as_typed(key: str, value: Any) -> str:
    """Returns a YAML value as it is typed on Hydra's command line, quoted where it would be another value otherwise.

    A text for a key that takes none, such as '1e-3' for a learning rate, is read as on the command line.
    """
    if isinstance(value, str) and (known := key_of(override_key(key))) is not None and not known.rule.allows(value):
        return value
    return override_value(without_dates(value))


def without_dates(value: Any) -> Any:
    """Returns a YAML value with its dates as texts."""
    if isinstance(value, Mapping):
        return {str(name): without_dates(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_dates(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def refuse_existing(path: Path) -> None:
    """Raises InputError if the file exists, because the user may have edited it."""
    if path.exists():
        raise InputError(f"--write {path}: exists already; give another name, or remove it")


def write_jobs(path: Path, jobs: Sequence[SweepJob]) -> None:
    """Writes the jobs to a new file that can be edited and passed to --jobs.

    The format is YAML or CSV, depending on the file name.
    """
    refuse_existing(path)
    rows = [dict(line.split("=", 1) for line in job.overrides if "=" in line) for job in jobs]  # keys keep their +
    write_whole(path, (jobs_to_yaml(rows) if path.suffix in YAML else jobs_to_csv(rows)).encode())


def jobs_to_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns CSV text with a column for each key that any job overrides."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def jobs_to_yaml(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns YAML text with one mapping per job and line."""
    mappings = [{key: as_value(key, text) for key, text in row.items()} for row in rows]
    return "".join(
        f"- {yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=2**20)}" for row in mappings
    )


def as_value(key: str, text: str) -> Any:
    """Returns a command-line value as a YAML value that is read back as the same text, or as an equal value."""
    with suppress(yaml.YAMLError, ValueError):
        value = yaml.safe_load(text)
        if as_typed(key, value) == text:
            return value
    return text if as_typed(key, text) == text else OverridesParser.create().parse_override(f"key={text}").value()
