"""``make matrix``: its sets are what they say, and its table says what pytest counted.

To run it takes long and gigabytes, so no set is run here; CI runs a part of one.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.version import Version
from test_package import ALONE, COLAB, LOWEST, ORDER

from tools.matrix import run as matrix

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EMPTY = f"# A page\n\n{matrix.BEGIN}\n{matrix.END}\n\nAfter.\n"
# Why the oldest set does not have the lowest of a range.
HIGHER = {
    "torch": "no CPU build of an older one on the registry where this was tested",
    "safetensors": "diffusers 0.39 wants 0.8",
    "packaging": "hatchling 1.27 wants 24.2",
}


def pins(name: str) -> dict[str, str]:
    lines = matrix.requirements(name).splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def ranges() -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["test"], *extras["bulk"]]
    return {requirement.name: requirement for requirement in map(Requirement, wanted)}


@pytest.mark.parametrize("name", matrix.SETS)
def test_a_set_has_what_the_tests_need_inside_the_ranges(name: str) -> None:
    found = pins(name)
    for package, requirement in ranges().items():
        if package not in {"mypy", "ruff"}:  # make lint's; no test runs them
            assert requirement.specifier.contains(found[package]), package


def test_the_oldest_is_the_lowest() -> None:
    found = pins("oldest")
    for package, requirement in ranges().items():
        if package in found and package not in HIGHER:
            (lowest,) = requirement.specifier
            assert lowest.operator == ">="
            low, mine = Version(lowest.version).release, Version(found[package]).release
            assert mine[: min(2, len(low))] == low[:2], package


def test_colab_is_colabs() -> None:
    found = pins("colab")
    assert {name for name in COLAB if found[name] != COLAB[name]} == {"torch"}


def test_the_newest_is_what_make_installs() -> None:
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert line in matrix.requirements("newest").splitlines()


def report(folder: Path, **counts: int) -> Path:
    path = folder / "report.xml"
    numbers = {"tests": 0, "skipped": 0, "failures": 0, "errors": 0} | counts
    told = " ".join(f'{name}="{number}"' for name, number in numbers.items())
    path.write_text(f"<testsuites><testsuite {told}/></testsuites>", encoding="utf-8")
    return path


def test_what_pytest_counted(tmp_path: Path) -> None:
    assert matrix.outcome(0, report(tmp_path, tests=2012, skipped=12)) == "2,000 passed, 12 skipped"
    assert matrix.outcome(1, report(tmp_path, tests=9, failures=2, errors=1)) == "3 failed"
    for ended, counts in ((2, {"tests": 9}), (0, {"tests": 3, "skipped": 3}), (5, {})):
        assert "failed" in matrix.outcome(ended, report(tmp_path, **counts))
    assert "failed" in matrix.outcome(0, tmp_path / "none.xml")


def test_the_report_is_pytests_own(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    code = ["import pytest", "def test_a(): pass", "def test_b(): pytest.skip('no')"]
    (tmp_path / "test_it.py").write_text("\n".join([*code, "def test_c(): assert 0"]))
    path = tmp_path / "report.xml"
    for options, told in (([], "1 failed"), (["-k", "not test_c"], "1 passed, 1 skipped")):
        command = [sys.executable, "-m", "pytest", f"--junit-xml={path}", *options]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True).returncode
        assert matrix.outcome(ended, path) == told


def line_of(name: str, result: str = "2 passed, 1 skipped") -> tuple[str, ...]:
    return matrix.row(name, Path(sys.executable), matrix.ALL, result, 1.6)


def test_the_quick_run_leaves_out_no_notebook_and_no_helper() -> None:
    assert all((ROOT / f"tests/test_{name}.py").is_file() for name in matrix.LEFT_OUT)
    steps = {*ORDER, *ALONE, LOWEST, "fetch", "exercises", "bulk", "notebooks"}
    assert not steps & set(matrix.LEFT_OUT)
    for one in matrix.NOT_RUN:
        file, _, name = one.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
    assert len(matrix.LIMITS) == len(matrix.NOT_RUN) + len(matrix.LEFT_OUT)


def test_the_table_keeps_the_rows_of_other_sets(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(EMPTY, encoding="utf-8")
    matrix.write(page, [line_of("newest"), line_of("colab")])
    matrix.write(page, [line_of("oldest"), line_of("colab", "3 failed")])
    text = page.read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == list(matrix.HEAD)
    assert [cells[0] for cells in rows[2:]] == list(matrix.SETS)
    results = [cells[matrix.HEAD.index("result")] for cells in rows[2:]]
    assert results == ["2 passed, 1 skipped", "3 failed", "2 passed, 1 skipped"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", rows[2][matrix.HEAD.index("date")])
    assert rows[2][-1] == "2"
    assert text.startswith("# A page\n")
    assert text.endswith("\nAfter.\n")
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no line"):
        matrix.write(page, [line_of("colab")])


def test_a_failure_ends_with_one_and_a_limited_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text(EMPTY, encoding="utf-8")
    asked = []

    def verify(name: str, python: str | None, what: str, arguments: list[str]) -> tuple[str, ...]:
        asked.append((name, python, what, arguments))
        return line_of(name, "1 failed" if name == "oldest" else "2 passed, 0 skipped")

    monkeypatch.setattr(matrix, "README", page)
    monkeypatch.setattr(matrix, "verify", verify)
    assert matrix.main(["colab", "--python", "p", "--", "tests", "-k", "x"]) == 0
    assert asked == [("colab", "p", "all", ["tests", "-k", "x"])]
    assert page.read_text(encoding="utf-8") == EMPTY
    assert matrix.main(["--quick", "colab"]) == 0
    assert asked.pop()[2] == matrix.QUICK
    assert matrix.main([]) == 1
    assert [name for name, *_ in asked[1:]] == list(matrix.SETS)
    assert "1 failed" in page.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        matrix.main(["collab"])


def test_a_set_that_cannot_be_installed_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pip(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(matrix, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", no_pip)
    cells = matrix.verify("oldest", sys.executable, matrix.ALL, [])
    assert "failed" in cells[matrix.HEAD.index("result")]
    assert matrix.main(["oldest", "--install"]) == 1


def test_to_install_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time there is nothing to do; the tests would be run by the same call."""
    called: list[str] = []

    def run(command: list[str], **_: object) -> None:
        called.append(command[2])
        (tmp_path / "oldest").mkdir(exist_ok=True)

    monkeypatch.setattr(matrix, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        assert matrix.main(["oldest", "--install", "--python", sys.executable]) == 0
        assert called == ["venv", "pip", "pip"]


def test_a_python_that_is_not_there_is_not_taken() -> None:
    assert not matrix.suits("python3.99", "torch==2.13.0")


def test_the_readme_has_the_marks() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index(matrix.BEGIN) < text.index(matrix.END)
