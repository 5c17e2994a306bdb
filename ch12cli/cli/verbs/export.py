"""`ch12 export`: a saved run's network for other programs, or the run as a program of its own."""

from collections.abc import Sequence
from pathlib import Path

from ch12cli.cli.help.arguments import Arguments, run_directory
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import is_sweep

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "script": ".py"}


def parser() -> Arguments:
    arguments = Arguments("export")
    arguments.add_argument("--format", choices=list(SUFFIXES), default="script", help="script unless given")
    arguments.add_argument("-o", "--output", type=Path, metavar="FILE", help="the run's name in this directory, else")
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="last unless given")
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = run_directory("export", options.operands)
    suffix = SUFFIXES[options.format]
    target: Path = options.output or Path(f"{name_of(directory.resolve())}{suffix}")
    if target.suffix != suffix:
        raise InputError(f"-o {target}: must end in {suffix} for --format {options.format}")
    if not target.parent.is_dir():
        raise InputError(f"-o {target}: there is no directory {target.parent}")
    if options.output is None and target.exists():  # a name that nobody asked for
        raise InputError(f"{target}: is there already; add -o {target} to write over it, or another name")
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


def name_of(directory: Path) -> str:
    """What a file of a run is called: as its directory, a sweep's job as the sweep and its number."""
    above = directory.parent
    return f"{above.name}-{directory.name}" if is_sweep(above) else directory.name
