"""The data set: emoji with their names, each as several artists draw it; six to learn from, two to be measured on."""

from __future__ import annotations

import torch

from training import BUILD

TRAIN_STYLES = ("noto", "twemoji", "fluent-emoji", "fluent-emoji-flat", "fxemoji", "emojione")
HELD_OUT_STYLES = ("noto-v1", "openmoji")
DATA = BUILD / "data.pt"


def load() -> dict:
    """What ``build`` wrote: ``concepts``, ``styles``, ``pictures``, and of each picture ``concept`` and ``style``."""
    if not DATA.exists():
        raise SystemExit(
            "There are no pictures yet. Run `npm ci --prefix training` and "
            "`python -m training.artwork.build` in the project's folder first."
        )
    return torch.load(DATA)


def drawn_by(data: dict, *styles: str) -> torch.Tensor:
    """Rows of the pictures by these artists, in order."""
    wanted = torch.tensor([style in styles for style in data["styles"]])
    return wanted[data["style"]].nonzero().squeeze(1)
