"""`ch12 rm`: deletes runs and sweeps, after listing them."""

import re
import sys
import time
from collections.abc import Sequence

from ch12cli.catalogue.entries import Entry, entries
from ch12cli.catalogue.names import OUTPUTS
from ch12cli.catalogue.removal import removable, remove
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.run_table import format_runs
from ch12cli.errors import InputError
from ch12cli.files.cluster.journal import is_in_use
from ch12cli.suggest import did_you_mean

STATUSES = ("finished", "diverged", "failed", "interrupted", "killed", "damaged")
SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
AGE = re.compile(r"([0-9]{1,6})([mhdw])")


def parser() -> Arguments:
    arguments = Arguments("rm")
    arguments.add_argument(
        "--status", metavar="STATUS", help=f"select runs in {OUTPUTS}/ by status: {', '.join(STATUSES)}"
    )
    arguments.add_argument("--older", metavar="AGE", help="select runs that began longer ago, such as 30d, 12h, 2w")
    arguments.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if bool(options.operands) == bool(options.status or options.older):
        raise InputError("rm: nothing to select; name runs (ch12 rm @1), or give --status failed, --older 30d, or both")
    if options.operands:
        selected = [removable(find_run(word)) for word in options.operands]
        selected = list({entry.path.resolve(): entry for entry in selected}.values())
    else:
        selected = matching(options.status, options.older)
    print(format_runs(selected) if selected else "nothing to remove")
    if not selected:
        return 0
    if not options.yes and not confirmed(len(selected)):
        print("nothing was removed")
        return 0
    for entry in selected:
        remove(entry)
        print(f"removed {printable(str(entry.path))}")
    return 0


def matching(status: str | None, older: str | None) -> list[Entry]:
    """The runs and sweeps in outputs/ with that status and age, except those that are training."""
    if status is not None and status not in STATUSES:
        hint = did_you_mean(status, STATUSES) or f"; it may be {', '.join(STATUSES)}"
        raise InputError(f"--status {status}: no such status{hint}")
    before = time.time() - (age_in_seconds(older) if older is not None else 0)
    found = [e for e in entries(OUTPUTS) if status in (None, e.status) and e.when <= before and not is_in_use(e.path)]
    return sorted((removable(entry.path) for entry in found), key=lambda entry: entry.when)


def age_in_seconds(text: str) -> int:
    """The seconds of an age such as 30d."""
    found = AGE.fullmatch(text)
    if found is None:
        raise InputError(f"--older {text}: must be a number and m, h, d or w (minutes, hours, days, weeks), as 30d")
    return int(found[1]) * SECONDS[found[2]]


def confirmed(count: int) -> bool:
    """Whether the user confirms. InputError without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("rm: there is no terminal to ask for confirmation; add --yes")
    try:
        answer = input(f"remove {'it' if count == 1 else f'these {count}'} permanently? [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")
