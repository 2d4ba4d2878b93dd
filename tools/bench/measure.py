"""How fast: several repeats in turn, so that what else the machine does hits all ways alike."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from tqdm import tqdm

from helpers import clean, embed, load_clip, tokenize, tree

from .prompts import ROOT, short
from .ways import TREE, USUAL, ways

PACKAGES = "torch", "transformers", "tokenizers", "sentence-transformers", "open_clip_torch"
TOLERANCE = 1e-5


def machine() -> dict[str, Any]:
    """What it runs on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": {name: installed(name) for name in PACKAGES},
    }


def installed(name: str) -> str | None:
    """Its version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def matrix_rate(device: str) -> float:
    """FLOPs a second of a product of two large matrices, in the dtype that is used there."""
    cuda = device == "cuda"
    size, dtype = (8192, torch.float16) if cuda else (1536, torch.float32)
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    times = [timed(lambda: a @ b, device)[0] for _ in range(8)]
    return 2 * size**3 / median(times[1:])


def timed(run: Callable[[], Any], device: str = "cpu") -> tuple[float, Any]:
    """(seconds, what came out)."""
    started = time.perf_counter()
    found = run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


def encode(
    folder: Path,
    texts: list[str],
    repeats: int,
    device: str,
    fits: Callable[[str, set[str]], None] = lambda digest, ways: None,
) -> dict[str, Any]:
    """Every way on the same texts. They are cleaned before, so that all read the same ids.

    ``fits`` is told the prompts' digest and the ways before anything is measured.
    """
    texts = [clean(text) for text in texts]
    found, skipped = ways(folder, device)
    fits(digest(texts), {*found})
    seconds: dict[str, list[float]] = {name: [] for name in found}
    difference: dict[str, float] = {}
    rates = []
    usual = None
    for run in found.values():
        run(texts[:32])  # warm
    for _ in tqdm(range(repeats), desc=f"{folder.name}, {device}", unit="repeat", delay=2):
        rates.append(matrix_rate(device))
        for name, run in tqdm(found.items(), leave=False, delay=2):
            spent, vectors = timed(lambda run=run: run(texts), device)
            seconds[name].append(spent)
            usual = vectors.float() if name == USUAL and usual is None else usual
            far = float((vectors.float() - usual).abs().max())
            difference[name] = worse(far, difference.get(name, 0.0))
    work = products(folder, texts, device)
    return {
        "prompts": len(texts),
        "digest": digest(texts),
        **{key: work[key] for key in ("tokens", "nodes")},
        "seconds": seconds,
        "difference": difference,
        "skipped": skipped,
        "matrix_rate": median(rates),
        "products": {name: work[name] for name in (USUAL, TREE)},
        "parts": parts_of_tree(folder, texts, repeats, device),
        "half": device == "cuda",
    }


def digest(texts: list[str]) -> str:
    """SHA-256 of prompts."""
    return sha256("\n".join(texts).encode()).hexdigest()


def worse(one: float, other: float) -> float:
    """The larger difference; NaN is the worst."""
    return one if isnan(one) or one > other else other


def products(folder: Path, texts: list[str], device: str) -> dict[str, float]:
    """FLOPs of the layers' matrices, without attention, of the usual call and of the tree."""
    clip = load_clip(folder, device=device)
    config = clip.text_config
    d, hidden, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    tokens = tokenize(clip, texts)
    with patch.object(tree, "run", wraps=tree.run) as ran:
        embed(clip, tokens, rows=False)
    of_all = [part for call in ran.call_args_list for part in call.args[1]]
    nodes, ends = sum(len(part.token) for part in of_all), sum(len(part.end) for part in of_all)
    row = 2 * (4 * d * d + 2 * d * hidden)  # query, key, value, output; the two of the MLP
    keys = 2 * 2 * d * d
    last = nodes * keys + ends * (row - keys)  # for the ends alone
    return {
        "tokens": float(tokens["attention_mask"].sum()) / len(texts),
        "nodes": nodes / len(texts),
        USUAL: row * layers * 77 * len(texts),
        TREE: row * (layers - 1) * nodes + last,
    }


