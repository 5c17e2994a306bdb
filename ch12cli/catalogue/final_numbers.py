"""The numbers with which the runs of a population ended, which went on from others with other numbers."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.history import ancestry_of, changes_in
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import RESULT
from ch12cli.files.sweep_csv import SweepRow

AT_END = ", at the end"  # after a key whose numbers are those of the end


def with_final_numbers(
    rows: Iterable[SweepRow], directory_of: Callable[[SweepRow], Path]
) -> tuple[list[SweepRow], list[str]]:
    """Returns the rows with the numbers that the runs ended with, and the keys of these numbers.

    A run of a population whose numbers cannot be read counts as damaged.
    """
    found, keys = list[SweepRow](), dict[str, None]()
    for row in rows:
        numbers = final_numbers(directory_of(row)) if row.ancestry else {}
        numbers = {key: text for key, text in numbers.items() if key in row.overrides}
        keys.update(dict.fromkeys(numbers))
        status = "damaged" if row.ancestry and not numbers else row.status
        found.append(replace(row, status=status, overrides={**row.overrides, **numbers}) if row.ancestry else row)
    return found, list(keys)


def final_numbers(directory: Path) -> dict[str, str]:
    """Returns the numbers that a run ended with, by key; none if it went on from no other run, or is damaged."""
    try:
        result = read_result(directory / RESULT)
    except InputError:
        return {}
    steps = ancestry_of(result.history) if result else []
    return {key: str(value) for key, value in changes_in(steps[-1]).items() if key != "seed"} if steps else {}
