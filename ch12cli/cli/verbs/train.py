"""`ch12 train`: trains one run, or with -m a sweep."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.catalogue.entries import entry_at
from ch12cli.catalogue.formatting import count_of
from ch12cli.cli.help.arguments import Arguments, verbosity_of
from ch12cli.cli.help.page import show_page
from ch12cli.cli.text.run_json import entry_json, json_text
from ch12cli.cli.text.warnings_only import WarningsOnly
from ch12cli.distributed.torchrun import refuse_sweep
from ch12cli.errors import InputError, Problem
from ch12cli.files.command import options_for, override_key
from ch12cli.shell import shell_line

if TYPE_CHECKING:
    from ch12cli.cli.text.sweep_display import SweepDisplay
    from ch12cli.run.train import Outcome
    from ch12cli.sweeps.start import Finished

EXIT_CODES = {"finished": 0, "diverged": 5}
FAILED_JOBS = 3


def parser() -> Arguments:
    arguments = Arguments("train", own_help=True)
    arguments.add_argument("-m", "--multirun", action="store_true")
    arguments.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    arguments.add_argument("--resolve", action="store_true")
    arguments.add_argument("-p", "--package")
    arguments.add_argument("-cd", "--config-dir", type=Path, action="append", default=[])
    arguments.add_argument("-cn", "--config-name", default="config")
    arguments.add_verbosity()
    arguments.add_format()
    arguments.add_argument(
        "--plan", action="store_true", help="with -m: print what would be trained, and train nothing"
    )
    arguments.add_argument(
        "--jobs", type=Path, metavar="FILE", help="train the jobs of a CSV or YAML file, a row of overrides each"
    )
    arguments.add_argument(
        "--write", type=Path, metavar="FILE", help="with --plan: write the jobs to a new CSV or YAML file"
    )
    arguments.add_argument(
        "--best-of",
        metavar="SWEEP",
        help="train the best setting of a sweep again, with changes such as 'seed=range(20)'",
    )
    arguments.add_argument(
        "--detach", action="store_true", help="with hydra/launcher=slurm: return when the sweep is submitted"
    )
    return arguments


# Options of Hydra that ch12 does not have, and what to type instead.
REFUSED = {
    "--config-path": "ch12's own configuration cannot be replaced; add a folder to it with --config-dir",
    "-cp": "ch12's own configuration cannot be replaced; add a folder to it with --config-dir",
    "--info": "ch12 has `ch12 train --cfg all`, and `ch12 explain KEY` for where a value comes from",
    "-i": "ch12 has `ch12 train --cfg all`, and `ch12 explain KEY` for where a value comes from",
    "--hydra-help": "ch12 has `ch12 train --help`, and `ch12 train --cfg hydra` for Hydra's own settings",
    "--run": "is what ch12 train does without -m; leave it out",
    "-r": "is what ch12 train does without -m; leave it out",
    "--shell-completion": "ch12 has `ch12 completion`",
    "-sc": "ch12 has `ch12 completion`",
}


def refuse_hydras_options(argv: Sequence[str]) -> None:
    """InputError for options of Hydra that ch12 does not have."""
    names = [word.partition("=")[0] for word in argv if word.startswith("-")]
    problems = [Problem(name, None, REFUSED[name]) for name in names if name in REFUSED]
    if problems:
        raise InputError(problems)


def run(argv: Sequence[str]) -> int:
    refuse_hydras_options(argv)
    options = parser().read(argv, check=require_valid_options)
    if options.help:
        from ch12cli.cli.help.overview import format_train_help

        show_page(format_train_help(options.config_dir))
        return 0
    if options.best_of is not None:
        use_best_setting(options)
    if (options.resolve and not options.cfg) or (options.package and not options.cfg):
        raise InputError("--resolve and --package: only with --cfg; add --cfg job")
    if options.cfg and options.format == "json":
        raise InputError("--format json: not with --cfg, which prints YAML")
    if options.cfg:
        return show_configuration(options)
    many = options.multirun or options.jobs is not None or is_sweep_by_file(options)
    if options.plan and not many:
        raise InputError("--plan: only for a sweep, add -m")
    if options.write and not options.plan:
        raise InputError("--write: only with --plan")
    if options.plan and options.format == "json":
        raise InputError("--format json: not with --plan; its --write FILE writes the jobs as CSV or YAML")
    launcher = next((word for word in options.operands if word.lstrip("+").startswith("hydra/launcher=")), "")
    if launcher and not many:
        raise InputError(f"{launcher}: only for a sweep; add -m, or leave it out")
    if options.detach:
        if not many or not (options.config_dir or any("hydra/launcher=" in word for word in options.operands)):
            raise InputError("--detach: only for a sweep that Slurm trains; add -m hydra/launcher=slurm")
        options.operands = [*options.operands, "hydra.launcher.wait=false"]
    if options.plan:
        return show_plan(options)
    if many:
        refuse_sweep(shell_line(["ch12", "train", *argv]))
    return train_sweep(options) if many else train_one(options)


def use_best_setting(options: argparse.Namespace) -> None:
    """Puts the overrides of a sweep's best setting before those of the command line. Several values mean -m."""
    from ch12cli.catalogue.best_setting import best_command
    from ch12cli.cli.help.arguments import find_run
    from ch12cli.config.compose import Composer
    from ch12cli.config.hydra_internals import hydra_session
    from ch12cli.config.recorded import data_left_behind

    sweep = find_run(options.best_of)
    words, overrides = best_command(sweep)
    named = dict(zip(words[::2], words[1::2], strict=True))
    options.config_dir = [
        *options.config_dir,
        *(Path(folder) for word, folder in zip(words[::2], words[1::2], strict=True) if word == "--config-dir"),
    ]
    options.config_name = named.get("--config-name", options.config_name)
    given = {override_key(word) for word in options.operands}
    options.operands = [*(word for word in overrides if override_key(word) not in given), *options.operands]
    with hydra_session():
        parsed = Composer(options.config_dir, config_name=options.config_name).parse(options.operands, [])
    single = {each.key_or_group: each.value() for each in parsed if not each.is_sweep_override()}
    dataset = {key.removeprefix("dataset."): value for key, value in single.items() if key.startswith("dataset.")}
    if problems := data_left_behind(dataset, sweep):
        raise InputError(problems)
    options.multirun = options.multirun or any(override.is_sweep_override() for override in parsed)


