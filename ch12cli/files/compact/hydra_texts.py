"""The `.hydra` files of the jobs of a sweep, as texts, from what the jobs share and what is each one's own."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ch12cli.files.hydra_folder import PLAIN, by_section, number_to_yaml, text_to_yaml, to_yaml, with_changes

NUMBER, OUTPUT, NAMES, TASK = "918273645", "@output@", "@names@", "@task@"  # placeholders for what differs
MARKED = 918273646_000  # stands for the first number of a section while it is cut, and the next for the second
MARKS = re.compile(f"(?<![0-9]){MARKED // 1000}([0-9]{{3}})(?![0-9])")
MOST_FORMS = 256  # more cut sections are not kept
PLACES = re.compile(f"([ ]*)- '{TASK}'\n|{NUMBER}|'{OUTPUT}'|'{NAMES}'")


def overrides_yaml(overrides: Sequence[str]) -> str:
    """Returns the content of overrides.yaml, as Hydra writes it."""
    if all(map(PLAIN.fullmatch, overrides)):
        return "".join(f"- {line}\n" for line in overrides) or "[]\n"
    return to_yaml(list(overrides))


class CutSections:
    """Texts of settings by their top-level keys. What jobs share is made once.

    write: returns the text of one section; number: that of a number in it.
    """

    def __init__(
        self, settings: Mapping[str, Any], write: Callable[[Mapping[str, Any]], str], number: Callable[[Any], str]
    ) -> None:
        self.settings, self.write, self.number = settings, write, number
        self.unchanged = {key: write({key: value}) for key, value in settings.items()}
        self.cut: dict[tuple[tuple[str, ...], str], list[str]] = {}  # sections, in pieces

    def texts(self, changes: Mapping[str, Any]) -> Iterable[str]:
        """Returns the texts of all sections with some dotted keys changed."""
        changed = {head: self.section(head, values) for head, values in by_section(changes).items()}
        return {**self.unchanged, **changed}.values()

    def section(self, head: str, changes: Mapping[str, Any]) -> str:
        """Returns the text of a section. It is made once for all jobs in which other numbers stand at the same keys."""
        numbers = {key: value for key, value in changes.items() if type(value) in (int, float)}
        form = tuple(numbers), repr([*changes.items()]) if len(numbers) < len(changes) else head
        if form not in self.cut:
            if len(self.cut) >= MOST_FORMS:
                self.cut.clear()
            marked = {**changes, **{key: MARKED + index for index, key in enumerate(numbers)}}
            section = with_changes({head: self.settings[head]}, marked) if head in self.settings else marked
            self.cut[form] = MARKS.split(self.write(section))
        pieces, values = self.cut[form].copy(), [*numbers.values()]
        for place in range(1, len(pieces), 2):
            pieces[place] = self.number(values[int(pieces[place])])
        return "".join(pieces)


class HydraTexts:
    """The files of jobs with one base. What they share is made once.

    template: hydra.yaml with placeholders where jobs differ; plain: the settings, with interpolations unresolved.
    """

    def __init__(self, template: str, plain: Mapping[str, Any]) -> None:
        self.settings = CutSections(plain, to_yaml, number_to_yaml)
        self.parts: list[str] = []  # of the template, between its placeholders
        self.places: list[tuple[str, str]] = []  # each placeholder, and its indent
        end = 0
        for place in PLACES.finditer(template):
            self.parts.append(template[end : place.start()])
            self.places.append((place[0].strip(), place[1] or ""))
            end = place.end()
        self.parts.append(template[end:])

    def files(
        self, *, number: int, overrides: Sequence[str], changes: Mapping[str, Any], dirname: str, output_dir: str
    ) -> dict[str, bytes]:
        """Returns the contents of the files by name. dirname: the value of hydra.job.override_dirname."""
        listed = overrides_yaml(overrides)
        return {
            "config.yaml": "".join(self.settings.texts(changes)).encode(),
            "overrides.yaml": listed.encode(),
            "hydra.yaml": self.hydra(number, listed if overrides else "", dirname, output_dir).encode(),
        }

    def hydra(self, number: int, listed: str, dirname: str, output_dir: str) -> str:
        values = {
            NUMBER: str(number),
            f"'{OUTPUT}'": text_to_yaml(output_dir),
            f"'{NAMES}'": text_to_yaml(dirname),
        }
        found = [self.parts[0]]
        for (place, indent), part in zip(self.places, self.parts[1:], strict=True):
            found.append(values[place] if place in values else indented(listed, indent))
            found.append(part)
        return "".join(found)


def indented(text: str, indent: str) -> str:
    return "".join(f"{indent}{line}\n" for line in text.splitlines())
