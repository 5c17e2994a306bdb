"""`ch12 export`: writes a saved run's network for other programs, or the run as a program."""

from collections.abc import Sequence
from pathlib import Path

from ch12cli.cli.help.arguments import Arguments, find_run_directory_operand
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import is_sweep

EXPORT_SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "script": ".py"}


def parser() -> Arguments:
    arguments = Arguments("export")
    arguments.add_argument("--format", choices=list(EXPORT_SUFFIXES), default="script", help="default: script")
    arguments.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the run's name, in this directory"
    )
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="default: last")
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = find_run_directory_operand("export", options.operands)
    suffix = EXPORT_SUFFIXES[options.format]
    target: Path = options.output or Path(f"{export_name(directory.resolve())}{suffix}")
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


def export_name(directory: Path) -> str:
    """The default name of the exported file: that of the run's directory, for a job that of the sweep and its
    number."""
    above = directory.parent
    return f"{above.name}-{directory.name}" if is_sweep(above) else directory.name
