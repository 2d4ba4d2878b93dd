"""Building the playground where something is missing, and who links to it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

from conftest import ROOT


def test_without_npm_one_sentence_says_so(tmp_path: Path) -> None:
    built = tmp_path / "playground"
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "playground" / "build.py", built],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("The playground is built with npm, which is not installed: ")
    assert "Traceback" not in result.stderr
    assert not built.exists()


LINK = re.compile(r"\(\.\./docs/playground/index\.html#(\S+)\)")
KNOWN = re.search(
    r"START = \{(.*?)\};", (ROOT / "docs/playground/state.js").read_text(encoding="utf-8"), re.S
)[1]


def links(notebook: Path) -> list[dict[str, str]]:
    """The states of the playground that a notebook links to."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return [dict(parse_qsl(state, strict_parsing=True)) for state in LINK.findall(text)]


def test_notebooks_link_to_the_playground_with_an_example() -> None:
    keys = set(re.findall(r"(\w+):", KNOWN))
    assert {"panel", "p", "q", "seed"} <= keys
    found = {path.name: links(path) for path in (ROOT / "notebooks").glob("0[0-7]*.ipynb")}
    assert all(found.values()), found
    for states in found.values():
        for state in states:
            assert set(state) <= keys
            assert state["p"]
            assert state.get("panel", "tokens") in {"tokens", "rows", "nearest", "draw"}


def test_the_source_of_the_page_says_that_it_is_not_built() -> None:
    """Who follows such a link in a clone sees this file."""
    page = (ROOT / "docs/playground/index.html").read_text(encoding="utf-8")
    assert "Run <code>make playground</code>, then open" in page
    assert '<a href="../../build/playground/index.html">' in page
