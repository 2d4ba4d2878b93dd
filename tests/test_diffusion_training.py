"""The tiny Stable Diffusion's training: its world and captions, and that the measuring measures."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import EMOJI

from training.artwork import build as data_module
from training.clip import words
from training.clip.data import COLOURS
from training.clip.train import POSITIONS
from training.diffusion import evaluate as evaluate_diffusion
from training.diffusion import kernels, vae, world
from training.diffusion import model as pipeline
from training.muon import orthogonal


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
    styles = [*data_module.TRAIN_STYLES, *data_module.HELD_OUT_STYLES]
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
    assert world.members(toy) == [0, 1, 2]


def test_what_is_brought_back_or_called_otherwise_exists() -> None:
    names = json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))["names"]
    known = {world.prompt(name) for name in names}
    asked = set(evaluate_diffusion.ASKED)
    assert {*world.BROUGHT_BACK, *world.ALSO_CALLED} <= known
    assert asked <= known
    assert len(asked) == len(evaluate_diffusion.ASKED)


def test_the_artist_may_be_trained_on(toy) -> None:
    assert world.ARTIST in data_module.TRAIN_STYLES
    assert world.ARTIST not in data_module.HELD_OUT_STYLES
    number = toy["styles"].index(world.ARTIST)
    assert {int(toy["style"][row]) for row in world.rows(toy).values()} == {number}


def test_the_autoencoder_never_sees_a_held_out_artist(toy) -> None:
    drawings = vae.Drawings(toy)
    styles = {toy["styles"][int(toy["style"][row])] for row in drawings.all}
    assert styles == set(data_module.TRAIN_STYLES)
    assert {int(toy["style"][row]) for row in drawings.own} == {toy["styles"].index(world.ARTIST)}
    torch.manual_seed(0)
    batch = drawings.batch(40)
    assert batch.shape == (40, 3, 64, 64)
    assert batch.abs().max() < 1 + 1e-5


def test_a_prompt_is_lower_case_with_a_straight_apostrophe() -> None:
    assert world.prompt("Woman’s hat") == "woman's hat"


def test_keywords_are_unambiguous_and_not_held_out(toy) -> None:
    found = world.keywords(toy, [0, 1, 2])
    assert found[0] == ["puppy", "doggy", "bark"]  # no "canine" (held out), no "pet" (two have it)
    assert found[1] == ["sly"]
    for called in world.ALSO_CALLED.values():
        assert not [word for word in called if words.is_held_out(word)]


def test_every_caption_says_what_its_scene_shows(toy) -> None:
    listed = world.captions(toy, [0, 1, 2], torch.Generator().manual_seed(0))
    grounds = {name for name, _ in COLOURS}
    for text, scene, kind, weight in listed:
        assert weight > 0
        assert text == text.lower()
        said = re.search(r"on an? (\w+) background", text)
        assert (said[1] if said else "white") == COLOURS[scene.colour][0]
        assert said is None or said[1] in grounds
        where = [p for p, place in enumerate(POSITIONS) if place in text]
        assert where == ([] if scene.position == world.NOWHERE else [scene.position])
        assert scene.small == (bool(where) or bool(re.search(r"\b(small|tiny)\b", text)))
        if kind == "plain":
            assert world.prompt(toy["concepts"][scene.concept]["name"]) in text
            assert scene == world.Scene(scene.concept)


def test_shares_of_captions_are_as_declared(toy) -> None:
    listed = world.captions(toy, [0, 1, 2], torch.Generator().manual_seed(0))
    share: Counter = Counter()
    for caption in listed:
        share[caption.kind] += caption.weight
    assert math.isclose(sum(world.SHARES.values()), 1.0)
    assert share == pytest.approx(world.SHARES)
    assert {c.scene.concept for c in listed if c.kind == "plain"} == {0, 1, 2}
    # twice the same question, twice the same answer
    assert listed == world.captions(toy, [0, 1, 2], torch.Generator().manual_seed(0))


def test_scenes_are_drawn_as_they_say(toy) -> None:
    plain, blue, small, left = world.draw(
        toy,
        [
            world.Scene(0),
            world.Scene(0, colour=6),
            world.Scene(0, small=True),
            world.Scene(0, small=True, position=0),
        ],
    )
    assert evaluate_diffusion.ground_of(plain) == world.WHITE
    assert evaluate_diffusion.ground_of(blue) == 6
    assert evaluate_diffusion.extent(small)[2] < 0.6 < evaluate_diffusion.extent(plain)[2]
    assert evaluate_diffusion.place_of(left) == 0


@pytest.mark.parametrize("position", range(len(POSITIONS)))
@pytest.mark.parametrize("colour", range(1, len(COLOURS)))
def test_rules_tell_grounds_and_places_apart(toy, colour: int, position: int) -> None:
    (ground,) = world.draw(toy, [world.Scene(1, colour)])
    assert evaluate_diffusion.ground_of(ground) == colour
    (placed,) = world.draw(toy, [world.Scene(1, small=True, position=position)])
    assert evaluate_diffusion.place_of(placed) == position
    scene = world.Scene(1, colour, True, position)
    assert evaluate_diffusion.as_said("ground colour", ground, scene)
    assert not evaluate_diffusion.as_said("ground colour", placed, scene)
    assert evaluate_diffusion.as_said("small", placed, scene)
    assert not evaluate_diffusion.as_said("large", placed, world.Scene(1))


def test_an_empty_picture_is_nowhere_and_neither_small_nor_large() -> None:
    blank = torch.ones(3, 64, 64)
    assert evaluate_diffusion.extent(blank) == (0.0, 0.0, 0.0)
    assert not evaluate_diffusion.as_said("small", blank, world.Scene(0, small=True))


def test_every_task_asks_of_every_thing() -> None:
    tasks = evaluate_diffusion.composition_tasks()
    things = len(evaluate_diffusion.ASKED)
    assert {task: len(asked) for task, asked in tasks.items()} == {
        "ground colour": things * (len(COLOURS) - 1),
        "small": things,
        "large": things,
        "left, right, top or bottom": things * len(POSITIONS),
    }
    for asked in tasks.values():
        assert all(evaluate_diffusion.ASKED[i] in text for text, i, _ in asked)


def test_nearest_pictures_finds_copies_and_not_others() -> None:
    known = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    order = torch.arange(12)
    copies = evaluate_diffusion.nearest_pictures(known * 0.9, known, order)
    assert copies == {"16 x 16": [1.0, 1.0], "64 x 64": [1.0, 1.0]}
    others = evaluate_diffusion.nearest_pictures(known.roll(1, 0), known, order)
    assert others["64 x 64"][0] == 0.0


def test_the_contact_sheet_keeps_the_order() -> None:
    pictures = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 64, 64)
    sheet = evaluate_diffusion.contact_sheet(pictures, columns=3)
    assert sheet.size == (192, 128)
    corners = [sheet.getpixel((64 * (i % 3), 64 * (i // 3)))[0] for i in range(6)]
    assert corners == [0, 1, 2, 3, 4, 255]


def test_standardising_the_latents_changes_no_picture(toy) -> None:
    torch.manual_seed(0)
    model = pipeline.new_vae().eval().requires_grad_(False)
    pixels = world.draw(toy, [world.Scene(c, c) for c in (0, 1, 2)])
    before = model.decode(model.encode(pixels).latent_dist.mean).sample
    vae.standardise(model, pixels)
    latents = model.encode(pixels).latent_dist.mean
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(16), atol=1e-3)
    assert torch.allclose(model.decode(latents).sample, before, atol=1e-3)


def test_kernels_move_by_their_flattened_orthogonal_gradient() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 8, 3, bias=False)
    before = layer.weight.detach().clone()
    optimiser = kernels.KernelMuon([layer.weight], 1.0, torch.float32)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimiser.step()
    moved = (before - layer.weight.detach()).flatten(1)
    direction = orthogonal(layer.weight.grad.flatten(1)[None], kernels.STEPS)[0] * 0.2 * 27**0.5
    assert torch.allclose(moved, direction, atol=1e-4)


def test_the_rate_rises_stays_and_falls() -> None:
    assert kernels.rate(0, 0.0) < 0.02
    assert kernels.rate(500, 0.1) == kernels.rate(500, 0.69)
    assert kernels.rate(500, 0.85) == pytest.approx(0.5, abs=1e-3)
    assert 0 < kernels.rate(500, 1.0) < 1e-3


def test_an_exported_folder_loads_and_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pipeline.export(pipeline.new_vae().eval(), pipeline.new_unet().eval(), tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert str(tmp_path) not in (tmp_path / "model_index.json").read_text(encoding="utf-8")
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) <= 25_000_000
    pipe = pipeline.load(tmp_path)
    assert pipe.unet.dtype == pipe.vae.dtype == torch.float32
    once, again, other = (
        evaluate_diffusion.paint(pipe, ["red heart"], [seed]) for seed in (1, 1, 2)
    )
    assert once.shape == (1, 3, 64, 64)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_text_rows_are_what_the_pipeline_conditions_on() -> None:
    model, tokenizer = pipeline.clip_text()
    rows = pipeline.text_rows(["red heart", ""], model, tokenizer)
    pipe = pipeline.assemble(pipeline.new_vae(), pipeline.new_unet())
    prompt, empty = pipe.encode_prompt("red heart", "cpu", 1, do_classifier_free_guidance=True)
    assert rows.shape == (2, 77, 128)
    assert torch.equal(rows[0], prompt[0].half())
    assert torch.equal(rows[1], empty[0].half())
