"""Write the drawings that ship with the helpers: ``python artwork.py``, after ``python data.py``.

Two sprite sheets on white, 64 pixels a drawing, and ``emoji.json`` with the names. The held-out
artist is stored without loss, because notebooks measure on these drawings; the other one is for
showing. A drawing that cannot be seen on white is left out: noto-v1's "keycap: *" is a white
asterisk alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from training.artwork.build import OUTPUT, SIZE

SHIPPED = Path(__file__).resolve().parents[2] / "helpers" / "data"
SHEETS = {"noto": {"quality": 90}, "noto-v1": {"lossless": True}}
COLUMNS = 42
WHITE = ((255, 255),) * 3  # the extremes of each colour of a picture without a drawing


def on_white(drawing: torch.Tensor) -> Image.Image:
    """An RGBA drawing (4, side, side) uint8 as a picture without transparency."""
    drawn = Image.fromarray(drawing.permute(1, 2, 0).numpy())
    picture = Image.new("RGB", drawn.size, "white")
    picture.paste(drawn, (0, 0), drawn)
    return picture


def sheet(data: dict, artist: str) -> tuple[Image.Image, list[int]]:
    """All drawings of one artist on white, in the order of the concepts, and those concepts."""
    mine = (data["style"] == data["styles"].index(artist)).nonzero().squeeze(1)
    mine = mine[data["concept"][mine].argsort()].tolist()
    drawings = {int(data["concept"][i]): on_white(data["pictures"][i]) for i in mine}
    seen = {c: drawing for c, drawing in drawings.items() if drawing.getextrema() != WHITE}
    canvas = Image.new("RGB", (COLUMNS * SIZE, -(-len(seen) // COLUMNS) * SIZE), "white")
    for place, drawing in enumerate(seen.values()):
        canvas.paste(drawing, (place % COLUMNS * SIZE, place // COLUMNS * SIZE))
    return canvas, list(seen)


def main() -> None:
    """Write everything."""
    if not OUTPUT.exists():
        raise SystemExit("No pictures yet. Run `npm ci && python data.py` in this folder first.")
    data = torch.load(OUTPUT)
    SHIPPED.mkdir(exist_ok=True)
    drawn: dict[int, list[str]] = {c: [] for c in range(len(data["concepts"]))}
    for artist, how in SHEETS.items():
        canvas, chosen = sheet(data, artist)
        canvas.save(SHIPPED / f"{artist}.webp", method=6, **how)
        for c in chosen:
            drawn[c].append(artist)
        print(f"{artist}: {len(chosen)} drawings")
    lines = [
        json.dumps(
            {
                "name": entry["name"].lower(),
                "emoji": entry["emoji"],
                "group": entry["group"],
                "keywords": sorted(
                    {tag.lower() for tag in entry["tags"]} - {entry["name"].lower()}
                ),
                "artists": drawn[c],
            },
            ensure_ascii=False,
        )
        for c, entry in enumerate(data["concepts"])
        if drawn[c]
    ]
    (SHIPPED / "emoji.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
