"""Random weights in Stable Diffusion's true geometry: ``python random_checkpoint.py sd2 FOLDER``.

They show that code runs on such a text encoder, and what its mechanics are; they know nothing.
``load_clip`` opens the folder. The tests use it, and ``make geometries``.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EMOJI = ROOT / "helpers" / "models" / "emoji"

# Both configurations as Stable Diffusion publishes them, the wrong eos_token_id included.
SD1 = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 768,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
SD2 = SD1 | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}


def link(file: Path, source: Path) -> None:
    """Make ``file`` a link to ``source``, or a copy where links need privileges (Windows)."""
    try:
        file.symlink_to(source)
    except (OSError, NotImplementedError):
        shutil.copy2(source, file)


def words_of_sd2(folder: Path) -> None:
    """Write Stable Diffusion 2's tokenizer: CLIP's vocabulary, padded with "!"."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        link(folder / name, EMOJI / name)
    config = json.loads((EMOJI / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["pad_token"] = "!"
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    special = {name: config[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def save_random_text_encoder(folder: Path, config: dict[str, Any]) -> None:
    """Save a seeded random text encoder in the layout of Stable Diffusion's repositories."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with torch.device("meta"):
        shapes = CLIPTextModel(CLIPTextConfig(**config)).state_dict()
    random = torch.Generator().manual_seed(0)
    weights = {}
    for key, value in shapes.items():
        if key.endswith("position_ids"):
            continue
        name = "text_model." + key.removeprefix("text_model.")  # the layout every version loads
        noise = torch.randn(value.shape, generator=random).mul_(0.02)
        is_scale = "layer_norm" in key and key.endswith("weight")
        weights[name] = (noise + 1 if is_scale else noise).half()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def save_checkpoint(name: str, folder: Path) -> Path:
    """Save text encoder and tokenizer of "sd1" or "sd2"; a folder that has them stays as it is."""
    if (folder / "text_encoder" / "model.safetensors").exists():
        return folder
    save_random_text_encoder(folder / "text_encoder", {"sd1": SD1, "sd2": SD2}[name])
    if name == "sd2":
        words_of_sd2(folder / "tokenizer")
    else:
        (folder / "tokenizer").mkdir()
        for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            link(folder / "tokenizer" / file, EMOJI / file)
    return folder


if __name__ == "__main__":
    name, place = sys.argv[1:]
    print(save_checkpoint(name, Path(place)))
