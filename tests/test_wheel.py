"""What `pip wheel` and `python -m build` make of this repository."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import EMOJI, ROOT

PACKAGE = ROOT / "helpers"


def on_disk() -> dict[str, int]:
    """The files of the package and their sizes."""
    return {
        file.relative_to(ROOT).as_posix(): file.stat().st_size
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    before = set(ROOT.iterdir())
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert set(ROOT.iterdir()) - before == set()  # nothing is left in the tree
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    with ZipFile(next(built.glob("*.whl"))) as wheel:
        held = {i.filename: i.file_size for i in wheel.infolist() if "dist-info" not in i.filename}
    assert held == on_disk()
    assert str((EMOJI / "README.md").relative_to(ROOT)) in held
    assert "helpers/data/LICENSE-APACHE" in held
    shipped = [size for name, size in held.items() if name.split("/")[1] in ("models", "data")]
    assert sum(shipped) < 55_000_000  # two models of at most 25 MB, and the drawings


def test_the_sdist_builds_the_wheel_and_holds_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames()}
    assert set(on_disk()) <= names
    papers = {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names - set(on_disk()) == papers
