"""Core and going deeper: every section of a long notebook says which, and its minutes are true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from nbformat import v4

from tools.spine import (
    EXERCISE,
    FRONT,
    HEADING,
    MARK,
    TAGS,
    borrowed,
    folded,
    front,
    map_cell,
    map_of,
    sections,
    total,
    write,
)

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MARKED = NOTEBOOKS[1:]  # the tour is one stretch
CORE = 40  # minutes at most


def complaints(notebook: Any) -> list[str]:
    """What is not as the spine wants it."""
    parts = sections(notebook)
    tagged = {part.title for part in parts}
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    headings = re.findall(r"(?m)^## +(\d+\. [^\n]+)$", "\n".join(prose))
    found = [f"no tag: {h}" for h in headings if MARK.sub("", h) not in tagged]
    for part in parts:
        if part.stated is None or part.head.source.split("\n")[0][part.level + 1 :] != (
            MARK.sub("", part.marked) + f" · {mark_of(part)} · {part.stated} min"
        ):
            found.append(f"heading without its mark: {part.title}")
        elif abs(part.stated - part.minutes) > max(0.25 * part.minutes, 0.5) and part.minutes > 0.5:
            found.append(f"{part.title}: says {part.stated} minutes, takes {part.minutes:.1f}")
    found += unmarked(notebook)
    whole = [front(notebook), *parts]
    if not any(part.tag == "core" for part in parts) or total(whole, "core") > CORE:
        found.append(f"the core takes {total(whole, 'core')} minutes")
    cell = map_cell(notebook)
    if cell is None:
        return [*found, "no map"]
    says = [int(n) for n in re.findall(r"about (\d+)", cell.source)]
    takes = [total(whole, "core"), total(whole)]
    if len(says) != 2 or any(abs(a - b) > 0.25 * b for a, b in zip(says, takes, strict=True)):
        found.append(f"the map says {says} minutes, it takes {takes}")
    shown = re.findall(r"(?m)^\| .*\| (\*\*core\*\*|going deeper) \| (\d+) \|", cell.source)
    sums = [sum(int(n) for tag, n in shown if "core" in tag), sum(int(n) for _, n in shown)]
    if says != sums:
        found.append(f"the map says {says} minutes, its rows add up to {sums}")
    rows = re.findall(r"\[((?:\\.|[^\]])+)\]\(#", cell.source)
    titles = re.findall(r"\[((?:\\.|[^\]])+)\]\(#", map_of(notebook))
    if rows != titles:
        found.append("the map names other sections")
    (first,) = re.findall(rf"\[{FRONT}\]\(#Set-up\) .*?\| (\d+) \|", cell.source) or ("0",)
    if abs(int(first) - whole[0].minutes) > max(0.25 * whole[0].minutes, 0.5):
        found.append(f"set-up: says {first} minutes, takes {whole[0].minutes:.1f}")
    if not any(re.search(r"(?m)^## Set-up$", cell.source) for cell in whole[0].cells):
        found.append("the map's first link leads nowhere")
    return found


def unmarked(notebook: Any) -> list[str]:
    """Subsections without a mark behind one of another kind: who skips that skips them, too."""
    found, of_section, last = [], "", ""
    for cell in notebook.cells:
        heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
        if heading is None or EXERCISE.match(cell.source):
            continue
        tag = next((tag for tag in cell.metadata.get("tags", []) if tag in TAGS), "")
        if len(heading[1]) == 2:
            of_section = last = tag
        elif tag:
            last = tag
        elif last != of_section:
            found.append(f"no mark behind one of another kind: {heading[2]}")
    return found


def mark_of(part: Any) -> str:
    return {"core": "core", "deeper": "going deeper"}[part.tag]


@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_spine(path: Any) -> None:
    assert complaints(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_deeper_sections_need_the_core_only(path: Any) -> None:
    assert borrowed(nbformat.read(path, as_version=4)) == []


TOUR = 25  # minutes at most
GUESS = 1  # minute for each prediction, as docs/workshop.md has it


def of_the_tour(notebook: Any) -> list[str]:
    """What the tour says of its minutes and is not so."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.match(r"## (\d+\. |What you saw)", cell.source):
            cell.metadata["tags"] = ["core"]
    parts = sections(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    guesses = sum("\nguess = ..." in f"\n{source}" for source in code)
    takes = [round(sum(part.minutes for part in [front(notebook), *parts]))]  # it shows no rows
    takes.append(takes[0] + sum(part.exercises for part in parts) + GUESS * guesses)
    says = [int(n) for n in re.findall(r"about (\d+)", notebook.cells[0].source)]
    found = [] if takes[0] <= TOUR else [f"the tour takes {takes[0]} minutes"]
    if len(says) != 2 or any(abs(a - b) > 0.25 * b for a, b in zip(says, takes, strict=True)):
        found.append(f"the tour says {says} minutes, it takes {takes}")
    return found


def test_the_tour_takes_as_long_as_it_says() -> None:
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    assert of_the_tour(notebook) == []
    notebook.cells[0].source = notebook.cells[0].source.replace("about 53", "about 25")
    assert of_the_tour(notebook) == ["the tour says [25, 25] minutes, it takes [25, 53]"]
    notebook.cells[1].source += " word" * 1600
    assert "the tour takes 33 minutes" in of_the_tour(notebook)


def lengths_in_core(notebook: Any) -> list[int]:
    """Lines of code of each cell of the core; of the tour, which is core as a whole, of all."""
    parts = [part.cells for part in sections(notebook) if part.tag == "core"] or [notebook.cells]
    code = [c for cells in parts for c in cells if c.cell_type == "code" and not folded(c)]
    return [sum(bool(line.strip()) for line in c.source.splitlines()) for c in code]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_of_the_core_is_short(path: Path) -> None:
    lines = lengths_in_core(nbformat.read(path, as_version=4))
    tour = path == NOTEBOOKS[0]
    assert max(lines) <= (8 if tour else 20)
    assert sum(n <= 8 for n in lines) >= len(lines) / 2


# --- and it can fail -----------------------------------------------------------------------------


def prose(words: int, heading: str = "", tag: str = "") -> Any:
    cell = v4.new_markdown_cell(f"{heading}\n\n{'word ' * words}".strip())
    cell.metadata["tags"] = [tag] if tag else []
    return cell


def notebook() -> Any:
    """1: core, 4 minutes, with an exercise; 1b: deeper, 2; 2: deeper, 5, with code and a run."""
    code = v4.new_code_cell("\n\n".join(["print(1)"] * 12))
    code.metadata["seconds"] = 60
    hidden = v4.new_code_cell("\n".join(["print(1)"] * 99))
    hidden.metadata["jupyter"] = {"source_hidden": True}
    nb = v4.new_notebook()
    nb.cells = [
        prose(400, "# Title"),
        prose(398, "## Set-up"),
        prose(398, "## 1. Ids", "core"),
        prose(399, "### In detail"),
        prose(300, "### Exercise 1.1 · Count (3 minutes)"),
        v4.new_code_cell('answer = ...\ncheck("1.1", answer)'),
        prose(400, "### By hand", "deeper"),
        prose(0, "### Exercise 1.2 · Guess (5 minutes)"),
        v4.new_code_cell('answer = ...\ncheck("1.2", answer)'),
        prose(598, "## 2. A | `table`", "deeper"),
        code,
        hidden,
        prose(500, "## What you saw"),
    ]
    nb.cells[0]["id"] = "01-title"
    write(nb)
    return nb


def test_minutes() -> None:
    parts = sections(notebook())
    assert [(p.title, p.tag, p.level, p.exercises) for p in parts] == [
        ("1. Ids", "core", 2, 3),
        ("By hand", "deeper", 3, 5),
        ("2. A | `table`", "deeper", 2, 0),
    ]
    assert [round(part.minutes, 1) for part in parts] == [4.0, 2.0, 5.0]
    assert (total(parts), total(parts, "core")) == (11, 4)
    assert (front(notebook()).title, round(front(notebook()).minutes, 1)) == (FRONT, 4.0)


def test_what_is_written() -> None:
    nb = notebook()
    assert nb.cells[1]["id"] == "01-contents"
    lines = nb.cells[1].source.split("\n")
    assert lines[0].startswith("**What is in it.** The core takes about 8 minutes")
    assert "everything takes about 15." in lines[0]
    assert lines[4] == "| [before section 1: set-up](#Set-up) | **core** | 4 |  |"
    assert lines[5] == "| [1. Ids](#1.-Ids-%C2%B7-core-%C2%B7-4-min) | **core** | 4 | + 3 |"
    assert lines[7].startswith(
        r"| [2. A \| `table`](#2.-A-%7C-table-%C2%B7-going-deeper-%C2%B7-5-min)"
    )
    assert nb.cells[3].source.startswith("## 1. Ids · core · 4 min\n")
    assert complaints(nb) == []
    for cell in (2, 4):  # 0.4 minutes more in each
        nb.cells[cell].source += " word" * 80
    write(nb)
    assert complaints(nb) == []
    assert "core takes about 8 minutes" in nb.cells[1].source  # as its rows, and not 8.8
    before = nbformat.writes(nb)
    write(nb)
    assert nbformat.writes(nb) == before


def edit(cell: int, before: str, after: str) -> Callable[[Any], None]:
    def spoil(nb: Any) -> None:
        assert before in nb.cells[cell].source
        nb.cells[cell].source = nb.cells[cell].source.replace(before, after, 1)

    return spoil


def no_tag(nb: Any) -> None:
    nb.cells[10].metadata["tags"] = []


def no_mark_behind(nb: Any) -> None:
    nb.cells.insert(10, prose(3, "### And more"))


def too_long(nb: Any) -> None:
    nb.cells[4].source += " word" * 8000
    write(nb)


def longer(nb: Any) -> None:
    nb.cells[4].source += " word" * 400


def longer_set_up(nb: Any) -> None:
    nb.cells[2].source += " word" * 400


def slower(nb: Any) -> None:
    nb.cells[11].metadata["seconds"] = 200


def no_map(nb: Any) -> None:
    del nb.cells[1]


@pytest.mark.parametrize(
    "spoil",
    [
        edit(3, "4 min", "6 min"),
        edit(3, "core", "going deeper"),
        edit(3, " · core · 4 min", ""),
        edit(1, "about 8 minutes", "about 11 minutes"),
        edit(1, "about 15.", "about 16."),
        edit(1, "| **core** | 4 | + 3 |", "| **core** | 5 | + 3 |"),
        edit(1, "set-up](#Set-up) | **core** | 4", "set-up](#Set-up) | **core** | 6"),
        edit(2, "## Set-up", "## Set up"),
        edit(1, "[1. Ids]", "[1. Id]"),
        no_tag,
        no_mark_behind,
        too_long,
        longer,
        longer_set_up,
        slower,
        no_map,
    ],
)  # fmt: skip
def test_it_can_fail(spoil: Callable[[Any], None]) -> None:
    nb = notebook()
    spoil(nb)
    assert complaints(nb) != []


def code(source: str) -> Any:
    return v4.new_code_cell(source)


def test_what_is_borrowed() -> None:
    nb = v4.new_notebook()
    nb.cells = [
        code("import torch\nfrom x import y as z"),
        prose(1, "## 1. One", "core"),
        code("a = [torch.ones(i) for i in range(z)]\n\n\ndef top(x):\n    b = x\n    return a, b"),
        prose(1, "## 2. Two", "deeper"),
        code("c = top(a)\nfor d in c:\n    print(d)"),
        prose(1, "### More", "deeper"),
        code("e = c"),
        prose(1, "## 3. Three", "core"),
        prose(1, "### In depth", "deeper"),
        code("g = lambda: a"),
        prose(1, "## 4. Four", "core"),
        code("print(a, len(c))"),
        prose(1, "## 5. Five", "deeper"),
        code("print(g, [d for d in a], (lambda: e)())"),
    ]
    for number, cell in enumerate(nb.cells):
        cell["id"] = f"{number}"
    assert borrowed(nb) == ["11: c", "13: e, g"]
    nb.cells[3].metadata["tags"] = nb.cells[5].metadata["tags"] = ["core"]
    nb.cells[8].metadata["tags"] = []
    assert borrowed(nb) == []
