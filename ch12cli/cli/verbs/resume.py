"""`ch12 resume`: continues a run or a sweep where it stopped."""

from collections.abc import Sequence

from ch12cli.cli.help.arguments import Arguments, find_run, verbosity_of
from ch12cli.cli.text.warnings_only import WarningsOnly
from ch12cli.cli.verbs.train import code_of, print_run_json, print_sweep_json, show_end
from ch12cli.distributed.torchrun import refuse_sweep
from ch12cli.errors import InputError
from ch12cli.files.compact.run_files import run_exists
from ch12cli.shell import shell_line


def parser() -> Arguments:
    arguments = Arguments("resume")
    arguments.add_argument(
        "--fork", action="store_true", help="make a new run that goes on from here, in hydra.run.dir=DIR if given"
    )
    arguments.add_trust()
    arguments.add_verbosity(quiet="print only the directory")
    arguments.add_format()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands or "=" in options.operands[0]:
        raise InputError("resume: no run given; name a run or a sweep: ch12 resume outputs/…")
    directory, overrides = find_run(options.operands[0]), options.operands[1:]
    if not run_exists(directory):
        raise InputError(f"{directory}: no such directory")
    verbosity, is_json = verbosity_of(options), options.format == "json"
    from ch12cli.files.sweep_csv import is_sweep

    if is_sweep(directory):
        from ch12cli.cli.text.sweep_display import SweepDisplay
        from ch12cli.sweeps.resume import resume_sweep

        if options.fork:
            raise InputError(f"{directory}: --fork is for a run; resume one of the sweep's runs to change it")
        refuse_sweep(shell_line(["ch12", "resume", str(directory)]))
        if is_json:
            return print_sweep_json(resume_sweep(directory, overrides, callback=WarningsOnly(), trust=options.trust))
        with SweepDisplay(verbosity=verbosity) as sweep_display:
            finished = resume_sweep(directory, overrides, callback=sweep_display, trust=options.trust)
            return show_end(sweep_display, finished)
    from ch12cli.cli.text.run_display import RunDisplay
    from ch12cli.saved.resume import resume_run

    if is_json:
        silent = WarningsOnly()
        outcome = resume_run(directory, overrides, callback=silent, fork=options.fork, trust=options.trust)
        return print_run_json(silent.directory or directory, outcome)
    with RunDisplay(verbosity=verbosity) as display:
        outcome = resume_run(directory, overrides, callback=display, fork=options.fork, trust=options.trust)
        if outcome is None:
            return 0
    return code_of(outcome)
