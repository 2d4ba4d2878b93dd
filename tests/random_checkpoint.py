"""Random weights in Stable Diffusion's true geometry: ``python random_checkpoint.py sd2 FOLDER``.

They show that code runs on such a text encoder, and what its mechanics are; they know nothing.
True is the text encoder's geometry. The U-Net and the VAE beside it have the true inputs and
outputs (four latent channels, pictures eight times larger a side, rows as wide as the text
encoder's, the true scheduler), and are small and for small pictures, so that a CPU can run them.
``load_clip`` and ``load_pipeline`` open the folder. The tests use it, and ``make geometries``.
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
    file.unlink(missing_ok=True)
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

    folder.mkdir(parents=True, exist_ok=True)
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


def save_random_pipeline(folder: Path, width: int) -> None:
    """Save what a pipeline needs beside the text side: U-Net, VAE, scheduler and their index."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=8,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        sample_size=64,
    ).save_pretrained(folder / "vae")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def save_clip(name: str, folder: Path, config: dict[str, Any]) -> Path:
    """Save the text side: a random text encoder, and the tokenizer of "sd1" or "sd2"."""
    save_random_text_encoder(folder / "text_encoder", config)
    if name == "sd2":
        words_of_sd2(folder / "tokenizer")
    else:
        (folder / "tokenizer").mkdir(exist_ok=True)
        for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            link(folder / "tokenizer" / file, EMOJI / file)
    return folder


def save_checkpoint(name: str, folder: Path) -> Path:
    """Save a whole "sd1" or "sd2"; a folder that has one stays as it is."""
    if (folder / "model_index.json").exists():  # written last
        return folder
    config = {"sd1": SD1, "sd2": SD2}[name]
    save_clip(name, folder, config)
    save_random_pipeline(folder, config["hidden_size"])
    return folder


if __name__ == "__main__":
    name, place = sys.argv[1:]
    print(save_checkpoint(name, Path(place)))
