"""`ch12 report`: writes one HTML page about a run or a sweep."""

from collections.abc import Sequence
from pathlib import Path

from ch12cli.cli.help.arguments import Arguments
from ch12cli.errors import InputError


def parser() -> Arguments:
    arguments = Arguments("report")
    arguments.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if len(options.operands) != 1:
        raise InputError("report: name one run or sweep: ch12 report @1 -o report.html")
    target: Path = options.output
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"-o {target}: must end in .html")
    if not target.parent.is_dir():
        raise InputError(f"-o {target}: there is no directory {target.parent}")
    from ch12cli.catalogue.damage import refuse_wrong_form
    from ch12cli.catalogue.entries import entry_at
    from ch12cli.cli.help.arguments import find_run
    from ch12cli.config.recorded import needs_trust
    from ch12cli.config.untrusted_settings import EVERY_USE, Use
    from ch12cli.files.atomic import write_whole
    from ch12cli.report.contents import run_page, sweep_page

    path = find_run(options.operands[0])
    found = entry_at(path)
    with refuse_wrong_form(path):
        is_sweep = found.kind == "sweep"
        trust = needs_trust(path, EVERY_USE if is_sweep else Use.DATA | Use.COMPILER)
        content = (sweep_page if is_sweep else run_page)(found, trust=" --trust" if trust else "")
    write_whole(target, content)
    print(target)
    return 0
