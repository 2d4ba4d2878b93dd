"""The drawings: sound files, made by their script, readable, and placed as they are."""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from random_checkpoint import ROOT

FOLDER = ROOT / "docs" / "drawings"
sys.path.insert(0, str(FOLDER))

import place  # noqa: E402
from drawings import DRAWINGS, HERE  # noqa: E402
from pen import COLOURS, WIDTH, Drawing, text_width  # noqa: E402

FILES = sorted(FOLDER.glob("*.svg"))
NAMES = [path.stem for path in FILES]
SVG = "{http://www.w3.org/2000/svg}"
PHONE = 360  # pixels; a drawing is shown that wide
SMALLEST = 10  # pixels, of text there


def boxes_of_text(root) -> list[tuple[str, float, float, float, float]]:
    """(text, left, top, right, bottom) of every line of text."""
    found = []
    for text in root.iter(f"{SVG}text"):
        size, bold = float(text.get("font-size")), text.get("font-weight") == "bold"
        x, y, wide = float(text.get("x")), float(text.get("y")), text_width(text.text, size, bold)
        left = {"start": x, "middle": x - wide / 2, "end": x - wide}[text.get("text-anchor")]
        found.append((text.text, left, y - 0.73 * size, left + wide, y + 0.02 * size))
    return found


def faults(svg: str) -> list[str]:
    """What is wrong with a drawing, one sentence each."""
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        return [f"not well-formed: {error}"]
    found = []
    width, height = (float(number) for number in root.get("viewBox").split()[2:])
    if width != WIDTH:
        found.append("another width")
    if root.get("role") != "img" or root.get("aria-labelledby") != "title desc":
        found.append("not announced as a picture with title and description")
    for part, least in (("title", 5), ("desc", 100)):
        element = root.find(f"{SVG}{part}")
        if element is None or element.get("id") != part or len(element.text or "") < least:
            found.append(f"no {part}, or a short one")
        elif re.search(r"[\[\]<>*`$\\\n]", element.text):
            found.append(f"a sign in the {part} that Markdown would read")
    ground = next(root.iter(f"{SVG}rect"))
    if (ground.get("fill"), ground.get("width"), ground.get("height")) != (
        "#FFFFFF",
        f"{width:g}",
        f"{height:g}",
    ):
        found.append("no white ground")
    for element in root.iter():
        kind = element.tag.removeprefix(SVG)
        if kind not in {
            "svg",
            "title",
            "desc",
            "defs",
            "pattern",
            "rect",
            "path",
            "circle",
            "text",
        }:
            found.append(f"an element <{kind}>")
        for name, value in element.attrib.items():
            if "href" in name or name == "style" or re.search(r"url\((?!#hatch\))|[a-z]+:/", value):
                found.append(f"refers to something outside: {name}={value}")
            if name in ("fill", "stroke") and value not in COLOURS | {"none", "url(#hatch)"}:
                found.append(f"a colour that is not of the palette: {value}")
        if kind == "text" and float(element.get("font-size")) * PHONE / width < SMALLEST:
            found.append(f"small text: {element.text}")
    boxes = boxes_of_text(root)
    for text, left, top, right, bottom in boxes:
        if left < 0 or top < 0 or right > width or bottom > height:
            found.append(f"text over the edge: {text}")
    for one, two in combinations(boxes, 2):
        if one[1] < two[3] and two[1] < one[3] and one[2] < two[4] and two[2] < one[4]:
            found.append(f"text on text: {one[0]} and {two[0]}")
    return found


def test_there_is_one_file_for_each_drawing() -> None:
    assert sorted(DRAWINGS) == sorted(NAMES)
    assert len([name for name in NAMES if not name.startswith("way-")]) >= 13
    assert {f"way-{notebook}" for notebook in HERE} < set(NAMES)
    listed = re.findall(r"^\| `([\w-]+)`", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(name for name in NAMES if not name.startswith("way-"))


@pytest.mark.parametrize("name", sorted(DRAWINGS))
def test_files_are_what_the_script_writes(name) -> None:
    assert DRAWINGS[name]().svg().encode("utf-8") == (FOLDER / f"{name}.svg").read_bytes()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_drawings_are_sound(path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_titles_and_alt_texts_are_all_different() -> None:
    texts = [place.alt_of(path.read_text(encoding="utf-8")) for path in FILES]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("</svg>", "", "not well-formed"),
        ('viewBox="0 0 640 ', 'viewBox="0 0 900 ', "another width"),
        ('role="img"', "", "not announced"),
        ('<title id="title">', '<title id="name">', "no title"),
        (r"<desc id=.desc.>.*</desc>", '<desc id="desc">A drawing.</desc>', "no desc"),
        (r'(<desc id="desc">)', r"\1[", "Markdown"),
        (r'fill="#FFFFFF"/>', 'fill="none"/>', "no white ground"),
        ("<defs>", '<image href="x.png"/><defs>', "an element <image>"),
        ('<rect width="640"', '<rect style="x" width="640"', "outside"),
        (r"url\(#hatch\)", "url(https://example.org/a.svg#b)", "outside"),
        (r"#0072B2", "#0072B3", "palette: #0072B3"),
        (r'font-size="18"', 'font-size="17"', "small text"),
        (r'(<text )x="[\d.]+"', r'\1x="5"', "over the edge"),
        (r"(<text .*</text>)", r"\1\1", "text on text"),
    ],
)
def test_each_fault_is_found(old, new, fault) -> None:
    svg = (FOLDER / "masks.svg").read_text(encoding="utf-8")
    spoilt = re.sub(old, new, svg, count=1)
    assert spoilt != svg
    assert any(fault in line for line in faults(spoilt)), faults(spoilt)


