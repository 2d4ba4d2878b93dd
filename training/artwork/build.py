"""Turn the pinned npm artwork into one file of pictures and names: ``build/data.pt``.

``npm ci && python data.py`` rebuilds it. A *concept* is one emoji (one Unicode sequence); each
artist's drawing of it is one picture of 64 x 64 RGBA. Country flags and skin-tone variants are
left out: the first are hundreds of near-identical rectangles, the second differ in one colour.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
MODULES = HERE / "node_modules"
OUTPUT = HERE / "build" / "data.pt"
SIZE = 64

TRAIN_STYLES = ("noto", "twemoji", "fluent-emoji", "fluent-emoji-flat", "fxemoji", "emojione")
HELD_OUT_STYLES = ("noto-v1", "openmoji")

# Icon-set names that point at another emoji, or drawings that show something else than the name:
# found by looking at the contact sheets (``python data.py --sheet``).
WRONG = {
    ("twemoji", "astronaut"),
    ("noto-v1", "asterisk"),  # white on white
}


def key(name: str) -> str:
    """``"Man: Farmer"`` and ``man-farmer`` and ``manfarmer`` are the same name."""
    name = name.lower().replace("&", "and").replace("’", "").replace("'", "")
    return re.sub(r"[^a-z0-9]", "", name)


def code(hexcode: str) -> str:
    """A Unicode sequence as a key: variation selectors dropped, lower case, leading zeros dropped."""
    parts = [part.lstrip("0") for part in hexcode.lower().split("-")]
    return "-".join(part for part in parts if part != "fe0f")


def concepts() -> list[dict]:
    """Every emoji that is not a country flag, a skin tone, a hair or a regional letter."""
    messages = json.loads((MODULES / "emojibase-data/en/messages.json").read_text(encoding="utf-8"))
    groups = {group["order"]: group["key"] for group in messages["groups"]}
    subgroups = {group["order"]: group["key"] for group in messages["subgroups"]}
    keywords = json.loads((MODULES / "emojilib/dist/emoji-en-US.json").read_text(encoding="utf-8"))
    found = []
    for entry in json.loads((MODULES / "emojibase-data/en/data.json").read_text(encoding="utf-8")):
        if "group" not in entry:
            continue
        group, subgroup = groups[entry["group"]], subgroups[entry["subgroup"]]
        if group == "component" or subgroup in ("country-flag", "subdivision-flag"):
            continue
        name = entry["label"].replace("“", "").replace("”", "").replace("’", "'")
        tags = [str(tag) for tag in entry.get("tags", [])]
        tags += [tag.replace("_", " ") for tag in keywords.get(entry["emoji"], [])]
        found.append(
            {
                "code": code(entry["hexcode"]),
                "emoji": entry["emoji"],
                "name": name,
                "tags": list(dict.fromkeys(tag.strip() for tag in tags if tag.strip())),
                "group": group,
                "subgroup": subgroup,
            }
        )
    return found


def names_to_codes(found: list[dict]) -> dict[str, str]:
    """Names under which icon sets file an emoji; official names win over nicknames.

    A nickname that two emoji share points nowhere: a wrong picture is worse than a missing one.
    """
    known = {entry["code"] for entry in found}
    table = {key(entry["name"]): entry["code"] for entry in found}
    for source in ("cldr", "emojibase", "github", "iamcal", "joypixels", "emojibase-legacy"):
        path = MODULES / f"emojibase-data/en/shortcodes/{source}.json"
        nicknames = defaultdict(set)
        for hexcode, shortcodes in json.loads(path.read_text(encoding="utf-8")).items():
            if code(hexcode) in known:
                for shortcode in [shortcodes] if isinstance(shortcodes, str) else shortcodes:
                    nicknames[key(shortcode)].add(code(hexcode))
        for nickname, codes in nicknames.items():
            if len(codes) == 1:
                table.setdefault(nickname, next(iter(codes)))
    return table


def icons(style: str, found: list[dict], table: dict[str, str]) -> dict[str, str]:
    """Which icon of this set draws which concept: ``{code: icon name}``."""
    folder = MODULES / "@iconify-json" / style
    collection = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    names = set(collection["icons"]) | set(collection.get("aliases", {}))
    known = {entry["code"] for entry in found}
    chosen: dict[str, str] = {}
    if (folder / "chars.json").exists():
        for hexcode, icon in json.loads(
            (folder / "chars.json").read_text(encoding="utf-8")
        ).items():
            if code(hexcode) in known and icon in names:
                chosen.setdefault(code(hexcode), icon)
    for icon in sorted(names):
        if key(icon) in table:
            chosen.setdefault(table[key(icon)], icon)
    return {c: icon for c, icon in chosen.items() if (style, icon) not in WRONG}


def render(style: str, icon: str, collection: dict):
    """One icon as a (64, 64, 4) uint8 array, transparent outside the drawing."""
    import numpy as np
    import resvg_py
    from PIL import Image

    entry = dict(collection["icons"].get(icon) or {})
    if not entry:  # an alias: same drawing, perhaps mirrored
        alias = collection["aliases"][icon]
        entry = {**collection["icons"][alias["parent"]], **alias}
    width = entry.get("width", collection.get("width", 16))
    height = entry.get("height", collection.get("height", 16))
    left, top = entry.get("left", 0), entry.get("top", 0)
    body = entry["body"]
    if entry.get("hFlip"):
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{2 * SIZE}" height="{2 * SIZE}">{body}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg))
    picture = Image.open(io.BytesIO(png)).convert("RGBa").resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(picture.convert("RGBA"))


def build() -> dict:
    """Render everything. Returns the dictionary that :func:`main` saves.

    ``concepts`` list of dicts; ``styles`` list of names; ``pictures`` uint8 (m, 4, 64, 64);
    ``concept`` and ``style`` long (m,), indices into the two lists.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    found = concepts()
    table = names_to_codes(found)
    styles = [*TRAIN_STYLES, *HELD_OUT_STYLES]
    chosen = {style: icons(style, found, table) for style in styles}
    found = [
        entry
        for entry in found
        if sum(entry["code"] in chosen[style] for style in TRAIN_STYLES) >= 2
    ]
    pictures, concept, style_of = [], [], []
    for number, style in enumerate(styles):
        collection = json.loads(
            (MODULES / "@iconify-json" / style / "icons.json").read_text(encoding="utf-8")
        )
        for index, entry in enumerate(tqdm(found, desc=style, leave=False)):
            if entry["code"] in chosen[style]:
                drawing = render(style, chosen[style][entry["code"]], collection)
                if drawing[..., 3].max() == 0:
                    raise ValueError(f"{style} {chosen[style][entry['code']]} rendered empty.")
                pictures.append(drawing)
                concept.append(index)
                style_of.append(number)
        print(f"{style:18s} {style_of.count(number):5d} pictures")
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return {
        "concepts": found,
        "styles": styles,
        "pictures": stacked,
        "concept": torch.tensor(concept),
        "style": torch.tensor(style_of),
    }


