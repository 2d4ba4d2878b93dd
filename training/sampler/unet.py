"""Train the U-Net of the tiny Stable Diffusion on the CLIP's 77 rows. Resumable; CPU or GPU.

python -m training.sampler.unet --minutes 80    # after training.sampler.vae; writes unet.pt and
                                                  # unet_log.jsonl in training/build/sampler, now and then a sheet
python -m training.sampler.unet --minutes 160   # run again: goes on, here for as long again
python -m training.sampler.unet --export        # writes the shipped files from the checkpoint
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from training.artwork import load
from training.drawing import COLOURS, as_image, as_levels, sheet
from training.loop import Trainer, command_line, save
from training.loop import load as load_checkpoint
from training.measuring import write
from training.sampler import AUTOENCODER, BUILD
from training.sampler.model import (
    SHIPPED,
    assemble,
    clip_text,
    export,
    new_scheduler,
    new_unet,
    new_vae,
    optimisers,
    standardise,
    text_rows,
)
from training.sampler.world import Scene, World

EMPTY = (
    0.1  # share of the batch that is told nothing, so that there is something to guide away from
)
LOUD = 6.0  # how much larger the text starts in cross-attention than diffusers' default makes it
# How slowly the averaged weights, which are shipped, follow. EMAModel lets them follow faster at the
# beginning: by its (1 + n) / (10 + n), a copy at first.
AVERAGE = 0.999
STEPS = 20  # of a sheet's pictures
SHOWN = (  # on a sheet of samples
    "an animal", "a fox", "a flat fox", "food", "a pizza", "a glossy rocket", "a vehicle", "a person at work",
    "a detailed house", "a smiling face", "a red heart", "a cat and a rocket", "a frog on a purple background",
    "a flower", "a small snail on the left",
)  # fmt: skip


def trained_vae(world: World, folder: Path = BUILD) -> tuple[AutoencoderKL, list[dict]]:
    """The last checkpoint's autoencoder, its latents standardised, frozen, on the CPU; and its log.

    Without a checkpoint it is the one that is kept beside this file: 40 minutes on two CPU cores.
    """
    if (folder / "vae.pt").exists() or not AUTOENCODER.exists():
        state = load_checkpoint("vae", "training.sampler.vae", folder)
    else:
        state = {"model": load_file(AUTOENCODER)}
    vae = new_vae().eval().requires_grad_(False)
    vae.load_state_dict(state["model"])
    # the drawings alone: other captions must not move the latents under a half-trained U-Net
    scenes = list(world.plain_scenes())[::3]
    scenes[::3] = [s._replace(colour=i % len(COLOURS)) for i, s in enumerate(scenes[::3])]
    standardise(vae, world.draw(scenes))
    return vae, state.get("log", [])


class Examples:
    """Batches of latents and text rows. Plain drawings are encoded once; what is composed, when it comes up."""

    def __init__(self, world: World, vae: AutoencoderKL, device: str, path: Path) -> None:
        self.world, self.vae, self.device = world, vae.to(device), device
        self.text_encoder, self.tokenizer = clip_text()
        self.text_encoder.to(device)
        self.empty = self.rows([""])
        scenes = list(world.plain_scenes())
        self.number = {scene: i for i, scene in enumerate(scenes)}
        key = hashlib.sha256(repr(scenes).encode())
        for value in vae.state_dict().values():
            key.update(value.cpu().numpy().tobytes())
        stored = torch.load(path) if path.exists() else {}
        if stored.get("key") != key.hexdigest():
            parts = tqdm(range(0, len(scenes), 128), desc="latents", disable=None)
            latents = torch.cat([self.encode(scenes[i : i + 128]).cpu() for i in parts])
            stored = {"key": key.hexdigest(), "latents": latents}
            save(stored, path)
        self.latents = stored["latents"].to(device)

    @torch.no_grad()
    def encode(self, scenes: list[Scene]) -> torch.Tensor:
        """(n, 4, 16, 16)"""
        return self.vae.encode(self.world.draw(scenes).to(self.device)).latent_dist.mean

    def rows(self, texts: list[str]) -> torch.Tensor:
        """(n, 77, 128)"""
        return text_rows(texts, self.text_encoder, self.tokenizer).float().to(self.device)

    def batch(self, n: int, dice: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (n, 4, 16, 16) and text rows (n, 77, 128), a tenth of them the empty prompt's."""
        texts, scenes = zip(*(self.world.say(dice) for _ in range(n)), strict=True)
        known = [self.number.get(scene) for scene in scenes]
        composed = [i for i, number in enumerate(known) if number is None]
        latents = self.latents[[number or 0 for number in known]]
        if composed:
            latents[composed] = self.encode([scenes[i] for i in composed])
        told = n - round(EMPTY * n)
        rows = torch.cat([self.rows(list(texts[:told])), self.empty.expand(n - told, -1, -1)])
        return latents, rows


