"""Measure a tiny Stable Diffusion as it lies on disk, the shipped one by default, and write its card.

One picture a concept, its seed the concept's number, 20 steps, one guidance scale for all. The judges are the
shipped CLIP, asked for the nearest of all names, and plain pixels, asked for the nearest training picture; the
artist's own drawings, and these drawings sent through the autoencoder, stand beside. Composition is judged by
rules on pixels alone. Results go to ``results.json``, tables to ``README.md``, all pictures to
``contact_sheet.webp`` and walks between two prompts to ``film_strip.webp``, in the model's folder.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tqdm import tqdm
from transformers import CLIPModel

from helpers.diffusion import GUIDANCE
from training.artwork import load as load_data
from training.captions import POSITIONS
from training.clip.model import SHIPPED as CLIP
from training.clip.model import Tower
from training.diffusion.model import SHIPPED, load, text_rows, there_and_back
from training.diffusion.world import ARTIST, Scene, World
from training.drawing import COLOURS, PALETTE, SIZE, as_image, as_pixels, sheet
from training.measuring import (
    about_twelve,
    coarse,
    command_line,
    digest,
    head,
    row,
    stored,
    top,
    two,
    write,
    write_card,
)

STEPS = 20
COLUMNS = 40
CHANCE = {"ground colour": round(1 / len(COLOURS), 3), "left, right, top or bottom": 0.25}
WALKS = (("dog face", "skunk"), ("fox", "frog"), ("pizza", "rocket"), ("red heart", "blue circle"), ("man farmer", "woman firefighter"))  # fmt: skip
FRAMES = 13  # of a walk, its ends included
# Ground, size and place are asked of these: everyday things from all over the world, and dark, light and
# coloured ones, because a ground may be mistaken for a part of the drawing.
ASKED = (
    "red heart", "dog face", "cat face", "fox", "frog", "pizza", "rocket", "red apple", "banana", "automobile",
    "house", "tulip", "grinning face", "penguin", "soccer ball", "guitar", "crown", "birthday cake", "butterfly",
    "snowman", "ghost", "strawberry", "prince", "man farmer", "woman firefighter", "blue circle", "green square",
    "sun", "umbrella", "octopus",
)  # fmt: skip


@torch.inference_mode()
def paint(
    pipe: StableDiffusionPipeline,
    prompts: list[str] | torch.Tensor,
    seeds: list[int],
    guidance: float = GUIDANCE,
) -> torch.Tensor:
    """One picture a prompt, or a stack of rows: uint8 (n, 3, 64, 64), what a reader gets and saves."""
    told = "prompt_embeds" if isinstance(prompts, torch.Tensor) else "prompt"
    pictures = []
    for start in tqdm(range(0, len(prompts), 32), desc="pictures", leave=False, disable=None):
        part = slice(start, start + 32)
        result = pipe(
            **{told: prompts[part]},
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            output_type="pt",
        )
        pictures.append((result.images * 255).round().byte())
    return torch.cat(pictures)


def nearest_pictures(pixels: torch.Tensor, known: torch.Tensor, right: torch.Tensor) -> dict:
    """Top-1 and top-5 of the nearest training pictures, by plain pixels at two sizes."""
    return {
        "16 x 16": top(-torch.cdist(coarse(pixels), coarse(known)), right),
        "64 x 64": top(-torch.cdist(pixels.flatten(1), known.flatten(1)), right),
    }


def ground_of(picture: torch.Tensor) -> int:
    """The colour of ``COLOURS`` nearest the ground: the median of the outermost pixels, (3, 64, 64) in -1 … 1."""
    edge = torch.cat(
        [picture[:, 0], picture[:, -1], picture[:, 1:-1, 0], picture[:, 1:-1, -1]], dim=1
    )
    return int(((edge.median(dim=1).values - (PALETTE * 2 - 1)) ** 2).sum(1).argmin())


def extent(picture: torch.Tensor) -> tuple[float, float, float]:
    """Where something is drawn on white, (3, 64, 64) in -1 … 1: its middle across and down (-1 … 1), and its side.

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


def place_of(picture: torch.Tensor) -> int:
    """The place of ``POSITIONS`` toward which the drawing lies farthest from the middle."""
    across, down, _ = extent(picture)
    return int(torch.tensor([-across, across, -down, down]).argmax())


