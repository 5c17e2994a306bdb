"""Settings of the documentation's generator, Sphinx. `make docs` builds it."""

import tomllib
from pathlib import Path

project = "ch12"
author = "the ch12 contributors"
copyright = "the ch12 contributors"  # noqa: A001 - Sphinx's name for it
version = release = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # so that pages can link to headings
myst_enable_extensions = ["deflist"]
nitpicky = True
highlight_language = "none"

html_theme = "furo"
html_title = f"ch12 {release}"
html_static_path = ["static"]
html_css_files = ["ch12.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
