"""Train the emoji CLIP: contrastively, with a teacher for the text side. Resumable; CPU or GPU.

python -m training.clip.train --minutes 60   # writes clip.pt and clip_log.jsonl in training/build
python -m training.clip.train --minutes 60   # run again: goes on where it was cut off
python -m training.clip.train --export       # writes the shipped files from the checkpoint
"""

from __future__ import annotations

import argparse
import math
import random
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPModel

from training import BUILD
from training.artwork import drawn_by, load
from training.captions import with_article
from training.clip.data import TEMPLATES, Captions, Pictures
from training.clip.model import SHIPPED, TaughtEmbedding, Tower, configuration, export
from training.clip.teacher import teach
from training.clip.words import is_untaught
from training.loop import Trainer, command_line
from training.loop import load as load_checkpoint
from training.measuring import top, write
from training.muon import Muon

TEACHER = "teacher.pt"
CHECKED = ("noto", "noto-v1", "openmoji")  # one artist seen, two never trained on


class Prototypes(nn.Module):
    """One unit vector a concept: the teacher's embedding, turned into fewer dimensions, and a rest."""

    def __init__(self, concepts: torch.Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("concepts", concepts, persistent=False)
        self.map = nn.Linear(concepts.shape[1], width, bias=False)
        _, _, components = torch.linalg.svd(concepts, full_matrices=False)
        self.map.weight.data = components[:width].clone()  # PCA at first
        self.rest = nn.Parameter(torch.zeros(len(concepts), width))
        self.scale = nn.Parameter(torch.tensor(math.log(16.0)))

    def forward(self) -> torch.Tensor:
        """(concepts, width)."""
        return F.normalize(self.map(self.concepts) + self.rest, dim=-1)

    def place(self, taught: torch.Tensor) -> torch.Tensor:
        """Where the teacher's embedding of any text belongs."""
        return F.normalize(self.map(taught), dim=-1)


@torch.no_grad()
def start_from_patches(model: CLIPModel, pixels: torch.Tensor) -> None:
    """Start the patch embedding from the principal components of real patches, whitened."""
    convolution = model.vision_model.embeddings.patch_embedding
    size, width = convolution.kernel_size[0], convolution.out_channels
    patches = F.unfold(pixels, size, stride=size).mT.reshape(-1, 3 * size * size)
    _, values, components = torch.pca_lowrank(patches - patches.mean(0), q=width, niter=2)
    scale = values / math.sqrt(len(patches))
    whitened = components.T / (scale[:, None] + 0.05 * scale[0]) * 0.5
    convolution.weight.copy_(whitened.reshape(width, 3, size, size))


def optimisers(model: CLIPModel, prototypes: Prototypes, muon: float, adam: float) -> list:
    """Muon for the matrices inside the transformers, AdamW for the rest."""
    matrices, plain, decayed = [], [], []
    for name, parameter in model.named_parameters():
        if ".encoder.layers." in name and parameter.ndim == 2:
            matrices.append(parameter)
        elif "embedding" in name or parameter.ndim < 2:
            plain.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": [*plain, prototypes.map.weight, prototypes.scale], "weight_decay": 0.0},
        {"params": decayed, "weight_decay": 0.1},
        {"params": [prototypes.rest], "weight_decay": 0.02},
    ]
    return [
        Muon(matrices, lr=muon, weight_decay=0.05),
        torch.optim.AdamW(groups, lr=adam, betas=(0.9, 0.98), eps=1e-8, fused=True),
    ]