def sheet(data: dict, folder: Path) -> None:
    """One contact sheet per style, to look for wrong drawings."""
    import torch
    from PIL import Image

    for number, style in enumerate(data["styles"]):
        mine = (data["style"] == number).nonzero().squeeze(1)
        columns = 40
        rows = -(-len(data["concepts"]) // columns)
        canvas = Image.new("RGB", (columns * SIZE, rows * SIZE), "white")
        for i in mine.tolist():
            c = int(data["concept"][i])
            drawing = Image.fromarray(data["pictures"][i].permute(1, 2, 0).to(torch.uint8).numpy())
            canvas.paste(drawing, (c % columns * SIZE, c // columns * SIZE), drawing)
        canvas.save(folder / f"sheet_{style}.png")


def main() -> None:
    """Command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", action="store_true", help="also write a contact sheet per style")
    arguments = parser.parse_args()
    if not MODULES.exists():
        raise SystemExit("No node_modules here. Run `npm ci` in this folder first.")
    data = build()
    OUTPUT.parent.mkdir(exist_ok=True)
    torch.save(data, OUTPUT)
    print(f"{len(data['concepts'])} concepts, {len(data['pictures'])} pictures -> {OUTPUT.name}")
    if arguments.sheet:
        sheet(data, OUTPUT.parent)


if __name__ == "__main__":
    main()
