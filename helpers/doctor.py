"""``python -m helpers doctor``: is everything there that the notebooks need, and what if not.

One line for each thing: ``[ok]``, ``[warn]`` (it works, but ...) or ``[fail]``, with what to do. It
looks, and changes nothing. It also starts on a Python that is too old for the rest, to say so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from .arithmetic import nearest
from .checkpoints import CHECKPOINTS, ENVIRONMENT_VARIABLE, find_folder, load_clip
from .diffusion import find_pipeline, load_pipeline, paint, pipeline_files
from .embeddings import embed
from .fetch import SUMS, read_sums
from .folders import is_complete, layout
from .hub import CheckpointError, ask, cached, cached_hashes, damaged
from .images import embed_images

PACKAGE = "from-prompt-to-embedding"
OLDEST = (3, 11)
OURS = Path(__file__).resolve().parent
ROOT = OURS.parent  # in a clone; in an installed copy that is site-packages
PROMPTS = ["pizza", "red heart", "fox", "frog", "rocket"]
MEMORY = 2_000_000_000  # bytes free: with less, big notebooks may make the machine swap
DISK = 1_000_000_000
PATIENCE = 5  # seconds for the Hub
RESTORE = (
    "in a clone, run: git checkout -- helpers/models   Elsewhere, download or install it again."
)


@dataclass(frozen=True)
class Line:
    """What was found.

    Attributes:
        name: of the thing that was looked at.
        status: ``"ok"``, ``"warn"`` or ``"fail"``.
        found: what it is like.
        remedy: what to do about it, or "".
    """

    name: str
    status: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """80 columns, the remedy on lines of its own."""
        head = f"{'[' + self.status + ']':6} {self.name:12} "
        form = partial(textwrap.wrap, width=80, break_long_words=False, break_on_hyphens=False)
        lines = form(self.found, initial_indent=head, subsequent_indent=" " * len(head))
        if self.remedy:
            arrow = " " * (len(head) - 3) + "-> "
            lines += form(self.remedy, initial_indent=arrow, subsequent_indent=" " * len(head))
        return "\n".join(lines)


# --- Python and packages --------------------------------------------------------------------


def python() -> Line:
    """Whether this Python is new enough."""
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] < OLDEST:
        return Line(
            "Python", "fail", found,
            "3.11 or newer is needed: install one (python.org), then make a new environment with "
            "it, for example: make PYTHON=python3.12 lab",
        )  # fmt: skip
    if sys.maxsize < 2**32:
        return Line("Python", "fail", f"{found}, 32-bit", "torch needs a 64-bit Python.")
    return Line("Python", "ok", found)


def packages() -> Line:
    """The versions of the needed packages, against the ranges and the tested ones.

    A clone has both, in ``pyproject.toml`` and ``requirements.txt``. An installed copy knows the
    ranges only, from its metadata.
    """
    from packaging.requirements import Requirement
    from packaging.version import Version

    pins: dict[str, str] = {}
    if _is_clone():
        import tomllib

        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = project["dependencies"]
        text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
        pins = dict(re.findall(r"(?m)^([\w-]+)==(\S+)", text))
    else:
        wanted = [r for r in metadata.requires(PACKAGE) or [] if "extra ==" not in r]
    wrong, other = [], []
    for requirement in map(Requirement, wanted):
        name, ranges = requirement.name, str(requirement.specifier)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{name} is {version} and must be {ranges}")
        elif name in pins and Version(version).public != pins[name]:
            other.append(f"{name} {version} (tested: {pins[name]})")
    install = f"{_this_python()} -m pip install "
    if wrong:
        what = f"-r {_quoted(ROOT / 'requirements.txt')}" if pins else f"--upgrade {PACKAGE}"
        return Line("packages", "fail", "; ".join(wrong), install + what)
    if other:
        return Line(
            "packages", "warn",
            f"the versions should do, but these are not the tested ones: {', '.join(other)}",
            f"only if something fails: {install}-r {_quoted(ROOT / 'requirements.txt')}",
        )  # fmt: skip
    how = "as tested" if pins else "in the ranges that should do"
    return Line("packages", "ok", f"all {len(wanted)} there, versions {how}")


def kernel() -> Line:
    """Whether a notebook's code would run in this Python."""
    if "ipykernel" in sys.modules:
        return Line("kernel", "ok", "this runs inside a notebook, so its Python is the above")
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except ImportError:
        return Line(
            "kernel", "warn", "Jupyter is not in this Python",
            f"{_this_python()} -m pip install jupyterlab ipykernel",
        )  # fmt: skip
    start = f"start Jupyter so: {_this_python()} -m jupyterlab"
    if re.fullmatch(r"python[\d.]*", program):  # Jupyter replaces that with its own Python
        typed = shutil.which("jupyter-lab") or shutil.which("jupyter-notebook")
        if typed and Path(typed).parent != Path(sys.executable).parent:
            return Line(
                "kernel", "warn",
                f"the command jupyter is another Python's ({typed}), and its notebooks run there",
                start,
            )  # fmt: skip
        return Line("kernel", "ok", "notebooks run in this Python")
    asked = "import sys; print(sys.prefix)"
    prefix = _output([program, "-c", asked], Path.cwd())
    if prefix and Path(prefix).resolve() == Path(sys.prefix).resolve():
        return Line("kernel", "ok", "notebooks run in this Python")
    return Line(
        "kernel", "fail", f"the kernel 'python3' runs in another Python: {program}",
        f"make it this one: {_this_python()} -m ipykernel install --sys-prefix   Then {start}",
    )  # fmt: skip


