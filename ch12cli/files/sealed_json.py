"""JSON files with a format version and a checksum: result.json and plan.json."""

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError

FORMAT_KEY = "format"
CHECKSUM = "checksum"


class NewerFormatError(InputError):
    """A file was written by a later version of ch12, in a format unknown to this one."""


def require_known_format(content: Mapping[str, Any], path: Path | str, *, newest: int) -> int:
    """Returns the format version of a file; 1 if it has none. Raises NewerFormatError if it is above `newest`."""
    version = content.get(FORMAT_KEY, 1)
    if type(version) is not int or version < 1:
        raise InputError(f"{path}: its format version {version!r} is not a whole number from 1")
    if version > newest:
        raise NewerFormatError(
            f"{path}: written by a newer ch12 (format {version}; this version reads up to {newest}): upgrade ch12"
        )
    return version


def checksum(content: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the values of a JSON file, to detect damage."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


PLAIN = frozenset((str, int, bool, float, type(None)))


def to_json(value: Any, *, indent: str = "\n") -> str:
    """Returns the text of json.dumps with an indent of 2, in a fraction of the time. Non-finite numbers become null."""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "null"
    if isinstance(value, str):
        return encode_basestring(value)
    inside = indent + "  "
    if isinstance(value, Mapping) and value:
        if type(value) is dict and PLAIN.issuperset(map(type, value.values())):
            with suppress(ValueError):  # there is a number that is not finite
                return "{" + inside + _encoder(inside).encode(value)[1:-1] + indent + "}"
        lines = [f"{encode_basestring(name)}: {to_json(inner, indent=inside)}" for name, inner in value.items()]
        return "{" + inside + ("," + inside).join(lines) + indent + "}"
    if isinstance(value, list | tuple) and value:
        return "[" + inside + ("," + inside).join([to_json(inner, indent=inside) for inner in value]) + indent + "]"
    return json.dumps(value)


@cache
def _encoder(inside: str) -> json.JSONEncoder:
    """Returns an encoder in C of a mapping of plain values, which begins each item on a line. It has no indent."""
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=("," + inside, ": "))