def parts_of_tree(folder: Path, texts: list[str], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of the tree from ids that lie on the device, and of its layers with masks."""
    clip = load_clip(folder, device=device)
    ids = tokenize(clip, texts)["input_ids"].to(device)
    length = (ids == clip.eos_token_id).int().argmax(-1) + 1
    inside: list[float] = []

    def run(*given: Any) -> Any:
        if device == "cuda":
            torch.cuda.synchronize()  # what was asked for before is not the layers' time
        spent, found = timed(lambda: usual(*given), device)
        inside[-1] += spent
        return found

    def whole() -> float:
        return timed(lambda: tree.pooled_by_tree(clip.inner, ids, length), device)[0]

    whole()  # warm
    seconds, usual = [], tree.run
    with patch.object(tree, "run", run):
        for _ in range(repeats):
            inside.append(0.0)
            seconds.append(whole())
    return {"from ids": median(seconds), "layers": median(inside)}


def tokenizing(files: dict[str, list[str]], repeats: int) -> dict[str, Any]:
    """Prompts a second, ours and the library's, in turn."""
    from transformers import AutoTokenizer

    from .models import EMOJI

    clip, library = load_clip("emoji", device="cpu"), AutoTokenizer.from_pretrained(EMOJI)
    padded = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    runs = {
        "tokenize": lambda texts: tokenize(clip, texts),
        "the library, the same tensors": lambda texts: library(texts, **padded),
        "the library, lists of ids": lambda texts: library(texts, truncation=True),
    }
    found = {}
    for file, texts in files.items():
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(repeats + 1):
            for name, run in runs.items():
                spent, _ = timed(lambda run=run, texts=texts: run(texts))
                if repeat:  # the first one warms
                    rates[name].append(len(texts) / spent)
        found[file] = rates
    return found


STARTS = {
    "import helpers": "import helpers",
    "load_clip": "import helpers; helpers.load_clip('emoji', device='cpu')",
    "load_clip and one prompt": (
        "import helpers; helpers.embed(helpers.load_clip('emoji', device='cpu'), 'a cat')"
    ),
    "transformers' CLIPTextModel, imported": "from transformers import CLIPTextModel",
}


def starting(repeats: int) -> dict[str, list[float]]:
    """Seconds of a fresh Python, its own start taken off."""
    return {
        name: [max(0.0, fresh(code) - fresh("")) for _ in range(repeats)]
        for name, code in tqdm(STARTS.items(), desc="start", delay=2)
    }


def fresh(code: str) -> float:
    """Seconds of a process that runs this."""
    command = [sys.executable, "-c", code]
    return timed(lambda: subprocess.run(command, check=True, cwd=ROOT, capture_output=True))[0]


def memory(n: int) -> dict[str, int]:
    """The most memory of a process that embeds so many captions, in bytes, by their number."""
    code = (
        "import sys; from helpers import embed, load_clip\n"
        "texts = sys.stdin.read().splitlines(); clip = load_clip('emoji', device='cpu')\n"
        "embed(clip, texts, rows=False)\n"
        "from tools.bench.measure import peak; print(peak())"
    )
    found = {}
    for size in (1, n):
        told = subprocess.run(
            [sys.executable, "-c", code],
            input="\n".join(short(size)),
            text=True,
            check=True,
            cwd=ROOT,
            capture_output=True,
        ).stdout
        found[str(size)] = int(told)
    return found


def peak() -> int:
    """The most memory that this process had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # a child's resource.getrusage also tells what its parent had
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def notebooks(pattern: str = "*.ipynb") -> dict[str, float]:
    """Seconds of each notebook, run from its first cell to its last."""
    found = {}
    for path in tqdm(sorted((ROOT / "notebooks").glob(pattern)), desc="notebooks", delay=2):
        command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--stdout"]
        quiet = {"capture_output": True, "check": True, "cwd": ROOT}
        spent, _ = timed(lambda: subprocess.run([*command, str(path)], **quiet))  # noqa: B023
        found[path.name] = spent
    return found
