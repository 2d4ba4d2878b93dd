"""Train the picture side of the tiny Stable Diffusion: an ``AutoencoderKL``. Resumable; CPU or GPU.

python -m training.diffusion.vae --minutes 15   # writes vae.pt, vae_log.jsonl and vae.png in training/build/diffusion
python -m training.diffusion.vae --minutes 15   # run again: goes on where it was cut off
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch

from training.artwork import load
from training.diffusion import BUILD
from training.diffusion.model import new_vae, optimisers, there_and_back
from training.diffusion.world import World
from training.drawing import (
    PALETTE,
    SIZE,
    WHITE,
    as_image,
    as_levels,
    on_ground,
    premultiplied,
    sheet,
    shrunk,
)
from training.loop import Trainer, command_line

EDGES, KL = 0.5, 3e-3  # weights beside the mean absolute error, all per number


class Drawings:
    """Batches of taught drawings on coloured grounds, now and then small and somewhere else."""

    def __init__(self, world: World) -> None:
        self.pictures = world.pictures
        self.rows = torch.tensor(world.taught_rows)

    def batch(self, n: int) -> torch.Tensor:
        """Pixels, (n, 3, 64, 64)."""
        drawing = premultiplied(self.pictures[self.rows[torch.randint(len(self.rows), (n,))]])
        for i in (torch.rand(n) < 0.15).nonzero().squeeze(1).tolist():
            side = int(torch.randint(28, 56, (1,)))
            left, top = (int(x) for x in torch.randint(0, SIZE - side + 1, (2,)))
            drawing[i] = shrunk(drawing[i], side, top, left)
        ground = PALETTE[WHITE].repeat(n, 1)
        kind = torch.rand(n)
        named, free = (kind > 0.6) & (kind < 0.9), kind >= 0.9
        ground[named] = PALETTE[torch.randint(len(PALETTE), (int(named.sum()),))]
        ground[free] = torch.rand(int(free.sum()), 3)
        return on_ground(drawing, ground)


def edges(difference: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the neighbours' differences: what makes a line sharp."""
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


class VaeTrainer(Trainer):
    """Pictures through the latents and back."""

    name = "vae"
    fall = 0.5

    def __init__(self, arguments: argparse.Namespace, data: dict, folder: Path = BUILD) -> None:
        super().__init__(arguments, folder)
        self.world = World(data)
        self.drawings = Drawings(self.world)
        self.model = new_vae().to(self.device)
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam, self.dtype)

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Mean absolute error, that of edges, and a little of the latents' distance from plain noise."""
        pixels = self.drawings.batch(self.arguments.batch).to(self.device)
        with self.autocast():
            posterior = self.model.encode(pixels).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            deviation = (0.5 * logvar).exp()
            latents = mean + torch.randn_like(mean) * deviation
            difference = self.model.decode(latents).sample.float() - pixels
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        parts = {"l1": difference.abs().mean(), "edges": EDGES * edges(difference), "kl": KL * kl}
        return sum(parts.values()), {**parts, "posterior_deviation": deviation.mean()}

    @torch.no_grad()
    def measure(self, last: bool) -> dict[str, float]:
        """Mean absolute error, in grey levels of 255, on drawings of the world on white.

        At the end also ``vae.png``: drawings, and beside each what comes back.
        """
        plain = list(self.world.plain_scenes())
        pixels = self.world.draw(plain[::64]).to(self.device)
        self.model.eval()
        difference = there_and_back(self.model, pixels) - pixels
        if last:
            dice = random.Random(0)
            shown = [self.world.say(dice)[1] for _ in range(64)]
            pixels = self.world.draw(shown).to(self.device)
            both = torch.stack([pixels, there_and_back(self.model, pixels)], 1).flatten(0, 1)
            sheet([as_image(p) for p in as_levels(both)], 16).save(self.folder / "vae.png")
        self.model.train()
        return {"grey_levels": round(difference.abs().mean().item() * 127.5, 2)}


def main() -> None:
    """Command line."""
    options = command_line(__doc__, minutes=15.0, muon=3e-3, adam=2e-3)
    options.number("--batch", 16, "pictures in a batch")
    arguments = options.parse_args()
    VaeTrainer(arguments, load()).run()


if __name__ == "__main__":
    main()
