"""`ch12 predict`: what a saved run's network says of the rows of a CSV file, or of images."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.formatting import format_number
from ch12cli.cli.help.arguments import Arguments, run_directory
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.tables import format_table
from ch12cli.errors import InputError
from ch12cli.files.untrusted_text import escape_controls

if TYPE_CHECKING:
    from ch12cli.saved.predict import Predictions

PREDICTED, SHARES = "predicted", "probabilities"
STANDARD = "-"  # standard input, standard output


def parser() -> Arguments:
    arguments = Arguments("predict")
    arguments.add_argument(
        "-o", "--output", type=Path, help="file to write, whole or not at all; else, or for -, standard output"
    )
    arguments.add_argument(
        "--checkpoint",
        choices=["best", "last"],
        default="last",
        help="the network as it was after its best epoch, or after its last (the default)",
    )
    arguments.add_argument("--format", choices=["csv", "json", "table"], default="csv", help="csv unless given")
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = run_directory("predict", options.operands, most=2)
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

    predictions = predict(directory, content, source=source, best=options.checkpoint == "best", trust=options.trust)
    print_warnings(predictions.messages)
    refuse_names(predictions)
    text = {"csv": predictions_csv, "json": predictions_json, "table": predictions_table}[options.format](predictions)
    write(text, output)
    return 0


def rows_content(word: str) -> tuple[str, bytes | None]:
    """The name, for messages, and the bytes of a file or of standard input; None for a folder, perhaps of images."""
    from ch12cli.data.text_file import read_content

    if word != STANDARD and os.path.isdir(word):
        return word, None
    if word != STANDARD:
        return word, read_content(Path(word))
    if sys.stdin is None:
        raise InputError("standard input is closed; give a file")
    return "standard input", sys.stdin.buffer.read()


def refuse_output(path: Path, rows: str) -> None:
    """InputError for a file that is not to be written, before anything is computed."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"-o {path}: is there and is not a file; give another name")
        if not path.parent.is_dir():
            raise InputError(f"-o {path}: there is no directory {path.parent}")
        if rows != STANDARD and path.exists() and os.path.samefile(path, rows):
            raise InputError(f"-o {path}: is the file with the rows; give another name")
    except (OSError, ValueError) as error:
        raise InputError(f"-o {path}: cannot be written ({error})") from None


def refuse_names(predictions: "Predictions") -> None:
    """InputError if the file has columns of the names that the answer needs."""
    ours = {PREDICTED, SHARES, *share_columns(predictions)}
    taken = [name for name in predictions.rows.further if name in ours]
    if taken:
        raise InputError(
            f"{predictions.rows.source}, line 1: {', '.join(taken)} would be there twice; rename or leave it out"
        )


def write(text: str, path: Path | None) -> None:
    """Writes to a file, whole or not at all; None: to standard output, as UTF-8 whatever the locale."""
    if path is not None:
        from ch12cli.files.atomic import write_whole

        write_whole(Path(os.path.realpath(path)), text.encode())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(on_terminal(text).encode() if sys.stdout.isatty() else text.encode())
    sys.stdout.buffer.flush()


def on_terminal(text: str) -> str:
    """The text without what would move a terminal's cursor, or worse: cells come as they stand in the file."""
    return escape_controls(text, keep="\n")


def answers(predictions: "Predictions") -> Iterator[tuple[list[str], str | float, list[float]]]:
    """Of each row: the further cells, the class or value, the probabilities."""
    names = predictions.class_names
    shares = [] if predictions.probabilities is None else predictions.probabilities.tolist()
    for row, value in enumerate(predictions.values.tolist()):
        said = value if names is None else escape_controls(names[int(value)])
        yield predictions.rows.cells[row], said, shares[row] if shares else []


def share_columns(predictions: "Predictions") -> list[str]:
    return [f"p_{escape_controls(name)}" for name in predictions.class_names or ()]


def predictions_csv(predictions: "Predictions") -> str:
    """The columns that were not asked for, the class or value, the probabilities; numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*predictions.rows.further, PREDICTED, *share_columns(predictions)])
    writer.writerows([*cells, said, *map(repr, shares)] for cells, said, shares in answers(predictions))
    return text.getvalue()


def predictions_json(predictions: "Predictions") -> str:
    """The same, a list of objects in ASCII."""
    names = [escape_controls(name) for name in predictions.class_names or ()]
    rows: list[dict[str, Any]] = []
    for cells, said, shares in answers(predictions):
        rows.append({**dict(zip(predictions.rows.further, cells, strict=True)), PREDICTED: said})
        if names:
            rows[-1][SHARES] = dict(zip(names, shares, strict=True))
    return json.dumps(rows, indent=2) + "\n"


def predictions_table(predictions: "Predictions") -> str:
    """The same for reading, numbers rounded."""
    further = [printable(name) for name in predictions.rows.further]
    table = [[*further, PREDICTED, *map(printable, share_columns(predictions))]]
    for cells, said, shares in answers(predictions):
        text = printable(said) if isinstance(said, str) else format_number("loss", said)
        table.append([*map(printable, cells), text, *(format_number("accuracy", share) for share in shares)])
    return "\n".join(format_table(table, left=len(further))) + "\n"
