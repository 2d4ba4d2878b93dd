"""What the tiny Stable Diffusion is to know: which emoji, drawn by whom, and what captions say of them.

The lists say what is in. :class:`World` is all that the trainings and the measuring know of it: another world is
another class with the same public names.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import NamedTuple

import torch

from training.artwork import drawn_by
from training.captions import POSITIONS, SPOTS, UNSAID, caption, prompt
from training.clip.words import is_held_out
from training.drawing import COLOURS, WHITE, place

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
# by `keywords`; these fit several, and the most usual one is meant.
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
MIDDLE = UNSAID  # the position of what lies in the middle


class Scene(NamedTuple):
    """One picture: a concept's drawing on a ground, usual or small, in the middle or at an edge."""

    concept: int
    colour: int = WHITE
    small: bool = False
    position: int = MIDDLE

    def say(self, thing: str) -> str:
        """The thing, and where it is and on what: white and the middle go without saying."""
        return caption(thing, self.position, UNSAID if self.colour == WHITE else self.colour)


class Caption(NamedTuple):
    """What is said of which scene, and how often it is drawn in training (relative)."""

    text: str
    scene: Scene
    kind: str
    weight: float


class World:
    """The concepts of the data set that are in, their pictures and their captions."""

    def __init__(self, data: dict) -> None:
        self.data = data
        mine = drawn_by(data, ARTIST).tolist()
        self.row = {int(data["concept"][row]): row for row in mine}  # of the artist's drawing
        self.all_names = [prompt(entry["name"]) for entry in data["concepts"]]

    @cached_property
    def concepts(self) -> list[int]:
        """The concepts that are in, in Unicode's order: drawn by the artist and not left out.

        A drawing that the artist uses for two names is in once, under its first name.
        """
        seen, chosen = set(), []
        for c, entry in enumerate(self.data["concepts"]):
            left_out = entry["subgroup"] in LEFT_OUT_SUBGROUPS
            if c not in self.row or (left_out and self.all_names[c] not in BROUGHT_BACK):
                continue
            if LEFT_OUT_NAMES.search(entry["name"]):
                continue
            pixels = self.data["pictures"][self.row[c]].numpy().tobytes()
            if pixels not in seen:
                seen.add(pixels)
                chosen.append(c)
        return chosen

    @property
    def names(self) -> list[str]:
        """What each of them is asked for by."""
        return [self.all_names[c] for c in self.concepts]

    @property
    def scenes(self) -> list[Scene]:
        """What each name alone shows."""
        return [Scene(c) for c in self.concepts]

    @property
    def some_on_grounds(self) -> list[Scene]:
        """The same, every third on a coloured ground: a fair sample of what there is to see."""
        return [Scene(c, c % len(COLOURS) if c % 3 == 0 else WHITE) for c in self.concepts]

    def draw(self, scenes: list[Scene]) -> torch.Tensor:
        """Pixels, (n, 3, 64, 64)."""
        return torch.stack(
            [
                place(
                    self.data["pictures"][self.row[s.concept]],
                    s.colour,
                    SMALL if s.small else 1.0,
                    (0.5, 0.5) if s.position == MIDDLE else SPOTS[s.position],
                )
                for s in scenes
            ]
        )

    def keywords(self) -> dict[int, list[str]]:
        """Concept -> other words for it: keywords true of no other concept, and the usual ones.

        Words held out from the CLIP's captions are held out here too.
        """
        entries = self.data["concepts"]
        tags = [{tag.lower() for tag in entry["tags"]} for entry in entries]
        count = Counter(tag for own in tags for tag in own)
        names = set(self.all_names)
        called = {word for words in ALSO_CALLED.values() for word in words}
        found = {}
        for c in self.concepts:
            usual = [w for w in ALSO_CALLED.get(self.all_names[c], ()) if w not in names]
            own = [
                tag
                for tag in sorted(tags[c] - names - called)
                if count[tag] == 1 and 2 < len(tag) < 30 and re.fullmatch(r"[a-z' -]+", tag)
            ]
            found[c] = [w for w in usual + own[:5] if not is_held_out(w)]
        return found

    def captions(self, generator: torch.Generator) -> list[Caption]:
        """Every caption of the training, and which scene it describes.

        ``kind`` is a key of SHARES; the weights of a kind add up to its share, equal for every concept.
        """

        def pick(n: int) -> int:
            return int(torch.randint(n, (1,), generator=generator))

        found: list[Caption] = []

        def say(kind: str, weight: float, thing: str, scene: Scene) -> None:
            found.append(Caption(scene.say(thing), scene, kind, weight))

        for c, others in self.keywords().items():
            name = self.all_names[c]
            either = (name, f"a {name}")
            for template, share in PLAIN:
                say("plain", share, template.format(name), Scene(c))
            for word in others:
                say("keyword", 0.6, word, Scene(c))
                say("keyword", 0.4, f"a {word}", Scene(c))
            for size in ("large", "big"):
                say("large", 1.0, f"a {size} {name}", Scene(c))
            for colour in range(1, len(COLOURS)):
                say("ground", 1.0, either[pick(2)], Scene(c, colour))
            for size in ("small", "tiny"):
                say("small", 1.0, f"{('', 'a ')[pick(2)]}{size} {name}", Scene(c, small=True))
            for position in range(len(POSITIONS)):
                scene = Scene(c, small=True, position=position)
                say("place", 0.7, either[pick(2)], scene)
                say("place", 0.3, f"a small {name}", scene)
            for _ in range(6):
                colour, position = 1 + pick(len(COLOURS) - 1), pick(len(POSITIONS) + 1) - 1
                size = "small " if position == MIDDLE or pick(2) else ""
                say("both", 1.0, f"a {size}{name}", Scene(c, colour, True, position))
        total = Counter()
        for each in found:
            total[each.kind] += each.weight
        return [c._replace(weight=c.weight / total[c.kind] * SHARES[c.kind]) for c in found]
