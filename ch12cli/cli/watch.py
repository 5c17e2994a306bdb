"""`ch12 watch`: follows a run or a sweep that another process trains, until it ends. It only reads."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ch12cli.cli.arguments import Arguments
from ch12cli.cli.page import printable
from ch12cli.cli.show import NOT_OURS
from ch12cli.errors import InputError
from ch12cli.runs.catalogue import Entry, entries, is_locked
from ch12cli.runs.directory import METRICS, RESULT, read_result
from ch12cli.runs.metrics import read_metrics
from ch12cli.runs.names import find
from ch12cli.runs.table import SWEEP, read_table

EVERY = 0.3  # seconds between two looks


def parser() -> Arguments:
    arguments = Arguments("watch")
    arguments.add_argument("words", nargs="*")
    return arguments


def run(words: Sequence[str]) -> int:
    options = parser().read(words)
    if len(options.words) != 1:
        raise InputError("watch: which one? give one run or sweep: ch12 watch @1")
    path = find(options.words[0])
    found = [entry for entry in entries(path) if entry.path == path]
    if not found:
        raise InputError(f"{path}: is neither a run nor a sweep; `ch12 runs` lists what there is")
    try:
        (watch_sweep if found[0].kind == "sweep" else watch_run)(found[0])
    except NOT_OURS as error:
        raise InputError(f"{path}: what it holds is not such as ch12 writes it ({error})") from error
    return 0


def watch_run(entry: Entry) -> None:
    """Shows each epoch as it ends, then how the run ended."""
    from ch12cli.cli.display import RunDisplay
    from ch12cli.cli.screen import Screen
    from ch12cli.cli.show import facts_of, keys_of, show_run

    if not is_locked(entry.path):
        with Screen() as screen:
            show_run(screen, entry)
        return
    keys = keys_of(entry.path)
    planned = keys.get("epochs")
    seen = 0
    with RunDisplay() as display:
        display.begin(
            facts_of(entry, {}, keys), epochs=planned if isinstance(planned, int) else 0, directory=entry.path
        )
        while True:
            running = is_locked(entry.path)  # asked first: what is written last is then read below
            rows = [{**row, "epoch": int(row["epoch"])} for row in read_metrics(entry.path / METRICS)]
            for row in rows[seen:]:
                display.epoch(row)
            seen = len(rows)
            if not running:
                break
            time.sleep(EVERY)
        result = read_result(entry.path / RESULT) or {"status": "killed", "epochs": len(rows)}
        display.end(result, rows, directory=entry.path)


def watch_sweep(entry: Entry) -> None:
    """Shows how many jobs have ended and how, then what came out."""
    from rich.text import Text

    from ch12cli.cli.screen import Screen
    from ch12cli.cli.show import show_sweep

    told = ""
    with Screen() as screen:
        text = Text(counted(entry.path))
        live = screen.start(lambda: text)
        while is_locked(entry.path):
            if (now := counted(entry.path)) != told:
                told = now
                text.plain = now
                if live:
                    screen.refresh()
                else:
                    screen.print([now])
            time.sleep(EVERY)
        screen.close()
        show_sweep(screen, next(e for e in entries(entry.path) if e.path == entry.path))


def counted(path: Path) -> str:
    """`418 finished, 2 diverged`: the jobs that have ended, by how."""
    counts = Counter(row.get("status") or "" for row in read_table(path / SWEEP))
    told = ", ".join(f"{count:,} {printable(status)}" for status, count in sorted(counts.items()))
    return told or "no job has ended yet"
