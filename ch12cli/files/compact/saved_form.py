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
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

FIRST_MARK = 0x5EA1_0000  # numbers that stand for others while a file is cut
NUMBERS = frozenset((int, float, bool, type(None)))
MOST_FORMS, MOST_MET = 256, 4096  # more are not kept
MANY = 4  # states for which a file is cut at once: to cut it takes longer than torch takes to save two
ID_DIGITS = 20  # of each half of the record `serialization_id`
GOLDEN = 0x9E37_79B9  # constant of c10::hash_combine
LOCAL_HEAD, CENTRAL_HEAD = 30, 46  # bytes of a record's heads, before its name
DESCRIPTOR = b"PK\x07\x08"  # begins what follows the data of a record
FLOAT = struct.Struct(">cd")  # a float in a pickle

KeyPath = tuple[str | int, ...]  # of keys and indices, to a value in a state


class CannotCutError(Exception):
    """A file is not laid out as this module knows it, or a state is of another form."""


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
        self.forms: dict[Hashable, Form | None] = {}
        self.met: set[Hashable] = set()  # forms of which there was a state

    def plain(self, state: Mapping[str, Any], *, like: Hashable, states: int = 1) -> bytes:
        """Returns the bytes of a state.

        like: equal for states of the same form, and for no others. Only shapes and keys that are missing are noticed
        if it is not: such a state is left to torch. states: how many of this form there are at least.
        """
        return self._bytes(state, like, states, sealed=False)

    def sealed(self, state: Mapping[str, Any], *, like: Hashable, states: int = 1) -> bytes:
        """Returns the bytes of a state with its fingerprint as the last value. like, states: as in `plain`."""
        return self._bytes(state, like, states, sealed=True)

    def _bytes(self, state: Mapping[str, Any], like: Hashable, states: int, *, sealed: bool) -> bytes:
        key = sealed, like
        if key not in self.forms:
            if key not in self.met and states < MANY:
                if len(self.met) >= MOST_MET:
                    self.met.clear()
                self.met.add(key)
                return self.slowly(state, sealed=sealed)
            if len(self.forms) >= MOST_FORMS:
                self.forms.clear()
            self.forms[key] = self._form_of(state, sealed=sealed)
        form = self.forms[key]
        try:
            return self.slowly(state, sealed=sealed) if form is None else form.filled(state)
        except (CannotCutError, KeyError, IndexError, TypeError):  # as in a damaged record, which looks like others
            return self.slowly(state, sealed=sealed)

    def slowly(self, state: Mapping[str, Any], *, sealed: bool) -> bytes:
        """Returns the bytes of a state by torch alone."""
        if not sealed:
            return self.save(state)
        return self.save({**state, self.seal: hashlib.sha256(b"".join(self.sealed_parts(state))).hexdigest()})

    def _form_of(self, state: Mapping[str, Any], *, sealed: bool) -> "Form | None":
        """Returns the form of a state; None if this version of torch lays out its files in another way."""
        paths, file = list(self._paths(state, ())), self.slowly(state, sealed=sealed)
        try:
            form = Form(self, state, paths, sealed=sealed)
            return form if form.filled(state, file) == file else None
        except (CannotCutError, zipfile.BadZipFile, KeyError, IndexError, ValueError, struct.error):
            return None

    def _paths(self, value: Any, path: KeyPath) -> Iterator[KeyPath]:
        """Yields where a state has its numbers, its arrays and the texts that are named."""
        kind = type(value)
        if kind is np.ndarray or kind in NUMBERS or (kind is str and path[-1] in self.texts):
            yield path
        elif kind is dict or kind is list:
            for key, inner in value.items() if kind is dict else enumerate(value):
                yield from self._paths(inner, (*path, key))


def values_at(paths: Sequence[KeyPath], state: Mapping[str, Any]) -> list[Any]:
    """Returns the values at some places of a state."""
    found: list[Any] = []
    for path in paths:
        value: Any = state
        for key in path:
            value = value[key]
        found.append(value)
    return found


def with_values(state: Any, values: Mapping[KeyPath, Any], path: KeyPath = ()) -> Any:
    """Returns a copy of a state with other values at some places."""
    if path in values:
        return values[path]
    if type(state) is dict:
        return {key: with_values(inner, values, (*path, key)) for key, inner in state.items()}
    if type(state) is list:
        return [with_values(inner, values, (*path, index)) for index, inner in enumerate(state)]
    return state


def mark_of(index: int, value: Any) -> int | str | None:
    """Returns what stands for the value of this index; None for an array."""
    if type(value) is np.ndarray:
        return None
    return f"\0text {index}\0" if type(value) is str else FIRST_MARK + index