def source() -> Line:
    """Where ``helpers`` comes from, here and in a notebook, and whether a stray file hides it."""
    notebooks = ROOT / "notebooks" if _is_clone() else Path.cwd()
    stray = [file for folder in {Path.cwd(), notebooks} for file in _strays(folder)]
    if stray:
        names = ", ".join(map(str, stray))
        return Line(
            "helpers", "fail",
            f"{names}: Python takes such a file instead of the package or module of that name",
            "rename it, delete __pycache__ beside it, and restart the kernel.",
        )  # fmt: skip
    asked = "import importlib.util as u; s = u.find_spec('helpers'); print(s and s.origin or '')"
    origin = _output([sys.executable, "-c", asked], notebooks)
    install = f"{_this_python()} -m pip install --no-deps -e {_quoted(ROOT)}"
    where = f"the clone {ROOT}" if _is_clone() else f"installed in {ROOT}"
    if not origin:
        return Line(
            "helpers", "fail", f"{where}; but notebooks in {notebooks} cannot import it",
            install if _is_clone() else "start Jupyter with the Python above.",
        )  # fmt: skip
    if Path(origin).resolve().parent == OURS:
        return Line("helpers", "ok", where)
    if (Path(origin).parent / "models" / "emoji").is_dir():
        return Line(
            "helpers", "warn", f"{where}; but notebooks use another copy, {Path(origin).parent}",
            f"if this one should be used: {install}",
        )  # fmt: skip
    return Line(
        "helpers", "fail", f"notebooks would import {origin}, another package of that name",
        f"{_this_python()} -m pip uninstall helpers   Then restart the kernel.",
    )  # fmt: skip


# --- the machine ----------------------------------------------------------------------------


def device() -> Line:
    """What torch computes on."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found = f"{torch.cuda.get_device_name()}, {_gb(free)} of {_gb(total)} free"
        return Line("device", "ok", f"cuda: {found}")
    if torch.backends.mps.is_available():
        return Line("device", "ok", "mps: this Mac's GPU, which shares the memory below")
    found = f"cpu, {os.cpu_count()} cores"
    if shutil.which("nvidia-smi"):
        return Line(
            "device", "warn", f"{found}; there is an NVIDIA driver, but torch cannot use it",
            f"torch {torch.__version__} may be a CPU build, or the driver too old; the CPU is "
            "enough for the shipped models.",
        )  # fmt: skip
    return Line("device", "ok", f"{found}: enough for the shipped models")


def memory() -> Line:
    """How much memory is free."""
    try:
        seen = import_module("psutil").virtual_memory()  # it comes with ipykernel
    except ImportError:
        return Line("memory", "ok", "not looked at (the package psutil is not here)")
    free, total = seen.available, seen.total
    found = f"{_gb(free)} of {_gb(total)} free"
    if free < MEMORY:
        return Line("memory", "warn", found, "close other programs and other notebooks' kernels.")
    return Line("memory", "ok", found)


def disk() -> Line:
    """How much room is left where one works and where downloads go."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    cache = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = {
        "here": shutil.disk_usage(Path.cwd()).free,
        "for downloads": shutil.disk_usage(cache).free,
    }
    found = ", ".join(f"{_gb(size)} free {place}" for place, size in free.items())
    if min(free.values()) < DISK:
        return Line("disk", "warn", found, "free some, or point HF_HOME to a larger disk.")
    return Line("disk", "ok", found)


# --- the models -----------------------------------------------------------------------------


