"""The training package: its floors, its loop, what is left out, and that the measuring measures."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import logging
import random
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import EMOJI, ROOT
from transformers import CLIPModel

from training import artwork, loop, measuring
from training.artwork import build, sprites
from training.captions import caption, prompt
from training.clip import data as clip_data
from training.clip import evaluate, model, teacher, words
from training.clip import train as clip_train
from training.diffusion import unet, vae
from training.diffusion.model import new_scheduler

FLOORS = [
    ["training"],
    ["options", "drawing"],
    ["captions", "measuring", "sums", "muon", "loop"],
    ["artwork"],
    ["clip"],
    ["diffusion"],
]
SCRIPTS = [
    "artwork.build", "artwork.sprites", "clip.train", "clip.evaluate",
    "diffusion.vae", "diffusion.unet", "diffusion.evaluate",
]  # fmt: skip
MODULES = [*(ROOT / "training").glob("*.py"), *(ROOT / "training").glob("*/*.py")]


def floor_of(module: str) -> int:
    """``training.clip.train`` -> the number of ``clip``."""
    part = module.split(".")[1] if "." in module else module
    (floor,) = (i for i, names in enumerate(FLOORS) if part in names)
    return floor


def imports_of(path: Path) -> list[tuple[str, str]]:
    """Module and name, for every import from this package."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "training"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_imports_run_one_way(path: Path) -> None:
    here = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    for module, name in imports_of(path):
        assert not name.startswith("_"), (module, name)
        below = floor_of(module) < floor_of(here)
        beside = path.parent.name != "training" and module.split(".")[:2] == here.split(".")[:2]
        assert below or beside, f"{here} imports {module}"


def test_a_part_that_is_run_is_no_library() -> None:
    used = set()
    for path in MODULES:
        for module, name in imports_of(path):
            used |= {module, f"{module}.{name}"}
    assert not used & {f"training.{script}" for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_helps(script: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"training.{script}")
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as left:
        module.main()
    assert left.value.code == 0
    assert module.__doc__.splitlines()[0] in capsys.readouterr().out


@pytest.fixture(scope="module")
def names() -> list[str]:
    return json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))["names"]


def concept(name: str, *tags: str) -> dict[str, Any]:
    return {"name": name, "tags": list(tags), "code": "0", "group": "g", "subgroup": "s"}


def toy_data() -> dict[str, Any]:
    """Two concepts; every drawing is filled with the number of its row."""
    styles = [*artwork.TRAIN_STYLES, *artwork.HELD_OUT_STYLES]
    rows = [(c, s) for s in range(len(styles)) for c in range(2)]
    drawings = torch.stack([torch.full((4, 64, 64), 10 * i, dtype=torch.uint8) for i in range(16)])
    return {
        "concepts": [concept("red heart"), concept("blue heart")],
        "styles": styles,
        "pictures": drawings,
        "concept": torch.tensor([c for c, _ in rows]),
        "style": torch.tensor([s for _, s in rows]),
    }


def test_the_held_out_artists_are_never_drawn_from() -> None:
    data = toy_data()
    loaded = clip_data.Pictures(data, "cpu")
    styles = {data["styles"][int(data["style"][row])] for row in loaded.trained}
    assert styles == set(artwork.TRAIN_STYLES)
    assert {row for rows in loaded.by_concept for row in rows} == set(loaded.trained)


