"""Train the U-Net of the tiny Stable Diffusion on the CLIP's 77 rows. Resumable; CPU or GPU.

python unet.py --minutes 80     # after vae.py; writes build/unet.pt, unet_log.jsonl, now and then a sheet
python unet.py --minutes 160    # run again: goes on, here for as long again
python unet.py --export         # writes helpers/models/emoji-diffusion from the checkpoint
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time

import torch
from torch import nn
from tqdm import tqdm

from training.artwork.build import OUTPUT
from training.clip.model import SHIPPED as CLIP
from training.diffusion.kernels import fast_dtype, optimisers, rate, since
from training.diffusion.model import (
    assemble,
    clip_text,
    digest,
    export,
    new_scheduler,
    new_unet,
    parameters,
    text_rows,
)
from training.diffusion.vae import save_picture, trained_vae
from training.diffusion.world import Caption, Scene, captions, draw, members, prompt

BUILD = OUTPUT.parent
CHECKPOINT, BANK = BUILD / "unet.pt", BUILD / "diffusion_bank.pt"
EMPTY = (
    0.1  # share of the batch that is told nothing, so that there is something to guide away from
)
LOUD = 6.0  # how much larger the text starts in cross-attention than diffusers' default makes it
AVERAGE = 0.999  # how slowly the averaged weights, which are shipped, follow
SHOWN = 64  # pictures on a sheet


class Bank:
    """Latents of every scene and text rows of every caption, computed once."""

    def __init__(self, data: dict, device: str) -> None:
        chosen = members(data)
        listed = captions(data, chosen, torch.Generator().manual_seed(0))
        self.vae = trained_vae(data)
        key = digest(CLIP / "model.safetensors") + str(hash_of(listed)) + state_key(self.vae)
        stored = torch.load(BANK) if BANK.exists() else {}
        if stored.get("key") != key:
            stored = {"key": key, **self._compute(data, listed, device)}
            torch.save(stored, BANK)
        self.latents, self.rows, self.empty = (
            stored[name].to(device) for name in ("latents", "rows", "empty")
        )
        self.scene_of, self.weights = stored["scene_of"], stored["weights"]

    def _compute(self, data: dict, listed: list[Caption], device: str) -> dict:
        scenes = list(dict.fromkeys(caption.scene for caption in listed))
        number = {scene: i for i, scene in enumerate(scenes)}
        vae = self.vae.to(device)
        with torch.inference_mode():
            latents = [
                vae.encode(draw(data, scenes[i : i + 128]).to(device)).latent_dist.mean.cpu()
                for i in tqdm(range(0, len(scenes), 128), desc="latents", disable=None)
            ]
        self.vae = vae.cpu()
        model, tokenizer = clip_text()
        model = model.to(device)
        texts = [caption.text for caption in listed]
        rows = [
            text_rows(texts[i : i + 256], model, tokenizer)
            for i in tqdm(range(0, len(texts), 256), desc="text", disable=None)
        ]
        return {
            "latents": torch.cat(latents).clone(),
            "rows": torch.cat(rows).clone(),
            "empty": text_rows([""], model, tokenizer).clone(),
            "scene_of": torch.tensor([number[caption.scene] for caption in listed]),
            "weights": torch.tensor([caption.weight for caption in listed]),
        }

    def batch(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (n, 16, 8, 8) and text rows (n, 77, 128), a tenth of them the empty prompt's."""
        chosen = torch.multinomial(self.weights, n, replacement=True)
        rows = self.rows[chosen].float()
        rows[: round(EMPTY * n)] = self.empty.float()
        return self.latents[self.scene_of[chosen]], rows


def hash_of(listed: list[Caption]) -> str:
    """Changes when a caption, its scene or its weight does."""
    import hashlib

    return hashlib.sha256(repr(listed).encode()).hexdigest()


def state_key(model: nn.Module) -> str:
    """Changes when a weight does."""
    return ",".join(f"{p.double().sum().item():.9g}" for p in model.parameters())


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


