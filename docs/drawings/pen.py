"""A few verbs to draw with. They write plain SVG, and refuse a label that does not fit its box.

Lengths are units of the SVG: a drawing is ``WIDTH`` of them wide, and shown 360 pixels wide on a
phone, where the smallest text is still 10 pixels high. Text is set in one font, DejaVu Sans,
which comes with matplotlib. Colours are those of ``helpers.figures``; a pale fill is the same
colour, seen through.
"""

from __future__ import annotations

from functools import cache
from html import escape
from math import atan2, cos, hypot, pi, sin
from pathlib import Path

from helpers.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW

INK, WHITE = "#000000", "#FFFFFF"
COLOURS = {BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW, INK, WHITE}

WIDTH = 640
SMALL, TEXT, BIG = 18, 20, 24  # sizes of text; nothing is smaller than SMALL
PALE = 0.25  # opacity of a fill that text stands on


@cache
def font_file(bold: bool = False) -> Path:
    """DejaVu Sans, as it comes with matplotlib."""
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")


@cache
def _font(bold: bool):
    from PIL import ImageFont

    return ImageFont.truetype(str(font_file(bold)), 100)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """How wide a line of text is, in units."""
    return _font(bold).getlength(text) * size / 100


def _n(number: float) -> str:
    return f"{round(number, 1):g}"


def _d(points) -> str:
    return "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points)


