"""Helpers of the series *From Prompt to Embedding*.

One module for each step of the way, and each imports only from those above it::

    checkpoints    load_clip
    tokens         clean, tokenize, detokenize
    embeddings     embed
    images         embed_images
    artwork        load_artwork
    diffusion      load_pipeline, paint
    figures        token_strip, heatmap, picture_grid, show

``arithmetic`` stands beside them: it knows tensors and nothing else.

Everything public is reachable from here: ``from helpers import load_clip, tokenize, embed``.
Names are looked up when first used (PEP 562), so ``import helpers`` costs milliseconds and
torch and transformers load only when a function needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arithmetic import (
        Nearest,
        add,
        analogy,
        cosine_similarity,
        mix,
        nearest,
        normalize,
        randomize,
        remove_direction,
        scale,
        shift,
        slerp,
        subtract,
    )
    from .artwork import Artwork, load_artwork
    from .checkpoints import CHECKPOINTS, Checkpoint, Clip, load_clip
    from .diffusion import load_pipeline, paint
    from .embeddings import Embeddings, embed
    from .figures import heatmap, picture_grid, show, token_strip
    from .hub import CheckpointError
    from .images import ImageEmbeddings, embed_images
    from .tokens import clean, detokenize, tokenize

__version__ = "0.1.0"

_HOME = {
    "CHECKPOINTS": "checkpoints",
    "Checkpoint": "checkpoints",
    "CheckpointError": "hub",
    "Clip": "checkpoints",
    "load_clip": "checkpoints",
    "clean": "tokens",
    "detokenize": "tokens",
    "tokenize": "tokens",
    "Embeddings": "embeddings",
    "embed": "embeddings",
    "load_pipeline": "diffusion",
    "paint": "diffusion",
    "heatmap": "figures",
    "show": "figures",
    "Nearest": "arithmetic",
    "add": "arithmetic",
    "analogy": "arithmetic",
    "cosine_similarity": "arithmetic",
    "mix": "arithmetic",
    "nearest": "arithmetic",
    "normalize": "arithmetic",
    "randomize": "arithmetic",
    "remove_direction": "arithmetic",
    "scale": "arithmetic",
    "shift": "arithmetic",
    "slerp": "arithmetic",
    "subtract": "arithmetic",
    "Artwork": "artwork",
    "load_artwork": "artwork",
    "ImageEmbeddings": "images",
    "embed_images": "images",
    "picture_grid": "figures",
    "token_strip": "figures",
}

__all__ = [
    "Artwork",
    "CHECKPOINTS",
    "Checkpoint",
    "CheckpointError",
    "Clip",
    "Embeddings",
    "ImageEmbeddings",
    "Nearest",
    "add",
    "analogy",
    "clean",
    "cosine_similarity",
    "detokenize",
    "embed",
    "embed_images",
    "heatmap",
    "load_artwork",
    "load_clip",
    "load_pipeline",
    "mix",
    "nearest",
    "normalize",
    "paint",
    "picture_grid",
    "randomize",
    "remove_direction",
    "scale",
    "shift",
    "show",
    "slerp",
    "subtract",
    "token_strip",
    "tokenize",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # next time Python finds it without asking here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
