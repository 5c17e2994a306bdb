"""`ch12 plot`: plots of runs and sweeps, in the terminal or as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.text.problems import print_warnings
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from ch12cli.plots.plot import Plot

PLOT_KINDS = {
    "curve": "loss and metric by epoch",
    "boundary": "the predicted class over two features",
    "confusion": "true classes against predicted classes",
    "line": "a regression line along one feature",
    "heatmap": "a sweep over two keys",
    "slice": "a sweep over one key",
    "importance": "the weight of each key of a sweep",
    "distribution": "the distribution of a sweep's results",
}
SWEEP_KINDS = ("heatmap", "slice", "importance", "distribution")
RUN_KINDS = {"boundary": "decision boundary", "confusion": "confusion matrix", "line": "regression line"}
KINDS_OF_OPTION = {
    "x": ("heatmap", "slice"),
    "y": ("heatmap",),
    "features": ("boundary", "line"),
    "split": ("confusion",),
    "metric": ("curve", *SWEEP_KINDS),
}
PIPE_HEIGHT = 24  # lines of a plot that is not printed on a terminal


def parser() -> Arguments:
    arguments = Arguments("plot")
    arguments.add_argument("--kind", choices=list(PLOT_KINDS), help="the kind of plot (default: depends on the run)")
    arguments.add_argument(
        "-o", "--output", type=Path, action="append", default=[], metavar="FILE", help=".png or .svg; may be repeated"
    )
    arguments.add_argument("--metric", metavar="COLUMN", help="a column of metrics.csv, or of sweep.csv")
    arguments.add_argument("--x", metavar="KEY", help="the key of the x axis: of a heat map or a slice")
    arguments.add_argument("--y", metavar="KEY", help="the key of the y axis: of a heat map")
    arguments.add_argument("--features", metavar="A,B", help="two features for a boundary, one for a line")
    arguments.add_argument("--split", choices=["train", "valid", "test", "all"], help="part for a confusion matrix")
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="default: last")
    arguments.add_trust()
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
    plot, warnings = requested_plot([find_run(name) for name in options.operands], options)
    print_warnings(warnings)
    if not options.output:
        print_plot(plot)
        return 0
    from ch12cli.files.atomic import write_whole
    from ch12cli.plots.matplotlib_drawer import render

    contents = {path: render(plot, path.suffix.lower()[1:]) for path in options.output}
    for path, content in contents.items():
        write_whole(path, content)
        print(path)
    return 0


def requested_plot(paths: Sequence[Path], options: Any) -> tuple["Plot", list[str]]:
    """The plot that the options ask for, and warnings about it."""
    from ch12cli.files.sweep_csv import is_sweep
    from ch12cli.plots import recorded

    sweeps = [path for path in paths if is_sweep(path)]
    if sweeps and len(paths) > 1:
        raise InputError(f"{sweeps[0]}: a sweep is plotted by itself; name one of its runs, such as {sweeps[0]}/0")
    kind = options.kind or (recorded.default_kind(sweeps[0]) if sweeps else "curve")
    for option, kinds in KINDS_OF_OPTION.items():
        if getattr(options, option) is not None and kind not in kinds:
            raise InputError(f"--{option}: only for --kind {' or '.join(kinds)}; this plot is a {kind}")
    if kind in RUN_KINDS:
        if sweeps or len(paths) > 1:
            example = f"{sweeps[0]}/0" if sweeps else str(paths[0])
            raise InputError(f"--kind {kind}: shows a single run; name one, such as {example}")
        return network_plot(paths[0], kind, options)
    if kind in SWEEP_KINDS:
        return recorded.sweep_plot(paths, kind, metric=options.metric, x=options.x, y=options.y), []
    if sweeps:
        return recorded.sweep_curves(sweeps[0], metric=options.metric), []
    return recorded.run_curves(paths, options.metric), []


def network_plot(path: Path, kind: str, options: Any) -> tuple["Plot", list[str]]:
    """A boundary, a confusion matrix or a regression line of a run's network, and warnings about it."""
    from ch12cli.plots.recorded import subject
    from ch12cli.saved import model_plots

    title = f"{subject(path)}: {RUN_KINDS[kind]}"
    best, trust = options.checkpoint == "best", options.trust
    if kind == "confusion":
        return model_plots.confusion(path, title=title, split=options.split, best=best, trust=trust)
    make = model_plots.boundary_plot if kind == "boundary" else model_plots.line
    return make(path, title=title, features=options.features, best=best, trust=trust)


def print_plot(plot: "Plot") -> None:
    """Prints a plot as text, as wide and high as the terminal."""
    from rich.text import Text

    from ch12cli.cli.text.screen import Screen
    from ch12cli.plots.text_drawer import draw_text

    with Screen() as screen:
        console = screen.console
        height = console.height - 2 if console.is_terminal else PIPE_HEIGHT
        for line in draw_text(plot, width=console.width, height=height, ascii_only=screen.ascii_only):
            screen.print([Text.assemble(*((text, style or "") for text, style in line))])
