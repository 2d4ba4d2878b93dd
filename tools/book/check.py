"""What a built book keeps: links and anchors lead somewhere, alt texts, no outside requests."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# attributes that make a browser fetch something; a link (href of <a>) waits for a click
FETCHES = {"src", "srcset", "poster", "data", "action", "xlink:href"}
CSS_URL = re.compile(r"""(?:url\(|@import\s+)\s*["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """The ids, links, fetched addresses and pictures without a description of one page."""

    def __init__(self, text: str) -> None:
        """Read the page's HTML."""
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.nameless: list[str] = []
        self.menus = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[key] for key in ("id", "name") if key in values}
        self.menus += "primary-toggle" in values.get("class", "").split()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in {"canonical", "search", "author"}:
            self.fetched.append(values.get("href", ""))
        self.fetched += [values[name] for name in FETCHES & values.keys()]
        if tag == "img" and not values.get("alt") and "logo" not in values.get("class", ""):
            self.nameless.append(values.get("src", ""))


def outside(address: str) -> bool:
    """Whether a browser would leave the book for this."""
    return bool(urlsplit(address).netloc)


def faults(folder: Path) -> list[str]:
    """A sentence for everything that is wrong with the book in ``folder``."""
    pages = {p: Page(p.read_text(encoding="utf-8")) for p in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder)
        found += [f"{name}: fetches {a}" for a in page.fetched if outside(a)]
        found += [f"{name}: picture {a[:60]} has no alt text" for a in page.nameless]
        if page.menus > 1:
            found.append(f"{name}: has {page.menus} menu buttons, of which one gets all clicks")
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if file.is_dir():
                file = file / "index.html"
            if not file.is_file():
                found.append(f"{name}: link to {link}, which is not there")
            elif "=" in parts.fragment:  # what the playground is to show, no anchor
                continue
            elif (
                parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids
            ):
                found.append(f"{name}: link to {link}, an anchor that is not there")
    for style in folder.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        found += [f"{style.relative_to(folder)}: fetches {a}" for a in CSS_URL.findall(text)]
    return found
