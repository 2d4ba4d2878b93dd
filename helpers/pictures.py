"""Pictures as numbers, and how far apart they are: ``pixels`` and ``pixel_difference``."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from .checks import check_pairs, pictures_as_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image


def pixels(images: Image.Image | Sequence[Image.Image]) -> np.ndarray:
    """The red, green and blue of every pixel, each from 0 to 1: (n, height, width, 3) float64.

    Args:
        images: PIL images of one size, such as ``paint`` returns, or a single one.

    Raises:
        TypeError: not PIL images.
        ValueError: no picture at all, or pictures of different sizes.
    """
    import numpy as np

    pictures = pictures_as_list("images", images)
    return np.stack([np.asarray(p.convert("RGB"), dtype=float) for p in pictures]) / 255


@overload
def pixel_difference(one: Image.Image, other: Image.Image) -> float: ...


@overload
def pixel_difference(
    one: Sequence[Image.Image], other: Sequence[Image.Image] | Image.Image
) -> np.ndarray: ...


@overload
def pixel_difference(one: Image.Image, other: Sequence[Image.Image]) -> np.ndarray: ...


def pixel_difference(
    one: Image.Image | Sequence[Image.Image], other: Image.Image | Sequence[Image.Image]
) -> float | np.ndarray:
    """Mean absolute difference of pixels: 0 for equal pictures, 1 for black against white.

    It says how much of the picture changed, not how different it looks: a thing that has moved is
    far from itself, and so is one that is only brighter.

    Args:
        one, other: two pictures, for one number. Or two lists of n, compared pair by pair; or a
            list of n and a picture, compared with each: (n,) float64.

    Raises:
        TypeError: not PIL images.
        ValueError: no picture at all, lists of different lengths, or pictures of different sizes.
    """
    from PIL import Image

    single = [isinstance(images, Image.Image) for images in (one, other)]
    check_pairs(pictures_as_list("one", one), pictures_as_list("other", other), any(single))
    apart = abs(pixels(one) - pixels(other)).mean(axis=(1, 2, 3))
    return float(apart[0]) if all(single) else apart
