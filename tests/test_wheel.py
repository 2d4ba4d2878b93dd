"""What `pip wheel` and `python -m build` make of this repository."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from conftest import COMPILED, EMOJI, ROOT

PAPERS = {"LICENSE", "NOTICE", "docs/package.md", "pyproject.toml", ".gitignore"}
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
    (project / "docs").mkdir()
    for paper in PAPERS:
        shutil.copyfile(ROOT / paper, project / paper)
    for other in ("tests", "training", "notebooks"):
        (project / other).mkdir()
        (project / other / "some.py").touch()
    shutil.copytree(ROOT / "helpers", project / "helpers", ignore=COMPILED)
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
    assert sum(shipped) < 70_000_000  # models of at most 25 and 40 MB, and the drawings


def test_the_description_has_no_link_that_needs_the_repository(built: Path) -> None:
    with ZipFile(next(built.glob("*.whl"))) as opened:
        (name,) = (n for n in opened.namelist() if n.endswith("METADATA"))
        description = opened.read(name).decode().partition("\n\n")[2]
    assert description == (ROOT / "docs/package.md").read_text(encoding="utf-8")
    assert not re.findall(r"\]\((?!https://)", description)


def test_the_comparison_sees_a_module_that_was_deleted_since(built: Path) -> None:
    """The wheel before had it, so the one after could have kept it."""
    (before,) = (built / "before").glob("*.whl")
    assert set(held(before)) - set(package()) == {GONE}


def test_the_sdist_builds_the_wheel_and_holds_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {member.name.split("/", 1)[1] for member in sdist if member.isfile()}
    assert set(package()) <= names
    assert names - set(package()) == PAPERS | {"PKG-INFO"}


def printed(path: Path) -> list[str]:
    """What the code cells of a notebook print, each; the first one's versions are the machine's."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    outputs = ([o.get("text", "") for o in c.outputs if o.output_type != "error"] for c in cells)
    return ["".join(text) for text in outputs][1:]


def test_notebook_0_runs_alone_on_the_wheel(built: Path, bare_python: Path, tmp_path: Path) -> None:
    """pip installs the wheel, and ftfy, into an environment without this project."""
    (wheel,) = built.glob("*.whl")
    here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bare_python.parents[2] / "wheels")}
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= here | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    name = "00_start_here.ipynb"
    shutil.copyfile(ROOT / "notebooks" / name, tmp_path / name)
    pip = [bare_python, "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", wheel], env=environment, check=True)
    try:
        command = [bare_python, "-m", "nbconvert", "--execute", "--to", "notebook", name]
        done = subprocess.run(
            [*command, "--output", "ran"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert printed(tmp_path / "ran.ipynb") == printed(ROOT / "notebooks" / name)
    finally:
        gone = ["uninstall", "--quiet", "--yes", "from-prompt-to-embedding", "ftfy"]
        subprocess.run([*pip, *gone], env=environment, check=True)