def test_what_does_not_fit_a_box_is_not_drawn() -> None:
    d = Drawing("t", "a", 100)
    with pytest.raises(ValueError, match="'a long label' is .* wide, its box 60"):
        d.box(0, 0, 60, 40, "a long label")
    with pytest.raises(ValueError, match="higher than its box of 30"):
        d.box(0, 0, 60, 30, "a", "b")


def test_tokens_and_ids_are_the_published_ones(clip) -> None:
    """Against the tokenizer itself, and ids that are widely printed."""

    def drawn(name):
        return [text.text for text in ElementTree.parse(FOLDER / f"{name}.svg").iter(f"{SVG}text")]

    assert {"49406", "320", "736", "1936", "49407"} < set(drawn("rows"))
    ids = clip.tokenizer("embeddings")["input_ids"][1:-1]
    for token, number in zip(clip.tokenizer.convert_ids_to_tokens(ids), ids, strict=True):
        assert {token, f"id {number}"} < set(drawn("bpe"))
    for word in ("man", "woman", "farmer", "male", "female"):
        (number,) = clip.tokenizer(word)["input_ids"][1:-1]
        assert str(number) in drawn("cancel")


# Placed in notebooks


@pytest.fixture
def cell() -> dict:
    return {"cell_type": "markdown", "id": "one", "metadata": {}, "source": ["Text.\n", "More."]}


def test_put(cell) -> None:
    place.put(cell, "bpe", b"png")
    assert place.placed(cell) == ["bpe"]
    source = "".join(cell["source"])
    assert source.startswith("Text.\nMore.\n\n![How byte-pair encoding cuts")
    assert source.endswith("(attachment:bpe.png)")
    assert place.problems({"cells": [cell]}) == []
    place.put(cell, "mix", b"other", top=True)
    assert place.placed(cell) == ["mix", "bpe"]
    assert place.problems({"cells": [cell]}) == []


def test_put_after_a_paragraph(cell) -> None:
    cell["source"] = ["First.\n", "\n", "Second.\n", "\n", "Third."]
    place.put(cell, "bpe", b"png", after="Second")
    text = "".join(cell["source"])
    assert [part[:9] for part in text.split("\n\n")] == ["First.", "Second.", "![How byt", "Third."]
    place.put(cell, "mix", b"png", after="Third")
    assert "".join(cell["source"]).endswith("(attachment:mix.png)")
    with pytest.raises(ValueError, match="cell one holds 'Fourth' 0 times"):
        place.put(cell, "rows", b"png", after="Fourth")


def test_put_again_changes_the_picture_and_nothing_else(cell) -> None:
    place.put(cell, "bpe", b"png")
    before = str(cell)
    place.put(cell, "bpe", b"png")
    assert str(cell) == before
    cell["source"] = ["".join(cell["source"]).replace("![How", "![Why"), "\n\nAfter."]
    place.put(cell, "bpe", b"newer")
    assert "".join(cell["source"]).endswith("(attachment:bpe.png)\n\nAfter.")
    assert place.problems({"cells": [cell]}) == []
    assert str(cell) != before


def test_put_refuses() -> None:
    code = {"cell_type": "code", "id": "two", "metadata": {}, "source": []}
    with pytest.raises(ValueError, match="cell two holds code"):
        place.put(code, "bpe", b"png")
    with pytest.raises(ValueError, match="no drawing 'bpq'; there are attention, "):
        place.put(code, "bpq", b"png")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda c: c.update(source=["Text."]), "attached, and not shown"),
        (lambda c: c.update(attachments={}), "shown, and not attached"),
        (lambda c: c["attachments"]["bpe.png"].update({"image/png": "AAAA"}), "is not the one"),
        (lambda c: c["metadata"].clear(), "has changed since"),
        (lambda c: c["metadata"]["drawings"]["bpe"].update(svg="0"), "has changed since"),
        (
            lambda c: c.update(source=["".join(c["source"]).replace("![How", "![Why")]),
            "alt text of bpe is not",
        ),
        (
            lambda c: c.update(source=["".join(c["source"]).replace(":bpe", ":bpq")]),
            "no drawing 'bpq'",
        ),
    ],
)
def test_each_problem_is_found(cell, spoil, problem) -> None:
    place.put(cell, "bpe", b"png")
    spoil(cell)
    found = place.problems({"cells": [cell]})
    assert any(problem in line for line in found), found


def test_notebook_files_keep_their_form(tmp_path: Path) -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        place.write(tmp_path / path.name, place.read(path))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_show_the_drawings_as_they_are(path) -> None:
    assert place.problems(place.read(path)) == []


def test_rendered() -> None:
    """Where the renderer is installed: as wide as it is to be shown, and a small file."""
    pytest.importorskip(
        "resvg_py", reason="resvg-py renders drawings; see training/requirements.txt"
    )
    from io import BytesIO

    from make import SCALE, png
    from PIL import Image

    for path in FILES:
        data = png(path.read_text(encoding="utf-8"))
        picture = Image.open(BytesIO(data))
        assert picture.width == SCALE * WIDTH
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert 5_000 < len(data) < 40_000, path.stem
