"""Figures of the series: they draw what they are given and compute nothing.

Every figure carries ``fig.alt``, a sentence for readers who cannot see it; ``show`` puts figure
and sentence into the notebook. Colours are Okabe and Ito's and viridis, which people with any
kind of colour vision can tell apart.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .checkpoints import check_clip
from .checks import (
    MOST_COLUMNS,
    check_colour_map,
    check_height,
    check_table,
    check_text,
    check_ticks,
    check_vocabulary,
    check_words,
    one_number,
    pictures_as_list,
    pictures_to_draw,
    rows_of_ids,
    table_of_numbers,
    whole_number_to,
)

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from PIL import Image
    from transformers import BatchEncoding

    from .checkpoints import Clip

# Okabe & Ito, "Color Universal Design" (2008)
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#BBBBBB"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)

WIDTH = 8.0  # inches; at 96 dots an inch this fits the output column of Colab
DPI = 96
LARGEST_TILE = 256  # pixels
SQUARES = 32  # an array with no more numbers in a line is drawn as squares


def token_strip(
    clip: Clip,
    tokens: BatchEncoding | torch.Tensor | Sequence[int] | Sequence[Sequence[int]],
    *,
    title: str = "Tokens and their ids",
    show_padding: bool = False,
    alt: str | None = None,
) -> Figure:
    """Draw ids as a strip of boxes: the token above, its id below, one strip for each row.

    Text tokens alternate between two colours so that neighbours can be told apart; start, end
    and padding are grey. Padding after the first ``<|endoftext|>`` is drawn as one box with a
    count, unless ``show_padding``.

    Args:
        clip: whose tokenizer names the tokens.
        tokens: what ``tokenize`` or ``embed`` returned, ids (n, L) or (L,), or lists of ids.
        title: above the figure.
        show_padding: draw every padding token.
        alt: text for readers who cannot see the figure; None writes out the tokens.

    Raises:
        TypeError, ValueError: not ids, as in ``detokenize``; no row at all, or too many to see;
            or text that is no string.
    """
    from matplotlib.patches import FancyBboxPatch

    check_clip(clip)
    check_words(title=title)
    check_text(alt or "", "alt")
    lines: list[list[tuple[str, str, str]]] = []  # (token, id, colour) of each box
    sentences = []
    for row in rows_of_ids(tokens):
        check_vocabulary(row, len(clip.tokenizer))
        boxes = _boxes(clip, row, show_padding)
        sentences.append(" ".join(f"{token} ({number})" for token, number, _ in boxes))
        lines.extend(_wrap(boxes))
    if not lines:
        raise ValueError("there is no row of ids to draw; pass at least one.")

    fig = _figure(0.6 + 0.75 * len(lines))
    ax = fig.add_subplot()
    for line, boxes in enumerate(lines):
        x = 0.0
        for token, number, colour in boxes:
            width = _box_width(token, number)
            ax.add_patch(
                FancyBboxPatch(
                    (x + 0.1, -line - 0.36),
                    width - 0.2,
                    0.72,
                    boxstyle="round,pad=0,rounding_size=0.12",
                    facecolor=colour,
                    edgecolor="#333333",
                    linewidth=0.8,
                )
            )
            ax.text(
                x + width / 2, -line + 0.14, token, ha="center", va="center", family="monospace"
            )
            ax.text(x + width / 2, -line - 0.2, number, ha="center", va="center", fontsize=8)
            x += width
    ax.set_xlim(0, _LINE)
    ax.set_ylim(-len(lines) + 0.5, 0.5)
    ax.set_axis_off()
    ax.set_title(_literal(title), loc="left")
    fig.alt = alt or f"{title}. Boxes with tokens and their ids: {'; next row: '.join(sentences)}."
    return fig


def heatmap(
    array: Any,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    alt: str,
    xticks: Sequence[str] | None = None,
    yticks: Sequence[str] | None = None,
    colorbar: str = "",
    cmap: str = "viridis",
    vmin: float | None = None,
    vmax: float | None = None,
    annotate: bool = False,
    height: float | None = None,
) -> Figure:
    """Draw a table of numbers as colours.

    Args:
        array: (rows, columns) or (columns,): a torch tensor on any device, a numpy array or lists.
        title, xlabel, ylabel: what is drawn, what a column is, what a row is.
        alt: one sentence that says what is to be seen.
        xticks, yticks: names of the columns and rows, all or none.
        colorbar: name of the colour scale, with its unit if it has one.
        cmap: a perceptually uniform colour map, such as "viridis" or "cividis".
        vmin, vmax: ends of the colour scale; None takes the smallest and largest number.
        annotate: write every number into its cell, with two decimals.
        height: of the figure, in inches; None chooses one from the number of rows.

    Raises:
        TypeError: no numbers, or text that is no string.
        ValueError: not a table, names that do not fit its size, no such colour map, or more than
            can be seen.
    """
    import numpy as np

    table = table_of_numbers(array, write=annotate)
    check_words(title=title, xlabel=xlabel, ylabel=ylabel, colorbar=colorbar)
    check_text(alt, "alt")
    check_ticks("xticks", xticks, table.shape[1])
    check_ticks("yticks", yticks, table.shape[0])
    check_colour_map(cmap)
    vmin, vmax = (
        None if end is None else one_number(name, end)
        for name, end in (("vmin", vmin), ("vmax", vmax))
    )

    tall = min(7.0, max(2.4, 1.4 + 0.32 * table.shape[0]))
    fig = _figure(tall if height is None else height)
    ax = fig.add_subplot()
    image = ax.imshow(
        table, aspect="auto", cmap=cmap, vmin=vmin, vmax=vmax, interpolation="nearest"
    )
    if xticks is not None:
        crowded = max(map(len, xticks)) * len(xticks) > 66
        ax.set_xticks(range(len(xticks)), [_literal(name) for name in xticks])
        ax.tick_params(axis="x", labelrotation=90 if crowded else 0)
    if yticks is not None:
        ax.set_yticks(range(len(yticks)), [_literal(name) for name in yticks])
    ax.set_title(_literal(title))
    ax.set_xlabel(_literal(xlabel))
    ax.set_ylabel(_literal(ylabel))
    fig.colorbar(image, ax=ax, label=_literal(colorbar))
    if annotate:
        middle = (image.norm.vmin + image.norm.vmax) / 2
        for (row, column), value in np.ndenumerate(table):
            colour = "black" if value > middle else "white"
            rounded = f"{round(value, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0
            ax.text(column, row, rounded, ha="center", va="center", color=colour, fontsize=8)
    fig.alt = alt
    return fig


def picture_grid(
    images: Sequence[Any],
    labels: Sequence[str],
    *,
    title: str,
    alt: str | None = None,
    columns: int = 8,
    xlabel: str = "",
) -> Figure:
    """Draw pictures side by side, each with a label below it, in lines of ``columns``.

    Args:
        images: PIL images, or arrays (height, width) or (height, width, 3). One without colours
            is drawn in greys, from its darkest to its brightest; an array of at most 32 x 32 as
            squares.
        labels: one for each picture; long ones are broken at spaces.
        title: above the figure.
        alt: text for readers who cannot see the figure; None lists the labels.
        columns: pictures in a line.
        xlabel: below the last line: what changes from left to right, if anything does.

    Raises:
        TypeError: not a list of pictures, text that is no string, or no whole number of columns.
        ValueError: no picture, more than 200, not one label for each, no column, more than 24, or
            so few that the figure becomes too tall.
    """
    from textwrap import fill

    images = pictures_to_draw(images, labels)
    columns = whole_number_to("columns", columns, MOST_COLUMNS)
    check_words(title=title, xlabel=xlabel)
    check_text(alt or "", "alt")
    lines = -(-len(images) // columns)
    texts = [_literal(fill(label, 96 // columns + 1)) for label in labels]
    deepest = 1 + max(text.count("\n") for text in texts)
    fig = _figure(0.6 + lines * (WIDTH / columns + 0.16 * deepest))
    axes = list(fig.subplots(lines, columns, squeeze=False).flat)
    for ax in axes:
        ax.set_axis_off()
    for ax, image, text in zip(axes, images, texts, strict=False):
        shown = _seen(image, columns)
        few = max(getattr(shown, "shape", [SQUARES + 1])) <= SQUARES
        ax.imshow(shown, cmap="gray", interpolation="nearest" if few else "lanczos")
        ax.text(0.5, -0.06, text, transform=ax.transAxes, ha="center", va="top", fontsize=8)
    # where a line is not full, the title stands above its pictures, not above empty places
    x, ha = (0.01, "left") if len(images) < columns else (0.5, "center")
    fig.suptitle(_literal(title), fontsize="large", x=x, ha=ha)
    if xlabel:
        fig.supxlabel(_literal(xlabel), fontsize="medium")
    fig.alt = alt or f"{title}. Pictures, in order: {'; '.join(labels)}."
    return fig


def picture_table(
    images: Sequence[Image.Image],
    lines: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    tile: int = 96,
) -> Figure:
    """Draw pictures as a table: what changes from line to line, and from column to column.

    The figure is as large as the pictures, so that its size hangs on no font; the words stand
    around it. ``show`` draws them, too, and so does ``savefig(..., bbox_inches="tight")``.

    Args:
        images: PIL images of one size, line by line: one for each pair of a line and a column.
        lines: a name for each line.
        columns: a name for each column.
        title: above the figure.
        alt: what is to be seen, in a sentence or two.
        xlabel, ylabel: what a column is, what a line is.
        tile: pixels of a picture's side, as ``show`` draws it; pictures become squares.

    Raises:
        TypeError: not a list of pictures or of strings, or no whole number of pixels.
        ValueError: pictures that do not fill the table or differ in size, more than 200, or more
            than 24 columns; a tile of no pixel or of more than 256; or a table that is too tall.
    """
    import numpy as np
    from matplotlib.figure import Figure

    pictures = pictures_as_list("images", images)
    check_table(pictures, lines, columns)
    check_words(title=title, xlabel=xlabel, ylabel=ylabel)
    check_text(alt, "alt")
    tile = whole_number_to("tile", tile, LARGEST_TILE)
    wide, high = len(columns) * tile / DPI, len(lines) * tile / DPI  # inches
    check_height(high)

    small = [np.asarray(p.convert("RGB").resize((tile, tile))) for p in pictures]
    whole = [np.hstack(small[i : i + len(columns)]) for i in range(0, len(small), len(columns))]
    fig = Figure(figsize=(wide, high), dpi=DPI)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.imshow(np.vstack(whole))
    across, down = ([tile * (i + 0.5) for i in range(len(names))] for names in (columns, lines))
    ax.set_xticks(across, [_literal(name) for name in columns], fontsize=9)
    ax.set_yticks(down, [_literal(name) for name in lines], fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(title=_literal(title), xlabel=_literal(xlabel), ylabel=_literal(ylabel))
    fig.alt = alt
    return fig


def show(fig: Figure, alt: str | None = None) -> None:
    """Display a figure in a notebook, once, with its alt text; elsewhere print the alt text.

    Args:
        fig: a figure of this module, or any matplotlib figure together with ``alt``.
        alt: overrides ``fig.alt``.

    Raises:
        TypeError: not a figure.
        ValueError: the figure has no alt text.
    """
    from base64 import b64encode
    from io import BytesIO

    from IPython import get_ipython
    from IPython.display import display
    from matplotlib.figure import Figure
    from PIL import Image

    if not isinstance(fig, Figure):
        raise TypeError(
            f"show draws figures, such as heatmap and picture_grid make, not {type(fig).__name__}."
        )
    alt = alt or getattr(fig, "alt", None)
    check_text(alt or "", "alt")
    if not alt:
        raise ValueError("this figure has no alt text; say what is seen: show(fig, alt='...').")
    if get_ipython() is None:  # a plain Python script: nowhere to draw
        print(f"[figure: {alt}]")
    else:
        drawn, png = BytesIO(), BytesIO()
        fig.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight")
        # 256 colours are enough for a plot and a third of the size; on pictures, an octree halves
        # that again: notebooks stay light
        few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        few.save(png, format="png", optimize=True)
        display(
            {"image/png": b64encode(png.getvalue()).decode("ascii"), "text/plain": repr(fig)},
            metadata={"image/png": {"alt": alt}},
            raw=True,
        )
    if "matplotlib.pyplot" in sys.modules:  # else the notebook would show it a second time
        sys.modules["matplotlib.pyplot"].close(fig)


# --- pieces -----------------------------------------------------------------------------------

_LINE = 90.0  # room on one line of a strip, in characters


def _boxes(clip: Clip, row: Sequence[int], show_padding: bool) -> list[tuple[str, str, str]]:
    names = [str(name) for name in clip.tokenizer.convert_ids_to_tokens(list(row))]
    end = row.index(clip.eos_token_id) if clip.eos_token_id in row else len(row)
    boxes, words = [], 0
    for position, (name, number) in enumerate(zip(names, row, strict=True)):
        if position > end and not show_padding:
            boxes.append((f"padding × {len(row) - position}", f"{name} {number}", "#EEEEEE"))
            break
        if position >= end or number == clip.bos_token_id:
            colour = GREY if position <= end else "#EEEEEE"
        else:
            colour, words = (SKY, ORANGE)[words % 2], words + 1
        boxes.append((name, str(number), colour))
    return boxes


def _box_width(token: str, number: str) -> float:
    return 1.5 + max(len(token), 0.8 * len(number), 2)


def _wrap(boxes: list[tuple[str, str, str]]) -> list[list[tuple[str, str, str]]]:
    """Break a row of boxes into lines that fit the figure."""
    lines: list[list[tuple[str, str, str]]] = [[]]
    used = 0.0
    for box in boxes:
        width = _box_width(box[0], box[1])
        if used + width > _LINE and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append(box)
        used += width
    return lines


def _seen(image: Any, columns: int) -> Any:
    """A picture with far more pixels than its place in the figure, with fewer."""
    import numpy as np
    from PIL import Image

    is_array = not isinstance(image, Image.Image)
    size = image.shape[:2] if is_array else image.size
    step = int(max(size) // (4 * DPI * WIDTH / columns))
    if step < 2:
        return image
    if not is_array and image.mode[0] in "IF":  # more than 8 bits a pixel
        is_array, image = True, np.asarray(image)
    if is_array:
        return image[::step, ::step]
    return (image if image.mode in ("L", "RGB") else image.convert("RGBA")).reduce(step)


def _figure(height: float) -> Figure:
    # Not pyplot: such a figure belongs to nobody else, so nothing shows it behind our back.
    from matplotlib.figure import Figure

    check_height(height)
    return Figure(figsize=(WIDTH, height), layout="constrained")


def _literal(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would read formulas between dollar signs
