"""Ways from texts to vectors, all with the same weights: ours, and what others do.

Each takes a list of texts and gives a tensor (n, d): projected where the checkpoint has a
projection, pooled otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helpers import embed, load_clip

Way = Callable[[list[str]], Tensor]
USUAL = "transformers, padded to 77"
TREE = "embed(rows=False)"
BATCH = 32  # of all but ours: the default of sentence-transformers, and usual elsewhere


class MissingError(Exception):
    """Why a way is not measured."""


def ours(folder: Path, device: str) -> dict[str, Way]:
    """``embed``, with all rows and without."""
    clip = load_clip(folder, device=device)

    def way(rows: bool) -> Way:
        def run(texts: list[str]) -> Tensor:
            found = embed(clip, texts, rows=rows)
            return found.pooler_output if found.text_embeds is None else found.text_embeds

        return run

    return {TREE: way(rows=False), "embed": way(rows=True)}


def of_transformers(folder: Path, device: str) -> dict[str, Way]:
    """The library: padded to 77, to the longest, sorted by length, in groups of one length."""
    from transformers import AutoConfig, AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = AutoTokenizer.from_pretrained(folder)
    projects = AutoConfig.from_pretrained(folder).model_type == "clip"
    kind = CLIPTextModelWithProjection if projects else CLIPTextModel
    dtype = torch.float16 if device == "cuda" else torch.float32
    model = kind.from_pretrained(folder, dtype=dtype).to(device).eval()

    @torch.inference_mode()
    def vectors(tokens: Any) -> Tensor:
        found = model(**tokens.to(device))
        return found.text_embeds if projects else found.pooler_output

    def padded(padding: str) -> Way:
        def run(texts: list[str]) -> Tensor:
            return torch.cat(
                [
                    vectors(tokenizer(part, padding=padding, truncation=True, return_tensors="pt"))
                    for part in parts(texts)
                ]
            )

        return run

    def by_length(equal: bool) -> Way:
        def run(texts: list[str]) -> Tensor:
            ids = tokenizer(texts, truncation=True)["input_ids"]
            order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
            runs = groupby(order, key=lambda i: len(ids[i]) if equal else None)
            found = [
                vectors(tokenizer.pad({"input_ids": [ids[i] for i in part]}, return_tensors="pt"))
                for _, run in runs
                for part in parts(list(run))
            ]
            return torch.cat(found)[torch.tensor(order).argsort()]

        return run

    return {
        USUAL: padded("max_length"),
        "transformers, padded to the longest": padded("longest"),
        "transformers, sorted by length": by_length(equal=False),
        "transformers, groups of equal length": by_length(equal=True),
    }


def of_sentence_transformers(folder: Path, device: str) -> dict[str, Way]:
    """It sorts by the number of letters and pads each batch to its longest."""
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ImportError as error:
        raise MissingError(f"not installed ({error.name})") from None

    dtype = torch.float16 if device == "cuda" else torch.float32  # or it takes that of the file
    first = Transformer(str(folder), model_kwargs={"dtype": dtype})
    modules = [first]
    if first.module_output_name != "sentence_embedding":
        modules.append(Pooling(first.get_embedding_dimension(), "lasttoken"))
    model = SentenceTransformer(modules=modules, device=device)
    return {
        "sentence-transformers": lambda texts: model.encode(
            texts, batch_size=BATCH, convert_to_tensor=True, show_progress_bar=False
        )
    }


def of_open_clip(folder: Path, device: str) -> dict[str, Way]:
    """Its own text encoder and tokenizer, with the same weights."""
    try:
        import open_clip
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    except ImportError as error:
        raise MissingError(f"not installed ({error.name})") from None

    clip = load_clip(folder, device="cpu")
    config, weights = clip.text_config, clip.inner.state_dict()
    has = clip.text_projection is not None
    model = CLIP(
        clip.text_projection.out_features if has else config.hidden_size,
        CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=32, image_size=32),
        CLIPTextCfg(
            width=config.hidden_size,
            heads=config.num_attention_heads,
            layers=config.num_hidden_layers,
            mlp_ratio=config.intermediate_size / config.hidden_size,
            proj_type="linear" if has else "none",
        ),
        quick_gelu=config.hidden_act == "quick_gelu",
    )
    theirs = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
    } | {f"ln_final.{part}": weights[f"final_layer_norm.{part}"] for part in ("weight", "bias")}
    if has:
        theirs["text_projection"] = clip.text_projection.weight.T
    names = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for layer in range(config.num_hidden_layers):
        here, there = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for part in ("weight", "bias"):
            for to, name in names.items():
                theirs[f"{there}.{to}.{part}"] = weights[f"{here}.{name}.{part}"]
            theirs[f"{there}.attn.in_proj_{part}"] = torch.cat(
                [weights[f"{here}.self_attn.{x}_proj.{part}"] for x in "qkv"]
            )
    left = model.load_state_dict(theirs, strict=False)
    assert not left.unexpected_keys
    assert all(key.startswith(("visual.", "logit_")) for key in left.missing_keys)
    model = model.to(device, torch.float16 if device == "cuda" else torch.float32).eval()
    tokenizer = open_clip.SimpleTokenizer()

    @torch.inference_mode()
    def run(texts: list[str]) -> Tensor:
        return torch.cat([model.encode_text(tokenizer(part).to(device)) for part in parts(texts)])

    return {"open_clip": run}


def parts(items: list[Any]) -> Iterator[list[Any]]:
    """Batches."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def ways(folder: Path, device: str) -> tuple[dict[str, Way], dict[str, str]]:
    """(all ways by name, the usual one first; what is skipped, and why)."""
    found, skipped = {}, {}
    for name, make in {
        "transformers": of_transformers,
        "open_clip": of_open_clip,
        "sentence-transformers": of_sentence_transformers,
        "embed": ours,
    }.items():
        try:
            found |= make(folder, device)
        except MissingError as why:
            skipped[name] = str(why)
    return found, skipped
