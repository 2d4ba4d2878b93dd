"""The drawings that ship: all there, under the names the model was measured on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import EMOJI
from PIL import Image

from helpers import Artwork, load_artwork
from helpers.artwork import ARTISTS, DATA, SIDE
from training.artwork import HELD_OUT_STYLES, TRAIN_STYLES

LEAST = {"noto": 1600, "noto-v1": 1200}  # an older set draws fewer


@pytest.fixture(params=ARTISTS)
def artwork(request: pytest.FixtureRequest) -> Artwork:
    return load_artwork(request.param)


@pytest.fixture(scope="module")
def entries() -> list[dict]:
    return json.loads((DATA / "emoji.json").read_text(encoding="utf-8"))


def test_counts(artwork: Artwork) -> None:
    assert len(artwork) == len(artwork.names) >= LEAST[artwork.artist]
    assert len(set(artwork.names)) == len(artwork)
    for other in (artwork.characters, artwork.groups, artwork.keywords):
        assert len(other) == len(artwork)
    assert repr(artwork) == f"Artwork({artwork.artist}, {len(artwork)} drawings)"


def test_the_readme_counts_the_same(artwork: Artwork) -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    (line,) = (x for x in text.splitlines() if x.startswith(f"| `{artwork.artist}.webp`"))
    assert f"{len(artwork):,} drawings" in line


def test_the_names_are_those_the_model_was_measured_on(entries: list[dict]) -> None:
    """Every name, in the same order; so a row of one table is a row of the other."""
    measured = json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in entries] == [name.lower() for name in measured["names"]]
    assert list(load_artwork().names) == [e["name"] for e in entries if "noto" in e["artists"]]
    for style in ARTISTS:
        pictures = measured["retrieval"]["trained"][style]["pictures"]
        # one was measured but is not shipped: a white asterisk, which white paper does not show
        assert pictures - len(load_artwork(style)) in (0, 1)


def test_the_artist_is_held_out_as_it_says() -> None:
    assert "noto" in TRAIN_STYLES
    assert "noto-v1" in HELD_OUT_STYLES
    assert not set(HELD_OUT_STYLES) & set(TRAIN_STYLES)
    assert "openmoji" not in ARTISTS  # CC BY-SA: measured, never shipped


def test_the_sheet_has_room_for_all_and_no_more(artwork: Artwork) -> None:
    with Image.open(DATA / f"{artwork.artist}.webp") as sheet:
        assert sheet.size == (42 * SIDE, -(-len(artwork) // 42) * SIDE)
        assert sheet.format == "WEBP"
        pixels = np.asarray(sheet.convert("RGB"))
    places = pixels.reshape(-1, SIDE, 42, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE * SIDE * 3)
    drawn = (places.astype(int) < 235).any(axis=1)
    assert drawn[: len(artwork)].all(), artwork.names[int(drawn.argmin())]
    assert not drawn[len(artwork) :].any()  # the last line is white where no drawing is left


def test_the_drawings_differ(artwork: Artwork) -> None:
    """Some emoji look alike (three of them are one bar), but a shifted sheet would not."""
    assert len({image.tobytes() for image in artwork}) > 0.95 * len(artwork)


def test_files_are_small() -> None:
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 5_000_000


@pytest.mark.parametrize(
    ("name", "character", "colour"),
    [
        ("red circle", "🔴", (0.9, 0.3, 0.25)),
        ("blue heart", "💙", (0.2, 0.6, 0.85)),
        ("green heart", "💚", (0.6, 0.75, 0.3)),
        ("black heart", "🖤", (0.2, 0.2, 0.2)),
        ("sunflower", "🌻", (0.85, 0.7, 0.2)),
    ],
)
def test_the_right_drawing_lies_under_a_name(name: str, character: str, colour: tuple) -> None:
    """The mean colour where it is not white: a drawing of the next place would not have it."""
    for artist in ARTISTS:
        artwork = load_artwork(artist)
        if name not in artwork:
            assert artist != "noto"
            continue
        image = artwork[name]
        assert (image.size, image.mode) == ((SIDE, SIDE), "RGB")
        assert artwork.characters[artwork.index(name)] == character
        pixels = np.asarray(image).reshape(-1, 3) / 255
        mean = pixels[(pixels < 0.9).any(axis=1)].mean(axis=0)
        assert np.abs(mean - colour).max() < 0.15, (artist, mean)


def test_both_artists_draw_the_same_under_a_name() -> None:
    """Over all names they share, the two drawings are more alike than neighbours' are."""
    old, new = load_artwork("noto-v1"), load_artwork("noto")

    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((8, 8), Image.Resampling.BOX)).astype(float)

    shared = [name for name in old.names if name in new][::4]
    ours = np.array([small(old[name]) for name in shared])
    theirs = np.array([small(new[name]) for name in shared])
    distance = [np.abs(ours - np.roll(theirs, step, axis=0)).mean() for step in (0, 1, -1)]
    assert distance[0] < 0.8 * min(distance[1:])


