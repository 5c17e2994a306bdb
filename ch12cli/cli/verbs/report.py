"""`ch12 report`: writes one HTML page about a run or a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from ch12cli.catalogue.entries import Entry


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
    from ch12cli.report.contents import sweep_page

    path = find_run(options.operands[0])
    found = entry_at(path)
    with refuse_wrong_form(path):
        is_sweep = found.kind == "sweep"
        trust = needs_trust(path, EVERY_USE if is_sweep else Use.DATA | Use.COMPILER)
        option = " --trust" if trust else ""
        content = (sweep_page if is_sweep else content_of_run)(found, trust=option)
    write_whole(target, content)
    print(target)
    return 0


def content_of_run(entry: "Entry", *, trust: str) -> bytes:
    """The page about a run. torch is imported only where the run has a network without a record of its predictions."""
    from ch12cli.files.compact.run_files import recorded_job
    from ch12cli.files.predictions.predictions_npz import recorded_predictions
    from ch12cli.files.run_directory import CHECKPOINTS, LAST
    from ch12cli.plots.recorded import subject
    from ch12cli.report.contents import run_page
    from ch12cli.report.network import largest_errors, network_figures, summary

    path = entry.path
    found = recorded_predictions(path)
    if found is None and ((path / CHECKPOINTS / LAST).exists() or recorded_job(path) is not None):
        from ch12cli.saved.predictions import predict_for_page

        found = predict_for_page(path)
    if found is None:
        return run_page(entry, trust=trust)
    figures = network_figures(found, subject(path))
    return run_page(entry, trust=trust, plots=figures, errors=largest_errors(found), data=summary(found))
