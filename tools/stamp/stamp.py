"""Write the first cell, and the project's address, wherever they stand: ``make stamp``.

    python tools/stamp/stamp.py                    # after an edit of cell.py or of the ranges
    python tools/stamp/stamp.py --address https://github.com/someone/from-prompt-to-embedding
    python tools/stamp/stamp.py --address ""       # without an address, and without dead links

The address is kept in ``pyproject.toml``, from where ``make book`` takes its launch buttons. With
it every first cell can fetch the package, and where it is one of GitHub the README and the title of
every notebook link to Colab.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent.parent
CELL = Path(__file__).with_name("cell.py")
URLS = re.compile(r'\[project\.urls\]\nRepository = "([^"]*)"\n\n')
LAUNCH = re.compile(r"(?m)^<!-- launch -->.*\n(?:\n)?")
SET_UP = """## Set-up

The folded cell is plumbing; you need not open it. It looks for `helpers`, the package of this \
series, installs what is missing, and says which versions you have. It works on Colab too, and in \
a folder that holds nothing but this notebook: put the wheel of the series, or a zip file of its \
repository, beside it."""


def stamp(root: Path, address: str | None = None) -> list[Path]:
    """Bring ``pyproject.toml``, ``README.md`` and the notebooks of a repository up to date.

    Args:
        root: folder of the repository.
        address: of the repository, as for ``git clone``; "" for none; None for the one it has.

    Returns:
        The files that were changed.

    Raises:
        ValueError: this is no address; nothing was changed.
    """
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    known = URLS.search(project)
    if address is None:
        address = known[1] if known else ""
    address = address.strip().removesuffix("/").removesuffix(".git")
    if not re.fullmatch(r"(https?|file)://[\w./~-]+|", address):
        raise ValueError(f"{address} is no address; give one like https://github.com/someone/name.")
    urls = f'[project.urls]\nRepository = "{address}"\n\n' if address else ""
    project = URLS.sub("", project)
    before = "[project.optional-dependencies]"
    texts = {"pyproject.toml": project.replace(before, urls + before, 1)}
    readme = LAUNCH.sub("", (root / "README.md").read_text(encoding="utf-8"))
    start = "**Start here:**"
    texts["README.md"] = readme.replace(start, launch(address, "00_start_here.ipynb") + start, 1)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        mark(notebook, path.name, first_cell(project, address), address)
        texts[f"notebooks/{path.name}"] = nbformat.writes(notebook) + "\n"
    changed = []
    for name, text in texts.items():
        if (root / name).read_text(encoding="utf-8") != text:
            (root / name).write_text(text, encoding="utf-8")
            changed.append(root / name)
    return changed


def first_cell(project: str, address: str) -> str:
    """The source of the first code cell of every notebook."""
    needed = tomllib.loads(project)["project"]["dependencies"]
    rows = [" ".join(needed[i : i + 4]) for i in range(0, len(needed), 4)]
    source = CELL.read_text(encoding="utf-8").rstrip()
    source = source.replace('NEEDED = """\n', 'NEEDED = """\n' + "\n".join(rows) + "\n", 1)
    return source.replace('ADDRESS = ""', f'ADDRESS = "{address}"', 1)


def launch(address: str, notebook: str) -> str:
    """A line that leads to Colab, which opens what lies on GitHub; "" for other places."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    if not found:
        return ""
    colab = f"https://colab.research.google.com/github/{found[1]}/blob/main/notebooks/{notebook}"
    return f"<!-- launch -->[Open this notebook in Colab]({colab}).\n\n"


def mark(notebook: Any, name: str, source: str, address: str) -> None:
    """Put the first cell, the words above it and the line that leads to Colab into a notebook."""
    number = name[:2]
    cells = {cell.id: cell for cell in notebook.cells}
    cells[f"{number}-setup"].source = SET_UP
    cells[f"{number}-versions"].source = source
    title = cells[f"{number}-title"]
    head, _, rest = LAUNCH.sub("", title.source).partition("\n\n")
    title.source = f"{head}\n\n{launch(address, name)}{rest}"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--address", help="of the repository; the one it has if not given")
    try:
        changed = stamp(ROOT, parser.parse_args().address)
    except ValueError as problem:
        print(problem)
        return 2
    print(*(path.relative_to(ROOT) for path in changed), sep="\n")
    print(f"{len(changed)} files changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