def is_sweep_by_file(options: argparse.Namespace) -> bool:
    """True if `hydra.mode` is MULTIRUN on the command line or in a file, as if -m were given."""
    in_words = any("hydra.mode" in word or "hydra.searchpath" in word for word in options.operands)
    if not (options.config_dir or in_words):
        return False
    from ch12cli.config.compose import Composer
    from ch12cli.config.hydra_internals import hydra_session

    with hydra_session():
        return Composer(options.config_dir, config_name=options.config_name).asks_for_sweep(options.operands)


def require_valid_options(options: argparse.Namespace) -> None:
    """InputError with every problem in the configuration of the run or sweep."""
    from ch12cli.config.compose import Composer
    from ch12cli.config.hydra_internals import hydra_session

    with hydra_session():
        composer = Composer(options.config_dir, config_name=options.config_name)
        if options.multirun or options.jobs is not None:
            from ch12cli.sweeps.start import open_sweep

            open_sweep(options.operands, composer, options.jobs)
        else:
            from ch12cli.run.start import checked

            checked(composer, options.operands)


def show_configuration(options: argparse.Namespace) -> int:
    """Prints the composed configuration, as Hydra's --cfg does."""
    from ch12cli.config.compose import Composer, format_configuration
    from ch12cli.config.hydra_internals import hydra_session

    with hydra_session():
        composer = Composer(options.config_dir, config_name=options.config_name)
        if options.multirun:
            composer.several_hint = "give one value, as --cfg shows one job"
        print(
            format_configuration(
                composer, options.operands, part=options.cfg, package=options.package, resolve=options.resolve
            )
        )
    return 0


