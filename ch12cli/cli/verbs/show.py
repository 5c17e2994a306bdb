"""`ch12 show`: prints the status, metrics, curves, settings and repeat command of a run or a sweep."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.damage import read_or_note, refuse_wrong_form
from ch12cli.cli.help.arguments import Arguments
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.run_json import entry_json, go_on_line, json_text
from ch12cli.errors import InputError
from ch12cli.files.command import commands_of
from ch12cli.shell import assignment

if TYPE_CHECKING:
    from ch12cli.catalogue.entries import Entry
    from ch12cli.cli.text.screen import Screen
    from ch12cli.files.cluster.journal import BundleState
    from ch12cli.files.result_json import Result


LABEL_WIDTH = 11
MOST_MEMBERS = 8  # different networks of an ensemble that are listed
MOST_BUNDLES = 4  # tasks that are named, of each state
MIN_CURVE = 8  # lines


def parser() -> Arguments:
    arguments = Arguments("show")
    arguments.add_format()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("show: no run given; name a run or a sweep: ch12 show @1")
    if len(options.operands) > 1:
        raise InputError(f"{options.operands[1]}: unexpected argument; see `ch12 show --help`")
    from ch12cli.catalogue.entries import entry_at
    from ch12cli.cli.help.arguments import find_run

    path = find_run(options.operands[0])
    found = entry_at(path)
    if options.format == "json":
        with refuse_wrong_form(path):
            print(json_text(entry_json(found)))
        return 0
    from ch12cli.cli.text.screen import Screen

    with Screen() as screen, refuse_wrong_form(path):
        (show_sweep if found.kind == "sweep" else show_run)(screen, found)
    return 0


def show_run(screen: "Screen", entry: "Entry") -> None:
    from rich.text import Text

    from ch12cli.catalogue.formatting import count_of
    from ch12cli.cli.text.run_report import STATUS_STYLES, format_status, styled_curves, styled_result
    from ch12cli.files.metrics_csv import read_sample
    from ch12cli.files.result_json import Result, describe_ending, read_result
    from ch12cli.files.run_directory import METRICS, RESULT

    path = entry.path
    problems: list[str] = []
    result: Result | None = read_or_note(lambda: read_result(path / RESULT), problems)
    rows, trained = read_or_note(lambda: read_sample(path / METRICS), problems) or ([], 0)
    keys = keys_of(path)
    members = members_of(keys)
    width, height = screen.console.size
    planned = keys.get("epochs")
    shown = replace(result or Result(status=entry.status, epochs=trained), status=entry.status)
    if shown.status in ("running", "killed"):  # a result.json, if any, is that of an earlier session
        shown = replace(shown, epochs=trained, seconds=None, error=None)
    epochs = planned if isinstance(planned, int) else trained
    status = (
        [
            Text.assemble(
                (shown.status, STATUS_STYLES.get(shown.status, "")),
                f"  the mean of {count_of(members.total(), 'network')}",
            )
        ]
        if members
        else format_status(
            shown, epochs if shown.status != "finished" else 0, width=width, reason=describe_ending(shown)
        )
    )
    for block in (
        status,
        styled_result(result, ascii_only=screen.ascii_only) if result else [],
        styled_curves(rows, trained, width=width, height=max(MIN_CURVE, height // 2), ascii_only=screen.ascii_only),
    ):
        screen.print([*block, ""] if block else [])
    screen.print_facts(facts_of(entry, result, keys), label_width=LABEL_WIDTH)
    for problem in problems:
        screen.on_message(problem, warning=True)


def facts_of(entry: "Entry", result: "Result | None", keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the settings, environment, history and commands of a run as (label, text) pairs."""
    from ch12cli.files.history import describe_ancestry, describe_session, sessions_of

    environment = {} if result is None else result.environment
    members = members_of(keys)
    # the networks of an ensemble are listed with their own
    others = () if members else ("activation", "loss", "optimizer", "scheduler", "experiment")
    groups = ("dataset", "model", *others)
    choices = [f"{group}={keys[group]}" for group in groups if keys.get(group) not in (None, "none")]
    versions = [f"{name} {environment[name]}" for name in ("ch12", "torch", "python", "device") if name in environment]
    commands = commands_of(entry.path, result.history if result else {})
    facts = [
        ("began", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))),
        ("choices", " ".join(choices)),
        *(("" if number else "members", line) for number, line in enumerate(format_members(members))),
        ("your own", " ".join(own_keys(keys))),
        ("parameters", f"{result.parameters:,}" if result and result.parameters else ""),
        ("data", str((result and result.data.get("source")) or "")),
        ("on", ", ".join(versions)),
        *(("history", describe_session(one)) for one in sessions_of(result.history if result else {})),
        *(("ancestry", line) for line in describe_ancestry(result.history if result else {})),
        *(("then" if number else "repeat", command) for number, command in enumerate(commands)),
        ("", halved_line(result)),
        ("go on", go_on_line(entry)),
        ("tags", str(entry.values.get("tags") or "")),
        ("directory", str(entry.path)),
    ]
    return [(label, text) for label, text in facts if text]


def members_of(keys: Mapping[str, Any]) -> Counter[str]:
    """Returns the networks of an ensemble with their numbers; none for any other run. keys: all of the run, dotted."""
    from ch12cli.files.hydra_folder import is_ensemble

    return Counter(map(describe_member, keys["model.members"])) if is_ensemble(keys) else Counter()


def describe_member(member: Mapping[str, Any]) -> str:
    """Returns `mlp width=16 depth=2 ReLU`."""
    named = ("network", "activation", "init")
    own = [f"{name}={value}" for name, value in member.items() if name not in named and value not in (None, 0.0)]
    return " ".join([str(member["network"]), *own, str(member["activation"]["name"])])