class ClipTrainer(Trainer):
    """Pictures against captions, pictures and captions against prototypes, words against the teacher."""

    name = "clip"
    early = (50, 200)
    longest_gradient = 5.0

    def __init__(self, arguments: argparse.Namespace, data: dict, folder: Path = BUILD) -> None:
        super().__init__(arguments, folder)
        self.data = data
        self.captions = Captions(data["concepts"])
        self.pictures = Pictures(data, self.device)
        self.model = CLIPModel(configuration())
        self.tower = Tower(self.model)
        strings = self.tower.tokenizer.convert_ids_to_tokens(list(range(49408)))
        readable = [s.replace("</w>", "") for s in strings]
        taught = teach(data["concepts"], self.captions.phrases, readable, folder / TEACHER)
        self.words = [
            i
            for i, s in enumerate(strings)
            if re.fullmatch(r"[a-z]{3,}</w>", s) and not is_untaught(readable[i])
        ]
        # what lessons ask: a text, and where the teacher puts it
        centre = taught["concepts"].mean(0)
        self.vocabulary = readable, (taught["vocabulary"] - centre).to(self.device)
        self.phrases = self.captions.phrases, (taught["phrases"] - centre).to(self.device)

        embeddings = self.model.text_model.embeddings
        embeddings.token_embedding = TaughtEmbedding(
            taught["vocabulary"], configuration().text_config.hidden_size
        )
        nn.init.normal_(embeddings.position_embedding.weight, std=0.01)
        start_from_patches(self.model, self.pictures.sample(1500).cpu())
        self.model.to(self.device).train()
        self.prototypes = Prototypes(taught["concepts"] - centre, configuration().projection_dim)
        self.prototypes.to(self.device)
        self.optimisers = optimisers(self.model, self.prototypes, arguments.muon, arguments.adam)
        self.kept = {"prototypes": self.prototypes}

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Pictures against captions; both against the prototypes; single words and phrases against the teacher."""
        # from the middle on, drawings are changed less and less, and at the end nearly as they are
        self.pictures.strength = min(1.0, max(0.2, (1.0 - self.done) / 0.4))
        n, extra = self.arguments.captioned, self.arguments.extra
        if self.text_only:
            n, extra = 2 * n, 0
        batch = self.pictures.batch(n, extra)
        with torch.set_grad_enabled(not self.text_only):
            image = self.tower.image(batch["pixels"])
            prototypes = self.prototypes()
            scale = self.prototypes.scale.exp().clamp(max=40)
        captions, concepts, true = self.captions.about(batch, n)
        text = self.tower.text(captions)
        logits = self.model.logit_scale.exp().clamp(max=60) * text @ image.T
        # a caption that is true of another picture too is not to be pushed away from it
        others = true & ~torch.eye(n, len(image), dtype=torch.bool)
        logits = logits.masked_fill(others.to(self.device), -1e4)
        target = torch.arange(n, device=self.device)
        rows, columns = F.cross_entropy(logits, target), F.cross_entropy(logits[:, :n].T, target)
        parts = {"contrast": (rows + columns) / 2}
        if not self.text_only:
            concept = batch["concept"].to(self.device)
            parts["picture"] = F.cross_entropy(
                scale * image @ prototypes.T, concept, label_smoothing=0.05
            )
        spread = F.normalize(concepts.float().to(self.device), p=1, dim=1)
        parts["caption"] = F.cross_entropy(scale * text @ prototypes.T, spread)
        lessons, taught = self.lessons(self.arguments.words)
        closeness = (self.tower.text(lessons) * self.prototypes.place(taught)).sum(-1)
        parts["teacher"] = 4 * (1 - closeness).mean()
        return sum(parts.values()), parts

    def lessons(self, n: int) -> tuple[list[str], torch.Tensor]:
        """Words, most of which no caption holds, and half as many phrases; and what the teacher says of them."""
        texts, taught = [], []
        phrases = range(len(self.captions.phrases))
        for (known, answers), chosen in (
            (self.vocabulary, random.sample(self.words, n)),
            (self.phrases, random.sample(phrases, n // 2)),
        ):
            texts += [known[i].lower() for i in chosen]
            taught.append(answers[chosen])
        texts = [
            with_article(random.choice(TEMPLATES).format(text)) if random.random() < 0.3 else text
            for text in texts
        ]
        return texts, torch.cat(taught)

    @property
    def text_only(self) -> bool:
        """At the end the image tower and the prototypes stand still and the text tower catches up."""
        return self.done >= 1 - self.arguments.text_share

    def rate(self) -> float:
        """Warm up, then a cosine to zero; once more, lower, while only the text tower learns."""
        share = self.arguments.text_share
        if self.text_only:
            return 0.3 * (0.5 + 0.5 * math.cos(math.pi * (self.done - 1 + share) / share)) + 1e-4
        cosine = 0.5 + 0.5 * math.cos(math.pi * self.done / (1 - share))
        return min(1.0, (self.step + 1) / 100) * cosine + 1e-4

    @torch.no_grad()
    def measure(self, last: bool) -> dict[str, list[float]]:
        """Picture -> name, top-1 and top-5 among all names, for a few artists."""
        names = self.tower.text(self.captions.names)
        result = {}
        for style in CHECKED:
            mine = drawn_by(self.data, style)
            image = torch.cat([self.tower.image(self.pictures.plain(p)) for p in mine.split(256)])
            result[style] = top((image @ names.T).cpu(), self.data["concept"][mine])
        return result


def export_checkpoint(folder: Path) -> None:
    """Write the files of a model from the last checkpoint, and its curve to ``results.json``."""
    state = load_checkpoint("clip", "training.clip.train")
    model = CLIPModel(configuration())
    model.text_model.embeddings.token_embedding = TaughtEmbedding(
        torch.load(BUILD / TEACHER)["vocabulary"], configuration().text_config.hidden_size
    )
    model.load_state_dict(state["model"])
    export(model, folder)
    write(folder, {"curve": state["log"]})
    print(f"step {state['step']}, {state['seconds'] / 60:.0f} minutes -> {folder}")


def main() -> None:
    """Command line."""
    options = command_line(__doc__, minutes=60.0, muon=3e-3, adam=1.5e-3, every=240.0)
    options.number("--captioned", 72, "pictures with a caption in a batch")
    options.number("--extra", 152, "pictures without one")
    options.number("--words", 32, "vocabulary words asked of the teacher in a batch")
    options.number("--text-share", 0.08, "share of the time for the text tower alone")
    options.export(SHIPPED)
    arguments = options.parse_args()
    if arguments.export:
        export_checkpoint(arguments.export)
    else:
        ClipTrainer(arguments, load()).run()


if __name__ == "__main__":
    main()