def train_one(options: argparse.Namespace) -> int:
    """Trains one run and shows it. Returns the exit code."""
    from ch12cli.cli.text.run_display import RunDisplay
    from ch12cli.run.start import train_single

    train = partial(
        train_single, options.operands, folders=options.config_dir, config_name=options.config_name, log=True
    )
    if options.format == "json":
        silent = WarningsOnly()
        outcome = train(callback=silent)
        return print_run_json(silent.directory, outcome)
    with RunDisplay(verbosity=verbosity_of(options)) as display:
        outcome = train(callback=display)
    return code_of(outcome)


def code_of(outcome: "Outcome | None") -> int:
    """The exit code of a run. outcome: None if there was nothing to do."""
    if outcome is None:
        return 0
    return EXIT_CODES[outcome.status] if outcome.signal is None else 128 + outcome.signal


def print_run_json(directory: Path | None, outcome: "Outcome | None") -> int:
    """Prints what `ch12 show --format json` prints about a run. Returns the exit code."""
    if directory is not None:
        print(json_text(entry_json(entry_at(directory))))
    return code_of(outcome)


def print_sweep_json(finished: "Finished") -> int:
    """Prints what `ch12 show --format json` prints about a sweep. Returns the exit code."""
    print(json_text(entry_json(entry_at(finished.outcome.directory))))
    return code_of_sweep(finished)


def show_plan(options: argparse.Namespace) -> int:
    """Prints the plan of a sweep; with --write also saves its jobs as a file to edit."""
    from ch12cli.cli.text.console import StreamConsole, print_line
    from ch12cli.cli.text.plan_view import format_plan
    from ch12cli.sweeps.start import plan_many

    if options.write is not None:
        from ch12cli.sweeps.jobs_file import refuse_existing, write_jobs

        refuse_existing(options.write)  # before the plan, which takes time
    plan, estimates = plan_many(
        options.operands, folders=options.config_dir, config_name=options.config_name, jobs_file=options.jobs
    )
    console = StreamConsole()
    for line in format_plan(plan, estimates):
        print_line(console, line)
    if options.write is not None:
        write_jobs(options.write, list(plan.jobs.values()))
        print_line(console, f"wrote the jobs to {options.write}; train them with: {command_for(options)}")
    return 0


def command_for(options: argparse.Namespace) -> str:
    """The command that trains the jobs that were written, with the options that their table does not hold."""
    composed = options_for(options.config_dir, options.config_name, ())
    hydra = [each for each in options.operands if each.lstrip("+~").startswith(("hydra.", "hydra/"))]
    return shell_line(["ch12", "train", "-m", *composed, "--jobs", str(options.write), *hydra])


def train_sweep(options: argparse.Namespace) -> int:
    """Trains a sweep and shows it. Returns the exit code."""
    from ch12cli.cli.text.sweep_display import SweepDisplay
    from ch12cli.sweeps.start import train_many

    train = partial(
        train_many,
        options.operands,
        folders=options.config_dir,
        config_name=options.config_name,
        jobs_file=options.jobs,
    )
    if options.format == "json":
        return print_sweep_json(train(callback=WarningsOnly()))
    with SweepDisplay(verbosity=verbosity_of(options)) as display:
        return show_end(display, train(callback=display))


def show_end(display: "SweepDisplay", finished: "Finished") -> int:
    """Shows how a sweep ended. Returns the exit code: 3 for failed jobs, 130 or 143 on a signal."""
    outcome = finished.outcome
    for difference in finished.differences:
        if difference.error:
            display.on_message(f"job {difference.job} could not be verified: {difference.error}", warning=True)
            continue
        display.on_message(
            f"verified job {difference.job}: weights differ from the single run by {difference.weights:.1e} of the "
            f"largest, the objective by {difference.objective:.1e}"
        )
    if len(finished.differences) < finished.to_verify:
        display.on_message(
            f"{len(finished.differences)} of {count_of(finished.to_verify, 'job')} verified: "
            "no other job trained all epochs"
        )
    display.end(outcome, monitor=finished.monitor)
    return code_of_sweep(finished)


def code_of_sweep(finished: "Finished") -> int:
    """The exit code of a sweep: 3 for failed jobs, 130 or 143 on a signal."""
    outcome = finished.outcome
    if outcome.signal is not None:
        return 128 + outcome.signal
    return FAILED_JOBS if outcome.failed else 0
