"""The command `ch12`: finds the verb, runs it, and turns how it ends into an exit code."""

import atexit
import errno
import gc
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ch12cli.errors import InputError, MachineError

# The module of each verb is imported when the verb is used: none pays for what another needs.
VERBS = {
    "train": "train a network, or with -m many",
    "resume": "go on with a run or a sweep where it stopped",
    "eval": "figures of a saved run on parts of its data",
    "predict": "what a saved run's network says of the rows of a CSV file",
    "repro": "train a saved run again and say whether it is the same",
    "explain": "what a configuration key means, may be, and where its value comes from",
    "completion": "print the tab completion for bash, zsh or fish",
}

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of a command line: 0 fine, 1 a bug, 2 input, 3 failed jobs, 4 the machine, 5 diverged, 130, 143."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    atexit.register(gc.freeze)  # or Python looks through all that torch made, once more, for a second
    code = guarded(words)
    try:
        sys.stdout.flush()
    except OSError as error:
        discard_output()
        if not (code or isinstance(error, BrokenPipeError)):
            report([f"cannot write the output: {error.strerror}"])
            return MachineError.exit_code
    return code


def discard_output() -> None:
    """Lets go of what Python still holds for the standard output, which cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def guarded(words: list[str]) -> int:
    """Runs a command line and turns what it raises into an exit code."""
    try:
        return run(words)
    except InputError as error:
        report(error.problems)
        return error.exit_code
    except MachineError as error:
        report([str(error)])
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read the output has seen enough
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        report([f"cannot write the output: {error.strerror}"])
        return MachineError.exit_code


def run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        from ch12cli.cli.help import format_overview

        print(format_overview(VERBS))
        return 0
    if words[0] == "--version":
        from ch12cli.runs.environment import package_version

        print(f"ch12 {package_version('ch12')}")
        return 0
    verb = words[0]
    if verb not in VERBS:
        from ch12cli.config.suggest import did_you_mean

        hint = did_you_mean(verb, VERBS)
        if verb.startswith("-"):
            hint = f"; options come after a command: did you mean `ch12 train {verb}`?"
        if "=" in verb:
            hint = f"; did you mean `ch12 train {verb}`?"
        raise InputError(f"{verb}: no such command{hint or '; see `ch12 --help`'}")
    logging.raiseExceptions = False  # a log that cannot be written is no reason to print a traceback
    return int(import_module(f"ch12cli.cli.{verb}").run(words[1:]))


def report(problems: Sequence[str]) -> None:
    """Prints what is wrong to standard error, a line each, whatever its encoding."""
    encoding = sys.stderr.encoding or "utf-8"
    for problem in problems:
        text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in problem)
        print(f"ch12: {text.encode(encoding, 'backslashreplace').decode(encoding)}", file=sys.stderr)
