"""What every caption is made of: a thing, where it is, and the ground behind it."""

from __future__ import annotations

import re

from training.drawing import COLOURS

POSITIONS = ("on the left", "on the right", "at the top", "at the bottom")
SPOTS = ((0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0))  # where these are: across, down
UNSAID = -1


def prompt(name: str) -> str:
    """A name as it is asked for: lower case, straight apostrophe."""
    return name.replace("’", "'").lower()


def with_article(text: str) -> str:
    """``a apple`` -> ``an apple``."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def caption(thing: str, position: int = UNSAID, colour: int = UNSAID) -> str:
    """``a small apple`` -> ``a small apple on the left on a blue background``."""
    if position != UNSAID:
        thing += f" {POSITIONS[position]}"
    if colour != UNSAID:
        thing += f" on a {COLOURS[colour][0]} background"
    return with_article(thing).lower()
