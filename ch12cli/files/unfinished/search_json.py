"""`.ch12/search.json` in a sweep's directory: the command of a search that has not ended, by which it goes on.

The search writes it before its first jobs are planned, and removes it when it ends by itself: the jobs alone do not
tell whether a search is complete, because a budget or a finite space may end it before all its trials.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ch12cli.files.atomic import machine_errors, read_file, write_whole
from ch12cli.files.plain_values import is_integer
from ch12cli.files.plan_json import count_planned
from ch12cli.files.run_directory import STATE
from ch12cli.shell import assignment, shell_line

SEARCH = f"{STATE}/search.json"
FORMAT = 1
VERBS = ("train", "tune")  # of commands that search; a damaged file names no other command


@dataclass(frozen=True)
class SearchFile:
    """The content of search.json.

    words: those of the command after `ch12`, without the sweep's directory. trials: how many are asked for; None if
    their number is not limited. repetitions: the jobs of each trial. others: the planned jobs that are of no trial.
    """

    words: tuple[str, ...]
    trials: int | None
    repetitions: int
    others: int

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **vars(self)}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "SearchFile":
        """Raises ValueError if the content has another format or was not written by ch12."""
        try:
            record = json.loads(content)
            version, words, trials = record["format"], record["words"], record["trials"]
            repetitions, others = record["repetitions"], record["others"]
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        numbers = [repetitions, others, *([] if trials is None else [trials])]
        is_command = isinstance(words, list) and all(isinstance(word, str) for word in words) and bool(words)
        if version != FORMAT or not is_command or words[0] not in VERBS or not all(map(is_integer, numbers)):
            raise ValueError("not the record of a search")
        return cls(tuple(words), trials, max(1, repetitions), others)

    def line(self, sweep: Path) -> str:
        """Returns the command that goes on with the search, as a shell's command line."""
        return f"{shell_line(['ch12', *self.words])} {assignment('hydra.sweep.dir', str(sweep))}"

    def describe(self, sweep: Path) -> str:
        """Returns `48 of 64 trials; the search goes on with: ch12 train -m …`."""
        count = self.count(sweep)
        return f"{count}{'; ' if count else ''}the search goes on with: {self.line(sweep)}"

    def count(self, sweep: Path) -> str:
        """Returns how many trials have been drawn: `48 of 64 trials`; empty if no number of them is asked for."""
        if self.trials is None:
            return ""
        drawn = max(0, count_planned(sweep) - self.others) // self.repetitions
        return f"{min(drawn, self.trials):,} of {self.trials:,} trials"


def read_search(sweep: Path) -> SearchFile | None:
    """Returns the search of a sweep's directory that has not ended; None if there is none, or it is unreadable."""
    try:
        return SearchFile.from_json(read_file(sweep / SEARCH))
    except (OSError, ValueError):
        return None


def write_search(sweep: Path, search: SearchFile) -> None:
    with machine_errors(f"cannot write {sweep / STATE}"):
        (sweep / STATE).mkdir(exist_ok=True)
    write_whole(sweep / SEARCH, search.to_json())


def remove_search(sweep: Path) -> None:
    with machine_errors(f"cannot remove {sweep / SEARCH}"):
        (sweep / SEARCH).unlink(missing_ok=True)