class Drawing:
    """One picture: call the verbs in the order in which things lie on each other."""

    def __init__(self, title: str, alt: str, height: int):
        """Start with an empty sheet.

        Args:
            title: a few words.
            alt: what the drawing explains, for someone who cannot see it.
            height: in units; the width is always ``WIDTH``.
        """
        self.title, self.alt, self.height = title, " ".join(alt.split()), height
        self._parts: list[str] = []

    def svg(self) -> str:
        """The whole file."""
        hatch = (
            '<pattern id="hatch" width="9" height="9" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)">'
            f'<path d="M0 0 V9" stroke="{INK}" stroke-width="3" stroke-opacity="0.4"/></pattern>'
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'width="{WIDTH}" height="{self.height}" role="img" aria-labelledby="title desc" '
            'font-family="DejaVu Sans, Verdana, sans-serif">',
            f'<title id="title">{escape(self.title, quote=False)}</title>',
            f'<desc id="desc">{escape(self.alt, quote=False)}</desc>',
            f"<defs>{hatch}</defs>",
            f'<rect width="{WIDTH}" height="{self.height}" fill="{WHITE}"/>',
            *self._parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def text(
        self, x, y, text, *, size=TEXT, bold=False, anchor="middle", colour=INK, halo=False
    ) -> None:
        """A line of text, its middle height at y. A halo keeps it apart from lines under it."""
        weight = ' font-weight="bold"' if bold else ""
        around = (
            f' stroke="{WHITE}" stroke-width="8" stroke-linejoin="round" paint-order="stroke"'
            if halo
            else ""
        )
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y + 0.36 * size)}" font-size="{size}" '
            f'text-anchor="{anchor}" fill="{colour}"{weight}{around}>{escape(text, quote=False)}'
            "</text>"
        )

    def box(
        self, x, y, w, h, *labels, fill=WHITE, pale=PALE, edge=INK, line=2, dash=False,
        hatch=False, size=TEXT, bold=False, round=6,
    ) -> None:  # fmt: skip
        """A box with lines of text in its middle; the first one bold if there are more.

        Raises:
            ValueError: a line of text is wider, or the lines are higher, than the box.
        """
        dashes = ' stroke-dasharray="7 5"' if dash else ""
        shape = f'x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" rx="{round}"'
        seen = f' fill-opacity="{pale:g}"' if fill != WHITE and pale < 1 else ""
        if seen:
            self._parts.append(f'<rect {shape} fill="{WHITE}"/>')
        self._parts.append(
            f'<rect {shape} fill="{fill}"{seen} stroke="{edge}" stroke-width="{line}"{dashes}/>'
        )
        if hatch:
            self._parts.append(f'<rect {shape} fill="url(#hatch)"/>')
        sizes = [size, *[SMALL] * (len(labels) - 1)]
        step = 1.25 * SMALL
        if labels and sum(sizes) + (len(labels) - 1) * (step - SMALL) > h:
            raise ValueError(f"{labels} is higher than its box of {h}.")
        top = y + h / 2 - step * (len(labels) - 1) / 2
        for i, label in enumerate(labels):
            strong = bold or (len(labels) > 1 and i == 0)
            if text_width(label, sizes[i], strong) > w - 6:
                wide = text_width(label, sizes[i], strong)
                raise ValueError(f"{label!r} is {wide:.0f} wide, its box {w}.")
            self.text(x + w / 2, top + i * step, label, size=sizes[i], bold=strong)

    def cells(self, x, y, w, h, columns, rows=1, *, fill=BLUE, levels=None, hatch=False) -> None:
        """A grid of rows; levels (one for each cell, 0 to 1) make cells darker or paler."""
        cw, ch = w / columns, h / rows
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" fill="{WHITE}"/>'
        )
        for i in range(columns * rows):
            at = f'x="{_n(x + i % columns * cw)}" y="{_n(y + i // columns * ch)}"'
            self._parts.append(
                f'<rect {at} width="{_n(cw)}" height="{_n(ch)}" fill="{fill}" '
                f'fill-opacity="{levels[i] if levels else PALE:g}" stroke="{INK}"/>'
            )
        if hatch:
            self._parts.append(
                f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" '
                'fill="url(#hatch)"/>'
            )

    def line(self, *points, colour=INK, line=3, dash=False) -> None:
        """A line through points."""
        self.path(_d(points), edge=colour, line=line, dash=dash)

    def arrow(self, *points, colour=INK, line=3, dash=False) -> None:
        """A line through points with a head at the last one."""
        (x0, y0), (x, y) = points[-2:]
        head, angle = 6 + 2.5 * line, atan2(y - y0, x - x0)
        shaft = head * 0.8 / hypot(x - x0, y - y0)
        end = (x - (x - x0) * shaft, y - (y - y0) * shaft)
        self.line(*points[:-1], end, colour=colour, line=line, dash=dash)
        sides = [(x + head * cos(angle + s), y + head * sin(angle + s)) for s in (2.7, -2.7)]
        self.path(_d([(x, y), *sides]) + " Z", fill=colour)

    def path(self, d, *, fill="none", edge="none", line=2, dash=False, pale=1.0) -> None:
        """Any shape, in SVG's own words."""
        stroke = f' stroke="{edge}" stroke-width="{line}"' if edge != "none" else ""
        stroke += ' stroke-linecap="round" stroke-linejoin="round"' if stroke else ""
        stroke += ' stroke-dasharray="7 7"' if dash else ""
        seen = f' fill-opacity="{pale:g}"' if pale < 1 else ""
        self._parts.append(f'<path d="{d}" fill="{fill}"{seen}{stroke}/>')

    def circle(self, x, y, r, label="", *, fill=WHITE, pale=1.0, edge=INK, line=2, bold=True):
        """A circle with a sign in it."""
        self._parts.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" fill="{fill}" '
            f'fill-opacity="{pale:g}" stroke="{edge}" stroke-width="{line}"/>'
        )
        if label:
            self.text(x, y, label, bold=bold)

    def brace(self, x1, x2, y, label="", *, up=True, size=SMALL) -> None:
        """A curly brace from x1 to x2 with its tip, and a label, above y (or below)."""
        s, middle = (-1 if up else 1), (x1 + x2) / 2
        self.path(
            f"M{_n(x1)} {_n(y)} q0 {_n(9 * s)} 10 {_n(9 * s)} H{_n(middle - 10)} "
            f"q10 0 10 {_n(9 * s)} q0 {_n(-9 * s)} 10 {_n(-9 * s)} H{_n(x2 - 10)} "
            f"q10 0 10 {_n(-9 * s)}",
            edge=INK,
        )
        if label:
            self.text(middle, y + s * (22 + size / 2), label, size=size)

    def shape(self, what, x, y, size, *, fill, line=2) -> None:
        """A heart, circle, square or star around (x, y)."""
        r = size / 2
        if what == "circle":
            return self.circle(x, y, r, fill=fill, line=line)
        if what == "square":
            d = _d([(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]) + " Z"
        elif what == "star":
            turns = [(-pi / 2 + i * pi / 5, r if i % 2 == 0 else 0.42 * r) for i in range(10)]
            d = _d([(x + q * cos(a), y + q * sin(a)) for a, q in turns]) + " Z"
        else:
            p = [_n(v) for v in (x, y + r, x - 1.5 * r, y, x - 0.9 * r, y - 1.3 * r, y - 0.45 * r,
                                 x + 0.9 * r, x + 1.5 * r)]  # fmt: skip
            d = (f"M{p[0]} {p[1]} C{p[2]} {p[3]} {p[4]} {p[5]} {p[0]} {p[6]} "
                 f"C{p[7]} {p[5]} {p[8]} {p[3]} {p[0]} {p[1]} Z")  # fmt: skip
        return self.path(d, fill=fill, edge=INK, line=line)

    def picture(self, x, y, size, *, what="heart", fill=VERMILION) -> None:
        """A picture in its frame, with a shape on it."""
        self.box(x, y, size, size, fill=SKY, round=3)
        self.shape(what, x + size / 2, y + size / 2, 0.62 * size, fill=fill)
