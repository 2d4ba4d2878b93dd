"""Drawings become pictures: on a ground, smaller, elsewhere, side by side on a sheet.

A *drawing* is uint8 RGBA (4, 64, 64), transparent where nothing is drawn. *Pixels* are float
(3, 64, 64) in -1 … 1, without transparency: what the models see. *Levels* are these as uint8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.utils import make_image_grid
from PIL import Image

SIZE = 64
WHITE = 0  # the first of COLOURS
# name and RGB of the grounds that a caption can name
COLOURS = (
    ("white", (255, 255, 255)), ("black", (20, 20, 20)), ("red", (220, 40, 50)), ("orange", (250, 150, 40)),
    ("yellow", (250, 215, 60)), ("green", (70, 170, 80)), ("blue", (50, 110, 220)), ("purple", (140, 80, 190)),
    ("pink", (250, 160, 190)), ("brown", (130, 85, 55)), ("gray", (140, 140, 140)), ("cyan", (90, 210, 230)),
)  # fmt: skip
PALETTE = torch.tensor([rgb for _, rgb in COLOURS]) / 255


def premultiplied(drawings: torch.Tensor) -> torch.Tensor:
    """(..., 4, h, w) in 0 … 1, colours times opacity: moving and mixing then leave no dark fringe."""
    rgb, alpha = (drawings.float() / 255).split((3, 1), dim=-3)
    return torch.cat([rgb * alpha, alpha], dim=-3)


def on_ground(drawings: torch.Tensor, ground: torch.Tensor = PALETTE[WHITE]) -> torch.Tensor:
    """Premultiplied drawings as pixels; ``ground`` is RGB in 0 … 1, one for all or one for each."""
    rgb, alpha = drawings.split((3, 1), dim=-3)
    return (rgb + (1 - alpha) * ground[..., None, None].to(rgb)) * 2 - 1


def shrunk(drawing: torch.Tensor, side: int, top: int, left: int) -> torch.Tensor:
    """A premultiplied drawing, ``side`` pixels large, its corner there; transparent around it."""
    small = F.interpolate(drawing[None], size=(side, side), mode="bilinear", antialias=True)[0]
    result = torch.zeros_like(drawing)
    result[:, top : top + side, left : left + side] = small
    return result


def place(
    drawing: torch.Tensor,
    colour: int = WHITE,
    scale: float = 1.0,
    at: tuple[float, float] = (0.5, 0.5),
) -> torch.Tensor:
    """A drawing as pixels, on a colour of ``COLOURS``; smaller, and then at a place (across, down)."""
    drawing = premultiplied(drawing)
    if scale != 1.0:
        side = round(SIZE * scale)
        drawing = shrunk(drawing, side, round((SIZE - side) * at[1]), round((SIZE - side) * at[0]))
    return on_ground(drawing, PALETTE[colour])


def as_levels(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels as uint8."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu()


def as_pixels(levels: torch.Tensor) -> torch.Tensor:
    """And back."""
    return levels.float() / 127.5 - 1


def as_image(levels: torch.Tensor) -> Image.Image:
    """A picture's levels (3, h, w), or a drawing (4, h, w) on white, for Pillow."""
    drawn = Image.fromarray(levels.permute(1, 2, 0).numpy())
    if drawn.mode != "RGBA":
        return drawn
    picture = Image.new("RGB", drawn.size, "white")
    picture.paste(drawn, (0, 0), drawn)
    return picture


def sheet(images: list[Image.Image], columns: int) -> Image.Image:
    """Images side by side, in order; the last row is filled up with white."""
    rows = -(-len(images) // columns)
    blank = Image.new("RGB", images[0].size, "white")
    return make_image_grid(images + [blank] * (rows * columns - len(images)), rows, columns)
