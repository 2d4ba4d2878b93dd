"""What the tiny Stable Diffusion is to know: which emoji, drawn by whom, and what captions say of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import torch

from training.clip.data import COLOURS
from training.clip.evaluate import place
from training.clip.train import POSITIONS, with_article
from training.clip.words import is_held_out

# One artist: a prompt then means one picture, and an hour on a CPU is enough to learn a world of them.
ARTIST = "noto"

# Signs, letters, arrows, tools and office things: little to see at 64 pixels, or hard to tell apart, or
# simply too many for the time.
LEFT_OUT_SUBGROUPS = {
    "alphanum", "keycap", "arrow", "av-symbol", "math", "punctuation", "currency", "zodiac",
    "transport-sign", "warning", "other-symbol", "religion", "gender", "family", "person-symbol",
    "person-activity", "person-gesture", "person-sport", "person-resting", "body-parts",
    "hand-prop", "book-paper", "mail", "office", "lock", "writing", "computer", "phone",
    "light-video", "household", "medical", "tool", "sound", "music", "other-object", "place-map",
    "place-religious", "hotel", "money", "flag", "science", "award-medal", "arts-crafts",
    "dishware", "place-other", "place-geographic", "place-building", "clothing", "event", "game",
    "emotion", "hand-fingers-open", "hand-fingers-partial", "hand-single-finger", "time",
    "food-asian",
}  # fmt: skip
# ... but not these of them.
BROUGHT_BACK = {
    "house", "castle", "hospital", "school", "mountain", "volcano", "desert island",
    "beach with umbrella", "tent", "crown", "glasses", "sunglasses", "t-shirt", "jeans", "dress",
    "top hat", "running shoe", "high-heeled shoe", "ring", "gem stone", "backpack", "necktie",
    "billed cap", "graduation cap", "christmas tree", "balloon", "wrapped gift", "jack-o-lantern",
    "fireworks", "sparkles", "party popper", "teddy bear", "game die", "crystal ball",
    "video game", "puzzle piece", "kite", "magic wand", "nesting dolls", "collision",
    "hundred points", "speech balloon", "thought balloon", "sushi", "rice ball", "dumpling",
    "fortune cookie", "bento box", "spaghetti", "waving hand", "ok hand", "victory hand",
    "raised hand", "alarm clock", "watch", "hourglass done", "spoon", "kitchen knife",
    "fork and knife", "roller coaster", "carousel horse", "ferris wheel", "circus tent",
}  # fmt: skip
# Variants of a drawing that is in: hair, direction, half hours, sizes of a square, a view from ahead.
LEFT_OUT_NAMES = re.compile(
    r": |thirty|medium|(black|white) small|oncoming|feeding|turban|skullcap|headscarf|tuxedo|veil"
    r"|pregnant|with horizontal|button$|diamond with|pushing|wards hand|backhand|sun behind (small|large)"
)
# What people call things that Unicode calls otherwise. Keywords that fit one drawing only are added
# by `captions`; these fit several, and the most usual one is meant.
ALSO_CALLED = {
    "dog face": ("puppy", "doggy"), "cat face": ("kitten", "kitty"), "rabbit face": ("bunny",),
    "automobile": ("car",), "airplane": ("plane",), "red heart": ("heart",), "hamburger": ("burger",),
    "sailboat": ("boat",), "red apple": ("apple",), "bird": ("little bird",), "doughnut": ("donut",),
    "grinning face": ("happy face", "smiley"), "crying face": ("sad face",), "hot beverage": ("coffee",),
    "deciduous tree": ("tree",), "baby chick": ("chick",), "old man": ("grandfather",),
    "old woman": ("grandmother",), "bicycle": ("bike",),
}  # fmt: skip

# share of a template among the captions that say nothing but the name
PLAIN = (
    ("{}", 0.40), ("a {}", 0.22), ("the {}", 0.06), ("{} emoji", 0.08), ("an emoji of a {}", 0.06),
    ("a picture of a {}", 0.08), ("a drawing of a {}", 0.05), ("a photo of a {}", 0.05),
)  # fmt: skip
# share of what captions say, in all; the empty prompt's share is set in unet.py
SHARES = {
    "plain": 0.70, "keyword": 0.08, "large": 0.01,
    "ground": 0.12, "small": 0.02, "place": 0.04, "both": 0.03,
}  # fmt: skip
SMALL = 0.5  # of the usual size; things at an edge are small too
SPOTS = {"on the left": (0.0, 0.5), "on the right": (1.0, 0.5), "at the top": (0.5, 0.0), "at the bottom": (0.5, 1.0)}  # fmt: skip
NOWHERE = -1
WHITE = 0


class Scene(NamedTuple):
    """One picture: a concept's drawing on a ground, usual or small, in the middle or at an edge."""

    concept: int
    colour: int = WHITE
    small: bool = False
    position: int = NOWHERE


