"""The command `ch12`: finds the verb, runs it, and turns every ending into an exit code."""

import _thread
import atexit
import errno
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from ch12cli.cli.process_end import end_at_once, runs_code_of_others
from ch12cli.cli.text.problems import print_problems
from ch12cli.cli.verbs import VERBS
from ch12cli.distributed.torchrun import Place, torchrun_place
from ch12cli.errors import HelpShown, InputError, MachineError, describe_error, os_problem
from ch12cli.run import garbage_collection as collector
from ch12cli.run.signals import Terminated

INTERRUPTED = 130


def program() -> NoReturn:
    """Runs the command line of this process and ends the process with its exit code."""
    open_closed_streams()
    # Torch's threads sleep while they wait. Those that spin make a small network a thousand times slower on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    collector.start()
    atexit.register(gc.freeze)  # else Python scans all of torch's objects once more at exit, which takes a second
    sys.unraisablehook = repeat_interrupt
    logging.raiseExceptions = False  # a log that cannot be written must not print a traceback
    interrupts: list[int] = []  # signal numbers of each Ctrl-C
    terminations: list[int] = []  # exit codes of each SIGTERM

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    def terminate(number: int, _frame: FrameType | None) -> None:  # a run installs its own handler later
        terminations.append(128 + number)
        raise Terminated  # no SystemExit, which would be taken for that of a user's network

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have it ignored: leave that
        signal.signal(signal.SIGINT, interrupt)
    try:
        code = main()
    except BaseException as error:
        if not (interrupts or terminations or isinstance(error, KeyboardInterrupt)):
            raise
        code = terminations[0] if terminations else INTERRUPTED  # libraries may have replaced the exception
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the work is done: a signal must not change the exit code
    if terminations and code:  # libraries may turn SIGTERM into another error
        code = terminations[0]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would complain about DataLoader workers that ended
    exec("")  # else `python -m` ends by the signal, not the code, if a signal arrived in another exec (a dataclass)
    code = INTERRUPTED if interrupts and code else code  # libraries may turn Ctrl-C into another error
    if "torch" in sys.modules and not (runs_code_of_others() or sys.gettrace() or sys.getprofile()):
        end_at_once(code)
    sys.exit(code)


def open_closed_streams() -> None:
    """Opens standard input, output and error on the null device if the caller closed them (`ch12 runs >&-`)."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the end


def repeat_interrupt(failure: "sys.UnraisableHookArgs") -> None:
    """Raises a Ctrl-C again that came inside a destructor, where Python would only print it."""
    if failure.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(failure)
    elif not sys.is_finalizing():
        threading.Timer(0.01, _thread.interrupt_main).start()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line. argv: without `ch12` itself; None: that of this process.

    Returns the exit code: 0 success, 1 a bug, 2 input, 3 failed jobs, 4 the machine, 5 diverged, 130, 143.
    """
    try:
        command, rest = command_of(list(sys.argv[1:] if argv is None else argv))
        place = torchrun_place()
        code = int(command(rest) if place is None else run_under_torchrun(place, command, rest))
    except (InputError, MachineError, HelpShown, KeyboardInterrupt, OSError, MemoryError) as error:
        known = report_error(error)
        if known is None:
            raise
        code = known
    except (Exception, SystemExit, GeneratorExit, Terminated):
        raise
    except BaseException as error:  # ch12 and its packages raise no other
        print_problems([f"code of your own raised {describe_error(error)}"])
        code = InputError.exit_code
    return flush_output(code)


def run_under_torchrun(place: Place, command: Callable[[list[str]], int], argv: list[str]) -> int:
    """Runs a command in the first of several processes. The others only help it to train. Returns the exit code."""
    if place.rank > 0:
        from ch12cli.run.train import follow_place

        return follow_place(place)
    code = command(argv)
    from ch12cli.distributed.processes import dismiss_followers

    dismiss_followers(place)
    return code


def command_of(argv: list[str]) -> tuple[Callable[[list[str]], int], list[str]]:
    """The function that a command line calls, and the arguments it takes. InputError for an unknown verb."""
    if argv[:1] == ["help"] and len(argv) > 1:
        argv = [argv[1], "--help"]
    if not argv or argv[0] in ("-h", "--help", "help"):
        return print_overview, []
    if argv[0] == "--version":
        return print_version, []
    verb = argv[0]
    if verb not in VERBS:
        raise InputError(f"{verb}: no such command{hint_for(verb)}")
    return import_module(f"ch12cli.cli.verbs.{verb}").run, argv[1:]


def hint_for(verb: str) -> str:
    """A suggestion for a verb that does not exist."""
    from ch12cli.suggest import did_you_mean

    if "=" in verb:
        return f"; did you mean `ch12 train {verb}`?"
    if verb.startswith("-"):
        if near := did_you_mean(verb, ("--help", "--version")):
            return near
        is_trains = import_module("ch12cli.cli.verbs.train").parser().has_option(verb)
        return f"; options come after a command{f': did you mean `ch12 train {verb}`?' if is_trains else ''}"
    return did_you_mean(verb, VERBS) or "; see `ch12 --help`"


def print_overview(_argv: list[str]) -> int:
    from ch12cli.cli.help.overview import format_overview

    print(format_overview(VERBS))
    return 0


def print_version(_argv: list[str]) -> int:
    from ch12cli.files.environment import package_version

    print(f"ch12 {package_version('ch12')}")
    return 0


def report_error(error: BaseException) -> int | None:
    """Prints what went wrong and returns the exit code; None for a bug."""
    if isinstance(error, HelpShown | BrokenPipeError):  # a broken pipe: the reader has seen enough
        return 0
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, InputError | MachineError | OSError) and os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
    if isinstance(error, InputError):
        print_problems(error.messages)
        return error.exit_code
    if isinstance(error, MachineError):
        print_problems([error])
        return error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        is_output = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        found = os_problem("cannot write the output" if is_output else "", error)
        print_problems([found])
        return found.exit_code
    if isinstance(error, MemoryError):
        print_problems(["there is not enough memory for this"])
        return MachineError.exit_code
    return None


def flush_output(code: int) -> int:
    """Flushes standard output. Returns the exit code, or that of a machine error if the output cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # drops what Python has buffered
        if not (code or isinstance(error, BrokenPipeError)):
            print_problems([f"cannot write the output: {error.strerror}"])
            return MachineError.exit_code
    return code
