"""From a text encoder's rows to pictures: ``load_pipeline`` and ``paint``.

The pipeline is a stock ``StableDiffusionPipeline`` of diffusers. What is added here: it reads the
text through the very model that ``load_clip`` loaded, and what it is given is checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .checkpoints import CHECKPOINTS, Clip, check_clip
from .checks import (
    check_drawn,
    check_negative,
    check_pipeline,
    one_number,
    prompt_embeds_as_tensor,
    prompts_as_list,
    seeds_as_list,
    whole_number_to,
)
from .embeddings import Embeddings, embed
from .folders import check_finite, check_weights, quiet, read_json
from .hub import CheckpointError, Remote, cached, download, find

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
INDEX = "model_index.json"
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
    with quiet("transformers"), quiet("diffusers"):
        from diffusers import StableDiffusionPipeline  # noqa: F401 - loud the first time

    try:
        return _load(clip, *find_pipeline(clip.name, half=clip.dtype.itemsize == 2))
    except CheckpointError as error:
        error.way_out = RESTORE if clip.name == "emoji" else WAY_OUT
        raise


def _load(clip: Clip, folder: Path, variant: str | None) -> StableDiffusionPipeline:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel

    _check_index(clip.name, folder)
    for part in filter(Path.is_dir, folder.iterdir()):
        check_weights(f"{clip.name}: {part.name}", part)
    with quiet("transformers"), quiet("diffusers"):
        parts = {
            name: _part(kind, clip.name, folder, name, variant)
            for name, kind in zip(PARTS, (UNet2DConditionModel, AutoencoderKL), strict=True)
        }
        width = parts["unet"].config.cross_attention_dim
        if width != clip.text_config.hidden_size:
            raise CheckpointError(
                f"{clip.name}: its U-Net reads rows {width} wide and the text encoder's are "
                f"{clip.text_config.hidden_size} wide; they do not belong together."
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
            or the counts do not fit; the picture holds NaN; and what ``embed`` raises.
    """
    import torch

    check_pipeline(pipe, _clips)
    prompt_embeds = _encode(pipe, prompts, "prompts")
    negative_prompt_embeds = _encode(pipe, negative_prompt, "negative_prompt")
    check_negative(negative_prompt_embeds, prompt_embeds)
    n = len(prompt_embeds)
    negative_prompt_embeds = negative_prompt_embeds.expand(n, -1, -1)
    numbers = seeds_as_list(seeds, n)
    most = pipe.scheduler.config.num_train_timesteps
    steps = whole_number_to("num_inference_steps", num_inference_steps, most)
    guidance_scale = one_number("guidance_scale", guidance_scale)
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    together = max(1, min(PICTURES_AT_ONCE, PIXELS_AT_ONCE // side**2))
    images = []
    for start in range(0, n, together):
        part = slice(start, start + together)
        drawn = pipe(
            prompt_embeds=prompt_embeds[part],
            negative_prompt_embeds=negative_prompt_embeds[part],
            generator=[torch.Generator().manual_seed(seed) for seed in numbers[part]],
            guidance_scale=guidance_scale,
            num_inference_steps=steps,
            output_type="pt",  # (n, 3, side, side); a PIL image cannot show that it holds NaN
        ).images
        check_drawn(drawn, guidance_scale=guidance_scale, dtype=pipe.unet.dtype)
        images += pipe.image_processor.numpy_to_pil(pipe.image_processor.pt_to_numpy(drawn))
    return images


def _encode(pipe: StableDiffusionPipeline, prompts: Any, name: str) -> torch.Tensor:
    """Prompts as prompt_embeds (n, L, d) on the U-Net's device, in its dtype."""
    if isinstance(prompts, str | list | tuple):
        prompts = embed(_clips[pipe], prompts_as_list(prompts, name))
    rows = prompts.last_hidden_state if isinstance(prompts, Embeddings) else prompts
    width = pipe.unet.config.cross_attention_dim
    return prompt_embeds_as_tensor(name, rows, width, like=pipe.unet.conv_in.weight)


# --- from a CLIP to the folder of its pipeline ----------------------------------------------


def find_pipeline(name: str, *, half: bool) -> tuple[Path, str | None]:
    """(folder with ``model_index.json``, variant of its weights), downloaded if it has to be.

    From the Hub come the files that the text side does not have, into the Hugging Face cache.

    Args:
        name: as in ``load_clip``.
        half: take the files in half precision, if there are such.

    Raises:
        CheckpointError: there is none, or it cannot be fetched.
    """
    if name == "emoji":
        return Path(__file__).parent / "models" / "emoji-diffusion", None
    known = CHECKPOINTS.get(name)
    if known is not None and not known.pipeline_bytes:
        raise CheckpointError(
            f"{name} is a CLIP alone, without a U-Net to draw pictures; load_clip one of "
            f"{', '.join(n for n, c in CHECKPOINTS.items() if c.id is None or c.pipeline_bytes)}."
        )
    if known is not None:
        return _hub_folder(half, str(known.id), known.revision)
    folder = Path(name).expanduser()
    if folder.is_dir():
        folder = folder.parent if folder.name == "text_encoder" else folder
        names = [file.name for file in (folder / "unet").glob("*.safetensors")]
        return folder, "fp16" if names and all(".fp16" in name for name in names) else None
    return _hub_folder(half, *name.split("@"))


def pipeline_files(folder: Path, variant: str | None) -> list[str]:
    """What of a whole pipeline ``load_pipeline`` reads in this variant; none if it is not whole.

    Args:
        folder: with ``model_index.json``, such as a snapshot in the Hugging Face cache.
        variant: ``"fp16"``, or None for the plain files.
    """
    if not _is_whole(folder, variant):
        return []
    parts = _parts(folder)
    files = sorted(file.relative_to(folder).as_posix() for file in folder.glob("*/*"))
    return [INDEX, *(file for file in files if _is_wanted(file, parts, variant))]


def _hub_folder(half: bool, repo: str, revision: str | None = None) -> tuple[Path, str | None]:
    variants = ("fp16", None) if half else (None,)

    def here() -> Path | None:
        folder = cached(repo, revision, [INDEX])
        return folder if folder and any(_is_whole(folder, v) for v in variants) else None

    def fetch(remote: Remote) -> Path:
        if INDEX not in remote.sizes:
            raise _no_index(repo)
        folder = download(remote, [INDEX])
        _check_index(repo, folder)  # before gigabytes of another kind are fetched
        parts = _parts(folder)
        for variant in variants:
            files = [f for f in remote.sizes if _is_wanted(f, parts, variant)]
            with_weights = {f.split("/")[0] for f in files if f.endswith(".safetensors")}
            if with_weights == set(parts):
                return download(remote, [INDEX, *files])
        missing = ", ".join(sorted(set(parts) - with_weights))
        raise CheckpointError(
            f"{repo} has no safetensors for its {missing}, and other weight files can run code "
            "when they are opened; choose a repository that has them."
        )

    folder = find(repo, revision, here, fetch)
    return folder, next(variant for variant in variants if _is_whole(folder, variant))


def _parts(folder: Path) -> list[str]:
    """The parts that have weights, beside the text encoder."""
    checker = read_json(folder.name, folder / INDEX).get("safety_checker") or ()
    return [*PARTS, *(["safety_checker"] if any(checker) else [])]


def _is_wanted(file: str, parts: Sequence[str], variant: str | None) -> bool:
    """Whether the pipeline needs this file: a configuration, or weights in this variant."""
    part, _, name = file.partition("/")
    if part in ("scheduler", "feature_extractor"):
        return name in ("scheduler_config.json", "preprocessor_config.json")
    if part not in parts:
        return False
    half = rf"\.{variant}" if variant else ""
    stem = "model" if part == "safety_checker" else "diffusion_pytorch_model"
    weights = rf"{stem}{half}(-\d+-of-\d+)?\.safetensors|{stem}\.safetensors\.index{half}\.json"
    return name == "config.json" or bool(re.fullmatch(weights, name))


def _is_whole(folder: Path, variant: str | None) -> bool:
    """Whether a snapshot holds every part in this variant, and all of their shards.

    ``download`` fetches the weights last, so where they are the small files are, too.
    """
    try:
        parts = _parts(folder)
        shards = {part: check_weights("", folder / part) for part in parts}
    except CheckpointError:
        return False
    return all(
        any(
            _is_wanted(f"{part}/{f.name}", parts, variant)
            for f in (folder / part).glob("*.safetensors")
        )
        and all((folder / part / shard).is_file() for shard in shards[part])
        for part in parts
    )


def _no_index(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name}: no {INDEX} there, so no whole Stable Diffusion to draw pictures with; pass "
        "load_clip a folder or Hub id that holds one."
    )


def _check_index(name: str, folder: Path) -> None:
    if not (folder / INDEX).is_file():
        raise _no_index(name)
    kind = read_json(name, folder / INDEX).get("_class_name")
    if kind != "StableDiffusionPipeline":
        raise CheckpointError(
            f"{name}: this is a {kind}; only StableDiffusionPipeline, which Stable Diffusion 1 "
            "and 2 are, reads one text encoder's rows."
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
            f"or unexpected, such as {str(wrong[0])!r}; loading on would mean random numbers."
        )
    check_finite(name, f"the weights of its {part}", model)
    return model


def _unreadable(name: str, what: str, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [""])[0][:120]
    return CheckpointError(
        f"{name}: {what} cannot be loaded ({type(error).__name__}: {reason}); a file may be "
        "missing, cut short or not in safetensors."
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
