"""A verb's options and its words; a mistyped option gets the nearest right one."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ch12cli.cli.text.named import find
from ch12cli.config.suggest import did_you_mean, nearest
from ch12cli.errors import HelpShown, InputError


class Arguments(argparse.ArgumentParser):
    """An argparse parser that raises InputError instead of ending the program.

    own_help: the verb itself answers --help; else its page is printed, and HelpShown raised.
    """

    def __init__(self, verb: str, *, own_help: bool = False) -> None:
        super().__init__(prog=f"ch12 {verb}", add_help=False, allow_abbrev=False)
        self.verb, self.own_help = verb, own_help
        self.add_argument("-h", "--help", action="store_true")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")

    def read(
        self, words: Sequence[str], *, check: Callable[[argparse.Namespace], None] = lambda _options: None
    ) -> argparse.Namespace:
        """The options; the words that are none are in `words`.

        InputError for an option that there is not, with all that `check` then finds wrong besides.
        """
        options, rest = self.parse_known_intermixed_args(list(words)) if words else (self.parse_args([]), [])
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        unknown = [word for word in rest if word.startswith("-")]
        if unknown:
            problems = [f"{word}: no such option{self.hint(word, known)}" for word in unknown]
            try:
                check(options)
            except InputError as error:
                problems += error.messages
            raise InputError(problems)
        if options.help and not self.own_help:
            from ch12cli.cli.help.overview import format_verb_help

            print(format_verb_help(self.verb, self))
            raise HelpShown
        return options

    def hint(self, word: str, known: Sequence[str]) -> str:
        """What may be meant by an option that there is not: another, or a key, which is typed without dashes."""
        from ch12cli.config.choices import default_choices, known_keys  # longer than listing a hundred runs

        name, _, value = word.partition("=")
        typed = len(name) > 3 and self.verb == "train"
        keys = nearest(name.lstrip("-"), [*known_keys(), *default_choices()]) if typed else []
        meant = f"; did you mean `{keys[0]}={value or '…'}`?" if keys else f"; see `{self.prog} --help`"
        return did_you_mean(name, known) or meant


def run_directory(verb: str, words: Sequence[str], *, takes: int = 1) -> Path:
    """The directory of a run, which the first word names. takes: how many words the verb takes.

    InputError for what is clearly none; looking into it is for those who read it.
    """
    if not words:
        raise InputError(f"{verb}: which run? give its directory: ch12 {verb} outputs/…")
    if len(words) > takes:
        raise InputError(f"{words[takes]}: one word too many; see `ch12 {verb} --help`")
    directory = find(words[0])
    try:
        if (directory / "sweep.csv").is_file():
            raise InputError(f"{directory}: is a sweep; give one of its runs, such as {directory / '0'}")
        if directory.is_file():
            raise InputError(f"{directory}: is a file; give the directory of a run")
        if not directory.is_dir():
            raise InputError(f"{directory}: no such directory")
    except (OSError, ValueError) as error:  # a name too long, or with a NUL byte in it
        raise InputError(f"{directory}: no such directory ({error})") from None
    return directory
