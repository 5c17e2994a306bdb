"""The command `ch12`: finds the verb, runs it, and turns how it ends into an exit code."""

import _thread
import atexit
import errno
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from ch12cli.errors import HelpShown, InputError, MachineError
from ch12cli.run import garbage_collection as collector

# The module of each verb is imported when the verb is used: none pays for what another needs.
VERBS = {
    "train": "train a network, or with -m many",
    "resume": "go on with a run or a sweep where it stopped",
    "eval": "figures of a saved run on parts of its data",
    "predict": "what a saved run's network says of the rows of a CSV file",
    "export": "a saved run's network as ONNX or torch.export, or the run as a plain PyTorch program",
    "repro": "train a saved run again and say whether it is the same",
    "runs": "runs and sweeps, newest first: how they ended, what they came to",
    "show": "all about one run or sweep, with its curve",
    "compare": "what differs between runs, or within a sweep",
    "plot": "pictures of runs and sweeps, in the terminal or as PNG and SVG",
    "report": "a page with all about a run or a sweep, in one file",
    "watch": "follow a run or a sweep that is running",
    "tag": "give a run words to find it by",
    "rm": "take runs and sweeps off the disk",
    "book": "the chapter's items, run, beside what the book prints",
    "bench": "how fast batches come, and how many workers to use",
    "explain": "what a configuration key means, may be, and where its value comes from",
    "completion": "print the tab completion for bash, zsh or fish",
}

INTERRUPTED = 130


def program() -> NoReturn:
    """The program `ch12`: carries out its command line and ends the process."""
    open_streams()
    collector.start()
    atexit.register(gc.freeze)  # or Python looks through all that torch made, once more, for a second
    sys.unraisablehook = interrupt_again
    logging.raiseExceptions = False  # a log that cannot be written is no reason to print a traceback
    received: list[int] = []  # of Ctrl-C
    terminated: list[int] = []  # exit codes of SIGTERM

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def end(number: int, _frame: FrameType | None) -> None:  # until a run says what it makes of it
        terminated.append(128 + number)
        raise SystemExit(128 + number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, note)
    try:
        code = main()
    except BaseException as error:
        if not (received or terminated or isinstance(error, KeyboardInterrupt)):
            raise
        code = terminated[0] if terminated else INTERRUPTED  # whatever a library made of it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # all is done: to leave in peace takes no time
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would complain of loader processes that are ended
    exec("")  # or `python -m` ends by the signal, not the code, where it came in another exec, as a dataclass's is
    sys.exit(INTERRUPTED if received and code else code)  # libraries make other errors of Ctrl-C


def open_streams() -> None:
    """Has standard input, output and error lead nowhere where the caller has closed them (`ch12 runs >&-`)."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for good


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of a command line: 0 fine, 1 a bug, 2 input, 3 failed jobs, 4 the machine, 5 diverged, 130, 143."""
    code = guarded(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stdout.flush()
    except OSError as error:
        discard_output()
        if not (code or isinstance(error, BrokenPipeError)):
            report([f"cannot write the output: {error.strerror}"])
            return MachineError.exit_code
    return code


def interrupt_again(failure: "sys.UnraisableHookArgs") -> None:
    """Repeats a Ctrl-C that came while Python was destroying something, where it would be printed and forgotten."""
    if failure.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(failure)
    elif not sys.is_finalizing():
        threading.Timer(0.01, _thread.interrupt_main).start()


def discard_output() -> None:
    """Lets go of what Python still holds for the standard output, which cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def guarded(words: list[str]) -> int:
    """Runs a command line and turns what it raises into an exit code."""
    try:
        return run(words)
    except InputError as error:
        report(error.messages)
        return error.exit_code
    except MachineError as error:
        report([str(error)])
        return error.exit_code
    except HelpShown:
        return 0
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
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        from ch12cli.cli.help.overview import format_overview

        print(format_overview(VERBS))
        return 0
    if words[0] == "--version":
        from ch12cli.files.environment import package_version

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
    return int(import_module(f"ch12cli.cli.verbs.{verb}").run(words[1:]))


def report(problems: Sequence[str]) -> None:
    """Prints what is wrong to standard error, a line each, whatever its encoding."""
    encoding = sys.stderr.encoding or "utf-8"
    for problem in problems:
        text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in problem)
        print(f"ch12: {text.encode(encoding, 'backslashreplace').decode(encoding)}", file=sys.stderr)
