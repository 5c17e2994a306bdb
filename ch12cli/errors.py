"""The two ways a command ends for a reason that is not a bug, each with its exit code."""

from collections.abc import Sequence


class InputError(Exception):
    """What the user gave cannot be used: options, values, data, damaged files. Exit code 2.

    problems: one message, or all that were found; each names the key or file, the value, the rule and what to do.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class MachineError(Exception):
    """What the machine would not do: a full disk, a missing permission, a killed worker. Exit code 4."""

    exit_code = 4


class Answered(Exception):  # noqa: N818 - nothing went wrong
    """A command line asked for help, and has it."""


def first_line(error: BaseException) -> str:
    """What an error says, in a line, its kind before it."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
