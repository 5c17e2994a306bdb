"""`ch12 plot`: plots of runs and sweeps, in the terminal or as PDF, PNG and SVG files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.text.problems import print_problems, print_warnings
from ch12cli.errors import InputError
from ch12cli.files.plain_values import whole_number_in
from ch12cli.plots.figure_style import STYLES, FigureOptions

if TYPE_CHECKING:
    from ch12cli.plots.plot import Plot

PLOT_KINDS = {
    "curve": "loss and metric by epoch",
    "norms": "norms of gradient and weights by epoch (record_norms=true)",
    "boundary": "the predicted class over two features",
    "confusion": "true classes against predicted classes",
    "line": "a regression line along one feature",
    "roc": "true against false positives, for two classes",
    "calibration": "observed shares against predicted probabilities, for two classes",
    "residuals": "the errors of a regression against its predictions",
    "predictions": "pictures with their predicted classes",
    "heatmap": "a sweep over two keys",
    "slice": "a sweep over one key, with a line for each value of another",
    "pair": "two metrics of a sweep against each other",
    "parallel": "a line for each job across all keys and the metric",
    "history": "the results of a sweep's settings in order, and the best so far",
    "importance": "the weight of each key of a sweep",
    "distribution": "the distribution of a sweep's results",
}
SWEEP_KINDS = ("heatmap", "slice", "pair", "parallel", "history", "importance", "distribution")
RUN_KINDS = {"boundary": "decision boundary", "confusion": "confusion matrix", "line": "regression line"}
PREDICTION_KINDS = {"roc": "ROC", "calibration": "calibration", "residuals": "residuals", "predictions": "predictions"}
KINDS_OF_OPTION = {
    "x": ("heatmap", "slice"),
    "y": ("heatmap",),
    "features": ("boundary", "line"),
    "split": ("confusion", "roc", "calibration", "residuals", "predictions"),
    "by": ("slice",),
    "facet": ("slice",),
    "all": ("slice",),
    "pool": ("heatmap", "slice"),
    "where": ("curve", "norms", *SWEEP_KINDS),
    "scale": ("curve", "norms", "slice", "pair", "parallel", "history", "distribution"),
    "metric": ("curve", *SWEEP_KINDS),
}
NORMS = "grad_norm,weight_norm"  # columns of metrics.csv
FORMS = (".png", ".svg", ".pdf")
DPI = (20, 2400)  # dots per inch of a PNG: least and most
SIZE = (1.0, 60.0)  # inches of a side: least and most
MOST_LETTERS = 12  # without a font that are named
PIPE_HEIGHT = 24  # lines of a plot that is not printed on a terminal


def parser() -> Arguments:
    arguments = Arguments("plot")
    arguments.add_argument(
        "--kind",
        choices=PLOT_KINDS,
        metavar="KIND",
        help="the kind of plot, of those below (default: depends on the run)",
    )
    arguments.add_argument(
        "-o", "--output", type=Path, action="append", default=[], metavar="FILE", help=".pdf, .png or .svg; repeatable"
    )
    arguments.add_argument("--metric", metavar="COLUMN", help="a column of metrics.csv or sweep.csv; two for a pair")
    arguments.add_argument("--x", metavar="KEY", help="the key of the x axis: of a heat map or a slice")
    arguments.add_argument("--by", metavar="KEY", help="a line for each value of this key: of a slice")
    arguments.add_argument("--facet", metavar="KEY", help="a panel for each value of this key: of a slice")
    arguments.add_argument("--y", metavar="KEY", help="the key of the y axis: of a heat map")
    arguments.add_argument("--all", action="store_true", default=None, help="each run in place of 95 % intervals")
    arguments.add_argument(
        "--pool",
        action="store_true",
        default=None,
        help="average over keys not shown (default: their best setting)",
    )
    arguments.add_argument("--where", metavar="FILTER", help="the jobs to plot, as in `ch12 runs --filter`")
    arguments.add_argument("--scale", choices=["linear", "log"], help="of the metric (default: depends on its range)")
    arguments.add_argument("--title", metavar="TEXT", help="the title; '' for none")
    arguments.add_argument("--style", choices=["screen", "paper", "slides"], default="screen", help="fonts and size")
    arguments.add_argument("--size", metavar="W,H", help="width and height of the file in inches")
    arguments.add_argument("--dpi", metavar="N", default="200", help="dots per inch of a PNG (default: 200)")
    arguments.add_argument("--data", type=Path, metavar="FILE.csv", help="also write the plotted numbers as CSV")
    arguments.add_argument("--features", metavar="A,B", help="two features for a boundary, one for a line")
    arguments.add_argument("--split", choices=["train", "valid", "test", "all"], help="the part of the data")
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="default: last")
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("plot: no run given; name runs or a sweep: ch12 plot @1")
    for path in options.output:
        require_target("-o", path, FORMS)
    if options.data is not None:
        require_target("--data", options.data, (".csv",))
    look = figure_options(options)
    plot, warnings = requested_plot([find_run(name) for name in options.operands], options)
    if options.title is not None:
        plot = replace(plot, title=options.title)
    print_warnings(warnings)
    contents: dict[Path, bytes] = {}
    if options.output:
        from ch12cli.plots.matplotlib_drawer import letters_without_font, render
        from ch12cli.plots.plotted_data import to_plotted_csv

        drawn = any(path.suffix.lower() != ".svg" for path in options.output)  # an SVG keeps letters for its viewer
        if drawn and (lacking := letters_without_font(f"{plot.title}{to_plotted_csv(plot).decode()}")):
            shown = f"{lacking[:MOST_LETTERS]}{'…' * (len(lacking) > MOST_LETTERS)}"
            print_warnings([f"no installed font has {shown}: boxes are drawn; install one, such as Noto Sans"])
        if STYLES[look.style].captioned and (caption := [*plot.notes, *plot.legend]):
            print_problems([f"for the caption: {note}" for note in caption])
        contents = {path: render(plot, path.suffix.lower()[1:], options=look) for path in options.output}
    else:
        print_plot(plot)
    if options.data is not None:
        from ch12cli.plots.plotted_data import to_plotted_csv

        contents[options.data] = to_plotted_csv(plot)
    from ch12cli.files.atomic import write_whole

    for path, content in contents.items():
        write_whole(path, content)
        print(path)
    return 0


def require_target(option: str, path: Path, endings: Sequence[str]) -> None:
    """Raises InputError for a file with another ending, or in a directory that does not exist."""
    if path.suffix.lower() not in endings:
        listed = f"{', '.join(endings[:-1])} or {endings[-1]}" if len(endings) > 1 else endings[0]
        raise InputError(f"{option} {path}: must end in {listed}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no directory {path.parent}")


def figure_options(options: Any) -> FigureOptions:
    """What the user chose about a file. Raises InputError for values out of range."""
    dpi = whole_number_in(options.dpi)
    if dpi is None or not DPI[0] <= dpi <= DPI[1]:
        raise InputError(f"--dpi {options.dpi}: must be a whole number from {DPI[0]} to {DPI[1]}")
    size = None
    if options.size is not None:
        sides = options.size.lower().replace("x", ",").split(",")
        try:
            width, height = (float(side) for side in sides)
        except ValueError:
            raise InputError(f"--size {options.size}: must be width and height in inches, as in 3.3,2.5") from None
        if not (SIZE[0] <= width <= SIZE[1] and SIZE[0] <= height <= SIZE[1]):
            raise InputError(f"--size {options.size}: each side must be from {SIZE[0]:g} to {SIZE[1]:g} inches")
        size = (width, height)
    return FigureOptions(options.style, size, dpi)


def requested_plot(paths: Sequence[Path], options: Any) -> tuple["Plot", list[str]]:
    """The plot that the options ask for, and warnings about it."""
    from ch12cli.files.sweep_csv import is_sweep
    from ch12cli.plots import recorded

    sweeps = [path for path in paths if is_sweep(path)]
    if sweeps and len(paths) > 1:
        raise InputError(f"{sweeps[0]}: a sweep is plotted by itself; name one of its runs, such as {sweeps[0]}/0")
    asks_for_lines = options.by is not None or options.facet is not None
    by_keys = any(option is not None for option in (options.x, options.y, options.pool))
    if options.kind:
        kind = options.kind
    elif asks_for_lines:
        kind = "slice"
    else:
        kind = recorded.default_kind(sweeps[0], options.where, by_keys=by_keys) if sweeps else "curve"
    log = None if options.scale is None else options.scale == "log"
    for option, kinds in KINDS_OF_OPTION.items():
        if getattr(options, option) is not None and kind not in kinds:
            raise InputError(f"--{option}: only for --kind {' or '.join(kinds)}; this plot is a {kind}")
    if kind in RUN_KINDS or kind in PREDICTION_KINDS:
        if sweeps or len(paths) > 1:
            example = f"{sweeps[0]}/0" if sweeps else str(paths[0])
            raise InputError(f"--kind {kind}: shows a single run; name one, such as {example}")
        return network_plot(paths[0], kind, options)
    if kind in SWEEP_KINDS:
        shown = {name: getattr(options, name) for name in ("metric", "x", "y", "by", "facet", "where")}
        choice = recorded.SweepChoice(**shown, every=bool(options.all), pooled=bool(options.pool), log=log)
        return recorded.sweep_plot(paths, kind, choice), []
    by_epoch: dict[str, str] = {"metric": NORMS, "what": "norms"} if kind == "norms" else {"metric": options.metric}
    if sweeps:
        return recorded.sweep_curves(sweeps[0], where=options.where, log=log, **by_epoch), []
    if options.where is not None:
        raise InputError("--where: only for a sweep; name the runs to plot")
    return recorded.run_curves(paths, log=log, **by_epoch), []


def network_plot(path: Path, kind: str, options: Any) -> tuple["Plot", list[str]]:
    """A plot of a run's network, and warnings about it."""
    from ch12cli.files.predictions.predictions_npz import recorded_predictions
    from ch12cli.plots.predictions import recorded_plot
    from ch12cli.plots.recorded import subject

    title = f"{subject(path)}: {(RUN_KINDS | PREDICTION_KINDS)[kind]}"
    best, trust, messages = options.checkpoint == "best", options.trust, list[str]()
    shown = {"split": options.split, "features": options.features}
    found = None if best or kind == "predictions" else recorded_predictions(path)
    plot = None if found is None else recorded_plot(found, kind, title=title, place=path, **shown)
    if plot is None:  # torch is imported only where there is no record
        from ch12cli.saved.predictions import Needed, pictures, predict_again

        if kind == "predictions":
            return pictures(path, title=title, split=options.split, best=best, trust=trust)
        found, messages = predict_again(path, Needed(kind, **shown), best=best, trust=trust)
        split = "all" if found.parts else None
        plot = recorded_plot(found, kind, title=title, place=path, split=split, features=None)
        assert plot is not None
    return plot, messages


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
