"""The tiny Stable Diffusion's card tells of the weights that are shipped, and they reach the least
that was set."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from conftest import EMOJI
from PIL import Image

from training.captions import prompt
from training.diffusion import card as tables
from training.diffusion import evaluate
from training.diffusion.judges import Names
from training.diffusion.model import SHIPPED, load
from training.drawing import as_pixels
from training.measuring import digest

MISSED = {  # floors of card.FLOORS that are known to be missed; the card's limits tell of each
    "names: the same",
    "open prompts: right answers",
    "open prompts: at least five different right names in 16 seeds, share of prompts",
    "left-out pairs: both found",
}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads((SHIPPED / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def card() -> str:
    return (SHIPPED / "README.md").read_text(encoding="utf-8")


def test_the_figures_belong_to_the_shipped_weights(results: dict[str, Any]) -> None:
    assert results["sha256"] == evaluate.weights(SHIPPED)
    assert results["clip_sha256"] == digest(EMOJI / "model.safetensors")
    assert results["bytes"] == evaluate.size()
    assert sum(results["bytes"].values()) <= 40_000_000


def test_the_card_holds_the_measured_tables(results: dict[str, Any], card: str) -> None:
    assert card.count("<!-- table -->") == card.count("<!-- /table -->") == 1
    table = card.split("<!-- table -->")[1].split("<!-- /table -->")[0]
    assert table.strip() == tables.tables(results).strip()


def test_the_card_says_what_a_card_says(card: str) -> None:
    assert {"Limits", "Licence", "How to retrain"} <= set(re.findall(r"(?m)^## (.+)$", card))
    for link in re.findall(r"\]\(([^)#]+)\)", card):
        assert (SHIPPED / link).exists(), link
    assert all(alt.strip() for alt in re.findall(r"!\[([^\]]*)\]", card))


def test_the_world(results: dict[str, Any]) -> None:
    """At least 1,200 things, with the families that the arithmetic needs."""
    names = set(results["names"])
    assert len(names) == len(results["names"]) >= 1200
    assert {"dog face", "dog", "cat face", "cat", "grinning face", "grinning cat"} <= names
    assert {"prince", "princess", "skunk", "pizza", "red heart", "blue circle"} <= names
    jobs = {name.removeprefix("man ") for name in names if name.startswith("man ")}
    assert len({job for job in jobs if f"woman {job}" in names}) >= 12


def test_floors(results: dict[str, Any], card: str) -> None:
    """All pictures were measured (not --quick), and what was reached is not lost unnoticed."""
    assert results["steps"] == 20
    assert sum(results["pictures"].values()) > 1000
    missed = {name for name, x in tables.reached(results).items() if not tables.is_hit(name, x)}
    assert missed == MISSED
    assert card.count("**missed**") == len(MISSED)


def test_the_shipped_files_give_the_measured_pictures(results: dict[str, Any]) -> None:
    """A few of them, drawn again; another processor's rounding may move one answer."""
    artwork = json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))["names"]
    names = Names(list(dict.fromkeys(map(prompt, artwork))))
    measured = list(results["nearest"].items())
    chosen = range(0, len(measured), len(measured) // 30)
    with torch.inference_mode():
        drawn = evaluate.paint(
            load(),
            [measured[i][0] for i in chosen],
            [10_000 + i for i in chosen],
            results["guidance_scale"],
        )
        numbers = names.nearest(as_pixels(drawn), 1).squeeze(1).tolist()
    same = sum(names.number[measured[i][1]] == n for i, n in zip(chosen, numbers, strict=True))
    assert same >= len(chosen) - 1


def test_the_pictures_of_the_card(results: dict[str, Any], card: str) -> None:
    """As many as were measured, on sheets of so many columns; the card shows every sheet."""
    count, frames = results["pictures"], evaluate.FRAMES
    sheets = {
        "open_prompts": (count["open"] // 2, 16),  # eight of sixteen seeds
        "styles": (count["taught"], 12),
        "contact_sheet": (count["world"], 30),
        "pairs": (count["pair"], 16),
        "film_strip": (frames * len(evaluate.WALKS), frames),
    }
    assert {file.stem for file in SHIPPED.glob("*.webp")} == set(sheets)
    for name, (pictures, columns) in sheets.items():
        with Image.open(SHIPPED / f"{name}.webp") as sheet:
            assert sheet.size == (64 * columns, 64 * -(-pictures // columns)), name
        assert f"]({name}.webp)" in card
    assert len(results["nearest"]) == count["world"]
    assert {name for ends in evaluate.WALKS for name in ends} <= set(results["names"])