def shipped() -> Line:
    """Whether the models that come with the series are the bytes that were published."""
    wrong, count = [], 0
    for folder in (find_folder("emoji"), find_pipeline("emoji", half=False)[0]):
        sums = read_sums(folder)
        missing = [file for file in (sums or [SUMS]) if not (folder / file).is_file()]
        wrong += [f"{folder.name}/{file}" for file in [*missing, *damaged(folder, sums)]]
        count += len(sums)
    if wrong:
        return Line("models", "fail", f"missing or not as published: {', '.join(wrong)}", RESTORE)
    return Line("models", "ok", f"all {count} files of the shipped models are as published")


def text() -> Line:
    """A forward pass of the text side."""
    import torch

    clip = load_clip("emoji")
    began = time.perf_counter()
    rows = embed(clip, PROMPTS).last_hidden_state
    seconds = time.perf_counter() - began
    found = f"{len(PROMPTS)} prompts became rows {tuple(rows.shape)} in {seconds:.1f} s"
    if not bool(torch.isfinite(rows).all()):
        return Line(
            "text", "fail", f"{found}, but some are not numbers (NaN)",
            f"try the CPU: load_clip(device='cpu'); this was {clip.device}, {clip.dtype}.",
        )  # fmt: skip
    return Line("text", "ok", found)


def picture() -> Line:
    """From a prompt to a picture, and from the picture back to the prompt."""
    clip = load_clip("emoji")
    pipe = load_pipeline(clip)
    began = time.perf_counter()
    drawn = paint(pipe, PROMPTS[0], num_inference_steps=4)
    seconds = time.perf_counter() - began
    vectors = embed(clip, PROMPTS).text_embeds
    assert vectors is not None  # this CLIP has a projection
    seen = PROMPTS[int(nearest(embed_images(clip, drawn).image_embeds, vectors, 1).indices)]
    found = f"{PROMPTS[0]!r} was drawn in {seconds:.1f} s, and CLIP sees {seen!r} in it"
    if seen != PROMPTS[0]:
        return Line(
            "picture", "fail", found,
            "if 'models' above is ok, this device computes wrongly: try load_clip(device='cpu').",
        )  # fmt: skip
    return Line("picture", "ok", found)


# --- the Hub and what has come from it ------------------------------------------------------


