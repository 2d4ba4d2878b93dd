"""From a text encoder's rows to pictures: ``load_pipeline`` and ``paint``.

The pipeline is a stock ``StableDiffusionPipeline`` of diffusers. What is added here: it reads the
text through the very model that ``load_clip`` loaded, and what it is given is checked.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .checkpoints import CHECKPOINTS, CheckpointError, Clip, _check_disk, _hub_error, check_clip
from .embeddings import Embeddings, embed

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline
    from PIL.Image import Image
    from transformers import CLIPTextModel

WAY_OUT = 'load_pipeline(load_clip("emoji")) needs no download.'
RESTORE = (
    "The files that come with the series are damaged: in a clone, "
    "'git checkout -- helpers/models/emoji-diffusion' restores them; else install it again."
)
PARTS = ("unet", "vae")
PIXELS_AT_ONCE = 4 * 512 * 512  # four pictures of Stable Diffusion 1's size fit a small GPU
PICTURES_AT_ONCE = 16
GUIDANCE = 4.0  # scale that suits the shipped model and Stable Diffusion alike

_clips: WeakKeyDictionary[Any, Clip] = WeakKeyDictionary()


def load_pipeline(clip: Clip) -> StableDiffusionPipeline:
    """Load the Stable Diffusion that belongs to a text encoder, ready to use.

    Its text encoder is ``clip``'s own model, not a copy, so ``embed(clip, text).last_hidden_state``
    is what the pipeline computes from the same text. The U-Net and the VAE go to ``clip``'s device
    and dtype. Scheduler and safety checker stay as the checkpoint has them.

    Args:
        clip: what ``load_clip`` returned for ``"emoji"`` (its pipeline ships with the series),
            ``"sd1"`` or ``"sd2"`` (downloaded: the files in half precision if ``clip`` is in half
            precision and there are any), a Hub id, or a folder that holds a whole Stable Diffusion
            1 or 2, with ``model_index.json``.

    Raises:
        CheckpointError: no pipeline belongs to this CLIP, or it cannot be fetched, is not whole, or
            does not fit.
        TypeError: not a CLIP.
    """
    check_clip(clip)
    with _quiet():
        from diffusers import StableDiffusionPipeline  # noqa: F401 - loud the first time

    try:
        return _load(clip, *_folder(clip))
    except CheckpointError as error:
        if clip.name != "emoji":
            raise
        raise CheckpointError(str(error).replace(WAY_OUT, RESTORE)) from None


def _load(clip: Clip, folder: Path, variant: str | None) -> StableDiffusionPipeline:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    _check_index(clip.name, folder)
    with _quiet():
        parts = {
            name: _part(kind, clip.name, folder, name, variant)
            for name, kind in zip(PARTS, (UNet2DConditionModel, AutoencoderKL), strict=True)
        }
        width = parts["unet"].config.cross_attention_dim
        if width != clip.text_config.hidden_size:
            raise CheckpointError(
                f"{clip.name}: its U-Net reads rows {width} wide and the text encoder's are "
                f"{clip.text_config.hidden_size} wide; they do not belong together. {WAY_OUT}"
            )
        try:
            pipe = StableDiffusionPipeline.from_pretrained(
                folder,
                **parts,
                text_encoder=None,
                tokenizer=None,
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
            )
            # not handed over above: before transformers 5 diffusers refuses a fast tokenizer there
            pipe.register_modules(text_encoder=_text_encoder(clip), tokenizer=clip.tokenizer)
        except Exception as error:
            raise _unreadable(clip.name, "the pipeline", error) from None
        # .to() after loading: the dtype argument of from_pretrained differs between versions
        pipe.to(clip.device, clip.dtype)
    for name in PARTS:
        getattr(pipe, name).eval().requires_grad_(False)
    if clip.device.type == "cpu":
        # plain matrix products: at the shipped model's size a quarter faster than the fused kernel
        pipe.unet.set_attn_processor(AttnProcessor())
    # tqdm's delay: a bar appears only if the work takes longer than two seconds. Recent diffusers
    # passes tqdm a disable of its own, which would override this variable of tqdm's.
    silent = os.environ.get("TQDM_DISABLE", "").strip().lower() not in ("", "0", "false")
    pipe.set_progress_bar_config(desc="steps", leave=False, delay=2, disable=silent)
    _clips[pipe] = clip
    return pipe


def paint(
    pipe: StableDiffusionPipeline,
    prompts: str | Sequence[str] | Embeddings | torch.Tensor,
    *,
    negative_prompt: str | Sequence[str] | Embeddings | torch.Tensor = "",
    seeds: int | Sequence[int] = 0,
    guidance_scale: float = GUIDANCE,
    num_inference_steps: int = 20,
) -> list[Image]:
    """Draw one picture for each prompt, or for each stack of rows.

    Text is encoded by ``embed``: cleaned, and words that do not fit are named in a warning. Noise
    is drawn on the CPU, so a seed means the same noise on every device.

    Args:
        pipe: what ``load_pipeline`` returned.
        prompts: a string, a list of strings, what ``embed`` returned, or rows, (n, L, d) or (L, d),
            known in diffusers as ``prompt_embeds``.
        negative_prompt: what guidance leads away from: a string for all, a list of one for each,
            or rows (1, L, d), (L, d) or (n, L, d). ``""`` is the empty prompt, which diffusers
            takes too when told nothing.
        seeds: one for all pictures, so that only the prompts differ, or a list of one for each.
        guidance_scale: how far to go from the negative prompt's answer toward the prompt's, and
            beyond it (classifier-free guidance, Ho & Salimans 2022). 1 or less: without guidance,
            the negative prompt is not looked at.
        num_inference_steps: of the scheduler, 1 to as many as it has (1000 in all of these).

    Returns:
        PIL images, RGB, of the size the U-Net was made for.

    Raises:
        TypeError, ValueError: what was given is of the wrong kind, shape or width, is not finite,
            or the counts do not fit; and what ``embed`` raises.
    """
    import torch

    if pipe not in _clips:
        raise TypeError(
            f"pipe must be what load_pipeline() returned, not {type(pipe).__name__}: "
            "pipe = load_pipeline(load_clip()), then paint(pipe, text)."
        )
    rows = _rows(pipe, prompts, "prompts")
    away = _rows(pipe, negative_prompt, "negative_prompt")
    if len(away) not in (1, len(rows)):
        raise ValueError(f"negative_prompt has {len(away)} stacks of rows for {len(rows)} prompts.")
    if away.shape[1] != rows.shape[1]:
        raise ValueError(
            f"negative_prompt has {away.shape[1]} rows and the prompts have {rows.shape[1]}; "
            "both need the same number. (paint reads last_hidden_state, not pooled vectors.)"
        )
    away = away.expand(len(rows), -1, -1)
    numbers = _seeds(seeds, len(rows))
    most = pipe.scheduler.config.num_train_timesteps
    steps = num_inference_steps
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= most:
        raise ValueError(
            f"num_inference_steps is {steps!r}; it must be a whole number from 1 to {most}."
        )
    if isinstance(guidance_scale, bool) or not isinstance(guidance_scale, int | float):
        raise TypeError(f"guidance_scale is {guidance_scale!r}; it must be a number.")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale is {guidance_scale}; it must be a finite number.")
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    together = max(1, min(PICTURES_AT_ONCE, PIXELS_AT_ONCE // side**2))
    images = []
    for start in range(0, len(rows), together):
        part = slice(start, start + together)
        images += pipe(
            prompt_embeds=rows[part],
            negative_prompt_embeds=away[part],
            generator=[torch.Generator().manual_seed(n) for n in numbers[part]],
            guidance_scale=guidance_scale,
            num_inference_steps=steps,
        ).images
    return images


# --- what is given to paint -----------------------------------------------------------------


def _rows(pipe: StableDiffusionPipeline, given: Any, what: str) -> torch.Tensor:
    """Text or rows as rows (n, L, d) on the U-Net's device, in its dtype, checked."""
    import torch

    if isinstance(given, list | tuple) and any(isinstance(g, torch.Tensor) for g in given):
        raise TypeError(f"{what} is a list of tensors; join them: torch.stack(list).")
    if isinstance(given, str | list | tuple):
        given = embed(_clips[pipe], given)
    rows = given.last_hidden_state if isinstance(given, Embeddings) else given
    if not isinstance(rows, torch.Tensor) or not rows.dtype.is_floating_point:
        kind = rows.dtype if isinstance(rows, torch.Tensor) else type(rows).__name__
        raise TypeError(
            f"{what} must be text, what embed returned, or a floating-point tensor of rows "
            f"(n, L, d), not {kind}."
        )
    rows = rows.unsqueeze(0) if rows.dim() == 2 else rows
    width = pipe.unet.config.cross_attention_dim
    if rows.dim() != 3 or 0 in rows.shape or rows.shape[-1] != width:
        raise ValueError(
            f"{what} has shape {tuple(rows.shape)}; rows must be (n, L, {width}) or (L, {width}), "
            "as in embed(clip, text).last_hidden_state."
        )
    if not bool(rows.isfinite().all()):
        raise ValueError(f"{what} holds numbers that are not finite (NaN or infinite).")
    return rows.detach().to(pipe.unet.device, pipe.unet.dtype)


