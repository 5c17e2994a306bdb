"""Text that came from a file, made safe to show: control characters become escapes."""


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""The text with characters that do not print, such as ESC, written as escapes (`\x1b`).

    A terminal obeys such characters: U+202E, for one, reverses the text after it. keep: characters left as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else repr(letter)[1:-1] for letter in text)


def encodable(text: str, encoding: str) -> str:
    """The text with characters that the encoding lacks written as escapes."""
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)
