"""Pack what the playground computes with: ``python tools/playground/pack.py FOLDER``.

Writes classic scripts that hold base64, because a page opened from ``file://`` may load scripts
and nothing else: ``weights-text.js`` (words, text tower, vectors of the emoji's names) and
``weights-draw.js`` (U-Net and VAE decoder as ONNX). All shapes and settings come from the models'
own configurations. Prints the sizes and what is lost; the page shows the same numbers.
"""

from __future__ import annotations

import base64
import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from untrained import SPREAD, normal

from helpers import embed, load_clip, load_pipeline

ROOT = Path(__file__).resolve().parents[2]
TABLE = "embeddings.token_embedding.weight"


def main(folder: Path) -> None:
    """Write both scripts into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)  # the exporter is shown random numbers
    clip = load_clip("emoji", device="cpu", dtype="float32")
    draw, lost = _draw_parts(clip)
    _write(folder / "weights-draw.js", "PLAYGROUND_DRAW", draw)
    text = _text_parts(clip)
    text["facts"]["weights_lost"] = max(text["facts"]["weights_lost"], lost)
    clicked = [folder / name for name in ("weights-draw.js", "engine.js")]  # what a click loads
    text["facts"]["draw_bytes"] = sum(f.stat().st_size for f in clicked if f.is_file())
    _write(folder / "weights-text.js", "PLAYGROUND_TEXT", text)
    print(json.dumps(text["facts"], indent=2))


def _write(file: Path, name: str, content: Any) -> None:
    file.write_text(f"globalThis.{name} = {json.dumps(content)};\n")
    print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")


def _base(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- the text side --------------------------------------------------------------------------


def _text_parts(clip: Any) -> dict[str, Any]:
    config = clip.text_config
    emoji = json.loads((ROOT / "helpers/data/emoji.json").read_text())
    names = [entry["name"] for entry in emoji]
    weights = {k: v.numpy() for k, v in clip.inner.state_dict().items() if "position_ids" not in k}
    weights["text_projection.weight"] = clip.text_projection.weight.numpy()

    table = weights.pop(TABLE)
    before = embed(clip, names, rows=False)
    untrained = embed(_with_weights(clip, _random_weights(weights, table.shape)), names, rows=False)

    vectors = {
        "pooled": before.pooler_output,
        "projected": before.text_embeds,
        "untrained_pooled": untrained.pooler_output,
        "untrained_projected": untrained.text_embeds,
    }
    merges = (ROOT / "helpers/models/emoji/merges.txt").read_text().strip().split("\n")[1:]
    return {
        "config": {
            "width": config.hidden_size,
            "heads": config.num_attention_heads,
            "layers": config.num_hidden_layers,
            "positions": config.max_position_embeddings,
            "epsilon": config.layer_norm_eps,
            "bos": clip.bos_token_id,
            "eos": clip.eos_token_id,
        },
        "merges": "\n".join(merges),
        "table": _half(table),
        "weights": {name: _half(value) for name, value in weights.items()},
        "names": names,
        "emoji": [entry["emoji"] for entry in emoji],
        "vectors": {name: _half(value.numpy()) for name, value in vectors.items()},
        "facts": _facts({TABLE: table} | weights, vectors),
    }


def _half(values: np.ndarray) -> dict[str, Any]:
    return {"shape": values.shape, "float16": _base(values.astype("<f2").tobytes())}


def _facts(weights: dict[str, np.ndarray], vectors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What storing in half precision costs: the weights are shipped in it, the vectors are not."""
    return {
        "names": len(vectors["projected"]),
        "weights_lost": max(float(np.abs(_rounded(w) - w).max()) for w in weights.values()),
        "worst_cosine": min(
            torch.cosine_similarity(v.double(), v.half().double()).min().item()
            for v in vectors.values()
        ),
    }


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def _with_weights(clip: Any, weights: dict[str, np.ndarray]) -> Any:
    clip = copy.deepcopy(clip)
    projection = weights.pop("text_projection.weight", None)
    clip.inner.load_state_dict(
        {k: torch.tensor(v, dtype=torch.float32) for k, v in weights.items()}, strict=False
    )
    if projection is not None:
        clip.text_projection.weight.data = torch.tensor(projection, dtype=torch.float32)
    return clip


def _random_weights(weights: Any, table: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What the page's untrained tower holds. The seed of a tensor is its place in the list."""
    made = {}
    shapes = {TABLE: table} | {name: value.shape for name, value in weights.items()}
    for seed, (name, shape) in enumerate(shapes.items()):
        if "norm" in name or name.endswith("bias"):
            made[name] = np.full(shape, float("norm" in name and name.endswith("weight")))
        else:
            made[name] = normal(int(np.prod(shape)), seed).reshape(shape) * SPREAD
    return made


# --- the image side -------------------------------------------------------------------------


class _Unet(nn.Module):
    """The U-Net with plain arguments and one plain result, as the exporter wants it."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
        return self.unet(sample, timestep, encoder_hidden_states).sample


class _Decoder(nn.Module):
    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Any) -> Any:
        return self.vae.decode(latents).sample


def _draw_parts(clip: Any) -> tuple[dict[str, Any], float]:
    """The parts, and by how much packing changes a weight at most."""
    pipe = load_pipeline(clip)
    unet, vae = pipe.unet.float(), pipe.vae.float()
    side, channels = unet.config.sample_size, unet.config.in_channels
    latents = torch.randn(2, channels, side, side)
    rows = torch.randn(2, clip.max_length, unet.config.cross_attention_dim)
    inputs = {"sample": latents, "timestep": torch.tensor([5, 5]), "encoder_hidden_states": rows}
    exported, lost = _export(_Unet(unet), inputs)
    decoder, more = _export(_Decoder(vae), {"latents": latents[:1]})
    parts = {
        "scheduler": dict(pipe.scheduler.config),
        "latents": [channels, side, side],
        "rows": list(rows.shape[1:]),
        "scaling_factor": vae.config.scaling_factor,
        "unet": _base(exported),
        "decoder": _base(decoder),
    }
    return parts, max(lost, more)


def _export(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[bytes, float]:
    """ONNX with weights stored in half precision, as they are shipped; it computes in full.

    Returns too by how much that changes a weight at most.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            model.eval(),
            tuple(inputs.values()),
            str(file),
            dynamo=False,  # the other exporter needs two packages more
            opset_version=17,
            input_names=list(inputs),
            output_names=["result"],
            dynamic_axes={name: {0: "n"} for name in inputs},
        )
        graph = onnx.load(str(file))
    casts, lost = [], 0.0
    for weight in graph.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size > 16:
            name = weight.name
            lost = max(lost, float(np.abs(_rounded(values) - values).max()))
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return graph.SerializeToString(), lost


if __name__ == "__main__":
    main(Path(sys.argv[1]))
