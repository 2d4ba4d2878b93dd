"""Run all tests, notebooks included, on pinned sets of versions: ``make matrix``.

    python tools/matrix/run.py [SET ...] [--quick] [--python PYTHON] [-- ARGUMENTS OF PYTEST]
    python tools/matrix/run.py [SET ...] --install [--python PYTHON]

A set is a requirements file beside this script. Each gets an environment of its own,
``build/matrix/SET``, which is made anew when its requirements change. Results go into the table of
the README, one row a set; a run that was limited by arguments of pytest leaves the table alone.
``--quick`` runs what depends on versions, every notebook and the tests of helpers, and the table
says so. What it leaves out takes twice as long: training, cards, the book, the playground,
papers, tools, the notebooks with their solutions, whose other cells run here once already, and how
well the shipped pipeline draws. ``--install`` makes the environments and runs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent.parent
HERE, BUILD, README = Path(__file__).resolve().parent, ROOT / "build" / "matrix", ROOT / "README.md"
SETS = ("oldest", "colab", "newest")
LIKE = {"colab": "python3.13"}  # the Python that the place itself has
PACKAGES = ("torch", "transformers", "diffusers", "numpy", "matplotlib")
BEGIN, END = "<!-- verified on: make matrix writes this table -->", "<!-- end of the table -->"
HEAD = ("set", "Python", *PACKAGES, "date", "tests", "result", "minutes")
ALL, QUICK = "all", "notebooks, helpers"
LEFT_OUT = (
    "training", "diffusion_training", "diffusion_card", "model_card", "book", "playground",
    "playground_build", "stick", "doctor", "bench", "matrix", "stamp", "lab", "wheel", "package",
    "papers", "docs", "drawings", "spine",
)  # fmt: skip
NOT_RUN = (
    "tests/test_exercises.py::test_notebooks_with_their_solutions",
    "tests/test_diffusion.py::test_pictures_show_what_they_are_asked_for",
    "tests/test_diffusion.py::test_a_style_word_says_whose_drawing_it_is_like",
)
LIMITS = [
    *(f"--deselect={name}" for name in NOT_RUN),
    *(f"--ignore=tests/test_{name}.py" for name in LEFT_OUT),
]
# a notebook's cells in one process; no file with few tests, but long ones, at the end
JOBS = 2
AT_A_TIME = (f"--numprocesses={JOBS}", "--dist=loadfile", "--no-loadscope-reorder")


def requirements(name: str) -> str:
    """The lines of a set, with those of the files that it includes."""

    def read(path: Path) -> str:
        text = path.read_text(encoding="utf-8")
        return re.sub(r"(?m)^-r (\S+)$", lambda found: read(path.parent / found[1]), text)

    return read(HERE / f"{name}.txt")


def cores() -> int:
    """How many this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def suits(python: str, torch: str) -> bool:
    """Whether that Python runs here and pip finds it a torch without CUDA, which is gigabytes."""
    where = ["--ignore-installed", "--no-deps", "--dry-run", "--report", "-"]
    command = [python, "-m", "pip", "install", "--quiet", *where, torch]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=120)
        metadata = json.loads(found.stdout)["install"][0]["metadata"]
    except (OSError, ValueError, LookupError, subprocess.TimeoutExpired):
        return False
    cuda = any(re.match("nvidia|cuda", need) for need in metadata.get("requires_dist", []))
    return sys.platform != "linux" or not cuda


def environment(name: str, python: str | None) -> Path:
    """The Python of a set's environment, which is made where there is none like that yet.

    Raises:
        subprocess.CalledProcessError: if it cannot be made.
    """
    wanted = requirements(name)
    torch = re.search(r"(?m)^torch==\S+", wanted)[0]
    if python is None:
        like = LIKE.get(name)
        python = like if like and suits(like, torch) else sys.executable
    folder = BUILD / name
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    stamp = hashlib.sha256(f"{python}\n{wanted}\n{project}".encode()).hexdigest()
    ready = folder / ".ready"
    if not ready.is_file() or ready.read_text() != stamp:
        print(f"Making {folder}; pip prints nothing for some minutes.")
        shutil.rmtree(folder, ignore_errors=True)
        install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [python, "-m", "venv", str(folder)],
            [*install, "--requirement", str(HERE / f"{name}.txt")],
            [*install, "--no-deps", "--editable", str(ROOT)],
        ):
            subprocess.run(command, check=True)
        ready.write_text(stamp)
    return inside


