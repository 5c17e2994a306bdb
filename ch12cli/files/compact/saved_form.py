"""The bytes of torch.save for many states of one form: a file is cut into pieces once, then filled with other values.

torch.save takes milliseconds for a small network, most of it for what all states of a form share. The form of a state
is all but its numbers, the values of its arrays, and the texts that are named.
"""

import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

FIRST_MARK = 0x5EA1_0000  # numbers that stand for others while a file is cut
NUMBERS = frozenset((int, float, bool, type(None)))
MOST_FORMS = 64  # more are not kept
ID_DIGITS = 20  # of each half of the record `serialization_id`
GOLDEN = 0x9E37_79B9  # constant of c10::hash_combine
LOCAL_HEAD, CENTRAL_HEAD = 30, 46  # bytes of a record's heads, before its name
DESCRIPTOR = b"PK\x07\x08"  # begins what follows the data of a record


class CannotCutError(Exception):
    """A file is not laid out as this module knows it."""


class SavedForms:
    """Makes the bytes that `save` makes, faster.

    save: torch.save of a state whose arrays become tensors; texts: keys of the texts that differ between states;
    sealed_parts: what the fingerprint of a state is the SHA-256 of; seal: the key of the fingerprint.
    """

    def __init__(
        self,
        save: Callable[[Mapping[str, Any]], bytes],
        *,
        texts: Collection[str] = (),
        sealed_parts: Callable[[Mapping[str, Any]], Sequence[bytes]],
        seal: str,
    ) -> None:
        self.save, self.texts, self.sealed_parts, self.seal = save, frozenset(texts), sealed_parts, seal
        self.forms: dict[tuple[Any, ...], Form | None] = {}

    def plain(self, state: Mapping[str, Any]) -> bytes:
        """Returns the bytes of a state."""
        return self._bytes(state, sealed=False)

    def sealed(self, state: Mapping[str, Any]) -> bytes:
        """Returns the bytes of a state with its fingerprint as the last value."""
        return self._bytes(state, sealed=True)

    def _bytes(self, state: Mapping[str, Any], *, sealed: bool) -> bytes:
        shared: list[Any] = [sealed]
        values: list[Any] = []
        self._take_apart(state, shared, values)
        key = tuple(shared)
        if key not in self.forms:
            if len(self.forms) >= MOST_FORMS:
                self.forms.clear()
            self.forms[key] = self._form_of(state, values, sealed=sealed)
        form = self.forms[key]
        return self.slowly(state, sealed=sealed) if form is None else form.filled(values, state)

    def slowly(self, state: Mapping[str, Any], *, sealed: bool) -> bytes:
        """Returns the bytes of a state by torch alone."""
        if not sealed:
            return self.save(state)
        return self.save({**state, self.seal: hashlib.sha256(b"".join(self.sealed_parts(state))).hexdigest()})

    def _take_apart(self, value: Any, shared: list[Any], values: list[Any], *, is_text: bool = False) -> None:
        """Adds what makes the form of a state to `shared`, and what differs between states of that form to `values`."""
        kind = type(value)
        if kind in NUMBERS or (is_text and kind is str):
            shared.append(kind is str)
            values.append(value)
        elif kind is dict:
            shared.append(len(value))
            for key, inner in value.items():
                shared.append(key)
                self._take_apart(inner, shared, values, is_text=key in self.texts)
        elif kind is np.ndarray:
            shared.append((value.dtype.str, value.shape))
            values.append(value)
        elif kind is list:
            shared.append((len(value),))
            for inner in value:
                self._take_apart(inner, shared, values)
        else:
            shared.append(value)

    def _form_of(self, state: Mapping[str, Any], values: Sequence[Any], *, sealed: bool) -> "Form | None":
        """Returns the form of a state; None if this version of torch lays out its files in another way."""
        try:
            form = Form(self, self._marked(state, Marks()), values, sealed=sealed)
            return form if form.filled(values, state) == self.slowly(state, sealed=sealed) else None
        except (CannotCutError, zipfile.BadZipFile, KeyError, IndexError, ValueError, struct.error):
            return None

    def _marked(self, value: Any, marks: "Marks", *, is_text: bool = False) -> Any:
        """Returns a state with marks in place of its numbers and of the texts that are named."""
        kind = type(value)
        if kind is np.ndarray or kind in NUMBERS or (is_text and kind is str):
            return marks.next(value)
        if kind is dict:
            return {key: self._marked(inner, marks, is_text=key in self.texts) for key, inner in value.items()}
        return [self._marked(inner, marks) for inner in value] if kind is list else value


class Marks:
    """Gives each value of a state, in order, what stands for it while a file is cut. Arrays stand for themselves."""

    def __init__(self) -> None:
        self.count = 0

    def next(self, value: Any) -> Any:
        mark = mark_of(self.count, value)
        self.count += 1
        return value if mark is None else mark


def mark_of(index: int, value: Any) -> int | str | None:
    """Returns what stands for the value of this index; None for an array."""
    if type(value) is np.ndarray:
        return None
    return f"\0text {index}\0" if type(value) is str else FIRST_MARK + index


def pickled(value: Any) -> bytes:
    """Returns a number or a text as torch's pickles hold it."""
    if type(value) is str:
        text = value.encode("utf-8", "surrogatepass")
        return b"X" + len(text).to_bytes(4, "little") + text
    return pickle.dumps(value, 2)[2:-1]  # without its head and its end


def digested(value: Any) -> bytes:
    """Returns a number, a text or an array as the fingerprint takes it."""
    return value.tobytes() if type(value) is np.ndarray else f"{type(value).__name__} {value!r};".encode()