def pickled(value: Any) -> bytes:
    """Returns a number or a text as torch's pickles hold it."""
    kind = type(value)
    if kind is float:
        return FLOAT.pack(b"G", value)
    if kind is str:
        text: bytes = value.encode("utf-8", "surrogatepass")
        return b"X" + len(text).to_bytes(4, "little") + text
    return pickle.dumps(value, 2)[2:-1]  # without its head and its end


def digested(value: Any) -> bytes:
    """Returns a number, a text or an array as the fingerprint takes it."""
    return value.tobytes() if type(value) is np.ndarray else f"{type(value).__name__} {value!r};".encode()


@lru_cache(maxsize=256)
def both(_kind: Hashable, value: Any) -> tuple[bytes, bytes]:
    """Returns a value other than 0 as the pickle has it, and as the fingerprint takes it. Many jobs have the same.

    _kind: its type, because equal values of two types, such as 1 and True, are not the same.
    """
    return pickled(value), digested(value)


class Form:
    """A form of states: what is constant in its pickle and in what its fingerprint is made from, and layouts of files.

    In both lists of parts, constants and values alternate. state: one of this form; paths: to what differs in others.
    """

    def __init__(self, forms: SavedForms, state: Mapping[str, Any], paths: Sequence[KeyPath], *, sealed: bool) -> None:
        self.forms, self.is_sealed, self.paths = forms, sealed, paths
        self.layouts: dict[int, FileLayout] = {}  # by the length of the pickle
        values = values_at(paths, state)
        self.sizes = [value.nbytes for value in values if type(value) is np.ndarray]
        marks = [mark_of(index, value) for index, value in enumerate(values)]
        marked = with_values(state, {path: mark for path, mark in zip(paths, marks, strict=True) if mark is not None})
        self.digest_parts = cut_digested(forms.sealed_parts(marked), marks) if sealed else []
        if sealed:
            marks.append(f"\0text {len(marks)}\0")
            marked = {**marked, forms.seal: marks[-1]}
        content = zipfile.ZipFile(io.BytesIO(forms.save(marked))).read("archive/data.pkl")
        self.pickle_parts: list[bytes] = []
        for mark in marks:
            if mark is not None:
                before, found, content = content.partition(pickled(mark))
                if not found:
                    raise CannotCutError
                self.pickle_parts += [before, b""]
        self.pickle_parts.append(content)

    def filled(self, state: Mapping[str, Any], file: bytes = b"") -> bytes:
        """Returns the file of a state of this form. file: the same by torch, if it is known."""
        in_pickle, in_digest, arrays = list[bytes](), list[bytes](), list[bytes]()
        for value in values_at(self.paths, state):
            kind: Any = type(value)
            if kind is np.ndarray:
                arrays.append(value.tobytes())
                in_digest.append(arrays[-1])
            else:
                one, other = both(kind, value) if value else (pickled(value), digested(value))
                in_pickle.append(one)
                in_digest.append(other)
        if list(map(len, arrays)) != self.sizes:
            raise CannotCutError
        if self.is_sealed:
            parts = self.digest_parts.copy()
            parts[1::2] = in_digest
            in_pickle.append(pickled(hashlib.sha256(b"".join(parts)).hexdigest()))
        parts = self.pickle_parts.copy()
        parts[1::2] = in_pickle
        content = b"".join(parts)
        layout = self.layouts.get(len(content))
        if layout is None:
            file = file or self.forms.slowly(state, sealed=self.is_sealed)
            layout = self.layouts[len(content)] = FileLayout(file, len(arrays))
        return layout.filled([content, *arrays])


def cut_digested(parts: Sequence[bytes], marks: Sequence[Any]) -> list[bytes]:
    """Returns what a fingerprint is made from: constants, and empty places for values in between."""
    after_tensor = False
    constant: list[bytes] = []
    found: list[bytes] = []
    for part in parts:
        index = len(found) // 2
        is_value = index < len(marks) and (after_tensor if marks[index] is None else part == digested(marks[index]))
        if is_value:
            found += [b"".join(constant), b""]
            constant = []
        else:
            constant.append(part)
        after_tensor = not is_value and part.startswith(b"tensor ")
    if len(found) < 2 * len(marks):
        raise CannotCutError
    return [*found, b"".join(constant)]


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
        for crc in crcs:  # c10::hash_combine
            if crc is not None:
                combined ^= (crc + GOLDEN + (combined << 6) + (combined >> 2)) & 0xFFFF_FFFF_FFFF_FFFF
        self.put(parts, len(crcs), self.id_start + b"%0*d" % (ID_DIGITS, combined))
        return b"".join(parts)

    def put(self, parts: list[bytes], index: int, content: bytes) -> int:
        """Puts the data of a record and its checksum into their places. Returns the checksum."""
        crc = zlib.crc32(content)
        data, checksums = self.of_record[index]
        parts[data] = content
        written = crc.to_bytes(4, "little")
        for place in checksums:
            parts[place] = written
        return crc
