"""Train the emoji CLIP: contrastively, with a teacher for the text side. Resumable; CPU or GPU.

python train.py --minutes 60              # writes build/checkpoint.pt and build/log.jsonl
python train.py --minutes 60              # run again: goes on where it was cut off
python train.py --export                  # writes the shipped files from the checkpoint
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from training.artwork.build import OUTPUT
from training.clip.data import COLOURS, Pictures
from training.clip.model import SHIPPED, TaughtEmbedding, configuration, export
from training.clip.teacher import teach
from training.clip.words import is_held_out, is_untaught
from training.muon import Muon

BUILD = OUTPUT.parent
TEMPLATES = (
    "{}", "{}", "{}", "{}", "a {}", "a {}", "the {}", "{} emoji", "an emoji of a {}", "a picture of a {}",
    "a drawing of a {}", "a photo of a {}", "an icon of a {}", "a sticker of a {}", "this is a {}",
)  # fmt: skip
# Names say "man" and "woman"; people also say it otherwise, and so do some captions.
SYNONYMS = {
    "man": ("male", "male", "guy", "gentleman"),
    "woman": ("female", "female", "lady", "lady"),
}
POSITIONS = ("on the left", "on the right", "at the top", "at the bottom")


def with_article(text: str) -> str:
    """``a apple`` -> ``an apple``."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def in_other_words(phrase: str) -> str:
    """``man farmer`` -> now and then ``guy farmer``."""
    if random.random() < 0.4:
        return re.sub(r"\b(man|woman)\b", lambda m: random.choice(SYNONYMS[m[0]]), phrase)
    return phrase


class Captions:
    """Phrases, which concepts each is true of, and captions made of them."""

    def __init__(self, concepts: list[dict]) -> None:
        self.names = [entry["name"] for entry in concepts]
        # only held-out *keywords* are dropped: names are what the held-out words are asked for
        kept = [
            [t for t in entry["tags"] if not is_held_out(t) and len(t) < 40] for entry in concepts
        ]
        self.phrases = sorted({*self.names, *(tag for tags in kept for tag in tags)})
        self.index = {phrase: i for i, phrase in enumerate(self.phrases)}
        self.true = torch.zeros(len(self.phrases), len(concepts), dtype=torch.bool)
        for c, tags in enumerate(kept):
            for phrase in (self.names[c], *tags):
                self.true[self.index[phrase], c] = True
        count = self.true.sum(1).clamp(min=1)
        self.tags = [[self.index[t] for t in tags] for tags in kept]
        self.count = [[count[i].item() for i in tags] for tags in self.tags]

    def phrase(self, c: int, name_share: float = 0.65) -> int:
        """A phrase for concept ``c``: its name, or a keyword, rare ones more often.

        A keyword of two emoji says more than one of two hundred.
        """
        if random.random() < name_share or not self.tags[c]:
            return self.index[self.names[c]]
        return random.choices(self.tags[c], [n**-0.7 for n in self.count[c]])[0]

    def caption(self, phrase: str, colour: int, size: int, position: int) -> str:
        """The phrase in a template, with those attributes that are to be said (-1: not said)."""
        phrase = in_other_words(phrase)
        text = (
            phrase
            if size < 0
            else f"{random.choice((('small', 'tiny'), ('large', 'big'))[size])} {phrase}"
        )
        text = random.choice(TEMPLATES).format(text)
        parts = []
        if position >= 0:
            parts.append(POSITIONS[position])
        if colour >= 0:
            parts.append(f"on a {COLOURS[colour][0]} background")
        return with_article(" ".join([text, *parts])).lower()