class Form:
    """A form of states: pieces of its pickle and of what its fingerprint is made from, and layouts of its file."""

    def __init__(self, forms: SavedForms, marked: Mapping[str, Any], values: Sequence[Any], *, sealed: bool) -> None:
        self.forms, self.is_sealed = forms, sealed
        self.layouts: dict[int, FileLayout] = {}  # by the length of the pickle
        marks = [mark_of(index, value) for index, value in enumerate(values)]
        self.arrays = [index for index, mark in enumerate(marks) if mark is None]
        self.digested: list[bytes] = []  # what the fingerprint is made from, with empty places for the values
        self.places: list[int] = []  # of each value in it
        if sealed:
            self.cut_digested(forms.sealed_parts(marked), marks)
            marks.append(f"\0text {len(marks)}\0")
            marked = {**marked, forms.seal: marks[-1]}
        content = zipfile.ZipFile(io.BytesIO(forms.save(marked))).read("archive/data.pkl")
        self.pieces: list[bytes] = []  # of the pickle, in front of its values, and the last
        self.slots: list[int] = []  # indices of these values
        for index, mark in enumerate(marks):
            if mark is not None:
                before, found, content = content.partition(pickled(mark))
                if not found:
                    raise CannotCutError
                self.pieces.append(before)
                self.slots.append(index)
        self.pieces.append(content)

    def cut_digested(self, parts: Sequence[bytes], marks: Sequence[Any]) -> None:
        after_tensor = False
        constant: list[bytes] = []
        for part in parts:
            index = len(self.places)
            is_value = index < len(marks) and (after_tensor if marks[index] is None else part == digested(marks[index]))
            if is_value:
                self.digested += [b"".join(constant), b""]
                self.places.append(len(self.digested) - 1)
                constant = []
            else:
                constant.append(part)
            after_tensor = not is_value and part.startswith(b"tensor ")
        self.digested.append(b"".join(constant))
        if len(self.places) < len(marks):
            raise CannotCutError

    def filled(self, values: Sequence[Any], state: Mapping[str, Any]) -> bytes:
        """Returns the file of a state of this form, whose values are given."""
        if self.is_sealed:
            parts = self.digested.copy()
            for place, value in zip(self.places, values, strict=True):
                parts[place] = digested(value)
            values = [*values, hashlib.sha256(b"".join(parts)).hexdigest()]
        written = [piece + pickled(values[index]) for piece, index in zip(self.pieces[:-1], self.slots, strict=True)]
        content = b"".join([*written, self.pieces[-1]])
        if len(content) not in self.layouts:
            self.layouts[len(content)] = FileLayout(self.forms.slowly(state, sealed=self.is_sealed), len(self.arrays))
        return self.layouts[len(content)].filled([content, *(values[index].tobytes() for index in self.arrays)])


class FileLayout:
    """Where the records of a file are, and their checksums: in all files of a form whose pickles have one length."""

    def __init__(self, file: bytes, arrays: int) -> None:
        names = ["archive/data.pkl", *(f"archive/data/{index}" for index in range(arrays))]
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            records, central = archive.infolist(), archive.start_dir
        # of all but the last, the serialization id, in which records without data do not count
        self.crcs = [record.CRC if record.file_size else None for record in records[:-1]]
        of_name = {record.filename: index for index, record in enumerate(records)}
        self.order = [of_name[name] for name in names]  # where the records that differ are
        self.id_start = b""
        cuts: list[tuple[int, int, int, bool]] = []  # start and end of what differs, its record, whether it is data
        for index, record in enumerate(records):
            size_of_names = sum(struct.unpack_from("<HH", file, record.header_offset + 26))
            start = record.header_offset + LOCAL_HEAD + size_of_names
            end = start + record.file_size
            is_id = index == len(records) - 1
            if record.file_size and (index in self.order or is_id):
                if not file.startswith(DESCRIPTOR, end):
                    raise CannotCutError
                cuts += [(start, end, index, True), (end + 4, end + 8, index, False)]
                cuts.append((central + 16, central + 20, index, False))
            if is_id:
                self.id_start = file[start : start + ID_DIGITS]
            central += CENTRAL_HEAD + sum(struct.unpack_from("<HHH", file, central + 28))
        self.parts: list[bytes] = []
        self.of_record: dict[int, tuple[int, list[int]]] = {}  # places in `parts` of its data and its checksums
        at = 0
        for start, end, index, is_data in sorted(cuts):
            self.parts += [file[at:start], b""]
            if is_data:
                self.of_record[index] = len(self.parts) - 1, []
            else:
                self.of_record[index][1].append(len(self.parts) - 1)
            at = end
        self.parts.append(file[at:])

    def filled(self, contents: Sequence[bytes]) -> bytes:
        """Returns the file with other contents: the pickle, and the data of each tensor."""
        parts, crcs = self.parts.copy(), self.crcs.copy()
        for index, content in zip(self.order, contents, strict=True):
            if content:
                crcs[index] = self.put(parts, index, content)
        combined = 0
        for crc in [crc for crc in crcs if crc is not None]:  # c10::hash_combine
            combined ^= (crc + GOLDEN + (combined << 6) + (combined >> 2)) & 0xFFFF_FFFF_FFFF_FFFF
        self.put(parts, len(crcs), self.id_start + f"{combined:0{ID_DIGITS}d}".encode())
        return b"".join(parts)

    def put(self, parts: list[bytes], index: int, content: bytes) -> int:
        """Puts the data of a record and its checksum into their places. Returns the checksum."""
        crc = zlib.crc32(content)
        data, checksums = self.of_record[index]
        parts[data] = content
        for place in checksums:
            parts[place] = crc.to_bytes(4, "little")
        return crc
