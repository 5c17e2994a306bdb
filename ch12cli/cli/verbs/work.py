"""`ch12 work`: trains one bundle of a submitted sweep. The processes that an engine starts run it."""

from collections.abc import Sequence

from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import printable
from ch12cli.errors import InputError
from ch12cli.rules import LARGEST, IntegerRule


def parser() -> Arguments:
    arguments = Arguments("work")
    arguments.add_number(
        "--stack", IntegerRule(0, LARGEST), metavar="K", help="the number of the bundle of stacks to train"
    )
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if len(options.operands) != 1 or options.stack is None:
        raise InputError("work: name one sweep, and the bundle to train: ch12 work SWEEP --stack 0")
    from ch12cli.engines.work import work_on

    def tell(line: str) -> None:
        print(printable(line), flush=True)  # the process may be killed

    return work_on(find_run(options.operands[0]), options.stack, trust=options.trust, tell=tell)
