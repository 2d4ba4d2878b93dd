"""What the tiny Stable Diffusion is to know: which things, drawn by whom, and what captions say of them.

A caption has many right answers, and that is the point. "a fox" is true of every artist's fox, "a flat
fox" of one artist's, "an animal" of every animal that anybody drew. So the model has to learn a
distribution, and a seed picks from it. Captions are made up anew for every batch (:meth:`World.say`).

A fixed tenth or so of the combinations is left out of the training (:data:`HELD_OUT`): they tell later
whether the model puts things together or remembers them.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import torch

from training.captions import POSITIONS, SPOTS, prompt, with_article
from training.clip.words import is_held_out
from training.drawing import COLOURS, PALETTE, SIZE, on_ground, premultiplied, shrunk

# What a person would say of each artist's way of drawing. The words were chosen from thirty because the
# text encoder keeps them apart: evaluate.py prints by how much.
STYLES = {
    "noto": "soft", "twemoji": "flat", "fluent-emoji": "glossy",
    "fluent-emoji-flat": "simple", "fxemoji": "retro", "emojione": "detailed",
}  # fmt: skip

# Letters, signs and arrows, of which little is to be seen but a letter or a line.
LEFT_OUT_SUBGROUPS = {
    "alphanum", "keycap", "arrow", "av-symbol", "math", "punctuation", "currency", "zodiac",
    "transport-sign", "warning", "other-symbol", "religion", "gender", "person-symbol", "family",
}  # fmt: skip
# Half hours, sizes of a square, the same person with other hair; and one for which a class would laugh.
LEFT_OUT_NAMES = re.compile(
    r": |thirty|medium|button$|(black|white) small|with horizontal|middle finger"
)

# Open prompts: what one asks for, and the subgroups (or "#keyword") that answer it.
OPEN = {
    "an animal": ("animal-",), "a bird": ("animal-bird",), "an insect": ("animal-bug",),
    "a sea animal": ("animal-marine",), "a mammal": ("animal-mammal",), "a plant": ("plant-",),
    "a flower": ("plant-flower",), "food": ("food-",), "a fruit": ("food-fruit",),
    "a vegetable": ("food-vegetable",), "a dessert": ("food-sweet",), "a drink": ("drink",),
    "a vehicle": ("#vehicle",), "a boat": ("transport-water",), "an aircraft": ("transport-air",),
    "a building": ("place-building",), "the weather": ("#weather",), "a face": ("face-",),
    "a smiling face": ("face-smiling", "face-affection"), "a sad face": ("face-concerned",),
    "a heart": ("heart",), "a hand": ("hand",), "a person": ("person",),
    "a person at work": ("person-role",), "an athlete": ("person-sport",),
    "a fantasy creature": ("person-fantasy",), "clothing": ("clothing",),
    "a musical instrument": ("musical-instrument",), "a tool": ("tool",), "a shape": ("geometric",),
    "a ball": ("#ball",), "something round": ("#circle", "#ball"), "sports equipment": ("sport",),
    "a toy": ("game",), "a clock": ("time",), "a household thing": ("household",),
    "an office thing": ("office",), "a book": ("book-paper",), "something sweet": ("#sweet",),
    "something in the sky": ("sky-weather",),
}  # fmt: skip
# What is in these subgroups, or has the keyword, and yet is no answer: a pattern of names.
UNTRUE = {
    "an animal": "pig nose|paw prints|feather|wing|spider web|coral|spiral shell|microbe",
    "a bird": "feather|wing",
    "an insect": "snail|spider|spider web|scorpion|worm|microbe",
    "a sea animal": "coral|spiral shell",
    "a mammal": "pig nose|paw prints",
    "a plant": "rosette|.*nest.*|mushroom",
    "a flower": "rosette",
    "a drink": "ice",
    "a vehicle": ".*rowing boat|station|wheel|police car light|satellite",
    "a boat": "anchor|ring buoy",
    "an aircraft": "parachute|seat|.*railway|.*cableway|.*tramway|satellite",
    "a building": "brick|rock|wood|wedding|building construction|statue of liberty",
    "the weather": ".*(sunglasses|volcano|beach|night|sunrise|dusk|sunset|moon|wave).*|milky way|closed umbrella",
    "a face": "skull and crossbones|pile of poo|alien monster",
    "a smiling face": ".*kiss.*",
    "a sad face": "(hushed|astonished|flushed|distorted|yawning) face|face with open mouth",
    "a heart": "love letter",
    "a person at work":
        ".*(student|ninja|crown|prince|turban|skullcap|headscarf|tuxedo|veil|pregnant|feeding).*",
    "clothing": "folding hand fan|.*bags?|purse|backpack|hair pick|prayer beads|lipstick|ring|gem stone",
    "a tool": "dagger|crossed swords|bomb|boomerang|bow and arrow|shield|balance scale|white cane|.*chains?|link",
    "a ball": ".*(golfing|bouncing|handball|hockey).*|(rice|confetti) ball|tennis|lacrosse|cricket game|ping pong",
    "something round":
        ".*(golfing|bouncing|handball|hockey|football).*|dizzy|(rice|confetti) ball|tennis|lacrosse|bowling"
        "|cricket game|ping pong",
    "a toy": "bullseye|.*(ball|suit|machine|wand|cards)|joker|mahjong.*",
    "a clock": "hourglass.*",
    "a household thing": "elevator",
    "a book": ".*(page|newspaper|bookmark).*|scroll|label",
    "something sweet": "face with tongue|pink heart|ok hand|roasted sweet potato|beverage box",
    "something in the sky": "thermometer|.*umbrella.*|high voltage|fire|droplet|water wave|snow.*",
}  # fmt: skip
OPEN_TEMPLATES = ("{}", "{}", "{}", "a picture of {}", "a drawing of {}", "{} emoji")
NAME_TEMPLATES = (
    "{}", "{}", "{}", "a {}", "a {}", "the {}", "{} emoji", "an emoji of a {}", "a picture of a {}",
    "a drawing of a {}",
)  # fmt: skip

# What captions speak of, and how often. The empty prompt's share is set in unet.py.
SHARES = {
    "name": 0.25, "style": 0.25, "keyword": 0.03, "open": 0.15, "ground": 0.09, "place": 0.09, "pair": 0.14,
}  # fmt: skip
SAY_STYLE = (
    0.3  # how often an open caption, or one of a ground, a place or a pair, names a style as well
)
SMALL = 0.5  # of the usual size; things at an edge and in pairs are small too
MIDDLE = -1
WHITE = 0

# kind of combination -> one in how many is left out of the training
HELD_OUT = {"drawing": 25, "ground": 8, "place": 10, "pair": 10}
# coloured shapes that are never drawn, though other shapes in this colour are, and this shape in others
UNSEEN_SHAPES = (
    "green heart", "brown heart", "purple circle", "orange square", "blue square", "yellow circle",
)  # fmt: skip


def left_out(kind: str, *parts: object) -> bool:
    """Whether this combination is one of those kept for the test; the same on every machine."""
    text = "/".join(map(str, (kind, *parts)))
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % HELD_OUT[kind] == 0


class Scene(NamedTuple):
    """One picture: one thing, or two side by side, by one artist, on a ground, small or not, somewhere."""

    things: tuple[int, ...]
    artist: int
    colour: int = WHITE
    small: bool = False
    position: int = MIDDLE


class World:
    """The things, their drawings, and captions of them."""

    def __init__(self, data: dict) -> None:
        self.pictures = data["pictures"]
        self.artists = [data["styles"].index(artist) for artist in STYLES]
        self.words = dict(zip(self.artists, STYLES.values(), strict=True))
        entries = data["concepts"]
        self.row = {
            (c, artist): row
            for row, (c, artist) in enumerate(zip(data["concept"].tolist(), data["style"].tolist(), strict=True))
            if artist in self.words and self._is_known(entries[c])
        }  # fmt: skip
        self.name = {c: prompt(entries[c]["name"]) for c, _ in self.row}
        self.things = sorted(self.name)
        self.drawn_by = {c: [a for a in self.artists if self._is_taught(c, a)] for c in self.things}
        self.things = [c for c in self.things if self.drawn_by[c]]
        self.tags = {c: {tag.lower() for tag in entries[c]["tags"]} for c in self.things}
        self.open = {
            asked: [c for c in self.things if self._answers(c, entries[c]["subgroup"], asked)]
            for asked in OPEN
        }
        self.keywords = self._keywords(entries)

    @staticmethod
    def _is_known(entry: dict) -> bool:
        return entry["subgroup"] not in LEFT_OUT_SUBGROUPS and not LEFT_OUT_NAMES.search(
            entry["name"]
        )

    def _is_taught(self, c: int, artist: int) -> bool:
        """Whether the artist has drawn it, and the drawing is not kept for the test."""
        return (
            (c, artist) in self.row
            and self.name[c] not in UNSEEN_SHAPES
            and not left_out("drawing", self.name[c], artist)
        )

    def _answers(self, c: int, subgroup: str, asked: str) -> bool:
        if asked in UNTRUE and re.fullmatch(UNTRUE[asked], self.name[c]):
            return False
        return any(
            w[1:] in self.tags[c] if w[0] == "#" else subgroup.startswith(w) for w in OPEN[asked]
        )

    def _keywords(self, entries: list[dict]) -> dict[str, list[int]]:
        """Other words: true of at most three things, and not held out from the CLIP's captions either."""
        count = Counter(tag.lower() for entry in entries for tag in set(entry["tags"]))
        names = {*self.name.values(), *STYLES.values()}
        found: dict[str, list[int]] = {}
        for c in self.things:
            for tag in self.tags[c]:
                plain = re.fullmatch(r"[a-z' -]{3,29}", tag)
                if plain and count[tag] <= 3 and tag not in names and not is_held_out(tag):
                    found.setdefault(tag, []).append(c)
        return dict(sorted(found.items()))

    # --- what is said of what ---

    def say(self, dice: random.Random) -> tuple[str, Scene]:
        """A caption and one of the scenes that it is true of."""
        (kind,) = dice.choices(list(SHARES), list(SHARES.values()))
        while True:  # until a combination comes up that is not kept for the test
            text, scene = getattr(self, f"_{kind}")(dice)
            if not self.is_kept(scene):
                return with_article(text), scene

    def is_kept(self, scene: Scene) -> bool:
        """Whether a scene is kept for the test."""
        names = [self.name[c] for c in scene.things]
        ground = COLOURS[scene.colour][0]
        return (
            (scene.colour != WHITE and any(left_out("ground", name, ground) for name in names))
            or (scene.position != MIDDLE and left_out("place", names[0], POSITIONS[scene.position]))
            or (len(names) == 2 and left_out("pair", *sorted(names)))
        )

    def _one(self, dice: random.Random, among: list[int] | None = None) -> Scene:
        c = dice.choice(among or self.things)
        return Scene((c,), dice.choice(self.drawn_by[c]))

    def _styled(self, dice: random.Random, scene: Scene) -> str:
        """The thing's name, now and then with its style, after "a"."""
        word = f"{self.words[scene.artist]} " if dice.random() < SAY_STYLE else ""
        return f"a {word}{self.name[scene.things[0]]}"

    def _name(self, dice: random.Random) -> tuple[str, Scene]:
        scene = self._one(dice)
        return dice.choice(NAME_TEMPLATES).format(self.name[scene.things[0]]), scene

    def _style(self, dice: random.Random) -> tuple[str, Scene]:
        artist = dice.choice(
            self.artists
        )  # the artist first: some have drawn half of the others' things
        scene = self._one(dice, self.by_artist(artist))._replace(artist=artist)
        text = f"{self.words[artist]} {self.name[scene.things[0]]}"
        return dice.choice(NAME_TEMPLATES).format(text), scene

    def _keyword(self, dice: random.Random) -> tuple[str, Scene]:
        word = dice.choice(list(self.keywords))
        return dice.choice(("{}", "a {}")).format(word), self._one(dice, self.keywords[word])

    def _open(self, dice: random.Random) -> tuple[str, Scene]:
        weights = [len(answers) ** 0.5 for answers in self.open.values()]
        (asked,) = dice.choices(list(self.open), weights)
        scene = self._one(dice, self.open[asked])
        if dice.random() < SAY_STYLE:
            asked = re.sub(r"^(an? |the )?", rf"\1{self.words[scene.artist]} ", asked).replace(
                "an ", "a ", 1
            )
        text = dice.choice(OPEN_TEMPLATES).format(asked)
        if dice.random() < 0.15:
            scene = scene._replace(colour=dice.randrange(1, len(COLOURS)))
            text += f" on a {COLOURS[scene.colour][0]} background"
        return text, scene

    def _ground(self, dice: random.Random) -> tuple[str, Scene]:
        scene = self._one(dice)._replace(colour=dice.randrange(1, len(COLOURS)))
        return f"{self._styled(dice, scene)} on a {COLOURS[scene.colour][0]} background", scene

    def _place(self, dice: random.Random) -> tuple[str, Scene]:
        scene = self._one(dice)._replace(small=True, position=dice.randrange(-1, len(SPOTS)))
        size = (
            dice.choice(("small ", "small ", "tiny "))
            if scene.position == MIDDLE or dice.random() < 0.4
            else ""
        )
        text = self._styled(dice, scene).replace("a ", f"a {size}", 1)
        if scene.position != MIDDLE:
            text += f" {POSITIONS[scene.position]}"
        if dice.random() < 0.25:
            scene = scene._replace(colour=dice.randrange(1, len(COLOURS)))
            text += f" on a {COLOURS[scene.colour][0]} background"
        return text, scene

    def two(self, dice: random.Random) -> Scene:
        """Two different things by one artist, side by side on white."""
        scene = self._one(dice)
        mine = self.by_artist(scene.artist)
        other = dice.choice([c for c in mine if c != scene.things[0]])
        return scene._replace(things=(scene.things[0], other), small=True)

    def _pair(self, dice: random.Random) -> tuple[str, Scene]:
        scene = self.two(dice)
        text = f"{self._styled(dice, scene)} and a {self.name[scene.things[1]]}"
        if dice.random() < 0.2:
            scene = scene._replace(colour=dice.randrange(1, len(COLOURS)))
            text += f" on a {COLOURS[scene.colour][0]} background"
        return text, scene

    def by_artist(self, artist: int) -> list[int]:
        """The things whose drawing by this artist is taught."""
        if not hasattr(self, "_by_artist"):
            self._by_artist = {
                a: [c for c in self.things if a in self.drawn_by[c]] for a in self.artists
            }
        return self._by_artist[artist]

    # --- what it looks like ---

    @property
    def taught_rows(self) -> list[int]:
        """The taught drawings, as rows of the data set's pictures."""
        return [self.row[scene.things[0], scene.artist] for scene in self.plain_scenes()]

    def scenes_of(self, c: int) -> list[Scene]:
        """The taught drawings of a thing, as they are."""
        return [Scene((c,), artist) for artist in self.drawn_by[c]]

    def plain_scenes(self) -> Iterator[Scene]:
        """Every taught drawing as it is, in a fixed order."""
        return (scene for c in self.things for scene in self.scenes_of(c))

    def left_out_drawings(self) -> list[Scene]:
        """Drawings of taught things that are kept for the test, as they are, in a fixed order."""
        return [
            Scene((c,), artist)
            for c in self.things
            for artist in self.artists
            if (c, artist) in self.row and artist not in self.drawn_by[c]
        ]

    def draw(self, scenes: list[Scene]) -> torch.Tensor:
        """The scenes' pixels, (n, 3, 64, 64) in -1 … 1. Of two things the first stands on the left."""
        return torch.stack([self._draw(scene) for scene in scenes])

    def _draw(self, scene: Scene) -> torch.Tensor:
        if len(scene.things) == 2:
            spots = SPOTS[:2]
        else:
            spots = ((0.5, 0.5) if scene.position == MIDDLE else SPOTS[scene.position],)
        whole = torch.zeros(4, SIZE, SIZE)
        for c, (across, down) in zip(scene.things, spots, strict=True):
            drawing = premultiplied(self.pictures[self.row[c, scene.artist]])
            if scene.small:
                side = round(SIZE * SMALL)
                drawing = shrunk(
                    drawing, side, round((SIZE - side) * down), round((SIZE - side) * across)
                )
            whole = drawing + whole * (1 - drawing[3:])
        return on_ground(whole, PALETTE[scene.colour])
