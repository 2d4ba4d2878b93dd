"""The first cell of every notebook in folders of all kinds, and what stamps it and the address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools" / "stamp"))

from stamp import first_cell, stamp  # noqa: E402

ADDRESS = "https://github.com/someone/from-prompt-to-embedding"
# What a notebook does with its first cell; it ends with what went wrong instead of a traceback.
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
ran = shell.run_cell(sys.stdin.read())
print("names:", *sorted({"helpers", "os", "root"} & set(shell.user_ns)))
if ran.success:
    import helpers
    print("from:", helpers.__file__)
    from helpers import clean
    print(clean("a  cat"))
"""


# --- places ---


def run_cell(
    python: Path, folder: Path, address: str = "", needed: str = "", installed: str = ""
) -> str:
    """What the first cell prints when it is run in a folder, errors included."""
    cell = first_cell((ROOT / "pyproject.toml").read_text(encoding="utf-8"), address)
    if needed:
        cell = cell.replace('NEEDED = """\n', f'NEEDED = """\n{needed}\n')
    kept = {"PATH", "SYSTEMROOT", "TMP", "TEMP", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(python.parents[2] / "wheels"),
        "PIP_CONFIG_FILE": os.devnull,
        "HOME": str(folder),
        "GIT_TERMINAL_PROMPT": "0",
        "PYTHONPATH": installed,
    }
    done = subprocess.run(
        [python, "-c", SHELL],
        cwd=folder,
        input=cell,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def without_ftfy(python: Path) -> None:
    code = "import importlib.metadata as m; m.version('ftfy')"
    found = subprocess.run([python, "-c", code], capture_output=True, check=False)
    assert found.returncode, "ftfy is there before the cell has installed it"


@pytest.fixture
def fresh(bare_python: Path) -> Iterator[Path]:
    """The same Python, without ftfy before and after."""
    without_ftfy(bare_python)
    yield bare_python
    for entry in bare_python.parents[1].rglob("ftfy*"):
        if entry.parent.name == "site-packages":
            shutil.rmtree(entry)


def copy_of_the_package(folder: Path) -> None:
    """The repository's files that the package is made of; what is large is linked."""
    for name in ("pyproject.toml", "LICENSE", "NOTICE"):
        shutil.copyfile(ROOT / name, folder / name)
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=skip)


