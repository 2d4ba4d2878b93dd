"""The shape of the emoji CLIP, how it is asked, and how it is written to disk."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from training import SHIPPED as HELPERS
from training.captions import prompt
from training.clip.tokenizer import write_tokenizer
from training.sums import sums

SHIPPED = HELPERS / "models" / "emoji"
WIDTH = 128


def configuration() -> CLIPConfig:
    """CLIP's genuine architecture, small: text 128 x 4, vision 192 x 4 on 16 patches, projection 128."""
    ids = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    text = CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=4,
        projection_dim=WIDTH, hidden_act="quick_gelu", max_position_embeddings=77, vocab_size=49408, **ids,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=6,
        projection_dim=WIDTH, hidden_act="quick_gelu", image_size=64, patch_size=16,
    )  # fmt: skip
    return CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH
    )


class Tower:
    """A CLIPModel and its tokenizer: texts and pixels become unit vectors, (n, projection)."""

    def __init__(self, model: CLIPModel) -> None:
        self.model = model
        self.tokenizer = CLIPTokenizer.from_pretrained(SHIPPED)

    @classmethod
    def frozen(cls, model: CLIPModel) -> Tower:
        """To be asked only."""
        return cls(model.float().eval().requires_grad_(False))

    def text(self, texts: list[str]) -> torch.Tensor:
        """Padded only to the longest; a multiple of 8, so that few lengths occur."""
        rows = []
        for start in range(0, len(texts), 256):
            tokens = self.tokenizer(
                [prompt(text) for text in texts[start : start + 256]],
                padding=True, pad_to_multiple_of=8, truncation=True, max_length=72, return_tensors="pt",
            )  # fmt: skip
            ids = tokens["input_ids"].to(self.model.device)
            rows.append(self.model.text_model(input_ids=ids).pooler_output)
        return F.normalize(self.model.text_projection(torch.cat(rows)), dim=-1)

    def image(self, pixels: torch.Tensor) -> torch.Tensor:
        """From pixels in -1 … 1."""
        rows = [self.model.vision_model(pixel_values=p).pooler_output for p in pixels.split(256)]
        return F.normalize(self.model.visual_projection(torch.cat(rows)), dim=-1)


class TaughtEmbedding(nn.Module):
    """Token rows while training: teacher's embedding of the token's string x a learned matrix + a learned rest.

    So a word that stands in no caption still gets a row that fits its meaning, because the matrix is
    learned from the words that do. :func:`export` writes the sum into an ordinary table.
    """

    def __init__(self, teacher: torch.Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("teacher", teacher - teacher.mean(0), persistent=False)
        self.matrix = nn.Parameter(torch.randn(teacher.shape[1], width) * 0.02)
        self.rest = nn.Parameter(torch.randn(teacher.shape[0], width) * 0.005)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.teacher[input_ids] @ self.matrix + self.rest[input_ids]

    @torch.no_grad()
    def table(self) -> torch.Tensor:
        """The whole table, (49408, width)."""
        return self.teacher @ self.matrix + self.rest


def write_json(settings: dict, path: Path) -> None:
    """As the libraries write theirs."""
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def export(model: CLIPModel, folder: Path) -> None:
    """Write a plain ``CLIPModel`` in float16 whose keys match on transformers 4.57 and 5.x alike."""
    write_tokenizer(folder)
    embedding = model.text_model.embeddings.token_embedding
    table = embedding.table() if isinstance(embedding, TaughtEmbedding) else embedding.weight
    state = {
        name: value
        for name, value in model.state_dict().items()
        if ".token_embedding." not in name and "position_ids" not in name
    }
    state["text_model.embeddings.token_embedding.weight"] = table
    state = {name: value.detach().cpu().half().contiguous() for name, value in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    settings = configuration().to_dict()
    settings.pop("transformers_version", None)
    settings["architectures"] = ["CLIPModel"]
    write_json(settings, folder / "config.json")
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True, "do_resize": True, "size": {"shortest_edge": 64}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 64, "width": 64},
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    write_json(processor, folder / "preprocessor_config.json")
    sums(folder)
