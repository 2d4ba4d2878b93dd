"""Train the picture side of the tiny Stable Diffusion: an ``AutoencoderKL``. Resumable; CPU or GPU.

python vae.py --minutes 15      # writes build/vae.pt, build/vae_log.jsonl and build/vae.png
python vae.py --minutes 15      # run again: goes on where it was cut off
"""

from __future__ import annotations

import argparse
import json
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from tqdm import tqdm

from training.artwork.build import OUTPUT, SIZE, TRAIN_STYLES
from training.clip.data import COLOURS
from training.diffusion.kernels import fast_dtype, optimisers, rate, since
from training.diffusion.model import CHANNELS, new_vae, parameters
from training.diffusion.world import ARTIST, Scene, draw, members, rows

BUILD = OUTPUT.parent
CHECKPOINT = BUILD / "vae.pt"
OWN = 0.7  # share of the world's own drawings; the rest are all artists' that may be trained on
EDGES, KL = 0.5, 3e-3  # weights beside the mean absolute error, all per number


class Drawings:
    """Batches of drawings on coloured grounds, now and then small and somewhere else."""

    def __init__(self, data: dict) -> None:
        self.pictures = data["pictures"]
        drawing = rows(data)
        self.own = torch.tensor([drawing[c] for c in members(data)])
        trained = torch.tensor([style in TRAIN_STYLES for style in data["styles"]])
        self.all = trained[data["style"]].nonzero().squeeze(1)
        self.palette = torch.tensor([rgb for _, rgb in COLOURS]) / 255

    def batch(self, n: int) -> torch.Tensor:
        """(n, 3, 64, 64) in -1 … 1."""
        own = self.own[torch.randint(len(self.own), (n,))]
        other = self.all[torch.randint(len(self.all), (n,))]
        chosen = torch.where(torch.rand(n) < OWN, own, other)
        drawing = self.pictures[chosen].float() / 255
        drawing[:, :3] *= drawing[:, 3:]
        for i in (torch.rand(n) < 0.15).nonzero().squeeze(1).tolist():
            side = int(torch.randint(28, 56, (1,)))
            left, top = (int(x) for x in torch.randint(0, SIZE - side + 1, (2,)))
            small = F.interpolate(
                drawing[i : i + 1], size=(side, side), mode="bilinear", antialias=True
            )
            drawing[i] = 0
            drawing[i, :, top : top + side, left : left + side] = small[0]
        ground = torch.ones(n, 3)
        kind = torch.rand(n)
        named, free = (kind > 0.6) & (kind < 0.9), kind >= 0.9
        ground[named] = self.palette[torch.randint(len(self.palette), (int(named.sum()),))]
        ground[free] = torch.rand(int(free.sum()), 3)
        return (drawing[:, :3] + (1 - drawing[:, 3:]) * ground[:, :, None, None]) * 2 - 1


