"""The result of a demonstration: text and plots, with a notebook representation."""

from dataclasses import dataclass, field
from html import escape

from ch12cli.plots.plot import Plot


@dataclass(frozen=True)
class Demo:
    """The title, text lines and plots of a demonstration. A notebook displays it as HTML."""

    title: str
    about: str
    lines: list[str]
    plots: list[Plot] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join([self.title, "", self.about, *self.lines])

    def _repr_html_(self) -> str:
        from ch12cli.plots.matplotlib_drawer import render

        text = escape("\n".join(self.lines))
        images = (render(plot, "svg").decode() for plot in self.plots)
        drawn = "".join(image[image.index("<svg") :] for image in images)
        return f"<h4>{escape(self.title)}</h4><p>{escape(self.about)}</p><pre>{text}</pre>{drawn}"
