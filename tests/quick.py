"""A pipeline that draws at once, for runs of notebooks in which nothing hangs on the pictures.

What the pictures show is compared where the notebooks run as they are.
"""

from __future__ import annotations

from typing import Any


def quick_pipeline(clip: Any) -> Any:
    """The shipped pipeline with a small untrained U-Net."""
    import torch
    from diffusers import UNet2DConditionModel

    from helpers.diffusion import load_pipeline

    pipe = load_pipeline(clip)
    small = {"block_out_channels": (16, 16, 16), "norm_num_groups": 8, "attention_head_dim": 2}
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config({**pipe.unet.config, **small})
    pipe.register_modules(unet=unet.eval().requires_grad_(False))
    return pipe


def few_steps(*arguments: Any, num_inference_steps: int = 5, **settings: Any) -> Any:
    """``paint`` in five steps, where it is not told how many."""
    from helpers.diffusion import paint

    return paint(*arguments, num_inference_steps=num_inference_steps, **settings)
