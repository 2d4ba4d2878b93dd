"""Train the U-Net of the tiny Stable Diffusion on the CLIP's 77 rows. Resumable; CPU or GPU.

python -m training.diffusion.unet --minutes 80    # after training.diffusion.vae; writes unet.pt and
                                                  # unet_log.jsonl in training/build/diffusion, now and then a sheet
python -m training.diffusion.unet --minutes 160   # run again: goes on, here for as long again
python -m training.diffusion.unet --export        # writes the shipped files from the checkpoint
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm
from transformers import CLIPTokenizer

from training.artwork import load
from training.diffusion import AUTOENCODER, BUILD
from training.diffusion.model import (
    SHIPPED,
    assemble,
    clip_text,
    export,
    new_scheduler,
    new_unet,
    new_vae,
    optimisers,
    rows_of,
    standardise,
    text_ids,
    text_rows,
)
from training.diffusion.world import World
from training.drawing import COLOURS, SIZE, as_image, as_levels, sheet
from training.loop import Trainer, command_line, save
from training.loop import load as load_checkpoint
from training.measuring import write

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
        state = load_checkpoint("vae", "training.diffusion.vae", folder)
    else:
        state = {"model": load_file(AUTOENCODER)}
    vae = new_vae().eval().requires_grad_(False)
    vae.load_state_dict(state["model"])
    # the drawings alone: other captions must not move the latents under a half-trained U-Net
    scenes = list(world.plain_scenes())[::3]
    scenes[::3] = [s._replace(colour=i % len(COLOURS)) for i, s in enumerate(scenes[::3])]
    standardise(vae, world.draw(scenes))
    return vae, state.get("log", [])


class Told(NamedTuple):
    """A batch of n captions, and what is to be drawn for them."""

    input_ids: torch.Tensor  # (n, 77) long; the last tenth are those of the empty prompt
    number: torch.Tensor  # (n,) long, which plain drawing; where it is none, 0
    composed: torch.Tensor  # (k,) long, which of the n are not plain drawings
    pixels: torch.Tensor  # (k, 3, 64, 64) of these


class Captions(IterableDataset):
    """Batches without end, made up by other processes where the GPU would wait for them."""

    def __init__(self, world: World, tokenizer: CLIPTokenizer, n: int, seed: int) -> None:
        self.world, self.tokenizer, self.n, self.seed = world, tokenizer, n, seed
        self.number = {scene: i for i, scene in enumerate(world.plain_scenes())}

    def __iter__(self) -> Iterator[Told]:
        worker = get_worker_info()
        dice = random.Random(f"{self.seed} {worker.id if worker else 0}")
        while True:
            yield self.tell(dice)

    def tell(self, dice: random.Random) -> Told:
        """The next batch."""
        texts, scenes = zip(*(self.world.say(dice) for _ in range(self.n)), strict=True)
        told = self.n - round(EMPTY * self.n)
        known = [self.number.get(scene) for scene in scenes]
        composed = [i for i, number in enumerate(known) if number is None]
        pixels = self.world.draw([scenes[i] for i in composed]) if composed else None
        return Told(
            text_ids([*texts[:told], *[""] * (self.n - told)], self.tokenizer),
            torch.tensor([number or 0 for number in known]),
            torch.tensor(composed, dtype=torch.long),
            torch.empty(0, 3, SIZE, SIZE) if pixels is None else pixels,
        )


def not_interrupted(worker: int) -> None:
    """Ctrl-C is for the training, which finishes its step and saves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Examples:
    """Batches of latents and text rows. Plain drawings are encoded once; what is composed, when it comes up."""

    def __init__(self, world: World, vae: AutoencoderKL, device: str, path: Path, n: int) -> None:
        self.world, self.vae, self.device, self.n = world, vae.to(device), device, n
        self.text_encoder, self.tokenizer = clip_text()
        self.text_encoder.to(device)
        scenes = list(world.plain_scenes())
        key = hashlib.sha256(repr(scenes).encode())
        for value in vae.state_dict().values():
            key.update(value.cpu().numpy().tobytes())
        stored = torch.load(path) if path.exists() else {}
        if stored.get("key") != key.hexdigest():
            parts = tqdm(range(0, len(scenes), 128), desc="latents", disable=None)
            drawn = (world.draw(scenes[i : i + 128]).to(device) for i in parts)
            latents = torch.cat([self.encode(pixels).cpu() for pixels in drawn])
            stored = {"key": key.hexdigest(), "latents": latents}
            save(stored, path)
        self.latents = stored["latents"].to(device)

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 4, 16, 16)"""
        return self.vae.encode(pixels).latent_dist.mean

    def begin(self, seed: int) -> None:
        """Other captions from here on, the same for the same seed and number of processes."""
        fast = self.device == "cuda"
        workers = max(1, (os.cpu_count() or 2) - 1) if fast else 0
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or each of them says so itself
        captions = Captions(self.world, self.tokenizer, self.n, seed)
        self.told = iter(
            DataLoader(
                captions,
                batch_size=None,
                num_workers=workers,
                pin_memory=fast,
                worker_init_fn=not_interrupted,
            )
        )

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (n, 4, 16, 16) and text rows (n, 77, 128), a tenth of them the empty prompt's."""
        told = Told(*(part.to(self.device, non_blocking=True) for part in next(self.told)))
        latents = self.latents[told.number]
        if len(told.composed):
            latents[told.composed] = self.encode(told.pixels)
        return latents, rows_of(told.input_ids, self.text_encoder).float()


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
        self.examples = Examples(
            self.world, self.vae, self.device, folder / "latents.pt", arguments.batch
        )
        self.model = new_unet()
        dice = random.Random(0)
        said = [self.world.say(dice)[0] for _ in range(1000)]
        fit_to_text(
            self.model, text_rows(said, self.examples.text_encoder, self.examples.tokenizer).float()
        )
        self.model.to(self.device)
        if self.device == "cuda":
            self.model.to(memory_format=torch.channels_last).compile()
        self.average = EMAModel(self.model.parameters(), decay=AVERAGE, foreach=True)
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam, self.dtype)
        self.kept = {"average": self.average}
        self.scheduler = new_scheduler()
        self.last_sheet = 0.0

    def resume(self) -> None:
        """And other captions than before."""
        super().resume()
        self.examples.begin(self.arguments.seed + self.step)

    def autocast(self) -> torch.autocast:
        """bfloat16 on a GPU; on the CPU it was tried on, the backward pass took 2.6 times as long with it."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The log tells four losses, from little noise to much: a quarter of the range each."""
        latents, rows = self.examples.batch()
        n = len(latents)
        # one time step from each n-th of the range: the loss of a batch varies less
        order = torch.randperm(n, device=self.device)
        share = (order + torch.rand(n, device=self.device)) / n
        steps = (share * self.scheduler.config.num_train_timesteps).long()
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
            with self.autocast():
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