def test_helpers_that_are_installed_are_taken(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").touch()  # a stray file does not hide them
    said = run_cell(Path(sys.executable), tmp_path, installed=str(ROOT))
    assert said.startswith("helpers ")
    assert f"from: {ROOT / 'helpers' / '__init__.py'}" in said
    assert said.count("\n") == 4  # one line of its own; the rest is this test's
    assert "names: \n" in said or "names:\n" in said  # it leaves no names behind


def test_a_checkout_above(fresh: Path, tmp_path: Path) -> None:
    copy_of_the_package(tmp_path)
    (tmp_path / "notebooks").mkdir()
    said = run_cell(fresh, tmp_path / "notebooks")
    assert said.startswith("helpers ")
    assert f"from: {tmp_path / 'helpers' / '__init__.py'}" in said
    assert "\na cat\n" in said  # with ftfy, which was missing


@pytest.mark.parametrize("kind", ["whl", "zip"])
def test_a_wheel_or_a_zip_file_beside_it(fresh: Path, tmp_path: Path, kind: str) -> None:
    if kind == "whl":
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    else:  # as GitHub packs one
        top = tmp_path / "source" / "from-prompt-to-embedding-main"
        top.mkdir(parents=True)
        copy_of_the_package(top)
        shutil.make_archive(str(tmp_path / top.name), "zip", tmp_path / "source")
        shutil.rmtree(tmp_path / "source")
    for _ in range(2):  # the second time it is unpacked
        said = run_cell(fresh, tmp_path)
        assert said.startswith("helpers ")
        assert f"from: {tmp_path / 'from-prompt-to-embedding'}" in said


def test_an_address(fresh: Path, tmp_path: Path) -> None:
    """A bare clone on this disk, as a stand-in for a place on the web."""
    source, bare = tmp_path / "source", tmp_path / "bare.git"
    source.mkdir()
    copy_of_the_package(source)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0"]
    for command in (
        [*git, "init", "-q", "."],
        [*git, "add", "."],
        [*git, "commit", "-q", "-m", "all"],
        [*git, "clone", "-q", "--bare", ".", str(bare)],
    ):
        subprocess.run(command, cwd=source, check=True)
    shutil.rmtree(source)
    alone = tmp_path / "alone"
    alone.mkdir()
    said = run_cell(fresh, alone, f"file://{bare}")
    assert said.startswith("helpers ")
    assert f"from: {alone / 'from-prompt-to-embedding' / 'helpers' / '__init__.py'}" in said


def test_an_address_that_does_not_answer(bare_python: Path, tmp_path: Path) -> None:
    said = run_cell(bare_python, tmp_path, f"file://{tmp_path}/nothing.git")
    assert said.startswith("`--depth=1 ")
    assert "did not work: " in said


def test_nothing(bare_python: Path, tmp_path: Path) -> None:
    said = run_cell(bare_python, tmp_path)
    assert said.startswith("The package of this series, helpers, is not here. Put its wheel or")
    assert said.count("\n") == 2  # one sentence


def test_half_a_wheel(bare_python: Path, tmp_path: Path) -> None:
    (tmp_path / "from_prompt_to_embedding-0.1.0-py3-none-any.whl").write_bytes(b"PK")
    said = run_cell(bare_python, tmp_path)
    assert said.startswith("The package of this series could not be fetched: File is not a zip")


def test_what_satisfies_its_range_stays(fresh: Path, tmp_path: Path) -> None:
    """Nothing but ftfy can be installed here, so pip would fail if it were asked for torch."""
    copy_of_the_package(tmp_path)
    run_cell(fresh, tmp_path)
    (site,) = (entry.parent for entry in fresh.parents[1].rglob("torch"))
    installed = {entry.name.split("-")[0] for entry in site.iterdir() if not entry.is_symlink()}
    assert installed - {"__pycache__"} == {"ftfy"}


def test_what_cannot_be_installed_is_named(fresh: Path, tmp_path: Path) -> None:
    copy_of_the_package(tmp_path)
    said = run_cell(fresh, tmp_path, needed="no-such-package>=1")
    assert "did not work: ERROR: No matching distribution found for no-such-package>=1" in said


# --- the stamp ---


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the stamp writes to."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_every_notebook_has_the_stamped_cell(copy: Path) -> None:
    assert stamp(copy) == []


def test_a_stale_cell_is_seen(copy: Path) -> None:
    path = copy / "notebooks" / "01_tokenizing.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("ftfy>=6.1", "ftfy>=6.0"), encoding="utf-8")
    assert stamp(copy) == [path]
    assert path.read_text(encoding="utf-8") == text


def test_an_address_is_written_everywhere_and_taken_out_again(copy: Path) -> None:
    stamp(copy, "")  # whatever this repository has
    before = files(copy)
    assert len(stamp(copy, f"{ADDRESS}.git")) == 12
    assert f'\nRepository = "{ADDRESS}"\n' in (copy / "pyproject.toml").read_text(encoding="utf-8")
    colab = f"{ADDRESS.replace('https://github.com', 'https://colab.research.google.com/github')}"
    for path in (copy / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert f"({colab}/blob/main/notebooks/{path.name})" in cells[0].source
        (first,) = (c for c in cells if c.id.endswith("-versions"))
        assert f'\nADDRESS = "{ADDRESS}"' in first.source
    assert f"({colab}/blob/main/notebooks/00_start_here.ipynb)" in (copy / "README.md").read_text()
    assert stamp(copy) == []  # it remembers
    stamp(copy, "")
    assert files(copy) == before


def test_another_host_has_no_link_to_colab(copy: Path) -> None:
    stamp(copy, "https://example.org/~me/name")
    assert "colab.research" not in json.dumps([str(text) for text in files(copy).values()])


@pytest.mark.parametrize("address", ["example.org", 'https://a"b', "https://a b"])
def test_what_is_no_address_is_refused(copy: Path, address: str) -> None:
    before = files(copy)
    with pytest.raises(ValueError, match="is no address; give one like https://github.com/"):
        stamp(copy, address)
    assert files(copy) == before
