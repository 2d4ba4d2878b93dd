"""Batches of drawings on coloured grounds: placed, turned, recoloured, mixed between artists."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from training.artwork.build import SIZE, TRAIN_STYLES

# name and RGB of the grounds a caption can name
COLOURS = (
    ("white", (255, 255, 255)), ("black", (20, 20, 20)), ("red", (220, 40, 50)), ("orange", (250, 150, 40)),
    ("yellow", (250, 215, 60)), ("green", (70, 170, 80)), ("blue", (50, 110, 220)), ("purple", (140, 80, 190)),
    ("pink", (250, 160, 190)), ("brown", (130, 85, 55)), ("gray", (140, 140, 140)), ("cyan", (90, 210, 230)),
)  # fmt: skip
DIRECTED = (
    "left",
    "right",
    "clock",
    "o'clock",
    "thirty",
    "quarter",
    "crescent",
    "gibbous",
    "arrow",
    "mirror",
)
LETTERED = {
    "alphanum",
    "keycap",
    "arrow",
    "time",
    "math",
    "punctuation",
    "av-symbol",
    "zodiac",
    "other-symbol",
}


class Pictures:
    """All training drawings in memory, and batches made from them."""

    def __init__(self, data: dict, device: str) -> None:
        self.device = device
        self.strength = (
            1.0  # of mixing, warps, hidden parts and outlines; training lowers it at its end
        )
        drawings = data["pictures"].float() / 255
        drawings[:, :3] *= drawings[
            :, 3:
        ]  # premultiplied, so that moving and mixing leave no dark fringe
        self.drawings = drawings.half()
        wanted = torch.tensor([s in TRAIN_STYLES for s in data["styles"]])
        rows = wanted[data["style"]].nonzero().squeeze(1)
        self.trained = rows.tolist()
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
        """Drawings as they are, on white, normalised to -1 … 1: (n, 3, 64, 64)."""
        drawings = self.drawings[rows].float()
        return ((drawings[:, :3] + 1 - drawings[:, 3:]) * 2 - 1).to(self.device)

    def batch(self, captioned: int, extra: int) -> dict[str, torch.Tensor]:
        """``pixels`` (n, 3, 64, 64); ``concept``, ``colour``, ``size``, ``position`` long (n,), -1 where none is true.

        The first ``captioned`` are to be captioned; half of them have a sibling (same family of emoji) beside
        them, so that a batch holds hard pairs.
        """
        n = captioned + extra
        concept = torch.randint(len(self.by_concept), (n,))
        for i in range(0, captioned, 2):
            if torch.rand(1) < 0.5:
                family = self.family[int(concept[i])]
                concept[i + 1] = family[int(torch.randint(len(family), (1,)))]
        rows = [self.by_concept[c] for c in concept.tolist()]
        first = torch.tensor([r[int(torch.randint(len(r), (1,)))] for r in rows])
        second = torch.tensor([r[int(torch.randint(len(r), (1,)))] for r in rows])
        drawings = self.drawings[first].float().to(self.device)
        blend = (torch.rand(n) < 0.3 * self.strength).float() * torch.rand(n) * 0.5
        which = blend.nonzero().squeeze(1)
        if len(which):
            share = blend[which].view(-1, 1, 1, 1).to(self.device)
            drawings[which] = (
                drawings[which] * (1 - share)
                + self.drawings[second[which]].float().to(self.device) * share
            )

        colour, size, position = (torch.full((n,), -1) for _ in range(3))
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
        theta[:, 0, 0], theta[:, 0, 1] = (
            cos / (scale * stretch) * flip,
            sin / (scale * stretch) * flip,
        )
        theta[:, 1, 0], theta[:, 1, 1] = -sin * stretch / scale, cos * stretch / scale
        theta[:, :, 2] = -(theta[:, :, :2] @ shift.unsqueeze(-1)).squeeze(-1)
        grid = F.affine_grid(theta.to(self.device), (n, 4, SIZE, SIZE), align_corners=False)
        # another artist's proportions: a smooth random warp
        amount = 0.09 * torch.rand(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.6 * self.strength)
        warp = F.interpolate(torch.randn(n, 2, 4, 4) * amount, size=SIZE, mode="bicubic")
        grid = grid + warp.permute(0, 2, 3, 1).to(self.device)
        drawings = F.grid_sample(drawings, grid, padding_mode="zeros", align_corners=False)

        rgb, alpha = drawings[:, :3], drawings[:, 3:]
        rgb = self._recolour(rgb, alpha)
        ground = torch.ones(n, 3)
        drawn = torch.rand(n) < 0.5
        colour[~drawn] = 0
        named = drawn & (torch.rand(n) < 0.75)
        colour[named] = torch.randint(1, len(COLOURS), (int(named.sum()),))
        palette = torch.tensor([c[1] for c in COLOURS]) / 255
        ground[named] = (palette[colour[named]] + torch.randn(int(named.sum()), 3) * 0.04).clamp(
            0, 1
        )
        free = drawn & ~named
        ground[free] = torch.rand(int(free.sum()), 3)
        pixels = rgb + (1 - alpha) * ground.view(n, 3, 1, 1).to(self.device)
        # what artists share is the coarse picture: now and then only that is shown, or a part is hidden
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
        return {
            "pixels": pixels.clamp(0, 1) * 2 - 1,
            "concept": concept.to(self.device),
            "colour": colour.to(self.device),
            "size": size.to(self.device),
            "position": position.to(self.device),
        }

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
            edge = (seen[:, :, :, 1:] - seen[:, :, :, :-1]).abs().sum(1, keepdim=True)
            edge = F.pad(edge, (0, 1)) + F.pad(
                (seen[:, :, 1:] - seen[:, :, :-1]).abs().sum(1, keepdim=True), (0, 0, 0, 1)
            )
            edge = (F.max_pool2d(edge, 3, stride=1, padding=1) * 1.5 - 0.2).clamp(0, 1)
            pale = torch.rand(len(lines), 1, 1, 1).to(rgb) * (
                torch.rand(len(lines), 1, 1, 1).to(rgb) < 0.6
            )
            rgb[lines] = (part * (1 - pale) + cover * pale) * (1 - edge)
            alpha[lines] = torch.maximum(cover, edge)
        return rgb
