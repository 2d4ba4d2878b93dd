"""Helpers of the series *From Prompt to Embedding*.

One module for each step of the way, and each imports only from those above it::

    hub            from a repository on the Hub to a folder on this disk
    folders        what lies in such a folder, checked
    checkpoints    load_clip
    tokens         clean, tokenize, detokenize
    tree           what prompts share is computed once
    embeddings     embed
    images         embed_images
    artwork        load_artwork
    diffusion      load_pipeline, paint
    figures        token_strip, heatmap, picture_grid, picture_table, show

``arithmetic`` and ``pictures`` stand beside them: one knows tensors, the other pictures, and
nothing else. ``checks`` lies below all of them and holds what is said to bad input. On top are the
commands ``python -m helpers doctor``, is all well here, and ``python -m helpers fetch``, which
downloads beforehand.

Everything public is reachable from here: ``from helpers import load_clip, tokenize, embed``.
Functions import torch, transformers and the rest when they run, so ``import helpers`` costs
milliseconds.
"""

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
from .figures import heatmap, picture_grid, picture_table, show, token_strip
from .hub import CheckpointError
from .images import ImageEmbeddings, embed_images
from .pictures import pixel_difference, pixels
from .tokens import clean, detokenize, tokenize

__version__ = "0.1.0"

__all__ = [
    "CHECKPOINTS",
    "Artwork",
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
    "picture_table",
    "pixel_difference",
    "pixels",
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
