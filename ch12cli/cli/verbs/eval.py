"""`ch12 eval`: computes the metrics of a saved run on parts of its data."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.formatting import format_number, metric_label
from ch12cli.cli.help.arguments import Arguments, find_run_directory_operand
from ch12cli.cli.help.page import heading, join_pages, printable
from ch12cli.cli.text.tables import PARTS, format_table
from ch12cli.files.hydra_folder import is_ensemble, read_keys
from ch12cli.files.run_directory import HYDRA

if TYPE_CHECKING:
    from ch12cli.saved.evaluate import Evaluation, PartMetrics

CLASS_METRICS = ("precision", "recall", "f1")
CSV_COLUMNS = ("split", "figure", "class", "predicted", "value")


def parser() -> Arguments:
    arguments = Arguments("eval")
    arguments.add_argument(
        "--split",
        choices=["train", "valid", "test", "all"],
        help="part of the data (default: test if there is one, else valid, else train)",
    )
    arguments.add_argument(
        "--checkpoint",
        choices=["best", "last"],
        default="last",
        help="the network after its best or its last epoch (default: last)",
    )
    arguments.add_argument(
        "--format",
        choices=["table", "json", "csv"],
        default="table",
        help="output format; csv and json are in full precision",
    )
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = find_run_directory_operand("eval", options.operands)
    from ch12cli.cli.text.problems import print_warnings
    from ch12cli.saved.evaluate import evaluate

    evaluation = evaluate(directory, split=options.split, best=options.checkpoint == "best", trust=options.trust)
    print_warnings(evaluation.messages)
    forms = {"table": format_evaluation, "json": evaluation_json, "csv": evaluation_csv}
    print(forms[options.format](directory, options.checkpoint, evaluation))
    return 0


def format_evaluation(directory: Path, checkpoint: str, evaluation: "Evaluation") -> str:
    """The metrics as tables; for classes also the confusion matrix and the metrics of each class."""
    names = [printable(name) for name in evaluation.class_names or ()]
    trained = (
        ""
        if is_ensemble(read_keys(directory / HYDRA))
        else f", {checkpoint} checkpoint: after epoch {evaluation.epoch}"
    )
    blocks = [[printable(f"{directory}{trained}")]]
    for name, part in evaluation.parts.items():
        blocks.append([heading(f"{PARTS[name] or 'test'}: {part.rows} row{'' if part.rows == 1 else 's'}")])
        metrics = [(printable(metric_label(m)), format_number(m, value)) for m, value in part.metrics.items()]
        blocks[-1] += format_table(metrics)
        if part.confusion is not None:
            blocks += [format_confusion(part, names), format_classes(part, names)]
    return join_pages(blocks)


def format_confusion(part: "PartMetrics", names: Sequence[str]) -> list[str]:
    """The confusion matrix as a table."""
    assert part.confusion is not None
    rows = [[name, *map(str, counts)] for name, counts in zip(names, part.confusion.tolist(), strict=True)]
    return ["rows: true class; columns: predicted class", *format_table([["", *names], *rows])]


def format_classes(part: "PartMetrics", names: Sequence[str]) -> list[str]:
    """Precision, recall, F1 and support of each class as a table."""
    from ch12cli.saved.evaluate import metrics_by_class

    assert part.confusion is not None
    rows = [
        [name, *(format_number("accuracy", metrics[share]) for share in CLASS_METRICS), str(metrics["support"])]
        for name, metrics in zip(names, metrics_by_class(part.confusion), strict=True)
    ]
    return format_table([["", *CLASS_METRICS, "support"], *rows])


def evaluation_json(directory: Path, checkpoint: str, evaluation: "Evaluation") -> str:
    """The metrics in full precision, as ASCII JSON; values that are not finite are null."""
    from ch12cli.saved.evaluate import metrics_by_class

    parts: dict[str, Any] = {}
    for name, part in evaluation.parts.items():
        parts[name] = {"rows": part.rows, **{m: finite_or_none(value) for m, value in part.metrics.items()}}
        if part.confusion is not None and evaluation.class_names is not None:
            parts[name]["confusion"] = part.confusion.tolist()
            parts[name]["classes"] = dict(zip(evaluation.class_names, metrics_by_class(part.confusion), strict=True))
    return json.dumps(
        {"run": str(directory), "checkpoint": checkpoint, "epoch": evaluation.epoch, "parts": parts}, indent=2
    )


def evaluation_csv(directory: Path, checkpoint: str, evaluation: "Evaluation") -> str:
    """The metrics in full precision, one row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for name, part in evaluation.parts.items():
        writer.writerow([name, "rows", "", "", part.rows])
        writer.writerows([name, m, "", "", repr(value)] for m, value in part.metrics.items())
        writer.writerows([name, *row] for row in class_rows(part, evaluation.class_names or ()))
    return text.getvalue().rstrip("\n")


def class_rows(part: "PartMetrics", names: Sequence[str]) -> Iterator[list[Any]]:
    """(metric, class, predicted class, value) rows of the classes."""
    from ch12cli.saved.evaluate import metrics_by_class

    if part.confusion is None:
        return
    names = [printable(name) for name in names]
    for name, metrics in zip(names, metrics_by_class(part.confusion), strict=True):
        yield from ([metric, name, "", value] for metric, value in metrics.items())
    for name, counts in zip(names, part.confusion.tolist(), strict=True):
        yield from (["confusion", name, found, count] for found, count in zip(names, counts, strict=True))


def finite_or_none(value: float) -> float | None:
    """The value, or None if it is not finite."""
    return value if math.isfinite(value) else None
