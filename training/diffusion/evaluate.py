"""Measure a tiny Stable Diffusion as it lies on disk, the shipped one by default, and write its card.

python -m training.diffusion.evaluate                    # some 1,500 pictures: a quarter of an hour on two CPU cores
python -m training.diffusion.evaluate --quick --dry      # a tenth of them, to see that it works

Seven questions, each with a control: do seeds differ, is a style word obeyed, is the thing recognised, does an
open prompt get right and different answers, are combinations put together that were left out of the training,
how much is copied, how much is right and how much is missed. asked.py has the prompts, judges.py the judges,
card.py the tables and floors.
Results go to ``results.json``, tables to the folder's ``README.md``, pictures to ``*.webp`` beside them.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tqdm import tqdm

from helpers.diffusion import GUIDANCE
from training.artwork import load as load_data
from training.captions import prompt
from training.clip.model import SHIPPED as CLIP
from training.diffusion import judges
from training.diffusion.asked import OPEN, OPEN_SEEDS, QUICK, SEEDS, Sizes, Task, open_task, tasks
from training.diffusion.card import tables
from training.diffusion.judges import Artists, Names
from training.diffusion.model import SHIPPED, load, text_rows, there_and_back
from training.diffusion.world import STYLES, Scene, World
from training.drawing import as_image, as_levels, as_pixels, sheet
from training.measuring import digest, stored, write, write_card
from training.options import Options

STEPS = 20
WALKS = (("dog face", "skunk"), ("fox", "frog"), ("pizza", "rocket"), ("red heart", "blue circle"), ("man farmer", "woman firefighter"))  # fmt: skip
FRAMES = 13  # of a walk, its ends included


@torch.inference_mode()
def paint(
    pipe: StableDiffusionPipeline,
    prompts: list[str] | torch.Tensor,
    seeds: list[int],
    guidance: float = GUIDANCE,
    label: str = "pictures",
) -> torch.Tensor:
    """One picture a prompt, or a stack of rows: uint8 (n, 3, 64, 64), what a reader gets and saves."""
    told = "prompt_embeds" if isinstance(prompts, torch.Tensor) else "prompt"
    pictures = []
    for start in tqdm(range(0, len(prompts), 32), desc=label, leave=False, disable=None):
        part = slice(start, start + 32)
        result = pipe(
            **{told: prompts[part]},
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            output_type="pt",
        )
        pictures.append((result.images * 255).round().byte().cpu())
    return torch.cat(pictures)


# --- the seven questions ---


def seeds_apart(pixels: torch.Tensor, each: int) -> float:
    """Mean over prompts of the mean distance between the pictures of a prompt's seeds."""
    groups = pixels.split(each)
    return sum(judges.spread(group[:SEEDS]) for group in groups) / len(groups)


def prompts_apart(pixels: torch.Tensor, each: int) -> float:
    """Mean over seeds of the mean distance between the pictures of all prompts."""
    return sum(judges.spread(pixels[seed::each]) for seed in range(each)) / each


def how_seeds_differ(made: dict[str, torch.Tensor], real: dict[str, torch.Tensor]) -> dict:
    """Question 1. For real artwork: the artists' drawings of a thing, and right answers to an open prompt."""
    result = {
        kind: {"generated": seeds_apart(made[kind], each)}
        for kind, each in (("open", OPEN_SEEDS), ("named", SEEDS), ("styled", SEEDS))
        if kind in made
    }
    result["between prompts"] = {"generated": prompts_apart(made["named"], SEEDS)}
    if real:
        result["open"]["real"] = seeds_apart(real["open"], OPEN_SEEDS)
        result["named"]["real"] = judges.mean_spread(real["artists"])
        result["between prompts"]["real"] = judges.spread(real["named"][::SEEDS])
    return {k: {a: round(b, 4) for a, b in v.items()} for k, v in result.items()}


def open_answers(pixels: torch.Tensor, asked: tuple[str, ...], world: World, clip: Names) -> dict:
    """Question 4: share of right answers, and the number of different right names in so many seeds, by prompt."""
    nearest = clip.nearest(pixels, 1).squeeze(1).split(OPEN_SEEDS)
    result = {}
    for text, numbers in zip(asked, nearest, strict=True):
        answers = {clip.number[world.name[c]] for c in world.open[text]}
        right = [number for number in numbers.tolist() if number in answers]
        result[text] = [round(len(right) / len(numbers), 3), len(set(right))]
    return result


