"""Pictures as numbers, and how far apart they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers import pixel_difference, pixels

BLACK, WHITE = Image.new("RGB", (4, 3)), Image.new("RGB", (4, 3), "white")
RED = Image.new("RGB", (4, 3), (255, 0, 0))


def test_pixels_are_red_green_blue_from_0_to_1() -> None:
    image = Image.new("RGB", (2, 1))
    image.putdata([(255, 0, 51), (0, 102, 255)])
    assert pixels([image]).tolist() == [[[[1.0, 0.0, 0.2], [0.0, 0.4, 1.0]]]]
    assert pixels([BLACK, WHITE]).shape == (2, 3, 4, 3)  # height before width
    assert pixels(image).shape == (1, 1, 2, 3)  # a single one is a list of one
    grey = Image.new("L", (2, 1), 51)
    np.testing.assert_allclose(pixels(grey), 0.2)


def test_two_pictures_give_a_number() -> None:
    assert pixel_difference(BLACK, BLACK) == 0
    assert pixel_difference(BLACK, WHITE) == pixel_difference(WHITE, BLACK) == 1
    assert pixel_difference(BLACK, RED) == pytest.approx(1 / 3)
    assert isinstance(pixel_difference(BLACK, RED), float)
    half = BLACK.copy()
    half.paste((255, 255, 255), (0, 0, 2, 3))
    assert pixel_difference(BLACK, half) == pytest.approx(0.5)


def test_lists_are_compared_pair_by_pair_and_a_picture_with_each() -> None:
    np.testing.assert_allclose(pixel_difference([BLACK, RED], [WHITE, RED]), [1, 0])
    np.testing.assert_allclose(pixel_difference([BLACK, RED], WHITE), [1, 2 / 3])
    np.testing.assert_allclose(pixel_difference(WHITE, [BLACK, RED]), [1, 2 / 3])
    assert pixel_difference([BLACK], [WHITE]).shape == (1,)
    assert pixel_difference([BLACK], WHITE).shape == (1,)
