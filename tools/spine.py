"""Write what each section of a notebook is (core, going deeper), its minutes, and the map on top.

python tools/spine.py notebooks/*.ipynb          # after an edit: minutes and map
python tools/spine.py --run notebooks/01*.ipynb  # runs it, too, to measure the seconds of each cell

A section says what it is by a tag, ``core`` or ``deeper``, of the cell that begins with its
heading; a subsection without a tag goes with its section. The minutes are those of reading (200
words a minute), of code (5 seconds a line) and of running. What stands before the first section,
title and set-up, is a row of the map and is counted with the core. A total is the sum of the rows
as they are shown. Exercises are not counted in: each says its own. Nor is the closing summary.
"""

from __future__ import annotations

import argparse
import builtins
import re
import symtable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat

WORDS_A_MINUTE, SECONDS_A_LINE = 200, 5
TAGS = {"core": "core", "deeper": "going deeper"}
HEADING = re.compile(r"(#{2,3}) +([^\n]+)")
MARK = re.compile(r" · (core|going deeper) · (\d+) min$")
FRONT = "before section 1: set-up"
EXERCISE = re.compile(r"### +Exercise .*?\((\d+) minutes?\)")
UNREAD = re.compile(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|[|#*>`-]")  # pictures, addresses, markup


@dataclass
class Section:
    """A stretch of a notebook with one tag: a section, or a subsection with a tag of its own."""

    head: Any  # the cell that begins it
    level: int
    title: str
    tag: str
    cells: list[Any] = field(default_factory=list)
    exercises: int = 0  # minutes of those that stand in it

    @property
    def minutes(self) -> float:
        """To read and to run."""
        words = lines = 0
        for cell in self.cells:
            if cell.cell_type == "markdown":
                words += len(UNREAD.sub(" ", cell.source).split())
            elif not folded(cell):
                lines += sum(bool(line.strip()) for line in cell.source.splitlines())
        seconds = sum(cell.metadata.get("seconds", 0) for cell in self.cells)
        return words / WORDS_A_MINUTE + (lines * SECONDS_A_LINE + seconds) / 60

    @property
    def stated(self) -> int | None:
        """Minutes in the heading."""
        found = MARK.search(self.head.source.split("\n")[0])
        return int(found[2]) if found else None

    @property
    def shown(self) -> int:
        """Minutes as heading and map say them."""
        return max(1, round(self.minutes))

    @property
    def marked(self) -> str:
        """The heading as it should be, without its number signs."""
        return f"{self.title} · {TAGS[self.tag]} · {self.shown} min"


def folded(cell: Any) -> bool:
    """Plumbing, which nobody has to read."""
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def sections(notebook: Any) -> list[Section]:
    """What lies below a tagged heading, in order; set-up and summary have none and are left out."""
    found: list[Section] = []
    parent = here = None
    exercise = False
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if tag in TAGS]
        heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
        task = EXERCISE.match(cell.source) if cell.cell_type == "markdown" else None
        if task:
            exercise = True
            if here:
                here.exercises += int(task[1])
        elif heading:
            exercise, level = False, len(heading[1])
            if tags:
                here = Section(cell, level, MARK.sub("", heading[2]), tags[0])
                found.append(here)
            elif level == 2:
                here = None
            else:
                here = parent
            parent = here if level == 2 else parent
        if here and not exercise:
            here.cells.append(cell)
        exercise = exercise and not (cell.cell_type == "code" and "check(" in cell.source)
    return found


def front(notebook: Any) -> Section:
    """What stands before the first section, but for the map: title and set-up."""
    parts = sections(notebook)
    before = Section(notebook.cells[0], 2, FRONT, "core")
    for cell in notebook.cells:
        if parts and cell is parts[0].head:
            break
        if cell is not map_cell(notebook):
            before.cells.append(cell)
    return before


def total(parts: list[Section], tag: str | None = None) -> int:
    """The sum of the minutes that the map shows for all that have the tag."""
    return sum(part.shown for part in parts if tag in (None, part.tag))


def names_of(source: str) -> tuple[set[str], set[str]]:
    """(the global names that a code cell makes, those that it needs from elsewhere)."""
    lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
    module = symtable.symtable("\n".join(lines), "cell", "exec")
    made = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    used = {s.get_name() for s in module.get_symbols() if s.is_referenced()}
    inner = list(module.get_children())
    while inner:
        scope = inner.pop()
        for s in scope.get_symbols():  # (symtable takes a function called top for the module)
            if s.is_global() and not s.is_parameter() and not s.is_assigned():
                used.add(s.get_name())
        inner += scope.get_children()
    return made, used - made - set(dir(builtins))


def borrowed(notebook: Any) -> list[str]:
    """What a section needs that only sections going deeper make: nobody who skips these has it."""
    parts = sections(notebook)
    owner = {id(cell): part for part in parts if part.tag == "deeper" for cell in part.cells}
    main = {id(part): part for part in parts}
    here = None
    for part in parts:  # a deeper subsection belongs with its section, if that is deeper too
        here = part if part.level == 2 or here is None else here
        if part.level == 3 and part.tag == here.tag == "deeper":
            main[id(part)] = here
    free: set[str] = set()
    made_by: dict[int, set[str]] = {}
    found = []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        made, used = names_of(cell.source)
        part = owner.get(id(cell))
        home = made_by.setdefault(id(main[id(part)]), set()) if part else set()
        missing = sorted(name for name in used if name not in free | home)
        if missing:
            found.append(f"{cell.get('id')}: {', '.join(missing)}")
        (home if part else free).update(made)
    return found


def map_of(notebook: Any) -> str:
    """The table at the top: links, what is core, minutes."""
    before, parts = front(notebook), sections(notebook)
    core, everything = total([before, *parts], "core"), total([before, *parts])
    rows = [
        f"**What is in it.** The core takes about {core} minutes to read and run, set-up included, "
        f"and stands on its own; everything takes about {everything}. "
        "The exercises and the summary come on top.",
        "",
        "| section | | minutes | exercises |",
        "|:---|:---|---:|---:|",
        f"| [{FRONT}](#Set-up) | **core** | {before.shown} |  |",
    ]
    for part in parts:
        link = quote(part.marked.replace(" ", "-").replace("`", ""), safe="")  # as Jupyter has it
        text = re.sub(r"([\[\]|])", r"\\\1", part.title)
        indent = "" if part.level == 2 else "&nbsp;&nbsp;↳ "
        bold = f"**{TAGS[part.tag]}**" if part.tag == "core" else TAGS[part.tag]
        more = f"+ {part.exercises}" if part.exercises else ""
        rows.append(f"| {indent}[{text}](#{link}) | {bold} | {part.shown} | {more} |")
    return "\n".join(rows)


def map_cell(notebook: Any) -> Any | None:
    """The cell that holds the map."""
    return next((c for c in notebook.cells if str(c.get("id", "")).endswith("-contents")), None)


def write(notebook: Any) -> None:
    """Marks and map, in place."""
    parts = sections(notebook)
    for part in parts:
        first, *rest = part.head.source.split("\n")
        part.head.source = "\n".join([f"{'#' * part.level} {part.marked}", *rest])
    cell = map_cell(notebook)
    if cell is None:
        number = str(notebook.cells[0].get("id", "")).split("-")[0]
        cell = nbformat.v4.new_markdown_cell(id=f"{number}-contents")
        notebook.cells.insert(1, cell)
    cell.source = map_of(notebook)


def measure(notebook: Any, folder: Path) -> None:
    """Run it and note each cell's seconds, where they are more than half a second."""
    from nbclient import NotebookClient

    copy = nbformat.from_dict(notebook)
    NotebookClient(copy, timeout=1800, resources={"metadata": {"path": str(folder)}}).execute()
    for cell, ran in zip(notebook.cells, copy.cells, strict=True):
        times = ran.metadata.pop("execution", {})
        began, ended = (times.get(f"iopub.status.{state}") for state in ("busy", "idle"))
        if cell.cell_type == "code" and began and ended:
            spent = datetime.fromisoformat(ended) - datetime.fromisoformat(began)
            cell.metadata.pop("seconds", None)
            if (seconds := round(spent.total_seconds())) > 0:
                cell.metadata["seconds"] = seconds


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--run", action="store_true", help="run it, to measure the seconds")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        notebook = nbformat.read(path, as_version=4)
        if arguments.run:
            measure(notebook, path.parent)
        write(notebook)
        nbformat.write(notebook, path)
        parts = [front(notebook), *sections(notebook)]
        print(f"{path.name}: core {total(parts, 'core')} minutes, all {total(parts)}")


if __name__ == "__main__":
    main()