@torch.no_grad()
def fit_to_text(model: nn.Module, rows: torch.Tensor) -> None:
    """Start the keys and values of cross-attention from whitened text rows, and loud.

    Rows of different prompts share most of what they hold; turned so that what differs is as large
    as what does not, and as loud as the noise is to the convolutions, they are told apart from the
    first step. In a small trial this was learned faster than from diffusers' own start.
    """
    sample = rows.reshape(-1, rows.shape[-1])
    values, vectors = torch.linalg.eigh(torch.cov(sample.T))
    whiten = vectors @ torch.diag((values + 0.03 * values.max()).rsqrt()) @ vectors.T
    whiten = whiten / whiten.norm() * math.sqrt(len(whiten)) * LOUD
    for name, parameter in model.named_parameters():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            parameter.copy_(parameter @ whiten.to(parameter))


class UNetTrainer(Trainer):
    """Squared error of v, the running average of the weights, and sheets of samples."""

    name = "unet"
    # a long fall: every hour of a training over several sittings is worth the more, the lower the rate
    fall = 0.6

    def __init__(self, arguments: argparse.Namespace, data: dict, folder: Path = BUILD) -> None:
        super().__init__(arguments, folder)
        self.world = World(data)
        self.vae, _ = trained_vae(self.world, folder)
        self.examples = Examples(self.world, self.vae, self.device, folder / "latents.pt")
        self.model = new_unet().to(self.device)
        dice = random.Random(0)
        fit_to_text(self.model, self.examples.rows([self.world.say(dice)[0] for _ in range(1000)]))
        self.average = EMAModel(self.model.parameters(), decay=AVERAGE, foreach=True)
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam, self.dtype)
        self.kept = {"average": self.average}
        self.scheduler = new_scheduler()
        self.last_sheet = 0.0

    def autocast(self) -> torch.autocast:
        """bfloat16 on a GPU; on the CPU it was tried on, the backward pass took 2.6 times as long with it."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The log tells four losses, from little noise to much: a quarter of the range each."""
        latents, rows = self.examples.batch(self.arguments.batch, random)
        n = len(latents)
        # one time step from each n-th of the range: the loss of a batch varies less
        order = torch.randperm(n)
        steps = (order + torch.rand(n)) / n * self.scheduler.config.num_train_timesteps
        steps = steps.long().to(self.device)
        noise = torch.randn_like(latents)
        with self.autocast():
            noisy = self.scheduler.add_noise(latents, noise, steps)
            guess = self.model(noisy, steps, rows).sample
        target = self.scheduler.get_velocity(latents, noise, steps)
        losses = ((guess.float() - target) ** 2).mean((1, 2, 3))
        quarters = losses.detach()[order.argsort()].tensor_split(4)
        return losses.mean(), {"loss": torch.stack([quarter.mean() for quarter in quarters])}

    def after_step(self) -> None:
        self.average.step(self.model.parameters())

    def measure(self, last: bool) -> dict[str, str]:
        """Now and then, and at the end: a sheet."""
        if not last and self.seconds - self.last_sheet < self.arguments.sheet:
            return {}
        self.last_sheet = self.seconds
        return {"sheet": self.sheet()}

    @torch.no_grad()
    def sheet(self) -> str:
        """Open prompts, names, styles, pairs: eight seeds each, with the averaged weights."""
        pipe = assemble(self.vae, averaged(self.average)).to(self.device)
        images = []
        for text in SHOWN:
            pictures = pipe(
                [text] * 8,
                num_inference_steps=STEPS,
                guidance_scale=self.arguments.guidance,
                generator=[torch.Generator().manual_seed(i) for i in range(8)],
                output_type="pt",
            ).images
            images += [as_image(picture) for picture in as_levels(pictures * 2 - 1)]
        name = f"unet_{self.seconds / 60:05.1f}.png"
        sheet(images, 24).save(self.folder / name)
        return name


def averaged(average: EMAModel) -> nn.Module:
    """A U-Net of the averaged weights, to be used."""
    unet = new_unet().eval().requires_grad_(False)
    average.copy_to(unet.parameters())
    return unet


def export_checkpoint(data: dict, target: Path, folder: Path = BUILD) -> None:
    """Write the files of a pipeline from the last checkpoints, and their curves to ``results.json``."""
    state = load_checkpoint("unet", "training.sampler.unet", folder)
    average = EMAModel([])
    average.load_state_dict(state["average"])
    vae, log = trained_vae(World(data), folder)
    export(vae, averaged(average), target)
    write(target, {"curve": {"autoencoder": log, "U-Net": state["log"]}})
    print(f"step {state['step']}, {state['seconds'] / 60:.0f} minutes -> {target}")


def main() -> None:
    """Command line."""
    options = command_line(__doc__, minutes=80.0, muon=3e-3, adam=1e-3)
    options.number("--batch", 64, "pictures in a batch")
    options.number("--sheet", 600.0, "seconds between sample sheets")
    options.number("--guidance", 3.0, "guidance scale of the sheets")
    options.export(SHIPPED)
    arguments = options.parse_args()
    if arguments.export:
        export_checkpoint(load(), arguments.export)
    else:
        UNetTrainer(arguments, load()).run()


if __name__ == "__main__":
    main()