def _seeds(seeds: Any, n: int) -> list[int]:
    numbers = list(seeds) if isinstance(seeds, list | tuple | range) else [seeds] * n
    if not all(isinstance(s, int) and not isinstance(s, bool) for s in numbers):
        raise TypeError("seeds must be a whole number, or a list of them.")
    if not all(0 <= s < 2**63 for s in numbers):
        raise ValueError("a seed must lie between 0 and 2**63 - 1.")
    if len(numbers) != n:
        raise ValueError(f"{len(numbers)} seeds for {n} pictures; pass one for each, or one.")
    return numbers


# --- from a CLIP to the folder of its pipeline ----------------------------------------------


def _folder(clip: Clip) -> tuple[Path, str | None]:
    """(folder with model_index.json, variant of its weights), downloaded if it has to be."""
    if clip.name == "emoji":
        return Path(__file__).parent / "models" / "emoji-diffusion", None
    known = CHECKPOINTS.get(clip.name)
    if known is not None and not known.pipeline_bytes:
        raise CheckpointError(
            f"{clip.name} is a CLIP alone, without a U-Net to draw pictures; load_clip one of "
            f"{', '.join(n for n, c in CHECKPOINTS.items() if c.id is None or c.pipeline_bytes)}. "
            f"{WAY_OUT}"
        )
    if known is not None:
        return _download(clip, known.id, known.revision, known.pipeline_bytes)
    folder = Path(clip.name).expanduser()
    if folder.is_dir():
        folder = folder.parent if folder.name == "text_encoder" else folder
        names = [file.name for file in (folder / "unet").glob("*.safetensors")]
        return folder, "fp16" if names and all(".fp16" in name for name in names) else None
    repo, _, revision = clip.name.partition("@")
    return _download(clip, repo, revision or None, 0)


