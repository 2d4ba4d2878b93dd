"""What `pip wheel` and `python -m build` make of this repository."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import EMOJI, ROOT

PAPERS = {"LICENSE", "NOTICE", "README.md", "pyproject.toml", ".gitignore"}
GONE = "helpers/gone.py"  # a module that was deleted between two builds


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes; not what Python and git put there."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and not {"__pycache__", ".git"} & set(file.parts)
    }


def package() -> dict[str, str]:
    return {f"helpers/{name}": digest for name, digest in tree(ROOT / "helpers").items()}


def build(project: Path, to: Path, *options: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(to), *options],
        cwd=project,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist of a copy of the repository, a module deleted since the last build."""
    project, dist = (tmp_path_factory.mktemp(name) for name in ("project", "dist"))
    for paper in PAPERS:
        shutil.copyfile(ROOT / paper, project / paper)
    for other in ("tests", "training", "notebooks"):
        (project / other).mkdir()
        (project / other / "some.py").touch()
    shutil.copytree(ROOT / "helpers", project / "helpers")
    for stale in (GONE, "build/lib/" + GONE, "helpers/__pycache__/gone.cpython-311.pyc"):
        (project / stale).parent.mkdir(parents=True, exist_ok=True)
        (project / stale).write_text("# deleted since", encoding="utf-8")
    build(project, dist / "before", "-t", "wheel")
    (project / GONE).unlink()
    before = tree(project)
    build(project, dist)
    assert tree(project) == before  # nothing is left in the tree, at any depth
    return dist


def held(wheel: Path) -> dict[str, str]:
    with ZipFile(wheel) as opened:
        return {
            name: hashlib.sha256(opened.read(name)).hexdigest()
            for name in opened.namelist()
            if ".dist-info/" not in name
        }


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert held(wheel) == package()
    assert (EMOJI / "README.md").relative_to(ROOT).as_posix() in held(wheel)
    assert "helpers/data/LICENSE-APACHE" in held(wheel)
    with ZipFile(wheel) as opened:
        shipped = [
            file.file_size
            for file in opened.infolist()
            if file.filename.startswith(("helpers/models/", "helpers/data/"))
        ]
    assert sum(shipped) < 55_000_000  # two models of at most 25 MB, and the drawings


def test_the_comparison_sees_a_module_that_was_deleted_since(built: Path) -> None:
    """The wheel before had it, so the one after could have kept it."""
    (before,) = (built / "before").glob("*.whl")
    assert set(held(before)) - set(package()) == {GONE}


def test_the_sdist_builds_the_wheel_and_holds_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {member.name.split("/", 1)[1] for member in sdist if member.isfile()}
    assert set(package()) <= names
    assert names - set(package()) == PAPERS | {"PKG-INFO"}
