"""Measure, part by part, and write the tables of all parts that were measured into a page.

python -m tools.bench                                 # encode, tokenize, start, memory
python -m tools.bench encode --models large --files short
python -m tools.bench encode --prompts my_prompts.txt
python -m tools.bench million notebooks               # these take long
python -m tools.bench table                           # the page alone, from what is there
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # before torch and transformers are imported, and not for a test
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is here

import torch

from . import measure, report
from .models import ABOUT, folder_of
from .prompts import FILES, ROOT, of_file

PARTS = ["encode", "tokenize", "start", "memory", "million", "notebooks", "table"]
PROMPTS = {"emoji": 1600, "large": 200, "tiny": 64}  # of long ones a quarter


def command_line() -> argparse.ArgumentParser:
    """What it can be told."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--models", nargs="+", choices=[*ABOUT], default=["emoji", "large"])
    parser.add_argument("--files", nargs="+", choices=[*FILES], default=[*FILES])
    parser.add_argument("--prompts", type=Path, help="a file of your own, instead of these")
    parser.add_argument("--n", type=int, help="so many prompts of each file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="to the repeats that are there")
    parser.add_argument("--captions", type=int, default=1_000_000, help="of the million")
    parser.add_argument("--build", type=Path, default=ROOT / "build/bench", help="for results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/speed.md")
    return parser


def main(told: list[str] | None = None) -> None:
    """Run what was asked for."""
    parser = command_line()
    asked = parser.parse_args(told)
    parts = asked.parts or ["encode", "tokenize", "start", "memory"]
    if wrong := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part {wrong[0]!r}; there are {', '.join(PARTS)}")
    for part in parts:
        if part == "encode":
            encode(asked)
            continue
        figures = {
            "tokenize": lambda: measure.tokenizing(texts_of(asked, 1600), asked.repeats),
            "start": lambda: measure.starting(asked.repeats),
            "memory": lambda: measure.memory(asked.n or 10_000),
            "million": lambda: million(asked),
            "notebooks": measure.notebooks,
        }
        if part != "table":
            machine = measure.machine()
            found = figures[part]()
            machine["threads"] = found.get("threads", machine["threads"])  # of its own processes
            report.store(asked.build, part, machine, found)
    report.write(asked.build, asked.page)


def texts_of(asked: argparse.Namespace, n: int) -> dict[str, list[str]]:
    """The prompts of each file that was asked for."""
    if asked.prompts:
        return {asked.prompts.stem: of_file(asked.prompts, asked.n)}
    return {name: FILES[name](asked.n or (n // 4 if name == "long" else n)) for name in asked.files}


def encode(asked: argparse.Namespace) -> None:
    """Every model with every file, on the CPU and on the GPU if there is one."""
    for model in asked.models:
        folder = folder_of(model, asked.build)
        for file, texts in texts_of(asked, PROMPTS[model]).items():
            for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
                machine = measure.machine()
                part = f"encode:{model}:{file}:{device}"
                more = (
                    {"fits": partial(report.fits, asked.build, part, machine)} if asked.add else {}
                )
                figures = measure.encode(folder, texts, asked.repeats, device, **more)
                report.store(asked.build, part, machine, figures, add=asked.add)


def million(asked: argparse.Namespace) -> dict[str, object]:
    """In a folder of its own, which is deleted in the end."""
    from .million import million

    return million(asked.build / "million", asked.captions, max(1, asked.captions // 100))


if __name__ == "__main__":
    main()