def _download(clip: Clip, repo: str, revision: str | None, size: int) -> tuple[Path, str | None]:
    """The pipeline's files but the text side's, in the Hugging Face cache, fetched if missing.

    diffusers picks the files. Where it finds none in half precision, the others are taken.
    """
    import torch
    from diffusers import StableDiffusionPipeline

    variants = ("fp16", None) if clip.dtype in (torch.float16, torch.bfloat16) else (None,)
    wanted = {
        "revision": revision,
        "use_safetensors": True,
        "text_encoder": _text_encoder(clip),
        "tokenizer": clip.tokenizer,
    }
    for variant in variants:
        try:  # what is already there needs neither the Hub nor room on the disk
            with _quiet():
                folder = StableDiffusionPipeline.download(
                    repo, variant=variant, local_files_only=True, **wanted
                )
            if _is_whole(Path(folder), variant):
                return Path(folder), variant
        except Exception:  # noqa: S112 - differs between versions; all of it means "not here"
            continue
    _check_disk(repo, size)
    for variant in variants:
        try:
            folder = StableDiffusionPipeline.download(repo, variant=variant, **wanted)
            return Path(folder), variant
        except Exception as error:
            if variant is None or not isinstance(error, ValueError):
                raise _hub_error(repo, error) from None
    raise AssertionError("the last variant is None, which returns or raises")


