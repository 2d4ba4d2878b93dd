"""What the tests share: the shipped CLIP, its variants, and two checkpoints of true geometry."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# No test asks the network; a reader's own choice of checkpoint does not change what is tested.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("CLIP_CHECKPOINT", None)
os.environ["TQDM_DISABLE"] = "1"  # a slow machine would show bars that no stored output has

import pytest
import torch
from hypothesis import settings

# The stored outputs were made on a CPU, in float32; CUDA's float16 would print other roundings. So
# the notebooks' kernels, which get this process's environment, see no GPU. CUDA is started and its
# devices are counted here before that, so the unit tests of this process still have theirs.
if torch.cuda.is_available():
    torch.cuda.init()
    torch.cuda.device_count()  # torch keeps the first answer it gets after init
os.environ["CUDA_VISIBLE_DEVICES"] = ""

ROOT = Path(__file__).parent.parent
EMOJI = ROOT / "helpers" / "models" / "emoji"

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# derandomize: the same examples every time, so that a red run can be repeated
settings.register_profile("series", deadline=None, derandomize=True, max_examples=200)
settings.load_profile("series")


@pytest.fixture(scope="session")
def known() -> dict[str, Any]:
    return json.loads((ROOT / "tests" / "known_answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def clip():
    from helpers import load_clip

    return load_clip("emoji", device="cpu")


def link(file: Path, source: Path) -> None:
    """Make ``file`` a link to ``source``, or a copy where links need privileges (Windows)."""
    try:
        file.symlink_to(source)
    except (OSError, NotImplementedError):
        shutil.copy2(source, file)


@pytest.fixture
def link_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a copy of the shipped folder in which named files are replaced (str) or left out."""

    def build(name: str = "copy", *, without: tuple[str, ...] = (), **texts: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in EMOJI.iterdir():
            if file.is_file() and file.name not in without:
                link(folder / file.name, file)
        for stem, text in texts.items():
            target = folder / f"{stem}.json"
            target.unlink(missing_ok=True)
            target.write_text(text, encoding="utf-8")
        return folder

    return build


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


@pytest.fixture(scope="session")
def clip_sd2_words(clip, tmp_path_factory: pytest.TempPathFactory):
    """The shipped CLIP with Stable Diffusion 2's tokenizer."""
    from transformers import CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("sd2_words")
    words_of_sd2(folder)
    return replace(clip, tokenizer=CLIPTokenizerFast.from_pretrained(str(folder)))


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


def save_random_text_encoder(folder: Path, config: dict[str, Any]) -> None:
    """Save a seeded random text encoder in the layout of Stable Diffusion's repositories."""
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


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd1")
    save_random_text_encoder(folder / "text_encoder", SD1)
    (folder / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        link(folder / "tokenizer" / name, EMOJI / name)
    return folder


@pytest.fixture(scope="session")
def sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd2")
    save_random_text_encoder(folder / "text_encoder", SD2)
    words_of_sd2(folder / "tokenizer")
    return folder
