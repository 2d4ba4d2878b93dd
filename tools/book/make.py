"""The series as a book: ``make book``. Stored outputs, nothing executed, nothing from a network.

    python tools/book/make.py [FOLDER]

The sources are staged beside the folder (see stage.py); warnings are errors, and what was built is
checked: links, anchors, alt texts, and that no page asks another place for anything.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from check import faults
from stage import ROOT, stage


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build/book")
    folder: Path = parser.parse_args().folder.resolve()
    try:
        from sphinx.cmd.build import build_main
    except ImportError:
        print("Sphinx is not installed: make book, or pip install -r requirements.txt")
        return 2
    if (folder / ".buildinfo").exists():  # an older book: pages that are gone would stay in it
        shutil.rmtree(folder)
    sources = folder.with_name(f"{folder.name}-sources")
    stage(sources)
    code = build_main(["-q", "-E", "-W", "--keep-going", "-b", "html", str(sources), str(folder)])
    if code:
        return code
    found = faults(folder)
    print(*found, sep="\n", end="\n" if found else "")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    pages = len(list(folder.rglob("*.html")))
    print(f"{pages} pages, {size / 1e6:.1f} MB, {len(found)} faults: open {folder / 'index.html'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
