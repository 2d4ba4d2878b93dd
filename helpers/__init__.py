"""Helpers of the series *From Prompt to Embedding*.

One module for each step of the way, imports running one way only::

    checkpoints  ->  tokens  ->  embeddings  ->  figures
    load_clip        clean       embed           token_strip
                     tokenize                    heatmap
                     detokenize                  show

Everything public is reachable from here: ``from helpers import load_clip, tokenize, embed``.
Names are looked up when first used (PEP 562), so ``import helpers`` costs milliseconds and
torch and transformers load only when a function needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoints import CHECKPOINTS, Checkpoint, CheckpointError, Clip, load_clip
    from .embeddings import Embeddings, embed
    from .figures import heatmap, show, token_strip
    from .tokens import clean, detokenize, tokenize

__version__ = "0.1.0"

_HOME = {
    "CHECKPOINTS": "checkpoints",
    "Checkpoint": "checkpoints",
    "CheckpointError": "checkpoints",
    "Clip": "checkpoints",
    "load_clip": "checkpoints",
    "clean": "tokens",
    "detokenize": "tokens",
    "tokenize": "tokens",
    "Embeddings": "embeddings",
    "embed": "embeddings",
    "heatmap": "figures",
    "show": "figures",
    "token_strip": "figures",
}

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "CheckpointError",
    "Clip",
    "Embeddings",
    "clean",
    "detokenize",
    "embed",
    "heatmap",
    "load_clip",
    "show",
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
