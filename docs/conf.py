"""The documentation as a site: `pip install -e '.[docs]' && sphinx-build -W docs site`."""

from __future__ import annotations

from typing import Any

project = "eventhpo"
author = "the authors of eventhpo"
project_copyright = "the authors of eventhpo, Apache License 2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinxcontrib.mermaid"]
exclude_patterns = ["*.py", "*.json"]
html_theme = "furo"
html_title = "eventhpo"
html_static_path: list[str] = []
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
copybutton_prompt_text = "$ "


def setup(app: Any) -> None:
    """Let links to the pages of the root lead to their copies in the site."""
    app.connect("source-read", _to_the_copies)


def _to_the_copies(_app: Any, _name: str, source: list[str]) -> None:
    for page in ("CONTRIBUTING", "CHANGELOG"):
        source[0] = source[0].replace(f"(../{page}.md", f"({page.lower()}.md")
