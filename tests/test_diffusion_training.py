"""The tiny Stable Diffusion's training: its world and captions, and that the measuring measures.

Real artwork here is what ships with the helpers: two artists' drawings. Four more artists are made
up from these.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import EMOJI

from helpers.artwork import load_artwork
from training.artwork import DATA, HELD_OUT_STYLES, TRAIN_STYLES
from training.artwork import load as load_data
from training.captions import POSITIONS, prompt, with_article
from training.clip import words
from training.diffusion import asked, card, evaluate, judges, model, unet, vae, world
from training.drawing import COLOURS, WHITE
from training.muon import Muon, orthogonal

World, Scene = world.World, world.Scene
SUBGROUPS = {
    "animals-nature": "animal-mammal",
    "food-drink": "food-fruit",
    "smileys-emotion": "face-smiling",
    "people-body": "person-role",
    "objects": "tool",
    "activities": "sport",
    "travel-places": "sky-weather",
    "symbols": "geometric",
}
CHANGES = {  # the made-up artists: what each does to a drawing's levels (h, w, 3)
    "fluent-emoji": lambda x: 255 - x,
    "fluent-emoji-flat": lambda x: x.mean(2, keepdims=True).repeat(3, 2),
    "fxemoji": lambda x: x // 96 * 96,
    "emojione": lambda x: x[:, :, ::-1],
}


def toy(names: list[str]) -> dict[str, Any]:
    """A data set as training.artwork.build makes it: these things by six artists, on nothing."""
    artists = dict(zip(TRAIN_STYLES[:2], map(load_artwork, ("noto", "noto-v1")), strict=True))
    first = artists[TRAIN_STYLES[0]]
    styles = [*TRAIN_STYLES, *HELD_OUT_STYLES]
    concepts, pictures, of, by = [], [], [], []
    for c, name in enumerate(names):
        i = first.index(name)
        group, tags = SUBGROUPS.get(first.groups[i], "other"), list(first.keywords[i])
        concepts.append({"name": name.capitalize(), "tags": tags, "subgroup": group})
        for s, style in enumerate(styles):
            levels = np.asarray(artists.get(style, first)[name]).astype(np.int64)
            seen = levels.min(2, keepdims=True) < 250
            levels = CHANGES.get(style, lambda x: x)(levels) * seen
            drawing = np.concatenate([levels, 255 * seen], 2).astype(np.uint8)
            pictures.append(torch.from_numpy(drawing).permute(2, 0, 1))
            of.append(c)
            by.append(s)
    return {
        "concepts": concepts,
        "styles": styles,
        "pictures": torch.stack(pictures),
        "concept": torch.tensor(of),
        "style": torch.tensor(by),
    }


SHOWN = (
    "fox", "pig nose", "paw prints", "pizza", "rocket", "red heart", "green heart", "blue circle",
    "red square", "frog", "sun", "umbrella", "octopus", "soft ice cream", "flat shoe",
    "fork and knife", "man farmer", "hammer",
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """A hundred things."""
    both = [name for name in load_artwork().names if name in load_artwork("noto-v1")]
    some = [name for name in both if not world.LEFT_OUT_NAMES.search(name)][::11]
    return toy(list(dict.fromkeys([*(name for name in SHOWN if name in both), *some])))


@pytest.fixture(scope="module")
def known(data) -> World:
    return World(data)


@pytest.fixture(scope="module")
def few() -> dict[str, Any]:
    return toy(["fox", "frog", "pizza", "rocket", "sun", "octopus", "hammer", "umbrella"])


@pytest.fixture(scope="module")
def clip(data) -> judges.Names:
    return judges.Names([prompt(name) for name in load_artwork().names])


@pytest.fixture(scope="module")
def full() -> World:
    """The world that the shipped model was trained on; only where its drawings were built."""
    if not DATA.exists():
        pytest.skip("needs `python -m training.artwork.build`")
    return World(load_data())


def named(scenes: list[Any], of: World) -> list[str]:
    return [of.name[scene.things[0]] for scene in scenes]


# --- the world: what is said is true, and what is left out stays out ---


def untrue(text: str, scene: Any, of: World) -> str:
    """What a caption says that its scene does not show; empty if all is true."""
    names = [of.name[c] for c in scene.things]
    ground = re.search(r" on an? (\w+) background$", text)
    if (ground[1] if ground else "white") != COLOURS[scene.colour][0]:
        return "ground"
    rest = text[: ground.start()] if ground else text
    where = [p for p, place in enumerate(POSITIONS) if rest.endswith(f" {place}")]
    if where != ([] if scene.position == world.MIDDLE else [scene.position]):
        return "place"
    rest = rest.removesuffix(f" {POSITIONS[scene.position]}") if where else rest
    subject = names[0] if len(names) == 1 else with_article(f"{names[0]} and a {names[1]}")
    article = re.compile(r"^(an?|the) ")
    answers = {article.sub("", k) for k, v in of.open.items() if scene.things[0] in v}
    right = {subject, *(answers | of.tags[scene.things[0]] if len(names) == 1 else ())}
    rest = re.sub(r"^(an emoji of|a picture of|a drawing of) ", "", rest)
    if article.sub("", rest) not in right:  # else the thing is "emoji"
        rest = rest.removesuffix(" emoji")
    rest, small, style = article.sub("", rest), None, None
    if rest not in right:  # else it is a name: small airplane
        small, rest = re.fullmatch(r"(small |tiny )?(.+)", rest).groups()
    if rest not in right:  # else it is a name: soft ice cream
        style, rest = re.fullmatch(rf"({' |'.join(world.STYLES.values())} )?(.+)", rest).groups()
    if rest not in right:
        return "thing"
    if style not in (None, f"{of.words[scene.artist]} "):
        return "style"
    if bool(small or where or len(names) == 2) != scene.small:
        return "size"
    return ""


def told(of: World, n: int) -> list[tuple[str, Any]]:
    dice = random.Random(0)
    return [of.say(dice) for _ in range(n)]


def test_every_caption_is_true_of_its_scene(known) -> None:
    for text, scene in told(known, 5000):
        assert not untrue(text, scene, known), (text, scene, untrue(text, scene, known))


def test_a_lie_is_found(known) -> None:
    number = {name: c for c, name in known.name.items()}
    fox, pizza, first = number["fox"], number["pizza"], known.artists[0]
    scene, word = Scene((fox,), first), known.words[first]
    assert not untrue(f"a {word} fox", scene, known)
    assert untrue("a glossy fox", scene, known) == "style"
    assert untrue("a pizza", scene, known) == "thing"
    assert untrue("a small fox", scene, known) == "size"
    assert untrue("a fox on a blue background", scene, known) == "ground"
    assert untrue("a fox on the left", scene, known) == "place"
    assert untrue("a pizza and a fox", Scene((fox, pizza), first, small=True), known) == "thing"


def test_what_is_left_out_is_never_drawn(known) -> None:
    out = set(known.left_out_drawings())
    drawn = told(known, 20_000)
    assert out
    assert not [text for text, scene in drawn if known.is_kept(scene)]
    assert not {Scene((c,), scene.artist) for _, scene in drawn for c in scene.things} & out
    for shape in world.UNSEEN_SHAPES:
        assert not [text for text, _ in drawn if shape in text]
    assert "green heart" not in {known.name[c] for _, scene in drawn for c in scene.things}
    # in a pair on a ground, both things may stand on it
    for _, scene in drawn:
        ground = COLOURS[scene.colour][0]
        out_there = [world.left_out("ground", known.name[c], ground) for c in scene.things]
        assert scene.colour == WHITE or not any(out_there)


def test_about_so_much_is_left_out(known) -> None:
    names = [f"thing {i}" for i in range(4000)]
    for kind, one_in in world.HELD_OUT.items():
        share = sum(world.left_out(kind, name, "blue") for name in names) / len(names)
        assert share == pytest.approx(1 / one_in, rel=0.2)


def test_shares_are_as_declared_and_chance_is_repeatable(known) -> None:
    drawn = told(known, 20_000)
    assert sum(world.SHARES.values()) == pytest.approx(1)
    pairs = sum(len(scene.things) == 2 for _, scene in drawn) / len(drawn)
    assert pairs == pytest.approx(world.SHARES["pair"], abs=0.01)
    small = sum(scene.small for _, scene in drawn) / len(drawn)
    assert small == pytest.approx(world.SHARES["pair"] + world.SHARES["place"], abs=0.012)
    assert drawn == told(known, 20_000)
    assert len({text for text, _ in drawn}) > 5000


def test_signs_and_variants_are_not_in_the_world() -> None:
    data = toy(["fox", "frog"])
    for name, subgroup in (("up arrow", "arrow"), ("fox: red hair", "animal-mammal")):
        c = len(data["concepts"])
        data["concepts"].append({**data["concepts"][0], "name": name, "subgroup": subgroup})
        data["pictures"] = torch.cat([data["pictures"], data["pictures"][:1]])
        data["concept"] = torch.cat([data["concept"], torch.tensor([c])])
        data["style"] = torch.cat([data["style"], torch.tensor([0])])
    assert {World(data).name[c] for c in World(data).things} == {"fox", "frog"}


def test_only_taught_artists_are_in_the_world(data, known) -> None:
    assert {data["styles"][a] for a in known.artists} == set(TRAIN_STYLES)
    assert {int(data["style"][row]) for row in known.taught_rows} == set(known.artists)
    assert len(set(world.STYLES.values())) == len(TRAIN_STYLES)
    assert tuple(world.STYLES) == TRAIN_STYLES


def test_an_open_prompt_has_no_untrue_answers(known) -> None:
    animals = {known.name[c] for c in known.open["an animal"]}
    assert "fox" in animals
    assert not {"pig nose", "paw prints"} & animals
    assert set(world.UNTRUE) <= set(world.OPEN)


def test_keywords_are_unambiguous_and_not_held_out(known) -> None:
    assert known.keywords
    for word, things in known.keywords.items():
        assert len(things) <= 3
        assert all(word in known.tags[c] for c in things)
        assert not words.is_held_out(word)
        assert word not in {*known.name.values(), *world.STYLES.values()}


def test_the_full_world(full) -> None:
    """At least 1,200 things, most by several artists; every open prompt has several answers."""
    assert len(full.things) >= 1200
    assert sum(len(full.drawn_by[c]) >= 3 for c in full.things) > 0.9 * len(full.things)
    assert min(map(len, full.open.values())) >= 7
    assert min(len(full.open[text]) for text in asked.OPEN) >= 9
    assert set(asked.EVERYDAY) <= {full.name[c] for c in full.things if len(full.drawn_by[c]) == 6}
    assert {name for ends in evaluate.WALKS for name in ends} <= {full.name[c] for c in full.things}
    for text, scene in told(full, 20_000):
        assert not untrue(text, scene, full), (text, scene, untrue(text, scene, full))
        assert not full.is_kept(scene)
        assert not {full.name[c] for c in scene.things} & set(world.UNSEEN_SHAPES)


def test_what_is_asked_by_name_exists() -> None:
    names = json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))["names"]
    every = {prompt(name) for name in names}
    walks = {name for ends in evaluate.WALKS for name in ends}
    assert {*asked.EVERYDAY, *world.UNSEEN_SHAPES} | walks <= every
    assert set(asked.OPEN) <= set(world.OPEN)


def test_the_autoencoder_sees_taught_drawings_only(data, known) -> None:
    drawings = vae.Drawings(known)
    out = {known.row[scene.things[0], scene.artist] for scene in known.left_out_drawings()}
    assert not out & set(drawings.rows.tolist())
    assert {int(data["style"][row]) for row in drawings.rows} == set(known.artists)
    torch.manual_seed(0)
    batch = drawings.batch(40)
    assert batch.shape == (40, 3, 64, 64)
    assert batch.abs().max() < 1 + 1e-5


# --- what is asked ---


def test_tasks_ask_what_their_scenes_show(known) -> None:
    tasks = asked.tasks(known, asked.QUICK)
    more = asked.tasks(known, asked.QUICK._replace(every=1))
    assert len(more.pop("world").texts) == len(known.things)
    assert all(more[kind] == tasks[kind] for kind in more)
    tasks["open"] = asked.open_task(("an animal", "food"), known)
    for kind, task in tasks.items():
        assert len(task.texts) == len(task.scenes) == len(task.seeds), kind
        for text, scene in zip(task.texts, task.scenes, strict=True):
            if kind == "shape":  # no caption speaks of these
                assert text == known.name[scene.things[0]] in world.UNSEEN_SHAPES
            else:
                assert not untrue(text, scene, known), (kind, text, scene)
    for kind in ("ground", "place", "pair"):
        assert all(map(known.is_kept, tasks[kind].scenes))
    assert not any(map(known.is_kept, tasks["small"].scenes))
    assert set(tasks["left out"].scenes) <= set(known.left_out_drawings())
    assert not set(tasks["taught"].scenes) & set(known.left_out_drawings())
    assert tasks["named"].seeds[:9] == [*range(8), 0]
    assert len(set(tasks["named"].texts[:8])) == 1


# --- the judges ---


def test_the_clip_knows_real_drawings_and_not_others(known, clip) -> None:
    scenes = [s for s in known.plain_scenes() if s.artist == known.artists[0]][:60]
    pixels, names = known.draw(scenes), named(scenes, known)
    assert clip.top(pixels, names)[1] > 0.9
    assert clip.top(pixels, names[1:] + names[:1])[1] < 0.3


def test_the_classifier_knows_artists_of_drawings_it_never_saw(known) -> None:
    artists = judges.Artists(known, epochs=8)
    scenes = known.left_out_drawings()
    pixels, right = known.draw(scenes), [scene.artist for scene in scenes]
    assert artists.right(pixels, right) > 0.5  # chance: 1 / 6
    after = dict(zip(known.artists, known.artists[1:] + known.artists[:1], strict=True))
    assert artists.right(pixels, [after[a] for a in right]) < 0.3


def test_grounds_and_places_are_found_on_composed_scenes(known) -> None:
    scenes = [s for s in known.plain_scenes() if s.artist == known.artists[0]][:44]
    plain = known.draw(scenes)
    grounds = [1 + i % 11 for i in range(44)]
    drawn = known.draw([s._replace(colour=g) for s, g in zip(scenes, grounds, strict=True)])
    assert sum(judges.ground_of(p) == g for p, g in zip(drawn, grounds, strict=True)) >= 42
    assert sum(judges.ground_of(p) == WHITE for p in plain) >= 42
    small = known.draw([s._replace(small=True, position=i % 4) for i, s in enumerate(scenes)])
    assert sum(judges.is_small_at(p, i % 4) for i, p in enumerate(small)) >= 40
    assert sum(judges.is_small_at(p, (i + 1) % 4) for i, p in enumerate(small)) <= 2
    large = [p for p in plain if judges.extent(p)[2] > 0.7]
    assert len(large) > 20
    assert not any(judges.is_small_at(p, place) for p in large for place in range(4))
    assert judges.extent(torch.ones(3, 64, 64)) == (0.0, 0.0, 0.0)
    assert not judges.is_small_at(torch.ones(3, 64, 64), 0)


def test_both_things_of_a_pair_are_found_each_in_its_half(known, clip) -> None:
    dice = random.Random(0)
    scenes = [s for s in (known.two(dice) for _ in range(300)) if s.artist == known.artists[0]][:30]
    pixels = known.draw(scenes)
    found = evaluate.pairs_found(pixels, scenes, known, clip)
    mirrored = evaluate.pairs_found(pixels.roll(32, 3), scenes, known, clip)
    alone = [s._replace(things=(s.things[0], s.things[0])) for s in scenes]
    one = evaluate.pairs_found(known.draw(alone), scenes, known, clip)
    assert found["both"] > 0.8
    assert mirrored["both"] < 0.2 < 0.8 < mirrored["both, either way round"]
    assert one["both"] < 0.2 < 0.4 < one["each"]


def test_open_answers_count_right_and_different_names(known, clip) -> None:
    first = known.artists[0]
    animals = [c for c in known.open["an animal"] if known.drawn_by[c][0] == first]
    meal = next(c for c in known.open["food"] if known.drawn_by[c][0] == first)
    same = known.draw([Scene((animals[0],), first)] * asked.OPEN_SEEDS)
    wrong = known.draw([Scene((meal,), first)] * asked.OPEN_SEEDS)
    result = evaluate.open_answers(torch.cat([same, wrong]), ("an animal", "a tool"), known, clip)
    assert result == {"an animal": [1.0, 1], "a tool": [0.0, 0]}


def test_distances_over_seeds_and_between_prompts() -> None:
    torch.manual_seed(0)
    prompts = torch.rand(3, 1, 3, 64, 64).expand(3, 8, 3, 64, 64).flatten(0, 1) * 2 - 1
    assert evaluate.seeds_apart(prompts, 8) == pytest.approx(0, abs=1e-6)
    assert evaluate.prompts_apart(prompts, 8) == pytest.approx(1 / 3, abs=0.02)  # of two uniform
    black, white = torch.full((1, 3, 64, 64), -1.0), torch.ones(1, 3, 64, 64)
    assert judges.spread(torch.cat([black, white])) == pytest.approx(1)


def test_a_copy_is_told_from_what_is_not_one(known) -> None:
    scenes = list(known.plain_scenes())
    taught = known.draw(scenes)

    def copies(pixels: torch.Tensor) -> float:
        near, other = judges.nearest_drawings(pixels, taught, scenes)
        return (near < judges.COPY * other).float().mean().item()

    soft = torch.nn.functional.avg_pool2d(taught[::9], 3, 1, 1, count_include_pad=False)
    assert copies(soft) > 0.9
    between = [(a + b) / 2 for a, b in zip(taught[::9], taught[1::9], strict=False)]
    assert copies(torch.stack(between)) < 0.5
    assert copies(torch.rand(20, 3, 64, 64) * 2 - 1) == 0


def test_precision_and_recall() -> None:
    torch.manual_seed(0)
    real = torch.randn(300, 8)
    assert judges.precision_recall(real, real) == [1.0, 1.0]
    assert judges.precision_recall(real, real + 100) == [0.0, 0.0]
    precision, recall = judges.precision_recall(real, real[:1] + 0.01 * torch.randn(300, 8))
    assert precision > 0.9  # one good thing, again and again
    assert recall < 0.1
    precision, recall = judges.precision_recall(real, torch.randn(300, 8) * 4)
    assert precision < 0.3 < recall  # everything, and much else


# --- the card ---


def test_floors_are_judged_by_the_figures() -> None:
    figures = dict.fromkeys(card.FLOORS, 0.99)
    names = list(figures)
    assert [card.is_hit(name, 0.0) for name in names] == [False] * (len(names) - 1) + [True]
    assert [card.is_hit(name, 1.0) for name in names] == [True] * (len(names) - 1) + [False]


def test_a_model_is_measured_and_its_card_written(data, tmp_path: Path, monkeypatch) -> None:
    """An untrained one, a handful of pictures of one step: it misses every floor that it can."""
    torch.manual_seed(0)
    model.export(model.new_vae().eval(), model.new_unet().eval(), tmp_path)
    (tmp_path / "README.md").write_text("a\n<!-- table -->\n<!-- /table -->\nb", encoding="utf-8")
    monkeypatch.setattr(evaluate, "load_data", lambda: data)
    monkeypatch.setattr(evaluate, "STEPS", 1)
    monkeypatch.setattr(evaluate, "QUICK", asked.Sizes(2, 2, 1, 1, 6, 4, 4, 4, 2, 30))
    # the same model as the former one, which has said what it knows
    names = {"names": [prompt(entry["name"]) for entry in data["concepts"]]}
    (tmp_path / "results.json").write_text(json.dumps(names), encoding="utf-8")
    told = ["evaluate", "--quick", "--folder", str(tmp_path), "--former", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", told)
    evaluate.main()
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.tables(results) in text
    assert text.startswith("a\n")
    assert text.endswith("\nb")
    assert text.count("**missed**") >= 8
    reached = card.reached(results)
    assert reached["open prompts: right answers"] < 0.3
    assert results["names_found"]["all"]["real"][1] > 0.8
    assert results["open"]["real"]["an animal"][0] > 0.5
    assert results["pairs"]["real"]["both"] >= 0.5
    assert results["precision_recall"]["noise"][1] == 0.0
    assert results["precision_recall"]["left-out drawings through the autoencoder"][1] < 1.0
    assert results["bytes"] == evaluate.size(tmp_path)
    for name in ("open_prompts", "styles", "contact_sheet", "pairs", "film_strip"):
        assert (tmp_path / f"{name}.webp").exists()
    assert results["former"]["sha256"] == results["sha256"]
    assert results["former"]["open"] == results["open"]["generated"]


# --- the model and its training ---


def test_standardising_the_latents_changes_no_picture(known) -> None:
    torch.manual_seed(0)
    autoencoder = model.new_vae().eval().requires_grad_(False)
    six = list(known.plain_scenes())[:6]
    pixels = known.draw([scene._replace(colour=i) for i, scene in enumerate(six)])
    before = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mean).sample
    model.standardise(autoencoder, pixels)
    latents = autoencoder.encode(pixels).latent_dist.mean
    assert latents.shape == (6, model.CHANNELS, model.LATENTS, model.LATENTS)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(model.CHANNELS), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(model.CHANNELS), atol=1e-3)
    assert torch.allclose(autoencoder.decode(latents).sample, before, atol=1e-3)


def test_an_exported_folder_loads_and_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model.export(model.new_vae().eval(), model.new_unet().eval(), tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert str(tmp_path) not in (tmp_path / "model_index.json").read_text(encoding="utf-8")
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) <= 40_000_000
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


def test_a_batch_is_latents_of_what_its_captions_say(few, tmp_path: Path) -> None:
    """Plain ones from the store, composed ones encoded now; the last tenth is told nothing."""
    torch.manual_seed(0)
    of = World(few)
    autoencoder = model.new_vae().eval().requires_grad_(False)
    examples = unet.Examples(of, autoencoder, "cpu", tmp_path / "latents.pt", 40)
    examples.begin(3)
    latents, rows = examples.batch()
    dice = random.Random("3 0")
    texts, scenes = zip(*(of.say(dice) for _ in range(40)), strict=True)
    assert {len(scene.things) for scene in scenes} == {1, 2}
    assert torch.allclose(
        latents, autoencoder.encode(of.draw(list(scenes))).latent_dist.mean, atol=1e-4
    )
    told = [*texts[:36], *[""] * 4]
    asked = model.text_rows(told, examples.text_encoder, examples.tokenizer).float()
    assert torch.allclose(rows, asked, atol=1e-3)
    again = unet.Examples(of, autoencoder, "cpu", tmp_path / "latents.pt", 40)
    assert torch.equal(again.latents, examples.latents)
    batches = []
    for seed in (3, 3, 4):
        again.begin(seed)
        batches.append([again.batch()[1] for _ in range(2)])
    assert torch.equal(batches[0][0], rows)
    assert torch.equal(batches[0][1], batches[1][1])
    assert not torch.equal(batches[0][0], batches[0][1])
    assert not torch.equal(batches[0][0], batches[2][0])


def test_other_processes_tell_the_same_kind_of_batch(few) -> None:
    """As on a GPU: every process its own captions; what is not a plain drawing comes as pixels."""
    of, (_, tokenizer) = World(few), model.clip_text()
    captions = unet.Captions(of, tokenizer, 20, 0)
    loader = torch.utils.data.DataLoader(
        captions, batch_size=None, num_workers=2, worker_init_fn=unet.not_interrupted
    )
    told = iter(loader)
    batches = [next(told) for _ in range(4)]
    assert len({batch.input_ids.numpy().tobytes() for batch in batches}) == 4
    for worker, batch in zip(("0 0", "0 1"), batches, strict=False):
        texts, scenes = zip(*map(of.say, [random.Random(worker)] * 20), strict=True)
        assert torch.equal(batch.input_ids, model.text_ids([*texts[:18], "", ""], tokenizer))
        assert len(batch.composed) == len(batch.pixels) > 0
        assert torch.equal(batch.pixels, of.draw([scenes[i] for i in batch.composed]))


def test_captions_do_not_move_the_latents(few, tmp_path: Path, monkeypatch) -> None:
    """Whoever changes the captions of a half-trained U-Net goes on with the same autoencoder."""
    torch.manual_seed(0)
    torch.save({"model": model.new_vae().state_dict()}, tmp_path / "vae.pt")
    before, _ = unet.trained_vae(World(few), tmp_path)
    monkeypatch.setattr(world, "SHARES", {"name": 1.0})
    after, _ = unet.trained_vae(World(few), tmp_path)
    assert all(map(torch.equal, before.state_dict().values(), after.state_dict().values()))


def test_autoencoder_and_unet_train_go_on_and_are_exported(
    few, tmp_path: Path, monkeypatch
) -> None:
    """Seconds of it, on a few things: the whole way from drawings to a pipeline."""
    monkeypatch.setattr(unet, "SHOWN", ("an animal",))
    monkeypatch.setattr(unet, "STEPS", 2)
    common = {"seed": 0, "every": 1e9, "muon": 3e-3, "adam": 1e-3, "batch": 8}
    extra = {"sheet": 1e9, "guidance": 3.0}
    for kind in (vae.VaeTrainer, unet.UNetTrainer):
        steps, seconds = [], 0.0
        for _ in range(2):  # half a second more than there was
            arguments = argparse.Namespace(minutes=(seconds + 0.5) / 60, **common, **extra)
            trainer = kind(arguments, few, tmp_path)
            trainer.run()
            steps.append(trainer.step)
            assert trainer.seconds >= seconds + 0.5
            seconds = trainer.seconds
        assert 0 < steps[0] < steps[1]
        assert [line["step"] for line in trainer.lines][-1] == steps[1]
    assert (tmp_path / "vae.png").exists()
    assert len(trainer.lines[-1]["loss"]) == 4
    assert trainer.average.optimization_step == steps[1]
    assert len(list(tmp_path.glob("unet_*.png"))) >= 1
    unet.export_checkpoint(few, tmp_path / "exported", tmp_path)
    results = json.loads((tmp_path / "exported" / "results.json").read_text(encoding="utf-8"))
    assert results["curve"]["U-Net"] == trainer.lines
    exported = model.load(tmp_path / "exported").unet.state_dict()
    averaged = unet.averaged(trainer.average).state_dict()
    assert all(torch.equal(exported[k], averaged[k].half().float()) for k in averaged)


def test_the_loss_is_the_error_of_v() -> None:
    """One who knows v is right at every step; one who says nothing is wrong by v's mean square."""
    torch.manual_seed(0)
    trainer = unet.UNetTrainer.__new__(unet.UNetTrainer)
    trainer.arguments = argparse.Namespace(batch=400)
    trainer.device, trainer.dtype = "cpu", torch.float32
    trainer.scheduler = model.new_scheduler()
    latents, rows = torch.randn(400, model.CHANNELS, 16, 16), torch.zeros(400, 77, 128)
    trainer.examples = argparse.Namespace(batch=lambda: (latents, rows))
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