def composition_tasks() -> dict[str, list[tuple[str, Scene]]]:
    """What is asked, task by task: a prompt, and the scene it describes.

    The scene's concept is a number in ``ASKED``; :func:`compose` puts the data's in its place.
    """
    things, places = range(len(ASKED)), range(len(POSITIONS))

    def ask(size: str, scenes: list[Scene]) -> list[tuple[str, Scene]]:
        return [(scene.say(f"a {size}{ASKED[scene.concept]}"), scene) for scene in scenes]

    return {
        "ground colour": ask("", [Scene(i, c) for i in things for c in range(1, len(COLOURS))]),
        "small": ask("small ", [Scene(i, small=True) for i in things]),
        "large": ask("large ", [Scene(i) for i in things]),
        "left, right, top or bottom": ask(
            "", [Scene(i, small=True, position=p) for i in things for p in places]
        ),
    }


def as_said(task: str, picture: torch.Tensor, scene: Scene) -> bool:
    """The rule of a task: whether pixels (3, 64, 64) in -1 … 1 show the scene's ground, size or place."""
    if task == "ground colour":
        return ground_of(picture) == scene.colour
    if task in ("small", "large"):
        return (0 < extent(picture)[2] < 0.7) == scene.small
    return place_of(picture) == scene.position


def compose(tower: Tower, pipe: StableDiffusionPipeline, world: World) -> dict:
    """Prompts with a ground, a size or a place: is it drawn as said, and is it still the thing?

    *Drawn* is judged by rules on pixels, which are tried on the training scenes too; *thing* by the CLIP:
    whether the prompted name is nearest among the names asked for here.
    """
    names = tower.text(list(ASKED))
    number = {name: c for c, name in enumerate(world.all_names)}
    result = {}
    for k, (task, asked) in enumerate(composition_tasks().items()):
        texts, scenes = zip(*asked, strict=True)
        pixels = as_pixels(
            paint(pipe, list(texts), [10_000 * (k + 1) + i for i in range(len(texts))])
        )
        real = world.draw([s._replace(concept=number[ASKED[s.concept]]) for s in scenes])
        nearest = (tower.image(pixels) @ names.T).argmax(1).tolist()
        drawn, rule = (
            sum(as_said(task, p, s) for p, s in zip(pictures, scenes, strict=True))
            for pictures in (pixels, real)
        )
        result[task] = {
            "tried": len(asked),
            "drawn": drawn,
            "rule_on_training_scenes": rule,
            "thing": sum(n == s.concept for n, s in zip(nearest, scenes, strict=True)),
            "chance": CHANCE.get(task, 0.5),
        }
    return result


