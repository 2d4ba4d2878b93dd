"""The image side of CLIP: ``embed_images``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import Clip, check_clip
from .embeddings import BATCH, _progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from PIL import Image

    Picture = Image.Image | np.ndarray | str | Path


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
    """Run the image encoder: no gradients, evaluation mode, in batches, where the model lies.

    Args:
        clip: what ``load_clip`` returned; it must have an image model.
        images: one picture or a list of them: PIL images, paths of image files, or numpy arrays
            of uint8, (height, width, 3 or 4) or (height, width). What is transparent is laid on
            white, turned pictures (EXIF) are put upright, and the checkpoint's image processor
            resizes, crops and normalises. A floating-point tensor (n, 3, side, side) is taken as
            ``pixel_values`` that are prepared already.

    Returns:
        ImageEmbeddings: see there for shapes.

    Raises:
        TypeError: not pictures.
        ValueError: no picture, a file that is none, a shape that does not fit, or a checkpoint
            without an image model or without preprocessor_config.json.
    """
    import torch

    check_clip(clip)
    if clip.vision_model is None or clip.visual_projection is None:
        raise ValueError(
            f"{clip.name} has no image model; load_clip('emoji') and load_clip('clip-l') have one."
        )
    pixels = _pixel_values(clip, images)
    was_training = clip.model.training
    clip.model.eval()
    try:
        with torch.no_grad():
            states, pooled = [], []
            for start in _progress(range(0, len(pixels), BATCH)):
                output = clip.vision_model(pixel_values=pixels[start : start + BATCH])
                states.append(output.last_hidden_state)
                pooled.append(output.pooler_output)
            pooler_output = torch.cat(pooled)
            image_embeds = clip.visual_projection(pooler_output)
    finally:
        clip.model.train(was_training)
    # pixel_values that were passed in may ask for gradients; nothing that comes out does
    return ImageEmbeddings(torch.cat(states), pooler_output, image_embeds, pixels.detach())


def _pixel_values(clip: Clip, images: Any) -> torch.Tensor:
    import torch

    weight = clip.visual_projection.weight  # not clip.device: the model may have been moved since
    if isinstance(images, torch.Tensor):
        side = clip.vision_model.config.image_size
        if not images.dtype.is_floating_point:
            raise TypeError(
                f"a tensor must hold pixel_values in floating point, not {images.dtype}; pass PIL "
                "images or numpy arrays of uint8 to have them prepared."
            )
        if images.dim() != 4 or images.shape[0] == 0 or images.shape[1:] != (3, side, side):
            raise ValueError(
                f"pixel_values must have shape (n, 3, {side}, {side}), not {tuple(images.shape)}."
            )
        return images.to(device=weight.device, dtype=weight.dtype)
    if clip.image_processor is None:
        raise ValueError(
            f"{clip.name} has no preprocessor_config.json, so it does not say how to prepare "
            "pictures; pass pixel_values as a float tensor."
        )
    pictures = [as_rgb(x) for x in (images if isinstance(images, list | tuple) else [images])]
    if not pictures:
        raise ValueError("images is an empty list; pass at least one picture.")
    prepared = clip.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
    return prepared.to(device=weight.device, dtype=weight.dtype)


def as_rgb(image: Picture) -> Image.Image:
    """Any picture as an upright RGB image of 8 bits, what is transparent laid on white.

    Args:
        image: a PIL image, the path of an image file, or a numpy array of uint8, (height, width,
            3 or 4) or (height, width).

    Raises:
        TypeError: none of these.
        ValueError: no such file, not a picture that Pillow can read, or one without pixels or
            with floating-point ones.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if not path.is_file():
            raise ValueError(
                f"there is no file {str(path)!r}. For a drawing of an emoji: "
                "load_artwork()['dog face']."
            )
        try:
            with Image.open(path) as file:
                file.load()
                image = file.copy()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{str(path)!r} cannot be read as a picture ({type(error).__name__})."
            ) from None
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
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow would cut them off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
