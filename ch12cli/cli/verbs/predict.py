"""`ch12 predict`: applies a saved run's network to the rows of a CSV file, or to images."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import count, repeat
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
    given = options.operands[1]
    if output is not None:
        refuse_output(output, given)
    content = [rows_content(given)]  # handed on by pop: it may be large, and is not held any longer than needed
    from ch12cli.cli.text.problems import print_warnings
    from ch12cli.saved.predict import predict

    predictions = predict(
        directory,
        content.pop(),
        source="standard input" if given == STANDARD else given,
        best=options.checkpoint == "best",
        trust=options.trust,
        allow_unseen=options.allow_unseen,
    )
    print_warnings(predictions.messages)
    refuse_duplicate_columns(predictions)
    text = {"csv": predictions_csv, "json": predictions_json, "table": predictions_table}[options.format](predictions)
    write(text, output)
    return 0


def rows_content(name: str) -> bytes | None:
    """The content of a file or of standard input; None for a folder."""
    from ch12cli.data.text_file import read_content

    if name != STANDARD:
        return None if os.path.isdir(name) else read_content(Path(name))
    if sys.stdin is None:
        raise InputError("standard input is closed; name a file")
    return sys.stdin.buffer.read()


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
    names = shown_names(predictions)
    cells = zip(*copied_cells(predictions), strict=True) if predictions.rows.copied else repeat(())
    for row, value, copied in zip(count(), predictions.values.tolist(), cells, strict=False):
        shares = predictions.probabilities
        yield copied, names[int(value)] if names else value, [] if shares is None else shares[row].tolist()


def copied_cells(predictions: "Predictions") -> list[list[str]]:
    """The texts of each column that is copied from the file, without control characters in the names of images."""
    from ch12cli.data.pictures.image_folder import NewImages

    if not isinstance(predictions.rows, NewImages):
        return predictions.rows.copied
    return [list(map(escape_controls, column)) for column in predictions.rows.copied]


def shown_names(predictions: "Predictions") -> list[str]:
    """The names of the classes, without control characters."""
    return list(map(escape_controls, predictions.class_names or ()))


def inert(text: str) -> str:
    """A class's name as a cell that no spreadsheet takes for a formula: with a quote before =, @, + or -."""
    from ch12cli.data.notation import is_number

    is_formula = text[:1] in ("=", "@") or (text[:1] in ("+", "-") and not is_number(text))
    return f"'{text}" if is_formula else text


def probability_columns(predictions: "Predictions") -> list[str]:
    """The names of the columns of the probabilities."""
    return [f"p_{name}" for name in shown_names(predictions)]


def predictions_csv(predictions: "Predictions") -> str:
    """The copied columns, the class or value, the probabilities, in full precision."""
    from ch12cli.cli.text.csv_rows import rows_as_csv

    text = io.StringIO()
    header = [*predictions.rows.further, PREDICTED, *probability_columns(predictions)]
    csv.writer(text, lineterminator="\n").writerow(header)
    values, names = predictions.values, list(map(inert, shown_names(predictions)))
    answers = [names[int(value)] for value in values.tolist()] if names else values
    shares = () if predictions.probabilities is None else predictions.probabilities.T
    return text.getvalue() + rows_as_csv([*copied_cells(predictions), answers, *shares])


def predictions_json(predictions: "Predictions") -> str:
    """The predictions as a list of objects in ASCII JSON."""
    names = shown_names(predictions)
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