def test_the_patch_embedding_starts_from_training_drawings_only() -> None:
    """``sample`` is what it starts from; every drawing has a grey of its own."""
    data = toy_data()
    data["pictures"][:, 3] = 255
    loaded = clip_data.Pictures(data, "cpu")
    greys = ((loaded.sample(1500)[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()
    assert sorted(greys) == sorted(10 * row for row in loaded.trained)
    torch.manual_seed(0)
    clip = CLIPModel(model.configuration())
    before = clip.vision_model.embeddings.patch_embedding.weight.clone()
    clip_train.start_from_patches(clip, torch.rand(16, 3, 64, 64))
    assert not torch.equal(before, clip.vision_model.embeddings.patch_embedding.weight)


@pytest.mark.parametrize("word", words.UNSEEN)
def test_held_out_words_and_their_plurals_are_held_out(word: str) -> None:
    assert words.is_held_out(word)
    if not word.endswith(("s", "ing")):
        assert words.is_held_out(f"A {word}s, please")
    assert not words.is_held_out(f"un{word}ly")


def test_no_name_holds_a_held_out_word(names: list[str]) -> None:
    assert [name for name in names if words.is_held_out(name)] == []


def test_captions_and_lessons_leave_held_out_words_out(monkeypatch, tmp_path) -> None:
    listed = [concept("dog", "canine", "pet"), concept("crown", "monarch", "king")]
    captions = clip_data.Captions(listed)
    assert captions.phrases == ["crown", "dog", "king", "pet"]
    asked: list[str] = []

    def remember(texts: list[str]) -> torch.Tensor:
        asked.extend(texts)
        return torch.ones(len(texts), 3)

    monkeypatch.setattr(teacher, "sentence_embeddings", remember)
    teacher.teach(listed, captions.phrases, ["a"], tmp_path / "teacher.pt")
    assert "dog, pet" in asked
    assert not [text for text in asked if words.is_held_out(text)]


def test_every_listed_concept_exists(names: list[str]) -> None:
    known = set(names)
    for listed in (*words.CATEGORIES.values(), *words.UNSEEN.values()):
        assert set(listed) <= known
    for family, rows in words.families(names).items():
        assert rows, family
    with pytest.raises(ValueError, match="do not exist"):
        evaluate.members({"concepts": [concept("dog")]})


def test_top_counts_what_it_says() -> None:
    similarity = torch.eye(8).roll(1, 1) + 0.5 * torch.eye(8)  # the right one is always second
    assert measuring.top(similarity, torch.arange(8)) == [0.0, 1.0]
    assert measuring.top(similarity.roll(-1, 1), torch.arange(8)) == [1.0, 1.0]


class Letters:
    """A stand-in for a tower: one axis for each word, added up."""

    def text(self, texts: list[str]) -> torch.Tensor:
        rows = torch.zeros(len(texts), 4096)
        for i, text in enumerate(texts):
            for word in re.findall(r"[a-z']+", text.lower()):
                rows[i, zlib.crc32(word.encode()) % 4096] += 1
        return torch.nn.functional.normalize(rows, dim=-1)


def test_analogies_count_what_they_say(names: list[str]) -> None:
    score = evaluate.analogies(Letters(), names)["man X − man + woman → woman X"]
    assert score["tried"] == 24
    assert score["kept"] >= 20  # counting words solves a family whose words overlap
    assert evaluate.analogies(Letters(), names)["man X − guy + lady → woman X"]["kept"] == 0


def test_a_caption_says_thing_place_and_ground() -> None:
    assert prompt("Woman’s hat") == "woman's hat"
    assert caption("a apple") == "an apple"
    assert caption("a Fox", 0, 6) == "a fox on the left on a blue background"
    listed = clip_data.Captions([concept("dog", "pet", "barking animal"), concept("cat", "pet")])
    batch = {
        "concept": torch.tensor([0, 1, 0]),
        **{key: torch.tensor([0, 1, 1]) for key in clip_data.SAID},
    }
    torch.manual_seed(0)
    texts, concepts, pictures = listed.about(batch, 2)
    assert len(texts) == 2
    assert concepts.shape == (2, 2)
    assert pictures.shape == (2, 3)
    assert pictures[:, :2].diagonal().all()  # each is true of its own picture
    assert concepts[0, 0]
    assert concepts[1, 1]
    assert not (pictures & ~concepts[:, batch["concept"]]).any()


def test_sprites_leave_out_what_white_does_not_show() -> None:
    data = toy_data()
    data["pictures"][:, 3] = 255
    data["pictures"][0] = 255  # white on white
    assert list(sprites.seen(data, "noto")) == [1]
    assert list(sprites.seen(data, "twemoji")) == [0, 1]
    assert build.contact_sheet(data, "twemoji").size == (40 * 64, 64)


# --- the loop ---


class Line(loop.Trainer):
    """Learns a number; the learning rate and the minutes are the loop's."""

    name = "line"

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        super().__init__(arguments, folder)
        self.model = torch.nn.Linear(1, 1)
        self.optimisers = [torch.optim.AdamW(self.model.parameters(), lr=0.1)]
        self.rates: list[float] = []
        self.stop_after: int | None = None

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        x = torch.randn(8, 1)
        loss = (self.model(x) - 3 * x).square().mean()
        return loss, {"loss": loss, "pair": torch.stack([loss, loss])}

    def after_step(self) -> None:
        self.rates.append(self.optimisers[0].param_groups[0]["lr"])
        if self.step == self.stop_after:
            loop.signal.raise_signal(loop.signal.SIGTERM)


def told(**other: float) -> argparse.Namespace:
    return argparse.Namespace(**{"minutes": 0.01, "seed": 0, "every": 1e9, **other})


def test_the_loop_goes_on_where_it_was_stopped(tmp_path: Path, capsys) -> None:
    first = Line(told(minutes=1), tmp_path)
    first.stop_after = 30
    first.run()
    assert "goes on from here" in capsys.readouterr().out
    assert first.step == 30
    second = Line(told(minutes=first.seconds / 60 + 0.002), tmp_path)
    # what a dead process wrote to its log after its last checkpoint is gone, half a line too
    with second.log.open("a") as file:
        file.write('{"step": 31, "minutes": 0}\n{"ste')
    second.run()
    assert second.step == 30 + len(second.rates) > 30
    assert second.seconds >= first.seconds + 0.12
    lines = [json.loads(line) for line in second.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, second.step]
    assert len(lines[0]["pair"]) == 2
    # rates are shares of what was told, not of what the checkpoint left off with
    assert first.rates[0] == pytest.approx(0.1 * (0.01 + 1e-4))
    assert second.rates[0] == pytest.approx(0.1 * second_rate(first, second), rel=1e-3)
    assert torch.load(tmp_path / "line.pt")["step"] == second.step
    # and once more: the time is over
    third = Line(told(minutes=0.0001), tmp_path)
    third.run()
    assert third.step == second.step


def second_rate(first: Line, second: Line) -> float:
    """The rate of the first step after it went on."""
    done = first.seconds / (60 * second.arguments.minutes)
    return min(1.0, 31 / 100) * min(1.0, (1 - done) / second.fall) + 1e-4


class DiedError(Exception):
    """What a killed process does not live to see."""


class Timed(Line):
    """By a clock of its own: a step takes as long as told. Learns the same at every step."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        super().__init__(arguments, folder)
        self.clock = 0.0
        self.takes = {}  # step -> seconds, where it is not one
        self.dies_at: int | None = None

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        x = torch.linspace(-1, 2, 8)[:, None]
        return (self.model(x) - 3 * x).square().mean(), {}

    def after_step(self) -> None:
        super().after_step()
        self.clock += self.takes.get(self.step, 1.0)
        if self.step == self.dies_at:
            raise DiedError


@pytest.fixture
def timed(tmp_path: Path, monkeypatch) -> Callable[..., Timed]:
    def make(folder: Path = tmp_path, minutes: float = 2, kind: type = Timed) -> Timed:
        trainer = kind(told(minutes=minutes), folder)
        clock = SimpleNamespace(
            monotonic=lambda: trainer.clock, perf_counter=loop.time.perf_counter
        )
        monkeypatch.setattr(loop, "time", clock)
        return trainer

    return make


def test_a_sudden_death_costs_at_most_what_is_said(timed, monkeypatch) -> None:
    saved, save = [], loop.save
    monkeypatch.setattr(loop, "save", lambda *a: (saved.append(a[0]["step"]), save(*a)))
    trainer = timed(minutes=60)
    trainer.dies_at = 500
    with pytest.raises(DiedError):
        trainer.run()
    assert saved == [151, 302, 453]  # when more than 150 seconds of training have gone by
    again = timed(minutes=60)
    again.stop_after = 454
    again.run()
    assert len(again.rates) == 1  # from 453 on


def test_a_machine_that_slept_does_not_use_up_the_time(timed) -> None:
    trainer = timed(minutes=1)
    trainer.takes = {5: 3600.0}
    trainer.run()
    assert (trainer.step, trainer.seconds) == (51, 60.0)  # fifty of a second, one of ten


def test_one_that_was_stopped_ends_as_one_that_was_not(timed, tmp_path: Path) -> None:
    """The optimiser's memory goes on too: without it, Adam's next steps are others."""
    unbroken = timed(tmp_path / "unbroken")
    unbroken.run()
    first = timed(tmp_path / "broken")
    first.stop_after = 60
    first.run()
    second = timed(tmp_path / "broken")
    second.run()
    assert (first.step, second.step, unbroken.step) == (60, 120, 120)
    for name, weight in unbroken.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], weight), name


class Lots(Timed):
    """Notes what is drawn."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.drawn: list[tuple[float, float]] = []

    def loss(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        self.drawn.append((random.random(), torch.rand(1).item()))
        return super().loss()


def test_every_run_draws_other_lots_and_always_the_same(timed, tmp_path: Path) -> None:
    runs = []
    for stop in (30, 60, 90):
        run = timed(kind=Lots)
        run.stop_after = stop
        run.run()
        runs.append(run.drawn)
    assert len({lot for drawn in runs for lot in drawn}) == 90
    for folder in (tmp_path / "again", tmp_path / "and again"):
        once = timed(folder, kind=Lots)
        once.stop_after = 30
        once.run()
        assert once.drawn == runs[0]
        twice = timed(folder, kind=Lots)
        random.random(), torch.rand(3)  # whatever was drawn before
        twice.stop_after = 60
        twice.run()
        assert twice.drawn == runs[1]


@pytest.mark.parametrize("longest", [0.5, None])
def test_long_gradients_are_clipped(timed, longest: float | None) -> None:
    trainer = timed()
    trainer.longest_gradient = longest
    trainer.optimisers = [torch.optim.SGD(trainer.model.parameters(), lr=1.0)]
    before = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach().clone()
    trainer.stop_after = 1
    trainer.run()
    moved = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach() - before
    length = moved.norm().item() / trainer.rates[0]
    assert (length == pytest.approx(0.5, rel=1e-4)) == (longest == 0.5)


def test_the_loop_is_as_fast_as_its_dtype(tmp_path: Path) -> None:
    trainer = Line(told(), tmp_path)
    for trainer.dtype in (torch.bfloat16, torch.float32):
        with trainer.autocast():
            assert trainer.model(torch.ones(1, 1)).dtype == trainer.dtype


class SeenError(Exception):
    """A model was asked; the rest does not matter."""


TRAINERS = (vae.VaeTrainer, unet.UNetTrainer)


@pytest.mark.parametrize("kind", TRAINERS)
def test_models_are_asked_in_the_fast_dtype(kind: type, monkeypatch) -> None:
    """Each trainer's loss, stopped where its model is asked; one also has sheets."""

    def ask(*_: Any, **__: Any) -> None:
        raise SeenError(torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))

    trainer = kind.__new__(kind)
    trainer.arguments = argparse.Namespace(batch=2, guidance=1.0)
    trainer.device, trainer.dtype = "cpu", torch.bfloat16
    monkeypatch.setattr(kind, "autocast", lambda self: torch.autocast("cpu", torch.bfloat16))
    trainer.scheduler = new_scheduler()
    trainer.drawings = SimpleNamespace(batch=lambda n: torch.zeros(n, 3, 64, 64))
    batch = torch.zeros(2, 16, 8, 8), torch.zeros(2, 77, 128)
    trainer.bank = trainer.examples = SimpleNamespace(batch=lambda *_: batch)
    asked = [trainer.loss]
    if kind is vae.VaeTrainer:
        trainer.model = SimpleNamespace(encode=ask)
    else:
        trainer.model = ask
    if kind is unet.UNetTrainer:
        trainer.world = SimpleNamespace(names=["a fox"], concepts=[0])
        trainer.vae = trainer.average = None
        monkeypatch.setattr(unet, "averaged", lambda _: None)
        monkeypatch.setattr(unet, "assemble", lambda *_: SimpleNamespace(to=lambda _: ask))
        asked.append(trainer.sheet)
    for method in asked:
        with pytest.raises(SeenError) as caught:
            method()
        assert caught.value.args == (True, torch.bfloat16)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_no_minutes_are_refused(minutes: str, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        loop.command_line("Trains.", 1.0, 1e-3, 1e-3).parse_args([f"--minutes={minutes}"])
    assert left.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.endswith(f"argument --minutes: must be more than 0, not {minutes}")


def test_help_is_not_lost_among_notices() -> None:
    """That torchvision is missing, which nothing here needs; other warnings are heard."""
    run = subprocess.run(
        [sys.executable, "-m", "training.diffusion.unet", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stderr == ""
    records: list[str] = []
    logger = logging.getLogger("transformers.utils.import_utils")
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger.addHandler(handler)
    try:
        for said in ("`X` requires torchvision (not installed); falling back", "something else"):
            logger.warning(said)
    finally:
        logger.removeHandler(handler)
    assert records == ["something else"]


def test_a_killed_save_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "some.pt"
    loop.save({"step": 1}, path)

    def die(thing: object, file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", die)
    with pytest.raises(KeyboardInterrupt):
        loop.save({"step": 2}, path)
    assert torch.load(path) == {"step": 1}


def test_the_loop_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no clip.pt yet. Run `python -m training.clip.train`"):
        loop.load("clip", "training.clip.train", tmp_path)
    broken = Line(told(), tmp_path)
    torch.nn.init.constant_(broken.model.weight, float("nan"))
    with pytest.raises(SystemExit, match="The loss of step 0 is nan"):
        broken.run()
    assert not broken.checkpoint.exists()
    loop.save({"model": {}, "step": 3}, broken.checkpoint)
    with pytest.raises(SystemExit, match="of another model"):
        Line(told(), tmp_path).run()


def test_the_rate_rises_stays_and_falls(tmp_path: Path) -> None:
    trainer = Line(told(minutes=1), tmp_path)

    def rate(step: int, done: float) -> float:
        trainer.step, trainer.seconds = step, 60 * done
        return trainer.rate()

    assert rate(0, 0.0) < 0.02
    assert rate(500, 0.1) == rate(500, 0.69)
    assert rate(500, 0.85) == pytest.approx(0.5, abs=1e-3)
    assert 0 < rate(500, 1.0) < 1e-3


def test_the_clip_trains_and_goes_on(tmp_path: Path, monkeypatch) -> None:
    """Seconds of it, on 130 concepts and a teacher that says anything; the end is text only."""
    monkeypatch.setattr(
        teacher, "sentence_embeddings", lambda texts: torch.randn(1, 384).repeat(len(texts), 1)
    )
    styles = [*artwork.TRAIN_STYLES, *artwork.HELD_OUT_STYLES]
    concepts = [concept(f"thing {i}", f"tag {i}", "pet") for i in range(130)]
    rows = [(c, s) for s in range(len(styles)) for c in range(130)]
    data = {
        "concepts": concepts,
        "styles": styles,
        "pictures": torch.randint(0, 255, (len(rows), 4, 64, 64), dtype=torch.uint8),
        "concept": torch.tensor([c for c, _ in rows]),
        "style": torch.tensor([s for _, s in rows]),
    }
    little = {"captioned": 4, "extra": 4, "words": 4, "muon": 3e-3, "adam": 1.5e-3}
    clipped, clip = set(), torch.nn.utils.clip_grad_norm_

    def remember(parameters: Any, longest: float) -> torch.Tensor:
        clipped.add(longest)
        return clip(parameters, longest)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", remember)
    steps, seconds = [], 0.0
    for _ in range(2):  # half a second more than there was
        minutes = (seconds + 0.5) / 60
        trainer = clip_train.ClipTrainer(
            told(minutes=minutes, text_share=0.3, **little), data, tmp_path
        )
        trainer.run()
        steps.append(trainer.step)
        seconds = trainer.seconds
    assert 0 < steps[0] < steps[1]
    assert trainer.text_only
    assert clipped == {5.0}
    lines = trainer.lines
    assert [line["step"] for line in lines if line["step"] in steps] == steps
    assert {"contrast", "caption", "teacher", *clip_train.CHECKED} <= set(lines[-1])
    assert set(torch.load(tmp_path / "clip.pt")) == {
        "model", "prototypes", "optimisers", "step", "seconds", "log",
    }  # fmt: skip
