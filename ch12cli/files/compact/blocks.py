"""A file of blocks that is only appended to. A block is JSON and arrays, with a checksum of each.

A process that is killed leaves at most one incomplete block, at the end, which is recognised and dropped.
"""

import errno
import json
import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.errors import InputError, reason_of

MARK = b"\x93ch12\r\n\x1a"  # begins a block
HEAD = struct.Struct("<8sQQII")  # the mark, bytes of JSON and of arrays, their CRC-32
SEAL = struct.Struct("<I")  # CRC-32 of the head
HEAD_SIZE = HEAD.size + SEAL.size
LARGEST_JSON = 2**28  # bytes; 256 jobs with long overrides take a thousandth of it
CHUNK = 2**22  # bytes that are searched at once for the next block
KINDS = ("float32", "float64", "int64", "uint8", "bool")


class Block(NamedTuple):
    """Where a block is in its file, and its JSON."""

    start: int
    fields: Mapping[str, Any]
    arrays_at: int
    end: int
    checksum: int


class Scan(NamedTuple):
    """The blocks of a file; where the last one ends; how many bytes belong neither to them nor to an incomplete one."""

    blocks: list[Block]
    end: int
    damaged: int


def block_bytes(fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """Returns the parts of a block."""
    packed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = [[name, str(array.dtype), list(array.shape)] for name, array in packed.items()]
    text = json.dumps({**fields, "arrays": described}).encode()
    parts = [array.reshape(-1).view(np.uint8).data for array in packed.values() if array.size]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    head = HEAD.pack(MARK, len(text), sum(map(len, parts)), zlib.crc32(text), checksum)
    return [head, SEAL.pack(zlib.crc32(head)), text, *parts]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yields a descriptor for reading. Raises OSError for a link, a device or a FIFO."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is no file", str(path))
        yield handle
    finally:
        os.close(handle)


def scan_blocks(path: Path, *, start: int = 0) -> Scan:
    """Returns the blocks of a file from `start`, without reading their arrays. Drops an incomplete last block.

    Raises OSError if the file cannot be read.
    """
    blocks: list[Block] = []
    with opened(path) as handle:
        size = os.fstat(handle).st_size
        at, end, lost = start, start, 0
        while at < size:
            block = block_at(handle, at, size)
            if block is None:
                following = next_mark(handle, at + 1, size)
                while following is not None and block_at(handle, following, size) is None:
                    following = next_mark(handle, following + 1, size)
                if following is None:
                    lost += 0 if is_beginning(handle, at, size) else size - at
                    break
                lost += following - at
                at = following
                continue
            blocks.append(block)
            at = end = block.end
    return Scan(blocks, end, lost)


def block_at(handle: int, at: int, size: int) -> Block | None:
    """Returns the block that begins at an offset; None if there is none that is complete."""
    head = sizes_and_sums(os.pread(handle, HEAD_SIZE, at))
    if head is None:
        return None
    text_size, arrays_size, text_sum, arrays_sum = head
    arrays_at = at + HEAD_SIZE + text_size
    if text_size > LARGEST_JSON or arrays_at + arrays_size > size:
        return None
    text = os.pread(handle, text_size, at + HEAD_SIZE)
    try:
        fields = json.loads(text) if zlib.crc32(text) == text_sum else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return Block(at, fields, arrays_at, arrays_at + arrays_size, arrays_sum)


def sizes_and_sums(head: bytes) -> tuple[int, int, int, int] | None:
    """Returns the sizes of JSON and arrays and their checksums, from the head of a block; None if it is none."""
    if len(head) < HEAD_SIZE or not head.startswith(MARK):
        return None
    if SEAL.unpack_from(head, HEAD.size)[0] != zlib.crc32(head[: HEAD.size]):
        return None
    _, text_size, arrays_size, text_sum, arrays_sum = HEAD.unpack_from(head)
    return text_size, arrays_size, text_sum, arrays_sum


def is_beginning(handle: int, at: int, size: int) -> bool:
    """Returns whether the last bytes of a file may be the beginning of a block: what a killed process leaves."""
    head = os.pread(handle, HEAD_SIZE, at)
    if len(head) < HEAD_SIZE:
        return head[: len(MARK)] == MARK[: len(head)]
    found = sizes_and_sums(head)
    return found is not None and at + HEAD_SIZE + sum(found[:2]) > size


def next_mark(handle: int, at: int, size: int) -> int | None:
    """Returns the offset of the next mark; None if there is none."""
    while at < size:
        found = os.pread(handle, CHUNK, at).find(MARK)
        if found >= 0:
            return at + found
        at += CHUNK - len(MARK) + 1
    return None


def has_whole_arrays(path: Path, block: Block) -> bool:
    """Returns whether the arrays of a block are what was written."""
    try:
        return zlib.crc32(_content(path, block)) == block.checksum
    except OSError:
        return False


def _content(path: Path, block: Block) -> bytes:
    with opened(path) as handle:
        parts, at = [], block.arrays_at
        while at < block.end and (part := os.pread(handle, min(block.end - at, 2**30), at)):
            parts.append(part)
            at += len(part)
    return b"".join(parts)


def read_arrays(path: Path, block: Block) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a block, by name. Raises InputError if they are damaged."""
    try:
        content = _content(path, block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    if len(content) != block.end - block.arrays_at or zlib.crc32(content) != block.checksum:
        raise InputError(f"{path}: damaged: a block at byte {block.start} is not what was written")
    try:
        return _arrays_in(memoryview(content), block.fields["arrays"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: was not written by ch12, or is corrupt ({error})") from error


def _arrays_in(content: memoryview, described: Sequence[Sequence[Any]]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    at = 0
    for name, kind, shape in described:
        if kind not in KINDS or any(type(side) is not int or side < 0 for side in shape):
            raise ValueError(f"an array of type {kind} and shape {shape}")
        count = prod(shape)
        arrays[name] = (
            np.frombuffer(content, np.dtype(kind), count, at).reshape(shape) if count else np.empty(shape, kind)
        )
        at += count * np.dtype(kind).itemsize
    if at != len(content):
        raise ValueError("arrays of another size")
    return arrays
