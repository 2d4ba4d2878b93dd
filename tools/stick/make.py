"""A folder for a USB stick, to install from where there is no network: ``make stick``.

    python tools/stick/make.py [FOLDER]

It holds the repository as it is committed, its pages if ``make notebooks`` has made them, the
wheels of the pinned packages for this system and this Python, and ``install.py``. Run again with
another Python or on another system, and the same folder, it adds the wheels for those. It needs
nothing but git and that Python's pip.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from install import BUILDER, REPOSITORY, WHEELS, systems

ROOT = Path(__file__).resolve().parent.parent.parent
README = """From Prompt to Embedding, without a network

You need Python {pythons}. There are packages here for:
{systems}

Linux, macOS: open a terminal in this folder and type
    python3 install.py
Windows:
    py install.py

It copies the series into your home folder, installs what it needs there, and
looks whether all is well. That takes some minutes. The last lines say how to
start. Another place: install.py FOLDER

{repository}/build/html
    the notebooks as pages, to read without installing (if they were made)
models
    room for checkpoints: python -m helpers fetch sd1 --to models/sd1

To add another Python or another system: on such a computer, with a network and
a clone of the repository, type in the clone
    python3 tools/stick/make.py THIS-FOLDER
"""


def repository(stick: Path) -> None:
    """What is committed, and the pages."""
    target = stick / REPOSITORY
    if (target / ".git").exists():
        sys.exit(f"{target} is a clone, perhaps yours; choose another folder.")
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryFile() as archive:
        subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=archive, check=True)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(target, filter="data")
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=ROOT).returncode:
        print("Changes that are not committed are not on the stick.")
    pages = ROOT / "build" / "html"
    if pages.is_dir():  # there, so that their links into the repository lead somewhere
        shutil.copytree(pages, target / "build" / "html")
    for sheet in sorted((ROOT / "docs").glob("cheat*")):
        shutil.copy2(sheet, stick)


def wheels(stick: Path) -> None:
    """The wheels of all pinned packages, beside those that are there."""
    print("Fetching wheels; pip prints nothing for some minutes.", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--only-binary=:all:", "--dest", str(stick / WHEELS)]
    subprocess.run([*pip, "--requirement", str(ROOT / "requirements.txt"), BUILDER], check=True)


def papers(stick: Path) -> None:
    """``install.py`` and what to do with it, which names the systems there are wheels for."""
    shutil.copy2(Path(__file__).with_name("install.py"), stick)
    (stick / "models").mkdir(exist_ok=True)
    there = systems(stick / WHEELS)
    pythons = " or ".join(sorted({name.split(",")[0].removeprefix("Python ") for name in there}))
    text = README.format(
        pythons=pythons, systems="\n".join(f"    {name}" for name in there), repository=REPOSITORY
    )
    (stick / "READ-ME-FIRST.txt").write_text(text, encoding="utf-8")


def size(files: Iterable[Path]) -> str:
    """Megabytes."""
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:,.0f} MB"


def main() -> None:
    """Make the folder, and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "stick")
    stick = parser.parse_args().folder.resolve()
    stick.mkdir(parents=True, exist_ok=True)
    repository(stick)
    wheels(stick)
    papers(stick)
    print(f"{stick}: {size(stick.rglob('*'))}, {size((stick / WHEELS).iterdir())} of it wheels for")
    print("\n".join(f"  {name}" for name in systems(stick / WHEELS)))
    print("Copy all of it onto the stick. READ-ME-FIRST.txt says the rest.")


if __name__ == "__main__":
    main()
