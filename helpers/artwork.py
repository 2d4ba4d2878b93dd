"""Drawings to show and to measure on: two artists' emoji, as sprite sheets in ``helpers/data``."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .checks import short

if TYPE_CHECKING:
    from PIL import Image

DATA = Path(__file__).resolve().parent / "data"
ARTISTS = ("noto", "noto-v1")
SIDE = 64  # pixels


@dataclass(frozen=True, eq=False, repr=False)
class Artwork:
    """One artist's drawings, in Unicode's order. ``artwork["dog face"]`` is a picture.

    ``len(artwork)`` counts them, ``name in artwork`` asks for a name.

    Attributes:
        artist: "noto" or "noto-v1".
        names: Unicode names in lower-case English, as the shipped model learned them.
        characters: the emoji themselves, as text.
        groups: what Unicode files each under: "animals-nature", "food-drink", ...
        keywords: other words for each, from emojibase and emojilib.
    """

    artist: str
    names: tuple[str, ...]
    characters: tuple[str, ...]
    groups: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    _index: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._index

    def __repr__(self) -> str:
        return f"Artwork({self.artist}, {len(self)} drawings)"

    def __getitem__(self, name: str | int) -> Image.Image:
        """The drawing of that name or number: RGB on white, 64 x 64.

        Raises:
            KeyError: the artist has not drawn it.
            IndexError: no such number.
            TypeError: neither a name nor a whole number.
        """
        if isinstance(name, str):
            number = self.index(name)
        else:
            try:
                number = operator.index(name)
            except (TypeError, RuntimeError):
                raise TypeError(
                    f"pass one name or one number, not {type(name).__name__}; for several: "
                    "[artwork[i] for i in numbers]."
                ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(
                f"{self.artist} has {len(self)} drawings, so none has number {short(number)}."
            )
        sheet = _sheet(self.artist)
        row, column = divmod(number % len(self), sheet.width // SIDE)
        left, top = column * SIDE, row * SIDE
        return sheet.crop((left, top, left + SIDE, top + SIDE))

    def index(self, name: str) -> int:
        """The number of the drawing of that name.

        Raises:
            KeyError: the artist has not drawn it.
        """
        if name not in self:
            asked = name[:100].lower() if isinstance(name, str) else ""
            similar = get_close_matches(asked, self.names, n=3)
            hint = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "see .names."
            raise KeyError(f"{self.artist} has no drawing called {short(name)}; {hint}")
        return self._index[name]


def load_artwork(artist: str = "noto") -> Artwork:
    """The drawings of one artist.

    Args:
        artist: "noto" (Noto Emoji, nearly every name; the shipped model learned from these and
            from other artists' drawings) or "noto-v1" (an older set by other hands, three names in
            four; the shipped model never saw it in training). Both Copyright Google Inc.,
            Apache-2.0.

    Raises:
        ValueError: another artist.
    """
    if not isinstance(artist, str) or artist not in ARTISTS:
        raise ValueError(
            f"there is no artist {short(artist)} here; pass {' or '.join(map(repr, ARTISTS))}."
        )
    return _load(artist)


@cache
def _load(artist: str) -> Artwork:
    entries = json.loads((DATA / "emoji.json").read_text(encoding="utf-8"))
    mine = [entry for entry in entries if artist in entry["artists"]]
    names = tuple(entry["name"] for entry in mine)
    return Artwork(
        artist=artist,
        names=names,
        characters=tuple(entry["emoji"] for entry in mine),
        groups=tuple(entry["group"] for entry in mine),
        keywords=tuple(tuple(entry["keywords"]) for entry in mine),
        _index={name: i for i, name in enumerate(names)},
    )


@cache
def _sheet(artist: str) -> Image.Image:
    """The whole sheet, laid on white."""
    from .images import as_rgb

    return as_rgb(DATA / f"{artist}.webp")
