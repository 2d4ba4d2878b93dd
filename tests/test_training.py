"""What the card claims about the training: what was left out, and that the measuring measures."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import pytest
import torch
from conftest import EMOJI, ROOT

from training.artwork import build as data_module
from training.clip import data as pictures
from training.clip import evaluate, teacher, train, words


@pytest.fixture(scope="module")
def names() -> list[str]:
    return json.loads((EMOJI / "results.json").read_text(encoding="utf-8"))["names"]


def concept(name: str, *tags: str) -> dict[str, Any]:
    return {"name": name, "tags": list(tags), "code": "0", "group": "g", "subgroup": "s"}


def toy_data() -> dict[str, Any]:
    """Two concepts; every drawing is filled with the number of its row."""
    styles = [*data_module.TRAIN_STYLES, *data_module.HELD_OUT_STYLES]
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
    loaded = pictures.Pictures(data, "cpu")
    styles = {data["styles"][int(data["style"][row])] for row in loaded.trained}
    assert styles == set(data_module.TRAIN_STYLES)
    assert {row for rows in loaded.by_concept for row in rows} == set(loaded.trained)


def test_the_patch_embedding_starts_from_training_drawings_only() -> None:
    source = (ROOT / "training" / "clip" / "train.py").read_text(encoding="utf-8")
    body = source.split("def _patches_from_data")[1].split("\n    def ")[0]
    assert "self.pictures.trained" in body
    assert 'len(data["pictures"])' not in body


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
    captions = train.Captions(listed)
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
    assert evaluate.top(similarity, torch.arange(8)) == [0.0, 1.0]
    assert evaluate.top(similarity.roll(-1, 1), torch.arange(8)) == [1.0, 1.0]


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
