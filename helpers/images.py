"""The image side of CLIP: ``embed_images``."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import check_clip
from .checks import check_evaluating, check_pixel_values, short
from .embeddings import batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from PIL import Image

    from .checkpoints import Clip

    Picture = Image.Image | np.ndarray | str | Path


MARGIN = 8  # a picture is shrunk if it has twice as many times what is needed, or more


@dataclass(frozen=True, eq=False, repr=False)
class ImageEmbeddings:
    """What a CLIP image encoder makes of n pictures, and what it was made from.

    Attributes:
        last_hidden_state: (n, 1 + patches, d): the class row, then one row for each patch of the
            picture, line by line from the top left. Before the last layer norm.
        pooler_output: (n, d), the class row after the last layer norm: *pooled*.
        image_embeds: (n, p), the pooled row through the projection: *projected*, to be compared
            with ``text_embeds``.
        pixel_values: (n, 3, side, side), what the model was shown: resized, cropped, normalised.

    All have the model's dtype and lie on its device. None is normalised to length 1.
    """

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor
    image_embeds: torch.Tensor
    pixel_values: torch.Tensor

    def __repr__(self) -> str:
        return (
            f"ImageEmbeddings({', '.join(f'{k} {tuple(v.shape)}' for k, v in vars(self).items())})"
        )


def embed_images(clip: Clip, images: Picture | Sequence[Picture] | torch.Tensor) -> ImageEmbeddings:
    """Run the image encoder: no gradients, in batches, where the model lies.

    Args:
        clip: what ``load_clip`` returned; it must have an image model.
        images: one picture or a list of them: PIL images, paths of image files, or numpy arrays
            of uint8, (height, width, 3 or 4) or (height, width). What is transparent is laid on
            white, turned pictures (EXIF) are put upright, and the checkpoint's image processor
            resizes, crops and normalises. Far larger ones are shrunk before. A floating-point
            tensor (n, 3, side, side) is taken as ``pixel_values`` that are prepared already.

    Returns:
        ImageEmbeddings: see there for shapes.

    Raises:
        TypeError: not pictures.
        ValueError: no picture, a file that is none, a shape that does not fit, pixel_values that
            are not finite, a model in training mode, or a checkpoint without an image model or
            without preprocessor_config.json.
    """
    import torch

    check_clip(clip)
    if clip.vision_model is None or clip.visual_projection is None:
        raise ValueError(
            f"{clip.name} has no image model; load_clip('emoji') and load_clip('clip-l') have one."
        )
    check_evaluating(clip.vision_model)
    pixel_values = _pixel_values(clip, images)
    with torch.no_grad():
        outputs = [
            clip.vision_model(pixel_values=pixel_values[rows])
            for rows in batches(len(pixel_values))
        ]
        last_hidden_state = torch.cat([output.last_hidden_state for output in outputs])
        pooler_output = torch.cat([output.pooler_output for output in outputs])
        image_embeds = clip.visual_projection(pooler_output)
    # pixel_values that were passed in may ask for gradients; nothing that comes out does
    return ImageEmbeddings(last_hidden_state, pooler_output, image_embeds, pixel_values.detach())


def _pixel_values(clip: Clip, images: Any) -> torch.Tensor:
    import torch

    assert clip.vision_model is not None  # embed_images has seen to it
    assert clip.visual_projection is not None
    side = clip.vision_model.config.image_size
    weight = clip.visual_projection.weight  # not clip.device: the model may have been moved since
    if isinstance(images, torch.Tensor):
        check_pixel_values(images, side)
        return images.to(device=weight.device, dtype=weight.dtype)
    processor = clip.image_processor
    if processor is None:
        raise ValueError(
            f"{clip.name} has no preprocessor_config.json, so it does not say how to prepare "
            "pictures; pass pixel_values as a float tensor."
        )
    images = images if isinstance(images, list | tuple) else [images]
    if not images:
        raise ValueError("images is an empty list; pass at least one picture.")
    pictures = [
        shrink(as_rgb(image), side, crop=getattr(processor, "do_center_crop", False))
        for image in images
    ]
    # said, because transformers 4 takes a picture one pixel high for one with its colours first
    prepared = processor(images=pictures, input_data_format="channels_last", return_tensors="pt")
    prepared = prepared["pixel_values"]
    return prepared.to(device=weight.device, dtype=weight.dtype)


def shrink(image: Image.Image, side: int, *, crop: bool) -> Image.Image:
    """A picture that is far larger than ``side``, smaller; any other one as it is.

    The processor fits the shorter edge to ``side`` and keeps the square in the middle. It does so
    with every pixel: 5 GB for a line of 200,000. So the ends that it would cut off go first, beyond
    ``MARGIN`` squares, and then the size, down to ``MARGIN`` times ``side``.

    Args:
        image: RGB.
        side: of the square, in pixels.
        crop: whether only the square in the middle will be kept.
    """
    from PIL import Image

    width, height = image.size
    edge = min(width, height)
    if crop and max(width, height) > 2 * MARGIN * edge:
        # as many pixels from both ends, so the middle stays the middle
        left, top = (max(0, size - MARGIN * edge) // 2 for size in image.size)
        image = image.crop((left, top, width - left, height - top))
    if edge >= 2 * MARGIN * side:
        # what the processor would make of this size, so many times: it will make the same of it
        width, height = (MARGIN * (side * size // edge) for size in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    return image


def as_rgb(image: Picture) -> Image.Image:
    """Any picture as an upright RGB image of 8 bits, what is transparent laid on white.

    Args:
        image: a PIL image, the path of an image file, or a numpy array of uint8, (height, width,
            3 or 4) or (height, width).

    Raises:
        TypeError: none of these.
        ValueError: no such file, not a picture that Pillow can read, one that unpacks to more
            than Pillow thinks safe, or one without pixels or with floating-point ones.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if isinstance(image, str | os.PathLike):
        image = _opened(image)
    elif isinstance(image, np.ndarray):
        fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        if image.dtype != np.uint8 or not fits or 0 in image.shape:
            raise ValueError(
                "an array must hold uint8, with shape (height, width, 3 or 4) or (height, width), "
                f"not {image.dtype} {image.shape}."
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise TypeError(
            "images must be a PIL image, a path or a numpy array of uint8, or a list of them, not "
            f"{type(image).__name__}."
        )
    if 0 in image.size or image.mode == "F":
        what = "floating-point pixels" if image.mode == "F" else "no pixels"
        raise ValueError(f"a picture has {what}; pass one that RGB can hold.")
    try:
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:  # opened, but not yet read
        raise ValueError(f"a picture cannot be read ({type(error).__name__}: {error}).") from None
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow would cut them off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _opened(path: str | os.PathLike[str]) -> Image.Image:
    """The picture in a file."""
    from PIL import Image

    name = short(os.fspath(path), 300)
    most = Image.MAX_IMAGE_PIXELS or math.inf
    try:
        is_file = Path(path).is_file()
    except (OSError, ValueError):  # too long, or half a character
        is_file = False
    if not is_file:
        raise ValueError(
            f"there is no file {name}. For a drawing of an emoji: load_artwork()['dog face']."
        )
    try:
        with Image.open(path) as file:
            # Pillow only warns of these; it refuses twice as many by itself
            if file.width * file.height > most:
                raise Image.DecompressionBombError
            file.load()
            return file.copy()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(
            f"{name} cannot be read as a picture (DecompressionBombError): it unpacks to more than "
            f"{most / 1e6:.0f} million pixels; make it smaller first."
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as a picture ({type(error).__name__}).") from None