def pairs_found(pixels: torch.Tensor, scenes: list[Scene], world: World, clip: Names) -> dict:
    """Of a pair each half alone, enlarged: is the thing's name among the five nearest?"""
    halves = [judges.enlarged(pixels, [side] * len(pixels)) for side in (0, 1)]
    names = [[world.name[s.things[i]] for s in scenes] for i in (0, 1)]
    found = [[clip.hits(half, n).any(1) for n in names] for half in halves]  # [half][thing]
    as_said, swapped = found[0][0] & found[1][1], found[0][1] & found[1][0]
    each = torch.cat([found[0][0], found[1][1]])
    shares = {"both": as_said, "both, either way round": as_said | swapped, "each": each}
    return {key: round(value.float().mean().item(), 3) for key, value in shares.items()}


def composed(
    task: str, pixels: torch.Tensor, scenes: list[Scene], world: World, clip: Names
) -> dict:
    """Question 5: ground or place as said; the thing the nearest name, and among five (of a small one, enlarged)."""
    names = [world.name[s.things[0]] for s in scenes]
    if task == "ground":
        drawn = [judges.ground_of(p) == s.colour for p, s in zip(pixels, scenes, strict=True)]
    else:
        drawn = [judges.is_small_at(p, s.position) for p, s in zip(pixels, scenes, strict=True)]
        pixels = judges.enlarged(pixels, [s.position for s in scenes])
    return {"as said": round(sum(drawn) / len(drawn), 3), "thing": clip.top(pixels, names)}


def style_words(pipe: StableDiffusionPipeline, world: World) -> dict[str, dict[str, float]]:
    """How far apart the 77 rows of "flat fox" and "soft fox" are, if those of "fox" and "tulip" are 1 apart."""
    things = random.Random(0).sample(list(world.name.values()), 40)

    def rows(texts: list[str]) -> torch.Tensor:
        return text_rows(texts, pipe.text_encoder, pipe.tokenizer).float().flatten(1)

    plain = rows(things)
    unit = torch.pdist(plain).mean()
    styled = {word: rows([f"{word} {thing}" for thing in things]) for word in STYLES.values()}
    return {
        a: {b: round(((x - y).norm(dim=1).mean() / unit).item(), 2) for b, y in styled.items() if b != a}
        for a, x in styled.items()
    }  # fmt: skip


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


def weights(folder: Path) -> str:
    """SHA-256 of the U-Net's and the VAE's."""
    return digest(
        *(folder / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))
    )


def size(folder: Path = SHIPPED) -> dict[str, int]:
    """Bytes of the model's files."""
    files = sorted(f for f in folder.rglob("*") if f.suffix in (".safetensors", ".json"))
    return {
        str(f.relative_to(folder).as_posix()): f.stat().st_size
        for f in files
        if f.name != "results.json"
    }


# --- all together ---


