"""What both measuring scripts need: shares of right answers, a control that learns nothing, the card."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F

from training.options import Options


def top(similarity: torch.Tensor, right: torch.Tensor) -> list[float]:
    """Share of rows whose right column is first, and among the first five."""
    hit = similarity.argsort(dim=1, descending=True)[:, :5] == right[:, None]
    return [round(hit[:, :k].any(1).float().mean().item(), 3) for k in (1, 5)]


def coarse(pixels: torch.Tensor) -> torch.Tensor:
    """16 x 16 pixels in a row, (n, 768): plain pixels, the control that learns nothing."""
    return F.interpolate(pixels, size=(16, 16), mode="area").flatten(1)


def two(pair: list[float] | None) -> str:
    """``.35 / .58``"""
    return "–" if pair is None else " / ".join(f"{x:.2f}" for x in pair)


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> list[str]:
    """The first lines of one, an empty line before."""
    return ["", row(*cells), "|---" * len(cells) + "|"]


def about_twelve(curve: list) -> list:
    """So many lines of a log, evenly spread, the last one among them."""
    stride = max(1, len(curve) // 12)
    return curve[(len(curve) - 1) % stride :: stride]


def digest(*files: Path) -> str:
    """SHA-256 over files, in order."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def stored(folder: Path) -> dict:
    """``results.json`` of a model's folder. An export has put the training's curve there."""
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(folder: Path, results: dict) -> None:
    """``results.json`` of a model's folder."""
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (folder / "results.json").write_text(text, encoding="utf-8")


def write_card(table: str, folder: Path) -> None:
    """Put the tables between the markers of the folder's ``README.md``."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    before, rest = text.split("<!-- table -->", 1)
    after = rest.split("<!-- /table -->", 1)[1]
    card.write_text(f"{before}<!-- table -->\n{table}\n<!-- /table -->{after}", encoding="utf-8")


def command_line(doc: str, folder: Path) -> argparse.Namespace:
    """The same two choices for every measuring script."""
    options = Options(doc)
    options.flag("--dry", "print the tables, write nothing")
    options.folder("--folder", folder, "whose model is measured, and where the card is written")
    return options.parse_args()
