"""`ch12 eval`: a saved run's figures on parts of its data."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.formatting import format_number, metric_label
from ch12cli.cli.help.arguments import Arguments, run_directory
from ch12cli.cli.help.page import heading, join_pages, printable
from ch12cli.cli.text.tables import PARTS, format_table

if TYPE_CHECKING:
    from ch12cli.saved.evaluate import Evaluation, PartFigures

SHARES = ("precision", "recall", "f1")
COLUMNS = ("split", "figure", "class", "predicted", "value")  # of the CSV form, a row a figure


def parser() -> Arguments:
    arguments = Arguments("eval")
    arguments.add_argument(
        "--split",
        choices=["train", "valid", "test", "all"],
        help="part of the data; all: each in turn; else test if there is one, valid, train",
    )
    arguments.add_argument(
        "--checkpoint",
        choices=["best", "last"],
        default="last",
        help="the network as it was after its best epoch, or after its last (the default)",
    )
    arguments.add_argument(
        "--format", choices=["table", "json", "csv"], default="table", help="how to print it; csv and json in full"
    )
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = run_directory("eval", options.operands)
    from ch12cli.cli.text.problems import print_warnings
    from ch12cli.saved.evaluate import evaluate

    evaluation = evaluate(directory, split=options.split, best=options.checkpoint == "best", trust=options.trust)
    print_warnings(evaluation.messages)
    forms = {"table": format_evaluation, "json": evaluation_json, "csv": evaluation_csv}
    print(forms[options.format](directory, options.checkpoint, evaluation))
    return 0


def format_evaluation(directory: Path, checkpoint: str, evaluation: "Evaluation") -> str:
    """The figures as tables: the metrics, and for classes the confusion matrix and what follows from it."""
    names = [printable(name) for name in evaluation.class_names or ()]
    blocks = [[printable(f"{directory}, {checkpoint} checkpoint: after epoch {evaluation.epoch}")]]
    for name, part in evaluation.parts.items():
        blocks.append([heading(f"{PARTS[name] or 'test'}: {part.rows} row{'' if part.rows == 1 else 's'}")])
        figures = [(printable(metric_label(m)), format_number(m, value)) for m, value in part.metrics.items()]
        blocks[-1] += format_table(figures)
        if part.confusion is not None:
            blocks += [format_confusion(part, names), format_classes(part, names)]
    return join_pages(blocks)


def format_confusion(part: "PartFigures", names: Sequence[str]) -> list[str]:
    assert part.confusion is not None
    rows = [[name, *map(str, counts)] for name, counts in zip(names, part.confusion.tolist(), strict=True)]
    return ["true class down, predicted across:", *format_table([["", *names], *rows])]


def format_classes(part: "PartFigures", names: Sequence[str]) -> list[str]:
    from ch12cli.saved.evaluate import by_class

    assert part.confusion is not None
    rows = [
        [name, *(format_number("accuracy", figures[share]) for share in SHARES), str(figures["support"])]
        for name, figures in zip(names, by_class(part.confusion), strict=True)
    ]
    return format_table([["", *SHARES, "support"], *rows])


def evaluation_json(directory: Path, checkpoint: str, evaluation: "Evaluation") -> str:
    """The figures in full, as JSON in ASCII; what is not finite, or a share of nothing, is null."""
    from ch12cli.saved.evaluate import by_class

    parts: dict[str, Any] = {}
    for name, part in evaluation.parts.items():
        parts[name] = {"rows": part.rows, **{m: finite(value) for m, value in part.metrics.items()}}
        if part.confusion is not None and evaluation.class_names is not None:
            parts[name]["confusion"] = part.confusion.tolist()
            parts[name]["classes"] = dict(zip(evaluation.class_names, by_class(part.confusion), strict=True))
    return json.dumps(
        {"run": str(directory), "checkpoint": checkpoint, "epoch": evaluation.epoch, "parts": parts}, indent=2
    )


def evaluation_csv(directory: Path, checkpoint: str, evaluation: "Evaluation") -> str:
    """The figures in full, a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, part in evaluation.parts.items():
        writer.writerow([name, "rows", "", "", part.rows])
        writer.writerows([name, m, "", "", repr(value)] for m, value in part.metrics.items())
        writer.writerows([name, *row] for row in class_rows(part, evaluation.class_names or ()))
    return text.getvalue().rstrip("\n")


def class_rows(part: "PartFigures", names: Sequence[str]) -> Iterator[list[Any]]:
    """(figure, class, predicted class, value) of each class."""
    from ch12cli.saved.evaluate import by_class

    if part.confusion is None:
        return
    names = [printable(name) for name in names]
    for name, figures in zip(names, by_class(part.confusion), strict=True):
        yield from ([figure, name, "", value] for figure, value in figures.items())
    for name, counts in zip(names, part.confusion.tolist(), strict=True):
        yield from (["confusion", name, found, count] for found, count in zip(names, counts, strict=True))


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
