"""`ch12 report`: writes one HTML page about a run or a sweep."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments
from ch12cli.errors import InputError, MachineError

if TYPE_CHECKING:
    from ch12cli.plots.plot import Plot


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
        option = " --trust" if trust else ""
        content = (
            sweep_page(found, trust=option) if is_sweep else run_page(found, trust=option, plots=network_plots(path))
        )
    write_whole(target, content)
    print(target)
    return 0


def network_plots(path: Path) -> list["Plot"]:
    """The confusion matrix and the boundary of a classifier, or the line of a regression.

    What cannot be drawn is left out, such as that of a run without a checkpoint, or with classes of somebody's own.
    """
    from ch12cli.plots.recorded import subject
    from ch12cli.saved import model_plots

    name = subject(path)
    last, own = False, False  # the last weights; no classes of somebody's own
    makers = [
        partial(model_plots.confusion, path, title=f"{name}: confusion matrix", split=None, best=last, trust=own),
        partial(model_plots.boundary_plot, path, title=f"{name}: boundary", features=None, best=last, trust=own),
        partial(model_plots.line, path, title=f"{name}: regression line", features=None, best=last, trust=own),
    ]
    found = []
    for make in makers:
        try:
            found.append(make()[0])
        except (InputError, MachineError):
            continue
    return found
