"""Each notebook as a reader meets it: opened in JupyterLab, run from its menu, answered by hand.

Notebooks 0 and 6 to 8 draw with a small U-Net here. Theirs takes minutes, and nothing that is
looked at here hangs on what the pictures show; that is compared where their cells are run one by
one.

Needs Chromium, Playwright and JupyterLab; skipped, with the reason, where one is absent.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import chromium, watch
from conftest import ROOT
from notebook_rules import code_cells, stored_errors

from helpers.exercises.kinds import BLANK, RIGHT, Exercise
from helpers.exercises.verbs import exercises_of

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECK = re.compile(r'(?m)^check\("([^"]+)", (\w+)')
# JupyterLab puts a drawing's own name on the page before it puts the drawing there
UNRESOLVED = re.compile(r"^attachment:|ERR_UNKNOWN_URL_SCHEME")
LONGEST = 900  # seconds for one notebook; a busy machine takes its time
# no question about news, no look for a newer version; every cell is in the page, seen or not
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
SMALL = "00_", "06_", "07_", "08_"
# what a kernel runs first, which leaves no name behind; the server tells it the notebook's path
QUICK = f"""
def quicken():
    import os, sys
    if os.path.basename(os.environ["JPY_SESSION_NAME"]).startswith({SMALL}):
        sys.path.append({str(ROOT / "tests")!r})
        import helpers, quick
        helpers.load_pipeline, helpers.paint = quick.quick_pipeline, quick.few_steps
        open(os.environ["JPY_SESSION_NAME"] + ".small", "x").close()
