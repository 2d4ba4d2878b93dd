"""The tiny Stable Diffusion's training: its world and captions, and that the measuring measures."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import EMOJI

from training.artwork import HELD_OUT_STYLES, TRAIN_STYLES
from training.captions import POSITIONS, prompt
from training.clip import words
from training.diffusion import evaluate, model, unet, vae, world
from training.drawing import COLOURS, WHITE
from training.muon import Muon, orthogonal

World, Scene = world.World, world.Scene


def concept(name: str, subgroup: str = "animal-mammal", *tags: str) -> dict[str, Any]:
    return {"name": name, "tags": list(tags), "code": "0", "group": "g", "subgroup": subgroup}


@pytest.fixture
def toy() -> dict[str, Any]:
    """Six concepts by all artists; a drawing is a square of one colour in a transparent frame."""
    concepts = [
        concept("dog face", "animal-mammal", "bark", "canine", "pet", "puppy"),
        concept("Fox", "animal-mammal", "sly", "pet"),
        concept("woman’s hat", "person"),
        concept("up arrow", "arrow"),
        concept("dog face: twice", "animal-mammal"),
        concept("copy of the fox", "animal-mammal"),
    ]
    styles = [*TRAIN_STYLES, *HELD_OUT_STYLES]
    drawings, of, by = [], [], []
    for s in range(len(styles)):
        for c in range(len(concepts)):
            drawing = torch.zeros(4, 64, 64, dtype=torch.uint8)
            drawing[:, 4:60, 4:60] = 10 * (1 if c == 5 else c) + s
            drawing[3, 4:60, 4:60] = 255
            drawings.append(drawing)
            of.append(c)
            by.append(s)
    return {
        "concepts": concepts,
        "styles": styles,
        "pictures": torch.stack(drawings),
        "concept": torch.tensor(of),
        "style": torch.tensor(by),
    }


def test_the_world_leaves_out_signs_variants_and_second_names(toy) -> None:
    assert World(toy).concepts == [0, 1, 2]


def test_what_is_brought_back_or_called_otherwise_exists() -> None:
    names = json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))["names"]
    known = {prompt(name) for name in names}
    asked = set(evaluate.ASKED)
    assert {*world.BROUGHT_BACK, *world.ALSO_CALLED} <= known
    assert asked <= known
    assert len(asked) == len(evaluate.ASKED)


def test_the_artist_may_be_trained_on(toy) -> None:
    assert world.ARTIST in TRAIN_STYLES
    assert world.ARTIST not in HELD_OUT_STYLES
    number = toy["styles"].index(world.ARTIST)
    assert {int(toy["style"][row]) for row in World(toy).row.values()} == {number}


def test_the_autoencoder_never_sees_a_held_out_artist(toy) -> None:
    drawings = vae.Drawings(World(toy))
    styles = {toy["styles"][int(toy["style"][row])] for row in drawings.all}
    assert styles == set(TRAIN_STYLES)
    assert {int(toy["style"][row]) for row in drawings.own} == {toy["styles"].index(world.ARTIST)}
    torch.manual_seed(0)
    batch = drawings.batch(40)
    assert batch.shape == (40, 3, 64, 64)
    assert batch.abs().max() < 1 + 1e-5


def test_a_prompt_is_lower_case_with_a_straight_apostrophe() -> None:
    assert prompt("Woman’s hat") == "woman's hat"


def test_keywords_are_unambiguous_and_not_held_out(toy) -> None:
    found = World(toy).keywords()
    assert found[0] == ["puppy", "doggy", "bark"]  # no "canine" (held out), no "pet" (two have it)
    assert found[1] == ["sly"]
    for called in world.ALSO_CALLED.values():
        assert not [word for word in called if words.is_held_out(word)]


def test_every_caption_says_what_its_scene_shows(toy) -> None:
    listed = World(toy).captions(torch.Generator().manual_seed(0))
    grounds = {name for name, _ in COLOURS}
    for text, scene, kind, weight in listed:
        assert weight > 0
        assert text == text.lower()
        said = re.search(r"on an? (\w+) background", text)
        assert (said[1] if said else "white") == COLOURS[scene.colour][0]
        assert said is None or said[1] in grounds
        where = [p for p, place in enumerate(POSITIONS) if place in text]
        assert where == ([] if scene.position == world.MIDDLE else [scene.position])
        assert scene.small == (bool(where) or bool(re.search(r"\b(small|tiny)\b", text)))
        if kind == "plain":
            assert prompt(toy["concepts"][scene.concept]["name"]) in text
            assert scene == Scene(scene.concept)


def test_shares_of_captions_are_as_declared(toy) -> None:
    listed = World(toy).captions(torch.Generator().manual_seed(0))
    share: Counter = Counter()
    for caption in listed:
        share[caption.kind] += caption.weight
    assert math.isclose(sum(world.SHARES.values()), 1.0)
    assert share == pytest.approx(world.SHARES)
    assert {c.scene.concept for c in listed if c.kind == "plain"} == {0, 1, 2}
    # twice the same question, twice the same answer
    assert listed == World(toy).captions(torch.Generator().manual_seed(0))


def test_scenes_are_drawn_as_they_say(toy) -> None:
    plain, blue, small, left = World(toy).draw(
        [
            Scene(0),
            Scene(0, colour=6),
            Scene(0, small=True),
            Scene(0, small=True, position=0),
        ],
    )
    assert evaluate.ground_of(plain) == WHITE
    assert evaluate.ground_of(blue) == 6
    assert evaluate.extent(small)[2] < 0.6 < evaluate.extent(plain)[2]
    assert evaluate.place_of(left) == 0


@pytest.mark.parametrize("position", range(len(POSITIONS)))
@pytest.mark.parametrize("colour", range(1, len(COLOURS)))
def test_rules_tell_grounds_and_places_apart(toy, colour: int, position: int) -> None:
    (ground,) = World(toy).draw([Scene(1, colour)])
    assert evaluate.ground_of(ground) == colour
    (placed,) = World(toy).draw([Scene(1, small=True, position=position)])
    assert evaluate.place_of(placed) == position
    scene = Scene(1, colour, True, position)
    assert evaluate.as_said("ground colour", ground, scene)
    assert not evaluate.as_said("ground colour", placed, scene)
    assert evaluate.as_said("small", placed, scene)
    assert not evaluate.as_said("large", placed, Scene(1))


def test_an_empty_picture_is_nowhere_and_neither_small_nor_large() -> None:
    blank = torch.ones(3, 64, 64)
    assert evaluate.extent(blank) == (0.0, 0.0, 0.0)
    assert not evaluate.as_said("small", blank, Scene(0, small=True))


def test_every_task_asks_of_every_thing() -> None:
    tasks = evaluate.composition_tasks()
    things = len(evaluate.ASKED)
    assert {task: len(asked) for task, asked in tasks.items()} == {
        "ground colour": things * (len(COLOURS) - 1),
        "small": things,
        "large": things,
        "left, right, top or bottom": things * len(POSITIONS),
    }
    for asked in tasks.values():
        assert all(evaluate.ASKED[s.concept] in text for text, s in asked)


def test_nearest_pictures_finds_copies_and_not_others() -> None:
    known = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    order = torch.arange(12)
    copies = evaluate.nearest_pictures(known * 0.9, known, order)
    assert copies == {"16 x 16": [1.0, 1.0], "64 x 64": [1.0, 1.0]}
    others = evaluate.nearest_pictures(known.roll(1, 0), known, order)
    assert others["64 x 64"][0] == 0.0


def test_the_contact_sheet_keeps_the_order() -> None:
    pictures = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 64, 64)
    sheet = evaluate.contact_sheet(pictures, columns=3)
    assert sheet.size == (192, 128)
    corners = [sheet.getpixel((64 * (i % 3), 64 * (i // 3)))[0] for i in range(6)]
    assert corners == [0, 1, 2, 3, 4, 255]


def test_standardising_the_latents_changes_no_picture(toy) -> None:
    torch.manual_seed(0)
    autoencoder = model.new_vae().eval().requires_grad_(False)
    pixels = World(toy).draw([Scene(c, c) for c in (0, 1, 2)])
    before = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mean).sample
    model.standardise(autoencoder, pixels)
    latents = autoencoder.encode(pixels).latent_dist.mean
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(16), atol=1e-3)
    assert torch.allclose(autoencoder.decode(latents).sample, before, atol=1e-3)


def test_kernels_move_by_their_flattened_orthogonal_gradient() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 8, 3, bias=False)
    before = layer.weight.detach().clone()
    optimiser = Muon([layer.weight], 1.0, steps=4)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimiser.step()
    moved = (before - layer.weight.detach()).flatten(1)
    direction = orthogonal(layer.weight.grad.flatten(1)[None], 4)[0] * 0.2 * 27**0.5
    assert torch.allclose(moved, direction, atol=1e-4)


def test_an_exported_folder_loads_and_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model.export(model.new_vae().eval(), model.new_unet().eval(), tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert str(tmp_path) not in (tmp_path / "model_index.json").read_text(encoding="utf-8")
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) <= 25_000_000
    pipe = model.load(tmp_path)
    assert pipe.unet.dtype == pipe.vae.dtype == torch.float32
    once, again, other = (evaluate.paint(pipe, ["red heart"], [seed]) for seed in (1, 1, 2))
    assert once.shape == (1, 3, 64, 64)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_text_rows_are_what_the_pipeline_conditions_on() -> None:
    rows = model.text_rows(["red heart", ""], *model.clip_text())
    pipe = model.assemble(model.new_vae(), model.new_unet())
    prompt, empty = pipe.encode_prompt("red heart", "cpu", 1, do_classifier_free_guidance=True)
    assert rows.shape == (2, 77, 128)
    assert torch.equal(rows[0], prompt[0].half())
    assert torch.equal(rows[1], empty[0].half())


def test_matrices_and_kernels_share_one_muon() -> None:
    """A kernel moves as its flattened matrix does, weight decay and bfloat16 included."""
    torch.manual_seed(0)
    kernel, gradient = torch.randn(8, 3, 3, 3), torch.randn(8, 3, 3, 3)
    moved = []
    for shape in ((8, 3, 3, 3), (8, 27)):
        parameter = torch.nn.Parameter(kernel.clone().view(shape))
        optimiser = Muon([parameter], 0.1, weight_decay=0.5, dtype=torch.bfloat16)
        parameter.grad = gradient.clone().view(shape)
        optimiser.step()
        moved.append(parameter.detach().view(8, 27))
    assert torch.equal(*moved)
    assert not torch.equal(moved[0], kernel.view(8, 27))


def test_autoencoder_and_unet_train_go_on_and_are_exported(toy, tmp_path: Path) -> None:
    """Seconds of it, on three concepts: the whole way from drawings to a pipeline."""
    common = {"seed": 0, "every": 1e9, "muon": 3e-3, "adam": 1e-3, "batch": 8}
    extra = {"sheet": 1e9, "guidance": 3.0}
    for kind in (vae.VaeTrainer, unet.UNetTrainer):
        steps, seconds = [], 0.0
        for _ in range(2):  # half a second more than there was
            told = argparse.Namespace(minutes=(seconds + 0.5) / 60, **common, **extra)
            trainer = kind(told, toy, tmp_path)
            trainer.run()
            steps.append(trainer.step)
            assert trainer.seconds >= seconds + 0.5
            seconds = trainer.seconds
        assert 0 < steps[0] < steps[1]
        assert [line["step"] for line in trainer.lines][-1] == steps[1]
    assert (tmp_path / "vae.png").exists()
    assert len(trainer.lines[-1]["loss"]) == 4
    assert trainer.lines[-1]["right_by_pixels"].endswith(" of 3")
    assert trainer.average.optimization_step == steps[1]
    assert len(list(tmp_path.glob("unet_*.png"))) >= 1
    unet.export_checkpoint(toy, tmp_path / "exported", tmp_path)
    results = json.loads((tmp_path / "exported" / "results.json").read_text(encoding="utf-8"))
    assert results["curve"]["U-Net"] == trainer.lines
    exported = model.load(tmp_path / "exported").unet.state_dict()
    averaged = unet.averaged(trainer.average).state_dict()
    assert all(torch.equal(exported[k], averaged[k].half().float()) for k in averaged)


def test_the_loss_is_the_error_of_v(toy) -> None:
    """One who knows v is right at every step; one who says nothing is wrong by v's mean square."""
    torch.manual_seed(0)
    trainer = unet.UNetTrainer.__new__(unet.UNetTrainer)
    trainer.arguments = argparse.Namespace(batch=400)
    trainer.device, trainer.dtype = "cpu", torch.float32
    trainer.scheduler = model.new_scheduler()
    latents, rows = torch.randn(400, 16, 8, 8), torch.zeros(400, 77, 128)
    trainer.bank = argparse.Namespace(batch=lambda n: (latents, rows))
    quarters = []

    def knowing(noisy: torch.Tensor, steps: torch.Tensor, rows: torch.Tensor) -> Any:
        quarters.extend(4 * int(step) // 1000 for step in steps)
        signal = trainer.scheduler.alphas_cumprod[steps].sqrt().view(-1, 1, 1, 1)
        share = (1 - signal**2).sqrt()
        noise = (noisy - signal * latents) / share
        return argparse.Namespace(sample=signal * noise - share * latents)

    def silent(noisy: torch.Tensor, *_: torch.Tensor) -> Any:
        return argparse.Namespace(sample=torch.zeros_like(noisy))

    trainer.model = knowing
    loss, shown = trainer.loss()
    assert loss.item() < 1e-6
    assert Counter(quarters) == dict.fromkeys(range(4), 100)
    trainer.model = silent
    loss, shown = trainer.loss()
    assert loss.item() == pytest.approx(1.0, abs=0.05)
    assert shown["loss"].shape == (4,)
    assert shown["loss"].mean().item() == pytest.approx(loss.item(), abs=1e-4)