def format_members(members: Mapping[str, int]) -> list[str]:
    shown = list(members.items())[:MOST_MEMBERS]
    from ch12cli.catalogue.formatting import count_of

    rest = len(members) - MOST_MEMBERS
    more = [f"and {count_of(rest, 'other network')}"] if rest > 0 else []
    return [*(f"{count} x {text}" for text, count in shown), *more]


def own_keys(keys: Mapping[str, Any]) -> list[str]:
    """Returns the user's own keys and choices of a run as typed. keys: all keys of the run, dotted."""
    from ch12cli.config.choices import top_level
    from ch12cli.config.schema import GROUPS
    from ch12cli.files.plan_json import WITHDRAWN

    heads = {*GROUPS, *(key.partition(".")[0] for key in (*top_level(), *WITHDRAWN))}
    own = {key: value for key, value in keys.items() if key.partition(".")[0] not in heads and "/" not in key}
    return [assignment(key, value) for key, value in own.items()]


def halved_line(result: "Result | None") -> str:
    """Returns a note that the repeat command trains all epochs, if halving stopped the run."""
    if result is None or result.left_at is None:
        return ""
    return f"(halving took it out after epoch {result.left_at}; this line trains all epochs)"


def show_sweep(screen: "Screen", entry: "Entry") -> None:
    from rich.text import Text

    from ch12cli.catalogue.best_setting import with_planned_seeds
    from ch12cli.catalogue.formatting import count_of, format_failures
    from ch12cli.catalogue.front import setting_keys
    from ch12cli.catalogue.summary import failures
    from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, sweep_monitor
    from ch12cli.catalogue.sweep_progress import SweepFollower
    from ch12cli.cli.text.console import wrap
    from ch12cli.cli.text.run_report import STATUS_STYLES
    from ch12cli.cli.text.sweep_report import (
        count_statuses,
        format_best,
        format_counts,
        format_left,
        styled_summary,
    )
    from ch12cli.files.cluster.tasks import TaskFollower
    from ch12cli.files.unfinished.search_json import read_search

    rows = read_rows_as_planned(entry.path)
    monitor = sweep_monitor(entry.path, rows) or "valid_loss"
    counts, planned = format_counts(count_statuses(rows)), entry.values.get("jobs", 0)
    counts.append(f" of {count_of(planned, 'job')}" if planned > len(rows) else "")
    style = STATUS_STYLES.get(entry.status, "bold red")
    every = with_planned_seeds(entry.path, rows)
    table = styled_summary(
        every,
        setting_keys(rows, entry.path),
        monitor=monitor,
        width=screen.console.width,
        ascii_only=screen.ascii_only,
    )
    status = [Text.assemble((entry.status, style), "  ", counts)]
    status += [Text(f"{' ' * len(entry.status)}  {line}") for line in format_left(rows)]
    if entry.status in ("interrupted", "killed", "running", "submitted"):
        far = SweepFollower(entry.path).read()
        epochs = f"{far.epochs:,} of {count_of(far.total_epochs, 'epoch')} over all jobs"
        status.append(Text(f"{' ' * len(entry.status)}  {epochs}"))
    go_on, search = go_on_line(entry), read_search(entry.path)
    if go_on and search is not None and (trials := search.count(entry.path)):
        status.append(Text(f"{' ' * len(entry.status)}  {trials}; the search has not ended"))
    ended = {row.job for row in rows if row.status != "interrupted"}
    indent = " " * (len(entry.status) + 2)
    for line in format_bundles(TaskFollower(entry.path).read(ended)):
        status += [Text(indent + piece) for piece in wrap(line, screen.console.width - len(indent))]
    best = format_best(every, entry.path, monitor=monitor, screen=screen)
    for block in (status, table, best, screen.wrapped(format_failures(failures(rows)))):
        screen.print([*block, ""] if block else [])
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))
    facts = [("began", began), ("go on", go_on), ("directory", str(entry.path))]
    screen.print_facts([fact for fact in facts if fact[1]], label_width=LABEL_WIDTH)


def format_bundles(states: "Sequence[BundleState]") -> list[str]:
    """Returns the tasks of a submitted sweep that have jobs left: `2 tasks running: 0 on n1 (epoch 7), …`."""
    from ch12cli.catalogue.formatting import count_of
    from ch12cli.files.cluster.tasks import STATES

    lines = []
    for state in STATES:
        found = [each for each in states if each.state == state]
        if found:
            named = [describe_bundle(each) for each in found[:MOST_BUNDLES]]
            more = f" and {len(found) - MOST_BUNDLES} more" if len(found) > MOST_BUNDLES else ""
            lines.append(f"{count_of(len(found), 'task')} {state}: {', '.join(named)}{more}")
    return lines


def describe_bundle(bundle: "BundleState") -> str:
    """Returns `3 on node7 (epoch 12, attempt 2)`."""
    facts = [f"epoch {bundle.epoch}"] if bundle.epoch else []
    facts += [bundle.reason] if bundle.reason else []
    facts += [f"attempt {bundle.attempts}"] if bundle.attempts > 1 else []
    where = f" on {bundle.host}" if bundle.host else ""
    return printable(f"{bundle.number}{where}" + (f" ({', '.join(facts)})" if facts else ""))


def keys_of(path: Path) -> dict[str, Any]:
    from ch12cli.files.hydra_folder import read_keys
    from ch12cli.files.run_directory import HYDRA

    return read_keys(path / HYDRA)
