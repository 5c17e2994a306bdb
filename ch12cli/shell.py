"""Quotes commands and overrides that are printed to be typed: bash, zsh and fish read the same words from them."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

# A word that all three shells read as it stands. At the start of a word, zsh expands = and fish expands %.
PLAIN_WORD = re.compile(r"[\w@+:,./-][\w@%+=:,./-]*", re.ASCII)
BARE_QUOTE = re.compile(r"['\\]+")  # inside single quotes, fish takes a backslash before these for an escape
ESCAPED_QUOTE = {"'": re.compile(r"(\\*)('|$)"), '"': re.compile(r'(\\*)("|$)')}  # and the backslashes before it
UNQUOTED = re.compile(r"[A-Za-z0-9_./:@%+-]+")  # texts that need no quotes in an override


def shell_word(text: str) -> str:
    """Returns a text as one word of a shell's command line, quoted where a shell would change or split it."""
    if PLAIN_WORD.fullmatch(text):
        return text
    parts = re.split(f"({BARE_QUOTE.pattern})", text)
    return "".join(_quoted(part) for part in parts if part) or "''"


def _quoted(part: str) -> str:
    if BARE_QUOTE.match(part):
        return '"' + part.replace("\\", "\\\\") + '"'
    return f"'{part}'"


def shell_line(words: Iterable[str]) -> str:
    """Returns words as a shell's command line."""
    return " ".join(map(shell_word, words))


def assignment(key: str, value: Any) -> str:
    """Returns the override that sets a key to a value, as a word of a shell's command line."""
    return shell_word(f"{key}={override_value(value)}")


def names_option(key: str, names: Iterable[str]) -> str:
    """Returns the override that sets a key to a list of names, as a word; OmegaConf interpolates nothing in them."""
    return assignment(key, [name.replace("${", "\\${") for name in names])


def override_value(value: Any) -> str:
    """Returns a configuration value in the syntax of an override."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{override_value(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(override_value, value))}]"
    if isinstance(value, str):
        looks_like_text = UNQUOTED.fullmatch(value) and not _is_literal(value)
        return value if looks_like_text else _quoted_value(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _quoted_value(text: str) -> str:
    """Returns a text in quotes of an override: double ones, which a shell's single quotes may enclose."""
    sign = "'" if '"' in text else '"'
    return sign + ESCAPED_QUOTE[sign].sub(lambda found: found[1] * 2 + (f"\\{sign}" if found[2] else ""), text) + sign


def _is_literal(text: str) -> bool:
    """Returns whether an unquoted override would parse this text as something other than text."""
    if text.lower() in ("null", "true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
