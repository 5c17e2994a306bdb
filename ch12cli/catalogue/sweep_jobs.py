"""The jobs of a sweep as records: the rows of its table, and those that ended without getting one."""

import json
import os
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ch12cli.errors import InputError
from ch12cli.files.atomic import read_file
from ch12cli.files.cause import cause_of
from ch12cli.files.objective import SEVERAL, minimised
from ch12cli.files.run_directory import RESULT, read_result
from ch12cli.files.sweep_csv import STATE, SWEEP, Record, read_table

PLAN = f"{STATE}/plan.json"
PLANNED = b'"identity": "'  # which each job in it has once
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


def read_jobs(sweep: Path, inside: Collection[str] | None = None) -> list[Record]:
    """The jobs that have ended, by number. A sweep that was killed may not have put the last of them into its table:
    they are told by their directories. inside: the names in the sweep's directory, if they are known.

    InputError if the table is damaged.
    """
    rows = read_table(sweep / SWEEP)
    known = {row["job"] for row in rows}
    try:
        names = os.listdir(sweep) if inside is None else inside
    except OSError:
        names = ()
    places = {name: name for name in names if name.isdecimal()}
    if not places and len(rows) < count_planned(sweep):  # hydra.sweep.subdir names them otherwise
        places = {str(number): str(job.place) for number, job in planned_jobs(sweep).items()}
    missing = [name for name, place in places.items() if name not in known]
    missing = [name for name in missing if os.path.lexists(f"{sweep}/{places[name]}/{RESULT}")]
    if not missing:
        return rows
    planned = planned_jobs(sweep)
    lines = {name: planned[int(name)].lines if int(name) in planned else [] for name in missing}
    rows += [ended_row(sweep, name, places[name], lines[name]) for name in missing]
    return sorted(rows, key=lambda row: int(row["job"]))


def ended_row(sweep: Path, name: str, place: str, lines: Sequence[str]) -> Record:
    """The row of a job that ended, out of its directory, as the table would have it. lines: its overrides."""
    try:
        result = read_result(sweep / place / RESULT) or {}
        best, final, test = (dict(result.get(part) or {}) for part in ("best", "final", "test"))
        cause = str(result.get("cause") or cause_of(result))
    except (InputError, TypeError, ValueError, KeyError):
        result, best, final, test, cause = {"status": "damaged"}, {}, {}, {}, ""
    figures = {"best_epoch": best.get("epoch"), "objective": result.get("objective")}
    figures |= {metric: value for metric, value in final.items() if metric not in ("epoch", "seconds", "lr")}
    figures |= {f"test_{metric}": value for metric, value in test.items()}
    changes = dict(line.lstrip("+~").partition("=")[::2] for line in lines)
    row = {"job": name, "directory": place, "status": result.get("status"), "cause": cause, **changes}
    row |= {"epochs": result.get("epochs"), **figures}
    row |= {part: result.get(part) for part in ("parameters", "seconds")}
    row["command"] = shlex.join(["ch12", "train", *lines])
    return {column: "" if value is None else str(value) for column, value in row.items()}


class Planned(NamedTuple):
    """A job that is planned. lines: its overrides; place: its directory below the sweep's; epochs: to be trained."""

    lines: list[str]
    place: Path
    epochs: int


def planned_jobs(sweep: Path) -> dict[int, Planned]:
    """The jobs that are planned, by their numbers; nothing if the plan is not there, or damaged."""
    try:
        plan = json.loads(read_file(sweep / PLAN))
        bases = [int(base["settings"]["epochs"]) for base in plan["bases"]]
        found = {}
        for job in plan["jobs"]:
            place = place_of({"job": str(job["number"]), "directory": str(job["directory"])})
            if place is not None:
                epochs = int(job["changes"].get("epochs", bases[job["base"]]))
                found[int(job["number"])] = Planned([str(line) for line in job["lines"]], place, epochs)
        return found
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return {}


def count_planned(sweep: Path) -> int:
    """How many jobs were planned; 0 if that is not known."""
    try:
        return read_file(sweep / PLAN).count(PLANNED)  # to read it as JSON takes long, if there are many
    except OSError:
        return 0


def status_of(rows: Sequence[Record], *, planned: int, running: bool) -> str:
    """How a sweep ended: killed, if it could not even say of each job that it was interrupted."""
    counts = Counter(row.get("status") for row in rows)
    if running:
        return "running"
    if counts["interrupted"]:
        return "interrupted"
    if len(rows) < max(1, planned):
        return "killed"
    return "failed" if counts["failed"] else "finished"


def best_of(sweep: Path, rows: Sequence[Record]) -> dict[str, Any]:
    """The best objective of a sweep's jobs that finished, what it is of, and whose; nothing where there is none."""
    finished = [row for row in rows if row.get("status") == "finished"]
    found = [(value, row) for row in finished if isinstance(value := value_of(row.get("objective")), int | float)]
    monitor = monitor_of(sweep, rows) if found else None
    if monitor in (None, SEVERAL):  # of different metrics none is the best
        return {}
    sign = 1 if minimised(monitor) else -1
    value, row = min(found, key=lambda pair: sign * pair[0])
    return {"monitor": monitor, "objective": value, "best_job": int(row["job"])}


def monitor_of(sweep: Path, rows: Sequence[Mapping[str, str]]) -> str | None:
    """What the objective of a sweep's jobs is, SEVERAL if not the same of all; None if no job that finished says it."""
    finished = [row for row in rows if row.get("status") == "finished"]
    named = {monitor for row in finished if (monitor := row.get("monitor"))}
    if named:
        return named.pop() if len(named) == 1 else SEVERAL
    place = place_of(finished[0]) if finished else None
    if place is None:
        return None
    try:
        monitor = (read_result(sweep / place / RESULT) or {}).get("monitor")
    except InputError:
        return None
    return monitor if isinstance(monitor, str) else None


def place_of(row: Mapping[str, str]) -> Path | None:
    """A job's directory below its sweep's; None if the table leads elsewhere."""
    place = Path(row.get("directory") or row["job"])
    return None if place.is_absolute() or ".." in place.parts else place


def value_of(text: str | None) -> Any:
    """A cell of a table as what it is: a whole number, a number, a truth, nothing, or a text."""
    if not text:
        return None
    if text in WORDS:
        return WORDS[text]
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else text
        except ValueError:
            continue
    return text
