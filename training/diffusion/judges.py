"""Who judges a generated picture: the shipped CLIP, a small network that knows artists, and rules on pixels.

Every judge is tried on real artwork too, and that score stands beside the generated pictures' in the card.
Pixels are (n, 3, 64, 64) in -1 … 1, as everywhere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm
from transformers import CLIPModel

from training.captions import SPOTS
from training.clip.model import SHIPPED as CLIP
from training.clip.model import Tower
from training.diffusion.world import SMALL, Scene, World
from training.drawing import PALETTE, SIZE

NEIGHBOURS = 3  # the k of precision and recall, as in the paper
COPY = (
    0.5  # a copy is so much nearer to a taught drawing than to another artist's of the same thing
)


class Names:
    """The shipped CLIP, asked which of all names a picture is nearest to."""

    def __init__(self, names: list[str]) -> None:
        self.tower = Tower.frozen(CLIPModel.from_pretrained(CLIP))
        self.number = {name: i for i, name in enumerate(names)}
        self.table = self.tower.text(names)

    def nearest(self, pixels: torch.Tensor, k: int = 5) -> torch.Tensor:
        """The k nearest names' numbers, nearest first, (n, k)."""
        return (self.tower.image(pixels) @ self.table.T).topk(k).indices

    def top(self, pixels: torch.Tensor, names: list[str]) -> list[float]:
        """Shares of pictures whose name is the nearest, and among the five nearest."""
        hits = self.hits(pixels, names)
        return [round(hits[:, :k].any(1).float().mean().item(), 3) for k in (1, 5)]

    def hits(self, pixels: torch.Tensor, names: list[str]) -> torch.Tensor:
        """Which of the five nearest names is the picture's: bool (n, 5)."""
        right = torch.tensor([self.number[name] for name in names])
        return self.nearest(pixels) == right[:, None]


