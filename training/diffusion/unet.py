"""Train the U-Net of the tiny Stable Diffusion on the CLIP's 77 rows. Resumable; CPU or GPU.

python -m training.diffusion.unet --minutes 80    # after training.diffusion.vae; writes unet.pt and
                                                  # unet_log.jsonl in training/build, now and then a sheet
python -m training.diffusion.unet --minutes 160   # run again: goes on, here for as long again
python -m training.diffusion.unet --export        # writes the shipped files from the checkpoint
"""

from __future__ import annotations

import argparse
import hashlib
import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm import tqdm

from training import BUILD
from training.artwork import load
from training.clip.model import SHIPPED as CLIP
from training.diffusion.model import (
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
from training.diffusion.world import World
from training.drawing import as_image, as_levels, sheet
from training.loop import Trainer, command_line, save
from training.loop import load as load_checkpoint
from training.measuring import coarse, digest, write

EMPTY = (
    0.1  # share of the batch that is told nothing, so that there is something to guide away from
)
LOUD = 6.0  # how much larger the text starts in cross-attention than diffusers' default makes it
# How slowly the averaged weights, which are shipped, follow. EMAModel lets them follow faster at the
# beginning: by its (1 + n) / (10 + n), a copy at first.
AVERAGE = 0.999
SHOWN = 64  # pictures on a sheet


def trained_vae(world: World, folder: Path = BUILD) -> tuple[AutoencoderKL, list[dict]]:
    """The last checkpoint's autoencoder, its latents standardised, frozen, on the CPU; and its log."""
    state = load_checkpoint("vae", "training.diffusion.vae", folder)
    vae = new_vae().eval().requires_grad_(False)
    vae.load_state_dict(state["model"])
    standardise(vae, world.draw(world.some_on_grounds))
    return vae, state["log"]


class Bank:
    """Latents of every scene and text rows of every caption, computed once."""

    def __init__(self, world: World, vae: AutoencoderKL, device: str, path: Path) -> None:
        listed = world.captions(torch.Generator().manual_seed(0))
        key = hashlib.sha256((digest(CLIP / "model.safetensors") + repr(listed)).encode())
        for value in vae.state_dict().values():
            key.update(value.numpy().tobytes())
        stored = torch.load(path) if path.exists() else {}
        if stored.get("key") != key.hexdigest():
            stored = {"key": key.hexdigest(), **self.compute(world, vae, listed, device)}
            save(stored, path)
        self.latents, self.rows, self.empty = (
            stored[name].to(device) for name in ("latents", "rows", "empty")
        )
        self.scene_of, self.weights = stored["scene_of"], stored["weights"]

    @staticmethod
    @torch.no_grad()
    def compute(world: World, vae: AutoencoderKL, listed: list, device: str) -> dict:
        """What is stored."""
        scenes = list(dict.fromkeys(caption.scene for caption in listed))
        number = {scene: i for i, scene in enumerate(scenes)}
        vae.to(device)
        latents = [
            vae.encode(world.draw(scenes[i : i + 128]).to(device)).latent_dist.mean.cpu()
            for i in tqdm(range(0, len(scenes), 128), desc="latents", disable=None)
        ]
        vae.cpu()
        model, tokenizer = clip_text()
        model = model.to(device)
        texts = [caption.text for caption in listed]
        rows = [
            text_rows(texts[i : i + 256], model, tokenizer)
            for i in tqdm(range(0, len(texts), 256), desc="text", disable=None)
        ]
        return {
            "latents": torch.cat(latents),
            "rows": torch.cat(rows),
            "empty": text_rows([""], model, tokenizer),
            "scene_of": torch.tensor([number[caption.scene] for caption in listed]),
            "weights": torch.tensor([caption.weight for caption in listed]),
        }

    def batch(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (n, 16, 8, 8) and text rows (n, 77, 128), a tenth of them the empty prompt's."""
        chosen = torch.multinomial(self.weights, n, replacement=True)
        rows = self.rows[chosen].float()
        rows[: round(EMPTY * n)] = self.empty.float()
        return self.latents[self.scene_of[chosen]], rows


@torch.no_grad()
def fit_to_text(model: nn.Module, rows: torch.Tensor) -> None:
    """Start the keys and values of cross-attention from whitened text rows, and loud.

    Rows of different prompts share most of what they hold; turned so that what differs is as large
    as what does not, and as loud as the noise is to the convolutions, they are told apart from the
    first step. In a small trial this was learned faster than from diffusers' own start.
    """
    sample = rows[torch.randperm(len(rows))[:1000]].float().reshape(-1, rows.shape[-1])
    values, vectors = torch.linalg.eigh(torch.cov(sample.T))
    whiten = vectors @ torch.diag((values + 0.03 * values.max()).rsqrt()) @ vectors.T
    whiten = whiten / whiten.norm() * math.sqrt(len(whiten)) * LOUD
    for name, parameter in model.named_parameters():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            parameter.copy_(parameter @ whiten.to(parameter))


class UNetTrainer(Trainer):
    """Squared error of v, the running average of the weights, and sheets of samples."""

    name = "unet"

    def __init__(self, arguments: argparse.Namespace, data: dict, folder: Path = BUILD) -> None:
        super().__init__(arguments, folder)
        self.world = World(data)
        self.vae, _ = trained_vae(self.world, folder)
        self.bank = Bank(self.world, self.vae, self.device, folder / "diffusion_bank.pt")
        self.model = new_unet().to(self.device)
        fit_to_text(self.model, self.bank.rows)
        self.average = EMAModel(self.model.parameters(), decay=AVERAGE, foreach=True)
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam, self.dtype)
        self.kept = {"average": self.average}
        self.scheduler = new_scheduler()
        self.last_sheet = 0.0

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The log tells four losses, from little noise to much: a quarter of the range each."""
        latents, rows = self.bank.batch(self.arguments.batch)
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
        return {"right_by_pixels": self.sheet()}

    @torch.no_grad()
    def sheet(self) -> str:
        """Draw 64 of the world with the averaged weights: a picture, and how many are recognisable."""
        names, concepts = self.world.names, self.world.concepts
        shown = range(len(names))[:: max(1, len(names) // SHOWN)][:SHOWN]
        pipe = assemble(self.vae, averaged(self.average)).to(self.device)
        with self.autocast():
            pictures = pipe(
                [names[i] for i in shown],
                num_inference_steps=20,
                guidance_scale=self.arguments.guidance,
                generator=[torch.Generator().manual_seed(concepts[i]) for i in shown],
                output_type="pt",
            ).images
        pixels = pictures.float().cpu() * 2 - 1
        known = self.world.draw(self.world.scenes)
        nearest = torch.cdist(coarse(pixels), coarse(known)).argmin(1)
        images = [as_image(picture) for picture in as_levels(pixels)]
        sheet(images, 16).save(self.folder / f"unet_{self.seconds / 60:05.1f}.png")
        return f"{int((nearest == torch.tensor(shown)).sum())} of {len(shown)}"


def averaged(average: EMAModel) -> nn.Module:
    """A U-Net of the averaged weights, to be used."""
    unet = new_unet().eval().requires_grad_(False)
    average.copy_to(unet.parameters())
    return unet


def export_checkpoint(data: dict, target: Path, folder: Path = BUILD) -> None:
    """Write the files of a pipeline from the last checkpoints, and their curves to ``results.json``."""
    state = load_checkpoint("unet", "training.diffusion.unet", folder)
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
