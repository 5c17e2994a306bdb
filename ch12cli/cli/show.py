"""`ch12 show`: all about one run, or one sweep: how it ended, its figures, its curve, what it was, how to repeat it."""

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.cli.arguments import Arguments
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from ch12cli.cli.screen import Screen
    from ch12cli.runs.catalogue import Entry

# What drawing raises of a result that a stranger made up.
NOT_OURS = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError)

LABEL_WIDTH = 11
MIN_CURVE = 8  # lines


def parser() -> Arguments:
    arguments = Arguments("show")
    arguments.add_argument("words", nargs="*")
    return arguments


def run(words: Sequence[str]) -> int:
    options = parser().read(words)
    if not options.words:
        raise InputError("show: which one? give a run or a sweep: ch12 show @1")
    if len(options.words) > 1:
        raise InputError(f"{options.words[1]}: one word too many; see `ch12 show --help`")
    from ch12cli.runs.catalogue import entries
    from ch12cli.runs.names import find

    path = find(options.words[0])
    found = [entry for entry in entries(path) if entry.path == path]
    if not found:
        raise InputError(f"{path}: is neither a run nor a sweep; `ch12 runs` lists what there is")
    from ch12cli.cli.screen import Screen

    with Screen() as screen:
        try:
            (show_sweep if found[0].kind == "sweep" else show_run)(screen, found[0])
        except NOT_OURS as error:
            raise InputError(f"{path}: what it holds is not such as ch12 writes it ({error})") from error
    return 0


def show_run(screen: "Screen", entry: "Entry") -> None:
    from ch12cli.cli.run_report import format_status, styled_curves, styled_result
    from ch12cli.runs.directory import METRICS, RESULT, read_result
    from ch12cli.runs.metrics import read_metrics

    path = entry.path
    problems: list[str] = []
    result = whole(lambda: read_result(path / RESULT), problems) or {}
    rows = whole(lambda: read_metrics(path / METRICS), problems) or []
    keys = keys_of(path)
    width, height = screen.console.size
    planned = keys.get("epochs")
    shown = result or {"status": entry.status, "epochs": len(rows)}
    shown = {**shown, "reason": shown.get("cause") or ""}
    epochs = planned if isinstance(planned, int) else len(rows)
    for block in (
        format_status(shown, epochs if shown["status"] != "finished" else 0, width=width),
        styled_result(result, ascii_only=screen.ascii_only) if result else [],
        styled_curves(rows, width=width, height=max(MIN_CURVE, height // 2), ascii_only=screen.ascii_only),
    ):
        screen.print([*block, ""] if block else [])
    screen.print_facts(facts_of(entry, result, keys), label_width=LABEL_WIDTH)
    for problem in problems:
        screen.message(problem, warning=True)


def facts_of(entry: "Entry", result: Mapping[str, Any], keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a run was, on what, and how to go on with it: (label, text) each."""
    environment, data = result.get("environment") or {}, result.get("data") or {}
    groups = ("dataset", "model", "activation", "loss", "optimizer", "scheduler", "experiment")
    chosen = [f"{group}={keys[group]}" for group in groups if keys.get(group) not in (None, "null", "none")]
    versions = [f"{name} {environment[name]}" for name in ("ch12", "torch", "python", "device") if name in environment]
    words = lines_of(entry.path)
    facts = [
        ("began", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))),
        ("choices", " ".join(chosen)),
        ("parameters", str(result.get("parameters") or "")),
        ("data", str(data.get("source") or "")),
        ("on", ", ".join(versions)),
        ("repeat", shlex.join(["ch12", "train", *words]) if words is not None else ""),
        ("", halved_line(result)),
        ("tags", str(entry.values.get("tags") or "")),
        ("directory", str(entry.path)),
    ]
    return [(label, text) for label, text in facts if text]


def halved_line(result: Mapping[str, Any]) -> str:
    """What the line that repeats a run does otherwise, if halving took the run out."""
    left = result.get("left_at")
    return "" if left is None else f"(halving took it out after epoch {left}; this line trains all epochs)"


def show_sweep(screen: "Screen", entry: "Entry") -> None:
    from rich.text import Text

    from ch12cli.cli.run_report import STATUS_STYLES
    from ch12cli.cli.sweep_report import count_statuses, format_counts, format_failures, format_left, styled_summary
    from ch12cli.runs.catalogue import monitor_of
    from ch12cli.runs.summary import failures
    from ch12cli.runs.table import SWEEP, read_table

    rows = read_table(entry.path / SWEEP)
    monitor = monitor_of(entry.path, rows) or "valid_loss"
    counts = format_counts(count_statuses(rows))
    style = STATUS_STYLES.get(entry.status, "bold red")
    table = styled_summary(
        rows,
        monitor=monitor,
        width=screen.console.width,
        ascii_only=screen.ascii_only,
    )
    status = [Text.assemble((entry.status, style), "  ", counts)]
    if left := format_left(rows):
        status.append(Text(f"{' ' * len(entry.status)}  {left}"))
    for block in (status, table, format_failures(failures(rows))):
        screen.print([*block, ""] if block else [])
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))
    screen.print_facts([("began", began), ("directory", str(entry.path))], label_width=LABEL_WIDTH)


def keys_of(path: Path) -> dict[str, Any]:
    from ch12cli.config.recorded import read_keys
    from ch12cli.runs.directory import HYDRA

    return read_keys(path / HYDRA)


def lines_of(path: Path) -> list[str] | None:
    """The words behind `ch12 train` that made a run; None if they are not known."""
    import yaml

    from ch12cli.config.recorded import LOADER, is_bounded
    from ch12cli.runs.directory import HYDRA
    from ch12cli.runs.files import read_file

    try:
        text = read_file(path / HYDRA / "overrides.yaml").decode()
        lines = yaml.load(text, Loader=LOADER) if is_bounded(text) else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return [str(line) for line in lines] if isinstance(lines, list) else None


def whole(read: Any, problems: list[str]) -> Any:
    """What a file holds; None, and why, if it is damaged."""
    try:
        return read()
    except InputError as error:
        problems += error.problems
        return None
