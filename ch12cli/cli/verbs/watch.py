"""`ch12 watch`: follows a run or a sweep that another process trains, without writing to it."""

import re
import time
from collections.abc import Sequence

from ch12cli.catalogue.damage import refuse_wrong_form
from ch12cli.catalogue.entries import Entry, entry_at
from ch12cli.catalogue.formatting import format_standing
from ch12cli.catalogue.sweep_progress import SweepFollower
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.run_json import go_on_line
from ch12cli.cli.verbs.train import FAILED_JOBS
from ch12cli.errors import InputError, MachineError
from ch12cli.files.cluster.journal import BundleState
from ch12cli.files.cluster.tasks import TaskFollower, activity_of, describe_tasks
from ch12cli.files.locks import is_locked
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import METRICS, RESULT
from ch12cli.run.garbage_collection import freeze_objects

POLL_INTERVAL = 0.3  # seconds
TIME_LEFT = re.compile("; about [0-9:]+ left")


def parser() -> Arguments:
    return Arguments("watch")


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if len(options.operands) != 1:
        raise InputError("watch: name one run or sweep: ch12 watch @1")
    path = find_run(options.operands[0])
    found = entry_at(path)
    freeze_objects()
    with refuse_wrong_form(path):
        if found.kind == "sweep":
            return watch_sweep(found)
        watch_run(found)
    return 0


def watch_run(entry: Entry) -> None:
    """Prints each epoch as it ends, then the result of the run."""
    from ch12cli.cli.text.run_display import RunDisplay
    from ch12cli.cli.text.screen import Screen
    from ch12cli.cli.verbs.show import facts_of, keys_of, show_run

    if not is_locked(entry.path):
        with Screen() as screen:
            show_run(screen, entry)
        return
    keys = keys_of(entry.path)
    planned = keys.get("epochs")
    seen = 0
    with RunDisplay() as display:
        display.on_begin(
            facts_of(entry, None, keys), epochs=planned if isinstance(planned, int) else 0, directory=entry.path
        )
        while True:
            running = is_locked(entry.path)  # check before reading, so that the last rows written are still read below
            rows = [{**row, "epoch": int(row["epoch"])} for row in read_metrics(entry.path / METRICS)]
            for row in rows[seen:]:
                display.on_epoch_end(row)
            seen = len(rows)
            if not running:
                break
            time.sleep(POLL_INTERVAL)
        result = read_result(entry.path / RESULT) or Result(status="killed", epochs=len(rows))
        display.on_end(result, rows, directory=entry.path)


def watch_sweep(entry: Entry) -> int:
    """Prints the number of jobs that have ended, then the result of the sweep. Returns the exit code."""
    from rich.text import Text

    from ch12cli.cli.text.screen import Screen
    from ch12cli.cli.verbs.show import show_sweep

    following, tasks, printed = SweepFollower(entry.path), TaskFollower(entry.path), ""
    with Screen() as screen:
        text = Text(printable(format_standing(following.read())))
        live = screen.start(lambda: text)
        while activity_of(states := tasks.read(following.earlier)) or is_locked(entry.path):
            now = printable(with_tasks(format_standing(following.read()), states))
            if live:
                text.plain = now
                screen.refresh()
            elif (counts := TIME_LEFT.sub("", now)) != printed:  # skip if only the time left changed
                printed = counts
                screen.print([now])
            time.sleep(POLL_INTERVAL)
        screen.close()
        ended = entry_at(entry.path)
        show_sweep(screen, ended)
        if line := go_on_line(ended):
            submits = "submits" if states else "trains"
            screen.print(["", *screen.wrapped([f"nothing trains it any more; {line} {submits} what is missing"])])
            return MachineError.exit_code
    return FAILED_JOBS if ended.status == "failed" else 0


def with_tasks(standing: str, states: Sequence[BundleState]) -> str:
    """Returns the progress of a sweep with what its tasks do: `…; tasks: 2 running, 1 pending (Resources)`."""
    found = describe_tasks([(state.state, state.reason) for state in states])
    return f"{standing}; tasks: {found}" if found else standing
