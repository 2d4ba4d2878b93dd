"""What the measured model is asked: prompts, each with a seed and with a scene that it is true of.

The scenes are real artwork, drawn or composed like the prompt: the control of every question. Nothing here is
picked for how well it is drawn: things are drawn by lot, the same ones each time.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from training.captions import POSITIONS, with_article
from training.diffusion.world import STYLES, UNSEEN_SHAPES, Scene, World
from training.drawing import COLOURS

SEEDS = 8
OPEN_SEEDS = 16
# Open prompts that are measured: with many answers and with few, but with nine at least
OPEN = (
    "an animal", "a bird", "an insect", "a sea animal", "a plant", "a flower", "food", "a fruit", "a dessert",
    "a drink", "a vehicle", "a building", "the weather", "a face", "a heart", "a person at work", "an athlete",
    "clothing", "a shape", "something round",
)  # fmt: skip
# On the sheet of styles, before others drawn by lot: things of which all six artists' drawings are taught
EVERYDAY = (
    "tiger", "penguin", "frog", "octopus", "tulip", "strawberry", "hamburger", "birthday cake", "rocket", "automobile",
    "guitar", "umbrella", "castle", "red heart",
)  # fmt: skip


class Task(NamedTuple):
    """What is asked: texts, each with a seed and with scenes that it is true of (real pictures, the control)."""

    texts: list[str]
    scenes: list[Scene]
    seeds: list[int]


class Sizes(NamedTuple):
    """How many of everything."""

    open: int = len(OPEN)
    named: int = 24  # x SEEDS
    styled: int = 12  # x SEEDS
    taught: int = 20  # things, x the number of styles
    left_out: int = 160  # drawings
    composed: int = 96  # grounds; places
    small: int = 96
    pairs: int = 64
    shapes: int = 24
    every: int = 5  # one in how many things is drawn on the world's sheet


QUICK = Sizes(2, 3, 2, 2, 16, 10, 10, 8, 6, 50)


def tasks(world: World, sizes: Sizes) -> dict[str, Task]:
    """Everything but the open prompts; the same for the same world and sizes."""
    dice = random.Random(0)
    names = world.name

    def any_of(c: int, dice: random.Random = dice) -> Scene:
        return Scene((c,), dice.choice(world.drawn_by[c]))

    def seeds(scenes: list[Scene], texts: list[str], first: int) -> Task:
        return Task(
            [with_article(t) for t in texts], scenes, [first + i for i in range(len(texts))]
        )

    def repeated(scenes: list[Scene], texts: list[str]) -> Task:
        """Every text with every seed; the seeds of a text stand together. So do the scenes."""
        texts = [text for text in texts for _ in range(SEEDS)]
        return Task(texts, scenes, [i % SEEDS for i in range(len(texts))])

    def styled(scene: Scene) -> str:
        return f"{world.words[scene.artist]} {names[scene.things[0]]}"

    def kept(scenes: list[Scene], n: int) -> list[Scene]:
        return dice.sample([scene for scene in scenes if world.is_kept(scene)], n)

    # lots of their own: a larger sheet leaves all else as it is
    world_scenes = [any_of(c, random.Random(c)) for c in world.things[:: sizes.every]]
    named = dice.sample(world.things, sizes.named)
    several = dice.sample(list(world.plain_scenes()), sizes.styled)
    all_six = [c for c in world.things if len(world.drawn_by[c]) == len(STYLES)]
    everyday = [c for c in all_six if names[c] in EVERYDAY]
    others = [c for c in dice.sample(all_six, len(all_six)) if c not in everyday]
    things = (everyday + others)[: sizes.taught]
    taught = [Scene((c,), artist) for c in things for artist in world.artists]
    left_out = dice.sample(world.left_out_drawings(), sizes.left_out)
    grounds = kept([any_of(c)._replace(colour=k) for c in world.things for k in range(1, len(COLOURS))], sizes.composed)  # fmt: skip
    spots = [any_of(c)._replace(small=True, position=p) for c in world.things for p in range(len(POSITIONS))]  # fmt: skip
    places = kept(spots, sizes.composed)
    small = dice.sample([scene for scene in spots if not world.is_kept(scene)], sizes.small)
    pairs = kept([world.two(dice) for _ in range(100 * sizes.pairs)], sizes.pairs)
    shapes = [Scene((c,), artist) for c, artist in world.row if names[c] in UNSEEN_SHAPES]
    shapes = dice.sample(shapes, min(sizes.shapes, len(shapes)))

    def name(scene: Scene) -> str:
        return names[scene.things[0]]

    def placed(scene: Scene) -> str:
        return f"a small {name(scene)} {POSITIONS[scene.position]}"

    return {
        "world": seeds(world_scenes, [name(s) for s in world_scenes], 10_000),
        "named": repeated([any_of(c) for c in named for _ in range(SEEDS)], [names[c] for c in named]),
        "styled": repeated([s for s in several for _ in range(SEEDS)], [styled(s) for s in several]),
        "taught": seeds(taught, [styled(s) for s in taught], 20_000),
        "left out": seeds(left_out, [styled(s) for s in left_out], 30_000),
        "ground": seeds(grounds, [f"a {name(s)} on a {COLOURS[s.colour][0]} background" for s in grounds], 40_000),
        "place": seeds(places, [placed(s) for s in places], 50_000),
        "small": seeds(small, [placed(s) for s in small], 60_000),
        "pair": seeds(pairs, [f"a {name(s)} and a {names[s.things[1]]}" for s in pairs], 70_000),
        "shape": seeds(shapes, [name(s) for s in shapes], 80_000),
    }  # fmt: skip


def open_task(asked: tuple[str, ...], world: World) -> Task:
    """Every open prompt with every seed; scenes are as many right answers, drawn by lot."""
    dice = random.Random(1)
    answers = [dice.choice(world.open[text]) for text in asked for _ in range(OPEN_SEEDS)]
    return Task(
        [text for text in asked for _ in range(OPEN_SEEDS)],
        [Scene((c,), dice.choice(world.drawn_by[c])) for c in answers],
        list(range(OPEN_SEEDS)) * len(asked),
    )
