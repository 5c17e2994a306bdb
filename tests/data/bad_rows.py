"""Files with rows that cannot be used: each with what must be said of it."""

import gzip
import pickle
from typing import NamedTuple

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
HEADER = ",".join(NAMES)
ROW = "5.1,3.5,1.4,0.2"


class Bad(NamedTuple):
    """A file's content, and what must be said of it: its place first."""

    name: str
    content: bytes
    says: tuple[str, ...]


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def cell(name: str, written: str, *says: str) -> Bad:
    """A good file but for the second column of its second row, which is on line 3."""
    row = f'5.1,"{written}",1.4,0.2' if "," in written else f"5.1,{written},1.4,0.2"
    return Bad(name, text(HEADER, ROW, row, ROW), ("line 3", "column sepal_width", *says))


LAYOUT = [
    Bad("nothing", b"", ("empty", "header")),
    Bad("a line break", b"\n", ("empty",)),
    Bad("blank lines", b"\r\n\r\n\n", ("empty",)),
    Bad("blanks", b"   \t  ", ("empty",)),
    Bad("a mark alone", b"\xef\xbb\xbf", ("empty",)),
    Bad("a header alone", text(HEADER), ("no rows", "line 1")),
    Bad("a header without a line break", HEADER.encode(), ("no rows",)),
    Bad("a header and blank lines", text(HEADER, "", "", ""), ("no rows",)),
    Bad("numbers without a header", text(ROW, ROW), ("line 1", "holds numbers", "sepal_length")),
    Bad("a title first", text("my flowers", HEADER, ROW), ("line 1", "no column sepal_length", "my flowers")),
    Bad("a column missing", text("id,sepal_length,sepal_width,petal_length", "1,5.1,3.5,1.4"), ("petal_width", "id")),
    Bad("all columns missing", text("a,b", "1,2"), ("no column sepal_length", "no column petal_width", "a, b")),
    Bad(
        "a name with a blank", text(HEADER.replace("sepal_length", "sepal length"), ROW), ("if sepal length is meant",)
    ),
    Bad("a name in capitals", text(HEADER.upper(), ROW), ("no column sepal_width; if SEPAL_WIDTH is meant",)),
    Bad("a name misspelt", text(HEADER.replace("petal_w", "pedal_w"), ROW), ("if pedal_width is meant, rename it",)),
    Bad("a column twice", text(f"{HEADER},petal_width", f"{ROW},1"), ("line 1", "petal_width more than once")),
    Bad("another column twice", text(f"id,{HEADER},id", f"1,{ROW},1"), ("line 1", "id more than once")),
    Bad("a short row", text(HEADER, ROW, "5.1,3.5,1.4"), ("line 3", "has 3 columns", "4")),
    Bad("a long row", text(HEADER, f"{ROW},9", ROW), ("line 2", "has 5 columns")),
    Bad("a comma at the end of a row", text(HEADER, ROW, f"{ROW},"), ("line 3", "has 5 columns")),
    Bad("a remark between without a sign", text(HEADER, "measured in May", ROW), ("line 2", "has 1 column,")),
    Bad("ragged throughout", text(HEADER, *["1"] * 50), ("line 2", "and 46 more")),
    Bad("an open quote", text(HEADER, ROW, '5.1,"3.5,1.4,0.2', ROW), ("line 3", "not closed")),
    Bad("text behind a quote", text(HEADER, '"5.1"cm,3.5,1.4,0.2'), ("line 2", "closing quote")),
    Bad("semicolons", text(HEADER.replace(",", ";"), ROW.replace(",", ";")), ("line 1", "semicolons", "commas")),
    Bad(
        "semicolons and decimal commas",
        text(HEADER.replace(",", ";"), "5,1;3;1;0", "4,9;3;1;0"),
        ("line 1", "semicolons", "commas"),
    ),
    Bad("tabs", text(HEADER.replace(",", "\t"), ROW.replace(",", "\t")), ("line 1", "tabs")),
    Bad("bars", text(HEADER.replace(",", "|"), ROW.replace(",", "|")), ("line 1", "bars")),
    Bad("a cell without end", text(f"id,{HEADER}", f"{'x' * 200_000},{ROW}"), ("line 2", "131072")),
    Bad("JSON", b'[{"sepal_length": 5.1}]\n', ("line 1", "no column sepal_length")),
    Bad("a page", b"<!DOCTYPE html>\n<html></html>\n", ("line 1", "no column")),
]
CELLS = [
    cell("a word", "wide", "'wide' is not a number"),
    cell("a unit", "3.5cm", "'3.5cm' is not a number"),
    cell("a decimal comma", "3,5", "'3,5' is not a number; write 3.5"),
    cell("thousands", "1,234.5", "'1,234.5' is not a number"),
    cell("an underscore", "1_000", "'1_000' is not a number"),
    cell("hexadecimal", "0x10", "not a number"),
    cell("digits of another script", "٣", "not a number"),
    cell("wide digits", "３.５", "not a number"),
    cell("two signs", "--3", "not a number"),
    cell("two points", "3.5.1", "not a number"),
    cell("a point alone", ".", "not a number"),
    cell("an exponent alone", "e5", "not a number"),
    cell("true", "true", "not a number"),
    cell("a date", "2026-05-17", "not a number"),
    cell("a complex number", "1+2j", "not a number"),
    cell("a fraction", "7/2", "not a number"),
    cell("a percentage", "3.5%", "not a number"),
    cell("a formula", "=B2", "'=B2' is not a number"),
    cell("an empty cell", "", "is empty", "needs a value"),
    cell("a blank cell", "  ", "is empty"),
    cell("nan", "nan", "nan is not a number", "needs a value"),
    cell("NaN", "NaN", "needs a value"),
    cell("NA", "NA", "needs a value"),
    cell("N/A", "N/A", "needs a value"),
    cell("null", "null", "needs a value"),
    cell("a question mark", "?", "needs a value"),
    cell("a dash", "-", "needs a value"),
    cell("inf", "inf", "inf is not finite"),
    cell("-inf", "-inf", "-inf is not finite"),
    cell("Infinity", "Infinity", "not finite"),
    cell("1e400", "1e400", "1e400 is too large"),
    cell("-1e400", "-1e400", "-1e400 is too large"),
    cell("five hundred digits", "9" * 500, "too large", "…"),
    cell("control characters", "\x1b[31m3", "'\\x1b[31m3' is not a number"),
    Bad(
        "many at once",
        text(HEADER, "a,b,c,d", ROW, "nan,1,2,"),
        ("line 2, column sepal_length", "line 2, column petal_width", "and 2 more"),
    ),
]
ENCODINGS = [
    Bad("UTF-16", text(HEADER, ROW).decode().encode("utf-16"), ("UTF-16", "save it as UTF-8")),
    Bad("UTF-16, the other way", b"\xfe\xff" + text(HEADER, ROW).decode().encode("utf-16-be"), ("UTF-16",)),
    Bad("UTF-16 without a mark", text(HEADER, ROW).decode().encode("utf-16-le"), ("line 1, byte 2", "UTF-16")),
    Bad("UTF-32", text(HEADER, ROW).decode().encode("utf-32-be"), ("NUL byte", "UTF-8")),
    Bad("Latin-1 in the header", f"größe,{HEADER}\n1,{ROW}\n".encode("latin-1"), ("line 1, byte 3", "0xf6", "Latin-1")),
    Bad("Latin-1 in a row", f"name,{HEADER}\nrosé,{ROW}\n".encode("latin-1"), ("line 2, byte 4", "0xe9")),
    Bad("Windows-1252", f"name,{HEADER}\n“a”,{ROW}\n".encode("cp1252"), ("line 2, byte 1", "0x93", "Windows-1252")),
    Bad("a mark, then Latin-1", b"\xef\xbb\xbf" + text(HEADER, ROW) + b"\xe9", ("line 3, byte 1", "0xe9")),
    Bad("half a character at the end", text(f"name,{HEADER}", f"x,{ROW}") + b"\xc3", ("line 3, byte 1", "0xc3")),
    Bad("a surrogate", text(f"name,{HEADER}") + b"\xed\xa0\x80," + ROW.encode(), ("line 2, byte 1", "0xed")),
    Bad("a NUL byte in a cell", text(HEADER, ROW, "5.1,3\0.5,1.4,0.2"), ("line 3, byte 6", "NUL byte")),
    Bad("a NUL byte at the end", text(HEADER, ROW) + b"\0", ("line 3, byte 1", "NUL byte")),
    Bad("zeros only", b"\0" * 4096, ("line 1, byte 1", "NUL byte")),
    Bad("an archive", b"PK\x03\x04" + b"\0" * 30, ("ZIP archive or an Excel workbook", "CSV")),
    Bad("an old workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, ("Excel workbook",)),
    Bad("compressed and cut off", b"\x28\xb5\x2f\xfd\x24\x05\x29", ("damaged", "ends within the compressed data")),
    Bad("compressed twice", gzip.compress(gzip.compress(text(HEADER, ROW))), ("compressed", "unpack")),
    Bad("Parquet", b"PAR1\x15\x04\x15", ("is damaged",)),
    Bad("a document", b"%PDF-1.7\n%\xe2\xe3", ("PDF",)),
    Bad("a pickle", pickle.dumps({"sepal_length": [5.1]}, protocol=2), ("line 1, byte 5", "NUL byte")),
]
# Numbers that a file may hold, and a network in float32 cannot take.
TOO_LARGE = [
    Bad("1e39", text(HEADER, ROW, "1e39,1,1,1"), ("line 3, column sepal_length", "1e+39", "too large")),
    Bad("-1e300", text(HEADER, "1,1,1,-1e300", ROW), ("line 2, column petal_width", "-1e+300", "too large")),
    Bad("1e308 everywhere", text(HEADER, "1e308,1e308,1e308,1e308"), ("line 2, column sepal_length", "4 such values")),
    Bad("the most that fits", text(HEADER, ROW, "2.6e38,-1.3e38,5.7e38,2.4e38"), ("line 3", "no finite answer")),
]
BAD = [*LAYOUT, *CELLS, *ENCODINGS]
