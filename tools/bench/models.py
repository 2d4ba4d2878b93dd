"""The two models that are measured, as folders that every library here can open."""

from __future__ import annotations

import sys
from pathlib import Path

from .prompts import ROOT

sys.path.append(str(ROOT / "tests"))  # where random weights in true geometry are made

from random_checkpoint import EMOJI, SD1, link, save_random_text_encoder

# the ids as they are, and not as Stable Diffusion's configuration has them: others read them, too
LARGE = SD1 | {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
TINY = LARGE | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 32,
}
ABOUT = {
    "emoji": "the shipped model: 4 layers, 128 wide, projected output",
    "large": "ViT-L/14's text encoder with random weights: 12 layers, 768 wide, pooled output",
    "tiny": "2 layers, 32 wide, random weights, pooled output: for the tests",
}


def folder_of(name: str, build: Path) -> Path:
    """The folder of a model: the shipped one, or random weights, made once."""
    if name == "emoji":
        return EMOJI
    folder = build / name
    if not (folder / "model.safetensors").exists():
        save_random_text_encoder(folder, {"large": LARGE, "tiny": TINY}[name])
        for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            link(folder / file, EMOJI / file)
    return folder