def edges(difference: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the neighbours' differences: what makes a line sharp."""
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return across + down


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


def trained_vae(data: dict) -> AutoencoderKL:
    """The last checkpoint's autoencoder, its latents standardised; frozen, on the CPU."""
    if not CHECKPOINT.exists():
        raise SystemExit("No autoencoder yet. Run `python vae.py` first.")
    vae = new_vae().eval().requires_grad_(False)
    vae.load_state_dict(torch.load(CHECKPOINT, map_location="cpu")["model"])
    scenes = [Scene(c, c % len(COLOURS) if c % 3 == 0 else 0) for c in members(data)]
    standardise(vae, draw(data, scenes))
    return vae


class Trainer:
    """Model, optimisers and the loop."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(arguments.seed)
        self.dtype = fast_dtype(self.device)
        self.data = torch.load(OUTPUT)
        self.drawings = Drawings(self.data)
        self.model = new_vae().to(self.device)
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam, self.dtype)
        self.step, self.seconds = 0, 0.0
        self.log = BUILD / "vae_log.jsonl"

    def loss(self) -> dict[str, torch.Tensor]:
        """One batch."""
        pixels = self.drawings.batch(self.arguments.batch).to(self.device)
        with torch.autocast(
            self.device, torch.bfloat16, enabled=self.dtype == torch.bfloat16, cache_enabled=True
        ):
            posterior = self.model.encode(pixels).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
            picture = self.model.decode(latents).sample.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        difference = picture - pixels
        self.spread = (0.5 * logvar).exp().mean().item()
        return {"l1": difference.abs().mean(), "edges": EDGES * edges(difference), "kl": KL * kl}

    @property
    def done(self) -> float:
        """How much of the time is over, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.arguments.minutes))

    def run(self) -> None:
        """Train until the minutes are used up."""
        if CHECKPOINT.exists():
            self.resume()
        elif self.log.exists():
            self.log.unlink()
        print(
            f"{parameters(self.model):,} parameters on {self.device} in {self.dtype}, from step {self.step}",
            flush=True,
        )
        last_save = last_note = self.seconds
        seen: list[dict[str, float]] = []
        bar = tqdm(total=60 * self.arguments.minutes, initial=self.seconds, unit="s", disable=None)
        while self.done < 1:
            began = time.time()
            parts = self.loss()
            sum(parts.values()).backward()
            share = rate(self.step, self.done, fall=0.5)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = group["top"] * share
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.step += 1
            seen.append({k: v.item() for k, v in parts.items()})
            spent = since(began)
            self.seconds += spent
            bar.update(spent)
            if self.step == 20 or self.seconds - last_note > self.arguments.every:
                self.note(seen)
                last_note, seen = self.seconds, []
            if self.seconds - last_save > 150:
                self.save()
                last_save = self.seconds
        bar.close()
        self.note(seen)
        self.save()
        self.picture()

    @torch.no_grad()
    def check(self) -> float:
        """Mean absolute error, in grey levels of 255, on drawings of the world on white."""
        scenes = [Scene(c) for c in members(self.data)[::8]]
        pixels = draw(self.data, scenes).to(self.device)
        self.model.eval()
        picture = self.model.decode(self.model.encode(pixels).latent_dist.mean).sample
        self.model.train()
        return (picture - pixels).abs().mean().item() * 127.5

    def note(self, seen: list[dict[str, float]]) -> None:
        """One line of the log."""
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2)}
        line["ms_a_step"] = round(1000 * self.seconds / max(1, self.step))
        line |= {
            k: round(sum(s[k] for s in seen) / len(seen), 4) for k in (seen[0] if seen else {})
        }
        line |= {
            "posterior_deviation": round(self.spread, 4),
            "grey_levels": round(self.check(), 2),
        }
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    @torch.no_grad()
    def picture(self) -> None:
        """``build/vae.png``: drawings, and below each what comes back."""
        chosen = members(self.data)
        scenes = [
            Scene(c, i % 12 if i % 3 == 2 else 0)
            for i, c in enumerate(chosen[:: len(chosen) // 63])
        ]
        pixels = draw(self.data, scenes).to(self.device)
        back = self.model.decode(self.model.encode(pixels).latent_dist.mean).sample
        strips = [
            torch.cat([*half], 2)
            for p, b in zip(pixels.split(16), back.split(16), strict=True)
            for half in (p, b)
        ]
        width = max(strip.shape[2] for strip in strips)
        sheet = torch.cat([F.pad(strip, (0, width - strip.shape[2])) for strip in strips], 1)
        save_picture(sheet, BUILD / "vae.png")

    def save(self) -> None:
        """Checkpoint, written whole or not at all."""
        state = {
            "model": self.model.state_dict(), "step": self.step, "seconds": self.seconds,
            "optimisers": [o.state_dict() for o in self.optimisers], "artist": ARTIST,
        }  # fmt: skip
        torch.save(state, CHECKPOINT.with_suffix(".part"))
        CHECKPOINT.with_suffix(".part").replace(CHECKPOINT)

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(CHECKPOINT, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        torch.manual_seed(self.arguments.seed + self.step)


def save_picture(pixels: torch.Tensor, path) -> None:
    """(3, height, width) in -1 … 1 as a file."""
    levels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    Image.fromarray(levels.permute(1, 2, 0).cpu().numpy()).save(path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=15, help="training time in all, over every resumed run"
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--muon", type=float, default=3e-3, help="highest learning rate of the inner kernels"
    )
    parser.add_argument(
        "--adam", type=float, default=2e-3, help="highest learning rate of everything else"
    )
    parser.add_argument("--every", type=float, default=60, help="seconds between measurements")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not OUTPUT.exists():
        raise SystemExit("No pictures yet. Run `npm ci && python data.py` in this folder first.")
    Trainer(arguments).run()


if __name__ == "__main__":
    main()
