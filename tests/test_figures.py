"""Figures draw what they are given, and say it in words."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from helpers import (
    figures,
    heatmap,
    load_artwork,
    picture_grid,
    picture_table,
    show,
    token_strip,
    tokenize,
)


def test_token_strip(clip) -> None:
    fig = token_strip(clip, tokenize(clip, ["a red cat", "wow! costs $5 & $6"]))
    assert isinstance(fig, Figure)
    drawn = [text.get_text() for text in fig.axes[0].texts]
    assert drawn[:6] == ["<|startoftext|>", "49406", "a</w>", "320", "red</w>", "736"]
    assert "padding × 72" in drawn
    assert "cat</w> (2368)" in fig.alt
    assert "next row" in fig.alt
    fig.draw_without_rendering()


def test_token_strip_with_all_padding(clip) -> None:
    fig = token_strip(clip, tokenize(clip, "a cat"), show_padding=True, alt="mine")
    assert sum(text.get_text() == "<|endoftext|>" for text in fig.axes[0].texts) == 74
    assert fig.alt == "mine"


@pytest.mark.parametrize(
    "array", [torch.rand(3, 4), torch.rand(3, 4).half(), np.eye(3, 4), [[1, 2, 3, 4]] * 3]
)
def test_heatmap(array) -> None:
    fig = heatmap(
        array, title="t $5", xlabel="x", ylabel="y", alt="seen", xticks="abcd", annotate=True
    )
    ax = fig.axes[0]
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, np.asarray(array, dtype=float))
    assert (ax.get_xlabel(), ax.get_ylabel(), fig.alt) == ("x", "y", "seen")
    assert len(ax.texts) == 12
    fig.draw_without_rendering()


def test_heatmap_writes_no_minus_zero() -> None:
    words = {"title": "t", "xlabel": "x", "ylabel": "y", "alt": "a"}
    fig = heatmap([[-0.001, -0.25, 1.0]], annotate=True, **words)
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.00", "-0.25", "1.00"]


def test_heatmap_of_what_is_no_table() -> None:
    words = {"title": "t", "xlabel": "x", "ylabel": "y", "alt": "a"}
    with pytest.raises(ValueError, match="rows, columns"):
        heatmap(np.zeros((2, 2, 2)), **words)
    with pytest.raises(ValueError, match="xticks has 1 names for 2"):
        heatmap(np.zeros((2, 2)), xticks=["a"], **words)


def test_far_too_large_pictures_are_shrunk_before_they_are_drawn() -> None:
    """100 megapixels took a minute; what can be seen of them stays the same."""
    wide = Image.linear_gradient("L").resize((12500, 8000))
    for image in (wide, wide.convert("RGBA"), wide.convert("P"), wide.convert("I"), np.array(wide)):
        began = time.perf_counter()
        fig = picture_grid([image], ["a"], title="t")
        fig.savefig(io.BytesIO(), dpi=96)
        assert time.perf_counter() - began < 8
        drawn = np.asarray(fig.axes[0].images[0].get_array())
        assert drawn.shape[:2] == (250, 391)
        grey = drawn.astype(float) if drawn.ndim == 2 else drawn[..., 0].astype(float)
        assert np.abs(grey[[0, 125, 249]].mean(axis=1) - [0, 128, 255]).max() < 2
    small = Image.linear_gradient("L").resize((384, 767))
    fig = picture_grid([small], ["a"], title="t")
    assert np.array_equal(fig.axes[0].images[0].get_array(), np.asarray(small))
    line = picture_grid([Image.new("RGB", (200_000, 1))], ["a"], title="t")
    assert line.axes[0].images[0].get_array().shape[0] == 1


def test_picture_grid() -> None:
    artwork = load_artwork()
    names = ["dog face", "man construction worker", "red heart"]
    labels = [names[0], names[1], "costs $5 & $6"]
    fig = picture_grid([artwork[n] for n in names], labels, title="$1", columns=2, xlabel="t →")
    pictures = [ax for ax in fig.axes if ax.images]
    assert len(fig.axes) == 4  # two lines of two, the last place empty
    for ax, name in zip(pictures, names, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), np.asarray(artwork[name]))
        assert not ax.axison
    assert not fig.axes[3].axison
    assert [" ".join(ax.texts[0].get_text().split()) for ax in pictures] == [
        "dog face",
        "man construction worker",
        r"costs \$5 & \$6",
    ]
    assert fig.get_suptitle() == r"\$1"
    assert fig.get_supxlabel() == "t →"
    assert fig.alt == "$1. Pictures, in order: dog face; man construction worker; costs $5 & $6."
    assert picture_grid([artwork[0]], ["a"], title="t", alt="mine").alt == "mine"
    fig.draw_without_rendering()


def test_small_arrays_are_drawn_as_squares() -> None:
    for image, how in (
        (np.eye(32), "nearest"),
        (np.eye(33), "lanczos"),
        (load_artwork()[0].resize((16, 16)), "lanczos"),
    ):
        (ax,) = [ax for ax in picture_grid([image], ["a"], title="t").axes if ax.images]
        assert ax.images[0].get_interpolation() == how


def test_picture_table() -> None:
    colours = ["red", "lime", "blue", "white", "black", "yellow"]
    images = [Image.new("RGB", (64, 64), colour) for colour in colours]
    words = {"title": "$1", "xlabel": "x", "ylabel": "y", "alt": "seen"}
    fig = picture_table(images, ["a", "b"], ["c", "d", "$2"], **words)
    (ax,) = fig.axes
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn.shape == (2 * 96, 3 * 96, 3)
    middles = [drawn[48 + 96 * line, 48 + 96 * column] for line in (0, 1) for column in (0, 1, 2)]
    assert [tuple(rgb) for rgb in middles] == [image.getpixel((0, 0)) for image in images]
    # each name stands at the middle of its own line or column
    for axis, names in ((ax.xaxis, ["c", "d", r"\$2"]), (ax.yaxis, ["a", "b"])):
        assert [label.get_text() for label in axis.get_ticklabels()] == names
        assert list(axis.get_ticklocs()) == [48 + 96 * i for i in range(len(names))]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == (r"\$1", "x", "y")
    assert fig.alt == "seen"
    for line in ("a", "a line with a long name", ""):
        fig = picture_table(images, [line, "b"], ["c", "d", "a column with a long name"], **words)
        # every picture keeps its pixels, and the words stand around them
        assert repr(fig) == "<Figure size 288x192 with 1 Axes>"
        (ax,) = fig.axes
        assert ax.get_window_extent().size == pytest.approx([3 * 96, 2 * 96])
        room = fig.get_tightbbox()  # in inches; what show draws
        assert room.width > 3
        assert room.x0 < 0
        assert room.y0 < 0


@pytest.mark.parametrize("columns", [1, 3, 8, 12])
def test_labels_stay_clear_of_pictures(columns: int) -> None:
    """Four lines of the longest label there is, at any width, lie below its own picture only."""
    artwork = load_artwork()
    longest = max(artwork.names, key=len)
    count = 2 * columns
    fig = picture_grid([artwork[0]] * count, [longest] * count, title="t", columns=columns)
    fig.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in fig.axes]
    texts = [ax.texts[0].get_window_extent() for ax in fig.axes]
    for i, text in enumerate(texts):
        assert boxes[i].y0 >= text.y1 - 1
        assert not [j for j, box in enumerate(boxes) if j != i and box.overlaps(text)]
        assert not [j for j, other in enumerate(texts) if j != i and other.overlaps(text)]
        assert 0 <= text.x0 < text.x1 <= fig.bbox.width
    assert fig.get_figwidth() == figures.WIDTH


def test_pictures_without_colours_are_grey() -> None:
    grey = np.linspace(0, 1, 16).reshape(4, 4)
    for image in (grey, load_artwork()[0].convert("L")):
        (ax,) = [ax for ax in picture_grid([image], ["a"], title="t").axes if ax.images]
        colours = ax.images[0].cmap(np.linspace(0, 1, 9))
        np.testing.assert_allclose(colours[:, :3], colours[:, :1].repeat(3, axis=1))


@pytest.mark.parametrize(
    ("images", "labels", "columns", "says"),
    [
        ([], [], 8, "images is empty"),
        ([np.eye(2)], [], 8, "0 labels for 1 pictures"),
        ([np.eye(2)], ["a", "b"], 8, "2 labels for 1 pictures"),
        ([np.eye(2)], ["a"], 0, "columns is 0"),
    ],
)
def test_no_grid(images: list, labels: list[str], columns: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        picture_grid(images, labels, title="t", columns=columns)


def test_show_puts_the_alt_text_into_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append((a, k)))
    fig = heatmap(np.eye(2), title="t", xlabel="x", ylabel="y", alt="a diagonal")
    show(fig)
    show(fig, alt="another")
    ((data,), options), (_, again) = shown
    assert data["image/png"].startswith("iVBOR")
    assert data["text/plain"].startswith("<Figure size")
    assert options["metadata"] == {"image/png": {"alt": "a diagonal"}}
    assert again["metadata"] == {"image/png": {"alt": "another"}}


def test_show_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    show(heatmap(np.eye(2), title="t", xlabel="x", ylabel="y", alt="a diagonal"))
    assert capsys.readouterr().out == "[figure: a diagonal]\n"


def test_show_wants_alt_text() -> None:
    with pytest.raises(ValueError, match="no alt text"):
        show(Figure())


def test_neighbouring_colours_differ_in_brightness() -> None:
    """Two colours that alternate must differ for people who see no hue at all."""

    def brightness(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    for colour in (figures.SKY, figures.ORANGE, figures.GREY):
        ratio = (brightness(colour) + 0.05) / 0.05  # to black text; WCAG asks for 4.5
        assert ratio > 4.5, colour


def test_strip_of_no_rows(clip) -> None:
    with pytest.raises(ValueError, match="no row of ids"):
        token_strip(clip, torch.zeros(0, 77, dtype=torch.long))


@pytest.mark.parametrize(
    ("images", "labels"),
    [(["dog"], ["dog"]), (1, ["dog"]), ([[[0]]], "d"), ([[[0]]], [1])],
)
def test_a_grid_of_what_are_no_pictures(images: object, labels: object) -> None:
    with pytest.raises(TypeError, match="must be a list of"):
        picture_grid(images, labels, title="t")


def test_too_many_pictures() -> None:
    with pytest.raises(ValueError, match="200 at most"):
        picture_grid([[[0]]] * 201, ["x"] * 201, title="t")


@pytest.mark.parametrize("columns", [0, 2.5, "6"])
def test_bad_columns(columns: object) -> None:
    with pytest.raises((TypeError, ValueError), match="columns .*a whole number"):
        picture_grid([[[0]]], ["x"], title="t", columns=columns)


def test_show_wants_a_figure() -> None:
    with pytest.raises(TypeError, match="show draws figures"):
        show("a dog", alt="a dog")
