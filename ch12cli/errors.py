"""What is wrong with what the user gave, as values, and the two ways a command ends for a reason that is not a bug."""

import errno
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave; `str(problem)` is the message.

    key: the configuration key, option or file, as it was typed; empty if the rule says it all. value: as it is typed,
    None if the key has none. rule: what is wrong, such as "must be greater than 0". hint: what to do instead.
    file: the configuration file that holds the key.
    """

    key: str
    value: str | None
    rule: str
    hint: str = ""
    file: str = ""

    @classmethod
    def with_override(cls, override: str, rule: str, hint: str = "") -> "Problem":
        """The problem of an override of the command line, as it was typed: `key=value` or `key`."""
        key, equals, value = override.partition("=")
        return cls(key, value if equals else None, rule, hint)

    def __str__(self) -> str:
        """`optimizer.lr=-1: must be greater than 0 (conf/optimizer/sgd.yaml); write 1`."""
        subject = self.key if self.value is None else f"{self.key}={self.value}"
        file = f" ({self.file})" if self.file else ""
        return shorten(f"{subject}{': ' if subject else ''}{self.rule}{file}{'; ' if self.hint else ''}{self.hint}")


MOST_ALIKE = 5  # lines about problems of one kind, such as those of many rows or jobs
MOST_PROBLEMS = 20  # lines about all problems of one command


def first_few(problems: Sequence[str], most: int = MOST_ALIKE) -> list[str]:
    """Returns the problems in at most so many lines, of which the last one counts those that are left out."""
    if len(problems) <= most:
        return list(problems)
    return [*problems[: most - 1], f"and {len(problems) - most + 1:,} more like these"]


class InputError(Exception):
    """What the user gave cannot be used: options, values, data, damaged files. Exit code 2.

    problems: one, or all that were found, each a Problem or a message that names the key or file, the value, the rule
    and what to do.
    """

    exit_code = 2

    def __init__(self, problems: "str | Problem | Sequence[str | Problem]") -> None:
        found = [problems] if isinstance(problems, str | Problem) else problems
        self.problems = [Problem("", None, each) if isinstance(each, str) else each for each in found]
        super().__init__("\n".join(self.messages))

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in a notebook: the messages without a traceback."""
        return [f"{type(self).__name__}: {message}" for message in self.messages]

    @property
    def messages(self) -> list[str]:
        """Each problem as a message; of very many the first ones, and a line that counts the others."""
        return first_few([str(problem) for problem in self.problems], MOST_PROBLEMS)


class MachineError(Exception):
    """What the machine would not do: a full disk, a missing permission, a killed worker. Exit code 4."""

    exit_code = 4

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in a notebook: the message without a traceback."""
        return [f"{type(self).__name__}: {self}"]


class HelpShown(Exception):  # noqa: N818 - nothing went wrong
    """Ends a command line that asked for help and has printed it. Exit code 0."""


LONGEST_NAME = 255  # bytes, of one name of a path, on nearly all file systems


def os_problem(doing: str, error: OSError) -> MachineError:
    """The error that says what the system refused. doing: what was attempted; empty if the error's file says it."""
    rule = error.strerror or str(error)
    if error.errno == errno.ENAMETOOLONG:
        rule += f" ({LONGEST_NAME} bytes at most between two slashes)"
    return MachineError(shorten(f"{doing or error.filename or 'the system refused'}: {rule}"))


MOST_SHOWN = 1000  # characters of a message; what a user gave may be a megabyte
LONG_WORD = re.compile(r"(\S{200})\S{101,}(\S{50})")  # what a message keeps of it


def shorten(text: str) -> str:
    """The text; of a long one, and of each long word, the beginning and the end."""
    text = LONG_WORD.sub(r"\1…\2", text) if len(text) > MOST_SHOWN else text
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 300]} … {text[-300:]}"


def in_list(name: str) -> str:
    """Returns a name or value for a list whose items are parted by commas: quoted, if it has one itself."""
    return repr(name) if "," in name else name


def reason_of(error: BaseException) -> str:
    """What an error says; of the system's, without its number and its file."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def first_line(text: str) -> str:
    """The first line of a text that is not empty, and the second if the first ends with a colon."""
    first, second = ([line.strip() for line in text.splitlines() if line.strip()] + ["", ""])[:2]
    return (f"{first} {second}" if first.endswith(":") else first).strip() or "no reason given"


def describe_error(error: BaseException) -> str:
    """An error in one line: its kind, and the first line of what it says."""
    text = str(error)
    return f"{type(error).__name__}: {first_line(text)}" if text.strip() else type(error).__name__


def location_of(error: BaseException) -> str:
    """Returns where the user's code raised, as ` (file.py, line 3)`; empty if ch12 or a library raised."""
    own = Path(__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    for frame in reversed(frames):
        file = Path(frame.filename)
        if own in file.parents:
            return ""
        if not any(part in ("site-packages", "dist-packages") or part.startswith("python3") for part in file.parts):
            return f" ({file.name}, line {frame.lineno})"
    return ""
