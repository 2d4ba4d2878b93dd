"""The shape of the tiny Stable Diffusion, how its parts fit together, and how they are written to disk.

Stock diffusers classes throughout: ``AutoencoderKL``, ``UNet2DConditionModel``, ``DDIMScheduler``. The
text encoder and the tokenizer are the shipped CLIP's and are not copied: whoever loads the folder
hands them over (:func:`load`), as ``StableDiffusionPipeline.from_pretrained`` provides for.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging

from training.clip.model import SHIPPED as CLIP
from training.clip.model import write_json
from training.drawing import SIZE
from training.muon import Muon
from training.sums import sums

SHIPPED = CLIP.parent / "emoji-diffusion"
LATENTS, CHANNELS = 16, 4


def new_vae() -> AutoencoderKL:
    """64 x 64 x 3 pixels <-> 16 x 16 x 4 latents: 4 channels like Stable Diffusion's, and a small thing still has 8 x 8."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 96),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,  # vae.py makes every latent channel's deviation 1
    )


def new_unet() -> UNet2DConditionModel:
    """16 x 16, 8 x 8 and 4 x 4, cross-attention to the 77 text rows in every block."""
    return UNet2DConditionModel(
        sample_size=LATENTS,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(64, 128, 256),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,  # diffusers means the number of heads
        norm_num_groups=16,
        use_linear_projection=True,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's betas, ending in pure noise (Lin et al., 2023), so the model predicts v."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # without effect on "trailing"; the pipeline warns of any other value
    )


def there_and_back(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Pixels through the latents' means: as good as a generated picture can get."""
    return torch.cat([vae.decode(vae.encode(p).latent_dist.mean).sample for p in pixels.split(64)])


@torch.no_grad()
def standardise(vae: AutoencoderKL, pixels: torch.Tensor) -> None:
    """Give every latent channel mean 0 and deviation 1 over these pictures, changing no picture.

    The scale and the shift go into the two 1 x 1 convolutions on either side of the latents.
    """
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(256)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:CHANNELS] /= deviation[:, None, None, None]
    before.bias[:CHANNELS] = (before.bias[:CHANNELS] - mean) / deviation
    before.bias[CHANNELS:] -= 2 * deviation.log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation[None, :, None, None]


@contextlib.contextmanager
def _quiet():
    """Without the list of the image tower's keys, which a text model does not need."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def clip_text(folder: Path = CLIP) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The shipped CLIP's text model in float32, every key of it filled, and its tokenizer."""
    with _quiet():
        model, report = CLIPTextModel.from_pretrained(folder, output_loading_info=True)
    foreign = [
        key
        for key in report["unexpected_keys"]
        if not key.startswith(("vision_model.", "visual_projection.", "text_projection."))
        and key != "logit_scale"
    ]
    if report["missing_keys"] or report["mismatched_keys"] or foreign:
        raise ValueError(f"The CLIP in {folder.name} does not fit: {report}.")
    return model.float().eval(), CLIPTokenizer.from_pretrained(folder)


def text_ids(texts: list[str], tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Padded to 77, (n, 77) long."""
    how = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}
    return tokenizer(texts, **how)["input_ids"]


@torch.no_grad()
def rows_of(input_ids: torch.Tensor, model: CLIPTextModel) -> torch.Tensor:
    """What the U-Net is told: ``last_hidden_state``, no mask. (n, 77, 128) float16, where the ids are."""
    return model(input_ids=input_ids).last_hidden_state.half()


def text_rows(
    texts: list[str], model: CLIPTextModel, tokenizer: CLIPTokenizer, batch: int = 256
) -> torch.Tensor:
    """The rows of many texts, on the CPU. (n, 77, 128) float16."""
    parts = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    ids = (text_ids(part, tokenizer).to(model.device) for part in parts)
    return torch.cat([rows_of(part, model).cpu() for part in ids])


def assemble(vae: AutoencoderKL, unet: UNet2DConditionModel) -> StableDiffusionPipeline:
    """The whole pipeline, from parts in memory and the shipped CLIP."""
    text_encoder, tokenizer = clip_text()
    pipe = StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        scheduler=new_scheduler(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load(folder: Path = SHIPPED) -> StableDiffusionPipeline:
    """The exported pipeline in float32, with the shipped CLIP's text side, offline."""
    text_encoder, tokenizer = clip_text()
    pipe = StableDiffusionPipeline.from_pretrained(
        folder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        local_files_only=True,
        use_safetensors=True,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def export(vae: AutoencoderKL, unet: UNet2DConditionModel, folder: Path = SHIPPED) -> None:
    """Write ``model_index.json``, ``vae/``, ``unet/`` and ``scheduler/``, weights in float16, and their hashes.

    diffusers writes the configurations; what names this machine is taken out of them.
    """
    pipe = assemble(vae, unet)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("text_encoder", "tokenizer"):  # written as null: to be handed over
            pipe.register_modules(**{name: None})
        pipe.save_pretrained(scratch, safe_serialization=True)
        for part in ("model_index.json", "vae", "unet", "scheduler"):
            source = Path(scratch) / part
            for file in [source] if source.is_file() else sorted(source.glob("*.json")):
                settings = json.loads(file.read_text(encoding="utf-8"))
                settings.pop("_name_or_path", None)
                target = folder / file.relative_to(scratch)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_json(settings, target)
    for name, model in (("vae", vae), ("unet", unet)):
        state = {k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()}
        file = folder / name / "diffusion_pytorch_model.safetensors"
        save_file(state, file, metadata={"format": "pt"})
        file.chmod(0o644)
    sums(folder)


def optimisers(
    model: nn.Module, matrices: float, rest: float, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    """Muon for what lies inside the blocks, AdamW for the first and last layer, norms and biases.

    ``matrices`` and ``rest`` are their highest learning rates.
    """
    inner, outer = [], []
    for name, parameter in model.named_parameters():
        ends = any(part in name for part in ("conv_in", "conv_out", "quant_conv", "time_embedding"))
        (outer if parameter.ndim < 2 or ends else inner).append(parameter)
    return [
        # one Newton-Schulz step less than usual, because they are a third of a step's work here
        Muon(inner, matrices, steps=4, dtype=dtype),
        torch.optim.AdamW(outer, lr=rest, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ]
