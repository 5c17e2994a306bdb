"""A demonstration: what was found, as text and pictures, which a notebook shows by itself."""

from dataclasses import dataclass, field
from html import escape

from ch12cli.plots.plot import Picture


@dataclass(frozen=True)
class Demo:
    """What a demonstration found. lines: text; a notebook shows it by itself."""

    title: str
    about: str
    lines: list[str]
    pictures: list[Picture] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join([self.title, "", self.about, *self.lines])

    def _repr_html_(self) -> str:
        from ch12cli.plots.matplotlib_file import render

        text = escape("\n".join(self.lines))
        figures = (render(picture, "svg").decode() for picture in self.pictures)
        drawn = "".join(figure[figure.index("<svg") :] for figure in figures)
        return f"<h4>{escape(self.title)}</h4><p>{escape(self.about)}</p><pre>{text}</pre>{drawn}"