def _is_whole(folder: Path, variant: str | None) -> bool:
    """Whether a snapshot holds the weights of every part in this variant."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    parts = [*PARTS, *(["safety_checker"] if any(index.get("safety_checker") or ()) else [])]
    half = [
        {".fp16" in file.name for file in (folder / part).glob("*.safetensors")} for part in parts
    ]
    return all((variant is not None) in kinds for kinds in half)


def _check_index(name: str, folder: Path) -> None:
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        kind = index.get("_class_name")
    except FileNotFoundError:
        raise CheckpointError(
            f"{name}: no model_index.json there, so no whole Stable Diffusion to draw pictures "
            f"with; pass load_clip a folder or Hub id that holds one. {WAY_OUT}"
        ) from None
    except (ValueError, AttributeError, OSError):
        raise CheckpointError(f"{name}: model_index.json cannot be read. {WAY_OUT}") from None
    if kind != "StableDiffusionPipeline":
        raise CheckpointError(
            f"{name}: this is a {kind}; only StableDiffusionPipeline, which Stable Diffusion 1 "
            f"and 2 are, reads one text encoder's rows. {WAY_OUT}"
        )


# --- from a folder to a pipeline ------------------------------------------------------------


def _part(kind: Any, name: str, folder: Path, part: str, variant: str | None) -> Any:
    """The U-Net or the VAE, with every weight of it filled from the file."""
    try:
        model, report = kind.from_pretrained(
            folder,
            subfolder=part,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise _unreadable(name, f"its {part}", error) from None
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise CheckpointError(
            f"{name}: the weights of its {part} do not fit {kind.__name__}: {len(wrong)} missing "
            f"or unexpected, such as {str(wrong[0])!r}; loading on would mean random numbers. "
            f"{WAY_OUT}"
        )
    return model


def _unreadable(name: str, what: str, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [""])[0][:120]
    return CheckpointError(
        f"{name}: {what} cannot be loaded ({type(error).__name__}: {reason}); a file may be "
        f"missing, cut short or not in safetensors. {WAY_OUT}"
    )


def _text_encoder(clip: Clip) -> CLIPTextModel:
    """The CLIP's text model as the class the pipeline knows, sharing every weight."""
    from transformers import CLIPTextModel

    if isinstance(clip.text_model, CLIPTextModel):
        return clip.text_model
    # before transformers 5.6 a whole CLIP holds the part inside CLIPTextModel
    wrapped = CLIPTextModel(clip.text_config)
    wrapped.text_model = clip.inner
    return wrapped.eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep diffusers' progress bars and notices off stderr, then put its settings back.

    Nothing is hidden that matters: ``_part`` reads the load report itself.
    """
    root = logging.getLogger("transformers")
    level = root.level
    root.setLevel(logging.ERROR)  # its notices on image processors when diffusers is imported
    from diffusers.utils import logging as library

    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)  # it also logs the errors that it raises
    library.disable_progress_bar()
    try:
        yield
    finally:
        root.setLevel(level)
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()
