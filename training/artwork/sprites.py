"""Write the drawings that ship with the helpers, from the data set that ``training.artwork.build`` made.

Two sprite sheets on white, 64 pixels a drawing, and ``emoji.json`` with the names. The held-out
artist is stored without loss, because notebooks measure on these drawings; the other one is for
showing. A drawing that cannot be seen on white is left out: noto-v1's "keycap: *" is a white
asterisk alone.
"""

from __future__ import annotations

import json

from PIL import Image

from training import SHIPPED
from training.artwork import drawn_by, load
from training.drawing import as_image, sheet
from training.options import Options

SHEETS = {"noto": {"quality": 90}, "noto-v1": {"lossless": True}}
COLUMNS = 42
BLANK = ((255, 255),) * 3  # the extremes of each colour of a picture without a drawing


def seen(data: dict, artist: str) -> dict[int, Image.Image]:
    """One artist's drawings on white, by concept, in the order of the concepts."""
    drawings = {int(data["concept"][i]): i for i in drawn_by(data, artist).tolist()}
    pictures = {c: as_image(data["pictures"][drawings[c]]) for c in sorted(drawings)}
    return {c: picture for c, picture in pictures.items() if picture.getextrema() != BLANK}


def entry(concept: dict, artists: list[str]) -> dict:
    """What ``emoji.json`` says of one emoji."""
    name = concept["name"].lower()
    return {
        "name": name,
        "emoji": concept["emoji"],
        "group": concept["group"],
        "keywords": sorted({tag.lower() for tag in concept["tags"]} - {name}),
        "artists": artists,
    }


def main() -> None:
    """Command line."""
    options = Options(__doc__)
    options.folder("--folder", SHIPPED / "data", "where to")
    folder = options.parse_args().folder
    folder.mkdir(exist_ok=True)
    data = load()
    drawn: dict[int, list[str]] = {c: [] for c in range(len(data["concepts"]))}
    for artist, how in SHEETS.items():
        pictures = seen(data, artist)
        sheet(list(pictures.values()), COLUMNS).save(folder / f"{artist}.webp", method=6, **how)
        for c in pictures:
            drawn[c].append(artist)
        print(f"{artist}: {len(pictures)} drawings")
    lines = [
        json.dumps(entry(concept, drawn[c]), ensure_ascii=False)
        for c, concept in enumerate(data["concepts"])
        if drawn[c]
    ]
    (folder / "emoji.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
