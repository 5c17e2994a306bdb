"""Makes text from untrusted files safe to display."""


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""Returns the text with non-printable characters, such as ESC, written as escapes (`\x1b`).

    Terminals act on such characters: U+202E reverses the text after it. keep: characters left unchanged.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else repr(letter)[1:-1] for letter in text)


def encodable(text: str, encoding: str) -> str:
    """Returns the text with characters that the encoding lacks written as escapes."""
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)
