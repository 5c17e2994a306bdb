"""Options of all verbs: what is refused, in the form of the other messages."""

from argparse import Action
from importlib import import_module

import pytest

from ch12cli.cli.help.arguments import Arguments
from ch12cli.cli.main import main
from ch12cli.cli.verbs import VERBS
from ch12cli.errors import InputError


def parsers() -> dict[str, Arguments]:
    modules = {verb: import_module(f"ch12cli.cli.verbs.{verb}") for verb in VERBS}
    return {verb: module.parser() for verb, module in modules.items() if hasattr(module, "parser")}


OPTIONS = [
    pytest.param(verb, parser, action, id=f"{verb}{action.option_strings[-1]}")
    for verb, parser in parsers().items()
    for action in parser._actions
    if action.option_strings
]


@pytest.mark.parametrize(("verb", "parser", "action"), OPTIONS)
def test_what_an_option_refuses_is_said_by_its_name_and_rule(verb: str, parser: Arguments, action: Action) -> None:
    name, see = action.option_strings[-1], f"see `ch12 {verb} --help`"
    if action.nargs == 0:
        refused = {f"{name}=3": f"{name}=3: {name} takes no value; {see}"}
    else:
        words = f", one of {', '.join(action.choices)}" if action.choices else ""
        refused = {name: f"{name}: needs a value{words}; {see}"}
    if action.choices:
        refused[f"{name}=0"] = f"{name} 0: must be one of {', '.join(action.choices)}; {see}"
    for word, message in refused.items():
        with pytest.raises(InputError) as raised:
            parser.read([word])
        assert str(raised.value) == message


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["tune", "--trials", "x"], ["--trials x: must be a whole number from 1 to 1000000; see `ch12 tune --help`"]),
        (["tune", "--trials=1.5"], ["--trials 1.5: must be a whole number from 1 to 1000000; see `ch12 tune --help`"]),
        (["plot", "x", "--kind", "residual"], ["one of curve, norms, boundary, ", "; did you mean `residuals`?"]),
        (["eval", "--split", "foo", "--checkpoint", "5"], ["--split foo: must be one of", "--checkpoint 5: must be"]),
        (["runs", "--limit", "-3", "--sorted"], ["--limit -3: must be a whole number", "--sorted: no such option"]),
        (["bench", "loader", "--seconds", "nan"], ["--seconds nan: must be a number at least 0.05 and at most 60"]),
        (["show", "-hq"], ["-hq: --help takes no value"]),
        (["train", "-vqx"], ["--quiet takes no value"]),
        (["work", "x", "--stack", ""], ["--stack '': must be a whole number"]),
    ],
)
def test_all_wrong_options_are_said_at_once_with_exit_code_2(
    words: list[str], messages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert all(message in error for message in messages)
    assert all(line.startswith("ch12: -") for line in error.splitlines())
    assert "argument" not in error
    assert "invalid" not in error
