"""Describes what tuning takes the data for, in lines of a terminal: rows, features, and what is learned."""

from collections.abc import Sequence

from ch12cli.catalogue.formatting import is_numeral
from ch12cli.config.run_settings import RunSettings
from ch12cli.errors import in_list
from ch12cli.run.task import Task

WIDTH = 80  # characters of a line
LABEL_WIDTH = 9  # as wide as the labels of a sweep that follow


def describe_tuned_data(settings: RunSettings, task: Task) -> list[str]:
    """Returns lines about the data. Long lists of names are cut, so that each is a line of a terminal."""
    table, dataset = task.data.table, settings.config["dataset"]
    parts = {"to train on": task.data.train, "to validate on": task.data.valid, "for the test": task.data.test}
    rows = [f"{len(part.y):,} {purpose}" for purpose, part in parts.items() if part is not None]
    name = table.source if table.columns else settings.choices.get("dataset") or table.source
    lines = [labelled("data", f"{name}, rows: ", rows)]
    if task.shape is not None:
        lines.append(labelled("features", f"images of {'x'.join(map(str, task.shape))}"))
    else:
        columns = [column.name for column in table.columns] if table.columns else table.feature_names
        lines.append(labelled("features", f"{task.inputs}: ", columns))
    if excluded := [str(each) for each in dataset.get("exclude") or ()]:
        lines.append(labelled("left out", "", excluded))
    if not table.class_names:
        low, high = table.target.min(), table.target.max()
        return [*lines, labelled("to learn", f"{table.target_name}, a number from {low:.6g} to {high:.6g}")]
    lines.append(labelled("to learn", f"{table.target_name}, {task.classes} classes: ", table.class_names))
    if dataset.get("target_type") == "auto" and all(map(is_numeral, table.class_names)):
        lines.append(labelled("", "as classes; dataset.target_type=values learns them as numbers"))
    return lines


def labelled(label: str, text: str, names: Sequence[str] = ()) -> str:
    """Returns a line with as many names after the text as fit, and the number of the others."""
    start = f"{label:<{LABEL_WIDTH}}  {text}"
    for count in range(min(len(names), WIDTH), 0, -1):
        more = f" and {len(names) - count:,} more" if count < len(names) else ""
        if len(line := f"{start}{', '.join(map(in_list, names[:count]))}{more}") <= WIDTH:
            return line
    return start.rstrip(": ")
