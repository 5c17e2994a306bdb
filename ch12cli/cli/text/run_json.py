"""What is known about one run or sweep, as JSON: `ch12 show --format json`, and how `train` and `resume` report."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ch12cli.catalogue.entries import Entry
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, read_sweep_rows, sweep_monitor
from ch12cli.catalogue.sweep_progress import SweepFollower
from ch12cli.files.command import commands_of
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import HYDRA, RESULT
from ch12cli.files.tags import read_tags
from ch12cli.files.unfinished.search_json import read_search


def json_text(value: Any) -> str:
    """Returns a value as indented JSON in ASCII. Numbers that are not finite become null: JSON has no NaN."""
    return json.dumps(without_nan(value), indent=2, default=str)


def without_nan(value: Any) -> Any:
    """Returns a value with None in place of each number that is not finite."""
    if isinstance(value, Mapping):
        return {str(name): without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def go_on_line(entry: Entry) -> str:
    """Returns the command that continues a run or sweep, or collects a submitted one.

    Empty if it ended by itself or is still training. A search may be stopped between two batches, when all its jobs
    have ended.
    """
    from ch12cli.config.recorded import resume_line

    has_stopped = entry.status in ("interrupted", "killed", "submitted")
    is_open = entry.status in ("finished", "failed") and read_search(entry.path) is not None
    return resume_line(entry.path) if has_stopped or is_open else ""


def entry_json(entry: Entry) -> dict[str, Any]:
    """Returns the status, results, settings and commands of a run, or the rows of a sweep.

    Raises InputError if its files are damaged.
    """
    began = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(entry.when))
    facts: dict[str, Any] = {"directory": str(entry.path), "kind": entry.kind, "status": entry.status, "began": began}
    facts |= {"resume": go_on_line(entry) or None, "tags": read_tags(entry.path)}
    return facts | (sweep_json(entry) if entry.kind == "sweep" else run_json(entry))


def run_json(entry: Entry) -> dict[str, Any]:
    result: Result | None = read_result(entry.path / RESULT)
    keys = read_keys(entry.path / HYDRA)
    return {
        "epochs": entry.values.get("epochs"),
        "planned_epochs": keys.get("epochs"),
        "result": None if result is None else result.to_dict(),
        "settings": keys,
        "commands": commands_of(entry.path, result.history if result else {}),
    }


def sweep_json(entry: Entry) -> dict[str, Any]:
    from ch12cli.catalogue.best_setting import with_planned_seeds  # this and the next import numpy
    from ch12cli.catalogue.front import front_of, recorded_objectives

    rows, far = read_sweep_rows(entry.path), SweepFollower(entry.path).read()
    monitor, objectives = sweep_monitor(entry.path, rows), recorded_objectives(entry.path)
    planned = with_planned_seeds(entry.path, read_rows_as_planned(entry.path)) if objectives and monitor else []
    front = front_of(planned, objectives, str(monitor)) if planned else []
    return {
        "planned_jobs": entry.values.get("jobs"),
        "jobs_by_status": dict(entry.jobs),
        "epochs": far.epochs,
        "planned_epochs": far.total_epochs,
        "monitor": monitor,
        **({"objectives": objectives, "front": [asdict(each) for each in front]} if objectives else {}),
        "jobs": [{**row.values(), "overrides": row.overrides, "command": row.command} for row in rows],
    }
