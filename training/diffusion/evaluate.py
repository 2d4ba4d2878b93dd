"""Measure the shipped tiny Stable Diffusion and write its card: ``python evaluate_diffusion.py``.

Every figure is computed from ``helpers/models/emoji-diffusion`` and ``helpers/models/emoji`` as they lie on
disk: one picture a concept, its seed the concept's number, 20 steps, one guidance scale for all. The judges
are the shipped CLIP, asked for the nearest of all names, and plain pixels, asked for the nearest training
picture; the artist's own drawings, and these drawings sent through the autoencoder, stand beside.
Composition is judged by rules on pixels alone. Results go to ``results.json``, tables to ``README.md``,
all pictures to ``contact_sheet.webp`` and walks between two prompts to ``film_strip.webp``, in the model's
folder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm
from transformers import CLIPModel

from helpers.diffusion import GUIDANCE
from training.artwork.build import OUTPUT, SIZE
from training.clip.data import COLOURS
from training.clip.evaluate import Tower, coarse, top, two, write_card
from training.clip.model import SHIPPED as CLIP
from training.clip.train import POSITIONS, with_article
from training.diffusion.model import SHIPPED, digest, load, text_rows
from training.diffusion.world import ARTIST, Scene, draw, members, prompt

LOGS = {"autoencoder": OUTPUT.parent / "vae_log.jsonl", "U-Net": OUTPUT.parent / "unet_log.jsonl"}
STEPS = 20
COLUMNS = 40
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
    pipe, prompts: list[str] | torch.Tensor, seeds: list[int], guidance: float = GUIDANCE
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


def levels(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 pictures as -1 … 1."""
    return pictures.float() / 127.5 - 1


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
    palette = torch.tensor([rgb for _, rgb in COLOURS]) / 127.5 - 1
    return int(((edge.median(dim=1).values - palette) ** 2).sum(1).argmin())


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


def composition_tasks() -> dict[str, list[tuple[str, int, Scene]]]:
    """What is asked, task by task: a prompt, the thing's number in ``ASKED``, and the scene it describes.

    The scene's concept is that number too; :func:`compose` puts the data's number in its place.
    """
    things = list(enumerate(ASKED))
    return {
        "ground colour": [
            (f"a {name} on a {colour} background", i, Scene(i, c))
            for i, name in things
            for c, (colour, _) in enumerate(COLOURS)
            if c
        ],
        "small": [(f"a small {name}", i, Scene(i, small=True)) for i, name in things],
        "large": [(f"a large {name}", i, Scene(i)) for i, name in things],
        "left, right, top or bottom": [
            (f"a {name} {where}", i, Scene(i, small=True, position=p))
            for i, name in things
            for p, where in enumerate(POSITIONS)
        ],
    }


def as_said(task: str, picture: torch.Tensor, scene: Scene) -> bool:
    """The rule of a task: whether pixels (3, 64, 64) in -1 … 1 show the scene's ground, size or place."""
    if task == "ground colour":
        return ground_of(picture) == scene.colour
    if task in ("small", "large"):
        return (0 < extent(picture)[2] < 0.7) == scene.small
    return place_of(picture) == scene.position


def compose(tower: Tower, pipe, data: dict) -> dict:
    """Prompts with a ground, a size or a place: is it drawn as said, and is it still the thing?

    *Drawn* is judged by rules on pixels, which are tried on the training scenes too; *thing* by the CLIP:
    whether the prompted name is nearest among the names asked for here.
    """
    names = tower.text(list(ASKED))
    number = {prompt(entry["name"]): c for c, entry in enumerate(data["concepts"])}
    result = {}
    for k, (task, asked) in enumerate(composition_tasks().items()):
        texts = [with_article(text) for text, _, _ in asked]
        seeds = [10_000 * (k + 1) + i for i in range(len(texts))]
        pixels = levels(paint(pipe, texts, seeds))
        scenes = [scene for _, _, scene in asked]
        real = draw(data, [s._replace(concept=number[ASKED[s.concept]]) for s in scenes])
        nearest = (tower.image(pixels) @ names.T).argmax(1).tolist()
        result[task] = {
            "tried": len(asked),
            "drawn": sum(as_said(task, p, s) for p, s in zip(pixels, scenes, strict=True)),
            "rule_on_training_scenes": sum(
                as_said(task, p, s) for p, s in zip(real, scenes, strict=True)
            ),
            "thing": sum(n == i for n, (_, i, _) in zip(nearest, asked, strict=True)),
            "chance": {
                "ground colour": round(1 / len(COLOURS), 3),
                "left, right, top or bottom": 0.25,
            }.get(task, 0.5),
        }
    return result