class Trainer:
    """Model, prototypes, optimisers and the loop."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(arguments.seed)
        random.seed(arguments.seed)
        data = torch.load(OUTPUT)
        self.concepts = data["concepts"]
        self.captions = Captions(self.concepts)
        self.pictures = Pictures(data, self.device)
        self.tokenizer = CLIPTokenizer.from_pretrained(SHIPPED)
        strings = self.tokenizer.convert_ids_to_tokens(list(range(49408)))
        readable = [s.replace("</w>", "") for s in strings]
        taught = teach(self.concepts, self.captions.phrases, readable, BUILD / "teacher.pt")
        self.words = [
            i
            for i, s in enumerate(strings)
            if re.fullmatch(r"[a-z]{3,}</w>", s) and not is_untaught(readable[i])
        ]
        self.word_strings = [readable[i] for i in self.words]
        self.centre = taught["concepts"].mean(0)
        self.vocabulary_teacher = (taught["vocabulary"] - self.centre).to(self.device)
        self.phrase_teacher = (taught["phrases"] - self.centre).to(self.device)
        self.concept_teacher = (taught["concepts"] - self.centre).to(self.device)

        self.model = CLIPModel(configuration())
        embeddings = self.model.text_model.embeddings
        embeddings.token_embedding = TaughtEmbedding(
            taught["vocabulary"], configuration().text_config.hidden_size
        )
        nn.init.normal_(embeddings.position_embedding.weight, std=0.01)
        width = configuration().projection_dim
        _, _, components = torch.linalg.svd(self.concept_teacher.cpu(), full_matrices=False)
        # one prototype a concept: the teacher's embedding turned into `width` dimensions (PCA at first), and a rest
        self.head = nn.ModuleDict({"map": nn.Linear(384, width, bias=False)})
        self.head.map.weight.data = components[:width].clone()
        self.head.register_parameter("rest", nn.Parameter(torch.zeros(len(self.concepts), width)))
        self.head.register_parameter("scale", nn.Parameter(torch.tensor(math.log(16.0))))
        self._patches_from_data(data)
        self.model.to(self.device).train()
        self.head.to(self.device)
        self._optimisers()
        self.step, self.seconds = 0, 0.0
        self.log = BUILD / "log.jsonl"
        self.checkpoint = BUILD / "checkpoint.pt"
        self.data = data

    def _patches_from_data(self, data: dict) -> None:
        """Start the patch embedding from the principal components of real patches."""
        convolution = self.model.vision_model.embeddings.patch_embedding
        size, width = convolution.kernel_size[0], convolution.out_channels
        sample = self.pictures.plain(torch.tensor(random.sample(self.pictures.trained, 1500))).cpu()
        patches = (
            sample.unfold(2, size, size)
            .unfold(3, size, size)
            .permute(0, 2, 3, 1, 4, 5)
            .reshape(-1, 3 * size * size)
        )
        centred = patches - patches.mean(0)
        _, values, components = torch.pca_lowrank(centred, q=width, niter=2)
        scale = values / math.sqrt(len(patches))
        whitened = components.T / (scale[:, None] + 0.05 * scale[0]) * 0.5
        convolution.weight.data = whitened.reshape(width, 3, size, size).contiguous()

    def _optimisers(self) -> None:
        """Muon for the matrices inside the transformers, AdamW for the rest."""
        matrices, plain, decayed = [], [], []
        for name, parameter in self.model.named_parameters():
            if ".encoder.layers." in name and parameter.ndim == 2:
                matrices.append(parameter)
            elif "embedding" in name or parameter.ndim < 2:
                plain.append(parameter)
            else:
                decayed.append(parameter)
        adam = [
            {"params": plain, "weight_decay": 0.0},
            {"params": decayed, "weight_decay": 0.1},
            {"params": [self.head.map.weight, self.head.scale], "weight_decay": 0.0},
            {"params": [self.head.rest], "weight_decay": 0.02},
        ]
        self.optimisers = [
            Muon(matrices, lr=1.0),
            torch.optim.AdamW(adam, lr=1.0, betas=(0.9, 0.98), eps=1e-8, fused=True),
        ]

    def prototypes(self) -> torch.Tensor:
        """(concepts, projection) unit vectors."""
        return F.normalize(self.head.map(self.concept_teacher) + self.head.rest, dim=-1)

    def text(self, captions: list[str]) -> torch.Tensor:
        """Projected, normalised text embeddings; padded only to the longest."""
        tokens = self.tokenizer(
            captions,
            padding=True,
            pad_to_multiple_of=8,
            truncation=True,
            max_length=72,
            return_tensors="pt",
        )
        pooled = self.model.text_model(input_ids=tokens["input_ids"].to(self.device)).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)

    def image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Projected, normalised picture embeddings."""
        return F.normalize(
            self.model.visual_projection(
                self.model.vision_model(pixel_values=pixels).pooler_output
            ),
            dim=-1,
        )

    def loss(self) -> dict[str, torch.Tensor]:
        """One batch, all parts of the loss."""
        captioned, extra, words = (
            self.arguments.captioned,
            self.arguments.extra,
            self.arguments.words,
        )
        if self.text_only:
            captioned, extra = 2 * captioned, 0
        batch = self.pictures.batch(captioned, extra)
        with torch.set_grad_enabled(not self.text_only):
            image = self.image(batch["pixels"])
        prototypes, scale = self.prototypes(), self.head.scale.exp().clamp(max=40)
        if self.text_only:
            prototypes, scale = prototypes.detach(), scale.detach()
        concept = batch["concept"]
        said = {
            k: torch.where(torch.rand(captioned) < p, batch[k][:captioned].cpu(), -1)
            for k, p in (("colour", 0.35), ("size", 0.35), ("position", 0.6))
        }
        phrases = [self.captions.phrase(c) for c in concept[:captioned].tolist()]
        texts = [
            self.captions.caption(
                self.captions.phrases[p], *(int(said[k][i]) for k in ("colour", "size", "position"))
            )
            for i, p in enumerate(phrases)
        ]
        text = self.text(texts)
        # which captions are true of which pictures, the accidental pairs too
        true = self.captions.true[phrases][:, concept.cpu()]
        for k in said:
            true &= (said[k][:, None] < 0) | (said[k][:, None] == batch[k].cpu()[None])
        true = true.to(self.device)
        logits = self.model.logit_scale.exp().clamp(max=60) * text @ image.T
        diagonal = torch.zeros_like(true)
        diagonal.fill_diagonal_(True)
        logits = logits.masked_fill(true & ~diagonal, -1e4)
        target = torch.arange(captioned, device=self.device)
        parts = {
            "contrast": (
                F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :captioned].T, target)
            )
            / 2
        }
        if not self.text_only:
            parts["picture"] = F.cross_entropy(
                scale * image @ prototypes.T, concept, label_smoothing=0.05
            )
        positives = self.captions.true[phrases].float().to(self.device)
        spread = positives / positives.sum(1, keepdim=True)
        parts["caption"] = (
            -(spread * F.log_softmax(scale * text @ prototypes.T, dim=-1)).sum(1).mean()
        )
        # words no caption holds: follow the teacher
        chosen = random.sample(range(len(self.words)), words)
        asked = [self.word_strings[i] for i in chosen]
        targets = self.vocabulary_teacher[[self.words[i] for i in chosen]]
        other = random.sample(range(len(self.captions.phrases)), words // 2)
        asked += [self.captions.phrases[i].lower() for i in other]
        targets = torch.cat([targets, self.phrase_teacher[other]])
        asked = [
            with_article(random.choice(TEMPLATES).format(a)) if random.random() < 0.3 else a
            for a in asked
        ]
        taught = F.normalize(self.head.map(targets), dim=-1)
        parts["teacher"] = 4 * (1 - (self.text(asked) * taught).sum(-1)).mean()
        return parts

    @property
    def done(self) -> float:
        """How much of the time is over, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.arguments.minutes))

    @property
    def text_only(self) -> bool:
        """At the end the image tower and the prototypes stand still and the text tower catches up."""
        return self.done >= 1 - self.arguments.text_share

    def rate(self) -> float:
        """Warm up, then a cosine to zero; once more, lower, while only the text tower learns."""
        share = self.arguments.text_share
        if self.text_only:
            return 0.3 * (0.5 + 0.5 * math.cos(math.pi * (self.done - 1 + share) / share)) + 1e-4
        return (
            min(1.0, (self.step + 1) / 100)
            * (0.5 + 0.5 * math.cos(math.pi * self.done / (1 - share)))
            + 1e-4
        )

    def run(self) -> None:
        """Train until the minutes are used up."""
        if self.checkpoint.exists():
            self.resume()
        elif self.log.exists():
            self.log.unlink()
        last_save = last_check = self.seconds
        seen = []
        print(
            f"{sum(p.numel() for p in self.model.parameters()):,} parameters on {self.device}, from step {self.step}",
            flush=True,
        )
        while self.seconds < 60 * self.arguments.minutes:
            began = time.time()
            self.pictures.strength = min(1.0, max(0.2, (1.0 - self.done) / 0.4))
            parts = self.loss()
            sum(parts.values()).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            for optimiser, top in zip(
                self.optimisers, (self.arguments.muon, self.arguments.adam), strict=True
            ):
                for group in optimiser.param_groups:
                    group["lr"] = top * self.rate()
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.step += 1
            self.seconds += time.time() - began
            parts = {k: v.item() for k, v in parts.items()}
            if seen and seen[0].keys() != parts.keys():
                seen = []  # the last phase has other parts
            seen.append(parts)
            if self.step in (50, 200) or self.seconds - last_check > self.arguments.every:
                self.note(seen)
                last_check, seen = self.seconds, []
            if self.seconds - last_save > 150:
                self.save()
                last_save = self.seconds
        self.note(seen)
        self.save()

    @torch.no_grad()
    def check(self) -> dict[str, list[float]]:
        """Picture -> name, top-1 and top-5 among all names, for a few styles."""
        self.model.eval()
        names = torch.cat(
            [
                self.text([n.lower() for n in self.captions.names[i : i + 256]])
                for i in range(0, len(self.concepts), 256)
            ]
        )
        result = {}
        for style in ("noto", "noto-v1", "openmoji"):
            mine = (self.data["style"] == self.data["styles"].index(style)).nonzero().squeeze(1)
            image = torch.cat([self.image(self.pictures.plain(part)) for part in mine.split(256)])
            rank = (image @ names.T).argsort(dim=-1, descending=True)[:, :5].cpu()
            hit = rank == self.data["concept"][mine][:, None]
            result[style] = [
                round(hit[:, :1].any(1).float().mean().item(), 3),
                round(hit.any(1).float().mean().item(), 3),
            ]
        self.model.train()
        return result

    def note(self, seen: list[dict]) -> None:
        """One line of the log."""
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2)}
        line |= {
            k: round(sum(s[k] for s in seen) / max(1, len(seen)), 3)
            for k in (seen[0] if seen else {})
        }
        line |= self.check()
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def save(self) -> None:
        """Checkpoint, written whole or not at all."""
        state = {
            "model": self.model.state_dict(), "head": self.head.state_dict(), "step": self.step, "seconds": self.seconds,
            "optimisers": [o.state_dict() for o in self.optimisers],
        }  # fmt: skip
        torch.save(state, self.checkpoint.with_suffix(".part"))
        self.checkpoint.with_suffix(".part").replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.checkpoint, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        random.seed(self.arguments.seed + self.step)
        torch.manual_seed(self.arguments.seed + self.step)


def export_checkpoint() -> None:
    """Write the shipped files from the last checkpoint."""
    checkpoint, taught = BUILD / "checkpoint.pt", BUILD / "teacher.pt"
    if not (checkpoint.exists() and taught.exists()):
        raise SystemExit("Nothing to export yet: train first (`python train.py --minutes 60`).")
    state = torch.load(checkpoint, map_location="cpu")
    model = CLIPModel(configuration())
    model.text_model.embeddings.token_embedding = TaughtEmbedding(
        torch.load(taught)["vocabulary"], configuration().text_config.hidden_size
    )
    model.load_state_dict(state["model"])
    export(model, SHIPPED)
    print(f"step {state['step']}, {state['seconds'] / 60:.0f} minutes -> {SHIPPED.name}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=60, help="training time in all, over every resumed run"
    )
    parser.add_argument(
        "--captioned", type=int, default=72, help="pictures with a caption in a batch"
    )
    parser.add_argument("--extra", type=int, default=152, help="pictures without one")
    parser.add_argument(
        "--words", type=int, default=32, help="vocabulary words asked of the teacher in a batch"
    )
    parser.add_argument(
        "--muon", type=float, default=3e-3, help="highest learning rate of the matrices"
    )
    parser.add_argument(
        "--adam", type=float, default=1.5e-3, help="highest learning rate of everything else"
    )
    parser.add_argument(
        "--text-share", type=float, default=0.08, help="share of the time for the text tower alone"
    )
    parser.add_argument("--every", type=float, default=240, help="seconds between measurements")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--export", action="store_true", help="write the shipped files from the checkpoint"
    )
    arguments = parser.parse_args()
    if not Path(OUTPUT).exists():
        raise SystemExit("No pictures yet. Run `npm ci && python data.py` in this folder first.")
    if arguments.export:
        export_checkpoint()
    else:
        Trainer(arguments).run()


if __name__ == "__main__":
    main()