class Artists:
    """A small convolutional network that tells artists apart, trained on taught drawings alone.

    It sees them a little moved, mirrored, and half of them softened, so that the autoencoder's softness does not
    tell anything. Rare artists count as much as others.
    """

    def __init__(self, world: World, epochs: int = 12) -> None:
        scenes = list(world.plain_scenes())
        pixels = world.draw(scenes)
        self.number = {artist: i for i, artist in enumerate(world.artists)}
        right = torch.tensor([self.number[scene.artist] for scene in scenes])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = self._new(len(world.artists))
            self._train(pixels, right, epochs)

    @staticmethod
    def _new(artists: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in ((3, 32), (32, 64), (64, 96), (96, 128)):
            layers += [
                nn.Conv2d(before, after, 3, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, artists)
        )

    def _train(self, pixels: torch.Tensor, right: torch.Tensor, epochs: int) -> None:
        weight = 1 / torch.bincount(right).float().clamp(min=1)
        weight *= len(weight) / weight.sum()
        optimiser = torch.optim.AdamW(self.model.parameters(), 2e-3)
        rounds = epochs * -(-len(pixels) // 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, rounds)
        for _ in tqdm(range(epochs), desc="artists", leave=False, disable=None):
            for part in torch.randperm(len(pixels)).split(64):
                loss = F.cross_entropy(self.model(_shaken(pixels[part])), right[part], weight)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        self.model.eval().requires_grad_(False)

    def right(self, pixels: torch.Tensor, artists: list[int]) -> float:
        """Share of pictures that are given to their artist, every artist counting as much as another."""
        guess = torch.cat([self.model(part) for part in pixels.split(256)]).argmax(1)
        wanted = torch.tensor([self.number[artist] for artist in artists])
        shares = [(guess[wanted == a] == a).float().mean() for a in wanted.unique()]
        return round(torch.stack(shares).mean().item(), 3)


def _shaken(pixels: torch.Tensor) -> torch.Tensor:
    """Moved by up to four pixels, every second one softened, half of them mirrored."""
    down, across = torch.randint(-4, 5, (2,)).tolist()
    moved = F.pad(pixels, (4, 4, 4, 4), value=1.0)
    moved = moved[:, :, 4 + down : 4 + down + SIZE, 4 + across : 4 + across + SIZE].clone()
    share = torch.rand(len(moved[::2]), 1, 1, 1)
    moved[::2] = torch.lerp(moved[::2], F.avg_pool2d(moved[::2], 3, 1, 1), share)
    return moved.flip(-1) if torch.rand(()) < 0.5 else moved


# --- rules on pixels ---


def ground_of(picture: torch.Tensor) -> int:
    """The colour of ``COLOURS`` that most of the outermost pixels of (3, 64, 64) are nearest to."""
    edge = torch.cat(
        [picture[:, 0], picture[:, -1], picture[:, 1:-1, 0], picture[:, 1:-1, -1]], 1
    ).T
    return int(torch.cdist(edge, PALETTE * 2 - 1).argmin(1).mode().values)


def extent(picture: torch.Tensor) -> tuple[float, float, float]:
    """Where something is drawn on white, (3, 64, 64): its middle across and down (-1 … 1), and its side.

    The side is that of the box around it, as a share of the picture's: the geometric mean of both.
    """
    drawn = (picture < 1 - 0.15 * 2).any(0)
    if not drawn.any():
        return 0.0, 0.0, 0.0
    down, across = drawn.any(1).nonzero().squeeze(1), drawn.any(0).nonzero().squeeze(1)
    box = [(line[0].item(), line[-1].item()) for line in (across, down)]
    middle = [(a + b + 1) / SIZE - 1 for a, b in box]
    sides = [(b - a + 1) / SIZE for a, b in box]
    return middle[0], middle[1], (sides[0] * sides[1]) ** 0.5


def is_small_at(picture: torch.Tensor, position: int) -> bool:
    """Whether something small is drawn, farther toward this place of ``POSITIONS`` than toward another."""
    across, down, side = extent(picture)
    farthest = int(torch.tensor([-across, across, -down, down]).argmax())
    return 0 < side < 0.7 and farthest == position


def enlarged(pixels: torch.Tensor, positions: list[int]) -> torch.Tensor:
    """Of each picture only what is at its place of ``POSITIONS``, as large as a picture.

    So the CLIP knows small things better than in the whole picture: of 300 real ones .91 instead of .56.
    """
    side, boxes = round(SIZE * SMALL), []
    for picture, position in zip(pixels, positions, strict=True):
        left, top = (round((SIZE - side) * share) for share in SPOTS[position])
        boxes.append(picture[:, top : top + side, left : left + side])
    return F.interpolate(torch.stack(boxes), size=(SIZE, SIZE), mode="bicubic").clamp(-1, 1)


# --- how alike ---


def distance(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of pixels in 0 … 1, each with each: (n, m)."""
    return torch.cdist(some.flatten(1), others.flatten(1), p=1) / (2 * some[0].numel())


def spread(pixels: torch.Tensor) -> float:
    """Mean :func:`distance` between different pictures of a set."""
    between = distance(pixels, pixels)
    return (between.sum() / (len(pixels) * (len(pixels) - 1))).item()


def mean_spread(sets: list[torch.Tensor]) -> float:
    """Mean :func:`spread` over the sets that hold more than one picture."""
    spreads = [spread(pixels) for pixels in sets if len(pixels) > 1]
    return sum(spreads) / len(spreads)


def nearest_drawings(
    pixels: torch.Tensor, taught: torch.Tensor, scenes: list[Scene]
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far from each picture the nearest taught drawing is, and how far one of the same thing by another artist.

    Both (n,), compared at 32 x 32: a copy that is a little softer is still a copy. Where only one artist's drawing of
    the thing is taught, the second is the nearest drawing of anything else.
    """
    between = distance(F.avg_pool2d(pixels, 2), F.avg_pool2d(taught, 2))
    thing = torch.tensor([scene.things[0] for scene in scenes])
    artist = torch.tensor([scene.artist for scene in scenes])
    near, which = between.min(1)
    other = (thing == thing[which, None]) & (artist != artist[which, None])
    other |= ~other.any(1, keepdim=True) & (thing != thing[which, None])
    return near, between.masked_fill(~other, torch.inf).min(1).values


def precision_recall(real: torch.Tensor, made: torch.Tensor, k: int = NEIGHBOURS) -> list[float]:
    """Precision and recall of Kynkäänniemi et al. (2019), *Improved Precision and Recall Metric for …*.

    Precision: share of what is made that lies within the manifold of what is real, the union of balls around
    every real point that reach its k-th neighbour. Recall: the same, the other way round. Features (n, d), (m, d).
    """

    def reach(points: torch.Tensor) -> torch.Tensor:
        return torch.cdist(points, points).kthvalue(k + 1).values

    between = torch.cdist(made, real)
    precision = (between <= reach(real)).any(1).float().mean().item()
    recall = (between <= reach(made)[:, None]).any(0).float().mean().item()
    return [round(precision, 3), round(recall, 3)]
