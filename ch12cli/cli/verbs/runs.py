"""`ch12 runs`: lists the runs and sweeps in a folder, newest first."""

import csv
import gc
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

from ch12cli.catalogue.entries import RESULT_FIELDS, Entry, configured_keys, entries, entry_row, job_entries
from ch12cli.catalogue.names import OUTPUTS
from ch12cli.catalogue.query import WORDS, Query, as_number, sort_key
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.run_table import format_runs
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import is_sweep
from ch12cli.rules import LARGEST, IntegerRule
from ch12cli.shell import shell_word
from ch12cli.suggest import did_you_mean

MOST_SEARCHED = 20_000  # jobs that are looked at for a hint, those of small sweeps first
LEADING = ("path", "kind", "when", "status", "jobs", "epochs", "monitor", "objective")
ALWAYS = frozenset((*LEADING, *RESULT_FIELDS, "tags"))  # names that a filter may use before any run has them
EntryRows = list[tuple[Entry, Mapping[str, Any]]]


def parser() -> Arguments:
    arguments = Arguments("runs")
    arguments.add_argument("--filter", metavar="TEXT", help='such as "test_accuracy>0.95 and optimizer.lr<0.1"')
    arguments.add_argument("--sort", metavar="KEY", help="sort by a result or a configuration key, ascending")
    arguments.add_argument("--reverse", action="store_true", help="reverse the order")
    arguments.add_number("--limit", IntegerRule(0, LARGEST), metavar="N", help="only the first N")
    arguments.add_argument(
        "--format",
        choices=["table", "csv", "json"],
        default="table",
        help="output format; csv and json hold all values in full precision",
    )
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if len(options.operands) > 1:
        raise InputError(f"{options.operands[1]}: unexpected argument; see `ch12 runs --help`")
    query = Query(options.filter) if options.filter is not None else None
    if options.sort and options.sort.startswith("-"):
        name = options.sort.lstrip("-")
        raise InputError(f"--sort {options.sort}: give the name only; descending: --sort {name} --reverse")
    gc.disable()  # saves time with thousands of runs: none is garbage yet
    folder = options.operands[0] if options.operands else None
    listed = listed_in(folder)
    wanted = [*([name for name, _, _ in query.comparisons] if query else []), *([options.sort] if options.sort else [])]
    needed = bool(wanted) or options.format != "table"
    rows: EntryRows = [(entry, entry_row(entry) if needed else entry.values) for entry in listed]
    if wanted:
        rows = with_keys(rows, wanted)
        require_known(wanted, rows, query)
    if query is not None:
        require_comparable(query, rows)
        rows = [(entry, row) for entry, row in rows if query.matches(row)]
    rows.sort(key=lambda pair: pair[0].when, reverse=True)
    if options.sort:
        rows.sort(key=lambda pair: sort_key(pair[1].get(options.sort)))
    rows = (rows[::-1] if options.reverse else rows)[: options.limit]
    if options.format == "table":
        print(format_runs([entry for entry, _ in rows]) if rows else no_runs_line(listed, folder, query))
    else:
        print(as_json(rows) if options.format == "json" else as_csv(rows))
    return 0


def listed_in(name: str | None) -> list[Entry]:
    """The runs and sweeps in a folder, or the jobs of a sweep, last job first."""
    if name is None:
        return list(entries(OUTPUTS))
    path = find_run(name)
    if not path.is_dir():
        raise InputError(f"{path}: is a file; name a folder or a sweep")
    return job_entries(path)[::-1] if is_sweep(path) else list(entries(path))


def no_runs_line(listed: Sequence[Entry], folder: str | None, query: Query | None) -> str:
    """The line to print when there is no run to list."""
    where = folder or f"{OUTPUTS}/"
    if not listed:
        return f"no runs in {where}"
    is_one = len(listed) == 1
    none = f"the only run in {where}" if is_one else f"none of the {len(listed):,} runs in {where}"
    if query is None:
        return f"--limit 0: {none} is {'not ' * is_one}shown"
    hint = sweep_hint(listed, query.matches, "--filter")
    return printable(f"{none} {'does not match' if is_one else 'matches'} --filter {query.text!r}{hint}")


def with_keys(rows: EntryRows, wanted: Sequence[str]) -> EntryRows:
    """The rows with the configuration of each run, if `wanted` needs it: that takes longer to read."""
    if {name for _, row in rows for name in row}.issuperset(set(wanted) - ALWAYS):
        return rows
    return [(entry, {**configured_keys(entry), **row}) for entry, row in rows]


def require_known(names: Sequence[str], rows: EntryRows, query: Query | None) -> None:
    """InputError for a name that no run has, with the nearest known names. query: the filter that they are from."""
    from ch12cli.config.choices import known_keys

    known_names = dict.fromkeys([*(name for _, row in rows for name in row), *ALWAYS, *known_keys()])
    unknown = [name for name in dict.fromkeys(names) if name not in known_names]
    if unknown and rows:
        listed = [entry for entry, _ in rows]
        if query is not None and any(name in query.text for name in unknown):
            option, hint = f"--filter {query.text!r}", sweep_hint(listed, query.matches, "--filter")
        else:
            option, hint = "--sort", sweep_hint(listed, lambda row: unknown[0] in row, "--sort")
        raise InputError(
            [f"{option}: {name}: no run has it{did_you_mean(name, list(known_names)) or hint}" for name in unknown]
        )


def sweep_hint(listed: Sequence[Entry], fits: Callable[[Mapping[str, Any]], bool], option: str) -> str:
    """The hint that jobs are found by naming their sweep: the newest one of which a job fits; empty if none was found.

    fits: of the results and overrides of a job. Its other settings take longer to read than a hint is worth.
    """
    sweeps = sorted((entry for entry in listed if entry.kind == "sweep"), key=number_of_jobs)
    totals = accumulate(map(number_of_jobs, sweeps))
    searched = [sweep for sweep, total in zip(sweeps, totals, strict=True) if total <= MOST_SEARCHED]
    for sweep in sorted(searched, key=lambda entry: entry.when, reverse=True):
        with suppress(InputError):  # it is damaged, or of a newer version
            if any(fits(entry_row(job)) for job in job_entries(sweep.path)):
                return f"; to filter the jobs of a sweep: `ch12 runs {shell_word(sweep.location)} {option} …`"
    return ""


def number_of_jobs(sweep: Entry) -> int:
    return int(sweep.values.get("jobs", 0))


def require_comparable(query: Query, rows: EntryRows) -> None:
    """InputError for a comparison of a number with text, which would never match."""
    for name, sign, wanted in query.comparisons:
        values = [row[name] for _, row in rows if row.get(name) not in (None, "")]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        possible = as_number(wanted) is not None or (sign in ("=", "==", "!=") and wanted.lower() in (*WORDS, "auto"))
        if values and numbers and sign != "~" and not possible:
            raise InputError(f"--filter {query.text!r}: {name} is a number in every run, and {wanted!r} is not")


def as_json(rows: EntryRows) -> str:
    """The rows as a JSON list; values that are not finite become null."""
    plain = [{name: finite(value) for name, value in row.items()} for _, row in rows]
    return json.dumps(plain, indent=2)


def finite(value: Any) -> Any:
    """The value, or None for a float that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(rows: EntryRows) -> str:
    """The rows as CSV, with the columns of all rows."""
    names = dict.fromkeys((*LEADING, *(name for _, row in rows for name in row)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(printable, names))
    for _, row in rows:
        values = [row.get(name, "") for name in names]
        writer.writerow([printable(value) if isinstance(value, str) else value for value in values])
    return text.getvalue().rstrip("\n")