class Caption(NamedTuple):
    """What is said of which scene, and how often it is drawn in training (relative)."""

    text: str
    scene: Scene
    kind: str
    weight: float


def members(data: dict) -> list[int]:
    """The concepts of the world, in Unicode's order: drawn by the artist and not left out.

    A drawing that the artist uses for two names is in once, under its first name.
    """
    drawing = rows(data)
    seen, chosen = set(), []
    for c, entry in enumerate(data["concepts"]):
        left_out = entry["subgroup"] in LEFT_OUT_SUBGROUPS
        if c not in drawing or (left_out and prompt(entry["name"]) not in BROUGHT_BACK):
            continue
        if LEFT_OUT_NAMES.search(entry["name"]):
            continue
        pixels = data["pictures"][drawing[c]].numpy().tobytes()
        if pixels not in seen:
            seen.add(pixels)
            chosen.append(c)
    return chosen


def rows(data: dict) -> dict[int, int]:
    """Concept -> row of the artist's drawing."""
    number = data["styles"].index(ARTIST)
    mine = (data["style"] == number).nonzero().squeeze(1).tolist()
    return {int(data["concept"][row]): row for row in mine}


def prompt(name: str) -> str:
    """A name as it is asked for: lower case, straight apostrophe."""
    return name.replace("’", "'").lower()


def draw(data: dict, scenes: list[Scene]) -> torch.Tensor:
    """The scenes' pixels, (n, 3, 64, 64) in -1 … 1."""
    drawing = rows(data)
    return torch.stack(
        [
            place(
                data["pictures"][drawing[s.concept]],
                COLOURS[s.colour][1],
                SMALL if s.small else 1.0,
                SPOTS[POSITIONS[s.position]] if s.position != NOWHERE else (0.5, 0.5),
            )
            for s in scenes
        ]
    )


def keywords(data: dict, chosen: list[int]) -> dict[int, list[str]]:
    """Concept -> other words for it: keywords true of no other concept, and the usual ones.

    Words held out from the CLIP's captions are held out here too.
    """
    entries = data["concepts"]
    count = Counter(tag.lower() for entry in entries for tag in {t.lower() for t in entry["tags"]})
    names = {prompt(entry["name"]) for entry in entries}
    found = {}
    for c in chosen:
        usual = [
            word for word in ALSO_CALLED.get(prompt(entries[c]["name"]), ()) if word not in names
        ]
        own = sorted(
            {t.lower() for t in entries[c]["tags"]}
            - names
            - {w for words in ALSO_CALLED.values() for w in words}
        )
        own = [
            t for t in own if count[t] == 1 and 2 < len(t) < 30 and re.fullmatch(r"[a-z' -]+", t)
        ]
        found[c] = [w for w in usual + own[:5] if not is_held_out(w)]
    return found


def captions(data: dict, chosen: list[int], generator: torch.Generator) -> list[Caption]:
    """Every caption of the training, and which scene it describes.

    ``kind`` is a key of SHARES; the weights of a kind add up to its share, equal for every concept.
    """
    others = keywords(data, chosen)
    found: list[tuple[str, Scene, str, float]] = []

    def pick(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    for c in chosen:
        name = prompt(data["concepts"][c]["name"])
        say = [name, f"a {name}"]
        for template, share in PLAIN:
            found.append((template.format(name), Scene(c), "plain", share))
        for word in others[c]:
            found.append((word, Scene(c), "keyword", 0.6))
            found.append((f"a {word}", Scene(c), "keyword", 0.4))
        for size in ("large", "big"):
            found.append((f"a {size} {name}", Scene(c), "large", 1.0))
        for colour in range(1, len(COLOURS)):
            ground = f"on a {COLOURS[colour][0]} background"
            found.append((f"{say[pick(2)]} {ground}", Scene(c, colour), "ground", 1.0))
        for size in ("small", "tiny"):
            text = f"{('', 'a ')[pick(2)]}{size} {name}"
            found.append((text, Scene(c, small=True), "small", 1.0))
        for position, where in enumerate(POSITIONS):
            scene = Scene(c, small=True, position=position)
            found.append((f"{say[pick(2)]} {where}", scene, "place", 0.7))
            found.append((f"a small {name} {where}", scene, "place", 0.3))
        for _ in range(6):
            colour, position = 1 + pick(len(COLOURS) - 1), pick(len(POSITIONS) + 1) - 1
            ground = f"on a {COLOURS[colour][0]} background"
            where = "" if position == NOWHERE else f" {POSITIONS[position]}"
            size = "small " if position == NOWHERE or pick(2) else ""
            scene = Scene(c, colour, True, position)
            found.append((f"a {size}{name}{where} {ground}", scene, "both", 1.0))
    total = Counter()
    for _, _, kind, weight in found:
        total[kind] += weight
    return [
        Caption(with_article(text), scene, kind, weight / total[kind] * SHARES[kind])
        for text, scene, kind, weight in found
    ]
