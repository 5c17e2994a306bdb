"""`ch12 unpack`: writes the ordinary directories of the jobs in a sweep's compact record."""

from collections.abc import Sequence
from pathlib import Path

from ch12cli.catalogue.formatting import count_of
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import is_sweep


def parser() -> Arguments:
    return Arguments("unpack")


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("unpack: no sweep given; name one, or a job of one: ch12 unpack @1")
    if len(options.operands) > 1:
        raise InputError(f"{options.operands[1]}: unexpected argument; see `ch12 unpack --help`")
    path = find_run(options.operands[0])
    from ch12cli.saved.unpack import unpack_job, unpack_sweep

    if not is_sweep(path):
        print(path if unpack_job(path) else f"{path}: is a directory already")
        return 0
    written = 0
    try:
        for _ in unpack_sweep(path):
            written += 1
    except InputError:
        if written:
            print(wrote(path, written))
        raise
    print(wrote(path, written) if written else f"{path}: nothing is left to unpack")
    return 0


def wrote(path: Path, count: int) -> str:
    return f"{path}: wrote the files of {count_of(count, 'job')}"
