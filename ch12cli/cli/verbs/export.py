"""`ch12 export`: writes a saved run's network for other programs, the run as a program, or a sweep as a study."""

from collections.abc import Sequence
from pathlib import Path

from ch12cli.cli.help.arguments import Arguments, find_run_directory_operand
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import is_sweep

STUDY = "optuna"  # the format of a sweep
EXPORT_SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "script": ".py"}


def parser() -> Arguments:
    arguments = Arguments("export")
    arguments.add_argument("--format", choices=[*EXPORT_SUFFIXES, STUDY], default="script", help="default: script")
    arguments.add_argument(
        "-o", "--output", metavar="FILE", help="default: the run's name, in this directory; of a study also a URL"
    )
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="default: last")
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if options.format == STUDY:
        return export_study(options.operands, options.output)
    directory = find_run_directory_operand("export", options.operands)
    suffix = EXPORT_SUFFIXES[options.format]
    target = Path(options.output or f"{export_name(directory.resolve())}{suffix}")
    if target.suffix != suffix:
        raise InputError(f"-o {target}: must end in {suffix} for --format {options.format}")
    if not target.parent.is_dir():
        raise InputError(f"-o {target}: there is no directory {target.parent}")
    if options.output is None and target.exists():  # overwrite only a file that the user names
        raise InputError(f"{target}: exists already; add -o {target} to overwrite it, or -o with another name")
    from ch12cli.cli.text.problems import print_warnings
    from ch12cli.files.atomic import write_whole
    from ch12cli.files.command import command_of_run
    from ch12cli.files.run_directory import HYDRA
    from ch12cli.saved.export import export

    exported = export(
        directory,
        options.format,
        name=target.stem,
        command=command_of_run(directory / HYDRA),
        best=options.checkpoint == "best",
        trust=options.trust,
    )
    for name, content in exported.files.items():
        write_whole(target.with_name(name), content)
        print(target.with_name(name))
    if exported.checked:
        print(exported.checked)
    print_warnings(exported.messages)
    return 0


def export_study(operands: Sequence[str], output: str | None) -> int:
    """Writes a sweep as a study of Optuna. output: a journal file, or the URL of a database."""
    from ch12cli.catalogue.formatting import count_of
    from ch12cli.cli.help.arguments import find_run
    from ch12cli.search.optuna_study import require_optuna, write_study

    if len(operands) != 1:
        raise InputError("export --format optuna: name one sweep: ch12 export SWEEP --format optuna -o study.log")
    sweep = find_run(operands[0])
    if not is_sweep(sweep):
        raise InputError(f"{sweep}: is no sweep, and a study has the trials of one")
    target = output or f"{sweep.resolve().name}.log"
    if "://" not in target:
        if not Path(target).parent.is_dir():
            raise InputError(f"-o {target}: there is no directory {Path(target).parent}")
        if output is None and Path(target).exists():
            raise InputError(f"{target}: exists already; add -o {target} to write the study into it")
    require_optuna("--format optuna")
    written = write_study(sweep, target)
    states = ", ".join(f"{count} {'failed' if state == 'fail' else state}" for state, count in written.states.items())
    print(target)
    print(f"study {written.name}: {count_of(sum(written.states.values()), 'trial')} ({states})")
    if written.left_out:
        print(f"left out: {count_of(written.left_out, 'job')} without a result")
    return 0


def export_name(directory: Path) -> str:
    """The default name of the exported file: that of the run's directory, for a job that of the sweep and its
    number."""
    above = directory.parent
    return f"{above.name}-{directory.name}" if is_sweep(above) else directory.name
