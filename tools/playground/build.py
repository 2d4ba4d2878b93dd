"""Build the playground: ``python tools/playground/build.py FOLDER``.

From docs/playground, the shipped models, and the npm packages of package-lock.json. What the page
loads are classic scripts, because a page opened from ``file://`` may load nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "playground"
MODULES = HERE / "node_modules"
LICENCES = """\
engine.js holds ONNX Runtime Web, Copyright (c) Microsoft Corporation, under the terms below.
noto.webp: Noto Emoji, Copyright Google Inc., under LICENSE-APACHE.
NOTICE.txt names the artists whose drawings the models were trained on, and their licences.
All else, under the terms below:
"""


def main(folder: Path) -> None:
    """Make ``folder`` anew. Says plainly what is missing if npm is."""
    if shutil.which("npm") is None:
        sys.exit(
            "The playground is built with npm, which is not installed: install Node.js 20 or newer "
            "(https://nodejs.org). Everything else in this project works without it."
        )
    _run("npm", "ci", "--no-audit", "--no-fund", "--silent", "--prefix", str(HERE))
    onnx = ROOT / "build" / "onnx"
    needed = HERE / "requirements.txt"
    if not (onnx / needed.name).is_file() or (onnx / needed.name).read_text() != needed.read_text():
        shutil.rmtree(onnx, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--no-deps", "--target", str(onnx), "--requirement", str(needed))
        shutil.copy(needed, onnx)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _bundle(folder)
    paths = os.pathsep.join([str(onnx), str(ROOT)])
    _run(sys.executable, "-W", "ignore", str(HERE / "pack.py"), str(folder), PYTHONPATH=paths)
    page, weights = folder / "index.html", folder / "weights-text.js"
    loading = f"Loading the model, {weights.stat().st_size / 1e6:.0f} MB …"
    loading = f'<p id="loading" role="status">{loading}</p>'
    source = page.read_text(encoding="utf-8")
    page.write_text(re.sub("(?s)<!-- until it is built.*<!-- built -->", loading, source), "utf-8")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder / 'index.html'}: the whole page is {size / 1e6:.1f} MB")


def _bundle(folder: Path) -> None:
    """The page without its weights."""
    for script in ("page.js", "engine.js"):
        _run(
            str(MODULES / ".bin" / "esbuild"),
            str(PAGE / script),
            "--bundle",
            "--minify-whitespace",
            "--format=iife",
            "--target=es2022",
            "--charset=utf8",
            "--loader:.wasm=binary",
            "--define:import.meta.url=document.baseURI",
            "--log-level=error",
            f"--outfile={folder / script}",
            NODE_PATH=str(MODULES),
        )
    for file in (PAGE / "index.html", PAGE / "style.css", ROOT / "helpers/data/noto.webp"):
        shutil.copy(file, folder)
    shutil.copy(ROOT / "helpers/data/LICENSE-APACHE", folder)
    shutil.copy(ROOT / "NOTICE", folder / "NOTICE.txt")
    (folder / "LICENCES.txt").write_text(f"{LICENCES}\n{(ROOT / 'LICENSE').read_text()}")


def _run(*command: str, **variables: str) -> None:
    try:
        subprocess.run(command, check=True, env=os.environ | {"TQDM_DISABLE": "1"} | variables)
    except subprocess.CalledProcessError as error:
        sys.exit(f"'{Path(command[0]).name}' failed, see above ({error.returncode}).")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