class Trainer:
    """Model, its running average, optimisers and the loop."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(arguments.seed)
        self.dtype = fast_dtype(self.device)
        self.data = torch.load(OUTPUT)
        self.bank = Bank(self.data, self.device)
        self.model = new_unet().to(self.device)
        fit_to_text(self.model, self.bank.rows)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam, self.dtype)
        self.scheduler = new_scheduler()
        self.alphas = self.scheduler.alphas_cumprod.to(self.device)
        self.step, self.seconds = 0, 0.0
        self.log = BUILD / "unet_log.jsonl"

    def autocast(self) -> torch.autocast:
        """bfloat16 inside the U-Net where that is faster."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def loss(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One batch: squared error of v for each picture, and the noise level of each."""
        latents, rows = self.bank.batch(self.arguments.batch)
        n = len(latents)
        # one time step from each n-th of the range: the loss of a batch varies less
        order = torch.randperm(n)
        steps = ((order + torch.rand(n)) / n * len(self.alphas)).long().to(self.device)
        signal = self.alphas[steps].sqrt()[:, None, None, None]
        noise_share = (1 - self.alphas[steps]).sqrt()[:, None, None, None]
        noise = torch.randn_like(latents)
        with self.autocast():
            guess = self.model(signal * latents + noise_share * noise, steps, rows).sample
        target = signal * noise - noise_share * latents
        return ((guess.float() - target) ** 2).mean((1, 2, 3)), steps

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
            f"{parameters(self.model):,} parameters on {self.device} in {self.dtype}, {len(self.bank.rows):,} captions "
            f"of {len(self.bank.latents):,} scenes, from step {self.step}",
            flush=True,
        )
        last_save = last_note = last_sheet = self.seconds
        first, began_at = self.step, self.seconds
        quarters: list[list[float]] = [[], [], [], []]
        bar = tqdm(total=60 * self.arguments.minutes, initial=self.seconds, unit="s", disable=None)
        while self.done < 1:
            began = time.time()
            losses, steps = self.loss()
            losses.mean().backward()
            share = rate(self.step, self.done)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = group["top"] * share
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.step += 1
            follow = 1 - min(AVERAGE, self.step / (10 + self.step))
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), follow
            )
            for loss, step in zip(losses.tolist(), steps.tolist(), strict=True):
                quarters[4 * step // len(self.alphas)].append(loss)
            spent = since(began)
            self.seconds += spent
            bar.update(spent)
            if self.step == 20 or self.seconds - last_note > self.arguments.every:
                self.note(quarters, (self.seconds - began_at) / (self.step - first))
                last_note, quarters = self.seconds, [[], [], [], []]
            if self.seconds - last_save > 150:
                self.save()
                last_save = self.seconds
            if self.seconds - last_sheet > self.arguments.sheet:
                self.sheet()
                last_sheet = self.seconds
        bar.close()
        if self.step > first:
            self.note(quarters, (self.seconds - began_at) / (self.step - first))
        self.save()
        self.sheet()

    def note(self, quarters: list[list[float]], a_step: float) -> None:
        """One line of the log: the loss from little noise to much, a quarter of the range each."""
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2)}
        line["ms_a_step"] = round(1000 * a_step)
        line["loss"] = [round(sum(q) / max(1, len(q)), 4) for q in quarters]
        self.write(line)

    def write(self, line: dict) -> None:
        """To the log file and to the screen."""
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    @torch.no_grad()
    def sheet(self) -> None:
        """Draw 64 of the world with the averaged weights: a picture, and how many are recognisable."""
        chosen = members(self.data)
        shown = chosen[:: len(chosen) // SHOWN][:SHOWN]
        pipe = assemble(self.bank.vae.to(self.device), self.average)
        pipe.text_encoder.to(self.device)
        with self.autocast():
            pictures = pipe(
                [prompt(self.data["concepts"][c]["name"]) for c in shown],
                num_inference_steps=20,
                guidance_scale=self.arguments.guidance,
                generator=[torch.Generator().manual_seed(c) for c in shown],
                output_type="pt",
            ).images.float()
        pixels = pictures.cpu() * 2 - 1
        known = draw(self.data, [Scene(c) for c in chosen])
        small, known = (nn.functional.avg_pool2d(p, 4).flatten(1) for p in (pixels, known))
        nearest = torch.cdist(small, known).argmin(1).tolist()
        right = sum(chosen[i] == c for i, c in zip(nearest, shown, strict=True))
        columns = [torch.cat(list(row), 2) for row in pixels.split(16)]
        save_picture(torch.cat(columns, 1), BUILD / f"unet_{self.seconds / 60:05.1f}.png")
        self.write(
            {
                "step": self.step,
                "minutes": round(self.seconds / 60, 2),
                "right_by_pixels": f"{right} of {len(shown)}",
            }
        )
        self.bank.vae.cpu()

    def save(self) -> None:
        """Checkpoint, written whole or not at all."""
        state = {
            "model": self.model.state_dict(), "average": self.average.state_dict(), "step": self.step,
            "seconds": self.seconds, "optimisers": [o.state_dict() for o in self.optimisers],
        }  # fmt: skip
        torch.save(state, CHECKPOINT.with_suffix(".part"))
        CHECKPOINT.with_suffix(".part").replace(CHECKPOINT)

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(CHECKPOINT, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        torch.manual_seed(self.arguments.seed + self.step)


def export_checkpoint() -> None:
    """Write the shipped files from the last checkpoints."""
    if not CHECKPOINT.exists():
        raise SystemExit("Nothing to export yet: train first (`python unet.py --minutes 80`).")
    state = torch.load(CHECKPOINT, map_location="cpu")
    unet = new_unet()
    unet.load_state_dict(state["average"])
    export(trained_vae(torch.load(OUTPUT)), unet)
    print(
        f"step {state['step']}, {state['seconds'] / 60:.0f} minutes -> helpers/models/emoji-diffusion"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=80, help="training time in all, over every resumed run"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--muon", type=float, default=3e-3, help="highest learning rate of the inner kernels"
    )
    parser.add_argument(
        "--adam", type=float, default=1e-3, help="highest learning rate of everything else"
    )
    parser.add_argument("--every", type=float, default=60, help="seconds between lines of the log")
    parser.add_argument("--sheet", type=float, default=600, help="seconds between sample sheets")
    parser.add_argument("--guidance", type=float, default=3.0, help="guidance scale of the sheets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--export", action="store_true", help="write the shipped files from the checkpoint"
    )
    arguments = parser.parse_args()
    if not OUTPUT.exists():
        raise SystemExit("No pictures yet. Run `npm ci && python data.py` in this folder first.")
    if arguments.export:
        export_checkpoint()
    else:
        Trainer(arguments).run()


if __name__ == "__main__":
    main()
