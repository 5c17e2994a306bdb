"""`ch12 predict`: applies a saved run's network to the rows of a CSV file, or to images."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.formatting import format_number
from ch12cli.cli.help.arguments import Arguments, find_run_directory_operand
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.tables import format_table
from ch12cli.errors import InputError
from ch12cli.files.untrusted_text import escape_controls

if TYPE_CHECKING:
    from ch12cli.saved.predict import Predictions

PREDICTED, PROBABILITIES = "predicted", "probabilities"
STANDARD = "-"  # standard input, standard output


def parser() -> Arguments:
    arguments = Arguments("predict")
    arguments.add_argument("-o", "--output", type=Path, help="file to write; default, and for -: standard output")
    arguments.add_argument(
        "--checkpoint",
        choices=["best", "last"],
        default="last",
        help="the network after its best or its last epoch (default: last)",
    )
    arguments.add_argument("--format", choices=["csv", "json", "table"], default="csv", help="default: csv")
    arguments.add_argument(
        "--allow-unseen",
        action="store_true",
        help="encode a text that did not occur in training as none of the known texts",
    )
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = find_run_directory_operand("predict", options.operands, most=2)
    if len(options.operands) < 2:
        raise InputError(
            "predict: no rows given; name a CSV file, images, or - for standard input: ch12 predict RUN FILE"
        )
    output = None if options.output is None or str(options.output) == STANDARD else options.output
    source, content = rows_content(options.operands[1])
    if output is not None:
        refuse_output(output, options.operands[1])
    from ch12cli.cli.text.problems import print_warnings
    from ch12cli.saved.predict import predict

    predictions = predict(
        directory,
        content,
        source=source,
        best=options.checkpoint == "best",
        trust=options.trust,
        allow_unseen=options.allow_unseen,
    )
    print_warnings(predictions.messages)
    refuse_duplicate_columns(predictions)
    text = {"csv": predictions_csv, "json": predictions_json, "table": predictions_table}[options.format](predictions)
    write(text, output)
    return 0


def rows_content(name: str) -> tuple[str, bytes | None]:
    """The name, for messages, and the content of a file or of standard input; None for a folder."""
    from ch12cli.data.text_file import read_content

    if name != STANDARD and os.path.isdir(name):
        return name, None
    if name != STANDARD:
        return name, read_content(Path(name))
    if sys.stdin is None:
        raise InputError("standard input is closed; name a file")
    return "standard input", sys.stdin.buffer.read()


def refuse_output(path: Path, rows: str) -> None:
    """InputError for an output file that cannot be written, before anything is computed."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"-o {path}: exists and is not a file; choose another name")
        if not path.parent.is_dir():
            raise InputError(f"-o {path}: there is no directory {path.parent}")
        if rows != STANDARD and path.exists() and os.path.samefile(path, rows):
            raise InputError(f"-o {path}: is the file with the rows; choose another name")
    except (OSError, ValueError) as error:
        raise InputError(f"-o {path}: cannot be written ({error})") from None


def refuse_duplicate_columns(predictions: "Predictions") -> None:
    """InputError if the file has columns with the names of the output columns."""
    own_columns = {PREDICTED, PROBABILITIES, *probability_columns(predictions)}
    clashing = [name for name in predictions.rows.further if name in own_columns]
    if clashing:
        raise InputError(
            f"{predictions.rows.source}, line 1: {', '.join(clashing)} would occur twice; rename or remove it"
        )


def write(text: str, path: Path | None) -> None:
    """Writes a file, all of it or none; without a path, writes UTF-8 to standard output."""
    if path is not None:
        from ch12cli.files.atomic import write_whole

        write_whole(Path(os.path.realpath(path)), text.encode())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(safe_for_terminal(text).encode() if sys.stdout.isatty() else text.encode())
    sys.stdout.buffer.flush()


def safe_for_terminal(text: str) -> str:
    """The text with control characters as escapes: cells are copied as they are in the file."""
    return escape_controls(text, keep="\n")


def predicted_rows(predictions: "Predictions") -> Iterator[tuple[Sequence[str], str | float, list[float]]]:
    """Of each row: the copied cells, the class or value, the probabilities."""
    from ch12cli.data.pictures.image_folder import NewImages

    names = predictions.class_names
    probabilities = [] if predictions.probabilities is None else predictions.probabilities.tolist()
    for row, (value, cells) in enumerate(zip(predictions.values.tolist(), predictions.rows.cells, strict=True)):
        answer = value if names is None else escape_controls(names[int(value)])
        if isinstance(predictions.rows, NewImages):
            cells = tuple(map(escape_controls, cells))
        yield cells, answer, probabilities[row] if probabilities else []


def inert(text: str) -> str:
    """A class's name as a cell that no spreadsheet takes for a formula: with a quote before =, @, + or -."""
    from ch12cli.data.notation import is_number

    is_formula = text[:1] in ("=", "@") or (text[:1] in ("+", "-") and not is_number(text))
    return f"'{text}" if is_formula else text


def probability_columns(predictions: "Predictions") -> list[str]:
    """The names of the columns of the probabilities."""
    return [f"p_{escape_controls(name)}" for name in predictions.class_names or ()]


def predictions_csv(predictions: "Predictions") -> str:
    """The copied columns, the class or value, the probabilities, in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*predictions.rows.further, PREDICTED, *probability_columns(predictions)])
    writer.writerows(
        [*cells, inert(answer) if isinstance(answer, str) else answer, *map(repr, probabilities)]
        for cells, answer, probabilities in predicted_rows(predictions)
    )
    return text.getvalue()


def predictions_json(predictions: "Predictions") -> str:
    """The predictions as a list of objects in ASCII JSON."""
    names = [escape_controls(name) for name in predictions.class_names or ()]
    rows: list[dict[str, Any]] = []
    for cells, answer, probabilities in predicted_rows(predictions):
        rows.append({**dict(zip(predictions.rows.further, cells, strict=True)), PREDICTED: answer})
        if names:
            rows[-1][PROBABILITIES] = dict(zip(names, probabilities, strict=True))
    return json.dumps(rows, indent=2) + "\n"


def predictions_table(predictions: "Predictions") -> str:
    """The predictions as a table to read, with rounded numbers."""
    further = [printable(name) for name in predictions.rows.further]
    table = [[*further, PREDICTED, *map(printable, probability_columns(predictions))]]
    for cells, answer, probabilities in predicted_rows(predictions):
        text = printable(answer) if isinstance(answer, str) else format_number("loss", answer)
        table.append([*map(printable, cells), text, *(format_number("accuracy", share) for share in probabilities)])
    return "\n".join(format_table(table, left=len(further))) + "\n"
