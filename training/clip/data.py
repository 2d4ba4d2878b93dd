"""What the CLIP is shown and told: batches of drawings, placed, turned, recoloured, mixed between artists, with captions."""

from __future__ import annotations

import math
import random
import re

import torch
import torch.nn.functional as F

from training.artwork import TRAIN_STYLES, drawn_by
from training.captions import UNSAID, caption
from training.clip.words import is_held_out
from training.drawing import COLOURS, PALETTE, SIZE, WHITE, on_ground, premultiplied

# what must not be mirrored: names that tell a direction, families that hold letters
DIRECTED = (
    "left", "right", "clock", "o'clock", "thirty", "quarter", "crescent", "gibbous", "arrow", "mirror",
)  # fmt: skip
LETTERED = {
    "alphanum", "keycap", "arrow", "time", "math", "punctuation", "av-symbol", "zodiac", "other-symbol",
}  # fmt: skip
TEMPLATES = (
    "{}", "{}", "{}", "{}", "a {}", "a {}", "the {}", "{} emoji", "an emoji of a {}", "a picture of a {}",
    "a drawing of a {}", "a photo of a {}", "an icon of a {}", "a sticker of a {}", "this is a {}",
)  # fmt: skip
# Names say "man" and "woman"; people also say it otherwise, and so do some captions.
SYNONYMS = {
    "man": ("male", "male", "guy", "gentleman"),
    "woman": ("female", "female", "lady", "lady"),
}
SIZES = (("small", "tiny"), ("large", "big"))
SAID = {"colour": 0.35, "size": 0.35, "position": 0.6}  # how often, of what is true of a picture


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
        count = self.true.sum(1).tolist()
        self.tags = [[self.index[t] for t in tags] for tags in kept]
        # a keyword of two emoji says more than one of two hundred
        self.weights = [[count[i] ** -0.7 for i in tags] for tags in self.tags]

    def phrase(self, c: int, name_share: float = 0.65) -> int:
        """A phrase for concept ``c``: its name, or a keyword, rare ones more often."""
        if random.random() < name_share or not self.tags[c]:
            return self.index[self.names[c]]
        return random.choices(self.tags[c], self.weights[c])[0]

    def caption(self, phrase: str, colour: int, size: int, position: int) -> str:
        """The phrase in a template, with those attributes that are to be said."""
        text = in_other_words(phrase)
        if size != UNSAID:
            text = f"{random.choice(SIZES[size])} {text}"
        return caption(random.choice(TEMPLATES).format(text), position, colour)

    def about(self, batch: dict, n: int) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Captions of the first ``n`` pictures of a batch; the concepts and the pictures each is true of.

        The accidental pairs are among them. (n, concepts) and (n, pictures), bool.
        """
        said = {
            key: torch.where(torch.rand(n) < share, batch[key][:n], UNSAID)
            for key, share in SAID.items()
        }
        phrases = [self.phrase(c) for c in batch["concept"][:n].tolist()]
        texts = [
            self.caption(self.phrases[p], *(int(said[key][i]) for key in SAID))
            for i, p in enumerate(phrases)
        ]
        concepts = self.true[phrases]
        pictures = concepts[:, batch["concept"]]
        for key in SAID:
            pictures &= (said[key][:, None] == UNSAID) | (said[key][:, None] == batch[key][None])
        return texts, concepts, pictures


class Pictures:
    """All drawings in memory, and batches made from those to be trained on."""

    def __init__(self, data: dict, device: str) -> None:
        self.device = device
        # of mixing, warps, hidden parts and outlines; training lowers it at its end
        self.strength = 1.0
        self.drawings = premultiplied(data["pictures"]).half()
        self.trained = drawn_by(data, *TRAIN_STYLES).tolist()
        self.by_concept = [[] for _ in data["concepts"]]
        for row in self.trained:
            self.by_concept[int(data["concept"][row])].append(row)
        self.may_flip = torch.tensor(
            [
                c["subgroup"] not in LETTERED and not any(w in c["name"] for w in DIRECTED)
                for c in data["concepts"]
            ]
        )
        families: dict[str, list[int]] = {}
        for c, entry in enumerate(data["concepts"]):
            families.setdefault(entry["subgroup"], []).append(c)
        self.family = [families[entry["subgroup"]] for entry in data["concepts"]]

    def plain(self, rows: torch.Tensor) -> torch.Tensor:
        """Drawings as they are, on white: pixels (n, 3, 64, 64)."""
        return on_ground(self.drawings[rows].float()).to(self.device)

    def sample(self, n: int) -> torch.Tensor:
        """Some drawings that may be trained on, as they are."""
        return self.plain(torch.tensor(random.sample(self.trained, min(n, len(self.trained)))))

    def batch(self, captioned: int, extra: int) -> dict[str, torch.Tensor]:
        """``pixels`` (n, 3, 64, 64) on the device; ``concept``, ``colour``, ``size``, ``position`` long (n,), -1 where none is true.

        The first ``captioned`` are to be captioned; half of them have a sibling (same family of emoji) beside
        them, so that a batch holds hard pairs.
        """
        n = captioned + extra
        concept = torch.randint(len(self.by_concept), (n,))
        for i in range(0, captioned, 2):
            if torch.rand(1) < 0.5:
                family = self.family[int(concept[i])]
                concept[i + 1] = family[int(torch.randint(len(family), (1,)))]
        drawings = self._mixed(concept)
        grid, size, position = self._placed(concept, captioned)
        drawings = F.grid_sample(drawings, grid, padding_mode="zeros", align_corners=False)
        rgb, alpha = drawings[:, :3], drawings[:, 3:]
        rgb = self._recolour(rgb, alpha)
        ground, colour = self._grounds(n)
        pixels = rgb + (1 - alpha) * ground.view(n, 3, 1, 1).to(self.device)
        self._hide(pixels)
        return {
            "pixels": pixels.clamp(0, 1) * 2 - 1,
            "concept": concept, "colour": colour, "size": size, "position": position,
        }  # fmt: skip

    def _mixed(self, concept: torch.Tensor) -> torch.Tensor:
        """A drawing of each, now and then with some of another artist's in it; premultiplied, on the device."""
        n = len(concept)
        rows = [self.by_concept[c] for c in concept.tolist()]
        first = torch.tensor([r[int(torch.randint(len(r), (1,)))] for r in rows])
        second = torch.tensor([r[int(torch.randint(len(r), (1,)))] for r in rows])
        drawings = self.drawings[first].float().to(self.device)
        blend = (torch.rand(n) < 0.3 * self.strength).float() * torch.rand(n) * 0.5
        which = blend.nonzero().squeeze(1)
        if len(which):
            share = blend[which].view(-1, 1, 1, 1).to(self.device)
            other = self.drawings[second[which]].float().to(self.device)
            drawings[which] = drawings[which] * (1 - share) + other * share
        return drawings

    def _placed(
        self, concept: torch.Tensor, captioned: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where every pixel is taken from: small, large, aside, turned, mirrored, warped; what is to be said of it."""
        n = len(concept)
        size, position = torch.full((n,), UNSAID), torch.full((n,), UNSAID)
        # captions speak of size and place; the rest of the batch is mostly about what is drawn
        placed = torch.rand(n) * torch.where(torch.arange(n) < captioned, 1.0, 4.0)
        scale = 0.82 + 0.26 * torch.rand(n)
        shift = (torch.rand(n, 2) - 0.5) * 0.12
        small, large = placed < 0.12, (placed >= 0.12) & (placed < 0.24)
        scale[small], size[small] = 0.38 + 0.17 * torch.rand(int(small.sum())), 0
        scale[large], size[large] = 0.95 + 0.15 * torch.rand(int(large.sum())), 1
        aside = (placed >= 0.24) & (placed < 0.36)
        scale[aside] = 0.4 + 0.2 * torch.rand(int(aside.sum()))
        position[aside] = torch.randint(4, (int(aside.sum()),))
        size[aside] = 0
        away = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        reach = (1 - scale[aside]) * (0.7 + 0.3 * torch.rand(int(aside.sum())))
        shift[aside] = away[position[aside]] * reach[:, None] + shift[aside] * 0.5

        angle = torch.randn(n) * math.radians(5)
        flip = torch.where((torch.rand(n) < 0.4) & self.may_flip[concept], -1.0, 1.0)
        stretch = torch.exp(torch.randn(n) * 0.04)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # affine_grid maps output to input places: the inverse of what is done to the drawing
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, :2] = torch.stack([cos, sin], 1) * (flip / (scale * stretch))[:, None]
        theta[:, 1, :2] = torch.stack([-sin, cos], 1) * (stretch / scale)[:, None]
        theta[:, :, 2] = -(theta[:, :, :2] @ shift.unsqueeze(-1)).squeeze(-1)
        grid = F.affine_grid(theta.to(self.device), (n, 4, SIZE, SIZE), align_corners=False)
        # another artist's proportions: a smooth random warp
        amount = 0.09 * torch.rand(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.6 * self.strength)
        warp = F.interpolate(torch.randn(n, 2, 4, 4) * amount, size=SIZE, mode="bicubic")
        grid = grid + warp.permute(0, 2, 3, 1).to(self.device)
        return grid, size, position

    def _grounds(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """White, a colour that has a name, or any; and which it is."""
        ground, colour = torch.ones(n, 3), torch.full((n,), UNSAID)
        drawn = torch.rand(n) < 0.5
        colour[~drawn] = WHITE
        named = drawn & (torch.rand(n) < 0.75)
        colour[named] = torch.randint(1, len(COLOURS), (int(named.sum()),))
        shade = torch.randn(int(named.sum()), 3) * 0.04
        ground[named] = (PALETTE[colour[named]] + shade).clamp(0, 1)
        free = drawn & ~named
        ground[free] = torch.rand(int(free.sum()), 3)
        return ground, colour

    def _hide(self, pixels: torch.Tensor) -> None:
        """What artists share is the coarse picture: now and then only that is shown, or a part is hidden. In place."""
        n = len(pixels)
        coarse = (torch.rand(n) < 0.25 * self.strength).nonzero().squeeze(1)
        for part, step in ((coarse[::2], 2), (coarse[1::2], 4)):
            if len(part):
                pixels[part] = F.interpolate(
                    F.avg_pool2d(pixels[part], step), size=SIZE, mode="bilinear"
                )
        for i in (torch.rand(n) < 0.2 * self.strength).nonzero().squeeze(1).tolist():
            top, left = (int(x) for x in torch.randint(0, SIZE - 16, (2,)))
            high, wide = (int(x) for x in torch.randint(12, 28, (2,)))
            pixels[i, :, top : top + high, left : left + wide] = torch.rand(3, 1, 1).to(pixels)

    def _recolour(self, rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Other artists' inks: contrast, brightness, saturation, a little hue; now and then an outline drawing."""
        n = len(rgb)
        gain = torch.exp(torch.randn(n) * 0.15).view(n, 1, 1, 1).to(rgb)
        lift = (torch.randn(n) * 0.08).view(n, 1, 1, 1).to(rgb)
        tint = (torch.randn(n, 3) * 0.03).view(n, 3, 1, 1).to(rgb)
        keep = torch.exp(torch.randn(n) * 0.25)
        keep[torch.rand(n) < 0.04] = 0
        keep = keep.view(n, 1, 1, 1).to(rgb)
        grey = rgb.mean(1, keepdim=True)
        rgb = (grey + (rgb - grey) * keep - 0.5 * alpha) * gain + (0.5 + lift + tint) * alpha
        rgb = torch.minimum(rgb.clamp(min=0), alpha)
        lines = (torch.rand(n) < 0.15 * self.strength).nonzero().squeeze(1)
        if len(lines):
            part, cover = rgb[lines], alpha[lines]
            seen = torch.cat([part.mean(1, keepdim=True) + 1 - cover, cover], 1)
            across = (seen[..., 1:] - seen[..., :-1]).abs().sum(1, keepdim=True)
            down = (seen[..., 1:, :] - seen[..., :-1, :]).abs().sum(1, keepdim=True)
            edge = F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))
            edge = (F.max_pool2d(edge, 3, stride=1, padding=1) * 1.5 - 0.2).clamp(0, 1)
            pale = torch.rand(len(lines), 1, 1, 1).to(rgb) * (
                torch.rand(len(lines), 1, 1, 1).to(rgb) < 0.6
            )
            rgb[lines] = (part * (1 - pale) + cover * pale) * (1 - edge)
            alpha[lines] = torch.maximum(cover, edge)
        return rgb