quicken()
del quicken
"""
PANEL = (
    "const panel = window.jupyterapp?.shell?.currentWidget;"
    "const session = panel?.sessionContext?.session;"
)
OPENED = f"() => {{ {PANEL} return panel?.context?.isReady && session?.kernel?.status === 'idle' }}"
ENDED = f"""([id, number]) => {{ {PANEL}
    if (session.kernel.status !== "idle") return false;
    const cells = panel.content.widgets.map(w => w.model.toJSON());
    const failed = cells.some(c => c.outputs?.some(o => o.output_type === "error"));
    return failed || cells.find(c => c.id === id).execution_count === number }}"""
SHOWN = "all => all.every(one => one.complete && one.naturalWidth > 0)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab on a copy of the notebooks, and their folder; no setting of the user counts."""
    if find_spec("jupyterlab") is None:
        pytest.skip("JupyterLab is not installed")
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", home / "series" / "notebooks")
    (home / "settings").mkdir()
    (home / "settings" / "overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-small-unet.py").write_text(QUICK, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    env |= {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    env |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(ROOT)}
    options = [
        *("--no-browser", "--allow-root", "--IdentityProvider.token=", "--ServerApp.ip=127.0.0.1"),
        *("--ServerApp.port_retries=200", f"--ServerApp.root_dir={home / 'series'}"),
        *(f"--LabApp.app_settings_dir={home / 'settings'}", "--LabApp.expose_app_in_browser=True"),
    ]
    with (home / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=home, env=env, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield address(server, home), home / "series" / "notebooks"
        finally:
            server.terminate()  # which ends its kernels first
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def address(server: subprocess.Popen[bytes], home: Path) -> str:
    """Where the server listens, as it says in a file once it does: at the first port free."""
    said = home / "RUNTIME" / f"jpserver-{server.pid}.json"
    for _ in range(600):
        if said.exists():
            return json.loads(said.read_text(encoding="utf-8"))["url"]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError((home / "log.txt").read_text(encoding="utf-8"))


def menu(page: Any, title: str, item: str) -> None:
    page.get_by_role("menuitem", name=title, exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def now(page: Any) -> Any:
    """The notebook as it stands on the page."""
    text = page.evaluate(f"() => {{ {PANEL} return JSON.stringify(panel.content.model) }}")
    return nbformat.reads(text, as_version=4)


def finish(page: Any, id_: str, number: int) -> None:
    """Until the kernel is idle, and the cell has its number; or until any cell has failed."""
    page.wait_for_function(ENDED, arg=[id_, number], timeout=1000 * LONGEST, polling=500)


def printed(notebook: Any, id_: str) -> str:
    (cell,) = (cell for cell in notebook.cells if cell.id == id_)
    return "".join(o.text for o in cell.outputs if o.get("name") == "stdout")


def answered(number: int, notebook: Any) -> tuple[str, str]:
    """The last exercise that asks for a value: its cell, and the cell's code with its solution."""
    exercises = exercises_of(number)
    for cell in reversed(code_cells(notebook)):
        for id_, variable in CHECK.findall(cell.source):
            if isinstance(exercises[id_], Exercise):
                blank = re.search(rf"{variable} = \.\.\..*", cell.source)
                return cell.id, cell.source.replace(blank[0], exercises[id_].solution)
    raise AssertionError("no exercise asks for a value")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_in_jupyterlab(path: Path, browser: Any, lab: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = lab
    stored = nbformat.read(path, as_version=4)
    code = code_cells(stored)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    wrong = watch(page)
    try:
        # opened: what it shows first
        page.goto(f"{url}lab/workspaces/{path.stem}/tree/notebooks/{path.name}?reset")
        page.wait_for_function(OPENED)
        page.screenshot(path=tmp_path / "first.png")
        folded = page.locator(".jp-CodeCell:has(.jp-Cell-inputWrapper .jp-Placeholder)")
        hidden = [c for c in code if c.metadata.get("jupyter", {}).get("source_hidden")]
        assert folded.count() == len(hidden) > 0
        assert page.locator(".jp-CodeCell .cm-content:visible").count() == len(code) - len(hidden)

        # run: what is stored is cleared away first, so that what is seen then is new
        figures = page.locator(".jp-CodeCell .jp-OutputArea-output img")
        menu(page, "Edit", "Clear Outputs of All Cells")
        assert figures.count() == 0
        assert all(cell.execution_count is None for cell in code_cells(now(page)))
        menu(page, "Run", "Run All Cells")
        finish(page, code[-1].id, len(code))
        ran = now(page)
        assert stored_errors(ran) == []
        small = folder / f"{path.name}.small"
        assert small.exists() == (path.name[:3] in SMALL)
        assert [c.execution_count for c in code_cells(ran)] == [c.execution_count for c in code]
        pngs = sum("image/png" in o.get("data", {}) for c in code for o in c.outputs)
        assert pngs > 0
        assert figures.count() == pngs
        drawings = page.locator(".jp-MarkdownOutput img")
        assert drawings.count() == sum("](attachment:" in cell.source for cell in stored.cells)
        for images in (figures, drawings):
            assert images.evaluate_all(SHOWN)
        for id_ in (cell.id for cell in code if CHECK.search(cell.source)):
            seen, wanted = printed(ran, id_), printed(stored, id_)
            assert BLANK in seen
            if path.name[:3] in SMALL:  # before what check says stands what was measured
                seen, wanted = (text[text.index(BLANK) :] for text in (seen, wanted))
            assert seen == wanted

        # answered: the solution is typed over the cell
        id_, source = answered(int(path.name[:2]), stored)
        place = [cell.id for cell in ran.cells].index(id_)
        cell = page.locator(".jp-Notebook .jp-Cell").nth(place)
        cell.locator(".cm-content").click()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.insert_text(source)
        page.keyboard.press("ControlOrMeta+Enter")
        finish(page, id_, len(code) + 1)
        assert now(page).cells[place].source == source
        assert re.search(rf"(?m)^{re.escape(RIGHT)}", printed(now(page), id_))
        assert [w for w in wrong if not UNRESOLVED.search(w)] == []
    finally:
        page.evaluate("() => globalThis.jupyterapp?.serviceManager.sessions.shutdownAll()")
        page.close()
