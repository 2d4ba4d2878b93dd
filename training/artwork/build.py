"""Turn the pinned npm artwork into one file of pictures and names: ``training/build/data.pt``.

A *concept* is one emoji (one Unicode sequence); each artist's drawing of it is one picture of
64 x 64 RGBA. Country flags and skin-tone variants are left out: the first are hundreds of
near-identical rectangles, the second differ in one colour.
"""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from training import BUILD, FOLDER
from training.artwork import DATA, HELD_OUT_STYLES, TRAIN_STYLES, drawn_by
from training.drawing import SIZE, as_image, sheet
from training.loop import save
from training.options import Options

MODULES = FOLDER / "node_modules"

# Icon-set names that point at another emoji, or drawings that show something else than the name:
# found by looking at the contact sheets (``--sheets``).
WRONG = {
    ("twemoji", "astronaut"),
    ("noto-v1", "asterisk"),  # white on white
}


def read(path: str) -> dict | list:
    """A JSON file of the npm packages."""
    return json.loads((MODULES / path).read_text(encoding="utf-8"))


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
    messages = read("emojibase-data/en/messages.json")
    groups = {group["order"]: group["key"] for group in messages["groups"]}
    subgroups = {group["order"]: group["key"] for group in messages["subgroups"]}
    keywords = read("emojilib/dist/emoji-en-US.json")
    found = []
    for entry in read("emojibase-data/en/data.json"):
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
        nicknames = defaultdict(set)
        for hexcode, shortcodes in read(f"emojibase-data/en/shortcodes/{source}.json").items():
            if code(hexcode) in known:
                for shortcode in [shortcodes] if isinstance(shortcodes, str) else shortcodes:
                    nicknames[key(shortcode)].add(code(hexcode))
        for nickname, codes in nicknames.items():
            if len(codes) == 1:
                table.setdefault(nickname, next(iter(codes)))
    return table


def icons(style: str, found: list[dict], table: dict[str, str]) -> dict[str, str]:
    """Which icon of this set draws which concept: ``{code: icon name}``."""
    collection = read(f"@iconify-json/{style}/icons.json")
    names = set(collection["icons"]) | set(collection.get("aliases", {}))
    known = {entry["code"] for entry in found}
    chosen: dict[str, str] = {}
    if (MODULES / f"@iconify-json/{style}/chars.json").exists():
        for hexcode, icon in read(f"@iconify-json/{style}/chars.json").items():
            if code(hexcode) in known and icon in names:
                chosen.setdefault(code(hexcode), icon)
    for icon in sorted(names):
        if key(icon) in table:
            chosen.setdefault(table[key(icon)], icon)
    return {c: icon for c, icon in chosen.items() if (style, icon) not in WRONG}


def render(icon: str, collection: dict) -> np.ndarray:
    """One icon as a (64, 64, 4) uint8 array, transparent outside the drawing."""
    import resvg_py  # of training/requirements.txt: only here

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
    """Render everything. Returns what :func:`main` saves.

    ``concepts`` list of dicts; ``styles`` list of names; ``pictures`` uint8 (m, 4, 64, 64);
    ``concept`` and ``style`` long (m,), indices into the two lists.
    """
    found = concepts()
    table = names_to_codes(found)
    styles = [*TRAIN_STYLES, *HELD_OUT_STYLES]
    chosen = {style: icons(style, found, table) for style in styles}
    # two artists at least: what one alone draws would be learned by heart
    found = [e for e in found if sum(e["code"] in chosen[style] for style in TRAIN_STYLES) >= 2]
    pictures, concept, style_of = [], [], []
    for number, style in enumerate(styles):
        collection = read(f"@iconify-json/{style}/icons.json")
        for index, entry in enumerate(tqdm(found, desc=style, leave=False, disable=None)):
            if entry["code"] in chosen[style]:
                drawing = render(chosen[style][entry["code"]], collection)
                if drawing[..., 3].max() == 0:
                    raise ValueError(f"{style} {chosen[style][entry['code']]} rendered empty.")
                pictures.append(drawing)
                concept.append(index)
                style_of.append(number)
        print(f"{style:18s} {style_of.count(number):5d} pictures")
    return {
        "concepts": found,
        "styles": styles,
        "pictures": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(),
        "concept": torch.tensor(concept),
        "style": torch.tensor(style_of),
    }


def contact_sheet(data: dict, style: str) -> Image.Image:
    """One artist's drawings, each at its concept's place, to look for wrong ones."""
    images = [Image.new("RGB", (SIZE, SIZE), "white") for _ in data["concepts"]]
    for i in drawn_by(data, style).tolist():
        images[int(data["concept"][i])] = as_image(data["pictures"][i])
    return sheet(images, 40)


def main() -> None:
    """Command line."""
    options = Options(__doc__)
    options.flag("--sheets", "also draw a sheet of each artist")
    arguments = options.parse_args()
    if not MODULES.exists():
        raise SystemExit("There is no training/node_modules. Run `npm ci --prefix training` first.")
    data = build()
    save(data, DATA)
    print(f"{len(data['concepts'])} concepts, {len(data['pictures'])} pictures -> {DATA.name}")
    if arguments.sheets:
        for style in data["styles"]:
            contact_sheet(data, style).save(BUILD / f"sheet_{style}.png")


if __name__ == "__main__":
    main()
