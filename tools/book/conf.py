"""Sphinx's settings for the book. Copied beside the staged sources by stage.py."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish
from sphinx.util.console import nocolor

nocolor()
# the one place that knows the project's address; without one there are no launch buttons
settings = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text("utf-8"))
address = settings["project"].get("urls", {}).get("Repository", "")

project = "From Prompt to Embedding"
author = "the authors of From Prompt to Embedding"
copyright = "the authors; code MIT, prose CC BY 4.0"
language = "en"

extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 6
exclude_patterns = ["extra"]
html_extra_path = ["extra"]
highlight_language = "text"  # a fence without a language is not Python
suppress_warnings = ["myst.header"]  # a page of the tour may go from a title to a small heading

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["book.css", "book.js"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_show_search_summary = False  # a page from file:// may not fetch the others
html_theme_options = {
    "navbar_persistent": [],  # a second, hidden menu button would get the clicks of the first
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_repository_button": bool(address),
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
} | (
    {"repository_url": address, "path_to_docs": "", "launch_buttons": {"colab_url": "https://colab.research.google.com"}}
    if address
    else {}
)  # fmt: skip


class Search(SearchEnglish):
    """English with numbers, which Sphinx leaves out: people look for 77 here. It becomes n77."""

    js_splitter_code = r"""
function splitQuery(query) {
  const words = query.split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu);
  return words.filter((word) => word).map((word) => (/^\d+$/.test(word) ? `n${word}` : word));
}
"""

    def split(self, input: str) -> list[str]:
        """The words of a page, as ``splitQuery`` has those of a query."""
        return [f"n{word}" if word.isdigit() else word for word in super().split(input)]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_search_language(Search)
