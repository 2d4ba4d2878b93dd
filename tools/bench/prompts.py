"""The prompts that are measured: made from the names of the emoji, the same ones every time.

python -m tools.bench.prompts 1000000 captions.txt
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
THINGS = {"animals-nature", "food-drink", "objects", "activities"}

# as the templates of zero-shot classification are: a class name in a sentence that says little
TEMPLATES = """\
a photo of a {}.|a blurry photo of a {}.|a close photo of the {}.|a drawing of a {}.
a dark photo of the {}.|a photo of many {}.|a painting of the {}.|a bright picture of a {}.
a photo of my {}.|a small picture of the {}.|a toy {}.|a photo of one {}.
a black and white photo of the {}.|a sketch of a {}.|a photo of a large {}.|the {} in a film.
a poor photo of the {}.|a sculpture of a {}.|a photo of the clean {}.|a picture of a strange {}.\
""".replace("\n", "|").split("|")

# what a caption is made of; {0} and {1} are things
SCENES = """\
a {0} next to a {1}|a {0} and two of the same {1}|the {0} on top of a {1}|{0} with a {1} behind it
two people looking at a {0}|an old man holding a {0}|a woman giving a {0} to a child
a child asleep beside a {0}|someone left a {0} under the {1}|a robot repairing a {0}
there is a {0} between a {1} and a wall|three {0} pictures hanging above the {1}
a {0} that looks like a {1}|a tiny {0} inside a huge {1}|a poster of a {0}|{0}|a {1}, no {0}\
""".replace("\n", "|").split("|")
STYLES = [
    f"{kind} of " for kind in ("a watercolor", "an oil painting", "a photograph", "a close-up")
]
COLORS = [
    *("red", "orange", "yellow", "green", "blue", "purple", "white", "black"),
    *("golden", "silver", "striped", "wooden"),
]
PLACES = """\
in the snow|on a beach at sunset|in front of a window|at night|in the rain|on a kitchen table
beside a busy street|in an empty room|under a tree|on the moon|in a crowded market
with mountains far away\
""".replace("\n", "|").split("|")


def names(groups: set[str] | None = None) -> list[str]:
    """Names of emoji that are words and nothing else."""
    emoji = json.loads((ROOT / "helpers/data/emoji.json").read_text(encoding="utf-8"))
    return [
        entry["name"]
        for entry in emoji
        if re.fullmatch(r"[a-z]+( [a-z]+)*", entry["name"])
        and (groups is None or entry["group"] in groups)
    ]


def captions(seed: int = 0) -> Iterator[str]:
    """Captions without end, mostly about a dozen tokens long."""
    random, things = Random(seed), names(THINGS)
    while True:
        two = (
            f"{random.choice(COLORS)} {thing}" if random.random() < 0.4 else thing
            for thing in random.sample(things, 2)
        )
        scene = random.choice(SCENES).format(*two)
        style = random.choice(STYLES) if random.random() < 0.3 else ""
        place = f" {random.choice(PLACES)}" if random.random() < 0.5 else ""
        yield style + scene + place


def short(n: int) -> list[str]:
    """Captions."""
    return list(islice(captions(), n))


def long(n: int) -> list[str]:
    """Several captions in one, 56 to 59 words: 60 tokens and more."""
    found, more = [], captions(seed=1)
    while len(found) < n:
        text = next(more)
        while len(text.split()) < 56:
            text += ", " + next(more)
        found.append(text) if len(text.split()) < 60 else None
    return found


def classes(n: int) -> list[str]:
    """Templates x class names, as many names as suffice for n prompts."""
    known = names()
    templates = TEMPLATES[: max(1, min(len(TEMPLATES), n // 100))]
    chosen = Random(2).sample(known, min(len(known), -(-n // len(templates))))
    return [template.format(name) for template, name in product(templates, chosen)][:n]


def of_file(path: Path, n: int | None = None) -> list[str]:
    """A prompt a line, n of them by lot; of a .tsv file the first column without its header."""
    found = path.read_text(encoding="utf-8").splitlines()
    found = [line.split("\t")[0] for line in found[1:]] if path.suffix == ".tsv" else found
    return found if n is None else Random(3).sample(found, min(n, len(found)))


FILES = {"short": short, "long": long, "classes": classes}


def main() -> None:
    """Write captions into a file."""
    n, path = sys.argv[1:]
    with Path(path).open("w", encoding="utf-8") as file:
        file.writelines(f"{caption}\n" for caption in islice(captions(seed=3), int(n)))


if __name__ == "__main__":
    main()