def install(names: Iterable[str], python: str | None) -> int:
    """Make what ``verify`` will need; 1 where pip has failed, which has said why."""
    failed = 0
    for name in names:
        try:
            environment(name, python)
        except subprocess.CalledProcessError:
            print(f"The set {name} cannot be installed.")
            failed = 1
    return failed


def outcome(ended: int, report: Path) -> str:
    """What pytest counted: ``"N passed, M skipped"``, or how many failed."""
    if ended not in (0, 1) or not report.is_file():
        return f"failed: pytest ended with {ended}"
    counts = ElementTree.parse(report).getroot().find("testsuite").attrib
    total, skipped = int(counts["tests"]), int(counts["skipped"])
    failed = int(counts["failures"]) + int(counts["errors"])
    if ended or failed or total == skipped:
        return f"{failed} failed" if failed else "failed: no test ran"
    return f"{total - skipped:,} passed, {skipped:,} skipped"


def row(name: str, python: Path | None, what: str, result: str, minutes: float) -> tuple[str, ...]:
    """A line of the table, with the versions that the environment really has."""
    code = (
        "import json, platform, sys; from importlib.metadata import version\n"
        "print(json.dumps([platform.python_version(), *map(version, sys.argv[1:])]))"
    )
    versions = [""] * (1 + len(PACKAGES))
    if python:
        told = subprocess.run(
            [str(python), "-c", code, *PACKAGES], capture_output=True, text=True, check=True
        )
        versions = json.loads(told.stdout)
    today = datetime.now(UTC).date().isoformat()
    return (name, *versions, today, what, result, f"{minutes:.0f}")


def verify(name: str, python: str | None, what: str, arguments: list[str]) -> tuple[str, ...]:
    """Run the tests on a set; pytest's own output is shown."""
    print(f"== {name}", flush=True)
    try:
        inside = environment(name, python)
    except subprocess.CalledProcessError:
        return row(name, None, what, "failed: it cannot be installed", 0)
    report = BUILD / f"{name}.xml"
    report.unlink(missing_ok=True)
    settings = {key: value for key, value in os.environ.items() if key != "CLIP_CHECKPOINT"}
    settings["PATH"] = f"{inside.parent}{os.pathsep}{settings['PATH']}"  # as if it was activated
    settings["TQDM_DISABLE"] = "1"  # Colab's widgets would show bars that no stored output has
    settings.setdefault("OMP_NUM_THREADS", str(max(1, cores() // JOBS)))
    began = time.monotonic()
    limits = LIMITS if what == QUICK else []
    command = [str(inside), "-m", "pytest", f"--junit-xml={report}", *AT_A_TIME]
    command += [*limits, *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=settings).returncode
    return row(name, inside, what, outcome(ended, report), (time.monotonic() - began) / 60)


def table(rows: list[tuple[str, ...]]) -> str:
    """It in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write(page: Path, rows: list[tuple[str, ...]]) -> None:
    """Put rows between the two marks of a page, in place of those of the same sets."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no line {BEGIN!r} with {END!r} after it.")
    known = [tuple(line.strip("| ").split(" | ")) for line in old.strip().splitlines()[2:]]
    found = {cells[0]: cells for cells in [*known, *rows]}
    ordered = [found[name] for name in SETS if name in found]
    page.write_text(f"{before}{BEGIN}\n\n{table(ordered)}\n\n{END}{after}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 where a set failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; else all")
    parser.add_argument("--quick", action="store_true", help="notebooks and helpers' tests alone")
    parser.add_argument("--install", action="store_true", help="make the environments alone")
    parser.add_argument("--python", help="make the environments with this one")
    given = sys.argv[1:] if arguments is None else arguments
    cut = given.index("--") if "--" in given else len(given)
    options, limits = parser.parse_args(given[:cut]), given[cut + 1 :]
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"there is no set {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    if options.install:
        return install(options.sets or SETS, options.python)
    what = QUICK if options.quick else ALL
    rows = [verify(name, options.python, what, limits) for name in options.sets or SETS]
    print(table(rows))
    if not limits:
        write(README, rows)
    return int(any("failed" in cells[HEAD.index("result")] for cells in rows))


if __name__ == "__main__":
    sys.exit(main())
