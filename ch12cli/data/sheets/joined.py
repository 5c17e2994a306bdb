"""A table in several files: their rows one after the other, if their columns agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ch12cli.data.notation import Decimal
from ch12cli.data.sheets.cells import Cells, Keep, Numbers, Texts, texts_as_numbers
from ch12cli.data.sheets.stored_arrays import keep_array
from ch12cli.data.sheets.text_rows import LineNumbers
from ch12cli.data.sheets.text_sheet import Sheet, Ways
from ch12cli.data.text_file import list_names
from ch12cli.errors import InputError


def read_joined(
    files: Sequence[str], read: Callable[[str, Ways], Sheet], *, source: str, decimal: Decimal, ways: Ways
) -> Sheet:
    """The rows of all files in one sheet. read: gives that of a file; source: the name of them all, for messages.

    A column is kept as numbers if it is in all files; else all files are read again, and it is kept as texts.
    InputError for a file whose columns have other names, or other types, than those of the first.
    """
    as_texts: set[str] = set()

    def keep(names: Sequence[str]) -> Mapping[str, Keep]:
        found = ways(names)
        return {name: "texts" if name in as_texts and found[name] != "nothing" else found[name] for name in names}

    while True:
        sheets = [read(file, keep) for file in files]
        first, *others = sheets
        for sheet in others:
            _require_names(sheet, first)
        columns = {name: join_cells([sheet.columns[name] for sheet in sheets], decimal) for name in first.columns}
        failed = {name for name, cells in columns.items() if cells is None}
        if not failed:
            break
        for name in failed:
            _refuse_types(sheets, name)
        as_texts |= failed
    told: dict[str, str] = {}  # a note without the name of its file: the note
    for sheet in sheets:
        told |= {key: note for note in sheet.notes if (key := note.removeprefix(sheet.source)) not in told}
    return replace(
        first,
        source=source,
        columns={name: cells for name, cells in columns.items() if cells is not None},
        lines=LineNumbers.joined([sheet.lines for sheet in sheets]),
        notes=list(told.values()),
        files=tuple(sheet.source for sheet in sheets),
        file_of=np.repeat(np.arange(len(sheets), dtype=np.int32), [sheet.rows for sheet in sheets]),
    )


def join_cells(parts: Sequence[Cells], decimal: Decimal) -> Cells | None:
    """The cells of a column in all files; None if only some are numbers. decimal: with which the files were read."""
    notations = {part.notation for part in parts if isinstance(part, Numbers)}
    if not notations:
        return _joined_texts([part for part in parts if isinstance(part, Texts)])
    notation = notations.pop()
    if notations:
        return None
    found = []
    for part in parts:
        numbers = part if isinstance(part, Numbers) else texts_as_numbers(part, notation, decimal)
        if numbers is None:
            return None
        found.append(numbers)
    gaps = [text for part in found for text in part.gaps]
    return Numbers(keep_array(np.concatenate([part.values for part in found])), gaps, notation)


def _joined_texts(parts: Sequence[Texts]) -> Texts:
    index: dict[str, int] = {}
    codes: list[npt.NDArray[np.int32]] = []
    for part in parts:
        of_part = [index.setdefault(text, len(index)) for text in part.distinct]
        codes.append(np.array(of_part, np.int32)[part.codes])
    return Texts(list(index), keep_array(np.concatenate(codes)))


def _require_names(sheet: Sheet, first: Sheet) -> None:
    """Raises InputError if a file has other columns than the first."""
    lacking = [name for name in first.names if name not in sheet.names]
    further = [name for name in sheet.names if name not in first.names]
    if lacking or further:
        what = [f"has no column {list_names(lacking)}"] * bool(lacking)
        what += [f"has a column {list_names(further)} too"] * bool(further)
        raise InputError(f"{sheet.source}: {' and '.join(what)}; its columns must be those of {first.source}")


def _refuse_types(sheets: Sequence[Sheet], name: str) -> None:
    """Raises InputError, which names a file, if a column holds dates or times in some files and not in others."""
    kinds = [_kind(sheet.columns[name]) for sheet in sheets]
    if {*kinds} == {"texts", "numbers"}:
        return
    other = next(sheet for sheet, kind in zip(sheets, kinds, strict=True) if kind != kinds[0])
    rule = (
        f"holds {_kind(other.columns[name])}, and in {sheets[0].source} {kinds[0]}; it must hold the same in all files"
    )
    raise InputError(f"{other.source}, column {name}: {rule}")


def _kind(cells: Cells) -> str:
    if isinstance(cells, Texts):
        return "texts"
    return "numbers" if cells.notation is None else f"{cells.notation.kind}s"
