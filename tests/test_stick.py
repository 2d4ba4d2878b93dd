"""``make stick``: what lies on it, and what its installer says where it cannot work.

To install with the network off takes minutes and hundreds of megabytes, so it is tried by hand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

STICK = ROOT / "tools" / "stick"
MINE = f"cp{sys.version_info[0]}{sys.version_info[1]}"
needs_git = pytest.mark.skipif(
    subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode != 0
    if shutil.which("git")
    else True,
    reason="this is no clone, or there is no git",
)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch):
    """The script as a module; it finds ``install.py`` beside itself, as it does when it is run."""
    monkeypatch.syspath_prepend(STICK)
    monkeypatch.delitem(sys.modules, "make", raising=False)
    import make

    return make


def hold(stick: Path, *wheels: str) -> None:
    (stick / "wheels").mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        (stick / "wheels" / wheel).touch()


def install(stick: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = [sys.executable, str(stick / "install.py"), *arguments]
    return subprocess.run(code, capture_output=True, text=True)


@needs_git
def test_what_lies_on_it(make, tmp_path: Path) -> None:
    hold(
        tmp_path,
        "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.13.0-cp313-cp313-win_amd64.whl",
        "torch-2.13.0-cp311-none-macosx_11_0_arm64.whl",
        "regex-1-cp39-cp39-win_amd64.whl",
    )
    make.repository(tmp_path)
    make.papers(tmp_path)
    text = (tmp_path / "READ-ME-FIRST.txt").read_text(encoding="utf-8")
    assert "You need Python 3.11 or 3.13." in text
    for system in ("3.11, Linux (x86-64)", "3.11, macOS (arm64)", "3.13, Windows (amd64)"):
        assert f"    Python {system}\n" in text
    assert max(map(len, text.splitlines())) <= 80
    tracked = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    clone = tmp_path / make.REPOSITORY
    assert all((clone / file).is_file() for file in tracked if file)
    assert (clone / "helpers" / "models" / "emoji" / "model.safetensors").stat().st_size > 1e6
    assert not (clone / ".git").exists()
    (clone / "old").touch()
    make.repository(tmp_path)
    assert not (clone / "old").exists()
    (clone / ".git").mkdir()
    with pytest.raises(SystemExit, match="a clone, perhaps yours"):
        make.repository(tmp_path)


def test_the_installer_says_what_the_stick_is_for(tmp_path: Path) -> None:
    shutil.copy2(STICK / "install.py", tmp_path)
    hold(tmp_path, "torch-2.13.0-cp399-cp399-win_amd64.whl")
    done = install(tmp_path, str(tmp_path / "new"))
    assert done.returncode == 1
    assert "Python 3.99, Windows (amd64)" in done.stderr
    assert not (tmp_path / "new").exists()


def test_the_installer_overwrites_nothing(tmp_path: Path) -> None:
    shutil.copy2(STICK / "install.py", tmp_path)
    hold(tmp_path, f"torch-2.13.0-{MINE}-{MINE}-win_amd64.whl")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    done = install(tmp_path, str(tmp_path / "mine"))
    assert done.returncode == 1
    assert "holds something else" in done.stderr
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="programs lie elsewhere there")
def test_the_installer_asks_no_network_and_ends_with_a_failure(tmp_path: Path, monkeypatch) -> None:
    """Without wheels pip finds nothing; what is tried is seen, and that the copy is kept."""
    shutil.copy2(STICK / "install.py", tmp_path)
    hold(tmp_path, f"torch-2.13.0-{MINE}-{MINE}-manylinux_2_28_x86_64.whl")
    source = tmp_path / "from-prompt-to-embedding"
    source.mkdir()
    (source / "pyproject.toml").touch()
    (source / "requirements.txt").write_text("ftfy==6.3.1\n", encoding="utf-8")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")  # must not be asked
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    done = install(tmp_path, str(tmp_path / "new"))
    assert done.returncode == 1
    assert "That did not work. This is Python" in done.stderr
    assert "127.0.0.1" not in done.stdout + done.stderr
    assert "No matching distribution found" in done.stderr
    assert (tmp_path / "new" / "pyproject.toml").is_file()
    assert not (tmp_path / "new" / ".venv" / ".ready").exists()