def test_ways_to_ask(artwork: Artwork) -> None:
    last = len(artwork) - 1
    name = artwork.names[last]
    same = [artwork[i].tobytes() for i in (name, last, -1, np.int64(last))]
    assert len(set(same)) == 1
    assert artwork.index(name) == last
    assert name in artwork
    assert "no such thing" not in artwork
    assert 0 not in artwork
    changed = artwork[name]
    changed.putpixel((0, 0), (1, 2, 3))
    assert artwork[name].tobytes() == same[0]  # a copy: the sheet stays as it is


def test_characters_groups_and_keywords_are_those_of_the_name() -> None:
    artwork = load_artwork()
    place = artwork.index("dog face")
    assert artwork.characters[place] == "🐶"
    assert artwork.groups[place] == "animals-nature"
    joined = "\N{MAN}\N{ZERO WIDTH JOINER}\N{EAR OF RICE}"  # one emoji of three code points
    assert artwork.characters[artwork.index("man farmer")] == joined
    assert "puppy" in artwork.keywords[place] or "pet" in artwork.keywords[place]
    assert all(name == name.lower() == name.strip() != "" for name in artwork.names)
    assert not [n for n, k in zip(artwork.names, artwork.keywords, strict=True) if n in k]
    assert len(set(artwork.groups)) < 12


@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        (lambda a: a["no such thing"], KeyError, "noto has no drawing called 'no such thing'"),
        (lambda a: a["qqqq"], KeyError, "see .names"),
        (lambda a: a[len(a)], IndexError, "so none has number"),
        (lambda a: a[-len(a) - 1], IndexError, "so none has number"),
        (lambda a: a[1.5], TypeError, "float"),
        (lambda a: a[None], TypeError, "NoneType"),
        (lambda a: a.index("unicorn cat"), KeyError, "no drawing"),
        (lambda a: load_artwork("openmoji"), ValueError, "pass 'noto' or 'noto-v1'"),
        (lambda a: load_artwork(None), ValueError, "no artist None"),
        (lambda a: load_artwork(["noto"]), ValueError, "no artist"),
    ],
)
def test_bad_input(ask, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ask(load_artwork())


def test_the_files_are_read_once() -> None:
    assert load_artwork() is load_artwork("noto")


def test_the_licence_lies_beside_the_drawings() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for word in ("Copyright Google Inc.", "Apache License 2.0", "Miles Johnson", "Mu-An Chiou"):
        assert word in " ".join(text.split()), word
    licence = (DATA / "LICENSE-APACHE").read_text(encoding="utf-8")
    assert "Apache License\n" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    files = {file.name for file in DATA.iterdir()}
    assert files == {"README.md", "LICENSE-APACHE", "emoji.json", *(f"{a}.webp" for a in ARTISTS)}


def test_a_name_nearly_right() -> None:
    with pytest.raises(KeyError, match="did you mean 'dog'"):
        load_artwork()["Dog"]


def test_one_at_a_time() -> None:
    with pytest.raises(TypeError, match="one name or one number"):
        load_artwork()[[1, 2]]
