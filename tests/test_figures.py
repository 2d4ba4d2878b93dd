"""Figures draw what they are given, and say it in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from helpers import figures, heatmap, show, token_strip, tokenize


def test_token_strip(clip) -> None:
    fig = token_strip(clip, tokenize(clip, ["a red cat", "wow! costs $5 & $6"]))
    assert isinstance(fig, Figure)
    drawn = [text.get_text() for text in fig.axes[0].texts]
    assert drawn[:6] == ["<|startoftext|>", "49406", "a</w>", "320", "red</w>", "736"]
    assert "padding × 72" in drawn
    assert "cat</w> (2368)" in fig.alt
    assert "next row" in fig.alt
    fig.canvas.draw()


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
    fig.canvas.draw()


def test_heatmap_of_what_is_no_table() -> None:
    words = {"title": "t", "xlabel": "x", "ylabel": "y", "alt": "a"}
    with pytest.raises(ValueError, match="rows, columns"):
        heatmap(np.zeros((2, 2, 2)), **words)
    with pytest.raises(ValueError, match="xticks has 1 names for 2"):
        heatmap(np.zeros((2, 2)), xticks=["a"], **words)


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