def clock(pipe) -> dict:
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


@torch.inference_mode()
def through_autoencoder(pipe, pixels: torch.Tensor) -> torch.Tensor:
    """Drawings encoded and decoded again: as good as a generated picture can get."""
    parts = [pipe.vae.decode(pipe.vae.encode(p).latent_dist.mean).sample for p in pixels.split(64)]
    return torch.cat(parts).clamp(-1, 1)


def walk(pipe, start: str, end: str) -> torch.Tensor:
    """From one prompt to another, all 77 rows mixed step by step, the noise the same: uint8 pictures."""
    rows = text_rows([start, end], pipe.text_encoder, pipe.tokenizer).float()
    way = torch.linspace(0, 1, FRAMES)[:, None, None]
    return paint(pipe, torch.lerp(rows[:1], rows[1:], way), [0] * FRAMES)


def contact_sheet(pictures: torch.Tensor, columns: int = COLUMNS) -> Image.Image:
    """uint8 pictures side by side, in order."""
    count = -(-len(pictures) // columns)
    blank = torch.full((count * columns - len(pictures), 3, SIZE, SIZE), 255, dtype=torch.uint8)
    grid = torch.cat([pictures, blank]).view(count, columns, 3, SIZE, SIZE)
    return Image.fromarray(grid.permute(0, 3, 1, 4, 2).reshape(count * SIZE, -1, 3).numpy())


def size(folder: Path = SHIPPED) -> dict[str, int]:
    """Bytes of the shipped files."""
    files = sorted(f for f in folder.rglob("*") if f.suffix in (".safetensors", ".json"))
    return {
        str(f.relative_to(folder).as_posix()): f.stat().st_size
        for f in files
        if f.name != "results.json"
    }


def measure() -> tuple[dict, torch.Tensor, torch.Tensor]:
    """Everything, the pictures of all concepts, and those of the walks."""
    data = torch.load(OUTPUT)
    chosen = members(data)
    names = [prompt(entry["name"]) for entry in data["concepts"]]
    tower = Tower(CLIPModel.from_pretrained(CLIP).float())
    pipe = load()
    speed = clock(pipe)
    right, order = torch.tensor(chosen), torch.arange(len(chosen))
    drawings = draw(data, [Scene(c) for c in chosen])
    pictures = paint(pipe, [names[c] for c in chosen], chosen)
    pixels = levels(pictures)
    table = tower.text(names)
    judged = {
        "generated": pixels,
        "through the autoencoder": through_autoencoder(pipe, drawings),
        "the artist's drawings": drawings,
    }
    similar = {kind: tower.image(p) @ table.T for kind, p in judged.items()}
    by_clip = {kind: top(s, right) for kind, s in similar.items()}
    real = by_clip["the artist's drawings"]
    answers = similar["generated"].argmax(1).tolist()
    result = {
        "sha256": digest(
            *(SHIPPED / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))
        ),
        "clip_sha256": digest(CLIP / "model.safetensors"),
        "artist": ARTIST,
        "steps": STEPS,
        "guidance_scale": GUIDANCE,
        "names": [names[c] for c in chosen],
        "left_out": [name for c, name in enumerate(names) if c not in set(chosen)],
        "all_names": len(names),
        "by_clip": by_clip,
        "share_of_real": [round(a / b, 3) for a, b in zip(by_clip["generated"], real, strict=True)],
        "chance_by_clip": [round(1 / len(names), 4), round(5 / len(names), 4)],
        "by_pixels": nearest_pictures(pixels, drawings, order),
        "chance_by_pixels": [round(1 / len(chosen), 4), round(5 / len(chosen), 4)],
        "grey_levels_from_the_drawing": round((pixels - drawings).abs().mean().item() * 127.5, 1),
        "mistaken": {names[c]: names[a] for c, a in zip(chosen, answers, strict=True) if a != c},
        "composition": compose(tower, pipe, data),
        "speed": speed,
        "bytes": size(),
    }
    result["curve"] = {
        part: [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for part, log in LOGS.items()
        if log.exists()
    }
    stored = SHIPPED / "results.json"
    if not result["curve"] and stored.exists():
        result["curve"] = json.loads(stored.read_text(encoding="utf-8")).get("curve", {})
    return result, pictures, torch.cat([walk(pipe, *ends) for ends in WALKS])


def tables(r: dict) -> str:
    """The card's tables, in Markdown."""
    clip, share = r["by_clip"], r["share_of_real"]
    megabytes = sum(r["bytes"].values()) / 1e6
    lines = [
        f"Measured by `training/evaluate_diffusion.py` on the weights with SHA-256 `{r['sha256'][:16]}…` (U-Net, then VAE) "
        f"and the CLIP with `{r['clip_sha256'][:16]}…`. {len(r['names'])} concepts, one picture each, seed = the concept's number, "
        f"{r['steps']} steps, guidance {r['guidance_scale']:g}. Cells are top-1 / top-5.",
        "",
        f"| nearest of all {r['all_names']} names, by the shipped CLIP | top-1 / top-5 |",
        "|---|---|",
        *(f"| {kind} | {two(score)} |" for kind, score in clip.items()),
        f"| **generated, as a share of the artist's drawings** | **{two(share)}** |",
        f"| chance | {r['chance_by_clip'][0]:.4f} / {r['chance_by_clip'][1]:.4f} |",
        "",
        f"| nearest of the {len(r['names'])} training pictures, by plain pixels | top-1 / top-5 |",
        "|---|---|",
        *(f"| compared at {kind} | {two(score)} |" for kind, score in r["by_pixels"].items()),
        f"| chance | {r['chance_by_pixels'][0]:.4f} / {r['chance_by_pixels'][1]:.4f} |",
        "",
        f"A generated picture differs from the drawing it was trained on by {r['grey_levels_from_the_drawing']:.1f} grey "
        "levels of 255 on average.",
        "",
        f"| composition, on {len(ASKED)} things | drawn as said | the rule on training scenes | still the thing | chance of drawn |",
        "|---|---|---|---|---|",
    ]
    for task, row in r["composition"].items():
        lines.append(
            f"| {task} | {row['drawn']} of {row['tried']} | {row['rule_on_training_scenes']} of {row['tried']} "
            f"| {row['thing']} of {row['tried']} | {row['chance']:.2f} |"
        )
    seconds = r["speed"]["seconds"]
    lines += [
        "",
        f"Speed where it was measured ({r['speed']['threads']} threads, {r['speed']['device']}): "
        + ", ".join(f"{label} {s:.1f} s" for label, s in seconds.items())
        + f". All files together: {megabytes:.1f} MB.",
    ]
    curve = [line for line in r.get("curve", {}).get("U-Net", []) if "loss" in line]
    if curve:
        lines += [
            "",
            "The U-Net's training curve: squared error of v by noise level, from little noise to much.",
            "",
            "| minutes | steps | little | less | more | much |",
            "|---|---|---|---|---|---|",
        ]
        stride = max(1, len(curve) // 12)
        for line in curve[(len(curve) - 1) % stride :: stride]:
            lines.append(
                f"| {line['minutes']:.0f} | {line['step']} | "
                + " | ".join(f"{loss:.3f}" for loss in line["loss"])
                + " |"
            )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="print the tables, write nothing")
    arguments = parser.parse_args()
    if not OUTPUT.exists():
        raise SystemExit("No pictures yet. Run `npm ci && python data.py` in this folder first.")
    result, pictures, walks = measure()
    print(tables(result))
    if not arguments.dry:
        (SHIPPED / "results.json").write_text(
            json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        contact_sheet(pictures).save(SHIPPED / "contact_sheet.webp", quality=85, method=6)
        contact_sheet(walks, FRAMES).save(SHIPPED / "film_strip.webp", quality=90, method=6)
        write_card(tables(result), SHIPPED / "README.md")


if __name__ == "__main__":
    main()
