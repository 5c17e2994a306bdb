"""Reads a verb's command line: its options, its operands, and the runs that they name."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ch12cli.catalogue import names
from ch12cli.cli.help.page import show_page
from ch12cli.cli.text.problems import print_problems
from ch12cli.errors import HelpShown, InputError, Problem, os_problem
from ch12cli.files.compact.run_files import run_exists
from ch12cli.files.plain_values import number_in_text
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import RESULT
from ch12cli.rules import OneOf, Rule
from ch12cli.shell import shell_word
from ch12cli.suggest import did_you_mean, nearest, suggestion


class Arguments(argparse.ArgumentParser):
    """An argparse parser that raises InputError instead of ending the program.

    What is no option ends up in `operands`. own_help: the verb answers --help itself; otherwise the verb's page is
    printed and HelpShown is raised. A refused value is a problem as those of the configuration: the option, the value,
    the rule, and what to do.
    """

    def __init__(self, verb: str, *, own_help: bool = False) -> None:
        super().__init__(prog=f"ch12 {verb}", add_help=False, allow_abbrev=False, exit_on_error=False)
        self.verb, self.own_help = verb, own_help
        self.wrong_values: list[Problem] = []
        self.add_argument("-h", "--help", action="store_true")
        self.add_argument("operands", nargs="*")

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Adds an option, or the operands. Its choices, if any, are the rule of its value."""
        if choices := settings.get("choices"):
            words = tuple(map(str, choices))
            settings["type"] = self._checked(names[-1], str, OneOf(words), instead=words[0])
        return super().add_argument(*names, **settings)

    def add_number(self, name: str, rule: Rule, **settings: Any) -> None:
        """Adds an option whose value is a number that a rule allows."""
        super().add_argument(name, type=self._checked(name, number_in_text, rule, instead=None), **settings)

    def _checked(self, name: str, read: Callable[[str], Any], rule: Rule, *, instead: Any) -> Callable[[str], Any]:
        """Returns what reads the value of an option. It notes a problem with a wrong one, and gives `instead`."""

        def read_value(text: str) -> Any:
            value = read(text)
            if rule.allows(value):
                return value
            near = suggestion(text, rule.words) if isinstance(rule, OneOf) else ""
            self.wrong_values.append(
                Problem(f"{name} {shell_word(text)}", None, f"must be {rule}", near or self._see_help)
            )
            return instead

        return read_value

    @property
    def _see_help(self) -> str:
        return f"see `{self.prog} --help`"

    def add_trust(self) -> None:
        """Adds the option --trust."""
        self.add_argument("--trust", action="store_true", help="the run is your own: allow imports of your own classes")

    def add_verbosity(self, *, quiet: str | None = None) -> None:
        """Adds the options --quiet and --verbose. quiet: what --quiet does, for a page made from the options."""
        self.add_argument("-q", "--quiet", action="store_true", help=quiet)
        self.add_argument("-v", "--verbose", action="store_true", help=quiet and "print every epoch")

    def add_format(self) -> None:
        """Adds the option --format."""
        self.add_argument("--format", choices=["text", "json"], default="text", help="output format (default: text)")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self._see_help}")

    def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Returns the options and operands, and the words that are neither."""
        if not argv:
            return self.parse_args([]), []
        try:
            return self.parse_known_intermixed_args(list(argv))
        except argparse.ArgumentError as error:
            named = [each for each in self._actions if "/".join(each.option_strings) == error.argument_name]
            if not named:
                self.error(error.message)
            raise InputError(self._missing_or_surplus(named[0], argv)) from None

    def _missing_or_surplus(self, action: argparse.Action, argv: Sequence[str]) -> Problem:
        """Returns the problem of an option that lacks its value, or has one but takes none."""
        names = tuple(action.option_strings)
        if action.nargs == 0:
            word = next((word for word in argv if word.startswith(names) and word not in names), names[-1])
            return Problem(word, None, f"{names[-1]} takes no value", self._see_help)
        words = f", one of {', '.join(map(str, action.choices))}" if action.choices else ""
        return Problem(names[-1], None, f"needs a value{words}", self._see_help)

    def read(
        self, argv: Sequence[str], *, check: Callable[[argparse.Namespace], None] = lambda _options: None
    ) -> argparse.Namespace:
        """The options and operands of a command line.

        InputError for unknown options and wrong values, together with the problems that `check` finds in the rest.
        """
        self.wrong_values.clear()
        options, rest = self.parse(argv)
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        unknown = [argument for argument in rest if argument.startswith("-")]
        problems: list[str | Problem] = [*self.wrong_values]
        problems += [f"{argument}: no such option{self.suggestion(argument, known)}" for argument in unknown]
        if problems:
            try:
                check(options)
            except InputError as error:
                problems += error.problems
            raise InputError(problems)
        if options.help and not self.own_help:
            from ch12cli.cli.help.overview import format_verb_help

            show_page(format_verb_help(self.verb, self))
            raise HelpShown
        return options

    def has_option(self, word: str) -> bool:
        """Returns whether a word, such as `--plan` or `--format=json`, is one of the options."""
        return any(word.partition("=")[0] in action.option_strings for action in self._actions)

    def suggestion(self, argument: str, known: Sequence[str]) -> str:
        """What an unknown option may mean: another option, or a configuration key, which takes no dashes."""
        from ch12cli.config.choices import default_choices, known_keys  # its import takes longer than `ch12 runs`

        name, _, value = argument.partition("=")
        may_be_key = len(name) > 3 and self.verb == "train"
        keys = nearest(name.lstrip("-"), [*known_keys(), *default_choices()]) if may_be_key else []
        key = (
            f"; did you mean `{shell_word(f'{keys[0]}={value}') if value else f'{keys[0]}=…'}`?"
            if keys
            else f"; {self._see_help}"
        )
        return did_you_mean(name, known) or key


def verbosity_of(options: argparse.Namespace) -> int:
    """-1 for --quiet, 1 for --verbose, else 0."""
    return int(options.verbose) - int(options.quiet)


def find_run(name: str) -> Path:
    """The directory of the run or sweep that a user names. Reports which one @best is."""
    path = names.find_run_directory(name)
    if name == "@best":
        result = read_result(path / RESULT)
        value = "" if result is None else f": {str(result.monitor).replace('_', ' ')} {result.objective:.4g}"
        print_problems([f"@best is {path}{value}, the best on the newest run's data"])
    return path


def find_run_directory_operand(verb: str, operands: Sequence[str], *, most: int = 1) -> Path:
    """The directory of the run that the first operand names. most: how many operands the verb takes.

    InputError for a sweep, a file, or nothing; the contents are checked by those who read them.
    """
    if not operands:
        raise InputError(f"{verb}: no run given; name one: ch12 {verb} outputs/…")
    if len(operands) > most:
        raise InputError(f"{operands[most]}: unexpected argument; see `ch12 {verb} --help`")
    directory = find_run(operands[0])
    try:
        if (directory / "sweep.csv").is_file():
            raise InputError(f"{directory}: is a sweep; name one of its runs, such as {directory / '0'}")
        if directory.is_file():
            raise InputError(f"{directory}: is a file; name the directory of a run")
        if not run_exists(directory):
            raise InputError(f"{directory}: no such directory")
    except PermissionError as error:
        raise os_problem(f"cannot read {directory}", error) from error
    except (OSError, ValueError) as error:  # the name is too long, or contains a NUL byte
        raise InputError(f"{directory}: no such directory ({error})") from None
    return directory
