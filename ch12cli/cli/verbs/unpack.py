"""`ch12 unpack`: writes the ordinary directories of the jobs in a sweep's compact record."""

from collections.abc import Sequence

from ch12cli.catalogue.formatting import count_of
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.text.problems import print_warnings
from ch12cli.errors import InputError, first_few
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
    from ch12cli.saved.unpack import damage_in, unpack_job, unpack_sweep

    if not is_sweep(path):
        print(path if unpack_job(path) else f"{path}: is a directory already")
        return 0
    written = sum(1 for _ in unpack_sweep(path))
    print_warnings(first_few(damage_in(path)))
    print(f"{path}: " + (f"wrote the files of {count_of(written, 'job')}" if written else "nothing is left to unpack"))
    return 0
