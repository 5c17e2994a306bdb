"""`ch12 book`: runs the chapter's sections and items and compares their output with the book."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.cli.help.arguments import Arguments
from ch12cli.errors import InputError
from ch12cli.files.plain_values import whole_number_in

if TYPE_CHECKING:
    from rich.text import Text

    from ch12cli.book.demo import Demo
    from ch12cli.book.handout import ChapterPart
    from ch12cli.book.run import Ran
    from ch12cli.cli.text.screen import Screen

DIFFERS = 3
HEIGHT = 20  # lines of a plot
MAX_WIDTH = 100  # characters of a line of text


def parser() -> Arguments:
    arguments = Arguments("book")
    arguments.add_argument(
        "--check", action="store_true", help="run all items; exit code 3 if one differs from the book"
    )
    arguments.add_argument("--device", default="cpu", help="where to compute, as cuda, where an item leaves that open")
    arguments.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="type of the numbers")
    arguments.add_argument("--format", choices=["text", "md", "ipynb", "html"], default="text", help="of a hand-out")
    arguments.add_argument("-o", "--output", type=Path, metavar="FILE", help="the hand-out's file, else printed")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    numbers, demos = select(options.operands)
    if options.output is not None and (options.format == "text" or not options.output.parent.is_dir()):
        rule = "needs --format md, ipynb or html" if options.format == "text" else "there is no such directory"
        raise InputError(f"-o {options.output}: {rule}")
    device = checked_device(options.device)
    given = device != "cpu" or options.dtype != "float32"
    import torch

    from ch12cli.book.run import run_item
    from ch12cli.cli.text.screen import Screen

    dtype: torch.dtype = getattr(torch, options.dtype)
    if options.format != "text":
        return hand_out(options, [run_item(number, device=device, dtype=dtype) for number in numbers], demos)
    differing = 0
    with Screen() as screen:
        before = ""
        for number in numbers:
            ran = run_item(number, device=device, dtype=dtype)
            differing += not ran.same
            if ran.printed.section != before:
                from ch12cli.book.printed import SECTIONS

                before = ran.printed.section
                screen.print([*([""] if number != numbers[0] else []), styled(f"{before} {SECTIONS[before]}", "bold")])
            if options.operands and not options.check:
                show_item(screen, ran)
            else:
                screen.print([line_of(ran)])
        for make in () if options.check or not options.operands else demos:
            show_demo(screen, make())
        if options.check or not options.operands:
            screen.print(["", f"{len(numbers) - differing} of {len(numbers)} as in the book"])
        if not options.operands and not options.check:
            screen.print(["`ch12 book 12.1` runs a section, `ch12 book 24` an item"])
    return DIFFERS if options.check and differing and not given else 0


def select(argv: Sequence[str]) -> tuple[list[int], list[Any]]:
    """Returns the item numbers that the words name, and the demonstrations of the named sections.

    Raises InputError if a word is neither a section nor an item.
    """
    from ch12cli.book.printed import ITEMS, SECTIONS

    numbers, sections = list[int](), list[str]()
    for word in argv:
        if word in SECTIONS:
            sections.append(word)
            numbers += [number for number, item in ITEMS.items() if item.section == word]
        elif (item_number := whole_number_in(word)) in ITEMS:
            numbers.append(item_number)
        else:
            raise InputError(
                f"{word}: no section ({', '.join(SECTIONS)}) and no item (1 to {len(ITEMS)}) of the chapter"
            )
    if not argv:
        numbers, sections = list(ITEMS), list(SECTIONS)
    from ch12cli.book.demos import DEMOS

    return list(dict.fromkeys(numbers)), [make for section in dict.fromkeys(sections) for make in DEMOS[section]]


def checked_device(name: str) -> str:
    from ch12cli.run.task import choose_device

    try:
        return str(choose_device(name))
    except (InputError, RuntimeError) as error:
        raise InputError(f"--device {name}: {str(error).partition(': ')[2] or 'must be cpu, cuda or mps'}") from None


def styled(text: str, style: str) -> "Text":
    from rich.text import Text

    return Text(text, style=style)


def mark(ran: "Ran", *, ascii_only: bool) -> tuple[str, str]:
    sign = ("ok", "no") if ascii_only else ("✓", "✗")
    return (sign[0], "green") if ran.same else (sign[1], "bold red")


def line_of(ran: "Ran") -> "Text":
    from rich.text import Text

    from ch12cli.book.handout import item_heading, verdict

    label = f"  {item_heading(ran):<40}"
    return Text.assemble(mark(ran, ascii_only=False), label, ("" if ran.same else verdict(ran), "dim"))


def show_item(screen: "Screen", ran: "Ran") -> None:
    """Prints an item's description, its code, and its output beside the book's.

    Lines of code stay whole, however narrow the terminal is, so that they can be copied.
    """
    from rich.syntax import Syntax
    from rich.text import Text

    from ch12cli.book.handout import item_heading, verdict
    from ch12cli.cli.text.console import wrap

    terminal = screen.console.is_terminal
    about = wrap(ran.about, min(screen.console.width, MAX_WIDTH)) if terminal else [ran.about]
    screen.print(["", styled(item_heading(ran), "bold"), *about, ""])
    if terminal:
        syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        screen.print(syntax.highlight(ran.code.rstrip()).split("\n", allow_blank=True))
    else:
        screen.print(ran.code.rstrip().splitlines())
    screen.print(["", *beside(ran.output, ran.printed.text, width=screen.console.width)])
    screen.print([Text.assemble(mark(ran, ascii_only=screen.ascii_only), f" {verdict(ran)}")])


def beside(computed: str, printed: str, *, width: int) -> list[str]:
    """Returns the computed and printed output in two columns, or one below the other if they do not fit."""
    left, right = (["computed", *computed.splitlines()], ["in the book", *printed.splitlines()])
    room = max(map(len, left)) + 4
    if room + max(map(len, right)) + 2 > width:
        return [f"  {line}" for line in [*left, "", *right]]
    return [f"  {a:<{room}}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]


def show_demo(screen: "Screen", demo: "Demo") -> None:
    from rich.text import Text

    from ch12cli.cli.text.console import wrap
    from ch12cli.plots.text_drawer import draw_text

    width = screen.console.width
    screen.print(
        [
            "",
            styled(demo.title, "bold"),
            *wrap(demo.about, min(width, MAX_WIDTH)),
            "",
            *(f"  {line}" for line in demo.lines),
        ]
    )
    for plot in demo.plots:
        drawn = draw_text(plot, width=width, height=HEIGHT, ascii_only=screen.ascii_only)
        screen.print(["", *(Text.assemble(*((text, style or "") for text, style in line)) for line in drawn)])


def hand_out(options: Any, items: Sequence["Ran"], demos: Sequence[Any]) -> int:
    """Writes the items and demonstrations as a handout, to a file or standard output."""
    from ch12cli.book.demos import DEMOS
    from ch12cli.book.handout import ChapterPart, as_markdown, as_notebook
    from ch12cli.files.atomic import write_whole

    parts: dict[str, ChapterPart] = {}
    for ran in items:
        parts.setdefault(ran.printed.section, ChapterPart(ran.printed.section)).items.append(ran)
    for section, makes in DEMOS.items():
        for make in makes:
            if make in demos:
                parts.setdefault(section, ChapterPart(section)).demos.append((make.__name__, make()))
    ordered = [parts[section] for section in sorted(parts)]
    forms = {"md": as_markdown, "ipynb": as_notebook, "html": as_page}
    content = forms[options.format](ordered)
    if options.output is None:
        print(content.decode(), end="")
    else:
        write_whole(options.output, content)
        print(options.output)
    return 0


def as_page(parts: Sequence["ChapterPart"]) -> bytes:
    """Returns the handout as a self-contained HTML page."""
    from ch12cli.book.handout import TITLE, item_heading, verdict
    from ch12cli.report.page import as_html, document, gallery

    sections = [f"<h1>{as_html(TITLE)}</h1>"]
    for part in parts:
        sections.append(f"<h2>{as_html(part.title)}</h2>")
        for ran in part.items:
            state = "finished" if ran.same else "failed"
            sections += [
                f"<section><h3>{as_html(item_heading(ran))}</h3><p>{as_html(ran.about)}</p>",
                f"<pre>{html_lines(ran.code)}</pre><div class='beside'>",
                f"<div><p>Computed</p><pre>{html_lines(ran.output)}</pre></div>",
                f"<div><p>In the book</p><pre>{html_lines(ran.printed.text)}</pre></div></div>",
                f"<p class='status {state}'>{'✓' if ran.same else '✗'} {as_html(verdict(ran))}</p>",
                "</section>",
            ]
        for _, demo in part.demos:
            lines = html_lines("\n".join(demo.lines))
            sections += [f"<section><h3>{as_html(demo.title)}</h3><p>{as_html(demo.about)}</p><pre>{lines}</pre>"]
            sections += [gallery(demo.plots), "</section>"]
    return document(TITLE, sections)


def html_lines(text: str) -> str:
    """Returns the lines escaped for HTML."""
    from ch12cli.report.page import as_html

    return "\n".join(as_html(line) for line in text.rstrip("\n").split("\n"))
