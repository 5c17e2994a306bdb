"""`ch12 plot`: pictures of runs and sweeps, in the terminal, or as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.cli.help.arguments import Arguments
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from ch12cli.plots.plot import Picture

KINDS = {
    "curve": "loss and metric by epoch",
    "boundary": "the class predicted all over two features",
    "confusion": "true classes by predicted ones",
    "line": "a regression along one feature",
    "heatmap": "a sweep over two keys",
    "slice": "a sweep over one key",
    "importance": "the weight of each key of a sweep",
    "distribution": "how a sweep's results are spread",
}
OF_A_SWEEP = ("heatmap", "slice", "importance", "distribution")
OF_A_RUN = ("boundary", "confusion", "line")
USED = {  # options, and the kinds that they are for
    "x": ("heatmap", "slice"),
    "y": ("heatmap",),
    "features": ("boundary", "line"),
    "split": ("confusion",),
    "metric": ("curve", *OF_A_SWEEP),
}
HEIGHT = 24  # lines, where there is no terminal to ask


def parser() -> Arguments:
    arguments = Arguments("plot")
    arguments.add_argument("--kind", choices=list(KINDS), help="what to draw; unless given, what suits what there is")
    arguments.add_argument(
        "-o", "--output", type=Path, action="append", default=[], metavar="FILE", help=".png or .svg; may be repeated"
    )
    arguments.add_argument("--metric", metavar="COLUMN", help="a column of metrics.csv, or of sweep.csv")
    arguments.add_argument("--x", metavar="KEY", help="the key across: of a heat map or a slice")
    arguments.add_argument("--y", metavar="KEY", help="the key down: of a heat map")
    arguments.add_argument("--features", metavar="A,B", help="two features for a boundary, one for a line")
    arguments.add_argument("--split", choices=["train", "valid", "test", "all"], help="part for a confusion matrix")
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="last unless given")
    arguments.add_argument("--trust", action="store_true", help="the run is your own: its own classes may be imported")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("plot: no run given; name runs or a sweep: ch12 plot @1")
    for path in options.output:
        if path.suffix.lower() not in (".png", ".svg"):
            raise InputError(f"-o {path}: must end in .png or .svg")
        if not path.parent.is_dir():
            raise InputError(f"-o {path}: there is no directory {path.parent}")
    from ch12cli.cli.help.arguments import find_run

    picture, messages = picture_of([find_run(word) for word in options.operands], options)
    if messages:
        from ch12cli.cli.text.problems import print_warnings

        print_warnings(messages)
    if options.output:
        from ch12cli.files.atomic import write_whole
        from ch12cli.plots.matplotlib_file import render

        files = {path: render(picture, path.suffix.lower()[1:]) for path in options.output}
        for path, content in files.items():
            write_whole(path, content)
            print(path)
    else:
        show(picture)
    return 0


def picture_of(paths: Sequence[Path], options: Any) -> tuple["Picture", list[str]]:
    """The picture that is asked for, and what a person should know besides."""
    from ch12cli.cli.text import plots
    from ch12cli.files.sweep_csv import is_sweep

    sweeps = [path for path in paths if is_sweep(path)]
    if sweeps and len(paths) > 1:
        raise InputError(f"{sweeps[0]}: is a sweep, which is drawn by itself; give one of its runs, as {sweeps[0]}/0")
    kind = options.kind or (plots.default_kind(sweeps[0]) if sweeps else "curve")
    for option, kinds in USED.items():
        if getattr(options, option) is not None and kind not in kinds:
            raise InputError(f"--{option}: is for --kind {' or '.join(kinds)}; what is to be drawn here is a {kind}")
    if kind in OF_A_RUN:
        if sweeps or len(paths) > 1:
            example = f"{sweeps[0]}/0" if sweeps else str(paths[0])
            raise InputError(f"--kind {kind}: shows a single run; give one, as {example}")
        return plots.of_a_run(paths[0], kind, options)
    if kind in OF_A_SWEEP:
        return plots.of_a_sweep(paths, kind, metric=options.metric, x=options.x, y=options.y), []
    return plots.curves(sweeps[0], metric=options.metric) if sweeps else plots.curves_of_runs(paths, options.metric), []


def show(picture: "Picture") -> None:
    """Draws a picture in the terminal, or as text in a pipe."""
    from rich.text import Text

    from ch12cli.cli.text.screen import Screen
    from ch12cli.plots.terminal import draw

    with Screen() as screen:
        console = screen.console
        height = console.height - 2 if console.is_terminal else HEIGHT
        for line in draw(picture, width=console.width, height=height, ascii_only=screen.ascii_only):
            screen.print([Text.assemble(*((text, style or "") for text, style in line))])
