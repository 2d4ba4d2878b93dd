"""The system's Chromium for tests of pages; where it or Playwright is missing, they are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# what axe is to leave alone: it would fetch style sheets, which a page from file:// may not
AXE = {"preload": False, "resultTypes": ["violations"]}


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser without a window."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip(
        "playwright.sync_api", reason="pip install -r tests/browser.txt, to look at pages"
    )
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def watch(page: Any) -> list[str]:
    """What goes wrong on the page from now on: errors in the console, requests to other places."""
    page.set_default_timeout(120_000)  # ms; a busy machine takes its time
    wrong: list[str] = []
    here = ("file:", "data:", "blob:", "http://127.0.0.1", "http://localhost")
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(here) else wrong.append(r.url))
    return wrong


def barriers(page: Any, but: Sequence[str] = ()) -> list[str]:
    """What axe finds serious or critical on the page, but in elements of these selectors."""
    # a colour that is just changing has the contrast of neither end
    page.add_style_tag(content="*, *::before, *::after { transition: none !important }")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="tests/browser.txt")
    context = {"exclude": list(but)} if but else None
    found = axe.Axe().run(page, context, AXE).response["violations"]
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:120]}"
        for v in found
        if v["impact"] in {"serious", "critical"}
    ]