class Study:
    """One model's pictures and what is found in them."""

    def __init__(self, folder: Path, guidance: float, sizes: Sizes) -> None:
        self.folder, self.guidance, self.sizes = folder, guidance, sizes
        self.world = World(data := load_data())
        self.names = list(dict.fromkeys(prompt(entry["name"]) for entry in data["concepts"]))
        self.clip = Names(self.names)
        self.artists = Artists(self.world, *((4,) if sizes == QUICK else ()))
        self.pipe = load(folder).to("cuda" if torch.cuda.is_available() else "cpu")
        self.asked = OPEN[:: -(-len(OPEN) // sizes.open)]
        self.tasks = {"open": open_task(self.asked, self.world), **tasks(self.world, sizes)}
        self.scenes = list(self.world.plain_scenes())
        self.taught = self.world.draw(self.scenes)

    def paint(self, task: Task, label: str) -> torch.Tensor:
        """A task's pictures, in pixels."""
        return as_pixels(paint(self.pipe, task.texts, task.seeds, self.guidance, label))

    def precision(self, made: torch.Tensor, back: torch.Tensor) -> dict[str, list[float]]:
        """Question 7, with controls on either side: what is real, and what is not."""
        n = len(made)
        taught = self.taught[
            torch.randperm(len(self.taught), generator=torch.Generator().manual_seed(0))
        ]
        noise = torch.rand(made.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        sets = {
            "generated": made,
            "left-out drawings through the autoencoder": back,
            "taught drawings": taught[:n],
            "two taught drawings mixed": (taught[:n] + taught[n : 2 * n]) / 2,
            "one taught drawing again and again": taught[:1] + 0.02 * noise,
            "noise": noise,
        }  # fmt: skip
        return {kind: self.precision_of(pixels) for kind, pixels in sets.items()}

    def precision_of(self, pixels: torch.Tensor) -> list[float]:
        """Precision and recall in the CLIP's image space; reference: every drawing that was left out."""
        image = self.clip.tower.image
        real = self.world.draw(self.world.left_out_drawings())
        return judges.precision_recall(image(real), image(pixels))

    def through(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels through the autoencoder."""
        return there_and_back(self.pipe.vae, pixels.to(self.pipe.device)).cpu().clamp(-1, 1)

    def things(self, *kinds: str) -> list[str]:
        return [self.world.name[s.things[0]] for kind in kinds for s in self.tasks[kind].scenes]

    def memory(self, pixels: torch.Tensor) -> dict[str, float]:
        """Question 6: how far the nearest taught drawing is and another artist's of that thing; share of copies."""
        near, other = judges.nearest_drawings(pixels, self.taught, self.scenes)
        return {
            "nearest": round(near.median().item(), 4),
            "another artist's": round(other.median().item(), 4),
            "copies": round((near < judges.COPY * other).float().mean().item(), 3),
        }

    def answers(self, pixels: torch.Tensor) -> list[str]:
        """Nearest names."""
        return [self.names[i] for i in self.clip.nearest(pixels, 1).squeeze(1).tolist()]

    @torch.inference_mode()
    def measure(self) -> tuple[dict, dict[str, torch.Tensor]]:
        """All results, and the pictures task by task, in pixels."""
        world, clip = self.world, self.clip
        speed = clock(self.pipe)
        made = {kind: self.paint(task, kind) for kind, task in self.tasks.items()}
        real = {kind: world.draw(task.scenes) for kind, task in self.tasks.items()}
        ways = {"generated": made, "real": real}
        close = {
            way: judges.enlarged(pixels["small"], [s.position for s in self.tasks["small"].scenes])
            for way, pixels in ways.items()
        }
        real["artists"] = [
            world.draw(world.scenes_of(s.things[0])) for s in self.tasks["named"].scenes[::SEEDS]
        ]
        back = self.through(real["left out"])
        by = {kind: [s.artist for s in self.tasks[kind].scenes] for kind in ("taught", "left out")}
        plain = ("world", "named", "taught")
        result = {
            "sha256": weights(self.folder),
            "clip_sha256": digest(CLIP / "model.safetensors"),
            "artists": STYLES,
            "steps": STEPS,
            "guidance_scale": self.guidance,
            "names": [world.name[c] for c in world.things],
            "drawings": len(self.taught),
            "left_out_drawings": len(world.left_out_drawings()),
            "all_names": len(self.names),
            "pictures": {kind: len(pixels) for kind, pixels in made.items()},
            "sheets": {kind: list(dict.fromkeys(self.tasks[kind].texts)) for kind in ("open", "taught", "pair")},
            "seeds": how_seeds_differ(made, real),
            "styles": {
                kind: {way: self.artists.right(pixels[kind], by[kind]) for way, pixels in ways.items()}
                for kind in by
            },
            "style_words": style_words(self.pipe, world),
            "names_found": {
                **{
                    kind: {way: clip.top(pixels[kind], self.things(kind)) for way, pixels in ways.items()}
                    for kind in (*plain, "left out", "shape")
                },
                "small": {way: clip.top(pixels, self.things("small")) for way, pixels in close.items()},
                "all": {
                    way: clip.top(torch.cat([pixels[kind] for kind in plain]), self.things(*plain))
                    for way, pixels in ways.items()
                },
            },
            "nearest": dict(zip(self.things("world"), self.answers(made["world"]), strict=True)),
            "open": {way: open_answers(pixels["open"], self.asked, world, clip) for way, pixels in ways.items()},
            "composition": {
                task: {
                    way: composed(task, pixels[task], self.tasks[task].scenes, world, clip)
                    for way, pixels in ways.items()
                }
                for task in ("ground", "place")
            },
            "pairs": {
                way: pairs_found(pixels["pair"], self.tasks["pair"].scenes, world, clip)
                for way, pixels in ways.items()
            },
            "memory": {
                kind: self.memory(pixels)
                for kind, pixels in {
                    **{kind: made[kind] for kind in ("open", "world", "taught", "left out")},
                    "real, left out": real["left out"],
                    "real, taught, through the autoencoder": self.through(self.taught[::20]),
                }.items()
            },
            "precision_recall": self.precision(made["left out"], back),
            "speed": speed,
            "bytes": size(self.folder),
            "curve": stored(self.folder).get("curve", {}),
        }  # fmt: skip
        result["styles"]["left out"]["through the autoencoder"] = self.artists.right(
            back, by["left out"]
        )
        return result, made

    @torch.inference_mode()
    def former(self, folder: Path) -> dict:
        """What of it a former model can be asked: seeds, open prompts, names, copies, precision and recall."""
        pipe, self.pipe = self.pipe, load(folder)
        known = set(stored(folder)["names"])
        own = [
            s
            for s in self.scenes
            if s.artist == self.world.artists[0] and self.world.name[s.things[0]] in known
        ]
        ask = self.tasks["named"]
        keep = [i for i, name in enumerate(self.things("named")) if name in known]
        tasks = {
            "open": self.tasks["open"],
            "named": Task(*([part[i] for i in keep] for part in ask)),
            "own": Task(*zip(*((self.world.name[s.things[0]], s, i) for i, s in enumerate(
                random.Random(0).sample(own, min(len(own), self.sizes.left_out)))), strict=True)),
        }  # fmt: skip
        made = {
            kind: self.paint(Task(*map(list, task)), f"former: {kind}")
            for kind, task in tasks.items()
        }
        names = [self.world.name[s.things[0]] for s in tasks["own"].scenes]
        self.pipe = pipe
        return {
            "sha256": weights(folder),
            "seeds": how_seeds_differ(made, {}),
            "open": open_answers(made["open"], self.asked, self.world, self.clip),
            "names_found": {
                "generated": self.clip.top(made["own"], names),
                "real": self.clip.top(self.world.draw(list(tasks["own"].scenes)), names),
            },
            "memory": {kind: self.memory(made[kind]) for kind in ("open", "own")},
            "precision_recall": self.precision_of(made["own"]),
        }  # fmt: skip

    def sheets(self, made: dict[str, torch.Tensor]) -> dict[str, Image.Image]:
        """What the card and the README show."""

        def shown(pixels: torch.Tensor, columns: int) -> Image.Image:
            return sheet([as_image(p) for p in as_levels(pixels)], columns)

        opened = made["open"].view(len(self.asked), OPEN_SEEDS, *made["open"].shape[1:])
        walks = [
            walk(self.pipe, *ends, self.guidance)
            for ends in WALKS[: 1 if self.sizes == QUICK else None]
        ]
        return {
            "open_prompts": shown(opened[:, :SEEDS].flatten(0, 1), 2 * SEEDS),
            "styles": shown(made["taught"], 2 * len(STYLES)),
            "contact_sheet": shown(made["world"], 30),
            "pairs": shown(made["pair"], 16),
            "film_strip": shown(as_pixels(torch.cat(walks)), FRAMES),
        }  # fmt: skip


def walk(
    pipe: StableDiffusionPipeline, start: str, end: str, guidance: float = GUIDANCE
) -> torch.Tensor:
    """From one prompt to another, all 77 rows mixed step by step, the noise the same: levels."""
    rows = text_rows([start, end], pipe.text_encoder, pipe.tokenizer).float()
    way = torch.linspace(0, 1, FRAMES)[:, None, None]
    return paint(pipe, torch.lerp(rows[:1], rows[1:], way), [0] * FRAMES, guidance, "walk")


def command_line() -> argparse.Namespace:
    options = Options(__doc__)
    options.flag("--dry", "print the tables, write nothing")
    options.flag("--quick", "a tenth of the pictures: figures are rough, floors mean little")
    options.folder("--folder", SHIPPED, "whose model is measured, and where the card is written")
    options.add_argument("--former", type=Path, metavar="FOLDER", help="a former model to compare with; its figures are kept in results.json")  # fmt: skip
    options.number("--guidance", GUIDANCE, "guidance scale of all pictures")
    options.number(
        "--every",
        Sizes().every,
        "one in how many things is on contact_sheet.webp; 1 takes ten minutes more",
    )
    return options.parse_args()


def main() -> None:
    """Command line."""
    arguments = command_line()
    folder = arguments.folder
    sizes = QUICK if arguments.quick else Sizes(every=arguments.every)
    study = Study(folder, arguments.guidance, sizes)
    result, made = study.measure()
    former = study.former(arguments.former) if arguments.former else stored(folder).get("former")
    result["former"] = former
    print(tables(result))
    if arguments.dry:
        return
    write(folder, result)
    for name, picture in study.sheets(made).items():
        picture.save(folder / f"{name}.webp", quality=85, method=6)
    if (folder / "README.md").exists():
        write_card(tables(result), folder)


if __name__ == "__main__":
    main()