def clock(pipe: StableDiffusionPipeline) -> dict:
    """Seconds for one picture and for a sheet of 4 x 4, 20 steps with guidance, on this machine."""
    seconds = {}
    paint(pipe, ["warming up"], [0])
    for label, prompts in (("one picture", ["fox"]), ("sheet of 4 x 4", ["fox"] * 16)):
        times = []
        for _ in range(3 if len(prompts) == 1 else 1):
            began = time.perf_counter()
            paint(pipe, prompts, list(range(len(prompts))))
            times.append(time.perf_counter() - began)
        seconds[label] = round(sorted(times)[len(times) // 2], 2)
    return {"seconds": seconds, "threads": torch.get_num_threads(), "device": str(pipe.device)}


def walk(pipe: StableDiffusionPipeline, start: str, end: str) -> torch.Tensor:
    """From one prompt to another, all 77 rows mixed step by step, the noise the same: levels."""
    rows = text_rows([start, end], pipe.text_encoder, pipe.tokenizer).float()
    way = torch.linspace(0, 1, FRAMES)[:, None, None]
    return paint(pipe, torch.lerp(rows[:1], rows[1:], way), [0] * FRAMES)


def contact_sheet(pictures: torch.Tensor, columns: int = COLUMNS) -> Image.Image:
    """Levels side by side, in order."""
    return sheet([as_image(picture) for picture in pictures], columns)


def size(folder: Path = SHIPPED) -> dict[str, int]:
    """Bytes of the model's files."""
    files = sorted(f for f in folder.rglob("*") if f.suffix in (".safetensors", ".json"))
    return {
        str(f.relative_to(folder).as_posix()): f.stat().st_size
        for f in files
        if f.name != "results.json"
    }


@torch.inference_mode()
def measure(folder: Path = SHIPPED) -> tuple[dict, torch.Tensor, torch.Tensor]:
    """Everything, the pictures of all concepts, and those of the walks."""
    world = World(load_data())
    chosen, names = world.concepts, world.all_names
    tower = Tower.frozen(CLIPModel.from_pretrained(CLIP))
    pipe = load(folder)
    speed = clock(pipe)
    right, order = torch.tensor(chosen), torch.arange(len(chosen))
    drawings = world.draw(world.scenes)
    pictures = paint(pipe, world.names, chosen)
    pixels = as_pixels(pictures)
    table = tower.text(names)
    judged = {
        "generated": pixels,
        "through the autoencoder": there_and_back(pipe.vae, drawings).clamp(-1, 1),
        "the artist's drawings": drawings,
    }
    similar = {kind: tower.image(p) @ table.T for kind, p in judged.items()}
    by_clip = {kind: top(s, right) for kind, s in similar.items()}
    real = by_clip["the artist's drawings"]
    answers = similar["generated"].argmax(1).tolist()
    weights = [folder / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    result = {
        "sha256": digest(*weights),
        "clip_sha256": digest(CLIP / "model.safetensors"),
        "artist": ARTIST,
        "steps": STEPS,
        "guidance_scale": GUIDANCE,
        "names": world.names,
        "left_out": [name for c, name in enumerate(names) if c not in set(chosen)],
        "all_names": len(names),
        "by_clip": by_clip,
        "share_of_real": [round(a / b, 3) for a, b in zip(by_clip["generated"], real, strict=True)],
        "chance_by_clip": [round(1 / len(names), 4), round(5 / len(names), 4)],
        "by_pixels": nearest_pictures(pixels, drawings, order),
        "chance_by_pixels": [round(1 / len(chosen), 4), round(5 / len(chosen), 4)],
        "grey_levels_from_the_drawing": round((pixels - drawings).abs().mean().item() * 127.5, 1),
        "mistaken": {names[c]: names[a] for c, a in zip(chosen, answers, strict=True) if a != c},
        "composition": compose(tower, pipe, world),
        "speed": speed,
        "bytes": size(folder),
        "curve": stored(folder).get("curve", {}),
    }
    return result, pictures, torch.cat([walk(pipe, *ends) for ends in WALKS])


def tables(r: dict) -> str:
    """The card's tables, in Markdown."""
    both = "top-1 / top-5"

    def chance(pair: list[float]) -> str:
        return row("chance", f"{pair[0]:.4f} / {pair[1]:.4f}")

    lines = [
        f"Measured by `training/diffusion/evaluate.py` on the weights with SHA-256 `{r['sha256'][:16]}…` (U-Net, then VAE) "
        f"and the CLIP with `{r['clip_sha256'][:16]}…`. {len(r['names'])} concepts, one picture each, seed = the concept's number, "
        f"{r['steps']} steps, guidance {r['guidance_scale']:g}. Cells are {both}.",
        *head(f"nearest of all {r['all_names']} names, by the shipped CLIP", both),
        *(row(kind, two(score)) for kind, score in r["by_clip"].items()),
        row("**generated, as a share of the artist's drawings**", f"**{two(r['share_of_real'])}**"),
        chance(r["chance_by_clip"]),
        *head(f"nearest of the {len(r['names'])} training pictures, by plain pixels", both),
        *(row(f"compared at {kind}", two(score)) for kind, score in r["by_pixels"].items()),
        chance(r["chance_by_pixels"]),
        "",
        f"A generated picture differs from the drawing it was trained on by {r['grey_levels_from_the_drawing']:.1f} grey "
        "levels of 255 on average.",
        *head(
            f"composition, on {len(ASKED)} things", "drawn as said", "the rule on training scenes",
            "still the thing", "chance of drawn",
        ),
    ]  # fmt: skip
    for task, score in r["composition"].items():
        shares = (
            f"{score[k]} of {score['tried']}" for k in ("drawn", "rule_on_training_scenes", "thing")
        )
        lines.append(row(task, *shares, f"{score['chance']:.2f}"))
    speed, megabytes = r["speed"], sum(r["bytes"].values()) / 1e6
    times = ", ".join(f"{label} {s:.1f} s" for label, s in speed["seconds"].items())
    lines += [
        "",
        f"Speed where it was measured ({speed['threads']} threads, {speed['device']}): {times}. "
        f"All files together: {megabytes:.1f} MB.",
    ]
    curve = [line for line in r["curve"].get("U-Net", []) if "loss" in line]
    if curve:
        lines += [
            "",
            "The U-Net's training curve: squared error of v by noise level, from little noise to much.",
            *head("minutes", "steps", "little", "less", "more", "much"),
        ]
        for line in about_twelve(curve):
            losses = (f"{loss:.3f}" for loss in line["loss"])
            lines.append(row(f"{line['minutes']:.0f}", line["step"], *losses))
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    arguments = command_line(__doc__, SHIPPED)
    folder = arguments.folder
    result, pictures, walks = measure(folder)
    print(tables(result))
    if not arguments.dry:
        write(folder, result)
        contact_sheet(pictures).save(folder / "contact_sheet.webp", quality=85, method=6)
        contact_sheet(walks, FRAMES).save(folder / "film_strip.webp", quality=90, method=6)
        write_card(tables(result), folder)


if __name__ == "__main__":
    main()