def hub() -> Callable[[], Line]:
    """Ask the Hub in the background; call what this returns to get the answer."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return lambda: Line("Hub", "ok", "not asked, because HF_HUB_OFFLINE is set")
    known = CHECKPOINTS["clip-l"]
    said: list[str] = []

    def work() -> None:
        try:
            ask(str(known.id), known.revision)
            said.append("")
        except CheckpointError as error:
            said.append(str(error.args[0]))

    thread = threading.Thread(target=work, daemon=True)  # a name server may take its time
    thread.start()

    def answer() -> Line:
        thread.join(PATIENCE)
        if said == [""]:
            return Line("Hub", "ok", "reached")
        found = said[0] if said else f"no answer in {PATIENCE} seconds"
        return Line("Hub", "warn", found, "the shipped models do not need it.")

    return answer


def downloads(deep: bool) -> Line:
    """What of the table is in the cache; with ``deep``, whether each file is what its hash says."""
    states, partly, wrong = [], [], []
    compared, unknown = False, set()
    for name, known in CHECKPOINTS.items():
        if known.id is None:
            continue
        there = [cached(known.id, known.revision, [file]) for file in known.files]
        folder = next((folder for folder in there if folder), None)
        if folder is None:
            states.append(f"{name} not there")
            continue
        state = "whole" if is_complete(folder) else "partly there"
        if any(pipeline_files(folder, variant) for variant in (None, "fp16")):
            state += " with its pipeline"
        elif state != "whole":
            partly.append(name)
        if deep:
            compared, hashes = True, cached_hashes(folder)
            files = (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
            unknown |= set(files) - set(hashes)
            if bad := damaged(folder, hashes):
                wrong.append(name)
                state += f", DAMAGED: {', '.join(bad)}"
        states.append(f"{name} {state}")
    found = "; ".join(states)
    if compared and unknown:  # where the cache holds no links, nothing says what a file should be
        found += f" (not compared: {', '.join(sorted(unknown))})"
    elif compared and not wrong:
        found += " (as their hashes say)"
    fetch = f"{_this_python()} -m helpers fetch "
    if wrong:
        return Line("downloads", "fail", found, f"this fetches it again: {fetch}{wrong[0]}")
    if partly:
        return Line("downloads", "warn", found, f"this goes on with it: {fetch}{partly[0]}")
    return Line("downloads", "ok", found)


def chosen(deep: bool) -> Line:
    """What the notebooks would run on."""
    name = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if not name or name.lower() in CHECKPOINTS:
        return Line("checkpoint", "ok", f"the notebooks run on {name.lower() or 'emoji'!r}")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", name):
            return Line(
                "checkpoint", "ok", f"the notebooks run on {name!r} of the Hub (not looked at)"
            )
        return Line(
            "checkpoint", "fail", f"{ENVIRONMENT_VARIABLE} is {name!r}: no folder, seen from here",
            f"name one of {', '.join(CHECKPOINTS)}, a folder with its whole path, or nothing.",
        )  # fmt: skip
    try:
        layout(name, folder)
        sums = read_sums(folder) if deep else {}
        bad = [file for file in sums if not (folder / file).is_file()] + damaged(folder, sums)
        whole = is_complete(folder)
    except CheckpointError as error:
        return Line("checkpoint", "fail", f"{ENVIRONMENT_VARIABLE} is {error.args[0]}")
    if bad or not whole:
        return Line(
            "notebooks", "fail", f"{folder}: {', '.join(bad) or 'weights'} damaged or missing",
            "copy or fetch that folder again.",
        )  # fmt: skip
    known = f"{len(sums)} files as {SUMS} says" if sums else f"not compared: it has no {SUMS}"
    return Line(
        "checkpoint", "ok",
        f"the notebooks run on the folder {folder}" + (f" ({known})" if deep else ""),
    )  # fmt: skip


# --- one after the other --------------------------------------------------------------------


def look(deep: bool, told: Callable[[str], None]) -> Iterable[Line]:
    """All lines, in order; ``told`` gets the name of each before it is looked at."""
    told("Python")
    yield (first := python())
    if first.status == "fail":  # the rest would fail for that reason alone
        return
    answer: Callable[[], Line] | None = None
    checks: dict[str, Callable[[], Line]] = {
        "packages": packages,
        "kernel": kernel,
        "helpers": source,
        "disk": disk,
        "memory": memory,
        "models": shipped,
        "device": device,
        "text": text,
        "picture": picture,
        "checkpoint": partial(chosen, deep),
        "downloads": partial(downloads, deep),
        "Hub": lambda: answer() if answer else hub()(),
    }
    for name, check in checks.items():
        told(name)
        line = _guarded(name, check)
        yield line
        if name == "disk" and line.status != "fail":  # now huggingface_hub is imported
            answer = hub()


def doctor(*, deep: bool = False, as_json: bool = False) -> int:
    """Print one line for each thing, or JSON; 1 if one failed, else 0."""
    import json

    live = not as_json and sys.stdout.isatty()

    def told(name: str) -> None:
        if live:
            print(f"[....] {name:12} looking", end="\r", flush=True)

    lines = []
    for line in look(deep, told):
        lines.append(line)
        if not as_json:
            print(f"{' ' * 30}\r{line}" if live else line, flush=True)
    count = {status: sum(line.status == status for line in lines) for status in ("fail", "warn")}
    if as_json:
        print(
            json.dumps({"ok": not count["fail"], "lines": [vars(line) for line in lines]}, indent=1)
        )
    elif count["fail"]:
        print("\nSomething is missing: follow the arrows, from the top.")
    else:
        print("\nAll is well." if not count["warn"] else "\nThe notebooks will run.")
    return 1 if count["fail"] else 0


def _guarded(name: str, check: Callable[[], Line]) -> Line:
    """No check ends the others."""
    try:
        return check()
    except ModuleNotFoundError as error:
        return Line(name, "fail", f"not looked at: {error.name} is missing", "see 'packages'.")
    except CheckpointError as error:
        return Line(name, "fail", str(error.args[0]), "see 'models'.")
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        return Line(name, "fail", f"{type(error).__name__}: {reason}", "see the lines above.")


def _is_clone() -> bool:
    file = ROOT / "pyproject.toml"
    return file.is_file() and f'name = "{PACKAGE}"' in file.read_text(encoding="utf-8")


def _strays(folder: Path) -> list[Path]:
    """Files in ``folder`` that hide a package or a module of Python itself."""
    hidden = {"helpers", "torch", "transformers", "diffusers", "tokenizers", "numpy", "PIL"}
    hidden |= {"matplotlib", "IPython", "huggingface_hub", "safetensors", "ftfy", "regex", "tqdm"}
    hidden |= sys.stdlib_module_names
    return sorted(file for file in folder.glob("*.py") if file.stem in hidden)


def _output(command: list[str], folder: Path) -> str:
    """What a short command prints in ``folder``, or "" if it cannot."""
    try:
        done: Any = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _quoted(path: Path | str) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _this_python() -> str:
    return _quoted(sys.executable)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
